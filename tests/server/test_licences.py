"""A server that is set to what is free for commercial use: what it leaves out, what it says of that, and what it refuses to serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_bundle.manifest import MANIFEST_FILE
from dorian_server.domain.errors import RequestError, StartupError
from dorian_server.serving.server import Server, start
from dorian_server.settings import Settings
from tests.server.rejections import expect, rejected
from tests.server.tiny_bundles import rewrite
from tests.server.tiny_searches import photo_of, write_search_bundle

SECONDS = 60
RESEARCH = {"name": "UTKFace", "licence": "non-commercial research", "commercial_use": False, "faces": 7}
WHY = "not served here, as it is not free for commercial use, because of {}: UTKFace (non-commercial research)"


def restrict(entry: dict[str, Any]) -> None:
    entry["provenance"] |= {"commercial_use": False, "licence": "for research", "data": [RESEARCH]}


def write(folder: Path, methods: tuple[str, ...], unfree: tuple[str, ...]) -> Bundle:
    """A bundle of ``methods``, of which those ``unfree`` are not free for commercial use; a face reader may be one."""
    content = json.loads((write_search_bundle(folder, *methods).folder / MANIFEST_FILE).read_bytes())
    return rewrite(folder, **restricted(content, unfree))


def restricted(content: dict[str, Any], unfree: tuple[str, ...]) -> dict[str, Any]:
    for entry in content["methods"]:
        if entry["name"] in unfree:
            restrict(entry)
    for name, entry in content["readers"].items():
        if name in unfree:
            restrict(entry)
    return {"methods": content["methods"], "readers": content["readers"]}


def settings(folder: Path) -> Settings:
    return Settings(folder, licences="commercial", host="127.0.0.1", port=0, threads=1)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write(
        tmp_path / "bundle", ("searching", "encoding", "age_translator", "cyclegan"), ("searching", "cyclegan")
    )


@pytest.fixture
def server(bundle: Bundle) -> Iterator[Server]:
    server = start(settings(bundle.folder))
    yield server
    server.stop()


@pytest.fixture
def stub(server: Server) -> Iterator[FaceAgingStub]:
    with ExitStack() as stack:
        yield FaceAgingStub(stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}")))


@pytest.fixture
def image(write_photo: Callable[[], bytes]) -> pb.Image:
    return pb.Image(data=write_photo())


@pytest.fixture
def write_photo(write: Callable[..., bytes]) -> Callable[[], bytes]:
    return lambda: write(photo_of((220, 160, 60)))


def names(stub: FaceAgingStub) -> list[str]:
    return [method.name for method in stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).methods]


def test_only_free_methods_are_listed_and_serve(stub: FaceAgingStub, bundle: Bundle, image: pb.Image) -> None:
    listed = stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)
    assert [(method.name, method.is_default, method.commercial_use) for method in listed.methods] == [
        ("encoding", True, True),
        ("age_translator", False, True),
    ]
    assert listed.weights_licence == "CC0-1.0"
    assert listed.bundle_sha256 == bundle.sha256
    request = pb.AgeTransformRequest(image=image, targets=[pb.Age(years=60)])
    response = stub.AgeTransform(request, timeout=SECONDS)
    assert (response.provenance.method, response.provenance.bundle_sha256) == ("encoding", bundle.sha256)


def test_a_call_for_what_is_left_out_is_told_why(stub: FaceAgingStub, image: pb.Image) -> None:
    years, old = [pb.Age(years=60)], [pb.Age(filter="old")]
    named = pb.AgeTransformRequest(image=image, targets=years, method="searching")
    expect(rejected(stub.AgeTransform, named), "METHOD_WITHHELD", "method", WHY.format("searching"))
    filtered = pb.AgeTransformRequest(image=image, targets=[*years, *old])
    expect(rejected(stub.AgeTransform, filtered), "METHOD_WITHHELD", "targets[1]", WHY.format("cyclegan"))
    searched = pb.ReconstructRequest(image=image, method="searching")
    expect(rejected(stub.Reconstruct, searched), "METHOD_WITHHELD", "method", "searching is not served here")
    expect(
        rejected(stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=years, method="none")),
        "METHOD_UNKNOWN",
        "method",
        "it has encoding, age_translator",
    )


def test_a_reload_selects_again(stub: FaceAgingStub, server: Server, bundle: Bundle) -> None:
    content = json.loads((bundle.folder / MANIFEST_FILE).read_bytes())
    rewrite(bundle.folder, **restricted(content, ("encoding",)))
    assert [item.has_changed for item in server.reload()] == [True]
    assert names(stub) == ["age_translator"]
    rewrite(bundle.folder, **restricted(content, ("encoding", "age_translator")))
    with pytest.raises(
        RequestError, match="stays what it was: --licences commercial: the bundle tiny has no method that"
    ):
        server.reload()
    assert names(stub) == ["age_translator"]


@pytest.mark.parametrize(
    ("unfree", "words"),
    [
        (("searching",), r"the bundle tiny has no method that is free for commercial use \(searching: UTKFace"),
        (("facenet",), r"every photo passes networks that are not free for commercial use \(FaceNet: UTKFace"),
    ],
)
def test_a_bundle_of_nothing_free_is_refused(tmp_path: Path, unfree: tuple[str, ...], words: str) -> None:
    bundle = write(tmp_path / "bundle", ("searching",), unfree)
    with pytest.raises(StartupError, match=words):
        start(settings(bundle.folder))


def test_all_are_served_unless_told_otherwise(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", ("searching", "age_translator"), ("searching", "facenet"))
    server = start(Settings(bundle.folder, host="127.0.0.1", port=0, threads=1))
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            assert names(FaceAgingStub(channel)) == ["searching", "age_translator"]
    finally:
        server.stop()
