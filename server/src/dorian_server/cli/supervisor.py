"""Several server processes on one port: forked before any thread or gRPC starts, watched, and restarted when they die."""

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

from dorian_server.cli.signs_of_life import SIGN_PERIOD, SignsOfLife
from dorian_server.domain.errors import StartupError

log = logging.getLogger(__name__)

CANNOT_START = 78  # exit status of a process whose settings cannot be served
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_POLL = 0.05  # seconds, until all are ready
# Seconds before a process that died is restarted; twice as long each time that it has lived less than the last.
_PAUSE, _MAX_PAUSE, _MIN_LIFE = 0.5, 10.0, 30.0

Callback = Callable[[], None]
# What a process does: from its number, from 0 on, what to call when it is ready, and what to call to make all processes reload, to
# its exit status.
Serve = Callable[[int, Callback, Callback], int]


@contextmanager
def shared_port(host: str, port: int) -> Iterator[int]:
    """Reserve a port for processes that share it, for the time of the context.

    Args:
        host: Address to listen on.
        port: The port; 0 takes a free one.

    Yields:
        The port.

    Raises:
        StartupError: The port is taken.
    """
    with ExitStack() as stack:
        try:
            if port:  # a server that shares it would let us in, too
                _bind(host, port, shares=False).close()
            reserved = stack.enter_context(_bind(host, port, shares=True))
        except OSError as error:
            raise StartupError(f"cannot listen on {host}:{port}: {error}") from error
        yield reserved.getsockname()[1]


def _bind(host: str, port: int, shares: bool) -> socket.socket:
    """Return a socket that has the port, but does not listen, even if connections of an earlier server linger."""
    addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = addresses[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


@dataclass
class _Process:
    number: int
    id: int = 0
    begun: float = 0.0
    pause: float = _PAUSE / 2
    restart_at: float = math.inf


class Supervisor:
    """Keeps several processes running. It has no threads, and knows nothing of what they do.

    SIGHUP goes to all processes. SIGTERM and SIGINT stop them, as does the supervisor's own death.

    Args:
        count: How many processes there are.
        serve: What each does.
        grace: Seconds that they may take to stop before they are killed.
        on_ready: Called once all are ready; if one cannot start before, all are stopped.
        on_reload: Called before SIGHUP is passed on, so that processes that are started later know what was reloaded.
        max_silence: Seconds without a sign of life after which a process is killed and restarted, as one that has crashed.
    """

    def __init__(
        self,
        count: int,
        serve: Serve,
        grace: float,
        on_ready: Callback,
        on_reload: Callback = lambda: None,
        max_silence: float = 20.0,
    ) -> None:
        self._processes = [_Process(number) for number in range(count)]
        self._serve, self._grace, self._on_ready, self._on_reload = serve, grace, on_ready, on_reload
        self._signs = SignsOfLife(count, max_silence)
        self._id, self._is_stopping = os.getpid(), False
        self._ready_in, self._ready_out = os.pipe()
        self._alive_in, self._alive_out = os.pipe()  # nothing is ever written: it ends when the supervisor does
        os.set_blocking(self._ready_in, False)

    def run(self) -> int:
        """Run until a signal to stop, and return the exit status: 0 after such a signal."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for process in self._processes:
            self._start(process)
        ready: set[int] = set()
        while True:
            self._restart_due()
            received = signal.sigtimedwait(_SIGNALS, self._timeout(len(ready) < len(self._processes)))
            self._kill_silent()
            if len(ready) < len(self._processes):
                ready |= self._read_ready()
                if len(ready) == len(self._processes):
                    self._on_ready()
            if received is None:
                continue
            if received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._stop(0)
            if received.si_signo == signal.SIGHUP:
                self._on_reload()
                self._send(signal.SIGHUP)
            elif self._reap() and len(ready) < len(self._processes):
                return self._stop(1)

    def _start(self, process: _Process) -> None:
        process.begun, process.restart_at = time.monotonic(), math.inf
        self._signs.give(process.number)
        process.id = os.fork()
        if process.id:
            return
        status = 1
        try:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it handles it; there is nothing to reload before
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._alive_out)
            threading.Thread(target=self._stop_when_orphaned, daemon=True).start()
            threading.Thread(target=self._signs.keep_giving, args=(process.number,), daemon=True).start()
            status = self._serve(process.number, lambda: self._write_ready(process.number), self._reload_all)
        except BaseException:
            log.exception("server process %d has failed", process.number)
        finally:
            logging.shutdown()
            os._exit(status)

    def _stop_when_orphaned(self) -> None:
        select.select([self._alive_in], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    def _write_ready(self, number: int) -> None:
        os.write(self._ready_out, bytes([number]))

    def _reload_all(self) -> None:
        if os.getppid() == self._id:
            os.kill(self._id, signal.SIGHUP)

    def _read_ready(self) -> set[int]:
        try:
            return set(os.read(self._ready_in, 256))
        except BlockingIOError:
            return set()

    def _timeout(self, starting: bool) -> float:
        soonest = min(process.restart_at for process in self._processes) - time.monotonic()
        return max(0.0, min(soonest, _POLL if starting else SIGN_PERIOD))

    def _kill_silent(self) -> None:
        """Kill processes that hang, stopped or locked; they are restarted as those that have died."""
        silent = self._signs.silent()
        for process in self._processes:
            if process.id and process.number in silent:
                log.error("server process %d gives no sign of life; it is killed", process.number)
                self._signs.give(process.number)  # it may take a moment to die
                os.kill(process.id, signal.SIGKILL)

    def _reap(self) -> bool:
        """Schedule the restart of processes that have died; return whether one of them cannot start. As process 1, reap orphans too."""
        cannot_start = False
        while (ended := _wait_for_child()) is not None:
            id, code = ended
            for process in self._processes:
                if process.id == id:
                    self._schedule_restart(process, code)
                    cannot_start |= code == CANNOT_START
        return cannot_start

    def _schedule_restart(self, process: _Process, code: int) -> None:
        now = time.monotonic()
        process.pause = min(2 * process.pause, _MAX_PAUSE) if now < process.begun + _MIN_LIFE else _PAUSE
        process.id, process.restart_at = 0, now + process.pause
        how = f"by signal {-code}" if code < 0 else f"with status {code}"
        is_expected = self._is_stopping and code == 0
        log.log(logging.INFO if is_expected else logging.WARNING, "server process %d has ended %s", process.number, how)

    def _restart_due(self) -> None:
        for process in self._processes:
            if process.restart_at <= time.monotonic():
                self._start(process)

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


def _wait_for_child() -> tuple[int, int] | None:
    """Return the id of a child that has ended and its exit status, negative for a signal; ``None`` if there is none."""
    try:
        id, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (id, os.waitstatus_to_exitcode(status)) if id else None
