"""The gate: calls that the queue has no room for are refused before their photo is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import grpc

from dorian_server.admission.queue import Admission
from dorian_server.domain.errors import OverloadError, Reason
from dorian_server.rpc.interceptors import Continuation, Handler, refuser
from dorian_server.rpc.metadata import read_priority
from dorian_server.rpc.statuses import abort


class Gate(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Lets calls of ``methods`` through while ``admission`` has room. ``refused`` hears the reason of each call that was not."""

    def __init__(self, admission: Admission, methods: frozenset[str], refused: Callable[[str], None]) -> None:
        self._admission, self._methods, self._refused = admission, methods, refused

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = continuation(handler_call_details)
        if handler is not None and handler_call_details.method in self._methods:
            priority = read_priority(handler_call_details.invocation_metadata)
            retry_after = self._admission.retry_after(priority)
            if retry_after is not None:
                return self._refuser(handler, retry_after)
        return handler

    def _refuser(self, handler: Handler, retry_after: float) -> Handler:
        def refuse(context: grpc.ServicerContext) -> NoReturn:
            error = OverloadError(Reason.QUEUE_FULL, "all the work that may wait here waits already", retry_after)
            self._refused(error.reason)
            abort(context, error)

        return refuser(handler, refuse)
