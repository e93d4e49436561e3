"""Bad input over a real socket: status, reason, field and message of each, and the server that stays up."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle.face_detection import DetectedFace
from dorian_server.faces.detector import NetworkDetector
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.pipeline.reconstruction import Reconstruction
from tests.server.rejections import SECONDS, Rejection, expect, rejected, rejected_at_once

# Reasons that lie in who calls, how much, and when; other files test them.
OF_CALLERS = {"API_KEY_MISSING", "API_KEY_UNKNOWN", "SCOPE_MISSING", "CALLS_AT_ONCE", "CALLS_PER_MINUTE"}
# Those of MixStyles are in test_style_mixing.py.
OF_MIXING = {"REFERENCE_MISSING", "REFERENCE_TOO_MANY", "PRESET_UNKNOWN", "LEVELS_UNSUITABLE"}
ELSEWHERE = (
    OF_CALLERS
    | OF_MIXING
    | {"QUEUE_FULL", "DEADLINE_TOO_SHORT", "NOT_READY", "IMAGE_BYTES_EXCEEDED", "METHOD_WITHHELD"}
)
CONTRACT = Path(__file__).resolve().parents[2] / "proto" / "dorian" / "v1" / "face_aging.proto"
DATA = "image.data"
Age = pb.Age
Box = pb.Box
Face = pb.FaceSelector
Own = pb.FaceTarget
OLD = Age(group="60+")
YOUNG = Age(filter="young")
Write = Callable[..., bytes]


@pytest.fixture(scope="module")
def photos(huge_png: bytes, astronaut_file: bytes, portrait_file: bytes, write: Write) -> dict[str, bytes]:
    """Photos by name: a good one, and those that are no good."""
    return {
        "good": portrait_file,
        "empty": b"",
        "text": b"Dear server,\nplease find attached a photo of mine.\n",
        "truncated": astronaut_file[: len(astronaut_file) // 2],
        "1x1": write(np.zeros((1, 1, 3), np.uint8)),
        "30000x30000": huge_png,
        "no face": write(np.full((300, 300, 3), 127, np.uint8)),
        "a strip": write(np.full((40, 60_000, 3), 127, np.uint8)),
        "wide": write(np.full((32, 16_384, 3), 127, np.uint8)),
        "wider": write(np.full((32, 65_536, 3), 127, np.uint8)),
        "grass": write(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)),
    }


# photo, what else is in the request, and then: reason, field, message
AGE_TRANSFORM: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("empty", {}, "IMAGE_EMPTY", DATA, "the image is empty"),
    ("text", {}, "IMAGE_UNREADABLE", DATA, "cannot be decoded; send a whole JPEG, PNG or WebP"),
    ("truncated", {}, "IMAGE_UNREADABLE", DATA, "send a whole JPEG"),
    ("1x1", {}, "IMAGE_TOO_SMALL", DATA, "the image is 1×1 pixels; each side must be at least 32"),
    ("30000x30000", {}, "IMAGE_TOO_LARGE", DATA, "30000×30000 pixels; at most 64,000,000"),
    (
        "wide",
        {"output": pb.OutputOptions(format=pb.IMAGE_FORMAT_WEBP)},
        "IMAGE_TOO_LARGE",
        DATA,
        "16384×32 pixels; a WebP file has at most 16,383 on a side, so set output.format to JPEG or PNG",
    ),
    (
        "wider",
        {"output": pb.OutputOptions(format=pb.IMAGE_FORMAT_JPEG)},
        "IMAGE_TOO_LARGE",
        DATA,
        "65536×32 pixels; a JPEG file has at most 65,535 on a side, so set output.format to PNG",
    ),
    ("no face", {}, "NO_FACE", DATA, "no face was found"),
    ("a strip", {}, "NO_FACE", DATA, "no face was found"),
    ("grass", {}, "NO_FACE", DATA, "no face was found"),
    ("good", {"targets": []}, "TARGET_MISSING", "targets", "no target age is given"),
    ("good", {"targets": [Age(years=1), Age()]}, "TARGET_MISSING", "targets[1]", "targets[1] is empty"),
    ("good", {"targets": [Age(years=40)] * 33}, "TARGET_TOO_MANY", "targets", "33 target ages are given; at most 32"),
    ("good", {"targets": [Age(group="61+")]}, "AGE_GROUP_UNKNOWN", "targets[0]", "'61+'; known: 0-18, 19-29, 30-39,"),
    ("good", {"targets": [Age(group="")]}, "AGE_GROUP_UNKNOWN", "targets[0]", "''; known: 0-18"),
    ("good", {"targets": [Age(years=-3)]}, "AGE_OUT_OF_RANGE", "targets[0]", "age -3 is out of range"),
    ("good", {"targets": [Age(years=5), Age(years=200)]}, "AGE_OUT_OF_RANGE", "targets[1]", "between 0 and 120 years"),
    ("good", {"targets": [Age(years=math.nan)]}, "AGE_OUT_OF_RANGE", "targets[0]", "age nan is out of range"),
    ("good", {"targets": [Age(years=math.inf)]}, "AGE_OUT_OF_RANGE", "targets[0]", "age inf is out of range"),
    ("good", {"source": Age(years=121)}, "AGE_OUT_OF_RANGE", "source", "age 121 is out of range"),
    ("good", {"source": Age(group="old")}, "AGE_GROUP_UNKNOWN", "source", "unknown age group 'old'"),
    ("good", {"source": Age()}, "TARGET_MISSING", "source", "source is empty"),
    ("good", {"targets": [Age(filter="blue")]}, "FILTER_UNKNOWN", "targets[0]", "has no filter 'blue'; the bundle has"),
    ("good", {"method": "magic"}, "METHOD_UNKNOWN", "method", "no method 'magic'; it has age_"),
    ("good", {"output": {"quality": 101}}, "SETTING_OUT_OF_RANGE", "output.quality", "quality 101 is out of range"),
    ("good", {"output": {"quality": -1}}, "SETTING_OUT_OF_RANGE", "output.quality", "between 1 and 100"),
    ("good", {"output": {"format": 9}}, "SETTING_OUT_OF_RANGE", "output.format", "known: JPEG, PNG, WebP"),
    ("good", {"strength": 1.6}, "SETTING_OUT_OF_RANGE", "strength", "strength 1.6 is out of range"),
    ("good", {"strength": -1}, "SETTING_OUT_OF_RANGE", "strength", "between 0 and 1.5"),
    ("good", {"strength": math.nan}, "SETTING_OUT_OF_RANGE", "strength", "strength nan"),
    ("good", {"strength": 1.2, "blend": pb.BLEND_REPLACE}, "SETTING_OUT_OF_RANGE", "strength", "between 0 and 1 for"),
    (
        "good",
        {"optimisation": 4},
        "SETTING_OUT_OF_RANGE",
        "optimisation",
        "optimisation 4 is unknown; known: NONE, FAST",
    ),
    (
        "good",
        {"latents": [pb.FaceLatent(face=Face(index=0), latent=[1, 2])], "method": "age_cgan"},
        "LATENT_UNSUITABLE",
        "latents[0].latent",
        "latents[0].latent has 2 numbers; age_cgan has latents of 384, all from -100 to 100",
    ),
    ("good", {"blend": 7}, "SETTING_OUT_OF_RANGE", "blend", "blend 7 is unknown; known: DELTA, REPLACE"),
    ("good", {"faces": [Face(index=1)]}, "FACE_NOT_FOUND", "faces[0]", "no face is at index 1; 1 face was found"),
    ("good", {"faces": [Face(box=Box(width=5, height=5))]}, "FACE_NOT_FOUND", "faces[0]", "the box 0, 0, 5, 5"),
    ("good", {"faces": [Face(index=0)], "targets": []}, "TARGET_MISSING", "targets", "no target age is given"),
    ("good", {"faces": [Face()]}, "SETTING_OUT_OF_RANGE", "faces[0]", "faces[0] names no face; set largest to true"),
    ("good", {"faces": [Face(largest=False)]}, "SETTING_OUT_OF_RANGE", "faces[0]", "names no face"),
    ("good", {"faces": [Face(index=-1)]}, "SETTING_OUT_OF_RANGE", "faces[0]", "an index from 0 on"),
    ("good", {"faces": [Face(box=Box(x=1, y=1))]}, "SETTING_OUT_OF_RANGE", "faces[0]", "a width and a height"),
    ("good", {"faces": [Face(box=Box(x=math.nan, width=5, height=5))]}, "SETTING_OUT_OF_RANGE", "faces[0]", "no face"),
    ("good", {"faces": [Face(box=Box(width=math.inf, height=5))]}, "SETTING_OUT_OF_RANGE", "faces[0]", "no face"),
    ("good", {"faces": [Face(index=0)] * 33}, "FACE_TOO_MANY", "faces", "33 faces are named; at most 32 are allowed"),
    ("good", {"face_targets": [Own(target=OLD)]}, "SETTING_OUT_OF_RANGE", "face_targets[0].face", "names no face"),
    ("good", {"face_targets": [Own(face=Face(index=0))]}, "TARGET_MISSING", "face_targets[0].target", "is empty"),
    (
        "good",
        {"targets": [], "face_targets": [Own(face=Face(index=8), target=OLD)]},
        "FACE_NOT_FOUND",
        "face_targets[0].face",
        "no face is at index 8",
    ),
    (
        "good",
        {"face_targets": [Own(face=Face(index=0), target=OLD, source=Age(years=130))]},
        "AGE_OUT_OF_RANGE",
        "face_targets[0].source",
        "age 130 is out of range",
    ),
    (
        "good",
        {"face_targets": [Own(face=Face(largest=True), target=OLD)] * 33},
        "FACE_TOO_MANY",
        "face_targets",
        "33 faces are named",
    ),
]
RECONSTRUCT: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("empty", {}, "IMAGE_EMPTY", DATA, "the image is empty"),
    ("no face", {}, "NO_FACE", DATA, "no face was found"),
    (
        "good",
        {"mode": 9},
        "SETTING_OUT_OF_RANGE",
        "mode",
        "mode 9 cannot be taken here; known: INITIAL, PIXELWISE, IDENTITY, BLENDED",
    ),
    ("good", {"method": "magic"}, "METHOD_UNKNOWN", "method", "no method 'magic'"),
    ("good", {"source": Age(years=-1)}, "AGE_OUT_OF_RANGE", "source", "age -1 is out of range"),
    ("good", {"output": {"quality": 101}}, "SETTING_OUT_OF_RANGE", "output.quality", "quality 101"),
    ("good", {"faces": [Face(index=3)]}, "FACE_NOT_FOUND", "faces[0]", "no face is at index 3"),
    ("good", {"faces": [Face(index=0)] * 33}, "FACE_TOO_MANY", "faces", "33 faces are named"),
    ("good", {"faces": [Face(largest=True), Face()]}, "SETTING_OUT_OF_RANGE", "faces[1]", "names no face"),
]
# Of a bundle of several methods: what each cannot do, and what none can.
METHODS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"method": "magic"}, "METHOD_UNKNOWN", "method", "no method 'magic'; it has age_translator, age_cgan, cyclegan"),
    ({"targets": [Age(years=-1)]}, "AGE_OUT_OF_RANGE", "targets[0]", "age -1 is out of range"),
    ({"targets": [Age(years=math.nan)]}, "AGE_OUT_OF_RANGE", "targets[0]", "age nan is out of range"),
    ({"targets": [OLD, Age(group="61+")]}, "AGE_GROUP_UNKNOWN", "targets[1]", "'61+'; known: 0-18"),
    ({"method": "cyclegan"}, "TARGET_UNSUITABLE", "targets[0]", "cyclegan draws no ages, but filters: young, old"),
    ({"method": "cyclegan", "targets": [YOUNG, Age(years=5)]}, "TARGET_UNSUITABLE", "targets[1]", "draws no ages"),
    (
        {"method": "age_cgan", "targets": [OLD, YOUNG]},
        "FILTER_UNKNOWN",
        "targets[1]",
        "age_cgan has no filter 'young'; the bundle has young, old (cyclegan)",
    ),
    (
        {"method": "cyclegan", "targets": [Age(filter="blue")]},
        "FILTER_UNKNOWN",
        "targets[0]",
        "the bundle has young, old",
    ),
    ({"targets": [Age(filter="")]}, "FILTER_UNKNOWN", "targets[0]", "no filter ''; the bundle has young, old"),
    ({"targets": [YOUNG, OLD]}, "FILTER_UNKNOWN", "targets[0]", "age_translator has no filter 'young'"),
    (
        {"targets": [OLD], "face_targets": [Own(face=Face(index=0), target=YOUNG)]},
        "FILTER_UNKNOWN",
        "face_targets[0].target",
        "age_translator has no filter 'young'",
    ),
    (
        {"targets": [YOUNG], "face_targets": [Own(face=Face(index=0), target=OLD)], "method": "cyclegan"},
        "TARGET_UNSUITABLE",
        "face_targets[0].target",
        "cyclegan draws no ages",
    ),
    ({"source": YOUNG}, "TARGET_UNSUITABLE", "source", "the filter 'young' is no age that a face has"),
    (
        {"targets": [], "face_targets": [Own(face=Face(index=0), target=YOUNG, source=YOUNG)]},
        "TARGET_UNSUITABLE",
        "face_targets[0].source",
        "give an age group or a number of years",
    ),
    ({"targets": [YOUNG], "source": OLD}, "AGE_GROUP_UNKNOWN", "source", "cyclegan has no age groups; give a number"),
    ({"targets": [YOUNG], "source": Age(years=121)}, "AGE_OUT_OF_RANGE", "source", "age 121 is out of range"),
]
METHODS_THAT_RECONSTRUCT: list[tuple[dict[str, Any], str, str, str]] = [
    ({"method": "age_translator"}, "METHOD_UNSUITABLE", "method", "age_translator has no encoder"),
    ({"method": "cyclegan"}, "METHOD_UNSUITABLE", "method", "so it cannot reconstruct or optimise; age_cgan can"),
    ({"method": "magic"}, "METHOD_UNKNOWN", "method", "no method 'magic'"),
    ({"source": YOUNG}, "TARGET_UNSUITABLE", "source", "the filter 'young' is no age that a face has"),
]
DETECT_FACES: list[tuple[str, str, str, str]] = [
    ("empty", "IMAGE_EMPTY", DATA, "the image is empty"),
    ("text", "IMAGE_UNREADABLE", DATA, "cannot be decoded"),
    ("truncated", "IMAGE_UNREADABLE", DATA, "send a whole JPEG"),
    ("1x1", "IMAGE_TOO_SMALL", DATA, "at least 32"),
    ("30000x30000", "IMAGE_TOO_LARGE", DATA, "at most 64,000,000"),
]
# both photos, what else is in the request, and then as above
COMPARE_FACES: list[tuple[str, str, dict[str, Any], str, str, str]] = [
    ("empty", "good", {}, "IMAGE_EMPTY", "first.data", "the first photo: the image is empty"),
    ("good", "empty", {}, "IMAGE_EMPTY", "second.data", "the second photo: the image is empty"),
    ("good", "truncated", {}, "IMAGE_UNREADABLE", "second.data", "the second photo: the image cannot be decoded"),
    ("1x1", "text", {}, "IMAGE_TOO_SMALL", "first.data", "the first photo: the image is 1×1"),
    ("no face", "good", {}, "NO_FACE", "first.data", "the first photo: no face was found"),
    ("good", "no face", {}, "NO_FACE", "second.data", "the second photo: no face was found"),
    ("good", "good", {"first_face": Face(index=2)}, "FACE_NOT_FOUND", "first_face", "the first photo: no face is at"),
    ("good", "good", {"second_face": Face(index=2)}, "FACE_NOT_FOUND", "second_face", "the second photo: no face is"),
    ("good", "good", {"second_face": Face()}, "SETTING_OUT_OF_RANGE", "second_face", "second_face names no face"),
    ("good", "good", {"first_face": Face(index=-5)}, "SETTING_OUT_OF_RANGE", "first_face", "an index from 0 on"),
    ("good", "good", {"false_accept_rate": 0.25}, "SETTING_OUT_OF_RANGE", "false_accept_rate", "rate of 0.25; known:"),
    ("good", "good", {"false_accept_rate": -1}, "SETTING_OUT_OF_RANGE", "false_accept_rate", "no threshold is known"),
]


def expect_alive(stub: FaceAgingStub) -> None:
    assert stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).methods


@pytest.mark.parametrize(("photo", "fields", "reason", "field", "message"), AGE_TRANSFORM)
def test_age_transform_rejects(
    stub: FaceAgingStub,
    photos: dict[str, bytes],
    photo: str,
    fields: dict[str, Any],
    reason: str,
    field: str,
    message: str,
) -> None:
    fields = {"targets": [OLD]} | fields
    request = pb.AgeTransformRequest(image=pb.Image(data=photos[photo]), **fields)
    expect(rejected(stub.AgeTransform, request), reason, field, message)
    expect_alive(stub)


@pytest.mark.parametrize(("photo", "fields", "reason", "field", "message"), RECONSTRUCT)
def test_reconstruct_rejects(
    stub: FaceAgingStub,
    photos: dict[str, bytes],
    photo: str,
    fields: dict[str, Any],
    reason: str,
    field: str,
    message: str,
) -> None:
    request = pb.ReconstructRequest(image=pb.Image(data=photos[photo]), **fields)
    expect(rejected(stub.Reconstruct, request), reason, field, message)
    expect_alive(stub)


@pytest.mark.parametrize(("fields", "reason", "field", "message"), METHODS)
def test_methods_reject_what_they_cannot_draw(
    several: FaceAgingStub, photos: dict[str, bytes], fields: dict[str, Any], reason: str, field: str, message: str
) -> None:
    request = pb.AgeTransformRequest(image=pb.Image(data=photos["good"]), **{"targets": [OLD]} | fields)
    expect(rejected(several.AgeTransform, request), reason, field, message)


@pytest.mark.parametrize(("fields", "reason", "field", "message"), METHODS_THAT_RECONSTRUCT)
def test_methods_reject_to_reconstruct(
    several: FaceAgingStub, photos: dict[str, bytes], fields: dict[str, Any], reason: str, field: str, message: str
) -> None:
    request = pb.ReconstructRequest(image=pb.Image(data=photos["good"]), **fields)
    expect(rejected(several.Reconstruct, request), reason, field, message)


@pytest.mark.parametrize(("photo", "reason", "field", "message"), DETECT_FACES)
def test_detect_faces_rejects(
    stub: FaceAgingStub, photos: dict[str, bytes], photo: str, reason: str, field: str, message: str
) -> None:
    request = pb.DetectFacesRequest(image=pb.Image(data=photos[photo]))
    expect(rejected(stub.DetectFaces, request), reason, field, message)
    expect_alive(stub)


@pytest.mark.parametrize(("first", "second", "fields", "reason", "field", "message"), COMPARE_FACES)
def test_compare_faces_rejects(
    stub: FaceAgingStub,
    photos: dict[str, bytes],
    first: str,
    second: str,
    fields: dict[str, Any],
    reason: str,
    field: str,
    message: str,
) -> None:
    images = pb.Image(data=photos[first]), pb.Image(data=photos[second])
    request = pb.CompareFacesRequest(first=images[0], second=images[1], **fields)
    expect(rejected(stub.CompareFaces, request), reason, field, message)
    expect_alive(stub)


def test_faces_that_cannot_be_aligned_are_rejected(
    stub: FaceAgingStub, photos: dict[str, bytes], face_in_a_point: DetectedFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NetworkDetector, "detect", lambda *_: [face_in_a_point])
    image = pb.Image(data=photos["good"])
    reason, message = "FACE_UNUSABLE", "face 0 cannot be aligned"
    expect(rejected(stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=[OLD])), reason, DATA, message)
    expect(rejected(stub.Reconstruct, pb.ReconstructRequest(image=image)), reason, DATA, message)
    request = pb.CompareFacesRequest(first=image, second=image)
    expect(rejected(stub.CompareFaces, request), reason, "first_face", message)


def test_a_bundle_that_is_not_served_is_rejected(stub: FaceAgingStub, photos: dict[str, bytes]) -> None:
    image = pb.Image(data=photos["good"])
    requests: list[tuple[Callable[..., Rejection], Any, Any]] = [
        (rejected, stub.AgeTransform, pb.AgeTransformRequest(image=image, targets=[OLD], bundle="magic")),
        (rejected, stub.DetectFaces, pb.DetectFacesRequest(image=image, bundle="magic")),
        (rejected, stub.CompareFaces, pb.CompareFacesRequest(first=image, second=image, bundle="magic")),
        (rejected, stub.Reconstruct, pb.ReconstructRequest(image=image, bundle="magic")),
        (rejected_at_once, stub.Optimize, pb.OptimizeRequest(image=image, bundle="magic")),
        (rejected, stub.ListMethods, pb.ListMethodsRequest(bundle="magic")),
    ]
    (name,) = stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).bundles
    for how, rpc, request in requests:
        expect(how(rpc, request), "BUNDLE_UNKNOWN", "bundle", f"there is no bundle 'magic' here, but {name}")


def test_a_request_of_nothing(stub: FaceAgingStub) -> None:
    expect(rejected(stub.AgeTransform, pb.AgeTransformRequest()), "TARGET_MISSING", "targets", "no target age")
    expect(rejected(stub.Reconstruct, pb.ReconstructRequest()), "IMAGE_EMPTY", DATA, "the image is empty")
    expect(rejected(stub.DetectFaces, pb.DetectFacesRequest()), "IMAGE_EMPTY", DATA, "the image is empty")
    expect(rejected(stub.CompareFaces, pb.CompareFacesRequest()), "IMAGE_EMPTY", "first.data", "the first photo: the")


def test_every_reason_of_the_contract_is_tested_here_and_no_other_is_given() -> None:
    table = CONTRACT.read_text(encoding="utf-8").partition("The reasons:")[2].partition("syntax")[0]
    statuses = {"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    documented = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", table)) - statuses
    tables = [*AGE_TRANSFORM, *RECONSTRUCT, *METHODS, *METHODS_THAT_RECONSTRUCT, *DETECT_FACES, *COMPARE_FACES]
    by_themselves = {"FACE_UNUSABLE", "BUNDLE_UNKNOWN"}
    assert {reason for *_, reason, _, _ in tables} | by_themselves == documented - ELSEWHERE
    assert documented >= ELSEWHERE


@pytest.mark.parametrize("name", ["x" * 100_000, "🙂" * 2000], ids=["long", "of many bytes"])
def test_a_long_name_in_a_request_does_not_swell_the_status(
    stub: FaceAgingStub, photos: dict[str, bytes], name: str
) -> None:
    """Clients take 8 KiB of it; beyond, they would report that they were out of resources."""
    image = pb.Image(data=photos["good"])
    request = pb.AgeTransformRequest(image=image, targets=[Age(group=name)])
    expect(rejected(stub.AgeTransform, request), "AGE_GROUP_UNKNOWN", "targets[0]", "known: 0-18, 19-29")
    request = pb.AgeTransformRequest(image=image, targets=[Age(group="60+")], method=name)
    expect(rejected(stub.AgeTransform, request), "METHOD_UNKNOWN", "method", "; it has age_")


@pytest.mark.parametrize("rpc", ["AgeTransform", "DetectFaces", "CompareFaces", "Reconstruct"])
def test_a_fault_of_ours_is_internal_and_tells_nothing(
    stub: FaceAgingStub,
    photos: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rpc: str,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret of /etc/shadow")

    image = pb.Image(data=photos["good"])
    requests = {
        "AgeTransform": pb.AgeTransformRequest(image=image, targets=[OLD]),
        "DetectFaces": pb.DetectFacesRequest(image=image),
        "CompareFaces": pb.CompareFacesRequest(first=image, second=image),
        "Reconstruct": pb.ReconstructRequest(image=image),
    }
    with monkeypatch.context() as patch:
        for name in ("age", "detect", "compare"):
            patch.setattr(Pipeline, name, fail)
        patch.setattr(Reconstruction, "reconstruct", fail)
        rejection = rejected(getattr(stub, rpc), requests[rpc])
    assert rejection.code == "INTERNAL"
    assert rejection.message == "the server failed; the request is not to blame"
    assert (rejection.info.reason, rejection.info.domain) == ("INTERNAL", "dorian.v1")
    assert not rejection.bad_request.field_violations
    assert "secret" not in str(rejection.details)
    assert "the secret of /etc/shadow" in caplog.text, "operators must see it"
    (record,) = [record for record in caplog.records if record.name.startswith("dorian_server")]
    assert record.levelno == logging.ERROR
    assert len(stub.AgeTransform(requests["AgeTransform"], timeout=SECONDS).results) == 1


def test_bad_requests_are_not_logged_as_faults(
    stub: FaceAgingStub, photos: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    rejected(stub.Reconstruct, pb.ReconstructRequest(image=pb.Image(data=photos["text"])))
    assert [record for record in caplog.records if record.name.startswith("dorian_server")] == []
