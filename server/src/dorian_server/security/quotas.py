"""How much each caller may request: calls at once, and calls in a minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import grpc

from dorian_server.domain.errors import OverloadError, Reason
from dorian_server.rpc.call_details import OPEN_SERVICES, caller_name, service_of
from dorian_server.rpc.interceptors import Continuation, Handler, wrap_handler
from dorian_server.rpc.statuses import abort

_MINUTE = 60.0
_RETRY = 1.0  # seconds; when a call in progress ends is not known


class Quotas:
    """Counts the calls of each caller; safe to share between threads.

    Args:
        clock: Gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._begun: dict[str, deque[float]] = {}
        self._swept = clock()

    @contextmanager
    def count(self, caller: str, at_once: int | None, per_minute: int | None) -> Iterator[None]:
        """Count a call for the time of the context.

        Args:
            caller: Whose call it is.
            at_once: Most calls in progress; ``None`` for no limit.
            per_minute: Most calls that begin within any 60 seconds; ``None`` for no limit.

        Raises:
            OverloadError: There is no room for the call; it is not counted.
        """
        self._begin(caller, at_once, per_minute)
        try:
            yield
        finally:
            with self._lock:
                self._running[caller] -= 1
                if not self._running[caller]:
                    del self._running[caller]

    def _begin(self, caller: str, at_once: int | None, per_minute: int | None) -> None:
        with self._lock:
            running = self._running.get(caller, 0)
            if at_once is not None and running >= at_once:
                message = f"the caller has {running} calls under way; it may have {at_once} at once"
                raise OverloadError(Reason.CALLS_AT_ONCE, message, _RETRY)
            if per_minute is not None:
                self._begin_in_minute(caller, per_minute)
            self._running[caller] = running + 1

    def _begin_in_minute(self, caller: str, limit: int) -> None:
        now = self._clock()
        self._sweep(now)
        begun = self._begun.setdefault(caller, deque())
        while begun and begun[0] <= now - _MINUTE:
            begun.popleft()
        if len(begun) >= limit:
            # A limit that was lowered may wait for more than the oldest.
            retry_after = begun[len(begun) - limit] + _MINUTE - now
            message = f"the caller may begin {limit} calls in a minute"
            raise OverloadError(Reason.CALLS_PER_MINUTE, message, retry_after)
        begun.append(now)

    def _sweep(self, now: float) -> None:
        """Forget, once a minute, the callers that have not called for as long."""
        if now < self._swept + _MINUTE:
            return
        self._swept = now
        self._begun = {caller: begun for caller, begun in self._begun.items() if begun and begun[-1] > now - _MINUTE}


class CallerLimits(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """The quotas of callers without API keys: each by its certificate's name, or else by its address.

    Args:
        at_once: Most calls of a caller in progress; ``None`` for no limit.
        per_minute: Most calls that a caller begins in a minute; ``None`` for no limit.
        on_reject: Called with the reason of each call that exceeds them.
    """

    def __init__(self, at_once: int | None, per_minute: int | None, on_reject: Callable[[Reason], None]) -> None:
        self._limits = at_once, per_minute
        self._on_reject = on_reject
        self._quotas = Quotas()

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = continuation(handler_call_details)
        if handler is None or service_of(handler_call_details.method) in OPEN_SERVICES:
            return handler
        return wrap_handler(handler, self._admit)

    @contextmanager
    def _admit(self, request: object, context: grpc.ServicerContext) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._quotas.count(caller_name(context), *self._limits))
            except OverloadError as error:
                self._on_reject(error.reason)
                abort(context, error)
            yield
