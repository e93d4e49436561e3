"""A server that asks for API keys and does no work, so that tests see who comes through."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingServicer, FaceAgingStub, add_FaceAgingServicer_to_server
from dorian_server.security.authentication import Authentication
from dorian_server.security.keys import ApiKey, KeyFile, make_key, write_keys
from tests.server.rejections import Rejection

SECONDS = 60
SCOPE_SETS = {"age": ["age"], "searching": ["age", "optimize"], "optimize": ["optimize"], "admin": ["admin"]}


class Servicer(FaceAgingServicer):
    """Answers at once, with nothing, and notes which calls came through; those named in ``held`` wait for ``release``."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.held: set[str] = set()
        self.release = threading.Event()

    def _answer(self, name: str, answer: Any) -> Any:
        self.calls[name] += 1
        if name in self.held:
            self.release.wait(SECONDS)
        return answer

    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        return self._answer("ListMethods", pb.ListMethodsResponse())

    def DetectFaces(self, request: pb.DetectFacesRequest, context: grpc.ServicerContext) -> pb.DetectFacesResponse:
        self._answer("DetectFaces", None)
        if request.image.data == b"bad":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad")
        return pb.DetectFacesResponse()

    def CompareFaces(self, request: pb.CompareFacesRequest, context: grpc.ServicerContext) -> pb.CompareFacesResponse:
        return self._answer("CompareFaces", pb.CompareFacesResponse())

    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        return self._answer("AgeTransform", pb.AgeTransformResponse())

    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        return self._answer("Reconstruct", pb.ReconstructResponse())

    def MixStyles(self, request: pb.MixStylesRequest, context: grpc.ServicerContext) -> pb.MixStylesResponse:
        return self._answer("MixStyles", pb.MixStylesResponse())

    def Optimize(self, request: pb.OptimizeRequest, context: grpc.ServicerContext) -> Iterator[pb.OptimizeResponse]:
        self._answer("Optimize", None)
        over = threading.Event()
        context.add_callback(over.set)
        yield pb.OptimizeResponse(progress=pb.OptimizeProgress(step=0))
        if "steps" in self.held:
            over.wait(SECONDS)


class KeyedServer:
    """A server behind ``Authentication``: its keys by name, its file of keys, what it rejected, and calls to it."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.secrets: dict[str, str] = {}
        self.entries: list[ApiKey] = []
        for name, scopes in SCOPE_SETS.items():
            self.add(name, scopes)
        self.write()
        self.rejected: list[str] = []
        self.servicer = Servicer()
        server = grpc.server(ThreadPoolExecutor(8), interceptors=[Authentication(KeyFile(path), self.rejected.append)])
        add_FaceAgingServicer_to_server(self.servicer, server)
        reload = grpc.unary_unary_rpc_method_handler(lambda request, context: b"reloaded")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("dorian.v1.Admin", {"Reload": reload}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stack.callback(lambda: server.stop(None).wait())
        stack.callback(self.servicer.release.set)
        self.channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
        self.stub = FaceAgingStub(self.channel)

    def add(self, name: str, scopes: Sequence[str], **limits: int | None) -> None:
        key = make_key(name, frozenset(scopes), limits.get("calls_at_once"), limits.get("calls_per_minute"))
        self.secrets[name] = key[0]
        self.entries.append(key[1])

    def write(self) -> None:
        write_keys(self.path, self.entries)

    def send(self, key: str, name: str, request: Any, timeout: float = SECONDS) -> Any:
        """The future, or the stream, of a call with one of the keys."""
        metadata = (("authorization", f"Bearer {self.secrets[key]}"),)
        rpc = getattr(self.stub, name)
        if name == "Optimize":
            return rpc(request, metadata=metadata, timeout=timeout)
        return rpc.future(request, metadata=metadata, timeout=timeout)

    def call(self, key: str, name: str = "ListMethods", request: Any = None) -> Any:
        """The answer of a call with one of the keys; a list where it streams."""
        sent = self.send(key, name, pb.ListMethodsRequest() if request is None else request)
        return list(sent) if name == "Optimize" else sent.result()


def rejects(work: Callable[[], object]) -> Rejection:
    with pytest.raises(grpc.RpcError) as caught:
        work()
    return Rejection(caught.value)
