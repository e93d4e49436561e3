"""RPC handlers: they convert requests and responses; the pipeline does the work."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1 import face_aging_pb2_grpc
from dorian_server.admission import cost
from dorian_server.admission.cost import Cost
from dorian_server.admission.queue import Admission
from dorian_server.domain.caller import Caller, working_for
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason
from dorian_server.domain.results import SearchProgress
from dorian_server.rpc.call_details import read_caller
from dorian_server.rpc.statuses import ends_with_status
from dorian_server.serving import conversion, mix_conversion
from dorian_server.serving.bundles import Bundles
from dorian_server.serving.counts import check_counts
from dorian_server.serving.work_watch import WorkWatch
from dorian_server.telemetry.telemetry import Telemetry

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Progress = TypeVar("Progress")


@dataclass(frozen=True)
class AdmittedCall:
    """A call whose turn it is.

    Args:
        caller: Whose call it is.
        clock: Times its stages.
        workers: Threads for the work.
    """

    caller: Caller
    clock: Clock
    workers: Executor

    @property
    def cancelled(self) -> threading.Event:
        """Set once the caller waits no longer."""
        return self.caller.cancelled

    def run(self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        """Return the result of ``work``, which runs on a worker's thread in this thread's context."""
        return self.workers.submit(contextvars.copy_context().run, partial(work, *args, **kwargs)).result()


class FaceAgingService(face_aging_pb2_grpc.FaceAgingServicer):
    """The service of ``face_aging.proto``.

    Args:
        bundles: What it serves.
        admission: Lets calls in.
        workers: As many threads as calls are let in. Photos are processed and responses written there, and not on the many threads
            that calls wait on, as each thread keeps memory of its own.
        searchers: Threads for searches, which keep theirs while they give way to other calls.
        telemetry: Times calls, and counts those that are rejected.
        watch: Watches those that are worked on.
    """

    def __init__(
        self,
        bundles: Bundles,
        admission: Admission,
        workers: Executor,
        searchers: Executor,
        telemetry: Telemetry,
        watch: WorkWatch,
    ) -> None:
        self._bundles, self._admission, self._telemetry, self._watch = bundles, admission, telemetry, watch
        self._workers, self._searchers = workers, searchers

    @ends_with_status
    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        """Return the photo with its faces at each target."""
        pipeline = self._bundles.pipeline(request.bundle)
        check_counts(request, pipeline.limits)
        age_request = conversion.read_age_request(request)
        method = pipeline.method_for(age_request, request.method)
        pipeline.check(age_request, method)  # before it waits
        with self._admit(cost.cost_of_ageing(age_request, pipeline.limits), read_caller(context)) as call:
            result = call.run(pipeline.age, age_request, method, call.clock, call.cancelled)
            return call.run(conversion.write_age_result, result, pipeline, method, call.clock)

    @ends_with_status
    def DetectFaces(self, request: pb.DetectFacesRequest, context: grpc.ServicerContext) -> pb.DetectFacesResponse:
        """Return the faces of a photo and their estimated ages."""
        pipeline = self._bundles.pipeline(request.bundle)
        with self._admit(cost.cost_of_detection(request.image.data, pipeline.limits), read_caller(context)) as call:
            result = call.run(pipeline.detect, request.image.data, call.clock)
            return call.run(conversion.write_detections, result, pipeline, call.clock)

    @ends_with_status
    def CompareFaces(self, request: pb.CompareFacesRequest, context: grpc.ServicerContext) -> pb.CompareFacesResponse:
        """Return whether two faces are one person's."""
        pipeline = self._bundles.pipeline(request.bundle)
        compare_request = conversion.read_compare_request(request)
        with self._admit(cost.cost_of_comparison(compare_request, pipeline.limits), read_caller(context)) as call:
            result = call.run(pipeline.compare, compare_request, call.clock)
            return call.run(conversion.write_comparison, result, pipeline, call.clock)

    @ends_with_status
    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        """Return the latent of each face, and what is drawn from it."""
        pipeline = self._bundles.pipeline(request.bundle)
        check_counts(request, pipeline.limits)
        reconstruct_request = conversion.read_reconstruct_request(request)
        method = pipeline.encoding_method(request.method, searchable=reconstruct_request.search is not None)
        reconstruct = pipeline.reconstruction.reconstruct
        pipeline.reconstruction.check(reconstruct_request, method)
        with self._admit(
            cost.cost_of_reconstruction(reconstruct_request, pipeline.limits), read_caller(context)
        ) as call:
            faces = call.run(reconstruct, reconstruct_request, method, call.clock, call.cancelled)
            return call.run(conversion.write_reconstructions, faces, pipeline, method, call.clock)

    @ends_with_status
    def Optimize(self, request: pb.OptimizeRequest, context: grpc.ServicerContext) -> Iterator[pb.OptimizeResponse]:
        """Search the latent of a face; yield each step, then the result."""
        pipeline = self._bundles.pipeline(request.bundle)
        check_counts(request, pipeline.limits)
        optimize_request = conversion.read_optimize_request(request)
        method = pipeline.encoding_method(request.method, searchable=True)
        optimize = pipeline.reconstruction.optimize
        pipeline.reconstruction.check(optimize_request, method)
        search_cost = cost.cost_of_optimisation(optimize_request, pipeline.limits)
        caller = read_caller(context)

        def search(on_progress: Callable[[SearchProgress], None]) -> pb.OptimizeResult:
            with self._admit(search_cost, caller) as call:
                face = call.run(optimize, optimize_request, method, call.clock, call.cancelled, on_progress)
                return call.run(conversion.write_optimized, face, pipeline, method, call.clock)

        for item in _iterate(search, on_close=caller.cancel):
            if isinstance(item, SearchProgress):
                yield pb.OptimizeResponse(progress=conversion.write_progress(item, pipeline))
            else:
                yield pb.OptimizeResponse(result=item)

    @ends_with_status
    def MixStyles(self, request: pb.MixStylesRequest, context: grpc.ServicerContext) -> pb.MixStylesResponse:
        """Return the photo with some styles of its faces exchanged for those of references."""
        pipeline = self._bundles.pipeline(request.bundle)
        check_counts(request, pipeline.limits)
        mix_request = mix_conversion.read_mix_request(request)
        method = pipeline.mixing_method(request.method)
        pipeline.mixing.check(mix_request, method)
        with self._admit(cost.cost_of_mixing(mix_request, pipeline.limits), read_caller(context)) as call:
            result = call.run(pipeline.mixing.mix, mix_request, method, call.clock)
            return call.run(mix_conversion.write_mix_result, result, pipeline, method, call.clock)

    @ends_with_status
    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        """Return the methods of a bundle, and the names of all bundles."""
        pipeline = self._bundles.pipeline(request.bundle)
        return conversion.write_methods(pipeline, self._bundles.names, self._admission.workers)

    def on_reject(self, reason: Reason) -> None:
        """Count a call that was rejected although its request may be valid."""
        self._telemetry.metrics.count_rejection(reason)

    @contextmanager
    def _admit(self, call_cost: Cost, caller: Caller) -> Iterator[AdmittedCall]:
        """Wait for the turn of a call, and work for its caller within the context."""
        with (
            self._telemetry.clock() as clock,
            self._admission.admit(call_cost, caller, clock),
            self._watch.watching(clock),
            working_for(caller),
        ):
            yield AdmittedCall(caller, clock, self._searchers if call_cost.is_search else self._workers)


def _iterate(
    work: Callable[[Callable[[Progress], None]], Result], on_close: Callable[[], None]
) -> Iterator[Progress | Result]:
    """Yield what ``work`` reports, then its result; a search calls back, but gRPC asks for one message after the other.

    Args:
        work: Runs on a thread of its own, in this thread's context.
        on_close: Called at the end, or when nobody wants more; makes ``work`` return soon.

    Raises:
        Exception: Whatever ``work`` raises.
    """
    items: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()  # None for the end
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work(items.put))
        except Exception as error:
            outcome.set_exception(error)
        items.put(None)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="optimize", daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not None:
            yield item
        yield outcome.result()
    finally:
        on_close()
        thread.join()
