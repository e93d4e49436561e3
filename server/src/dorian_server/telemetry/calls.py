"""A watch on every call: counted, timed, traced, and one line in the log when it ends."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import grpc

from dorian_server.rpc.interceptors import Continuation, Handler, wrapped
from dorian_server.telemetry.logs import REQUEST_ID
from dorian_server.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

_ID_KEY = "x-request-id"
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# Seconds after a call that was refused for want of room, in which further ones are counted, but not logged.
_QUIET = 1.0
# They stay open for as long as somebody watches or may ask; the first needs no thread while it is as gRPC made it.
_OPEN_ENDED = ("/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")


class CallWatcher(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Notes each call in ``telemetry``. It gives it the id that came with it as ``x-request-id``, or a new one, and sends that back."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._refusals = Refusals()

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method in _OPEN_ENDED:
            return handler
        kind = "server_stream" if handler.response_streaming else "unary"
        return wrapped(handler, lambda request, context: self._watched(kind, handler_call_details, context))

    @contextmanager
    def _watched(self, kind: str, details: grpc.HandlerCallDetails, context: grpc.ServicerContext) -> Iterator[None]:
        metrics, traces = self._telemetry.metrics, self._telemetry.traces
        _, service, method = details.method.split("/", 2)
        metadata = {key: value for key, value in details.invocation_metadata if isinstance(value, str)}
        given = metadata.get(_ID_KEY, "")
        number = given if _ID.fullmatch(given) else uuid.uuid4().hex
        context.send_initial_metadata(((_ID_KEY, number),))
        labels = (kind, service, method)
        metrics.started.labels(*labels).inc()
        begin = time.perf_counter()
        token = REQUEST_ID.set(number)
        code = grpc.StatusCode.UNKNOWN
        try:
            with traces.call(service, method, metadata) if traces else nullcontext():
                try:
                    yield
                    code = _code(context) or grpc.StatusCode.OK
                except BaseException:
                    code = _code(context) or (code if context.is_active() else grpc.StatusCode.CANCELLED)
                    raise
                finally:
                    if traces:
                        traces.ended(code.name)
        finally:
            seconds = time.perf_counter() - begin
            metrics.handled.labels(*labels, code.name).inc()
            metrics.seconds.labels(*labels).observe(seconds)
            self._log(method, code, seconds)
            REQUEST_ID.reset(token)

    def _log(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        unlogged = self._refusals.unlogged() if code is grpc.StatusCode.RESOURCE_EXHAUSTED else 0
        if unlogged is None:
            return
        others = f", as {unlogged} unlogged before it" if unlogged else ""
        seconds = round(seconds, 4)
        fields = {"method": method, "code": code.name, "seconds": seconds}
        log.info("%s %s in %.3f s%s", method, code.name, seconds, others, extra={"fields": fields})


class Refusals:
    """Which of the calls that find no room are logged: they come by the hundred, and lines take time from those that found some.

    ``clock`` gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._next, self._unlogged = -math.inf, 0

    def unlogged(self) -> int | None:
        """``None`` if this one is not to be logged, else how many were not since the last that was."""
        with self._lock:
            now = self._clock()
            if now < self._next:
                self._unlogged += 1
                return None
            unlogged, self._next, self._unlogged = self._unlogged, now + _QUIET, 0
            return unlogged


def _code(context: grpc.ServicerContext) -> grpc.StatusCode | None:
    """The status that the call was given, if it was; the stubs of gRPC's types lack this method."""
    code: grpc.StatusCode | None = context.code()  # type: ignore[attr-defined]
    return code
