"""The health service of ``grpc.health.v1``: whether the process lives, and whether it takes calls."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICE_NAME = "dorian.v1.FaceAging"
# What checks may ask for. The empty name is gRPC's own for the second, as is that of the service.
LIVENESS, READINESS = "liveness", ("", SERVICE_NAME, "readiness")

log = logging.getLogger(__name__)

_Answer: TypeAlias = health_pb2.HealthCheckResponse
_Tell = Callable[[_Answer | None], object]  # sends an answer, or ends the watch with ``None``


class Readiness(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Not ready at first. One thread tells all who watch.

    The service that comes with gRPC has a thread for each of them, or else sends while it holds a lock that gRPC needs to send.
    """

    def __init__(self) -> None:
        self._states: dict[str, int] = {LIVENESS: _Answer.SERVING} | dict.fromkeys(READINESS, _Answer.NOT_SERVING)
        self._watchers: dict[_Tell, str] = {}
        self._has_ended = False
        self._lock = threading.Lock()
        self._to_tell: queue.SimpleQueue[tuple[_Tell, _Answer | None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._tell, name="health", daemon=True).start()

    def begin(self) -> None:
        """Calls are taken from now on."""
        self._set_ready(_Answer.SERVING)

    def end(self) -> None:
        """No calls are taken from now on. Whoever watches is told so for the last time: a watch would hold up the stop."""
        self._set_ready(_Answer.NOT_SERVING)
        with self._lock:
            if self._has_ended:
                return
            self._has_ended = True
            for tell in self._watchers:
                self._to_tell.put((tell, None))
            self._to_tell.put(None)

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> _Answer:
        status = self._states.get(request.service)
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service!r} here")
        return _Answer(status=status)

    def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: _Tell,
    ) -> None:
        tell = send_response_callback
        with self._lock:
            if self._has_ended:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")
            self._watchers[tell] = request.service
            status = self._states.get(request.service, _Answer.SERVICE_UNKNOWN)
            self._to_tell.put((tell, _Answer(status=status)))
        if not context.add_callback(lambda: self._forget(tell)):
            self._forget(tell)

    Watch.experimental_non_blocking = True  # type: ignore[attr-defined]  # gRPC's mark of handlers that only begin to answer

    def _forget(self, tell: _Tell) -> None:
        with self._lock:
            self._watchers.pop(tell, None)

    def _set_ready(self, status: int) -> None:
        with self._lock:
            if self._states[READINESS[0]] == status:
                return
            self._states |= dict.fromkeys(READINESS, status)
            for tell, service in self._watchers.items():
                if service in READINESS:
                    self._to_tell.put((tell, _Answer(status=status)))

    def _tell(self) -> None:
        while (told := self._to_tell.get()) is not None:
            tell, answer = told
            try:
                tell(answer)
            except Exception:  # of one who has left
                log.debug("one who watches could not be told", exc_info=True)
