"""Several processes that a supervisor keeps at work. Here they only tell what happens to them; tests/e2e has them serve."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dorian_server.cli.supervisor import CANNOT_START, shared_port
from dorian_server.domain.errors import StartupError

SECONDS = 60
# A supervisor with two processes that do as they are told by the program's argument, and tell what happens to them.
PROGRAM = """
import json, os, sys, time
from dorian_server.cli.supervisor import CANNOT_START, Supervisor
from dorian_server.cli.signals import SignalQueue

behaviour = sys.argv[1]

def tell(what, number=-1, **more):
    os.write(1, (json.dumps({"what": what, "number": number, "id": os.getpid(), **more}) + "\\n").encode())

def serve(number, on_ready, reload_all):
    signals = SignalQueue()
    if behaviour == "cannot start" and number == 1:
        return CANNOT_START
    if behaviour == "raises" and number == 1 and not os.path.exists(sys.argv[2]):
        open(sys.argv[2], "w").close()
        raise RuntimeError("it does not work")
    if behaviour == "cannot start again" and number == 1:
        if os.path.exists(sys.argv[2]):
            os.remove(sys.argv[2])
            return CANNOT_START
        open(sys.argv[2], "w").close()
    tell("begins", number)
    on_ready()
    while (asked := signals.next().name) == "SIGHUP":
        tell("SIGHUP", number)
        if behaviour == "reloads all" and number == 0:
            behaviours.append(number)
            if len(behaviours) == 1:
                reload_all()
    tell(asked, number)
    if behaviour == "hangs" and number == 1:
        time.sleep(600)
    return 0

behaviours = []
tell("supervisor")
sys.exit(Supervisor(2, serve, 1.0, lambda: tell("ready"), lambda: tell("reload"), 5.0).run())
"""


class Watched:
    """A program with a supervisor, and what it and its processes tell."""

    def __init__(self, *arguments: str) -> None:
        self.program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._told: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.program.stdout is not None
        for line in self.program.stdout:
            with self._changed:
                self._told.append(json.loads(line))
                self._changed.notify_all()

    def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Those that tell ``what``, once they are ``count`` or more."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._of(kind)) >= count, SECONDS), self._told
            return self._of(kind)

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self._told if event["what"] == kind]

    def ids(self) -> dict[int, int]:
        """The id of each process that has begun, by its number."""
        return {event["number"]: event["id"] for event in self.wait_for("begins", 2)}

    def end(self) -> tuple[int, list[tuple[str, int]], str]:
        """Its exit status once it has ended, what it told in all, and its errors."""
        assert self.program.stderr is not None
        status = self.program.wait(SECONDS)
        self._reader.join()
        return status, sorted((event["what"], event["number"]) for event in self._told), self.program.stderr.read()


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    with ExitStack() as stack:

        def begin(*arguments: str) -> Watched:
            watched = Watched(*arguments)
            stack.callback(watched.program.stderr.close)  # type: ignore[union-attr]
            stack.callback(watched.program.stdout.close)  # type: ignore[union-attr]
            stack.callback(watched._reader.join)
            stack.callback(watched.program.wait)
            stack.callback(watched.program.kill)
            return watched

        yield begin


def await_end(process: int) -> Callable[[], bool]:
    """Whether a process, which need not be a child, has ended within a while."""
    handle = os.pidfd_open(process)

    def ended() -> bool:
        try:
            return bool(select.select([handle], [], [], SECONDS)[0])
        finally:
            os.close(handle)

    return ended


BEGUN = [("begins", 0), ("begins", 1), ("ready", -1), ("supervisor", -1)]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_it_is_ready_when_all_are_and_stops_them_all(watch: Callable[..., Watched], name: str) -> None:
    watched = watch("")
    watched.wait_for("ready")
    assert len(set(watched.ids().values()) | {watched.program.pid}) == 3
    watched.program.send_signal(signal.Signals[name])
    status, events, errors = watched.end()
    assert (status, events) == (0, sorted([*BEGUN, ("SIGTERM", 0), ("SIGTERM", 1)]))
    assert errors == ""


def test_a_hangup_goes_to_all(watch: Callable[..., Watched]) -> None:
    watched = watch("")
    watched.wait_for("ready")
    watched.program.send_signal(signal.SIGHUP)
    assert {event["number"] for event in watched.wait_for("SIGHUP", 2)} == {0, 1}
    watched.program.terminate()
    assert watched.end()[0] == 0


def test_one_of_them_can_have_all_reload(watch: Callable[..., Watched]) -> None:
    watched = watch("reloads all")
    watched.wait_for("ready")
    os.kill(watched.ids()[0], signal.SIGHUP)
    assert sorted(event["number"] for event in watched.wait_for("SIGHUP", 3)) == [0, 0, 1]
    watched.program.terminate()
    assert watched.end()[0] == 0


def test_one_that_is_killed_is_begun_again_and_the_other_is_left_alone(watch: Callable[..., Watched]) -> None:
    watched = watch("")
    watched.wait_for("ready")
    before = watched.ids()
    os.kill(before[1], signal.SIGKILL)
    *_, again = watched.wait_for("begins", 3)
    assert again["number"] == 1
    assert again["id"] != before[1]
    watched.program.send_signal(signal.SIGHUP)
    assert {event["id"] for event in watched.wait_for("SIGHUP", 2)} == {before[0], again["id"]}
    watched.program.terminate()
    status, events, errors = watched.end()
    assert (status, events.count(("ready", -1))) == (0, 1)
    assert "server process 1 has ended by signal 9" in errors


def test_one_that_cannot_start_stops_all(watch: Callable[..., Watched]) -> None:
    status, events, _ = watch("cannot start").end()
    assert status == 1
    assert ("ready", -1) not in events
    assert events.count(("begins", 0)) <= 1
    assert events.count(("begins", 1)) == 0


def test_one_that_cannot_start_again_leaves_the_other_alone(watch: Callable[..., Watched], tmp_path: Any) -> None:
    """What it was to serve may be mended; it is tried again."""
    watched = watch("cannot start again", str(tmp_path / "mark"))
    watched.wait_for("ready")
    before = watched.ids()
    os.kill(before[1], signal.SIGKILL)
    *_, again = watched.wait_for("begins", 3)
    assert again["number"] == 1
    watched.program.terminate()
    status, events, errors = watched.end()
    assert (status, events.count(("begins", 0))) == (0, 1)
    assert f"server process 1 has ended with status {CANNOT_START}" in errors


def test_one_that_fails_tells_why_and_is_begun_again(watch: Callable[..., Watched], tmp_path: Any) -> None:
    watched = watch("raises", str(tmp_path / "mark"))
    watched.wait_for("ready")
    watched.program.terminate()
    status, _, errors = watched.end()
    assert status == 0
    assert "server process 1 has failed\nTraceback" in errors
    assert "RuntimeError: it does not work" in errors
    assert "server process 1 has ended with status 1" in errors


def test_one_that_hangs_is_killed_after_its_grace(watch: Callable[..., Watched]) -> None:
    watched = watch("hangs")
    watched.wait_for("ready")
    hanging = await_end(watched.ids()[1])
    watched.program.terminate()
    status, events, errors = watched.end()
    assert (status, events.count(("SIGTERM", 1))) == (0, 1)
    assert hanging()
    assert "server process 1 has ended by signal 9" in errors


def test_they_stop_by_themselves_when_the_supervisor_is_killed(watch: Callable[..., Watched]) -> None:
    watched = watch("")
    watched.wait_for("ready")
    waits = [await_end(process) for process in watched.ids().values()]
    watched.program.kill()
    assert all(ended() for ended in waits)
    status, events, _ = watched.end()
    assert (status, events) == (-signal.SIGKILL, sorted([*BEGUN, ("SIGTERM", 0), ("SIGTERM", 1)]))


def test_one_that_gives_no_sign_of_life_is_replaced(watch: Callable[..., Watched]) -> None:
    watched = watch("")
    watched.wait_for("ready")
    before = watched.ids()
    os.kill(before[0], signal.SIGSTOP)
    *_, again = watched.wait_for("begins", 3)
    assert (again["number"], again["id"] != before[0]) == (0, True)
    watched.program.terminate()
    status, _, errors = watched.end()
    assert status == 0
    assert "server process 0 gives no sign of life; it is killed" in errors


def test_all_may_be_stopped_together(watch: Callable[..., Watched]) -> None:
    """As a container is paused: the supervisor does not blame its processes for it."""
    watched = watch("")
    watched.wait_for("ready")
    everyone = [*watched.ids().values(), watched.program.pid]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in everyone:
            os.kill(process, number)
        if number == signal.SIGSTOP:
            time.sleep(7)
    time.sleep(2)
    watched.program.terminate()
    status, events, errors = watched.end()
    assert (status, events.count(("begins", 0)), errors) == (0, 1, "")


# --- the port ---


def test_a_shared_port_can_be_had_by_those_who_share_it_alone() -> None:
    with shared_port("127.0.0.1", 0) as port:
        assert port > 0
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.socket() as first, socket.socket() as second:
            for listener in (first, second):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind(("127.0.0.1", port))
                listener.listen()


def test_nobody_is_let_in_by_the_one_who_keeps_it() -> None:
    with shared_port("127.0.0.1", 0) as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), SECONDS)


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "shares it"])
def test_a_port_that_is_taken_is_rejected(shares: bool) -> None:
    """Even by another who would share it: two servers by mistake on one port would answer in turns."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"^cannot listen on 127.0.0.1:{port}: "), shared_port("127.0.0.1", port):
            pass


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared it"])
def test_a_port_can_be_had_again_at_once(shared: bool) -> None:
    """Connections that were closed here linger for a minute."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=shared) as before:
        port = before.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), SECONDS) as calling:
            before.accept()[0].close()
            assert calling.recv(1) == b""
    with shared_port("127.0.0.1", port) as again:
        assert again == port


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost"])
def test_hosts_are_written_as_grpc_has_them(host: str) -> None:
    try:
        with shared_port(host, 0) as port:
            assert port > 0
    except StartupError as error:
        if "Cannot assign requested address" not in str(error):
            raise
        pytest.skip("this machine has no IPv6")


def test_a_host_that_there_is_not() -> None:
    with (
        pytest.raises(StartupError, match=r"^cannot listen on nowhere\.invalid:0: "),
        shared_port("nowhere.invalid", 0),
    ):
        pass
