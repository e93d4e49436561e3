"""Who waits for an answer: how urgently, until when, and whether they still do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import grpc

Priority = Literal["interactive", "batch"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
PRIORITY_KEY = "dorian-priority"


class Caller:
    """One call's caller. ``deadline``: in seconds of ``time.monotonic``, when it stops waiting; ``None`` for never."""

    def __init__(self, priority: Priority = "interactive", deadline: float | None = None) -> None:
        self.priority, self.deadline = priority, deadline
        self.gone = threading.Event()
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def leave(self) -> None:
        """It waits no longer: it has cancelled, its deadline has passed, or it has its answer."""
        with self._lock:
            self.gone.set()
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def on_leave(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when the caller leaves, or at once if it has left."""
        with self._lock:
            if not self.gone.is_set():
                self._listeners.append(listener)
                return
        listener()


# Of the call that this thread works on; nobody in particular outside of calls. Graphs are run far below the handlers.
_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """The caller that this thread works for."""
    return _CALLER.get(None) or Caller()


@contextmanager
def working_for(caller: Caller) -> Iterator[None]:
    """What this thread does within the context is for ``caller``."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)


def caller_of(context: grpc.ServicerContext) -> Caller:
    """The caller of ``context``; it leaves when the call is over."""
    remaining = context.time_remaining()
    deadline = None if remaining is None else time.monotonic() + remaining
    caller = Caller(priority_of(context.invocation_metadata()), deadline)
    if not context.add_callback(caller.leave):
        caller.leave()
    return caller


def priority_of(metadata: object) -> Priority:
    """What a call's ``metadata`` says of its priority; interactive where it says nothing that is known."""
    asked = dict(metadata or ()).get(PRIORITY_KEY)  # type: ignore[call-overload]
    return next((priority for priority in PRIORITIES if priority == asked), "interactive")
