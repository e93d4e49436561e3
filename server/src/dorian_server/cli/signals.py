"""What a process is asked by signals: to stop, or to read its bundles anew."""

from __future__ import annotations

import os
import signal
from contextlib import AbstractContextManager
from types import FrameType

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MOST = 4096  # signals that are taken from the pipe at once


class _StopAsked(BaseException):
    """Ends what the main thread does."""


class SignalQueue:
    """SIGTERM, SIGINT and SIGHUP in the order in which they come. For the main thread, and one of it at a time.

    They wait in a pipe that Python's C code writes to: a handler in Python would not run before a wait that it came just too late for
    has ended, or while another thread has got the signal.
    """

    def __init__(self) -> None:
        self._taken: list[int] = []
        self._come, come_in = os.pipe()
        os.set_blocking(come_in, False)
        signal.set_wakeup_fd(come_in, warn_on_full_buffer=False)
        self.interrupts = False  # whether a signal to stop ends what the main thread does
        for number in _HEARD:
            signal.signal(number, self._hear)
        if os.getpid() == 1:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans come to process 1; none is to stay as a zombie

    def next(self) -> signal.Signals:
        """The next that was not taken yet; waits for it. SIGHUPs that have come meanwhile ask for one thing, and are one."""
        while not self._taken:
            self._taken = [number for number in os.read(self._come, _MOST) if number in _HEARD]
        number = self._taken.pop(0)
        if number == signal.SIGHUP:
            self._taken = [other for other in self._taken if other != signal.SIGHUP]
        return signal.Signals(number)

    def interrupting(self) -> AbstractContextManager[None, bool]:
        """For what may take long: the context ends when a signal to stop comes, which is still the ``next`` afterwards."""
        return _Interruptible(self)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.interrupts and number != signal.SIGHUP:
            self.interrupts = False
            raise _StopAsked


class _Interruptible(AbstractContextManager[None, bool]):
    def __init__(self, signals: SignalQueue) -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._signals.interrupts = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._signals.interrupts = False
        return kind is _StopAsked
