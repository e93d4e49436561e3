"""The signals of a server process: to stop, or to reload its bundles."""

from __future__ import annotations

import os
import signal
from contextlib import AbstractContextManager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MAX_READ = 4096  # signals that are taken from the pipe at once


class _StopRequested(BaseException):
    """Interrupts what the main thread does."""


class SignalQueue:
    """SIGTERM, SIGINT and SIGHUP in the order in which they arrive. For the main thread, and only one at a time.

    They wait in a pipe that Python's C code writes to: a handler in Python would not run if the signal came just before a wait began,
    or if another thread got it.
    """

    def __init__(self) -> None:
        self._pending: list[int] = []
        self._pipe, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        self.interrupts = False  # whether a signal to stop ends what the main thread does
        for number in _SIGNALS:
            signal.signal(number, self._handle)
        if os.getpid() == 1:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # process 1 inherits orphans; none may stay as a zombie

    def next(self) -> signal.Signals:
        """Wait for the next signal. SIGHUPs that arrived in the meantime count as one."""
        while not self._pending:
            self._pending = [number for number in os.read(self._pipe, _MAX_READ) if number in _SIGNALS]
        number = self._pending.pop(0)
        if number == signal.SIGHUP:
            self._pending = [other for other in self._pending if other != signal.SIGHUP]
        return signal.Signals(number)

    def interrupting(self) -> AbstractContextManager[None, bool]:
        """Leave the context when a signal to stop arrives, which is still the ``next`` afterwards. For what may take long."""
        return _Interruptible(self)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.interrupts and number != signal.SIGHUP:
            self.interrupts = False
            raise _StopRequested


class _Interruptible(AbstractContextManager[None, bool]):
    def __init__(self, signals: SignalQueue) -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._signals.interrupts = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._signals.interrupts = False
        return kind is _StopRequested
