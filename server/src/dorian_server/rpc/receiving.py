"""Calls whose request has not arrived yet: how many there may be, and for how long."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
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
# Requests of health checks that are received at once, in places of their own: they are small, and their connections are few.
HEALTH_PLACES = 8
_MANY = 8  # a caller has many requests that are received if it has more than an eighth of the places
_RESERVED = 4  # a quarter of the places is for connections none of whose calls has been given up
_MAX_GIVEN_UP = 16  # at one look, as each takes the event loop some time
_RETRY = 1.0  # seconds; when there will be room is not known


@dataclass(frozen=True)
class Patience:
    """For how many seconds a request may arrive although others wait for its place.

    Args:
        many: Of callers that have many places.
        alone: Of those, the only call of a connection none of whose calls has been given up: its message may be here already, and the
            loop late.
        few: Of others.
        look: Seconds between two looks at who must give way.
    """

    many: float = 0.25
    alone: float = 1.0
    few: float = 10.0
    look: float = 0.05


_PATIENCE = Patience()
# A health check fits in one packet with its headers.
HEALTH_PATIENCE = Patience(many=0.04, alone=0.5, few=1.0, look=0.02)


@dataclass(eq=False)
class _Place:
    """A call whose request is received, or waits for it."""

    connection: _Connection
    since: float = 0.0
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    limit: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    must_go: bool = False


@dataclass(eq=False)
class _Connection:
    """The calls of one connection, and how many of those before them have been given up."""

    name: str
    received: list[_Place] = field(default_factory=list)
    waiting: deque[_Place] = field(default_factory=deque)
    given_up: int = 0

    @property
    def address(self) -> str:
        return self.name.rpartition(":")[0]

    @property
    def rank(self) -> tuple[bool, int]:
        """The least gets the next place."""
        return self.given_up > 0, len(self.received)


class Receiving:
    """Receives requests; for the event loop alone.

    A caller that sends headers and no request, or half of one, costs no thread: it has one of ``places`` until it is late. A connection
    gets places as long as more are free than it has; its next calls wait. While some wait, the requests that have been on their way
    for long are given up, first those of the connection with the most of them; that connection comes after others from then on, as
    long as it has calls open.

    Args:
        places: Requests that are received at once.
        timeout: Seconds within which a request must have arrived.
        patience: With requests for whose places others wait.
    """

    def __init__(self, places: int, timeout: float, patience: Patience = _PATIENCE) -> None:
        self._places, self._timeout, self._patience = places, timeout, patience
        self._connections: dict[str, _Connection] = {}
        self._received_count, self._waiting_count = 0, 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def close(self) -> None:
        """Reject the calls whose request has not arrived yet, and those that come, as the server stops."""
        self._is_closed = True
        for connection in self._connections.values():
            for place in [*connection.received, *connection.waiting]:
                self._give_up(place)

    async def receive(self, context: grpc.aio.ServicerContext[Any, Any], call: Call) -> bytes | None:
        """Return the next message of a call; ``None`` where the caller has no more.

        Args:
            context: The call on the event loop.
            call: The same call. It is aborted if the message has not arrived in time, or has to give way to others.
        """
        name = call.peer()
        place = _Place(self._connections.get(name) or _Connection(name))
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
        connection = place.connection
        self._connections[connection.name] = connection
        if self._waiting_count >= MAX_WAITING:
            self._give_up_a_waiting_one()
        connection.waiting.append(place)
        self._waiting_count += 1
        self._fill()
        try:
            yield
        finally:
            if place in connection.received:
                connection.received.remove(place)
                self._received_count -= 1
            else:
                self._stop_waiting(place)
            if not (connection.received or connection.waiting):
                self._connections.pop(connection.name, None)
            self._fill()

    def _stop_waiting(self, place: _Place) -> None:
        if place in place.connection.waiting:
            place.connection.waiting.remove(place)
            self._waiting_count -= 1

    def _fill(self) -> None:
        """Give free places to those who wait, and look again soon where some still do."""
        now = asyncio.get_running_loop().time()
        while (connection := self._next()) is not None:
            place = connection.waiting.popleft()
            connection.received.append(place)
            self._waiting_count -= 1
            self._received_count += 1
            place.since = now
            if not place.turn.done():
                place.turn.set_result(None)
        if self._waiting_count and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience.look, self._make_room)

    def _next(self) -> _Connection | None:
        """Return who gets a free place: the connection with the fewest, as long as it has fewer than are free.

        So there is always a place left for the next connection: of n that want all of them, each gets as many as stay free.
        """
        if not self._waiting_count or self._received_count == self._places:
            return None
        connection = min((each for each in self._connections.values() if each.waiting), key=lambda each: each.rank)
        free = self._places - self._received_count
        if connection.given_up:
            free -= self._places // _RESERVED
        return connection if len(connection.received) < free else None

    def _make_room(self) -> None:
        """Give up as many of the requests that are slow as there are calls that wait."""
        self._timer = None
        received = [place for connection in self._connections.values() for place in connection.received]
        addresses = Counter(place.connection.address for place in received)
        connections = Counter(place.connection.name for place in received)
        slow = [place for place in received if not place.must_go and self._is_slow(place, addresses)]
        for _ in range(min(self._waiting_count, len(slow), _MAX_GIVEN_UP)):
            place = max(slow, key=lambda each: (addresses[each.connection.address], connections[each.connection.name]))
            slow.remove(place)
            addresses[place.connection.address] -= 1
            connections[place.connection.name] -= 1
            place.connection.given_up += 1
            self._give_up(place)
        self._fill()

    def _is_slow(self, place: _Place, addresses: Counter[str]) -> bool:
        connection, patience = place.connection, self._patience.few
        if _MANY * addresses[connection.address] > self._places:
            is_alone = len(connection.received) + len(connection.waiting) == 1 and not connection.given_up
            patience = self._patience.alone if is_alone else self._patience.many
        return asyncio.get_running_loop().time() > place.since + patience

    def _give_up_a_waiting_one(self) -> None:
        """Give up the oldest call that waits, of the connection with the most that do, of the address with the most."""
        addresses: Counter[str] = Counter()
        for connection in self._connections.values():
            addresses[connection.address] += len(connection.waiting)
        most = max(self._connections.values(), key=lambda each: (addresses[each.address], len(each.waiting)))
        place = most.waiting[0]
        self._stop_waiting(place)
        self._give_up(place)

    def _give_up(self, place: _Place) -> None:
        place.must_go = True
        if not place.limit.expired():
            place.limit.reschedule(asyncio.get_running_loop().time())
