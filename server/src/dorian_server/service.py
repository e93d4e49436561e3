"""RPC handlers: they translate requests and answers, and errors to gRPC statuses; the pipeline does the work."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1 import face_aging_pb2_grpc
from dorian_server import messages
from dorian_server.clock import Clock
from dorian_server.errors import CallerLeftError, RequestError, UnknownMethodError
from dorian_server.pipeline import Pipeline
from dorian_server.results import SearchProgress

log = logging.getLogger(__name__)

DOMAIN = "dorian.v1"
# Clients take 8 KiB of trailers; a status has its words in there three times, up to twelve bytes for a character.
_WORDS_HEAD, _WORDS_TAIL = 180, 120
Answer = TypeVar("Answer")
Reading = TypeVar("Reading", pb.DetectFacesResponse, pb.CompareFacesResponse)


class FaceAgingService(face_aging_pb2_grpc.FaceAgingServicer):
    """The service of ``face_aging.proto`` on one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        return _answer(context, lambda: self._age(request, _gone(context)))

    def DetectFaces(self, request: pb.DetectFacesRequest, context: grpc.ServicerContext) -> pb.DetectFacesResponse:
        return _answer(context, lambda: self._detect(request))

    def CompareFaces(self, request: pb.CompareFacesRequest, context: grpc.ServicerContext) -> pb.CompareFacesResponse:
        return _answer(context, lambda: self._compare(request))

    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        return _answer(context, lambda: self._reconstruct(request, _gone(context)))

    def Optimize(self, request: pb.OptimizeRequest, context: grpc.ServicerContext) -> Iterator[pb.OptimizeResponse]:
        gone = _gone(context)
        # The search calls back, but gRPC asks for one message after the other: it runs on a thread of its own.
        told: queue.SimpleQueue[SearchProgress | pb.OptimizeResult | Exception] = queue.SimpleQueue()

        def work() -> None:
            try:
                told.put(self._optimize(request, gone, told.put))
            except Exception as error:
                told.put(error)

        thread = threading.Thread(target=work, name="optimize", daemon=True)
        thread.start()
        try:
            while True:
                found = told.get()
                if isinstance(found, Exception):
                    _answer(context, partial(_raise, found))
                elif isinstance(found, pb.OptimizeResult):
                    yield pb.OptimizeResponse(result=found)
                    return
                else:
                    yield pb.OptimizeResponse(progress=messages.write_progress(found))
        finally:
            gone.set()
            thread.join()

    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        return _answer(context, lambda: messages.write_methods(self._pipeline))

    def _age(self, request: pb.AgeTransformRequest, gone: threading.Event) -> pb.AgeTransformResponse:
        asked = messages.read_age_request(request)
        method = self._pipeline.method_for(asked, request.method)
        clock = Clock()
        aged = self._pipeline.age(asked, method, clock, gone)
        return pb.AgeTransformResponse(
            results=messages.write_aged(aged),
            provenance=messages.write_provenance(self._pipeline, method),
            times=messages.write_times(clock),
            faces_found=aged.faces_found,
        )

    def _detect(self, request: pb.DetectFacesRequest) -> pb.DetectFacesResponse:
        clock = Clock()
        response = messages.write_detected(self._pipeline.detect(request.image.data, clock))
        return self._signed(response, clock)

    def _compare(self, request: pb.CompareFacesRequest) -> pb.CompareFacesResponse:
        clock = Clock()
        response = messages.write_compared(self._pipeline.compare(messages.read_compare_request(request), clock))
        return self._signed(response, clock)

    def _signed(self, response: Reading, clock: Clock) -> Reading:
        response.provenance.CopyFrom(messages.write_provenance(self._pipeline))
        response.times.extend(messages.write_times(clock))
        return response

    def _reconstruct(self, request: pb.ReconstructRequest, gone: threading.Event) -> pb.ReconstructResponse:
        asked = messages.read_reconstruct_request(request)
        method = self._pipeline.encoding_method(request.method, searches=asked.search is not None)
        clock = Clock()
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
        clock = Clock()
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


def _answer(context: grpc.ServicerContext, work: Callable[[], Answer]) -> Answer:
    """``work``'s answer; what it raises becomes a status, and nothing of our own faults goes over the wire."""
    try:
        return work()
    except UnknownMethodError as error:
        _abort(context, grpc.StatusCode.NOT_FOUND, error)
    except RequestError as error:
        _abort(context, grpc.StatusCode.INVALID_ARGUMENT, error)
    except CallerLeftError:
        context.abort(grpc.StatusCode.CANCELLED, "the caller has gone")
    except Exception:
        log.exception("a request failed by our fault")
        _abort(
            context,
            grpc.StatusCode.INTERNAL,
            RequestError("INTERNAL", "", "the server failed; the request is not to blame"),
        )


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, error: RequestError) -> NoReturn:
    words = _short(str(error))
    status = status_pb2.Status(code=code.value[0], message=words)
    details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={"field": error.field})]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=words)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status returns never")


def _short(words: str) -> str:
    """``words`` without their middle where a request's own long text is in them."""
    if len(words) <= _WORDS_HEAD + _WORDS_TAIL:
        return words
    return f"{words[:_WORDS_HEAD]} … {words[-_WORDS_TAIL:]}"
