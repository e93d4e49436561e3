"""Several bundles by name, and bundles that are reloaded while they serve."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.domain.errors import RequestError, StartupError
from dorian_server.serving import server as serving
from dorian_server.serving.bundles import LoadedBundle
from dorian_server.serving.server import Server, start
from dorian_server.settings import Settings
from dorian_server.telemetry.telemetry import Telemetry
from tests.server.rejections import expect, rejected, rejected_at_once
from tests.server.tiny_bundles import break_graph, rewrite
from tests.server.tiny_searches import photo_of, write_search_bundle

SECONDS = 60
FIRST, SECOND = "tiny", "other"


class Served:
    """A server on two bundles, calls to it, and what it counts."""

    def __init__(self, first: Bundle, second: Bundle, stack: ExitStack) -> None:
        self.first, self.second = first, second
        self.telemetry = Telemetry()
        settings = Settings(first.folder, {SECOND: second.folder}, host="127.0.0.1", port=0, threads=1)
        self.server: Server = start(settings, self.telemetry)
        stack.callback(self.server.stop)
        self.stub = FaceAgingStub(stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{self.server.port}")))

    def listed(self, name: str = "") -> pb.ListMethodsResponse:
        return self.stub.ListMethods(pb.ListMethodsRequest(bundle=name), timeout=SECONDS)

    def hashes(self) -> list[str]:
        """Those of the bundles that serve now."""
        return [self.listed(name).bundle_sha256 for name in (FIRST, SECOND)]

    def reported(self) -> dict[str, str]:
        """The hashes that the metrics tell, by name."""
        families = self.telemetry.metrics.registry.collect()
        (family,) = (family for family in families if family.name == "dorian_bundle_info")
        assert all(sample.value == 1 for sample in family.samples)
        return {sample.labels["served_as"]: sample.labels["sha256"] for sample in family.samples}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The first has the method ``encoding``, the second ``searching`` and ``age_translator``."""
    with ExitStack() as stack:
        first = write_search_bundle(tmp_path / "first", "encoding", "searching")
        second = write_search_bundle(tmp_path / "second", "searching", "age_translator")
        yield Served(first, second, stack)


@pytest.fixture
def image(write: Callable[..., bytes]) -> pb.Image:
    return pb.Image(data=write(photo_of((220, 160, 60))))


def states(served: list[LoadedBundle]) -> list[tuple[str, str, bool]]:
    return [(bundle.name, bundle.pipeline.bundle.sha256, bundle.has_changed) for bundle in served]


# --- by name ---


def test_bundles_are_listed_and_asked_for_by_name(served: Served) -> None:
    assert list(served.listed().bundles) == [FIRST, SECOND]
    for name, bundle in (("", served.first), (FIRST, served.first), (SECOND, served.second)):
        answer = served.listed(name)
        assert (answer.bundle, answer.bundle_sha256) == (bundle.manifest.name, bundle.sha256)
        assert [method.name for method in answer.methods] == [method.name for method in bundle.manifest.methods]
    assert served.reported() == {FIRST: served.first.sha256, SECOND: served.second.sha256}


def test_every_call_is_answered_by_the_bundle_that_it_names(served: Served, image: pb.Image) -> None:
    stub = served.stub
    for name, bundle in (("", served.first), (FIRST, served.first), (SECOND, served.second)):
        requests: list[tuple[Any, Any]] = [
            (stub.DetectFaces, pb.DetectFacesRequest(image=image, bundle=name)),
            (stub.CompareFaces, pb.CompareFacesRequest(first=image, second=image, bundle=name)),
            (stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=[pb.Age(years=70)], bundle=name)),
            (stub.Reconstruct, pb.ReconstructRequest(image=image, bundle=name)),
        ]
        for rpc, request in requests:
            assert rpc(request, timeout=SECONDS).provenance.bundle_sha256 == bundle.sha256
        *_, last = stub.Optimize(pb.OptimizeRequest(image=image, bundle=name), timeout=SECONDS)
        assert last.result.provenance.bundle_sha256 == bundle.sha256
    request = pb.AgeTransformRequest(image=image, targets=[pb.Age(years=70)], method="encoding", bundle=SECOND)
    assert rejected(stub.AgeTransform, request).info.reason == "METHOD_UNKNOWN"


@pytest.mark.parametrize(
    "name", ["ListMethods", "DetectFaces", "CompareFaces", "AgeTransform", "Reconstruct", "Optimize"]
)
def test_a_bundle_that_is_not_here(served: Served, name: str) -> None:
    rpc, request = getattr(served.stub, name), getattr(pb, f"{name}Request")(bundle="none")
    rejection = (rejected_at_once if name == "Optimize" else rejected)(rpc, request)
    expect(rejection, "BUNDLE_UNKNOWN", "bundle", "there is no bundle 'none' here, but tiny, other")


def test_two_bundles_of_one_name_do_not_start(tmp_path: Path) -> None:
    folders = [write_search_bundle(tmp_path / name, "encoding").folder for name in ("first", "second")]
    settings = Settings(folders[0], {FIRST: folders[1]}, host="127.0.0.1", port=0, threads=1)
    with pytest.raises(StartupError, match=r"^two bundles are called 'tiny'; give the extra one another name$"):
        start(settings)


def test_an_extra_bundle_that_is_broken_does_not_start(tmp_path: Path) -> None:
    folder = write_search_bundle(tmp_path / "first", "encoding").folder
    settings = Settings(folder, {SECOND: tmp_path / "none"}, host="127.0.0.1", port=0, threads=1)
    with pytest.raises(StartupError, match=r"none is no bundle: it has no manifest\.json$"):
        start(settings)


# --- reloads ---


def test_a_changed_bundle_serves_once_it_is_reloaded(served: Served) -> None:
    new = rewrite(served.second.folder, version="2")
    assert served.hashes() == [served.first.sha256, served.second.sha256], "it has not been asked to"
    assert states(served.server.reload()) == [(FIRST, served.first.sha256, False), (SECOND, new.sha256, True)]
    assert served.hashes() == [served.first.sha256, new.sha256]
    assert served.listed(SECOND).bundle_version == "2"
    assert served.reported() == {FIRST: served.first.sha256, SECOND: new.sha256}
    assert states(served.server.reload()) == [(FIRST, served.first.sha256, False), (SECOND, new.sha256, False)]


def test_one_alone_is_reloaded_by_its_name(served: Served) -> None:
    first = rewrite(served.first.folder, version="2")
    second = rewrite(served.second.folder, version="2")
    assert states(served.server.reload(SECOND)) == [(SECOND, second.sha256, True)]
    assert served.hashes() == [served.first.sha256, second.sha256]
    assert states(served.server.reload(FIRST)) == [(FIRST, first.sha256, True)]
    with pytest.raises(RequestError, match="no bundle 'none' here"):
        served.server.reload("none")


def test_the_first_keeps_its_name(served: Served) -> None:
    new = rewrite(served.first.folder, name="renamed")
    served.server.reload()
    assert list(served.listed().bundles) == [FIRST, SECOND]
    answer = served.listed(FIRST)
    assert (answer.bundle, answer.bundle_sha256) == ("renamed", new.sha256)
    assert served.reported()[FIRST] == new.sha256


def test_what_has_not_changed_stays_the_very_same(served: Served) -> None:
    before = [bundle.pipeline for bundle in served.server.reload()]
    rewrite(served.first.folder, version="2")
    after = [bundle.pipeline for bundle in served.server.reload()]
    assert after[0] is not before[0]
    assert after[1] is before[1]


def test_the_old_one_serves_until_the_new_one_is_warm(
    served: Served, image: pb.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    open_bundle = serving.open_bundle

    def open_when_allowed(*arguments: Any) -> Any:
        pipeline = open_bundle(*arguments)
        begun.set()
        assert may_end.wait(SECONDS)
        return pipeline

    monkeypatch.setattr(serving, "open_bundle", open_when_allowed)
    new = rewrite(served.first.folder, version="2")
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        stack.callback(may_end.set)
        reloaded = pool.submit(served.server.reload)
        assert begun.wait(SECONDS)
        answer = served.stub.DetectFaces(pb.DetectFacesRequest(image=image), timeout=SECONDS)
        assert answer.provenance.bundle_sha256 == served.first.sha256
        assert not reloaded.done()
        may_end.set()
        reloaded.result(SECONDS)
        answer = served.stub.DetectFaces(pb.DetectFacesRequest(image=image), timeout=SECONDS)
        assert answer.provenance.bundle_sha256 == new.sha256


def test_a_call_under_way_ends_on_the_bundle_that_it_began_on(
    served: Served, image: pb.Image, evaluations: Any
) -> None:
    """Its search goes on, on graphs of the old bundle, after the new one has come."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        begun.set()
        assert go_on.wait(SECONDS)

    request = pb.ReconstructRequest(image=image, mode=pb.RECONSTRUCTION_MODE_IDENTITY, bundle=SECOND)
    expected = served.stub.Reconstruct(request, timeout=SECONDS)
    with ExitStack() as stack:
        stack.callback(go_on.set)
        evaluations.before = hold
        under_way = served.stub.Reconstruct.future(request, timeout=SECONDS)
        assert begun.wait(SECONDS)
        evaluations.before = lambda number: None
        new = rewrite(served.second.folder, version="2")
        served.server.reload()
        assert served.listed(SECOND).bundle_sha256 == new.sha256
        assert not under_way.done()
    answer = under_way.result()
    assert answer.provenance.bundle_sha256 == served.second.sha256
    assert answer.faces == expected.faces
    assert served.stub.Reconstruct(request, timeout=SECONDS).provenance.bundle_sha256 == new.sha256


def test_the_old_ones_memory_is_freed(served: Served, image: pb.Image) -> None:
    """By itself: nobody knows how long the collector of cycles waits."""
    served.stub.AgeTransform(pb.AgeTransformRequest(image=image, targets=[pb.Age(years=70)]), timeout=SECONDS)
    (old,) = (weakref.ref(bundle.pipeline) for bundle in served.server.reload(FIRST))
    assert old() is not None
    rewrite(served.first.folder, version="2")
    served.server.reload(FIRST)
    assert old() is None


# --- broken ones ---


def break_manifest(bundle: Bundle) -> None:
    (bundle.folder / "manifest.json").write_text("{")


def take_card_away(bundle: Bundle) -> None:
    (bundle.folder / "README.md").unlink()


def put_wrong_graph(bundle: Bundle) -> None:
    """All hashes are right, but the age estimator is the encoder."""
    graphs = bundle.manifest.model_dump(mode="json")["graphs"]
    graphs["age"]["files"] = graphs["encoder"]["files"]
    rewrite(bundle.folder, graphs=graphs)


BREAKS = [break_manifest, take_card_away, break_graph, put_wrong_graph]


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_bundle_is_rejected_and_none_is_changed(
    served: Served, how: Callable[[Bundle], None], caplog: pytest.LogCaptureFixture
) -> None:
    before = [bundle.pipeline for bundle in served.server.reload()]
    rewrite(served.first.folder, version="2")
    how(served.second)
    with pytest.raises(RequestError, match=r"^the bundle 'other' stays what it was: "):
        served.server.reload()
    assert served.hashes() == [served.first.sha256, served.second.sha256]
    assert served.reported() == {FIRST: served.first.sha256, SECOND: served.second.sha256}
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.getMessage().startswith("bundle other stays what it was: ")
    assert served.server._bundles.pipeline(FIRST) is before[0]


def test_each_by_itself_the_sound_ones_do_not_wait_for_the_broken(served: Served) -> None:
    second = rewrite(served.second.folder, version="2")
    break_manifest(served.first)
    served.server.reload_each()
    assert served.hashes() == [served.first.sha256, second.sha256]


def test_it_serves_again_what_is_mended(served: Served) -> None:
    manifest = (served.first.folder / "manifest.json").read_bytes()
    break_manifest(served.first)
    with pytest.raises(RequestError):
        served.server.reload()
    (served.first.folder / "manifest.json").write_bytes(manifest)
    new = rewrite(served.first.folder, version="2")
    served.server.reload()
    assert served.hashes() == [new.sha256, served.second.sha256]


def test_whatever_fails_the_old_one_serves_on(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any) -> Any:
        raise MemoryError("no room for two")

    monkeypatch.setattr(serving, "open_bundle", fail)
    rewrite(served.first.folder, version="2")
    with pytest.raises(RequestError, match="stays what it was: no room for two"):
        served.server.reload()
    assert served.hashes() == [served.first.sha256, served.second.sha256]
    assert "Traceback" in caplog.text


def test_nothing_is_reloaded_before_it_is_open(tmp_path: Path) -> None:
    folder = write_search_bundle(tmp_path / "first", "encoding").folder
    server = Server(Settings(folder, host="127.0.0.1", port=0, threads=1), Telemetry())
    try:
        for name in ("", FIRST):
            with pytest.raises(RequestError, match="not open yet"):
                server.reload(name)
    finally:
        server.stop()


def test_two_who_ask_at_once_get_one_after_the_other(served: Served) -> None:
    new = rewrite(served.first.folder, version="2")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(served.server.reload, [FIRST] * 4))
    changed = [bundle.has_changed for (bundle,) in answers]
    assert sorted(changed) == [False, False, False, True]
    assert {bundle.pipeline.bundle.sha256 for (bundle,) in answers} == {new.sha256}
    assert len({id(bundle.pipeline) for (bundle,) in answers}) == 1
