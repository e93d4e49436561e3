"""The gateway sends the server what the SDK would send, and returns what the SDK returns."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from dorian_client import Box, Client, Filter
from dorian_client.testing import FakeServer
from tests.gateway.encodings import as_form, as_json

BOX = {"x": 50.0, "y": 6.0, "width": 12.0, "height": 14.0}
# Fields of a request to age a photo, with the SDK's arguments that mean the same.
AGE_CASES: dict[str, tuple[dict[str, Any], list[Any], dict[str, Any]]] = {
    "years": ({"to": [60]}, [60], {}),
    "group, years and filter": ({"to": ["60+", 8.5, {"filter": "old"}]}, ["60+", 8.5, Filter("old")], {}),
    "largest": ({"to": [60], "faces": ["largest"]}, [60], {"faces": "largest"}),
    "index and box": ({"to": [60], "faces": [0, BOX]}, [60], {"faces": [0, Box(**BOX)]}),
    "own ages": (
        {"face_ages": [{"face": 0, "to": "60+"}, {"face": BOX, "to": 8}]},
        [],
        {"face_ages": [(0, "60+"), (Box(**BOX), 8)]},
    ),
    "settings": (
        {"to": [60], "source": 30, "method": "other", "strength": 0.5, "keep_identity": 0.8, "keep_hair": True, "blend": "replace", "format": "webp",
         "quality": 80, "keep_metadata": True, "with_delta": True, "optimisation": "none"},
        [60],
        {"source": 30, "method": "other", "strength": 0.5, "keep_identity": 0.8, "keep_hair": True, "blend": "replace", "format": "webp",
         "quality": 80, "keep_metadata": True, "with_delta": True, "optimisation": "none"},
    ),
    "source group": ({"to": [60], "source": "30-39"}, [60], {"source": "30-39"}),
    "latents": ({"to": [60], "latents": [{"face": 0, "latent": [0.5, 0.25]}]}, [60], {"latents": [(0, [0.5, 0.25])]}),
}  # fmt: skip


@pytest.mark.parametrize("encode", [as_json, as_form])
@pytest.mark.parametrize("case", AGE_CASES)
def test_age_sends_what_the_sdk_sends(
    case: str, encode: Any, http: httpx.Client, fake: FakeServer, client: Client, photo: bytes
) -> None:
    fields, to, options = AGE_CASES[case]
    response = http.post("/v1/age", **encode(photo, fields))
    assert response.status_code == 200, response.text
    client.age(photo, to or None, **options)
    sent, expected = fake.requests
    assert sent == expected


def test_age_returns_what_the_sdk_returns(http: httpx.Client, client: Client, photo: bytes) -> None:
    fields = {"to": ["60+", {"filter": "old"}], "with_delta": True, "keep_identity": 0.8}
    body = http.post("/v1/age", **as_json(photo, fields)).json()
    result = client.age(photo, ["60+", Filter("old")], with_delta=True, keep_identity=0.8)
    assert [photo["target"] for photo in body["photos"]] == ["60+", {"filter": "old"}]
    for sent, aged in zip(body["photos"], result.photos, strict=True):
        picture, delta = sent["picture"], sent["delta"]
        assert base64.b64decode(picture["data"]) == aged.picture.data
        assert (picture["media_type"], picture["width"], picture["height"]) == ("image/png", 64, 48)
        assert aged.delta is not None
        assert base64.b64decode(delta["data"]) == aged.delta.data
        for face, report in zip(sent["faces"], aged.faces, strict=True):
            assert report.face is not None
            assert report.face.landmarks is not None
            assert report.match is not None
            assert face["face"]["box"]["x"] == report.face.box.x
            assert tuple(face["face"]["landmarks"]["nose"]) == report.face.landmarks.nose
            assert face["identity_similarity"] == report.identity_similarity
            assert face["match"]["text"] == str(report.match)
            assert face["source"] == report.source
            assert report.reached is not None
            assert face["reached"] == {"share": report.reached.share, "years": report.reached.years}
    assert body["faces_found"] == 2
    assert body["provenance"]["bundle_sha256"] == result.provenance.bundle_sha256
    assert set(body["times"]) == set(result.times)


def test_a_caller_who_accepts_an_image_gets_the_photo(http: httpx.Client, client: Client, photo: bytes) -> None:
    response = http.post("/v1/age", headers={"Accept": "image/*"}, **as_form(photo, {"to": 60}))
    assert response.headers["content-type"] == "image/png"
    assert response.content == client.age(photo, 60).photos[0].picture.data
    response = http.post("/v1/age", headers={"Accept": "image/webp, */*"}, **as_form(photo, {"to": 60}))
    assert response.headers["content-type"] == "image/webp"
    assert response.content == client.age(photo, 60, format="webp").photos[0].picture.data


def test_detect(http: httpx.Client, client: Client, photo: bytes) -> None:
    body = http.post("/v1/detect", **as_form(photo, {})).json()
    result = client.detect(photo)
    assert (body["width"], body["height"]) == (result.width, result.height)
    assert [face["estimated_age"] for face in body["faces"]] == [face.estimated_age for face in result.faces]
    assert [face["index"] for face in body["faces"]] == [0, 1]


@pytest.mark.parametrize("is_form", [False, True])
def test_compare(is_form: bool, http: httpx.Client, fake: FakeServer, client: Client, photo: bytes) -> None:
    fields = {"first_face": 1, "second_face": "largest", "false_accept_rate": 0.01}
    if is_form:
        files = dict.fromkeys(("first", "second"), ("a.png", photo, "image/png"))
        response = http.post("/v1/compare", data=fields, files=files)
    else:
        text = base64.b64encode(photo).decode()
        response = http.post("/v1/compare", json={"first": text, "second": text, **fields})
    body = response.json()
    result = client.compare(photo, photo, first_face=1, second_face="largest", false_accept_rate=0.01)
    assert fake.requests[0] == fake.requests[1]
    assert body["similarity"] == result.similarity
    assert body["same_person"] is result.same_person
    assert body["first_embedding"] == list(result.first_embedding)


def test_reconstruct(http: httpx.Client, fake: FakeServer, client: Client, photo: bytes) -> None:
    fields = {"faces": [1], "mode": "identity", "optimizer": "adam", "max_steps": 7, "source": 20}
    body = http.post("/v1/reconstruct", **as_form(photo, fields)).json()
    result = client.reconstruct(photo, faces=1, mode="identity", optimizer="adam", max_steps=7, source=20)
    assert fake.requests[0] == fake.requests[1]
    (face,), reconstruction = body["faces"], result.faces[0]
    assert reconstruction.picture is not None
    assert base64.b64decode(face["picture"]["data"]) == reconstruction.picture.data
    assert face["latent"] == list(reconstruction.latent)
    assert face["steps"] == 7


def test_methods(http: httpx.Client, client: Client) -> None:
    body = http.get("/v1/methods").json()
    result = client.bundle()
    assert body["name"] == result.name
    assert [method["name"] for method in body["methods"]] == ["inverter", "other", "painter"]
    assert body["methods"][0]["age_groups"][-1] == {"label": "60+", "low": 60, "high": None, "centre": 60.0}
    assert body["methods"][2]["filters"][0] == {"name": "young", "description": "Younger."}
    assert [method["changes_hair"] for method in body["methods"]] == [True, False, False]


def read_events(text: str) -> list[tuple[str, Any]]:
    events = []
    for frame in text.split("\n\n")[:-1]:
        name, data = frame.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def test_optimize_sends_events(http: httpx.Client, fake: FakeServer, client: Client, photo: bytes) -> None:
    fields = {"face": 1, "mode": "blended", "preview_every": 2, "latent": [0.5, 0.25]}
    response = http.post("/v1/optimize", **as_json(photo, fields))
    assert response.headers["content-type"].startswith("text/event-stream")
    events = read_events(response.text)
    with client.optimize(photo, face=1, mode="blended", preview_every=2, latent=[0.5, 0.25]) as search:
        steps, result = list(search), search.result()
    assert fake.requests[0] == fake.requests[1]
    assert [name for name, _ in events] == ["step"] * len(steps) + ["result"]
    assert [data["best_loss"] for name, data in events if name == "step"] == [step.best_loss for step in steps]
    assert events[-1][1]["reconstruction"]["latent"] == list(result.reconstruction.latent)


def test_key_priority_bundle_and_time_are_passed_on(http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    fake.bundles.append("second")
    headers = {"Authorization": "Bearer a-key", "Dorian-Priority": "batch", "Dorian-Timeout": "7"}
    assert http.post("/v1/detect?bundle=second", headers=headers, **as_form(photo, {})).status_code == 200
    (metadata,), (seconds,), (request,) = fake.metadata, fake.seconds_left, fake.requests
    assert metadata["authorization"] == "Bearer a-key"
    assert metadata["dorian-priority"] == "batch"
    assert seconds is not None
    assert 5 < seconds < 7.1  # gRPC rounds up
    assert request.bundle == "second"


def test_a_request_without_a_key_has_none_of_the_last(http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    http.post("/v1/detect", headers={"Authorization": "bearer a-key"}, **as_form(photo, {}))
    http.post("/v1/detect", **as_form(photo, {}))
    assert [metadata.get("authorization") for metadata in fake.metadata] == ["Bearer a-key", None]


def test_health(http: httpx.Client, fake: FakeServer) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready"}
    fake.fail("API_KEY_MISSING")  # the server is there, and wants a key
    assert http.get("/readyz").status_code == 200
    fake.fail("NOT_READY")
    assert http.get("/readyz").status_code == 503
    assert http.get("/healthz").status_code == 200
