"""What a server tells of its calls: metrics, traces, ids and lines in the log, none of which holds anything of a photo."""

from __future__ import annotations

import io
import json
import logging
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.domain.errors import StartupError
from dorian_server.domain.throttle import Throttle
from dorian_server.serving.server import start
from dorian_server.settings import Settings
from dorian_server.telemetry import logs, traces
from dorian_server.telemetry.metrics import Metrics
from dorian_server.telemetry.telemetry import Telemetry
from dorian_server.telemetry.traces import Traces
from tests.server.tiny_searches import photo_of
from tests.server.waiting import wait_until

SERVICE = "dorian.v1.FaceAging"
SECONDS = 60


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def telemetry(spans: InMemorySpanExporter) -> Iterator[Telemetry]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    watched = Telemetry(traces=Traces(provider))
    yield watched
    assert watched.traces is not None
    watched.traces.close()


@pytest.fixture(scope="module")
def watched(searching_bundle: Bundle, telemetry: Telemetry) -> Iterator[FaceAgingStub]:
    """A server whose calls ``telemetry`` notes."""
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1), telemetry=telemetry)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield FaceAgingStub(channel)
    server.stop()


@pytest.fixture
def image(write: Callable[..., bytes]) -> pb.Image:
    return pb.Image(data=write(photo_of((180, 180, 180))))


def values(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("method", "kind", "ask"),
    [
        ("DetectFaces", "unary", lambda stub, image: stub.DetectFaces(pb.DetectFacesRequest(image=image))),
        ("Optimize", "server_stream", lambda stub, image: list(stub.Optimize(pb.OptimizeRequest(image=image)))),
    ],
)
def test_calls_are_counted_and_timed(
    method: str, kind: str, ask: Callable[..., Any], watched: FaceAgingStub, telemetry: Telemetry, image: pb.Image
) -> None:
    labels = {"grpc_type": kind, "grpc_service": SERVICE, "grpc_method": method}
    names = [
        ("grpc_server_started_total", labels),
        ("grpc_server_handled_total", labels | {"grpc_code": "OK"}),
        ("grpc_server_handling_seconds_count", labels),
        ("dorian_stage_seconds_count", {"stage": "detect"}),
        ("dorian_queue_wait_seconds_count", {}),
        ("dorian_batch_rows_count", {"graph": "detector"}),
        ("dorian_batch_wait_seconds_count", {"graph": "detector"}),
    ]
    before = [values(telemetry.metrics, name, **labels) for name, labels in names]
    ask(watched, image)
    expected = [count + 1 for count in before]
    assert wait_until(lambda: [values(telemetry.metrics, name, **labels) for name, labels in names] == expected)
    assert values(telemetry.metrics, "grpc_server_handling_seconds_sum", **labels) > 0


def test_failures_are_counted_by_their_status(watched: FaceAgingStub, telemetry: Telemetry) -> None:
    labels = {
        "grpc_type": "unary",
        "grpc_service": SERVICE,
        "grpc_method": "DetectFaces",
        "grpc_code": "INVALID_ARGUMENT",
    }
    before = values(telemetry.metrics, "grpc_server_handled_total", **labels)
    with pytest.raises(grpc.RpcError):
        watched.DetectFaces(pb.DetectFacesRequest(image=pb.Image(data=b"no photo")))
    assert wait_until(lambda: values(telemetry.metrics, "grpc_server_handled_total", **labels) == before + 1)


def test_a_cancelled_stream_is_counted_as_cancelled(
    watched: FaceAgingStub, telemetry: Telemetry, image: pb.Image
) -> None:
    labels = {
        "grpc_type": "server_stream",
        "grpc_service": SERVICE,
        "grpc_method": "Optimize",
        "grpc_code": "CANCELLED",
    }
    before = values(telemetry.metrics, "grpc_server_handled_total", **labels)
    call = watched.Optimize(
        pb.OptimizeRequest(image=image, search=pb.SearchOptions(max_steps=500, optimizer=pb.OPTIMIZER_ADAM))
    )
    next(call)
    call.cancel()
    assert wait_until(lambda: values(telemetry.metrics, "grpc_server_handled_total", **labels) == before + 1)


def test_prometheus_is_answered_with_the_bundle_and_the_calls(
    watched: FaceAgingStub, telemetry: Telemetry, searching_bundle: Bundle, image: pb.Image
) -> None:
    watched.DetectFaces(pb.DetectFacesRequest(image=image))
    telemetry.metrics.count_rejection("API_KEY_MISSING")
    with telemetry.metrics.served("127.0.0.1", 0) as port:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS).read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (bundle,) = families["dorian_bundle_info"].samples
    assert bundle.labels["sha256"] == searching_bundle.sha256
    assert bundle.labels["name"] == bundle.labels["served_as"] == searching_bundle.manifest.name
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6
    (rejected,) = (sample for sample in families["dorian_refused"].samples if sample.name.endswith("_total"))
    assert (rejected.labels, rejected.value) == ({"reason": "API_KEY_MISSING"}, 1)
    buckets = {
        sample.labels["le"]
        for sample in families["grpc_server_handling_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert {"0.005", "30.0", "+Inf"} <= buckets


def test_a_metrics_port_that_is_taken() -> None:
    with Metrics().served("127.0.0.1", 0) as taken, Metrics().served("127.0.0.1", 0) as other:
        assert taken != other
        message = f"^cannot serve metrics on 127.0.0.1:{taken}: "
        with pytest.raises(StartupError, match=message), Metrics().served("127.0.0.1", taken):
            pass


# --- ids and the log ---


@pytest.mark.parametrize(("given", "kept"), [("mobile-42/a", True), (None, False), ("a b", False), ("x" * 129, False)])
def test_a_call_keeps_its_id_or_gets_one(given: str | None, kept: bool, watched: FaceAgingStub) -> None:
    metadata = [("x-request-id", given)] if given else None
    _, call = watched.ListMethods.with_call(pb.ListMethodsRequest(), metadata=metadata)
    (number,) = (value for key, value in call.initial_metadata() if key == "x-request-id")
    assert number == given if kept else re.fullmatch("[0-9a-f]{32}", number)


def test_a_call_that_fails_has_an_id_too(watched: FaceAgingStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        watched.DetectFaces(pb.DetectFacesRequest(), metadata=[("x-request-id", "lost")])
    assert ("x-request-id", "lost") in caught.value.initial_metadata()  # type: ignore[attr-defined]


@pytest.fixture
def logged() -> Iterator[Callable[[logging.Formatter], io.StringIO]]:
    """Has the calls' lines written by a formatter."""
    logger, added = logging.getLogger("dorian_server"), []
    level = logger.level

    def write(formatter: logging.Formatter) -> io.StringIO:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        logger.addHandler(handler)
        logger.setLevel("INFO")
        added.append(handler)
        return stream

    yield write
    for handler in added:
        logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_call_is_a_line_of_json(logged: Callable[..., io.StringIO], watched: FaceAgingStub, image: pb.Image) -> None:
    stream = logged(logs.JsonFormatter())
    watched.DetectFaces(pb.DetectFacesRequest(image=image), metadata=[("x-request-id", "one")])
    with pytest.raises(grpc.RpcError):
        watched.DetectFaces(pb.DetectFacesRequest(), metadata=[("x-request-id", "two")])
    assert wait_until(lambda: stream.getvalue().count("\n") == 2)
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(entry["request_id"], entry["method"], entry["code"]) for entry in entries] == [
        ("one", "DetectFaces", "OK"),
        ("two", "DetectFaces", "INVALID_ARGUMENT"),
    ]
    assert entries[0].keys() == {"time", "level", "logger", "message", "request_id", "method", "code", "seconds"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entries[0]["time"])


def test_a_call_is_a_line_for_people(logged: Callable[..., io.StringIO], watched: FaceAgingStub) -> None:
    stream = logged(logs.TextFormatter())
    watched.ListMethods(pb.ListMethodsRequest(), metadata=[("x-request-id", "one")])
    assert wait_until(lambda: "\n" in stream.getvalue())
    assert re.search(
        r" INFO dorian_server.telemetry.calls: ListMethods OK in \d+\.\d{3} s \[one\]\n$", stream.getvalue()
    )


def test_of_calls_that_find_no_room_one_a_second_is_logged_with_how_many_were_not() -> None:
    now = 100.0
    overload_log = Throttle(lambda: now)
    assert overload_log.skipped() == 0
    now = 100.9
    assert [overload_log.skipped() for _ in range(3)] == [None] * 3
    now = 101.0
    assert overload_log.skipped() == 3
    assert overload_log.skipped() is None
    now = 160.0
    assert overload_log.skipped() == 1


def test_errors_of_ours_are_logged_with_their_trace() -> None:
    formatter = logs.JsonFormatter()
    try:
        raise ValueError("broken")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), (type(error), error, error.__traceback__))
    entry = json.loads(formatter.format(record))
    assert (entry["level"], entry["message"], "request_id" in entry) == ("error", "failed", False)
    assert entry["exception"].startswith("Traceback")
    assert entry["exception"].endswith("ValueError: broken")


def test_nothing_of_a_photo_is_told(
    logged: Callable[..., io.StringIO],
    watched: FaceAgingStub,
    telemetry: Telemetry,
    spans: InMemorySpanExporter,
    image: pb.Image,
) -> None:
    """Neither its bytes nor what was read from it: no line has more digits than counts and times."""
    stream = logged(logs.JsonFormatter())
    spans.clear()
    response = watched.DetectFaces(pb.DetectFacesRequest(image=image))
    assert wait_until(lambda: stream.getvalue().endswith("\n"))
    (entry,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert entry["message"] == f"DetectFaces OK in {entry['seconds']:.3f} s"
    attributes = {key: value for span in spans.get_finished_spans() for key, value in (span.attributes or {}).items()}
    assert attributes.keys() == {"rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"}
    assert f"{response.faces[0].estimated_age:.2f}" not in stream.getvalue()


# --- traces ---


def test_a_call_is_a_span_with_one_for_each_stage(
    watched: FaceAgingStub, spans: InMemorySpanExporter, image: pb.Image
) -> None:
    """On the trace that the caller names, whichever thread it is worked on."""
    spans.clear()
    parent = ("traceparent", f"00-{'4b' * 16}-{'00f0' * 4}-01")
    list(watched.Optimize(pb.OptimizeRequest(image=image), metadata=[parent]))
    assert wait_until(lambda: any(span.name == f"{SERVICE}/Optimize" for span in spans.get_finished_spans()))
    spans_by_name = {span.name: span for span in spans.get_finished_spans()}
    call = spans_by_name.pop(f"{SERVICE}/Optimize")
    assert {"decode", "detect", "align", "read", "encode", "optimise", "generate", "write"} <= spans_by_name.keys()
    assert {context_of(span).trace_id for span in (call, *spans_by_name.values())} == {int("4b" * 16, 16)}
    assert call.parent is not None
    assert call.parent.span_id == int("00f0" * 4, 16)
    for span in spans_by_name.values():
        assert span.parent is not None
        assert span.parent.span_id == context_of(call).span_id
    assert (call.attributes or {})["rpc.grpc.status_code"] == "OK"


def test_a_failed_calls_span_says_so(watched: FaceAgingStub, spans: InMemorySpanExporter) -> None:
    spans.clear()
    with pytest.raises(grpc.RpcError):
        watched.DetectFaces(pb.DetectFacesRequest())
    assert wait_until(lambda: bool(spans.get_finished_spans()))
    assert wait_until(lambda: spans.get_finished_spans()[-1].name == f"{SERVICE}/DetectFaces")
    call = spans.get_finished_spans()[-1]
    assert (call.attributes or {})["rpc.grpc.status_code"] == "INVALID_ARGUMENT"
    assert (call.status.is_ok, call.status.description) == (False, "INVALID_ARGUMENT")


def context_of(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


def test_without_opentelemetry_traces_are_a_startup_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(StartupError, match=r"pip install 'dorian-server\[traces\]'"):
        traces.open_traces("http://localhost:4317")
