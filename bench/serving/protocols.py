"""Clients of the contenders: one open connection per caller, with a request that is prepared once."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from bench.serving.load import Call, RefusedError
from bench.serving.task import PHOTO, TARGET
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1 import face_aging_pb2_grpc

_PATIENCE = 300.0  # seconds
_UNTOLD = 0.1  # seconds to wait after a refusal that names none


def connect_grpc(address: str) -> Call:
    """``AgeTransform`` of a server of ours, without the SDK. ``RefusedError`` if its queue is full."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    stub = face_aging_pb2_grpc.FaceAgingStub(grpc.insecure_channel(address, options=options))
    request = pb.AgeTransformRequest(image=pb.Image(data=PHOTO), targets=[pb.Age(group=TARGET)])

    def call() -> bytes:
        try:
            response = stub.AgeTransform(request, timeout=_PATIENCE)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise RefusedError(_retry_delay(error)) from error
            raise
        return response.results[0].image.data

    return call


def _retry_delay(error: grpc.RpcError) -> float:
    status, signalled = rpc_status.from_call(error), RetryInfo()
    for detail in status.details if status else ():
        if detail.Unpack(signalled):
            return signalled.retry_delay.ToTimedelta().total_seconds()
    return _UNTOLD


def connect_http(address: str) -> Call:
    """The photo's bytes posted to ``HOST:PORT/PATH``, the picture's back. ``RefusedError`` if that is full."""
    return _posting(address, PHOTO, {"Content-Type": "application/octet-stream"}, lambda response, body: body)


def connect_triton(address: str) -> Call:
    """The same as tensors of bytes, in the binary form of KServe's protocol."""
    head = {
        "inputs": [
            {
                "name": "photo",
                "shape": [len(PHOTO)],
                "datatype": "UINT8",
                "parameters": {"binary_data_size": len(PHOTO)},
            }
        ],
        "outputs": [{"name": "picture", "parameters": {"binary_data": True}}],
    }
    described = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(described)), "Content-Type": "application/octet-stream"}

    def unpack(response: http.client.HTTPResponse, body: bytes) -> bytes:
        return body[int(response.headers["Inference-Header-Content-Length"]) :]

    return _posting(address, described + PHOTO, headers, unpack)


def _posting(
    address: str, body: bytes, headers: dict[str, str], unpack: Callable[[http.client.HTTPResponse, bytes], bytes]
) -> Call:
    host, _, path = address.partition("/")
    connection = http.client.HTTPConnection(host, timeout=_PATIENCE)

    def call() -> bytes:
        try:
            connection.request("POST", f"/{path}", body, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        if response.status in (429, 503):
            raise RefusedError(float(response.headers.get("Retry-After", _UNTOLD)))
        if response.status != 200:
            raise RuntimeError(f"{response.status} {answer[:200].decode(errors='replace')}")
        return unpack(response, answer)

    return call


CONNECT: dict[str, Callable[[str], Call]] = {"grpc": connect_grpc, "http": connect_http, "triton": connect_triton}
