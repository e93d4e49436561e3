"""Several server processes on one port: forked before any thread or gRPC starts, watched, and begun again when they die."""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from dorian_server.domain.errors import StartupError

log = logging.getLogger(__name__)

CANNOT_START = 78  # a process's exit status: what it was told to serve cannot be served
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_POLL = 0.05  # seconds, until all are ready
# Seconds before one that died is begun again; twice as long each time that it dies young.
_PAUSE, _LONGEST_PAUSE, _YOUNG = 0.5, 10.0, 30.0

Call = Callable[[], None]
# What a process does, told its number from 0 on, what to call when it is ready, and what to call to have all processes reload; it
# returns its exit status.
Serve = Callable[[int, Call, Call], int]


@contextmanager
def shared_port(host: str, port: int) -> Iterator[int]:
    """Keeps ``port`` (0: a free one) of ``host`` for processes that share it; gives its number. ``StartupError`` if it is taken."""
    with ExitStack() as stack:
        try:
            if port:  # those who listen on it and share it would let us in, too
                _bound(host, port, shares=False).close()
            kept = stack.enter_context(_bound(host, port, shares=True))
        except OSError as error:
            raise StartupError(f"cannot listen on {host}:{port}: {error}") from error
        yield kept.getsockname()[1]


def _bound(host: str, port: int, shares: bool) -> socket.socket:
    """A socket that has the port, but does not listen. Connections of a server that was here before do not matter."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


@dataclass
class _Process:
    number: int
    id: int = 0
    begun: float = 0.0
    pause: float = _PAUSE / 2
    again_at: float = math.inf


class Supervisor:
    """Keeps ``count`` processes at work. It has no threads, and knows nothing of what they do.

    SIGHUP goes to all of them. SIGTERM and SIGINT stop them, as does the supervisor's own death; ``grace`` is how many seconds they
    may take before they are killed. ``on_ready`` is called once all are ready; one that cannot start before stops them all.
    """

    def __init__(self, count: int, serve: Serve, grace: float, on_ready: Call) -> None:
        self._processes = [_Process(number) for number in range(count)]
        self._serve, self._grace, self._on_ready = serve, grace, on_ready
        self._id, self._is_stopping = os.getpid(), False
        self._ready_in, self._ready_out = os.pipe()
        self._alive_in, self._alive_out = os.pipe()  # nothing is ever written: it ends when the supervisor does
        os.set_blocking(self._ready_in, False)

    def run(self) -> int:
        """Returns the exit status: 0 after a stop that was asked for."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for process in self._processes:
            self._begin(process)
        ready: set[int] = set()
        while True:
            self._begin_again()
            received = signal.sigtimedwait(_SIGNALS, self._patience(len(ready) < len(self._processes)))
            if len(ready) < len(self._processes):
                ready |= self._told_ready()
                if len(ready) == len(self._processes):
                    self._on_ready()
            if received is None:
                continue
            if received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._stop(0)
            if received.si_signo == signal.SIGHUP:
                self._send(signal.SIGHUP)
            elif self._reap() and len(ready) < len(self._processes):
                return self._stop(1)

    def _begin(self, process: _Process) -> None:
        process.begun, process.again_at = time.monotonic(), math.inf
        process.id = os.fork()
        if process.id:
            return
        status = 1
        try:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it listens to it; it has nothing to reload before
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._alive_out)
            threading.Thread(target=self._stop_when_orphaned, daemon=True).start()
            status = self._serve(process.number, lambda: self._tell_ready(process.number), self._reload_all)
        except BaseException:
            log.exception("server process %d has failed", process.number)
        finally:
            logging.shutdown()
            os._exit(status)

    def _stop_when_orphaned(self) -> None:
        select.select([self._alive_in], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    def _tell_ready(self, number: int) -> None:
        os.write(self._ready_out, bytes([number]))

    def _reload_all(self) -> None:
        if os.getppid() == self._id:
            os.kill(self._id, signal.SIGHUP)

    def _told_ready(self) -> set[int]:
        try:
            return set(os.read(self._ready_in, 256))
        except BlockingIOError:
            return set()

    def _patience(self, starting: bool) -> float:
        soonest = min(process.again_at for process in self._processes) - time.monotonic()
        return max(0.0, min(soonest, _POLL if starting else 3600.0))

    def _reap(self) -> bool:
        """Note who has died, to begin it again after a pause; whether one of them cannot start. As process 1 it reaps orphans, too."""
        cannot_start = False
        while (found := _ended()) is not None:
            ended, code = found
            for process in self._processes:
                if process.id == ended:
                    self._note_end(process, code)
                    cannot_start |= code == CANNOT_START
        return cannot_start

    def _note_end(self, process: _Process, code: int) -> None:
        now = time.monotonic()
        process.pause = min(2 * process.pause, _LONGEST_PAUSE) if now < process.begun + _YOUNG else _PAUSE
        process.id, process.again_at = 0, now + process.pause
        how = f"by signal {-code}" if code < 0 else f"with status {code}"
        asked_for = self._is_stopping and code == 0
        log.log(logging.INFO if asked_for else logging.WARNING, "server process %d has ended %s", process.number, how)

    def _begin_again(self) -> None:
        for process in self._processes:
            if process.again_at <= time.monotonic():
                self._begin(process)

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.id:
                os.kill(process.id, number)

    def _stop(self, status: int) -> int:
        self._is_stopping = True
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        while any(process.id for process in self._processes):
            if time.monotonic() >= deadline:
                self._send(signal.SIGKILL)
            signal.sigtimedwait([signal.SIGCHLD], _POLL)
            self._reap()
        return status


def _ended() -> tuple[int, int] | None:
    """A child that has ended, by its id, and its exit status, negative for a signal; ``None`` if there is no further one."""
    try:
        ended, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (ended, os.waitstatus_to_exitcode(status)) if ended else None
