"""The health service of ``grpc.health.v1``: whether the process lives, and whether it takes calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian_server.rpc.call_details import FACE_AGING_SERVICE
from dorian_server.rpc.event_loop import event_loop
from dorian_server.rpc.interceptors import answers_at_once

# What checks may ask for. The empty name and that of the service are gRPC's own names for readiness.
LIVENESS, READINESS = "liveness", ("", FACE_AGING_SERVICE, "readiness")

# Enough for the balancers in front of a server; each watch stays open, and takes memory.
MAX_WATCHES = 1000

_Response: TypeAlias = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Liveness and readiness of this process, which is not ready at first. It answers on the event loop, and needs no thread."""

    def __init__(self) -> None:
        self._states: dict[str, int] = {LIVENESS: _Response.SERVING} | dict.fromkeys(READINESS, _Response.NOT_SERVING)
        # What each watcher is to be told, and which service it watches; ``None`` ends its watch.
        self._watchers: dict[asyncio.Queue[int | None], str | None] = {}
        self._is_open, self._is_stuck, self._is_closed = False, False, False
        self._lock = threading.Lock()

    def set_ready(self) -> None:
        """Report that calls are taken."""
        with self._lock:
            self._is_open = True
            self._tell_readiness()

    def set_stuck(self, is_stuck: bool) -> None:
        """Report whether calls that are taken get nowhere; then the process is not ready."""
        with self._lock:
            self._is_stuck = is_stuck
            self._tell_readiness()

    def close(self) -> None:
        """Report that no calls are taken any more, and end all watches: they would hold up the stop."""
        with self._lock:
            self._is_closed = True
            self._tell_readiness()
            self._tell(list(self._watchers), None)

    @answers_at_once
    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> _Response:
        """Return the state of a service; ``NOT_FOUND`` for one that does not exist."""
        status = self._states.get(request.service)
        if status is None:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"there is no such service here; known: {', '.join(filter(None, self._states))}",
            )
        return _Response(status=status)

    @answers_at_once
    def List(self, request: object, context: grpc.ServicerContext) -> None:
        """Reject the call: what there is to ask for is documented, and told to those who check an unknown name."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "services are not listed; ask for one of them")

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> AsyncIterator[_Response]:
        """Yield the state of a service now and whenever it changes."""
        states = asyncio.Queue[int | None]()
        with self._lock:
            if self._is_closed:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            if len(self._watchers) >= MAX_WATCHES:
                context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_WATCHES} watches are open; no more are allowed"
                )
            # An unknown name is not kept, however long it is.
            self._watchers[states] = request.service if request.service in self._states else None
            states.put_nowait(self._states.get(request.service, _Response.SERVICE_UNKNOWN))
        try:
            while (status := await states.get()) is not None:
                yield _Response(status=status)
        finally:
            with self._lock:
                del self._watchers[states]

    def _tell_readiness(self) -> None:
        """Tell those who watch if the readiness has changed; with the lock held."""
        is_ready = self._is_open and not (self._is_stuck or self._is_closed)
        status = _Response.SERVING if is_ready else _Response.NOT_SERVING
        if self._states[READINESS[0]] != status:
            self._states |= dict.fromkeys(READINESS, status)
            self._tell([states for states, service in self._watchers.items() if service in READINESS], status)

    def _tell(self, watchers: list[asyncio.Queue[int | None]], status: int | None) -> None:
        for states in watchers:
            event_loop().call_soon_threadsafe(states.put_nowait, status)
