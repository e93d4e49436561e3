"""API keys on real sockets: who is let in, what a key may ask for, and that no key is ever logged."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.domain.errors import StartupError
from dorian_server.rpc.call_details import FACE_AGING_SERVICE
from dorian_server.security import keys as keys_module
from dorian_server.security.authentication import load_authentication
from dorian_server.security.keys import ApiKey, KeyFile, make_key, read_keys, write_keys
from dorian_server.serving.server import start
from dorian_server.settings import Security, Settings
from dorian_server.telemetry.telemetry import Telemetry
from tests.server.keyed_server import SECONDS, KeyedServer, rejects

PLAIN = [
    ("ListMethods", pb.ListMethodsRequest()),
    ("DetectFaces", pb.DetectFacesRequest()),
    ("CompareFaces", pb.CompareFacesRequest()),
    ("AgeTransform", pb.AgeTransformRequest()),
    ("AgeTransform", pb.AgeTransformRequest(optimisation=pb.OPTIMISATION_BUDGET_NONE)),
    ("Reconstruct", pb.ReconstructRequest()),
    ("MixStyles", pb.MixStylesRequest()),
    ("Reconstruct", pb.ReconstructRequest(mode=pb.RECONSTRUCTION_MODE_INITIAL)),
]
SEARCHING = [
    ("Optimize", pb.OptimizeRequest()),
    ("AgeTransform", pb.AgeTransformRequest(optimisation=pb.OPTIMISATION_BUDGET_FAST)),
    ("AgeTransform", pb.AgeTransformRequest(optimisation=pb.OPTIMISATION_BUDGET_FULL)),
    ("Reconstruct", pb.ReconstructRequest(mode=pb.RECONSTRUCTION_MODE_PIXELWISE)),
    ("Reconstruct", pb.ReconstructRequest(mode=pb.RECONSTRUCTION_MODE_IDENTITY)),
    ("Reconstruct", pb.ReconstructRequest(mode=pb.RECONSTRUCTION_MODE_BLENDED)),
]


@pytest.fixture
def keyed_server(tmp_path: Path) -> Iterator[KeyedServer]:
    with ExitStack() as stack:
        yield KeyedServer(tmp_path / "keys.json", stack)


# --- who calls ---


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (None, "API_KEY_MISSING"),
        ("", "API_KEY_MISSING"),
        ("Bearer", "API_KEY_MISSING"),
        ("Bearer  ", "API_KEY_MISSING"),
        ("Basic {key}", "API_KEY_MISSING"),
        ("{key}", "API_KEY_MISSING"),
        ("Bearer {key}x", "API_KEY_UNKNOWN"),
        ("Bearer {short}", "API_KEY_UNKNOWN"),
        ("Bearer {hash}", "API_KEY_UNKNOWN"),
        ("Bearer searching", "API_KEY_UNKNOWN"),
    ],
)
def test_calls_without_a_known_key_are_rejected_and_counted(
    keyed_server: KeyedServer, sent: str | None, reason: str
) -> None:
    key = keyed_server.secrets["searching"]
    header = sent and sent.format(key=key, short=key[:-1], hash=keyed_server.entries[1].sha256)
    metadata = () if header is None else (("authorization", header),)
    rejection = rejects(
        lambda: keyed_server.stub.ListMethods(pb.ListMethodsRequest(), metadata=metadata, timeout=SECONDS)
    )
    assert (rejection.code, rejection.info.reason, rejection.info.domain) == ("UNAUTHENTICATED", reason, "dorian.v1")
    assert keyed_server.rejected == [reason]
    assert not keyed_server.servicer.calls


@pytest.mark.parametrize("other", ["Bearer wrong", "Bearer {key}", ""])
@pytest.mark.parametrize("order", [1, -1])
def test_two_keys_in_one_call_are_rejected(keyed_server: KeyedServer, other: str, order: int) -> None:
    key = keyed_server.secrets["age"]
    values = [f"Bearer {key}", other.format(key=key)][::order]
    metadata = tuple(("authorization", value) for value in values)
    rejection = rejects(
        lambda: keyed_server.stub.ListMethods(pb.ListMethodsRequest(), metadata=metadata, timeout=SECONDS)
    )
    assert (rejection.code, rejection.info.reason) == ("UNAUTHENTICATED", "API_KEY_UNKNOWN")
    assert "several authorization entries" in rejection.message


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_written_in_any_case(keyed_server: KeyedServer, scheme: str) -> None:
    metadata = (("authorization", f"{scheme} {keyed_server.secrets['age']}"),)
    assert keyed_server.stub.ListMethods(pb.ListMethodsRequest(), metadata=metadata, timeout=SECONDS) is not None
    assert keyed_server.rejected == []


def test_the_request_of_one_who_may_not_call_is_not_read(keyed_server: KeyedServer) -> None:
    """What is no request at all fails only once it is read."""
    send = keyed_server.channel.unary_unary(f"/{FACE_AGING_SERVICE}/AgeTransform")
    assert rejects(lambda: send(b"\xff" * 2**20, timeout=SECONDS)).code == "UNAUTHENTICATED"
    metadata = (("authorization", f"Bearer {keyed_server.secrets['age']}"),)
    with pytest.raises(grpc.RpcError) as caught:
        send(b"\xff" * 2**20, metadata=metadata, timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.INTERNAL


def test_all_entries_are_compared_in_constant_time(keyed_server: KeyedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(first: str, second: str) -> bool:
        compared.append(first)
        return hmac_compare(first, second)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)
    entry = KeyFile(keyed_server.path).find(keyed_server.secrets["age"])
    assert entry is not None
    assert entry.id == "age"
    assert compared == [entry.sha256 for entry in keyed_server.entries], "the first is the right one already"


# --- scopes ---


@pytest.mark.parametrize(("name", "request_"), PLAIN)
def test_what_age_is_enough_for(keyed_server: KeyedServer, name: str, request_: Any) -> None:
    keyed_server.call("age", name, request_)
    keyed_server.call("searching", name, request_)
    assert keyed_server.servicer.calls == {name: 2}
    for key in ("optimize", "admin"):
        rejection = rejects(lambda key=key: keyed_server.call(key, name, request_))
        assert (rejection.code, rejection.info.reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")
        assert f"lacks the scope 'age', which {name} needs here; it has {key}" in rejection.message
    assert keyed_server.rejected == ["SCOPE_MISSING"] * 2
    assert keyed_server.servicer.calls == {name: 2}


@pytest.mark.parametrize(("name", "request_"), SEARCHING)
def test_what_needs_optimize_too(keyed_server: KeyedServer, name: str, request_: Any) -> None:
    keyed_server.call("searching", name, request_)
    assert keyed_server.servicer.calls == {name: 1}
    rejection = rejects(lambda: keyed_server.call("age", name, request_))
    assert (rejection.code, rejection.info.reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    assert f"lacks the scope 'optimize', which {name} needs here; it has age" in rejection.message
    assert rejects(lambda: keyed_server.call("optimize", name, request_)).info.reason == "SCOPE_MISSING"
    assert keyed_server.rejected == ["SCOPE_MISSING"] * 2
    assert keyed_server.servicer.calls == {name: 1}


def test_the_lists_above_have_every_method() -> None:
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["FaceAging"].methods}
    assert {name for name, _ in PLAIN + SEARCHING} == methods


def test_admin_calls_need_admin_alone(keyed_server: KeyedServer) -> None:
    reload = keyed_server.channel.unary_unary("/dorian.v1.Admin/Reload")

    def call(key: str) -> object:
        return reload(b"", metadata=(("authorization", f"Bearer {keyed_server.secrets[key]}"),), timeout=SECONDS)

    assert call("admin") == b"reloaded"
    assert "lacks the scope 'admin'" in rejects(lambda: call("searching")).message


# --- the file ---


def test_a_key_removed_from_the_file_stops_working(keyed_server: KeyedServer) -> None:
    keyed_server.call("age")
    removed = keyed_server.entries.pop(0)
    keyed_server.add("new", ["age"])
    keyed_server.write()
    assert removed.id == "age"
    assert rejects(lambda: keyed_server.call("age")).info.reason == "API_KEY_UNKNOWN"
    keyed_server.call("new")
    keyed_server.call("searching")


def test_scopes_change_with_the_file(keyed_server: KeyedServer) -> None:
    entry = keyed_server.entries[0]
    keyed_server.entries[0] = ApiKey(entry.id, entry.sha256, frozenset({"admin"}))
    keyed_server.write()
    assert rejects(lambda: keyed_server.call("age")).info.reason == "SCOPE_MISSING"


@pytest.mark.parametrize("how", ["half", "gone", "no list", "a bad entry"])
def test_a_broken_file_leaves_the_old_keys_in_use(
    keyed_server: KeyedServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = keyed_server.path.read_text()
    match how:
        case "half":
            keyed_server.path.write_text(text[: len(text) // 2])
        case "gone":
            keyed_server.path.unlink()
        case "no list":
            keyed_server.path.write_text("{}")
        case _:
            keyed_server.path.write_text(json.dumps([*json.loads(text), {"id": "broken"}]))
    with caplog.at_level(logging.WARNING, logger="dorian_server.security"):
        keyed_server.call("age")
        keyed_server.call("age")
    (record,) = caplog.records
    assert str(keyed_server.path) in record.getMessage()
    assert "what was there before stays in use" in record.getMessage()
    write_keys(keyed_server.path, keyed_server.entries[1:])
    assert rejects(lambda: keyed_server.call("age")).info.reason == "API_KEY_UNKNOWN"


def test_an_empty_list_shuts_everybody_out(keyed_server: KeyedServer) -> None:
    write_keys(keyed_server.path, [])
    assert rejects(lambda: keyed_server.call("age")).info.reason == "API_KEY_UNKNOWN"


ENTRY: dict[str, Any] = {"id": "mobile", "sha256": "ab" * 32, "scopes": ["age"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        ({"keys": []}, "holds no list of entries"),
        ([ENTRY, "x"], "entry 2: it is no object"),
        ([ENTRY | {"scope": ["age"]}], "entry 1 ('mobile'): unknown field 'scope'; there are id, sha256, scopes"),
        ([{"sha256": "ab" * 32, "scopes": ["age"]}], "entry 1: id is missing or no text"),
        ([ENTRY | {"id": 3}], "entry 1: id is missing or no text"),
        ([ENTRY | {"id": "two\nlines"}], "an id is 1 to 64 letters"),
        ([ENTRY | {"id": ""}], "an id is 1 to 64 letters"),
        ([ENTRY | {"sha256": "ab" * 31}], "sha256 is not 64 hexadecimal digits"),
        ([ENTRY | {"sha256": "xy" * 32}], "sha256 is not 64 hexadecimal digits"),
        ([ENTRY | {"sha256": None}], "sha256 is missing or no text"),
        ([ENTRY | {"scopes": []}], "scopes is no list of age, optimize, admin, metrics"),
        ([ENTRY | {"scopes": "age"}], "scopes is no list of age, optimize, admin, metrics"),
        ([ENTRY | {"scopes": ["age", "root"]}], "scopes is no list of age, optimize, admin, metrics"),
        ([ENTRY | {"calls_at_once": 0}], "calls_at_once is no whole number from 1 on"),
        ([ENTRY | {"calls_at_once": True}], "calls_at_once is no whole number from 1 on"),
        ([ENTRY | {"calls_per_minute": 1.5}], "calls_per_minute is no whole number from 1 on"),
        ([ENTRY, ENTRY | {"sha256": "cd" * 32}], "entry 2 ('mobile'): its id or its sha256 is that of an entry before"),
        ([ENTRY, ENTRY | {"id": "other"}], "entry 2 ('other'): its id or its sha256 is that of an entry before"),
    ],
)
def test_a_bad_file_at_the_start_is_told_with_the_entry_at_fault(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "keys.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(StartupError) as caught:
        KeyFile(path)
    assert str(caught.value).startswith(f"the file of API keys {path}")
    assert message in str(caught.value)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    entries = [
        make_key("one", frozenset({"age"}), None, None)[1],
        make_key("two", frozenset({"age", "optimize", "admin"}), 3, 40)[1],
    ]
    write_keys(path, entries)
    assert read_keys(path) == entries
    path.write_text(json.dumps([ENTRY | {"sha256": "AB" * 32}]))
    assert read_keys(path)[0].sha256 == "ab" * 32


# --- the whole server ---


@pytest.fixture
def guarded(searching_bundle: Bundle, tmp_path: Path) -> Iterator[tuple[grpc.Channel, str, Telemetry]]:
    """A server on a bundle that wants keys, a key, and what it counts."""
    path = tmp_path / "keys.json"
    key, entry = make_key("mobile", frozenset({"age"}), None, None)
    write_keys(path, [entry])
    telemetry = Telemetry()
    settings = Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1, security=Security(api_keys=path))
    server = start(settings, telemetry)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel, key, telemetry
    server.stop()


def test_the_server_asks_for_keys_and_counts_rejections(
    guarded: tuple[grpc.Channel, str, Telemetry], searching_bundle: Bundle
) -> None:
    channel, key, telemetry = guarded
    stub = FaceAgingStub(channel)
    assert rejects(lambda: stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)).code == "UNAUTHENTICATED"
    metadata = (("authorization", f"Bearer {key}"),)
    answer = stub.ListMethods(pb.ListMethodsRequest(), metadata=metadata, timeout=SECONDS)
    assert answer.bundle == searching_bundle.manifest.name
    rejection = rejects(lambda: next(stub.Optimize(pb.OptimizeRequest(), metadata=metadata, timeout=SECONDS)))
    assert rejection.info.reason == "SCOPE_MISSING"
    counted = {
        reason: telemetry.metrics.registry.get_sample_value("dorian_refused_total", {"reason": reason})
        for reason in ("API_KEY_MISSING", "SCOPE_MISSING", "API_KEY_UNKNOWN")
    }
    assert counted == {"API_KEY_MISSING": 1, "SCOPE_MISSING": 1, "API_KEY_UNKNOWN": None}


def test_health_checks_need_no_key(guarded: tuple[grpc.Channel, str, Telemetry]) -> None:
    stub = health_pb2_grpc.HealthStub(guarded[0])
    request = health_pb2.HealthCheckRequest(service=FACE_AGING_SERVICE)
    assert stub.Check(request, timeout=SECONDS).status == health_pb2.HealthCheckResponse.SERVING
    watched = stub.Watch(request, timeout=SECONDS)
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    watched.cancel()


def test_nothing_of_a_key_is_logged(
    guarded: tuple[grpc.Channel, str, Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    channel, key, _ = guarded
    stub = FaceAgingStub(channel)
    wrong = make_key("x", frozenset({"age"}), None, None)[0]
    with caplog.at_level(logging.DEBUG):
        for sent in (key, wrong):
            metadata = (("authorization", f"Bearer {sent}"),)
            with pytest.raises(grpc.RpcError):
                next(stub.Optimize(pb.OptimizeRequest(), metadata=metadata, timeout=SECONDS))
        stub.ListMethods(pb.ListMethodsRequest(), metadata=(("authorization", f"Bearer {key}"),), timeout=SECONDS)
    logged = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "rejected /dorian.v1.FaceAging/Optimize: SCOPE_MISSING, key mobile" in logged
    assert "rejected /dorian.v1.FaceAging/Optimize: API_KEY_UNKNOWN" in logged
    for secret in (key, wrong):
        assert not any(secret[begin : begin + 8] in logged for begin in range(len("dorian_"), len(secret) - 8))


def test_a_server_whose_keys_are_broken_does_not_start(searching_bundle: Bundle, tmp_path: Path) -> None:
    security = Security(api_keys=tmp_path / "none.json")
    with pytest.raises(StartupError, match=r"^the file of API keys \S+none\.json does not exist$"):
        start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1, security=security))


@pytest.mark.parametrize(
    ("host", "warned"),
    [
        *[(host, True) for host in ("0.0.0.0", "10.0.0.5", "[::]", "faces.example")],
        *[(host, False) for host in ("127.0.0.1", "127.1.2.3", "localhost", "[::1]")],
    ],
)
def test_a_warning_where_keys_travel_in_the_clear(
    tmp_path: Path, host: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.json"
    write_keys(path, [])

    def warns(security: Security) -> bool:
        caplog.clear()
        load_authentication(Settings(Path(), host=host, security=security), lambda reason: None)
        return any(f"API keys without TLS on {host}" in record.getMessage() for record in caplog.records)

    assert warns(Security(api_keys=path)) is warned
    assert not warns(Security())
    assert not warns(Security(api_keys=path, tls_certificate=tmp_path / "certificate.pem"))


# --- reflection ---


def list_services(channel: grpc.Channel, metadata: Any = ()) -> set[str]:
    requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (answer,) = stub.ServerReflectionInfo(requests, metadata=metadata, timeout=SECONDS)
    return {service.name for service in answer.list_services_response.service}


def test_reflection_is_off_unless_asked_for(guarded: tuple[grpc.Channel, str, Telemetry]) -> None:
    channel, key, _ = guarded
    with pytest.raises(grpc.RpcError) as caught:
        list_services(channel, (("authorization", f"Bearer {key}"),))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_reflection_where_asked_for_is_for_those_with_a_key(searching_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key, entry = make_key("mobile", frozenset({"age"}), 1, None)
    write_keys(path, [entry])
    security = Security(api_keys=path, reflection=True)
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1, security=security))
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for _ in range(3):
                services = list_services(channel, (("authorization", f"Bearer {key}"),))
                assert services == {
                    FACE_AGING_SERVICE,
                    "dorian.v1.Admin",
                    "grpc.health.v1.Health",
                    "grpc.reflection.v1alpha.ServerReflection",
                }
            assert rejects(lambda: list_services(channel)).code == "UNAUTHENTICATED"
    finally:
        server.stop()
