"""Files that may change while the server runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from dorian_server.domain.errors import StartupError

log = logging.getLogger(__name__)

Value = TypeVar("Value")
_Stamp = tuple[int, int, int]


def read_file(path: Path, role: str) -> bytes:
    """Return the bytes of ``path``; ``StartupError`` calls it by its ``role``."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise StartupError(f"{role} {path} does not exist") from error
    except OSError as error:
        raise StartupError(f"{role} {path} cannot be read: {error.strerror}") from error


class WatchedFiles(Generic[Value]):
    """A value that is read from files, and read again once one of them has changed; safe to share between threads.

    Args:
        paths: The files.
        read: Makes the value of them.

    Raises:
        StartupError: By ``read``, the first time. Later it is logged once for each change, and the value from before stays.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value]) -> None:
        self._paths = list(paths)
        self._read = read
        self._lock = threading.Lock()
        # Before reading, so that a change in between is read by the next call.
        self._stamps = self._read_stamps()
        self._value = read()

    def value(self) -> Value:
        """Return the newest value that could be read; the same object until a file changes."""
        with self._lock:
            stamps = self._read_stamps()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._value = self._read()
                    log.info("reloaded %s", ", ".join(map(str, self._paths)))
                except StartupError as error:
                    log.warning("%s; what was there before stays in use", error)
            return self._value

    def _read_stamps(self) -> list[_Stamp | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
