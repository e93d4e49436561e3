"""A server process leaves no file where nobody asked for one, and has no socket but the listener's."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle

SECONDS = 120
_LISTENS = "0A"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A new user's: with a home and a folder for temporary files, both empty, and nothing said of telemetry."""
    folders = {name: tmp_path / "user" / name for name in ("HOME", "TMPDIR")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_", "DORIAN_"))}
    return kept | {name: str(folder) for name, folder in folders.items()} | {"PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def process(searching_bundle: Bundle, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    flags = ["--bundle", str(searching_bundle.folder), "--host", "127.0.0.1", "--port", "0", "--threads", "1"]
    command = [sys.executable, "-m", "dorian_server", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.kill()


def inet_sockets(process: int) -> list[tuple[str, str]]:
    """Protocol and state of the process's own internet sockets, those to callers aside."""
    inodes = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    sockets = []
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{process}/net/{protocol}").read_text().splitlines()[1:]:
            message = line.split()
            if f"socket:[{message[9]}]" in inodes:
                sockets.append((protocol, message[3]))
    return sockets


def test_a_process_leaves_no_file_and_opens_no_socket(
    process: subprocess.Popen[str], environment: dict[str, str], tmp_path: Path
) -> None:
    assert process.stdout is not None
    address = process.stdout.readline().removeprefix("listening on ").strip()
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = FaceAgingStub(channel)
        stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)
        sockets = inet_sockets(process.pid)
        photo = (Path(__file__).parents[2] / "examples" / "astronaut.jpg").read_bytes()
        stub.DetectFaces(pb.DetectFacesRequest(image=pb.Image(data=photo)), timeout=SECONDS)
        sockets += inet_sockets(process.pid)
    assert {protocol for protocol, _ in sockets} <= {"tcp", "tcp6"}
    assert [state for _, state in sockets].count(_LISTENS) == 2, "the listener, looked at twice"
    assert len(sockets) == 4, "and this test's connection"
    written = [str(path.relative_to(tmp_path)) for path in (tmp_path / "user").rglob("*") if not path.is_dir()]
    assert written == []


def test_a_process_dumps_no_core(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.readline()
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)


@pytest.mark.parametrize("package", ["dorian_server.settings", "dorian_server.cli.serve"])
def test_onnx_runtime_imported_before_with_telemetry_is_an_error(package: str, environment: dict[str, str]) -> None:
    program = f"import sys; sys.modules['onnxruntime'] = sys; import {package}"
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert result.returncode
    assert "ORT_DISABLE_TELEMETRY=1" in result.stderr
    environment["ORT_DISABLE_TELEMETRY"] = "1"
    assert subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True).returncode == 0
