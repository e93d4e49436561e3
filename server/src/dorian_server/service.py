"""RPC handlers: they translate requests and answers, and errors to gRPC statuses; the pipeline does the work."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn, TypeVar

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1 import face_aging_pb2_grpc
from dorian_server import messages
from dorian_server.clock import Clock
from dorian_server.pipeline import Pipeline
from dorian_server.results import SearchProgress
from dorian_server.statuses import answer
from dorian_server.telemetry.telemetry import Telemetry

Reading = TypeVar("Reading", pb.DetectFacesResponse, pb.CompareFacesResponse)


class FaceAgingService(face_aging_pb2_grpc.FaceAgingServicer):
    """The service of ``face_aging.proto`` on one pipeline, timed by ``telemetry``."""

    def __init__(self, pipeline: Pipeline, telemetry: Telemetry | None = None) -> None:
        self._pipeline, self._telemetry = pipeline, telemetry or Telemetry()

    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        return answer(context, lambda: self._age(request, _gone(context)))

    def DetectFaces(self, request: pb.DetectFacesRequest, context: grpc.ServicerContext) -> pb.DetectFacesResponse:
        return answer(context, lambda: self._detect(request))

    def CompareFaces(self, request: pb.CompareFacesRequest, context: grpc.ServicerContext) -> pb.CompareFacesResponse:
        return answer(context, lambda: self._compare(request))

    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        return answer(context, lambda: self._reconstruct(request, _gone(context)))

    def Optimize(self, request: pb.OptimizeRequest, context: grpc.ServicerContext) -> Iterator[pb.OptimizeResponse]:
        gone = _gone(context)
        # The search calls back, but gRPC asks for one message after the other: it runs on a thread of its own.
        told: queue.SimpleQueue[SearchProgress | pb.OptimizeResult | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                told.put(self._optimize(request, gone, told.put))
            except Exception as error:
                told.put(error)

        context_of_call = contextvars.copy_context()
        thread = threading.Thread(target=context_of_call.run, args=(work,), name="optimize", daemon=True)
        thread.start()
        try:
            while True:
                found = told.get()
                if isinstance(found, Exception):
                    answer(context, partial(_raise, found))
                elif isinstance(found, pb.OptimizeResult):
                    yield pb.OptimizeResponse(result=found)
                    return
                else:
                    yield pb.OptimizeResponse(progress=messages.write_progress(found))
        finally:
            gone.set()
            thread.join()

    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        return answer(context, lambda: messages.write_methods(self._pipeline))

    def _age(self, request: pb.AgeTransformRequest, gone: threading.Event) -> pb.AgeTransformResponse:
        asked = messages.read_age_request(request)
        method = self._pipeline.method_for(asked, request.method)
        with self._telemetry.clock() as clock:
            aged = self._pipeline.age(asked, method, clock, gone)
        return pb.AgeTransformResponse(
            results=messages.write_aged(aged),
            provenance=messages.write_provenance(self._pipeline, method),
            times=messages.write_times(clock),
            faces_found=aged.faces_found,
        )

    def _detect(self, request: pb.DetectFacesRequest) -> pb.DetectFacesResponse:
        with self._telemetry.clock() as clock:
            response = messages.write_detected(self._pipeline.detect(request.image.data, clock))
        return self._signed(response, clock)

    def _compare(self, request: pb.CompareFacesRequest) -> pb.CompareFacesResponse:
        with self._telemetry.clock() as clock:
            response = messages.write_compared(self._pipeline.compare(messages.read_compare_request(request), clock))
        return self._signed(response, clock)

    def _signed(self, response: Reading, clock: Clock) -> Reading:
        response.provenance.CopyFrom(messages.write_provenance(self._pipeline))
        response.times.extend(messages.write_times(clock))
        return response

    def _reconstruct(self, request: pb.ReconstructRequest, gone: threading.Event) -> pb.ReconstructResponse:
        asked = messages.read_reconstruct_request(request)
        method = self._pipeline.encoding_method(request.method, searches=asked.search is not None)
        with self._telemetry.clock() as clock:
            faces = self._pipeline.reconstruction.reconstruct(asked, method, clock, gone)
        return pb.ReconstructResponse(
            faces=[messages.write_reconstruction(face) for face in faces],
            provenance=messages.write_provenance(self._pipeline, method),
            times=messages.write_times(clock),
        )

    def _optimize(
        self, request: pb.OptimizeRequest, gone: threading.Event, tell: Callable[[SearchProgress], None]
    ) -> pb.OptimizeResult:
        asked = messages.read_optimize_request(request)
        method = self._pipeline.encoding_method(request.method, searches=True)
        with self._telemetry.clock() as clock:
            face = self._pipeline.reconstruction.optimize(asked, method, clock, gone, tell)
        return pb.OptimizeResult(
            reconstruction=messages.write_reconstruction(face),
            provenance=messages.write_provenance(self._pipeline, method),
            times=messages.write_times(clock),
        )


def _gone(context: grpc.ServicerContext) -> threading.Event:
    """Set once the call of ``context`` is over: cancelled, past its deadline, or answered."""
    gone = threading.Event()
    if not context.add_callback(gone.set):
        gone.set()
    return gone


def _raise(error: Exception) -> NoReturn:
    raise error
