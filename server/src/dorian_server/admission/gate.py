"""The gate: calls that the queue has no room for are rejected before their photo is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import grpc

from dorian_server.admission.queue import Admission
from dorian_server.domain.caller import Caller, Priority
from dorian_server.domain.errors import OverloadError, Reason
from dorian_server.rpc.call_details import QUEUED_METHODS, caller_name, read_priority
from dorian_server.rpc.interceptors import (
    Continuation,
    Handler,
    answers_unread_if,
    behaviour_of,
    replace_behaviour,
)
from dorian_server.rpc.statuses import abort


class Gate(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Lets calls of queued methods through while the queue has room for their caller.

    Args:
        admission: The queue.
        on_reject: Called with the reason of each call that is rejected.
    """

    def __init__(self, admission: Admission, on_reject: Callable[[Reason], None]) -> None:
        self._admission, self._on_reject = admission, on_reject

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method not in QUEUED_METHODS:
            return handler
        return self._guard(handler, read_priority(handler_call_details.invocation_metadata))

    def _guard(self, handler: Handler, priority: Priority) -> Handler:
        behaviour = behaviour_of(handler)
        retry_after: float | None = None

        def is_full(context: grpc.ServicerContext) -> bool:
            nonlocal retry_after
            retry_after = self._admission.retry_after(Caller(priority, name=caller_name(context)))
            return retry_after is not None

        @wraps(behaviour)
        def guarded(request: Any, context: grpc.ServicerContext) -> Any:
            if retry_after is not None:
                error = OverloadError(Reason.QUEUE_FULL, "all the work that may wait here waits already", retry_after)
                self._on_reject(error.reason)
                abort(context, error)
            return behaviour(request, context)

        return replace_behaviour(handler, answers_unread_if(guarded, is_full))
