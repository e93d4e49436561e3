"""Virtual environments of the peers, one each, since their dependencies clash; NumPy, OpenCV and ONNX Runtime are the same in all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bench.serving.contenders import SERVE, Contender
from bench.serving.processes import NotServingError, error_line
from bench.serving.task import ROOT

_SAME = ("numpy", "onnxruntime", "opencv-python-headless", "pillow", "scipy")
_SHARED = ("requirements/bench-peer.txt", "bundle/pyproject.toml", "proto/pyproject.toml", "server/pyproject.toml")
_INSTALLED = (
    "bench-peer.txt"  # by which a peer's requirements install the server; without, its sources are put on the path
)
_PATIENCE = 900  # seconds for pip
_PIN = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", re.MULTILINE)


def make_environment(contender: Contender) -> None:
    """Make the environment of ``contender`` if it needs one and has none that is up to date. ``NotServingError`` says what pip said."""
    if contender.requirements is None:
        return
    folder = contender.setups[0].environment
    done = folder / "done"
    sources = [contender.requirements, *(ROOT / name for name in _SHARED)]
    if done.exists() and done.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    print(f"installing {contender.name}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    constraints = folder / "constraints.txt"
    constraints.write_text(_constraints(contender.requirements.read_text()))
    command = [folder / "bin" / "pip", "install", "--quiet", "-r", contender.requirements, "-c", constraints]
    try:
        pip = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise NotServingError(f"pip found no set of packages within {_PATIENCE} s") from error
    if pip.returncode:
        raise NotServingError(error_line(pip.stderr))
    if _INSTALLED not in contender.requirements.read_text():
        (site_packages,) = folder.glob("lib/python*/site-packages")
        (site_packages / "dorian_server.pth").write_text(f"{ROOT / 'server' / 'src'}\n")
    done.touch()


def version(requirements: Path) -> str:
    """What a file of requirements pins first: the peer itself."""
    pin = _PIN.search(requirements.read_text())
    return pin[2] if pin else ""


def _constraints(requirements: str) -> str:
    """The server's own versions of what computes, but for what ``requirements`` pin."""
    pinned = {pin[1] for pin in _PIN.finditer(requirements)}
    frozen = subprocess.run([SERVE / "bin" / "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    pins = [line for line in frozen.splitlines() if line.partition("==")[0] in _SAME]
    return "\n".join(line for line in pins if line.partition("==")[0] not in pinned) + "\n"
