"""The health service of ``grpc.health.v1``: whether the process lives, and whether it takes calls."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian_server.rpc.call_details import FACE_AGING_SERVICE

# What checks may ask for. The empty name and that of the service are gRPC's own names for readiness.
LIVENESS, READINESS = "liveness", ("", FACE_AGING_SERVICE, "readiness")

# Enough for the balancers in front of a server; each watch stays open, and takes memory.
MAX_WATCHES = 1000

log = logging.getLogger(__name__)

_Response: TypeAlias = health_pb2.HealthCheckResponse
_Send = Callable[[_Response | None], object]  # sends a response, or ends the watch with ``None``


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Liveness and readiness of this process, which is not ready at first. One thread sends to all watchers.

    The service that comes with gRPC has a thread for each watcher, or else sends while it holds a lock that gRPC needs to send.
    """

    def __init__(self) -> None:
        self._states: dict[str, int] = {LIVENESS: _Response.SERVING} | dict.fromkeys(READINESS, _Response.NOT_SERVING)
        self._watchers: dict[_Send, str | None] = {}
        self._is_closed = False
        self._lock = threading.Lock()
        self._outbox: queue.SimpleQueue[tuple[_Send, _Response | None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._send_all, name="health", daemon=True).start()

    def set_ready(self) -> None:
        """Report that calls are taken."""
        self._set_readiness(_Response.SERVING)

    def close(self) -> None:
        """Report that no calls are taken any more, and end all watches: they would hold up the stop."""
        self._set_readiness(_Response.NOT_SERVING)
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for send in self._watchers:
                self._outbox.put((send, None))
            self._outbox.put(None)

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> _Response:
        """Return the state of a service; ``NOT_FOUND`` for one that does not exist."""
        status = self._states.get(request.service)
        if status is None:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"there is no such service here; known: {', '.join(filter(None, self._states))}",
            )
        return _Response(status=status)

    def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: _Send,
    ) -> None:
        """Send the state of a service now and whenever it changes."""
        send = send_response_callback
        with self._lock:
            if self._is_closed:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            if len(self._watchers) >= MAX_WATCHES:
                context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_WATCHES} watches are open; no more are allowed"
                )
            # An unknown name is not kept, however long it is.
            self._watchers[send] = request.service if request.service in self._states else None
            status = self._states.get(request.service, _Response.SERVICE_UNKNOWN)
            self._outbox.put((send, _Response(status=status)))
        if not context.add_callback(lambda: self._remove_watcher(send)):
            self._remove_watcher(send)

    Watch.experimental_non_blocking = True  # type: ignore[attr-defined]  # gRPC's mark of handlers that only begin to answer

    def _remove_watcher(self, send: _Send) -> None:
        with self._lock:
            self._watchers.pop(send, None)

    def _set_readiness(self, status: int) -> None:
        with self._lock:
            if self._states[READINESS[0]] == status:
                return
            self._states |= dict.fromkeys(READINESS, status)
            for send, service in self._watchers.items():
                if service in READINESS:
                    self._outbox.put((send, _Response(status=status)))

    def _send_all(self) -> None:
        while (item := self._outbox.get()) is not None:
            send, response = item
            try:
                send(response)
            except Exception:  # the watcher has disconnected
                log.debug("a watcher could not be reached", exc_info=True)
