"""The operators' service on a real socket: offered with API keys alone, and to those whose key has the scope."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from dorian.v1 import admin_pb2, admin_pb2_grpc
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.security.keys import make_key, write_keys
from dorian_server.serving.server import Server, start
from dorian_server.settings import Security, Settings
from dorian_server.telemetry.telemetry import Telemetry
from tests.server.rejections import Rejection
from tests.server.tiny_bundles import break_graph, rewrite
from tests.server.tiny_searches import write_search_bundle

SECONDS = 60


class Guarded:
    """A server on two bundles that wants keys; each of its keys has one scope, by which it is called here."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.first = write_search_bundle(folder / "first", "encoding")
        self.second = write_search_bundle(folder / "second", "encoding")
        keys = {scope: make_key(scope, frozenset({scope}), None, None) for scope in ("age", "admin")}
        self.keys: dict[str | None, str] = {scope: key for scope, (key, _) in keys.items()}
        write_keys(folder / "keys.json", [entry for _, entry in keys.values()])
        self.settings = Settings(
            self.first.folder,
            {"other": self.second.folder},
            host="127.0.0.1",
            port=0,
            threads=1,
            security=Security(api_keys=folder / "keys.json"),
        )
        self.telemetry, self.notified = Telemetry(), 0
        self.server: Server = start(self.settings, self.telemetry, on_reload=self._note)
        stack.callback(self.server.stop)
        self.channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{self.server.port}"))

    def reload(self, scope: str | None = "admin", bundle: str = "") -> admin_pb2.ReloadBundlesResponse:
        """Asks for it with the key of a scope, or another word."""
        word = self.keys.get(scope, scope)
        metadata = None if word is None else (("authorization", f"Bearer {word}"),)
        request = admin_pb2.ReloadBundlesRequest(bundle=bundle)
        stub = admin_pb2_grpc.AdminStub(self.channel)  # type: ignore[no-untyped-call]
        return stub.ReloadBundles(request, metadata=metadata, timeout=SECONDS)

    def served(self, bundle: str) -> str:
        """The hash of what serves now."""
        metadata = (("authorization", f"Bearer {self.keys['age']}"),)
        request = pb.ListMethodsRequest(bundle=bundle)
        return FaceAgingStub(self.channel).ListMethods(request, metadata=metadata, timeout=SECONDS).bundle_sha256

    def rejections(self, reason: str) -> float | None:
        return self.telemetry.metrics.registry.get_sample_value("dorian_refused_total", {"reason": reason})

    def _note(self) -> None:
        self.notified += 1


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield Guarded(tmp_path, stack)


def rejects(work: Callable[[], object]) -> Rejection:
    with pytest.raises(grpc.RpcError) as caught:
        work()
    return Rejection(caught.value)


def as_entry(name: str, bundle: Bundle, changed: bool) -> Any:
    version = bundle.manifest.version
    return admin_pb2.ServedBundle(name=name, version=version, sha256=bundle.sha256, changed=changed)


def test_without_api_keys_it_is_not_offered(searching_bundle: Bundle) -> None:
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1))
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
            with pytest.raises(grpc.RpcError) as caught:
                stub.ReloadBundles(admin_pb2.ReloadBundlesRequest(), timeout=SECONDS)
    finally:
        server.stop()
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("scope", "code", "reason"),
    [
        ("age", "PERMISSION_DENIED", "SCOPE_MISSING"),
        (None, "UNAUTHENTICATED", "API_KEY_MISSING"),
        ("dorian_0123", "UNAUTHENTICATED", "API_KEY_UNKNOWN"),
    ],
)
def test_who_is_no_operator_is_rejected_and_counted(
    guarded: Guarded, scope: str | None, code: str, reason: str
) -> None:
    rewrite(guarded.first.folder, version="2")
    rejection = rejects(lambda: guarded.reload(scope))
    assert (rejection.code, rejection.info.reason) == (code, reason)
    assert guarded.rejections(reason) == 1
    assert guarded.served("") == guarded.first.sha256
    assert guarded.notified == 0


def test_an_operator_reloads_all_bundles(guarded: Guarded) -> None:
    new = rewrite(guarded.second.folder, version="2")
    entries = [as_entry("tiny", guarded.first, False), as_entry("other", new, True)]
    assert list(guarded.reload().bundles) == entries
    assert (guarded.served(""), guarded.served("other")) == (guarded.first.sha256, new.sha256)


def test_an_operator_reloads_one_bundle(guarded: Guarded) -> None:
    rewrite(guarded.first.folder, version="2")
    new = rewrite(guarded.second.folder, version="2")
    assert list(guarded.reload(bundle="other").bundles) == [as_entry("other", new, True)]
    assert (guarded.served(""), guarded.served("other")) == (guarded.first.sha256, new.sha256)


def test_the_other_processes_are_told_of_every_reload_that_worked(guarded: Guarded) -> None:
    """Even if nothing has changed here, they may be behind."""
    guarded.reload()
    assert guarded.notified == 1
    rewrite(guarded.first.folder, version="2")
    guarded.reload(bundle="tiny")
    assert guarded.notified == 2
    rejects(lambda: guarded.reload(bundle="none"))
    break_graph(guarded.second)
    rejects(guarded.reload)
    assert guarded.notified == 2
    guarded.server.reload_each()
    assert guarded.notified == 2, "or they would tell each other for ever"


def test_a_broken_bundle_is_rejected_and_the_old_one_serves_on(guarded: Guarded) -> None:
    rewrite(guarded.first.folder, version="2")
    break_graph(guarded.second)
    rejection = rejects(guarded.reload)
    assert (rejection.code, rejection.info.reason) == ("FAILED_PRECONDITION", "BUNDLE_BROKEN")
    assert "the bundle 'other' stays what it was: graph file graphs/age" in rejection.message
    assert (guarded.served(""), guarded.served("other")) == (guarded.first.sha256, guarded.second.sha256)


def test_a_bundle_that_is_not_here(guarded: Guarded) -> None:
    rejection = rejects(lambda: guarded.reload(bundle="none"))
    assert (rejection.code, rejection.info.reason) == ("NOT_FOUND", "BUNDLE_UNKNOWN")
    assert rejection.message == "there is no bundle 'none' here, but tiny, other"


def test_an_operator_who_comes_too_early(guarded: Guarded) -> None:
    server = Server(guarded.settings, Telemetry())
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as guarded.channel:
            rejection = rejects(guarded.reload)
    finally:
        server.stop()
    assert (rejection.code, rejection.info.reason) == ("UNAVAILABLE", "NOT_READY")
