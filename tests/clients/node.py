"""Node.js, for tests of what is written for it: packages as their locks have them, and runs of Node's own test runner."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clients" / "typescript"
OLDEST = 20
SECONDS = 120
# Of errors of npm, what says that it got no answer.
UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT"
)


def require_node() -> None:
    """Skip where Node.js and npm are missing, or are older than the package takes."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _skip("there is no Node.js with npm here")
    version = run("node", "--version", folder=ROOT).strip()
    if int(version.lstrip("v").partition(".")[0]) < OLDEST:
        _skip(f"Node.js is {version}; the client needs {OLDEST} or newer")


def install(folder: Path) -> None:
    """Install a folder's packages, unless they are those of its lock; others who do so at the same time wait.

    Skips where npm's registry cannot be reached, and npm's cache lacks them.
    """
    installed = folder / "node_modules" / ".package-lock.json"
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.exists() and installed.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
            return
        command = ["npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--no-progress"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5 * SECONDS, check=False)
    if result.returncode and (why := UNREACHABLE.search(result.stderr)):
        _skip(f"npm's registry cannot be reached: {why[0]}")
    assert result.returncode == 0, f"npm ci in {folder}\n{result.stdout[-5_000:]}{result.stderr[-5_000:]}"


def _skip(reason: str) -> NoReturn:
    """Skip the test, or fail it where the environment says that Node.js must be here."""
    if os.environ.get("REQUIRE_NODE"):
        pytest.fail(f"{reason}, and REQUIRE_NODE is set")
    pytest.skip(reason)


def run(*command: str, folder: Path, **environment: str) -> str:
    """Run a command that must succeed; return what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DORIAN_")}
    result = subprocess.run(
        command, cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-20_000:]}{result.stderr[-5_000:]}"
    return result.stdout
