"""What a process is asked by signals: to stop, or to read its bundles anew."""

from __future__ import annotations

import os
import queue
import signal
from contextlib import AbstractContextManager
from types import FrameType

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _StopAsked(BaseException):
    """Ends what the main thread does."""


class SignalQueue:
    """SIGTERM, SIGINT and SIGHUP in the order in which they come. Made in the main thread, which they reach."""

    def __init__(self) -> None:
        self._come: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
        self.interrupts = False  # whether a signal to stop ends what the main thread does
        for number in _HEARD:
            signal.signal(number, self._hear)
        if os.getpid() == 1:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans come to process 1; none is to stay as a zombie

    def next(self) -> signal.Signals:
        """The next that was not taken yet; waits for it."""
        return self._come.get()

    def interrupting(self) -> AbstractContextManager[None, bool]:
        """For what may take long: the context ends when a signal to stop comes, which is still the ``next`` afterwards."""
        return _Interruptible(self)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._come.put(signal.Signals(number))
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
