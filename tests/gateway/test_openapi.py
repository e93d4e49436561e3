"""The description of the routes is valid, and what the gateway takes and sends fits it."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from dorian_client.testing import FakeServer

ROUTES = {
    "/v1/age", "/v1/detect", "/v1/compare", "/v1/mix", "/v1/reconstruct", "/v1/optimize", "/v1/methods", "/healthz", "/readyz",
}  # fmt: skip


@pytest.fixture
def document(http: httpx.Client) -> dict[str, Any]:
    fetched: dict[str, Any] = http.get("/openapi.json").json()
    return fetched


def fits(document: dict[str, Any], schema: dict[str, Any], value: object) -> list[str]:
    """Return in what a value does not fit a schema of the document."""
    registry = Registry().with_resource("urn:d", Resource.from_contents(document, default_specification=DRAFT202012))
    pointed = json.loads(json.dumps(schema).replace('"#/', '"urn:d#/'))
    return [error.message for error in Draft202012Validator(pointed, registry=registry).iter_errors(value)]


def test_the_description_is_valid_and_whole(document: dict[str, Any]) -> None:
    validate(document)
    assert set(document["paths"]) == ROUTES
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            if path.startswith("/v1/"):
                assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]
                assert "422" not in operation["responses"]


def test_responses_fit_their_schemas(
    document: dict[str, Any], http: httpx.Client, fake: FakeServer, photo: bytes
) -> None:
    one, two = {"photo": photo}, {"first": photo, "second": photo}
    calls: dict[str, dict[str, Any]] = {
        "/v1/age": {"files": one, "data": {"to": ["60+", "8", '{"filter": "old"}'], "with_delta": "true"}},
        "/v1/detect": {"files": one},
        "/v1/compare": {"files": two},
        "/v1/mix": {"files": [("photo", photo), ("references", photo)], "data": {"with_delta": "true"}},
        "/v1/reconstruct": {"files": one},
    }
    for unusable in (set(), {1}):  # type: ignore[var-annotated]
        fake.unusable_faces = unusable
        for path, call in calls.items():
            schema = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
            response = http.post(path, **call)
            assert response.status_code == 200
            assert fits(document, schema, response.json()) == [], path
    fake.unusable_faces = set()
    schema = document["paths"]["/v1/methods"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert fits(document, schema, http.get("/v1/methods").json()) == []
    assert fits(document, schema, {}) != []


def test_events_and_problems_fit_their_schemas(
    document: dict[str, Any], http: httpx.Client, fake: FakeServer, photo: bytes
) -> None:
    names = {"step": "SearchStepOut", "result": "SearchResultOut", "problem": "Problem"}
    fake.fail("INTERNAL", after=1, times=1)
    seen = set()
    for _ in range(2):
        for frame in http.post("/v1/optimize", files={"photo": photo}).text.split("\n\n")[:-1]:
            name, data = (line.partition(": ")[2] for line in frame.split("\n"))
            assert fits(document, {"$ref": f"#/components/schemas/{names[name]}"}, json.loads(data)) == []
            seen.add(name)
    assert seen == set(names)


def test_bodies_are_described(document: dict[str, Any], photo: bytes) -> None:
    content = document["paths"]["/v1/age"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    body = {"photo": base64.b64encode(photo).decode(), "to": [60, "60+", {"filter": "old"}], "faces": ["largest", 1]}
    schema = content["application/json"]["schema"]
    assert fits(document, schema, body) == []
    assert fits(document, schema, {**body, "strenght": 1}) != []
    assert fits(document, schema, {"to": [60]}) != []
    form = document["components"]["schemas"]["AgeBodyForm"]
    assert form["properties"]["photo"]["contentMediaType"] == "application/octet-stream"
    assert set(form["properties"]) == set(document["components"]["schemas"]["AgeBody"]["properties"])
    references = document["components"]["schemas"]["MixBodyForm"]["properties"]["references"]
    assert references["items"] == {"type": "string", "contentMediaType": "application/octet-stream"}
