"""Processes that the end-to-end tests start: the server, and the ``dorian`` command against it."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ServerProcess:
    """A running server, and where it listens."""

    process: subprocess.Popen[str]
    address: str

    def stop(self) -> int:
        """Ask it to stop as an orchestrator would; its exit code."""
        with self.process:  # closes its output
            self.process.send_signal(signal.SIGTERM)
            return self.process.wait(timeout=30)


def start_server(*flags: str) -> ServerProcess:
    """Start ``dorian-server`` on a free port of this machine; returns when it listens."""
    command = [sys.executable, "-m", "dorian_server", "--host", "127.0.0.1", "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on "), line
    return ServerProcess(process, line.removeprefix("listening on ").strip())


def dorian(server: ServerProcess, environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command ``dorian`` against ``server``."""
    command = [sys.executable, "-m", "dorian_client.command", *map(str, arguments)]
    return subprocess.run(
        command, env={**environment, "DORIAN_SERVER": server.address}, capture_output=True, text=True, timeout=120
    )
