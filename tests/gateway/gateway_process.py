"""The gateway as a process that tests start."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class GatewayProcess:
    """A running gateway, and where it listens."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        with self.process:  # closes its output
            self.process.terminate()
            self.process.wait(timeout=30)


def start_gateway(server: str, *flags: str, **environment: str) -> GatewayProcess:
    """Start ``dorian-gateway`` on a free port of this machine; returns when it listens.

    Args:
        server: The address of the server behind it.
        *flags: Its flags.
        **environment: Variables that it has, too.
    """
    command = [sys.executable, "-m", "dorian_gateway", "--server", server, "--port", "0", *flags]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DORIAN_")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=inherited | environment
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("listening on "):
        process.kill()
        process.communicate()
        raise AssertionError(f"the gateway said {line!r}")
    return GatewayProcess(process, line.removeprefix("listening on ").strip())
