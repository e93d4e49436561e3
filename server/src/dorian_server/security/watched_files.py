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


def read_file(path: Path, what: str) -> bytes:
    """The bytes of ``path``. ``StartupError`` calls it ``what``."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise StartupError(f"{what} {path} does not exist") from error
    except OSError as error:
        raise StartupError(f"{what} {path} cannot be read: {error.strerror}") from error


class WatchedFiles(Generic[Value]):
    """What ``read`` makes of ``paths``, read anew once one of them has changed. Threads may share one.

    ``read`` raises ``StartupError`` for what cannot be used: the first time it goes to the caller, later it is logged once for each
    change, and the value from before stays.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value]) -> None:
        self._paths = list(paths)
        self._read = read
        self._lock = threading.Lock()
        # Before reading: of a change in between, the next look makes a second reading, not none.
        self._stamps = self._look()
        self._value = read()

    def value(self) -> Value:
        """The newest value that could be read; the same object until a file changes."""
        with self._lock:
            stamps = self._look()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._value = self._read()
                    log.info("read anew: %s", ", ".join(map(str, self._paths)))
                except StartupError as error:
                    log.warning("%s; what was there before stays in use", error)
            return self._value

    def _look(self) -> list[_Stamp | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
