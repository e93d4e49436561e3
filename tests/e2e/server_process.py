"""Processes that the end-to-end tests start: the server, and the ``dorian`` command against it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


@dataclass(frozen=True)
class ServerProcess:
    """A running server, where it listens, and the file of its log if it has one."""

    process: subprocess.Popen[str]
    address: str
    log: Path | None = None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop as an orchestrator would; its exit code."""
        with self.process:  # closes its output
            self.process.send_signal(number)
            return self.process.wait(timeout=30)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far, where it logs in JSON."""
        assert self.log is not None
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def start_server(*flags: str, log: Path | None = None, prefix: tuple[str, ...] = ()) -> ServerProcess:
    """Start ``dorian-server`` on a free port of this machine; returns when it serves. With ``log`` it logs to there, in JSON.

    ``prefix``: a command that runs it, as ``nice``.
    """
    command = [*prefix, sys.executable, "-m", "dorian_server", "--host", "127.0.0.1", "--port", "0", *flags]
    if log is None:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    else:
        command += ["--log-format", "json"]
        with log.open("a") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("listening on "):
        process.kill()
        process.communicate()
        raise AssertionError(f"{line!r}, {log.read_text() if log else ''}")
    return ServerProcess(process, line.removeprefix("listening on ").strip(), log)


def run_server(*flags: str) -> subprocess.CompletedProcess[str]:
    """Start ``dorian-server`` so that it fails; returns when it has."""
    command = [sys.executable, "-m", "dorian_server", "--host", "127.0.0.1", "--threads", "1", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=SECONDS)


def children(process: int) -> list[int]:
    """The ids of a process's children, ended ones that nobody has asked after included."""
    return [int(id) for id in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


class Handle:
    """A process by its id, which another cannot take over while this is open."""

    def __init__(self, process: int) -> None:
        self.id, self._descriptor = process, os.pidfd_open(process)

    def kill(self) -> None:
        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def has_ended(self, seconds: float = SECONDS) -> bool:
        """Whether it has, or does within a while."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def close(self) -> None:
        os.close(self._descriptor)


def dorian(server: ServerProcess, environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command ``dorian`` against ``server``."""
    command = [sys.executable, "-m", "dorian_client.cli", *map(str, arguments)]
    return subprocess.run(
        command, env={**environment, "DORIAN_SERVER": server.address}, capture_output=True, text=True, timeout=120
    )
