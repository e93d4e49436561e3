"""Connections of HTTP: uvicorn's, with a limit on their number and on the seconds that the head of a request may take."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dorian_gateway.settings import Settings


class LimitedProtocol(H11Protocol):
    """A connection that is closed where a request's head does not arrive in time, or where there are too many.

    Attributes:
        header_timeout: Seconds within which a head must arrive.
        max_connections: Connections at once.
    """

    header_timeout: float
    max_connections: int
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Read what has arrived, and wait for the rest of a head where it is not complete."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        self._end_watch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._end_watch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.header_timeout, self.transport.abort)

    def _end_watch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def make_protocol(settings: Settings) -> type[LimitedProtocol]:
    """Return the class of connections with the limits of the settings."""
    limits = {"header_timeout": settings.header_timeout, "max_connections": settings.max_connections}
    return type("_Protocol", (LimitedProtocol,), limits)
