"""Nothing of a photo stays: not in logs, metrics or traces, not on disk, and nothing of our own faults goes to callers."""

from __future__ import annotations

import base64
import io
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from prometheus_client import generate_latest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.faces.detector import NetworkDetector
from dorian_server.serving.server import start
from dorian_server.settings import Limits, Settings
from dorian_server.telemetry import logs
from dorian_server.telemetry.telemetry import Telemetry
from dorian_server.telemetry.traces import Traces
from tests.server.rejections import SECONDS, Rejection, rejected
from tests.server.tiny_searches import photo_of

Write = Callable[..., bytes]

OF_EXIF, OF_TEXT, OF_TAIL = "Marigold-of-EXIF", "Marigold-of-a-text-chunk", "Marigold-after-the-end"
OF_REQUEST, OF_FAULT = "Marigold-of-the-request", "Marigold-of-our-fault"
FACE, OTHER = (220, 160, 60), (40, 90, 180)
DESCRIPTION, COMMENT = 0x010E, 0x9286  # EXIF's tags
OLD = pb.Age(years=70)
WRITES = os.O_WRONLY | os.O_RDWR


@dataclass
class Observed:
    """All that a server tells of its calls, and each file that this process opens to write into."""

    address: str
    telemetry: Telemetry
    spans: InMemorySpanExporter
    log: io.StringIO
    records: list[logging.LogRecord] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def output(self) -> str:
        """Everything that was told so far."""
        spans = [span.to_json() for span in self.spans.get_finished_spans()]
        records = [f"{record.getMessage()} {vars(record)}" for record in self.records]
        return "\n".join(
            [self.log.getvalue(), *records, *spans, generate_latest(self.telemetry.metrics.registry).decode()]
        )


def ways_to_say(secret: str | bytes) -> set[str]:
    """How ``secret`` may turn up in a text: as it is, in hexadecimal, as a list of numbers, in base64 wherever it begins."""
    data = secret.encode() if isinstance(secret, str) else secret
    coded = {base64.b64encode(bytes(shift) + data)[4:-4].decode() for shift in range(3)}
    numbers = ", ".join(map(str, data))
    return {data.hex(), data.hex().upper(), numbers, *coded, repr(data)[2:-1]}


# --- photos ---


@pytest.fixture
def jpeg(write: Write) -> bytes:
    """Two faces; words in the photo's EXIF, and after its end."""
    exif = Image.Exif()
    exif[DESCRIPTION] = OF_EXIF
    exif.get_ifd(0x8769)[COMMENT] = b"ASCII\0\0\0" + OF_EXIF.encode()
    data = write(photo_of(FACE, OTHER), "JPEG", quality=98, subsampling=0, exif=exif)
    return data + OF_TAIL.encode()


@pytest.fixture
def png(write: Write) -> bytes:
    """One face; words in a chunk of text, in EXIF, and after the end."""
    exif, text = Image.Exif(), PngInfo()
    exif[DESCRIPTION] = OF_EXIF
    text.add_text("Comment", OF_TEXT)
    return write(photo_of(FACE), "PNG", pnginfo=text, exif=exif) + OF_TAIL.encode()


# --- where a server tells and writes ---


class _Keeper(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.NOTSET)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where this process works, and where its temporary files go."""
    paths = [tmp_path / "work", tmp_path / "temporary"]
    for folder in paths:
        folder.mkdir()
    monkeypatch.chdir(paths[0])
    monkeypatch.setenv("TMPDIR", str(paths[1]))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert Path(tempfile.gettempdir()) == paths[1]
    return paths


@pytest.fixture
def debug_log(
    monkeypatch: pytest.MonkeyPatch, jpeg: bytes, png: bytes
) -> Iterator[tuple[io.StringIO, list[logging.LogRecord]]]:
    """What the server logs where it is told to log the most: as it is written, and each record.

    The photos are there before: what Pillow logs as it writes them would be taken for the server's.
    """
    root, written = logging.getLogger(), io.StringIO()
    level, handlers = root.level, list(root.handlers)
    records: list[logging.LogRecord] = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", written)
        logs.configure("debug", "json")
    root.addHandler(_Keeper(records))
    yield written, records
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def observed(
    searching_bundle: Bundle, folders: list[Path], debug_log: tuple[io.StringIO, list[logging.LogRecord]]
) -> Iterator[Observed]:
    """A server that tells all that it can."""
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    telemetry = Telemetry(traces=Traces(provider))
    settings = Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1, limits=Limits(max_steps=20))
    server = start(settings, telemetry)
    yield Observed(f"127.0.0.1:{server.port}", telemetry, spans, *debug_log)
    server.stop()
    provider.shutdown()


@pytest.fixture
def stub(observed: Observed) -> Iterator[FaceAgingStub]:
    with grpc.insecure_channel(observed.address) as channel:
        yield FaceAgingStub(channel)


class _Watched:
    """Tells ``told`` of the files that are opened to write into; Python never takes such a hook away again."""

    def __init__(self, observed: Observed) -> None:
        self.observed: Observed | None = observed
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.observed is not None and event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
            self.observed.written.append(str(arguments[0]))


@pytest.fixture
def files_watched(observed: Observed) -> Iterator[None]:
    watched = _Watched(observed)
    yield
    watched.observed = None


def files_in(folders: list[Path]) -> dict[Path, tuple[int, int]]:
    """Every file in ``folders``: its size, and when it was last written to."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def open_files() -> set[str]:
    """The regular files that this process has open, those that have no name any more among them."""
    paths = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if stat.S_ISREG(descriptor.stat().st_mode):
                paths.add(str(descriptor.readlink()))
        except FileNotFoundError:  # it was the listing's own
            continue
    return paths


# --- calls ---


def good_calls(stub: FaceAgingStub, jpeg: bytes, png: bytes) -> list[Any]:
    """One of each, all of which succeed."""
    image, other = pb.Image(data=jpeg), pb.Image(data=png)
    kept = pb.OutputOptions(keep_metadata=True)
    search = pb.SearchOptions(max_steps=10)
    return [
        stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS),
        stub.DetectFaces(pb.DetectFacesRequest(image=image), timeout=SECONDS),
        stub.CompareFaces(pb.CompareFacesRequest(first=image, second=other), timeout=SECONDS),
        stub.AgeTransform(
            pb.AgeTransformRequest(image=image, targets=[OLD], output=kept, with_delta=True), timeout=SECONDS
        ),
        stub.AgeTransform(
            pb.AgeTransformRequest(image=other, targets=[OLD], optimisation=pb.OPTIMISATION_BUDGET_FAST),
            timeout=SECONDS,
        ),
        stub.Reconstruct(
            pb.ReconstructRequest(image=image, mode=pb.RECONSTRUCTION_MODE_BLENDED, search=search), timeout=SECONDS
        ),
        *stub.Optimize(pb.OptimizeRequest(image=other, search=search, preview_every=2), timeout=SECONDS),
    ]


def bad_calls(stub: FaceAgingStub, jpeg: bytes, png: bytes) -> list[Rejection]:
    """Photos that cannot be read, or have no face, and words that nobody knows."""
    said = OF_REQUEST
    image, without_face = pb.Image(data=png), np.zeros((64, 64, 3), np.uint8)
    empty = io.BytesIO()
    Image.fromarray(without_face).save(empty, "PNG")
    broken = [jpeg[: len(jpeg) // 2] + OF_TAIL.encode(), png[: len(png) // 2], OF_TAIL.encode() * 100, empty.getvalue()]
    calls: list[tuple[Callable[..., Any], Any]] = [
        (stub.AgeTransform, pb.AgeTransformRequest(image=pb.Image(data=data), targets=[OLD])) for data in broken
    ]
    calls += [
        (stub.DetectFaces, pb.DetectFacesRequest(image=pb.Image(data=broken[0]))),
        (stub.CompareFaces, pb.CompareFacesRequest(first=image, second=pb.Image(data=broken[1]))),
        (stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=[pb.Age(group=said)])),
        (stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=[OLD], method=said)),
        (stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=[OLD], bundle=said)),
        (stub.Reconstruct, pb.ReconstructRequest(image=image, search=pb.SearchOptions(max_steps=99), mode=2)),
        (lambda *call, **fields: list(stub.Optimize(*call, **fields)), pb.OptimizeRequest(image=image, method=said)),
    ]
    return [rejected(rpc, request) for rpc, request in calls]


# --- what stays ---


def test_nothing_of_a_photo_is_told(observed: Observed, stub: FaceAgingStub, jpeg: bytes, png: bytes) -> None:
    answers = good_calls(stub, jpeg, png)
    bad_calls(stub, jpeg, png)
    assert OF_EXIF.encode() in answers[3].results[0].image.data, "asked for, it goes back to the caller"
    output = observed.output()
    assert all(name in output for name in ("AgeTransform", "Optimize", "grpc_server_handled_total", "INVALID_ARGUMENT"))
    for secret in (OF_EXIF, OF_TEXT, OF_TAIL, OF_REQUEST, jpeg[:24], png[33:57], jpeg[-200:-176], png[-200:-176]):
        for way in ways_to_say(secret):
            assert way not in output, f"{secret!r}, as {way!r}"


def test_nothing_that_is_read_from_a_face_is_told(
    observed: Observed, stub: FaceAgingStub, jpeg: bytes, png: bytes
) -> None:
    """Neither ages nor boxes, nor latents."""
    answers = good_calls(stub, jpeg, png)
    detected, reconstructed = answers[1], answers[5]
    (first, second), latent = detected.faces, reconstructed.faces[0].latent
    numbers = [first.estimated_age, second.estimated_age, first.box.x, first.box.width, first.score, *latent]
    said = {f"{number:.{digits}f}" for number in numbers for digits in (4, 5) if round(number, 2) != number}
    assert len(said) > 4
    output = observed.output()
    assert [number for number in said if number in output] == []


def test_no_file_is_written(
    observed: Observed,
    stub: FaceAgingStub,
    folders: list[Path],
    files_watched: None,
    jpeg: bytes,
    png: bytes,
    searching_bundle: Bundle,
) -> None:
    everywhere = [*folders, searching_bundle.folder]
    before, opened = files_in(everywhere), open_files()
    good_calls(stub, jpeg, png)
    bad_calls(stub, jpeg, png)
    assert files_in(everywhere) == before
    assert open_files() <= opened
    assert observed.written == []


def test_the_watch_on_files_sees_one_that_is_written(
    observed: Observed, folders: list[Path], files_watched: None
) -> None:
    """Or the test above would pass for nothing."""
    before, opened = files_in(folders), open_files()
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
        assert open_files() - opened
    assert observed.written
    observed.written.clear()
    (folders[0] / "photo.png").write_bytes(b"x")
    assert files_in(folders) != before
    assert observed.written == [str(folders[0] / "photo.png")]


# --- faults of ours ---


def test_a_fault_of_ours_tells_the_caller_nothing_and_the_log_no_photo(
    observed: Observed, stub: FaceAgingStub, jpeg: bytes, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(detector: NetworkDetector, pixels: object) -> None:
        raise RuntimeError(OF_FAULT)

    monkeypatch.setattr(NetworkDetector, "detect", fail)
    image = pb.Image(data=jpeg)
    calls: list[tuple[Callable[..., Any], Any]] = [
        (stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=[OLD])),
        (stub.DetectFaces, pb.DetectFacesRequest(image=pb.Image(data=png))),
        (stub.CompareFaces, pb.CompareFacesRequest(first=image, second=image)),
        (stub.Reconstruct, pb.ReconstructRequest(image=image)),
        (lambda *call, **fields: list(stub.Optimize(*call, **fields)), pb.OptimizeRequest(image=image)),
    ]
    for rpc, request in calls:
        with pytest.raises(grpc.RpcError) as caught:
            rpc(request, timeout=SECONDS)
        rejection = Rejection(caught.value)
        assert (rejection.code, rejection.info.reason) == ("INTERNAL", "INTERNAL")
        sent = f"{rejection.message} {rejection.details} {caught.value.initial_metadata()} {caught.value.trailing_metadata()}"
        for word in (OF_FAULT, "RuntimeError", "Traceback", "detect", ".py"):
            assert word not in sent
    output = observed.output()
    assert output.count("a request failed by our fault") >= len(calls)
    assert OF_FAULT in observed.log.getvalue(), "operators must see it"
    assert OF_FAULT not in "".join(span.to_json() for span in observed.spans.get_finished_spans()), "these go elsewhere"
    for secret in (OF_EXIF, OF_TEXT, OF_TAIL, jpeg[:24], png[33:57]):
        assert not any(way in output for way in ways_to_say(secret))
