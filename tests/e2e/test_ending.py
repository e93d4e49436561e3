"""After SIGTERM the process ends within its grace and a second, whatever its threads and its callers do."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from tests.e2e.server_process import ROOT, ServerProcess
from tests.raw_http2 import RawConnection

SECONDS = 60
GRACE = 1.0
SOON = 20.0  # seconds for what takes 2 s, however busy the machine is
# A server whose detector never comes back from C code, and marks that it is there; when it is to stop, with "locked", its main thread
# does not come back either, and keeps Python's lock.
STUCK = """
import ctypes, pathlib, sys
kind, mark = sys.argv.pop(1), sys.argv.pop(1)
from dorian_server.faces.detector import NetworkDetector
from dorian_server.serving.bundles import Bundles
def detect(*_):
    pathlib.Path(mark).touch()
    ctypes.CDLL(None).sleep(600)
NetworkDetector.detect = detect
if kind == "locked":
    Bundles.close = lambda _: ctypes.PyDLL(None).sleep(600)
from dorian_server.cli.serve import main
main()
"""


def ends(process: subprocess.Popen[str]) -> int:
    """The exit status of a server that is asked to stop, which must be soon."""
    since = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status = process.wait(SECONDS)
    assert time.monotonic() - since < SOON
    return status


def test_a_flood_of_pings_holds_nothing_up(serve: Callable[..., ServerProcess]) -> None:
    server = serve("--grace", str(GRACE))
    stopped = threading.Event()

    def flood() -> None:
        while not stopped.is_set():
            try:
                with RawConnection(server.address) as connection:
                    while connection.is_open and not stopped.is_set():
                        connection.send([connection.ping()] * 100)
            except OSError:
                time.sleep(0.01)

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        time.sleep(0.5)
        assert ends(server.process) == 0
    finally:
        stopped.set()
        flooding.join()


@pytest.fixture
def stuck(tiny_bundle: Bundle, tiny_photo: bytes, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a server with a call that never comes back."""
    calls = []  # which gRPC would cancel if they were dropped
    with ExitStack() as stack:

        def begin(kind: str) -> subprocess.Popen[str]:
            mark = tmp_path / "mark"
            flags = ["--bundle", str(tiny_bundle.folder), "--threads", "1", "--host", "127.0.0.1", "--port", "0"]
            command = [sys.executable, "-c", STUCK, kind, str(mark), *flags, "--grace", str(GRACE)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            address = process.stdout.readline().removeprefix("listening on ").strip()
            channel = stack.enter_context(grpc.insecure_channel(address))
            request = pb.DetectFacesRequest(image=pb.Image(data=tiny_photo))
            calls.append(FaceAgingStub(channel).DetectFaces.future(request, timeout=SECONDS))
            end = time.monotonic() + SECONDS
            while not mark.exists():
                assert time.monotonic() < end
                time.sleep(0.01)
            return process

        yield begin


def test_a_thread_that_never_comes_back_is_left(stuck: Callable[[str], subprocess.Popen[str]]) -> None:
    process = stuck("free")
    assert ends(process) == 0
    assert process.stderr is not None
    assert (
        "calls or connections have outlasted the grace of 1 s; the process ends without them" in process.stderr.read()
    )


def test_a_process_in_which_no_python_runs_any_more_ends(stuck: Callable[[str], subprocess.Popen[str]]) -> None:
    process = stuck("locked")
    assert ends(process) == 1
    assert process.stderr is not None
    assert "Timeout (0:00:01.8" in process.stderr.read()


# --- a photo that cannot be decoded ---

# A server whose decoding of a first photo never comes back, and which then marks that it is there.
ENDLESS = """
import ctypes, pathlib, sys
mark = pathlib.Path(sys.argv.pop(1))
from dorian_server.pipeline import preparation
def decode(*_):
    mark.touch()
    ctypes.CDLL(None).sleep(600)
if not mark.exists():
    preparation.decode = decode
from dorian_server.cli.serve import main
main()
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_with_a_decoding_that_does_not_end_is_replaced(
    tiny_bundle: Bundle, tiny_photo: bytes, tmp_path: Path, processes: int
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--bundle", str(tiny_bundle.folder), "--threads", "1", "--host", "127.0.0.1", "--port", str(port)]
    flags += ["--grace", str(GRACE), "--decode-timeout", "2", "--processes", str(processes)]
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "mark"), *flags]
    request = pb.DetectFacesRequest(image=pb.Image(data=tiny_photo))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process, ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdout is not None
        process.stdout.readline()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                FaceAgingStub(channel).DetectFaces(request, timeout=SECONDS)
            assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        if processes == 1:
            assert process.stdout.readline() == f"listening on 127.0.0.1:{port}\n"
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                assert FaceAgingStub(channel).DetectFaces(request, timeout=SECONDS).faces
        assert ends(process) == 0
