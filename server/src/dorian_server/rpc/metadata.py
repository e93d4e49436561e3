"""What a call's metadata and context say of its caller."""

from __future__ import annotations

import time

import grpc

from dorian_server.domain.caller import PRIORITIES, Caller, Priority

PRIORITY_KEY = "dorian-priority"


def read_caller(context: grpc.ServicerContext) -> Caller:
    """Return the caller of ``context``, which is cancelled when the call is over."""
    remaining = context.time_remaining()
    deadline = None if remaining is None else time.monotonic() + remaining
    caller = Caller(read_priority(context.invocation_metadata()), deadline)
    if not context.add_callback(caller.cancel):
        caller.cancel()
    return caller


def read_priority(metadata: object) -> Priority:
    """Return the priority in a call's ``metadata``; interactive if it names none that exists."""
    value = dict(metadata or ()).get(PRIORITY_KEY)  # type: ignore[call-overload]
    return next((priority for priority in PRIORITIES if priority == value), "interactive")
