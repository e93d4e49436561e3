"""Styles are mixed through the gateway as by the SDK, before a fake server and before the real one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from dorian_bundle import load_bundle
from dorian_client import Box, Client, Reference
from dorian_client.testing import FakeServer
from dorian_server.serving.server import start as start_server
from dorian_server.settings import Settings
from tests.gateway.browser_page import ASTRONAUT, HOPPER, pixels_of
from tests.gateway.encodings import as_form, as_json
from tests.gateway.gateway_process import ROOT, start_gateway
from tests.server.tiny_styles import write_style_bundle

BOX = {"x": 50.0, "y": 6.0, "width": 12.0, "height": 14.0}
OTHERS = [cv2.imencode(".png", np.full((24, 24, 3), grey, np.uint8))[1].tobytes() for grey in (90, 160)]
# Fields of a request to mix, with the SDK's references and arguments that mean the same.
CASES: dict[str, tuple[dict[str, Any], list[Any], dict[str, Any]]] = {
    "mean of two": ({"references": OTHERS}, OTHERS, {}),
    "preset": ({"references": OTHERS, "preset": "two-styles"}, OTHERS, {"preset": "two-styles"}),
    "levels": ({"references": OTHERS[:1], "levels": [9, 10]}, OTHERS[:1], {"levels": [9, 10]}),
    "levels and faces of each": (
        {"references": OTHERS, "reference_levels": [[9, 11], [10]], "reference_faces": [1, BOX]},
        [Reference(OTHERS[0], 1, [9, 11]), Reference(OTHERS[1], Box(**BOX), [10])],
        {},
    ),
    "an age": ({"to": "60-69", "count": 3, "gender": "man"}, [], {"to": "60-69", "count": 3, "gender": "man"}),
    "settings": (
        {"to": 70, "faces": [0], "method": "other", "strength": 0.5, "blend": "replace", "format": "webp",
         "quality": 80, "keep_metadata": True, "with_delta": True},
        [],
        {"to": 70, "faces": [0], "method": "other", "strength": 0.5, "blend": "replace", "format": "webp",
         "quality": 80, "keep_metadata": True, "with_delta": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("encode", [as_json, as_form])
@pytest.mark.parametrize("case", CASES)
def test_it_sends_what_the_sdk_sends(
    case: str, encode: Any, http: httpx.Client, fake: FakeServer, client: Client, photo: bytes
) -> None:
    fields, references, options = CASES[case]
    response = http.post("/v1/mix", **encode(photo, fields))
    assert response.status_code == 200, response.text
    client.mix(photo, references, **options)
    sent, expected = fake.requests
    assert sent == expected


def test_lists_of_levels_may_be_one_part(http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    form = as_form(photo, {"references": OTHERS, "reference_levels": [[[9, 11], [10]]], "levels": []})
    assert http.post("/v1/mix", **form).status_code == 200
    assert [list(reference.levels) for reference in fake.requests[0].references] == [[9, 11], [10]]


def test_it_returns_what_the_sdk_returns(http: httpx.Client, client: Client, photo: bytes) -> None:
    body = http.post("/v1/mix", **as_json(photo, {"references": OTHERS, "with_delta": True})).json()
    result = client.mix(photo, OTHERS, with_delta=True)
    assert result.delta is not None
    assert base64.b64decode(body["picture"]["data"]) == result.picture.data
    assert base64.b64decode(body["delta"]["data"]) == result.delta.data
    assert [face["identity_similarity"] for face in body["faces"]] == [
        report.identity_similarity for report in result.faces
    ]
    assert [(item["index"], tuple(item["levels"])) for item in body["references"]] == [
        (item.index, item.levels) for item in result.references
    ]
    assert body["provenance"]["bundle_sha256"] == result.provenance.bundle_sha256


def test_methods_tell_their_presets(http: httpx.Client) -> None:
    methods = {method["name"]: method for method in http.get("/v1/methods").json()["methods"]}
    assert (methods["inverter"]["style_levels"], methods["inverter"]["style_presets"]) == (0, [])
    assert methods["other"]["style_levels"] == 12
    assert methods["other"]["style_presets"][-1] == {"name": "two-styles", "groups": [[9, 11], [10, 12]]}


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("references[1].image.data", "references[1]"),
        ("references[1].levels", "reference_levels[1]"),
        ("references[0].face.box", "reference_faces[0].box"),
        ("references", "references"),
        ("chosen.count", "count"),
        ("chosen", "to"),
        ("preset", "preset"),
    ],
)
def test_fields_at_fault_have_their_names_of_http(
    field: str, name: str, http: httpx.Client, fake: FakeServer, photo: bytes
) -> None:
    fake.fail("REFERENCE_MISSING", field=field)
    response = http.post("/v1/mix", **as_form(photo, {"to": 60}))
    assert (response.status_code, response.json()["field"]) == (400, name)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"references": OTHERS, "reference_levels": [[9]]}, "reference_levels"),
        ({"references": OTHERS, "reference_faces": [0, 1, 2]}, "reference_faces"),
        ({"references": OTHERS, "levels": ["nine"]}, "levels.0"),
        ({"references": OTHERS, "count": 3}, None),
        ({"to": {"filter": "old"}}, "to"),
        ({"to": 60, "gender": "either"}, "gender"),
        ({"to": 60, "age": 60}, "age"),
    ],
)
@pytest.mark.parametrize("encode", [as_json, as_form])
def test_fields_that_cannot_be_read_are_named(
    fields: dict[str, Any], field: str | None, encode: Any, http: httpx.Client, fake: FakeServer, photo: bytes
) -> None:
    response = http.post("/v1/mix", **encode(photo, fields))
    problem = response.json()
    assert (response.status_code, problem["reason"]) == (400, "REQUEST_INVALID"), problem
    if field is not None:
        assert problem["field"].startswith(field)
    assert fake.requests == []


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of a gateway before a real server with a known AE-StyleGAN."""
    embedded = load_bundle(ROOT / "models" / "default")
    bundle = write_style_bundle(embedded, tmp_path_factory.mktemp("styles") / "bundle")
    server = start_server(Settings(bundle.folder, host="127.0.0.1", port=0, threads=1))
    gateway = start_gateway(f"127.0.0.1:{server.port}")
    with httpx.Client(base_url=gateway.url, timeout=120) as client:
        yield client
    gateway.stop()
    server.stop()


def test_a_real_photo_takes_styles_of_another_and_of_an_age(real: httpx.Client) -> None:
    photo, other = ASTRONAUT.read_bytes(), HOPPER.read_bytes()
    fields = {"references": [other], "preset": "high", "format": "png"}
    response = real.post("/v1/mix", headers={"Accept": "image/png"}, **as_form(photo, fields))
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png"), response.text
    change = np.abs(pixels_of(response.content) - pixels_of(photo)).max(axis=2)  # (512, 512)
    assert change.max() > 5
    assert (change > 0).mean() < 0.3, "the face alone"
    body = real.post("/v1/mix", **as_json(photo, {"to": 65, "count": 3, "gender": "man", "preset": "top"})).json()
    first = body["references"][0]
    assert (first["gender"], first["age_low"], first["age_high"], first["chosen_for"]) == ("man", 60, 69, 0)
    assert (body["faces"][0]["target"], body["faces"][0]["error"]) == (65, None)


def test_a_real_server_names_what_is_wrong(real: httpx.Client) -> None:
    photo, other = ASTRONAUT.read_bytes(), HOPPER.read_bytes()
    cases: list[tuple[dict[str, Any], int, str, str]] = [
        ({}, 400, "REFERENCE_MISSING", "references"),
        ({"references": [other] * 9}, 400, "REFERENCE_TOO_MANY", "references"),
        ({"references": [other], "preset": "no-such"}, 400, "PRESET_UNKNOWN", "preset"),
        ({"references": [other], "reference_levels": [[9, 9]]}, 400, "LEVELS_UNSUITABLE", "reference_levels[0]"),
        ({"references": [other, b"no photo"]}, 422, "IMAGE_UNREADABLE", "references[1]"),
        ({"references": [other], "method": "age_translator"}, 400, "METHOD_UNSUITABLE", "method"),
        ({"references": [other], "to": 60}, 400, "REFERENCE_TOO_MANY", "to"),
    ]
    for fields, status, reason, field in cases:
        problem = real.post("/v1/mix", **as_form(photo, fields)).json()
        assert (problem["status"], problem["reason"], problem["field"]) == (status, reason, field), problem
