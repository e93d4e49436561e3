"""What fails is told as application/problem+json, with the reasons of the contract."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest

from dorian_client import Reason
from dorian_client.testing import FakeServer
from dorian_gateway.problems import STATUS_BY_REASON
from tests.contract import documented_statuses
from tests.gateway.gateway_process import ROOT, GatewayProcess

# Statuses that fit each code of gRPC.
FITTING = {
    "INVALID_ARGUMENT": {400, 413, 422},
    "NOT_FOUND": {404},
    "UNAUTHENTICATED": {401},
    "PERMISSION_DENIED": {403},
    "FAILED_PRECONDITION": {409},
    "RESOURCE_EXHAUSTED": {429, 503},
    "DEADLINE_EXCEEDED": {504},
    "UNAVAILABLE": {503},
    "INTERNAL": {500},
}
BAD_FIELDS: list[tuple[dict[str, Any], str | None]] = [
    ({"to": [60], "strenght": 1}, "strenght"),
    ({"to": [60], "strength": "much"}, "strength"),
    ({"to": [60], "blend": "mix"}, "blend"),
    ({"to": [60], "quality": 1.5}, "quality"),
    ({"to": [60], "faces": [-1e12]}, None),
    ({"to": [60], "faces": []}, None),
    ({"to": [{"years": 3}]}, "to.0"),
    ({"to": [60], "latents": [{"face": 0, "latent": []}]}, None),
]


def upload(photo: bytes) -> dict[str, Any]:
    return {"files": {"photo": ("photo.png", photo, "image/png")}, "data": {"to": "60"}}


def check(response: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    """Check a problem, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = response.json()
    assert problem["reason"] == reason
    assert problem["type"] == f"urn:dorian:reason:{reason}"
    assert problem["status"] == status
    assert problem["detail"]
    return problem


def test_every_reason_of_the_contract_has_a_fitting_status() -> None:
    documented = documented_statuses()
    assert set(STATUS_BY_REASON) == set(documented) == set(Reason)
    assert [reason for reason, code in documented.items() if STATUS_BY_REASON[reason] not in FITTING[code]] == []


def test_the_guide_lists_every_reason_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", (ROOT / "docs" / "guides" / "http.md").read_text(), re.MULTILINE)
    listed = {name: int(status) for status, cell in rows for name in re.findall(r"`([A-Z_]{4,})`", cell)}
    assert {name: status for name, status in listed.items() if name in STATUS_BY_REASON} == STATUS_BY_REASON


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_arrives(reason: Reason, http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    fake.fail(reason, "it was so", field="targets[1].years", metadata={"limit": "32"})
    problem = check(http.post("/v1/age", **upload(photo)), STATUS_BY_REASON[reason], reason)
    assert "it was so" in problem["detail"]
    assert problem["field"] == "to[1].years"
    assert problem["metadata"] == {"limit": "32"}


def test_a_busy_server_says_when_to_retry(http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    fake.fail("QUEUE_FULL", retry_after=1.25)
    response = http.post("/v1/age", **upload(photo))
    assert check(response, 503, "QUEUE_FULL")["retry_after"] == 1.25
    assert response.headers["retry-after"] == "2"  # whole seconds
    assert len(fake.requests) == 1  # the gateway leaves retries to its callers


def test_a_missing_key_is_asked_for(http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    fake.fail("API_KEY_MISSING")
    assert http.post("/v1/age", **upload(photo)).headers["www-authenticate"] == "Bearer"
    for header in ("Basic a:b", "Bearer", "Bearer two words"):
        check(http.post("/v1/age", headers={"Authorization": header}, **upload(photo)), 401, "API_KEY_MISSING")


def test_other_errors_have_no_reason(http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    for code, status in (
        (grpc.StatusCode.UNKNOWN, 502),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.UNAVAILABLE, 503),
    ):
        fake.fail_with_status(code, "so said a proxy")
        response = http.post("/v1/age", **upload(photo))
        assert response.status_code == status
        assert "reason" not in response.json()
        assert response.json()["type"] == "about:blank"


@pytest.mark.parametrize("is_form", [False, True])
@pytest.mark.parametrize(("fields", "field"), BAD_FIELDS)
def test_fields_that_cannot_be_read_are_named(
    fields: dict[str, Any], field: str | None, is_form: bool, http: httpx.Client, fake: FakeServer, photo: bytes
) -> None:
    if is_form:
        if fields.get("faces") == []:
            pytest.skip("a form has no empty list")
        data = {
            name: [json.dumps(item) for item in value] if isinstance(value, list) else str(value)
            for name, value in fields.items()
        }
        response = http.post("/v1/age", data=data, files={"photo": photo})
    else:
        response = http.post("/v1/age", json={"photo": base64.b64encode(photo).decode(), **fields})
    problem = check(response, 400, "REQUEST_INVALID")
    if field is not None:
        assert problem["field"].startswith(field)
        assert problem["detail"].startswith(field)
    assert fake.requests == []


def test_bodies_that_cannot_be_read(http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    check(http.post("/v1/age", content=photo, headers={"Content-Type": "image/png"}), 415, "MEDIA_TYPE_UNSUPPORTED")
    check(http.post("/v1/age", content=b""), 415, "MEDIA_TYPE_UNSUPPORTED")
    check(http.post("/v1/age", content=b"{", headers={"Content-Type": "application/json"}), 400, "REQUEST_INVALID")
    check(http.post("/v1/age", json={"photo": "not base64!", "to": [60]}), 400, "REQUEST_INVALID")
    assert check(http.post("/v1/age", json={"to": [60]}), 400, "REQUEST_INVALID")["field"] == "photo"
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        check(http.post("/v1/age", content=b"--y\r\nnothing", headers={"Content-Type": kind}), 400, "REQUEST_INVALID")
    nested = {"photo": (None, "[" * 100_000), "to": (None, "60")}
    check(http.post("/v1/age", files=nested), 400, "REQUEST_INVALID")
    twice = [("photo", photo), ("photo", photo)]
    assert check(http.post("/v1/age", files=twice), 400, "REQUEST_INVALID")["field"] == "photo"
    check(http.post("/v1/age", headers={"Dorian-Timeout": "-1"}, **upload(photo)), 400, "REQUEST_INVALID")
    assert fake.requests == []


def test_what_cannot_be_accepted(http: httpx.Client, photo: bytes) -> None:
    both = {"files": {"photo": photo}, "data": {"to": ["20", "60"]}}
    check(http.post("/v1/age", headers={"Accept": "image/png"}, **both), 406, "NOT_ACCEPTABLE")
    check(http.post("/v1/age", headers={"Accept": "image/gif"}, **upload(photo)), 406, "NOT_ACCEPTABLE")


def test_routes_that_do_not_exist(http: httpx.Client) -> None:
    for method, path, status in (("GET", "/v2/age", 404), ("GET", "/v1/age", 405), ("GET", "/page/../app.py", 404)):
        response = http.request(method, path)
        assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert http.get("/v1/age").headers["allow"] == "POST"


def test_a_search_that_fails(http: httpx.Client, fake: FakeServer, photo: bytes) -> None:
    files = {"photo": photo}
    check(http.post("/v1/optimize", files=files, data={"latent": "[]"}), 400, "REQUEST_INVALID")
    fake.fail("NO_FACE")  # before its first step
    check(http.post("/v1/optimize", files=files), 422, "NO_FACE")
    fake.fail("INTERNAL", "the search broke", after=1)
    events = http.post("/v1/optimize", files=files).text.split("\n\n")
    assert events[0].startswith("event: step\n")
    assert events[-2].startswith("event: problem\n")
    assert json.loads(events[-2].partition("data: ")[2])["reason"] == "INTERNAL"


def test_no_server(start: Callable[..., GatewayProcess], photo: bytes) -> None:
    running = start("--server", "127.0.0.1:9")
    response = httpx.post(f"{running.url}/v1/age", **upload(photo))
    assert response.status_code == 503
    assert "cannot reach a server" in response.json()["detail"]
    assert httpx.get(f"{running.url}/readyz").status_code == 503


def test_a_key_is_not_sent_unencrypted_to_other_machines(start: Callable[..., GatewayProcess], photo: bytes) -> None:
    running = start("--server", "192.0.2.1:50051")
    response = httpx.post(f"{running.url}/v1/age", headers={"Authorization": "Bearer a-key"}, **upload(photo))
    check(response, 500, "KEY_NOT_FORWARDED")
