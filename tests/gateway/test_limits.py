"""What strangers can send is bounded: bytes, seconds, requests and connections; who leaves ends the call."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
from PIL import Image

from dorian_client.testing import FakeServer
from tests.gateway.gateway_process import GatewayProcess

SECONDS = 20
HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"


def connect(gateway: GatewayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=SECONDS)


def read_all(connection: socket.socket) -> bytes:
    """Return what arrives until the other side closes."""
    chunks = []
    try:
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    except ConnectionResetError:
        pass
    return b"".join(chunks)


def problem_in(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    problem: dict[str, Any] = json.loads(body)
    return problem


def upload(photo: bytes) -> dict[str, Any]:
    return {"files": {"photo": photo}}


def test_a_body_that_is_announced_too_large_is_not_read(start: Callable[..., GatewayProcess]) -> None:
    gateway = start("--max-body-bytes", "100000")
    with connect(gateway) as connection:
        connection.sendall(HEAD + b"Content-Length: 100001\r\n\r\n")  # and not a byte of the body
        assert problem_in(read_all(connection))["reason"] == "BODY_TOO_LARGE"
    with connect(gateway) as connection:
        connection.sendall(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")
        assert read_all(connection).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_body_without_length_is_read_up_to_the_limit(start: Callable[..., GatewayProcess]) -> None:
    gateway = start("--max-body-bytes", "100000")
    with connect(gateway) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):
            connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        assert problem_in(read_all(connection))["reason"] == "BODY_TOO_LARGE"


def test_json_that_would_take_long_to_read_is_rejected(gateway: GatewayProcess) -> None:
    url, kind = f"{gateway.url}/v1/age", {"Content-Type": "application/json"}
    count = 3_000_000
    many = {
        "numbers": b'{"photo": "", "to": [' + b"1," * count + b"1]}",
        "lists": b'{"photo": "", "to": [' + b"[]," * count + b"[]]}",
        "names": b"{" + b",".join(b'"k%d":1' % index for index in range(1_000_000)) + b"}",
    }
    for name, body in many.items():
        begin = time.monotonic()
        response = httpx.post(url, content=body, headers=kind)
        assert response.json()["reason"] == "REQUEST_INVALID", name
        assert time.monotonic() - begin < 3, name
    form = [("to", (None, "[" + "0," * 90_000 + "0]")) for _ in range(20)]
    assert "more than" in httpx.post(url, files=[("photo", b"x"), *form]).json()["detail"]
    latents = [{"face": index, "latent": [0.5] * 4096} for index in range(32)]  # the most that a server takes
    body = {"photo": "", "to": [20], "latents": latents}
    assert httpx.post(url, json=body).status_code != 400


def test_a_body_that_takes_too_long_is_given_up(start: Callable[..., GatewayProcess]) -> None:
    gateway = start("--body-timeout", "0.5")
    begin = time.monotonic()
    with connect(gateway) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n--b")
        assert problem_in(read_all(connection))["reason"] == "BODY_TIMEOUT"
    assert time.monotonic() - begin < 5


def test_a_head_that_takes_too_long_is_given_up(start: Callable[..., GatewayProcess], photo: bytes) -> None:
    gateway = start("--header-timeout", "0.6")
    begin = time.monotonic()
    with connect(gateway) as silent, connect(gateway) as slow:
        for letter in b"POST /v1/":
            slow.sendall(bytes([letter]))
            time.sleep(0.05)
        assert read_all(slow) == b""
        assert read_all(silent) == b""
    assert time.monotonic() - begin < 5
    with httpx.Client(base_url=gateway.url) as client:  # a connection that is kept is not meant
        client.get("/healthz")
        time.sleep(0.8)
        assert client.post("/v1/detect", **upload(photo)).status_code == 200


def test_requests_beyond_the_limit_are_told_to_retry(
    start: Callable[..., GatewayProcess], fake: FakeServer, photo: bytes
) -> None:
    gateway = start("--max-requests", "2")
    fake.delay = 1.5
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(httpx.post, f"{gateway.url}/v1/detect", **upload(photo)) for _ in range(2)]
        while len(fake.requests) < 2:
            time.sleep(0.01)
        response = httpx.post(f"{gateway.url}/v1/detect", **upload(photo))
        assert response.json()["reason"] == "GATEWAY_FULL"
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"{gateway.url}/healthz").status_code == 200
        assert [future.result().status_code for future in running] == [200, 200]
    assert httpx.post(f"{gateway.url}/v1/detect", **upload(photo)).status_code == 200


def test_connections_beyond_the_limit_are_closed(start: Callable[..., GatewayProcess]) -> None:
    gateway = start("--max-connections", "3")
    held = [connect(gateway) for _ in range(3)]
    with connect(gateway) as fourth:
        assert read_all(fourth) == b""
    for connection in held:
        connection.close()
    time.sleep(0.2)
    assert httpx.get(f"{gateway.url}/healthz").status_code == 200


def test_a_response_that_nobody_receives_is_given_up(start: Callable[..., GatewayProcess]) -> None:
    gateway = start("--send-timeout", "1", "--max-connections", "1")
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)).save(noise, "PNG")
    request = httpx.Request(
        "POST", f"{gateway.url}/v1/age", files={"photo": noise.getvalue()}, data={"to": ["20"] * 12}
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(f"POST /v1/age HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        assert connection.recv(12) == b"HTTP/1.1 200"  # and no more of nearly 40 MB
        begin = time.monotonic()
        while True:  # the only connection that there may be
            try:
                assert httpx.get(f"{gateway.url}/healthz").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() - begin < SECONDS
                time.sleep(0.2)


def test_a_caller_who_leaves_ends_the_call(gateway: GatewayProcess, fake: FakeServer, photo: bytes) -> None:
    fake.delay = 60
    request = httpx.Request("POST", f"{gateway.url}/v1/detect", **upload(photo))
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    for _ in range(8):  # twice as many as the fake server has threads
        with connect(gateway) as connection:
            count = len(fake.requests)
            connection.sendall(f"POST /v1/detect HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            while len(fake.requests) == count:
                time.sleep(0.01)
    fake.delay = 0
    assert httpx.post(f"{gateway.url}/v1/detect", **upload(photo), timeout=SECONDS).status_code == 200


def test_a_caller_who_leaves_ends_the_search(gateway: GatewayProcess, fake: FakeServer, photo: bytes) -> None:
    fake.pause_after = 1
    with httpx.stream("POST", f"{gateway.url}/v1/optimize", **upload(photo)) as response:
        lines = response.iter_lines()  # kept: when it goes, the response is closed
        assert next(lines) == "event: step"
        assert not fake.search_cancelled.is_set()
    assert fake.search_cancelled.wait(SECONDS)


def test_photos_are_not_written_to_disk(start: Callable[..., GatewayProcess]) -> None:
    gateway = start(TMPDIR="/nowhere", TEMP="/nowhere", TMP="/nowhere")
    response = httpx.post(f"{gateway.url}/v1/detect", **upload(b"\x89PNG" + bytes(6 * 2**20)))
    assert response.json()["reason"] == "IMAGE_UNREADABLE"  # it has arrived whole


def test_a_gateway_that_stops_ends_calls_within_its_grace(
    start: Callable[..., GatewayProcess], fake: FakeServer, photo: bytes
) -> None:
    gateway = start("--grace", "1")
    fake.delay = 30
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(httpx.post, f"{gateway.url}/v1/detect", **upload(photo), timeout=SECONDS)
        while not fake.requests:
            time.sleep(0.01)
        begin = time.monotonic()
        gateway.stop()
        assert time.monotonic() - begin < 8
        assert future.exception() is not None or future.result().status_code >= 500
