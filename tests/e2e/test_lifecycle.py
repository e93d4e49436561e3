"""The server's life as a process: signals while it is under load, and as the first process of a container."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from tests.e2e.callers import Callers
from tests.e2e.server_process import Handle, ServerProcess, children, run_server

SECONDS = 60
GRACE = 20.0
CALLERS = 12
ROOMY = ("--max-wait", "60", "--workers", "16", "--grace", str(GRACE))
Serve = Callable[..., ServerProcess]


def searching(stub: FaceAgingStub, photo: bytes, steps: int) -> Iterator[pb.OptimizeResponse]:
    """A search that is under way: the messages after its first."""
    search = pb.SearchOptions(optimizer=pb.OPTIMIZER_ADAM, max_steps=steps)
    request = pb.OptimizeRequest(image=pb.Image(data=photo), search=search)
    messages = stub.Optimize(request, timeout=SECONDS)
    assert next(messages).progress.step == 0
    return messages


# --- SIGTERM ---


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_under_load_loses_no_call_that_was_accepted(serve: Serve, tiny_photo: bytes, processes: int) -> None:
    """Whoever is rejected is rejected before anything began, as the message and the log say."""
    server = serve(*ROOMY, "--max-steps", "5000", "--processes", str(processes))
    with Callers(server.address, tiny_photo, CALLERS) as callers, grpc.insecure_channel(server.address) as channel:
        callers.wait_until(lambda outcomes: len(outcomes) >= 5)
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        messages = searching(FaceAgingStub(channel), tiny_photo, 5000)
        since = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert [answer.status for answer in watched] == [health_pb2.HealthCheckResponse.NOT_SERVING]
        *steps, last = messages
        assert server.process.wait(SECONDS) == 0
        assert time.monotonic() - since < GRACE
        callers.join()
    assert last.result.reconstruction.steps == len(steps) + 1 == 5000
    assert {outcome.failure for outcome in callers.failures} == {"UNAVAILABLE"}
    assert len(callers.failures) == CALLERS
    answered = {outcome.id for outcomes in callers.outcomes for outcome in outcomes if not outcome.failure}
    logged = {line["request_id"]: line["code"] for line in server.lines() if line.get("method") == "DetectFaces"}
    assert {name for name, code in logged.items() if code == "OK"} == answered
    assert set(logged.values()) <= {"OK", "UNAVAILABLE"}
    messages = ("the server is stopping; the call was not begun", "failed to connect to all addresses")
    assert all(outcome.message.startswith(messages) for outcome in callers.failures)


def test_sigterm_ends_what_outlasts_the_grace(serve: Serve, tiny_photo: bytes) -> None:
    server = serve("--grace", "0.5", "--max-steps", "10000000")
    with grpc.insecure_channel(server.address) as channel:
        messages = searching(FaceAgingStub(channel), tiny_photo, 10_000_000)
        since = time.monotonic()
        assert server.stop() == 0
        assert 0.5 <= time.monotonic() - since < GRACE
        with pytest.raises(grpc.RpcError) as caught:
            list(messages)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_stops_it_as_sigterm_does(serve: Serve, processes: int) -> None:
    assert serve("--processes", str(processes)).stop(signal.SIGINT) == 0


# --- SIGHUP ---


@pytest.mark.parametrize("processes", [1, 2])
def test_sighup_under_load_fails_no_call(
    serve: Serve, tiny_bundle: Bundle, tiny_photo: bytes, rewrite: Callable[..., Bundle], processes: int
) -> None:
    """Each caller is answered by one bundle, then by the next, and never by one before."""
    server = serve(*ROOMY, "--processes", str(processes))
    hashes = [tiny_bundle.sha256]
    with Callers(server.address, tiny_photo, CALLERS) as callers:
        callers.wait_until(lambda outcomes: len(outcomes) >= 3)
        for version in ("2", "3", "4"):
            hashes.append(rewrite(tiny_bundle.folder, version=version).sha256)
            server.process.send_signal(signal.SIGHUP)
            callers.wait_until(lambda outcomes: outcomes[-1].bundle == hashes[-1])
    assert callers.failures == []
    for outcomes in callers.outcomes:
        recorded = [hashes.index(outcome.bundle) for outcome in outcomes]
        assert recorded == sorted(recorded)
        assert set(recorded) == {0, 1, 2, 3}
    assert server.stop() == 0


def test_sighup_with_a_broken_bundle_leaves_the_old_one_serving(
    serve: Serve, tiny_bundle: Bundle, tiny_photo: bytes, rewrite: Callable[..., Bundle]
) -> None:
    server = serve(*ROOMY)
    manifest = tiny_bundle.folder / "manifest.json"
    whole = manifest.read_bytes()
    with Callers(server.address, tiny_photo, 4) as callers:
        manifest.write_bytes(whole[:-100])
        server.process.send_signal(signal.SIGHUP)
        await_line(server, "bundle tiny stays what it was: ")
        counts = [len(outcomes) for outcomes in callers.outcomes]
        callers.wait_until(lambda outcomes: len(outcomes) >= max(counts) + 3)
        assert {outcomes[-1].bundle for outcomes in callers.outcomes} == {tiny_bundle.sha256}
        manifest.write_bytes(whole)
        new = rewrite(tiny_bundle.folder, version="2")
        server.process.send_signal(signal.SIGHUP)
        callers.wait_until(lambda outcomes: outcomes[-1].bundle == new.sha256)
    assert callers.failures == []
    assert server.stop() == 0


def await_line(server: ServerProcess, message: str) -> None:
    """Return when the server has logged ``message``; a file does not tell that it grows."""
    end = time.monotonic() + SECONDS
    while not any(line["message"].startswith(message) for line in server.lines()):
        assert time.monotonic() < end, server.lines()
        time.sleep(0.01)


# --- the start ---


def test_a_port_that_is_taken_is_an_error_message(tiny_bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_server("--bundle", str(tiny_bundle.folder), "--port", str(port))
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"Error: cannot listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in done.stderr


# --- process 1 ---

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture(scope="module")
def _namespaces() -> None:
    """Skips where this user may make no namespace of processes."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("unshare and nsenter of util-linux are not installed")
    tried = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"a namespace of processes cannot be made here: {tried.stderr.strip()}")


@pytest.mark.usefixtures("_namespaces")
@pytest.mark.parametrize("processes", [1, 2])
def test_as_process_1_it_stops_when_asked_and_leaves_no_zombie(serve: Serve, tiny_photo: bytes, processes: int) -> None:
    """As in a container: signals without a handler do not reach process 1, and orphans become its children."""
    server = serve("--processes", str(processes), prefix=NAMESPACE)
    (first,) = children(server.process.pid)
    assert f"NSpid:\t{first}\t1\n" in Path(f"/proc/{first}/status").read_text()
    processes_of_server = children(first)
    assert len(processes_of_server) == (0 if processes == 1 else processes)
    with ExitStack() as stack:
        orphan = leave_orphan(first, processes_of_server)
        handle = Handle(orphan)
        stack.callback(handle.close)
        handle.kill()
        assert handle.has_ended()
        await_gone(orphan)
        with grpc.insecure_channel(server.address) as channel:
            request = pb.DetectFacesRequest(image=pb.Image(data=tiny_photo))
            assert FaceAgingStub(channel).DetectFaces(request, timeout=SECONDS).faces
        inner = Handle(first)
        stack.callback(inner.close)
        signal.pidfd_send_signal(inner._descriptor, signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0


def leave_orphan(first: int, processes_of_server: list[int]) -> int:
    """Begins a process in the namespace of ``first`` whose parent ends at once; its id."""
    subprocess.run(["nsenter", "--target", str(first), "--pid", "sh", "-c", "(sleep 600 >&- 2>&- &)"], check=True)
    (orphan,) = set(children(first)) - set(processes_of_server)
    return orphan


def await_gone(process: int) -> None:
    """Returns when nothing is left of an ended process. It cannot be awaited by one who is not its parent."""
    end = time.monotonic() + SECONDS
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < end, Path(f"/proc/{process}/status").read_text()
        time.sleep(0.01)
