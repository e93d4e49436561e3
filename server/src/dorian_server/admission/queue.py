"""The queue before the pipeline: so many requests are worked on at once, so much work waits, and what is more is refused."""

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

from dorian_server.admission.cost import Estimates, Work
from dorian_server.domain.caller import PRIORITIES, Caller, Priority
from dorian_server.domain.errors import CallCancelledError, OverloadError, Reason, RequestError

MOST_WAITING = 256  # requests, however little work they are
_WAITING_SHARE = 0.5  # of the work that all workers have, how much may wait
_SOONEST = 0.1  # seconds after which to come again, at least


class QueueWatch(Protocol):
    """Hears how full the queue is."""

    def waiting(self, requests: int, seconds: float) -> None:
        """So many requests wait, which are so many seconds of work."""
        ...

    def working(self, requests: int) -> None:
        """So many requests are worked on."""
        ...

    def waited(self, seconds: float) -> None:
        """A request has waited so long, and begins."""
        ...


class _Unwatched:
    def waiting(self, requests: int, seconds: float) -> None: ...

    def working(self, requests: int) -> None: ...

    def waited(self, seconds: float) -> None: ...


@dataclass
class _Ticket:
    work: Work
    caller: Caller
    seconds: float  # that it is expected to take
    since: float
    woken: threading.Event = field(default_factory=threading.Event)
    begun: float | None = None  # by the shared clock
    left: bool = False

    @property
    def rank(self) -> int:
        return PRIORITIES.index(self.caller.priority)


class Admission:
    """Lets ``workers`` requests be worked on at once. Those that wait are at most ``max_wait`` seconds of work, or a single one.

    Without ``max_wait`` they are half of what ``workers`` requests of late have taken: so who waits takes half as long again as who
    does not, whatever the machine and the photos are.
    Work is counted on a clock that is shared: with n requests at work, each gets an nth of every second. So the seconds of all that
    wait are how long the last of them waits, however many are worked on at once. ``clock`` gives seconds that never go back.
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
    def admitted(self, work: Work, caller: Caller) -> Iterator[None]:
        """The context begins when it is the turn of ``work``.

        ``OverloadError`` if there is no room for it in the queue, or it would wait for longer than the caller; ``RequestError`` if
        the caller's deadline leaves too little time even without a wait; ``CallCancelledError`` if the caller left while it waited.
        """
        ticket = self._enter(work, caller)
        caller.on_cancel(lambda: self._give_up(ticket))
        ticket.woken.wait()
        if ticket.left:
            raise CallCancelledError
        self._watch.waited(self._clock() - ticket.since)
        done = False
        try:
            yield
            done = True
        finally:
            self._leave(ticket, done)

    def retry_after(self, priority: Priority) -> float | None:
        """Seconds after which callers of ``priority`` may come again if there is no room for any of them now, else ``None``."""
        with self._lock:
            ahead = self._ahead(PRIORITIES.index(priority))
            return self._again_after(ahead) if ahead >= self._room() and self._waiting else None

    def _enter(self, work: Work, caller: Caller) -> _Ticket:
        with self._lock:
            self._advance()
            ticket = _Ticket(work, caller, self._estimates.expected(work), self._clock())
            left = math.inf if caller.deadline is None else caller.deadline - ticket.since
            least = self._estimates.least(work)
            if left < least:
                message = f"the deadline leaves {max(left, 0):.2f} s, but calls like this have taken {least:.2f} s at least; allow more"
                raise RequestError(Reason.DEADLINE_TOO_SHORT, "", message)
            if len(self._working) < self._workers:
                self._begin(ticket)
                self._tell()
                return ticket
            ahead = self._ahead(ticket.rank)
            room = self._room()
            if len(self._waiting) >= MOST_WAITING or (ahead and ahead + ticket.seconds > room):
                words = f"{ahead:.1f} s of work wait already; this server lets {room:.2g} s wait"
                raise OverloadError(Reason.QUEUE_FULL, words, self._again_after(ahead + ticket.seconds))
            if left < self._least_wait(ticket.rank) + least:
                words = f"it cannot be done within the call's deadline of {left:.1f} s, as {ahead:.1f} s of work wait already"
                raise OverloadError(Reason.QUEUE_FULL, words, self._again_after(ahead + ticket.seconds))
            heapq.heappush(self._waiting, (ticket.rank, next(self._numbers), ticket))
            self._tell()
            return ticket

    def _leave(self, ticket: _Ticket, done: bool) -> None:
        with self._lock:
            self._advance()
            assert ticket.begun is not None
            self._working.remove(ticket)
            if done:  # what was refused or given up half-way tells nothing of its kind
                self._estimates.note(ticket.work, self._shared - ticket.begun)
            if self._waiting and len(self._working) < self._workers:
                self._begin(heapq.heappop(self._waiting)[2])
            self._tell()

    def _give_up(self, ticket: _Ticket) -> None:
        with self._lock:
            if ticket.woken.is_set():
                return
            self._waiting = [entry for entry in self._waiting if entry[2] is not ticket]
            heapq.heapify(self._waiting)
            ticket.left = True
            ticket.woken.set()
            self._tell()

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
        """Seconds of work that wait and go before a newcomer of ``rank``."""
        return sum(ticket.seconds for other, _, ticket in self._waiting if other <= rank)

    def _least_wait(self, rank: int) -> float:
        """Seconds that a newcomer of ``rank`` waits, if all before it is done as fast as it ever was."""
        ahead = sum(self._estimates.least(ticket.work) for other, _, ticket in self._waiting if other <= rank)
        left = [self._estimates.least(each.work) - (self._shared - (each.begun or 0.0)) for each in self._working]
        return ahead + max(0.0, min(left, default=0.0)) * len(left)

    def _room(self) -> float:
        """Seconds of work that may wait."""
        return _WAITING_SHARE * self._workers * self._estimates.usual if self._max_wait is None else self._max_wait

    def _again_after(self, seconds: float) -> float:
        """When the queue, with ``seconds`` of work in it, will have room."""
        return max(_SOONEST, seconds - self._room())

    def _tell(self) -> None:
        self._watch.waiting(len(self._waiting), sum(ticket.seconds for _, _, ticket in self._waiting))
        self._watch.working(len(self._working))
