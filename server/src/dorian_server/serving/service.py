"""RPC handlers: they translate requests and answers, and errors to gRPC statuses; the pipeline does the work."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import NoReturn, TypeVar

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1 import face_aging_pb2_grpc
from dorian_server.admission.cost import COMPARISON, DETECTION, Work, work_of
from dorian_server.admission.queue import Admission
from dorian_server.domain.caller import Caller, working_for
from dorian_server.domain.clock import Clock
from dorian_server.domain.results import SearchProgress
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.rpc.metadata import read_caller
from dorian_server.rpc.statuses import Answer, answer
from dorian_server.serving import conversion as messages
from dorian_server.serving.bundles import Bundles
from dorian_server.telemetry.telemetry import Telemetry

Done = TypeVar("Done")
Reading = TypeVar("Reading", pb.DetectFacesResponse, pb.CompareFacesResponse)


class FaceAgingService(face_aging_pb2_grpc.FaceAgingServicer):
    """The service of ``face_aging.proto`` on ``bundles``, as ``admission`` lets calls in, timed by ``telemetry``.

    ``workers`` have a thread for each call that is let in. Photos are worked on there, and not on the many threads that calls wait
    on, as each thread keeps memory of its own.
    """

    def __init__(self, bundles: Bundles, admission: Admission, workers: Executor, telemetry: Telemetry) -> None:
        self._bundles, self._admission, self._workers, self._telemetry = bundles, admission, workers, telemetry

    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        return self._answer(context, partial(self._age, request))

    def DetectFaces(self, request: pb.DetectFacesRequest, context: grpc.ServicerContext) -> pb.DetectFacesResponse:
        return self._answer(context, partial(self._detect, request))

    def CompareFaces(self, request: pb.CompareFacesRequest, context: grpc.ServicerContext) -> pb.CompareFacesResponse:
        return self._answer(context, partial(self._compare, request))

    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        return self._answer(context, partial(self._reconstruct, request))

    def Optimize(self, request: pb.OptimizeRequest, context: grpc.ServicerContext) -> Iterator[pb.OptimizeResponse]:
        caller = read_caller(context)
        # The search calls back, but gRPC asks for one message after the other: it runs on a thread of its own.
        told: queue.SimpleQueue[SearchProgress | pb.OptimizeResult | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                told.put(self._optimize(request, caller, told.put))
            except Exception as error:
                told.put(error)

        context_of_call = contextvars.copy_context()
        thread = threading.Thread(target=context_of_call.run, args=(work,), name="optimize", daemon=True)
        thread.start()
        try:
            while True:
                found = told.get()
                if isinstance(found, Exception):
                    answer(context, partial(_raise, found), self._telemetry.metrics.refuse)
                elif isinstance(found, pb.OptimizeResult):
                    yield pb.OptimizeResponse(result=found)
                    return
                else:
                    yield pb.OptimizeResponse(progress=messages.write_progress(found))
        finally:
            caller.cancel()
            thread.join()

    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        def listed() -> pb.ListMethodsResponse:
            response = messages.write_methods(self._bundles.pipeline(request.bundle))
            response.bundles.extend(self._bundles.names)
            return response

        return answer(context, listed, self._telemetry.metrics.refuse)

    def _answer(self, context: grpc.ServicerContext, work: Callable[[Caller], Answer]) -> Answer:
        return answer(context, lambda: work(read_caller(context)), self._telemetry.metrics.refuse)

    def _in_turn(self, work: Work, caller: Caller, do: Callable[[Clock], Done]) -> Done:
        """What ``do`` gives once it is the turn of ``work``, done for ``caller`` and timed by the clock that it is told."""
        with self._admission.admitted(work, caller), working_for(caller), self._telemetry.clock() as clock:
            return self._workers.submit(contextvars.copy_context().run, do, clock).result()

    def _age(self, request: pb.AgeTransformRequest, caller: Caller) -> pb.AgeTransformResponse:
        pipeline = self._bundles.pipeline(request.bundle)
        asked = messages.read_age_request(request)
        method = pipeline.method_for(asked, request.method)
        pipeline.check(asked, method)  # before it waits

        def age(clock: Clock) -> pb.AgeTransformResponse:
            aged = pipeline.age(asked, method, clock, caller.cancelled)
            return pb.AgeTransformResponse(
                results=messages.write_aged(aged),
                provenance=messages.write_provenance(pipeline, method),
                times=messages.write_times(clock),
                faces_found=aged.faces_found,
            )

        return self._in_turn(work_of(asked), caller, age)

    def _detect(self, request: pb.DetectFacesRequest, caller: Caller) -> pb.DetectFacesResponse:
        pipeline = self._bundles.pipeline(request.bundle)

        def detect(clock: Clock) -> pb.DetectFacesResponse:
            response = messages.write_detected(pipeline.detect(request.image.data, clock))
            return _signed(response, pipeline, clock)

        return self._in_turn(DETECTION, caller, detect)

    def _compare(self, request: pb.CompareFacesRequest, caller: Caller) -> pb.CompareFacesResponse:
        pipeline = self._bundles.pipeline(request.bundle)
        asked = messages.read_compare_request(request)

        def compare(clock: Clock) -> pb.CompareFacesResponse:
            response = messages.write_compared(pipeline.compare(asked, clock))
            return _signed(response, pipeline, clock)

        return self._in_turn(COMPARISON, caller, compare)

    def _reconstruct(self, request: pb.ReconstructRequest, caller: Caller) -> pb.ReconstructResponse:
        pipeline = self._bundles.pipeline(request.bundle)
        asked = messages.read_reconstruct_request(request)
        method = pipeline.encoding_method(request.method, searches=asked.search is not None)
        pipeline.reconstruction.check(asked, method)

        def reconstruct(clock: Clock) -> pb.ReconstructResponse:
            faces = pipeline.reconstruction.reconstruct(asked, method, clock, caller.cancelled)
            return pb.ReconstructResponse(
                faces=[messages.write_reconstruction(face) for face in faces],
                provenance=messages.write_provenance(pipeline, method),
                times=messages.write_times(clock),
            )

        return self._in_turn(work_of(asked), caller, reconstruct)

    def _optimize(
        self, request: pb.OptimizeRequest, caller: Caller, tell: Callable[[SearchProgress], None]
    ) -> pb.OptimizeResult:
        pipeline = self._bundles.pipeline(request.bundle)
        asked = messages.read_optimize_request(request)
        method = pipeline.encoding_method(request.method, searches=True)
        pipeline.reconstruction.check(asked, method)

        def optimize(clock: Clock) -> pb.OptimizeResult:
            face = pipeline.reconstruction.optimize(asked, method, clock, caller.cancelled, tell)
            return pb.OptimizeResult(
                reconstruction=messages.write_reconstruction(face),
                provenance=messages.write_provenance(pipeline, method),
                times=messages.write_times(clock),
            )

        return self._in_turn(work_of(asked), caller, optimize)


def _signed(response: Reading, pipeline: Pipeline, clock: Clock) -> Reading:
    response.provenance.CopyFrom(messages.write_provenance(pipeline))
    response.times.extend(messages.write_times(clock))
    return response


def _raise(error: Exception) -> NoReturn:
    raise error
