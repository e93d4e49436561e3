"""Limits for callers without API keys: each by its certificate's name, or else by its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

import grpc

from dorian_server.domain.errors import OverloadError
from dorian_server.rpc.interceptors import Continuation, Handler, service_of, wrapped
from dorian_server.rpc.statuses import abort
from dorian_server.security.quotas import Quotas

OPEN_SERVICES = ("grpc.health.v1.Health",)
_NAME = "x509_common_name"


class CallerLimits(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Lets each caller have ``at_once`` calls and begin ``per_minute``; ``refused`` hears the reason of each that was too much."""

    def __init__(self, at_once: int | None, per_minute: int | None, refused: Callable[[str], None]) -> None:
        self._limits = at_once, per_minute
        self._refused = refused
        self._quotas = Quotas()

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = continuation(handler_call_details)
        if handler is None or service_of(handler_call_details.method) in OPEN_SERVICES:
            return handler
        return wrapped(handler, self._admitted)

    @contextmanager
    def _admitted(self, request: object, context: grpc.ServicerContext) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._quotas.counted(name_of(context), *self._limits))
            except OverloadError as error:
                self._refused(error.reason)
                abort(context, error)
            yield


def name_of(context: grpc.ServicerContext) -> str:
    """Who calls, as far as can be told: the name in a client's certificate, or the address without its port."""
    names = cast(Mapping[str, Sequence[bytes]], context.auth_context()).get(_NAME)
    if names:
        return names[0].decode(errors="replace")
    address, _, port = context.peer().rpartition(":")
    return address if port.isdigit() else context.peer()
