"""A watch on every call: counted, timed, traced, and one line in the log when it ends."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import grpc

from dorian_server.domain.throttle import Throttle
from dorian_server.rpc.interceptors import Continuation, Handler, wrap_handler
from dorian_server.telemetry.logs import REQUEST_ID
from dorian_server.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

_ID_KEY = "x-request-id"
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# Open for as long as a client watches or may ask; the first needs no thread as long as gRPC's own handler is not wrapped.
_OPEN_ENDED = ("/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")


class CallWatcher(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Counts, times, traces and logs each call.

    A call keeps the id that comes with it as ``x-request-id``, or gets a new one; the id is sent back.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._overload_log = Throttle()

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method in _OPEN_ENDED:
            return handler
        kind = "server_stream" if handler.response_streaming else "unary"
        return wrap_handler(handler, partial(self._watch, kind=kind, details=handler_call_details))

    @contextmanager
    def _watch(
        self, request: object, context: grpc.ServicerContext, kind: str, details: grpc.HandlerCallDetails
    ) -> Iterator[None]:
        metrics, traces = self._telemetry.metrics, self._telemetry.traces
        _, service, method = details.method.split("/", 2)
        metadata = {key: value for key, value in details.invocation_metadata if isinstance(value, str)}
        request_id = _request_id(metadata.get(_ID_KEY, ""))
        context.send_initial_metadata(((_ID_KEY, request_id),))
        labels = (kind, service, method)
        metrics.started.labels(*labels).inc()
        begin = time.perf_counter()
        token = REQUEST_ID.set(request_id)
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
                        traces.set_status(code.name)
        finally:
            seconds = time.perf_counter() - begin
            metrics.handled.labels(*labels, code.name).inc()
            metrics.seconds.labels(*labels).observe(seconds)
            self._log(method, code, round(seconds, 4))
            REQUEST_ID.reset(token)

    def _log(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        skipped = self._overload_log.skipped() if code is grpc.StatusCode.RESOURCE_EXHAUSTED else 0
        if skipped is None:
            return
        others = f", as {skipped} unlogged before it" if skipped else ""
        fields = {"method": method, "code": code.name, "seconds": seconds}
        log.info("%s %s in %.3f s%s", method, code.name, seconds, others, extra=fields)


def _request_id(sent: str) -> str:
    return sent if _ID.fullmatch(sent) else uuid.uuid4().hex


def _code(context: grpc.ServicerContext) -> grpc.StatusCode | None:
    """Return the status that the call was given, if any; the stubs of gRPC's types lack this method."""
    code: grpc.StatusCode | None = context.code()  # type: ignore[attr-defined]
    return code
