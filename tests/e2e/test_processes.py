"""Several server processes on one port: who serves, what becomes of one that is killed, and how all hear of a reload."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import pytest

from dorian.v1 import admin_pb2, admin_pb2_grpc
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_client import Client
from dorian_server.security.keys import make_key, write_keys
from tests.e2e.server_process import Handle, ServerProcess, children, run_server

SECONDS = 60
TWO = ("--processes", "2", "--max-wait", "60", "--workers", "16")
Serve = Callable[..., ServerProcess]


@pytest.fixture
def handles() -> Iterator[Callable[[ServerProcess], list[Handle]]]:
    """The processes that a supervisor has now."""
    with ExitStack() as stack:

        def find(server: ServerProcess) -> list[Handle]:
            results = [Handle(process) for process in children(server.process.pid)]
            for handle in results:
                stack.callback(handle.close)
            return results

        yield find


LISTENS, CONNECTED = "0A", "01"


def with_socket(server: ServerProcess, state: str) -> list[int]:
    """The processes that have a socket in ``state`` on the server's port."""
    port = f":{int(server.address.rpartition(':')[2]):04X}"
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == state}
    return [process for process in children(server.process.pid) if sockets & links_of(process)]


def links_of(process: int) -> set[str]:
    """What the files that a process has open are; none where it has ended."""
    results = set()
    with suppress(OSError):
        for link in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):  # closed since
                results.add(str(link.readlink()))
    return results


def await_serving(server: ServerProcess, others_than: set[int]) -> list[int]:
    """The two that listen, once there are two and one is none of ``others_than``. Nobody tells of it."""
    end = time.monotonic() + SECONDS
    while len(serving := with_socket(server, LISTENS)) < 2 or set(serving) <= others_than:
        assert time.monotonic() < end, (serving, others_than)
        time.sleep(0.02)
    return serving


class PatientCallers:
    """Users of the SDK, with its retries: each has a connection, which it must replace when its process dies."""

    def __init__(self, address: str, photo: bytes, number: int) -> None:
        self._address, self._photo = address, photo
        self._over = threading.Event()
        self._answers = [0] * number
        self._changed = threading.Condition()
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._call, args=(caller,)) for caller in range(number)]

    def __enter__(self) -> PatientCallers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def await_more(self, count: int) -> None:
        """Returns when each has had so many more answers."""
        with self._changed:
            expected = [answers + count for answers in self._answers]
            assert self._changed.wait_for(
                lambda: self.errors or all(map(int.__ge__, self._answers, expected)), SECONDS
            ), self._answers
        assert self.errors == []

    def _call(self, caller: int) -> None:
        try:
            with Client(self._address) as client:
                while not self._over.is_set():
                    assert len(client.detect(self._photo).faces) == 1
                    with self._changed:
                        self._answers[caller] += 1
                        self._changed.notify_all()
        except Exception as error:
            with self._changed:
                self.errors.append(error)
                self._changed.notify_all()


def test_all_of_them_serve(serve: Serve, tiny_photo: bytes) -> None:
    server = serve(*TWO)
    processes = set(children(server.process.pid))
    assert len(processes) == 2
    assert set(with_socket(server, LISTENS)) == processes
    assert server.process.pid not in processes
    options = [("grpc.use_local_subchannel_pool", 1)]
    request = pb.DetectFacesRequest(image=pb.Image(data=tiny_photo))
    reached: set[int] = set()
    with ExitStack() as stack:
        for _ in range(64):  # each has the same chance to get a connection
            channel = stack.enter_context(grpc.insecure_channel(server.address, options))
            assert len(FaceAgingStub(channel).DetectFaces(request, timeout=SECONDS).faces) == 1
            reached |= set(with_socket(server, CONNECTED))
            if reached == processes:
                break
        assert reached == processes
    assert server.stop() == 0


def test_one_that_is_killed_under_load_comes_back_and_nobody_who_tries_again_fails(
    serve: Serve, tiny_photo: bytes, handles: Callable[[ServerProcess], list[Handle]]
) -> None:
    server = serve(*TWO)
    with PatientCallers(server.address, tiny_photo, 8) as callers:
        callers.await_more(5)
        first, second = handles(server)
        for _ in range(2):
            first.kill()
            assert first.has_ended()
            callers.await_more(5)
            serving = await_serving(server, {first.id, second.id})
            assert second.id in serving, "it was left alone"
            callers.await_more(5)
            first, second = sorted(handles(server), key=lambda handle: handle.id != second.id)
    assert server.stop() == 0
    messages = [line["message"] for line in server.lines() if line["message"].endswith("has ended by signal 9")]
    assert len(messages) == 2


def test_they_end_with_their_supervisor(serve: Serve, handles: Callable[[ServerProcess], list[Handle]]) -> None:
    server = serve(*TWO)
    processes = handles(server)
    assert len(processes) == 2
    server.process.kill()
    assert all(process.has_ended() for process in processes)
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        FaceAgingStub(channel).ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def served_hashes(server: ServerProcess, photo: bytes) -> set[str]:
    """The bundles that answer on twenty connections."""
    hashes = set()
    for _ in range(20):
        with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            request = pb.DetectFacesRequest(image=pb.Image(data=photo))
            hashes.add(FaceAgingStub(channel).DetectFaces(request, timeout=SECONDS).provenance.bundle_sha256)
    return hashes


@pytest.mark.parametrize("change", ["another version", "broken"])
def test_one_that_is_restarted_serves_what_the_others_serve(
    serve: Serve,
    tiny_bundle: Bundle,
    tiny_photo: bytes,
    rewrite: Callable[..., Bundle],
    handles: Callable[[ServerProcess], list[Handle]],
    change: str,
) -> None:
    """Whatever the folder holds by then, until it is reloaded."""
    server = serve(*TWO)
    first, second = handles(server)
    manifest = tiny_bundle.folder / "manifest.json"
    whole = manifest.read_bytes()
    if change == "broken":
        manifest.write_bytes(whole[:-100])
        (tiny_bundle.folder / tiny_bundle.manifest.graphs["detector"].files[0].path).unlink()
    else:
        new = rewrite(tiny_bundle.folder, version="2")
    first.kill()
    assert first.has_ended()
    assert second.id in await_serving(server, {first.id, second.id})
    assert served_hashes(server, tiny_photo) == {tiny_bundle.sha256}
    if change == "another version":
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + SECONDS
        while served_hashes(server, tiny_photo) != {new.sha256}:
            assert time.monotonic() < end, server.lines()
    assert server.stop() == 0


def test_one_that_hangs_is_replaced(
    serve: Serve, tiny_photo: bytes, handles: Callable[[ServerProcess], list[Handle]]
) -> None:
    server = serve(*TWO)
    first, second = handles(server)
    os.kill(first.id, signal.SIGSTOP)
    assert first.has_ended()
    assert second.id in await_serving(server, {first.id, second.id})
    served_hashes(server, tiny_photo)
    assert server.stop() == 0
    assert "server process 0 gives no sign of life; it is killed" in [line["message"] for line in server.lines()]


# --- a reload that one of them was asked for ---


def test_what_an_operator_asks_of_one_all_do(
    serve: Serve, tiny_bundle: Bundle, rewrite: Callable[..., Bundle], tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    key, entry = make_key("operator", frozenset({"age", "admin"}), None, None)
    write_keys(path, [entry])
    server = serve(*TWO, "--api-keys", str(path))
    metadata = (("authorization", f"Bearer {key}"),)
    for version in ("2", "3"):
        new = rewrite(tiny_bundle.folder, version=version)
        with grpc.insecure_channel(server.address) as channel:
            stub = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
            (answer,) = stub.ReloadBundles(admin_pb2.ReloadBundlesRequest(), metadata=metadata, timeout=SECONDS).bundles
        assert (answer.sha256, answer.changed) == (new.sha256, True)
        message = f"bundle tiny: {version} loaded"
        end = time.monotonic() + SECONDS
        while sum(line["message"] == message for line in server.lines()) < 2:
            assert time.monotonic() < end, server.lines()
            time.sleep(0.02)
    assert server.stop() == 0


# --- the start ---


def test_a_bundle_that_cannot_be_opened_ends_it_with_a_message(tmp_path: Path) -> None:
    done = run_server("--bundle", str(tmp_path / "none"), "--port", "0", "--processes", "2")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert set(errors) == {f"Error: {tmp_path / 'none'} is no bundle: it has no manifest.json"}
    assert len(errors) <= 2, "it is not begun again"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_second_server_on_the_port_is_rejected(serve: Serve, tiny_bundle: Bundle) -> None:
    """Although the first one's processes share it."""
    server = serve(*TWO)
    port = server.address.rpartition(":")[2]
    done = run_server("--bundle", str(tiny_bundle.folder), "--port", port, "--processes", "2")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: cannot listen on 127.0.0.1:{port}: ")
    assert server.stop() == 0
