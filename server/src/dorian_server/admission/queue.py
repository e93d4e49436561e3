"""The queue before the pipeline: so many requests are worked on at once, so much work waits, and more is rejected."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from dorian_server.admission.cost import Cost, Estimates
from dorian_server.domain.caller import PRIORITIES, Caller, Priority
from dorian_server.domain.errors import CallCancelledError, OverloadError, Reason, RequestError

MAX_WAITING = 256  # requests, however little work they are
_WAITING_SHARE = 0.5  # of the work that all workers have, how much may wait
_MIN_RETRY = 0.1  # seconds


class QueueWatch(Protocol):
    """Hears how full the queue is."""

    def waiting(self, requests: int, seconds: float) -> None:
        """Hear how many requests wait, and how many seconds of work they are."""
        ...

    def working(self, requests: int) -> None:
        """Hear how many requests are worked on."""
        ...

    def waited(self, seconds: float) -> None:
        """Hear how long a request has waited that begins now."""
        ...


class _Unwatched:
    def waiting(self, requests: int, seconds: float) -> None: ...

    def working(self, requests: int) -> None: ...

    def waited(self, seconds: float) -> None: ...


@dataclass
class _Ticket:
    cost: Cost
    caller: Caller
    seconds: float  # that it is expected to take
    since: float
    woken: threading.Event = field(default_factory=threading.Event)
    begun: float | None = None  # by the shared clock
    is_cancelled: bool = False

    @property
    def rank(self) -> int:
        return PRIORITIES.index(self.caller.priority)


class Admission:
    """Lets ``workers`` requests be worked on at once; a bounded amount of work waits, or a single request of any size.

    Work is counted on a shared clock: with n requests at work, each gets an nth of every second. So the seconds of all requests that
    wait are how long the last of them waits, however many are worked on at once.

    Args:
        workers: Requests that are worked on at once.
        max_wait: Seconds of work that may wait. Without it, half of what ``workers`` requests of late have taken: who waits takes half
            as long again as who does not, whatever the machine and the photos are.
        watch: Hears how full the queue is.
        clock: Gives seconds that never go back.
    """

    def __init__(
        self,
        workers: int,
        max_wait: float | None = None,
        watch: QueueWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers, self._max_wait = workers, max_wait
        self._watch, self._clock = watch or _Unwatched(), clock
        self._estimates = Estimates()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: list[tuple[int, int, _Ticket]] = []  # a heap: by priority, then first come, first served
        self._working: list[_Ticket] = []
        self._shared, self._shared_at = 0.0, clock()

    @contextmanager
    def admit(self, cost: Cost, caller: Caller) -> Iterator[None]:
        """Wait for the turn of a request; it is worked on for the time of the context.

        Args:
            cost: How much work it is.
            caller: Whose call it is.

        Raises:
            OverloadError: The queue has no room for it, or it would wait for longer than the caller does.
            RequestError: The caller's deadline is too short even without a wait.
            CallCancelledError: The caller cancelled while it waited.
        """
        ticket = self._enter(cost, caller)
        caller.on_cancel(lambda: self._cancel(ticket))
        ticket.woken.wait()
        if ticket.is_cancelled:
            raise CallCancelledError
        self._watch.waited(self._clock() - ticket.since)
        done = False
        try:
            yield
            done = True
        finally:
            self._leave(ticket, done)

    def retry_after(self, priority: Priority) -> float | None:
        """Return after how many seconds callers of ``priority`` may retry; ``None`` if there is room for one of them now."""
        with self._lock:
            ahead = self._ahead(PRIORITIES.index(priority))
            return self._retry_after(ahead) if ahead >= self._room() and self._waiting else None

    def _enter(self, cost: Cost, caller: Caller) -> _Ticket:
        with self._lock:
            self._advance()
            ticket = _Ticket(cost, caller, self._estimates.expected(cost), self._clock())
            remaining = math.inf if caller.deadline is None else caller.deadline - ticket.since
            fastest = self._estimates.fastest(cost)
            if remaining < fastest:
                message = f"the deadline leaves {max(remaining, 0):.2f} s, but calls like this have taken {fastest:.2f} s at least; allow more"
                raise RequestError(Reason.DEADLINE_TOO_SHORT, "", message)
            if len(self._working) < self._workers:
                self._begin(ticket)
                self._report()
                return ticket
            self._require_room(ticket, remaining, fastest)
            heapq.heappush(self._waiting, (ticket.rank, next(self._numbers), ticket))
            self._report()
            return ticket

    def _require_room(self, ticket: _Ticket, remaining: float, fastest: float) -> None:
        """Raise ``OverloadError`` unless ``ticket`` may wait, and can be done in its ``remaining`` seconds."""
        ahead = self._ahead(ticket.rank)
        room = self._room()
        if len(self._waiting) >= MAX_WAITING or (ahead and ahead + ticket.seconds > room):
            message = f"{ahead:.1f} s of work wait already; this server lets {room:.2g} s wait"
            raise OverloadError(Reason.QUEUE_FULL, message, self._retry_after(ahead + ticket.seconds))
        if remaining < self._min_wait(ticket.rank) + fastest:
            message = f"it cannot be done within the call's deadline of {remaining:.1f} s, as {ahead:.1f} s of work wait already"
            raise OverloadError(Reason.QUEUE_FULL, message, self._retry_after(ahead + ticket.seconds))

    def _leave(self, ticket: _Ticket, done: bool) -> None:
        with self._lock:
            self._advance()
            assert ticket.begun is not None
            self._working.remove(ticket)
            if done:  # what was rejected or cancelled half-way says nothing of its kind
                self._estimates.record(ticket.cost, self._shared - ticket.begun)
            if self._waiting and len(self._working) < self._workers:
                self._begin(heapq.heappop(self._waiting)[2])
            self._report()

    def _cancel(self, ticket: _Ticket) -> None:
        with self._lock:
            if ticket.woken.is_set():
                return
            self._waiting = [entry for entry in self._waiting if entry[2] is not ticket]
            heapq.heapify(self._waiting)
            ticket.is_cancelled = True
            ticket.woken.set()
            self._report()

    def _begin(self, ticket: _Ticket) -> None:
        ticket.begun = self._shared
        self._working.append(ticket)
        ticket.woken.set()

    def _advance(self) -> None:
        """Bring the shared clock up to now."""
        now = self._clock()
        if self._working:
            self._shared += (now - self._shared_at) / len(self._working)
        self._shared_at = now

    def _ahead(self, rank: int) -> float:
        """Return the seconds of work that wait and go before a newcomer of ``rank``."""
        return sum(ticket.seconds for other, _, ticket in self._waiting if other <= rank)

    def _min_wait(self, rank: int) -> float:
        """Return the seconds that a newcomer of ``rank`` waits if everything before it is as fast as it ever was."""
        fastest = self._estimates.fastest
        ahead = sum(fastest(ticket.cost) for other, _, ticket in self._waiting if other <= rank)
        remaining = [fastest(ticket.cost) - (self._shared - (ticket.begun or 0.0)) for ticket in self._working]
        return ahead + max(0.0, min(remaining, default=0.0)) * len(remaining)

    def _room(self) -> float:
        """Return the seconds of work that may wait."""
        return _WAITING_SHARE * self._workers * self._estimates.usual if self._max_wait is None else self._max_wait

    def _retry_after(self, seconds: float) -> float:
        """Return when the queue, with ``seconds`` of work in it, will have room."""
        return max(_MIN_RETRY, seconds - self._room())

    def _report(self) -> None:
        self._watch.waiting(len(self._waiting), sum(ticket.seconds for _, _, ticket in self._waiting))
        self._watch.working(len(self._working))
