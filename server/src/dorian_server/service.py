"""RPC handlers: they translate requests and answers, and errors to gRPC statuses; the pipeline does the work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc
import numpy as np
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1 import face_aging_pb2_grpc
from dorian_server import messages
from dorian_server.errors import RequestError, UnknownMethodError
from dorian_server.pipeline import Clock, Output, Pipeline, store

log = logging.getLogger(__name__)

DOMAIN = "dorian.v1"
# Clients take 8 KiB of trailers; a status has its words in there three times, up to twelve bytes for a character.
_WORDS_HEAD, _WORDS_TAIL = 180, 120
Answer = TypeVar("Answer")


class FaceAgingService(face_aging_pb2_grpc.FaceAgingServicer):
    """The service of ``face_aging.proto`` on one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        return _answer(context, lambda: self._age(request))

    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        return _answer(context, lambda: self._reconstruct(request))

    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        return _answer(context, lambda: messages.write_methods(self._pipeline))

    def _age(self, request: pb.AgeTransformRequest) -> pb.AgeTransformResponse:
        method = self._pipeline.method(request.method)
        output = messages.read_output(request.output)
        targets = [messages.read_age(age, f"targets[{index}]") for index, age in enumerate(request.targets)]
        source = messages.read_age(request.source, "source") if request.HasField("source") else None
        clock = Clock()
        aged = self._pipeline.age(request.image.data, targets, source, method, output, clock)
        return pb.AgeTransformResponse(
            results=messages.write_aged(aged, targets, source is not None),
            provenance=messages.write_provenance(self._pipeline, method),
            times=messages.write_times(clock),
        )

    def _reconstruct(self, request: pb.ReconstructRequest) -> pb.ReconstructResponse:
        if request.mode not in (pb.RECONSTRUCTION_MODE_UNSPECIFIED, pb.RECONSTRUCTION_MODE_INITIAL):
            words = f"reconstruction mode {request.mode} is unknown; known: INITIAL"
            raise RequestError("SETTING_OUT_OF_RANGE", "mode", words)
        method = self._pipeline.method(request.method)
        output: Output = messages.read_output(request.output)
        source = messages.read_age(request.source, "source") if request.HasField("source") else None
        clock = Clock()
        photo, faces = self._pipeline.reconstruct(request.image.data, source, method, clock)
        response = pb.ReconstructResponse(provenance=messages.write_provenance(self._pipeline, method))
        with clock.stage("write"):
            for face in faces:
                error = float(np.sqrt(np.square(face.drawn - face.crop.astype(np.float32) / 255).mean()))
                drawn = np.rint(face.drawn * 255).clip(0, 255).astype(np.uint8)
                response.faces.add(
                    face=messages.write_face(face),
                    crop=messages.write_picture(store(face.crop, photo, output)),
                    reconstruction=messages.write_picture(store(drawn, photo, output)),
                    latent=face.latent.tolist(),
                    source=messages.write_age(face.source),
                    source_given=source is not None,
                    pixel_error=error,
                )
        response.times.extend(messages.write_times(clock))
        return response


def _answer(context: grpc.ServicerContext, work: Callable[[], Answer]) -> Answer:
    """``work``'s answer; what it raises becomes a status, and nothing of our own faults goes over the wire."""
    try:
        return work()
    except UnknownMethodError as error:
        _abort(context, grpc.StatusCode.NOT_FOUND, error)
    except RequestError as error:
        _abort(context, grpc.StatusCode.INVALID_ARGUMENT, error)
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
