"""Calls whose request has not arrived yet: how many there may be, and for how long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc

from dorian_server.domain.errors import OverloadError, Reason, RequestError
from dorian_server.rpc.call import Call
from dorian_server.rpc.statuses import abort

# Beside those that are received, calls that wait for it. What they have sent stays within the window of their stream.
MAX_WAITING = 1000
# Seconds for which a request may arrive although others wait for its place: those of callers with many, and of others.
_PATIENCE, _PATIENCE_WITH_FEW = 0.25, 10.0
_MANY = 8  # a caller has many requests that are received if it has an eighth of the places
_TICK = 0.05  # seconds between two looks at who must give way
_RETRY = 1.0  # seconds; when there will be room is not known


@dataclass(eq=False)
class _Place:
    """A call whose request is received, or waits for it."""

    connection: str
    since: float = 0.0
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    limit: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    must_go: bool = False

    @property
    def address(self) -> str:
        return self.connection.rpartition(":")[0]


class Receiving:
    """Receives requests; for the event loop alone.

    A caller that sends headers and no request, or half of one, costs no thread: it has one of ``places`` until it is late. A connection
    gets places as long as more are free than it has; its next calls wait. While some wait, the requests that have been on their way
    for long are given up, first those of the connection with the most of them.

    Args:
        places: Requests that are received at once.
        timeout: Seconds within which a request must have arrived.
    """

    def __init__(self, places: int, timeout: float) -> None:
        self._places, self._timeout = places, timeout
        self._received: list[_Place] = []
        self._waiting: list[_Place] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def close(self) -> None:
        """Reject the calls whose request has not arrived yet, and those that come, as the server stops."""
        self._is_closed = True
        for place in [*self._received, *self._waiting]:
            self._give_up(place)

    async def receive(self, context: grpc.aio.ServicerContext[Any, Any], call: Call) -> bytes | None:
        """Return the next message of a call; ``None`` where the caller has no more.

        Args:
            context: The call on the event loop.
            call: The same call. It is aborted if the message has not arrived in time, or has to give way to others.
        """
        place = _Place(call.peer())
        if self._is_closed:
            self._abort(call, place)
        with self._having(place):
            try:
                async with asyncio.timeout(self._timeout) as place.limit:
                    await place.turn
                    message = await context.read()
            except TimeoutError:
                self._abort(call, place)
        return message if isinstance(message, bytes) else None  # gRPC's mark of the end

    def _abort(self, call: Call, place: _Place) -> NoReturn:
        if self._is_closed:
            message = "the server is stopping; the call was not begun, and another server may answer it"
            abort(call, RequestError(Reason.STOPPING, "", message))
        if place.must_go:
            message = "more requests arrive here than there is room for, and this one has been among the slowest"
            abort(call, OverloadError(Reason.QUEUE_FULL, message, _RETRY))
        call.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"the request has not arrived within {self._timeout:g} s")

    @contextmanager
    def _having(self, place: _Place) -> Iterator[None]:
        """Let a call wait for its place, and have it, for the time of the context."""
        waiting = [other for other in self._waiting if not other.must_go]
        if len(waiting) >= MAX_WAITING:
            self._give_up(_oldest_of_most(waiting))
        self._waiting.append(place)
        self._fill()
        try:
            yield
        finally:
            for places in (self._received, self._waiting):
                if place in places:
                    places.remove(place)
            self._fill()

    def _fill(self) -> None:
        """Give free places to those who wait, and look again soon where some still do."""
        now = asyncio.get_running_loop().time()
        while (place := self._next()) is not None:
            self._waiting.remove(place)
            self._received.append(place)
            place.since = now
            if not place.turn.done():
                place.turn.set_result(None)
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._make_room)

    def _next(self) -> _Place | None:
        """Return who gets a free place: of the connection with the fewest, as long as it has fewer than are free.

        So there is always a place left for the next connection: of n that want all of them, each gets as many as stay free.
        """
        if not self._waiting:
            return None
        taken = Counter(place.connection for place in self._received)
        place = min(self._waiting, key=lambda place: taken[place.connection])
        return place if taken[place.connection] < self._places - len(self._received) else None

    def _make_room(self) -> None:
        """Give up as many of the requests that are slow as there are calls that wait."""
        self._timer = None
        candidates = [place for place in self._received if not place.must_go]
        for _ in range(len(self._waiting)):
            if not candidates or not self._is_slow(place := _oldest_of_most(candidates)):
                break
            candidates.remove(place)
            self._give_up(place)
        self._fill()

    def _is_slow(self, place: _Place) -> bool:
        has_many = _MANY * sum(other.address == place.address for other in self._received) > self._places
        patience = _PATIENCE if has_many else _PATIENCE_WITH_FEW
        return asyncio.get_running_loop().time() > place.since + patience

    def _give_up(self, place: _Place) -> None:
        place.must_go = True
        if not place.limit.expired():
            place.limit.reschedule(asyncio.get_running_loop().time())


def _oldest_of_most(places: list[_Place]) -> _Place:
    """Return the oldest of the connection with most ``places``, of the address with most."""
    addresses = Counter(place.address for place in places)
    connections = Counter(place.connection for place in places)
    return max(places, key=lambda place: (addresses[place.address], connections[place.connection]))
