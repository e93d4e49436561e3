"""Who waits for an answer: how urgently, until when, and whether they still do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

Priority = Literal["interactive", "batch"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)


class Caller:
    """The caller of one call; safe to share between threads.

    Args:
        priority: Interactive callers go before batch callers.
        deadline: When the caller stops waiting, in seconds of ``time.monotonic``; ``None`` for never.
        name: Whose calls this one shares its turns with: an API key's id, a certificate's name, or an address.
        give_way: Called between the steps of long work: returns at once, or after the calls of others whose turn it is.
    """

    def __init__(self, priority: Priority = "interactive", deadline: float | None = None, name: str = "") -> None:
        self.priority, self.deadline, self.name = priority, deadline, name
        self.give_way: Callable[[], None] = lambda: None
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Mark the call as over: cancelled, past its deadline, or answered."""
        with self._lock:
            self.cancelled.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the call is over, or now if it is."""
        with self._lock:
            if not self.cancelled.is_set():
                self._callbacks.append(callback)
                return
        callback()


# The caller of the call that this thread works on. Graphs run far below the handlers, which is why it is no argument.
_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Return the caller that this thread works for; outside of calls, an anonymous one that waits forever."""
    return _CALLER.get(None) or Caller()


@contextmanager
def working_for(caller: Caller) -> Iterator[None]:
    """Make ``caller`` the current caller of this thread within the context."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)
