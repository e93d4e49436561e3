"""A contender's processes: started together, measured together, and none of them left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from bench.serving.task import ROOT

_GRACE = 20.0  # seconds to stop when asked
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_NO_TELLING = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}


Measured = TypeVar("Measured")


class NotServingError(Exception):
    """A contender does not install, start or respond; the message is one line."""


class Tree:
    """A process and all that it starts; what it says goes to a file, unless it ``talks`` in lines over pipes."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], talks: bool = False) -> None:
        said, name = tempfile.mkstemp(prefix="bench-")
        self._said = Path(name)
        pipe = subprocess.PIPE if talks else None
        self._process = subprocess.Popen(
            command,
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or said,
            stderr=said,
            text=True,
            cwd=ROOT,
            env=os.environ | _NO_TELLING | environment,
            start_new_session=True,
        )
        os.close(said)
        self._root = psutil.Process(self._process.pid)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def read_line(self) -> str:
        """The next line it says. ``NotServingError`` if it ends instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise NotServingError(self.complaint())
        return line

    def write_line(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # reading its answer tells why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def fileno(self) -> int:
        """For ``select``: readable when there is a line."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def complaint(self) -> str:
        """The line of its output that best explains why it ended."""
        return (
            error_line(self._said.read_text(errors="replace"))
            or f"ended with status {self._process.returncode}, without a word"
        )

    def cpu_seconds(self) -> float:
        """User and system time of all that live."""
        return sum(times.user + times.system for times in self._each(psutil.Process.cpu_times))

    def memory(self) -> float:
        """Bytes, what several share counted once."""
        return sum(self._each(_proportional))

    def stop(self) -> None:
        """Ask it to stop; whatever is left of it after a while is killed."""
        living = self._living()
        self._process.send_signal(signal.SIGTERM)
        psutil.wait_procs(living, timeout=_GRACE)
        for process in living:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._said.unlink()
        for pipe in filter(None, (self._process.stdin, self._process.stdout)):
            with suppress(BrokenPipeError):
                pipe.close()

    def _living(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _each(self, measure: Callable[[psutil.Process], Measured]) -> Iterator[Measured]:
        for process in self._living():
            with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                yield measure(process)


def _proportional(process: psutil.Process) -> int:
    result = _PSS.search(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
    return int(result[1]) * 1024 if result else process.memory_info().rss


def error_line(said: str) -> str:
    """The first line of ``said`` that names an error, or else its last one; empty if there is none."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = (line for line in lines if re.match(r"([\w.]*(Error|Exception)|ERROR|Error)\b", line))
    return next(named, lines[-1] if lines else "")[:300]
