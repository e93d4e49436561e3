"""The server under load: a process with its log in a file, and its flags."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dorian_server.runtimes.cores import share_of_cores
from dorian_server.settings import Load, Settings

ROOT = Path(__file__).resolve().parents[2]
FAULT = "a request failed by our fault"  # what the server's log says of an error that no request is to blame for
_STOPPED = 10.0  # seconds beyond the grace


@dataclass(frozen=True)
class Flags:
    """The server's flags as they were given, and what they, or its defaults, say of what is measured here."""

    given: tuple[str, ...]
    workers: int
    processes: int
    grace: float

    @classmethod
    def read(cls, given: Sequence[str]) -> Flags:
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--workers", type=int, default=Load.workers)
        parser.add_argument("--processes", type=int, default=Load.processes)
        parser.add_argument("--grace", type=float, default=Settings.grace)
        options, _ = parser.parse_known_args(list(given))
        workers = options.workers or share_of_cores(options.processes)
        return cls(tuple(given), workers, options.processes, options.grace)

    @property
    def at_once(self) -> int:
        """Requests that all processes together work on at once."""
        return self.workers * self.processes


@dataclass(frozen=True)
class Server:
    """A running server. ``ready_after``: seconds from its start to its word that it listens."""

    process: subprocess.Popen[str]
    flags: Flags
    address: str
    metrics_ports: tuple[int, ...]
    log: Path
    ready_after: float

    @property
    def ids(self) -> list[int]:
        """The processes that serve."""
        return [self.process.pid] if self.flags.processes == 1 else children(self.process.pid)

    def faults(self) -> list[str]:
        """Lines of the log about errors of the server's own."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if FAULT in line or line.startswith(("Fatal", "Segmentation"))]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


def children(parent: int) -> list[int]:
    """The processes that ``parent`` has begun and that live."""
    ids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(word) for word in ids]


@contextmanager
def running(
    given: Sequence[str], prefix: Sequence[str] = (), environment: Mapping[str, str] = types.MappingProxyType({})
) -> Iterator[Server]:
    """A server on free ports of this machine, with the flags ``given``, until the end of the context.

    ``prefix``: a command that runs it, whose process it becomes, as ``nice``. ``environment``: variables beside the usual ones.
    """
    flags = Flags.read(given)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        ports = _free_ports(flags.processes)
        command = [*prefix, sys.executable, "-m", "dorian_server", "--host", "127.0.0.1", "--port", "0"]
        command += ["--metrics-port", str(ports[0]), *given]
        begin = time.perf_counter()
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | dict(environment),
            )
        with process:
            try:
                address = _listening(process, log)
                yield Server(process, flags, address, ports, log, time.perf_counter() - begin)
            finally:
                _end(process, flags.grace)


def _listening(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("listening on "):
        raise RuntimeError(f"the server did not start: {line}{log.read_text()[-2000:]}")
    return line.removeprefix("listening on ").strip()


def _end(process: subprocess.Popen[str], grace: float) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(grace + _STOPPED)
    except subprocess.TimeoutExpired:
        process.kill()


def _free_ports(count: int) -> tuple[int, ...]:
    """So many free ports in a row."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            start: int = first.getsockname()[1]
        ports = range(start, start + count)
        if all(_is_free(port) for port in ports):
            return tuple(ports)


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
