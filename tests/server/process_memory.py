"""Memory of a process, from /proc."""

from __future__ import annotations

from pathlib import Path


def read_memory(name: str, process: int | str = "self") -> int:
    """Bytes of one line of a process's status: ``VmRSS`` now, ``VmHWM`` at the peak."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def reset_peak(process: int | str = "self") -> int:
    """Forget the peak so far; returns what the process takes now."""
    Path(f"/proc/{process}/clear_refs").write_text("5")
    return read_memory("VmRSS", process)
