"""The gate: calls that the queue has no room for are rejected before their photo is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import grpc

from dorian_server.admission.queue import Admission
from dorian_server.domain.caller import Caller
from dorian_server.domain.errors import OverloadError, Reason
from dorian_server.rpc.call_details import QUEUED_METHODS, read_priority
from dorian_server.rpc.interceptors import Continuation, Handler, rejecting_handler
from dorian_server.rpc.statuses import abort


class Gate(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Lets calls of queued methods through while the queue has room.

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
        if handler is not None and handler_call_details.method in QUEUED_METHODS:
            caller = Caller(read_priority(handler_call_details.invocation_metadata))
            retry_after = self._admission.retry_after(caller)
            if retry_after is not None:
                return self._reject(handler, retry_after)
        return handler

    def _reject(self, handler: Handler, retry_after: float) -> Handler:
        def reject(context: grpc.ServicerContext) -> NoReturn:
            error = OverloadError(Reason.QUEUE_FULL, "all the work that may wait here waits already", retry_after)
            self._on_reject(error.reason)
            abort(context, error)

        return rejecting_handler(handler, reject)
