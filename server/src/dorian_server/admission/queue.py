"""The queue before the pipeline: so many requests are worked on at once, so much work waits, and more is rejected."""

from __future__ import annotations

import bisect
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from dorian_server.admission.cost import Cost
from dorian_server.admission.estimates import Estimates
from dorian_server.admission.fairness import FairShares
from dorian_server.admission.memory import MemoryBudget
from dorian_server.domain.caller import PRIORITIES, Caller
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import CallCancelledError, OverloadError, Reason, RequestError

MAX_WAITING = 256  # requests, however little work they are
SEARCHES_PER_WORKER = 4  # searches that are begun; those that are too many to be worked on at once take turns
_WAITING_SHARE = 0.5  # of the work that all workers have, how much may wait
_MIN_RETRY = 0.1  # seconds
_LET_THROUGH = 10  # every so many calls whose deadline seems too short is let in, to learn whether it is
_CREDIT = 10.0  # usual calls that a caller who has had less than the others may have before them
_TURN = 0.02  # seconds of work after which a search gives way


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


@dataclass(eq=False)
class _Ticket:
    cost: Cost
    caller: Caller
    number: int
    seconds: float  # that it is expected to take, or a search until it gives way
    tag: float  # see ``fairness``
    since: float
    woken: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None  # for which it is not let in after all
    entered: float = 0.0  # when its first turn began
    paused: float = 0.0  # seconds between its turns
    charged: float = 0.0  # to its caller, for what it has taken and for its turn
    begun: float = 0.0  # by the shared clock, when its turn began
    spent: float = 0.0  # by the shared clock, in turns before

    @property
    def order(self) -> tuple[int, float, int]:
        """By which requests begin: by priority, then by turns, then first come, first served."""
        return PRIORITIES.index(self.caller.priority), self.tag, self.number


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
        memory: How much of it requests may take.
    """

    def __init__(
        self,
        workers: int,
        max_wait: float | None = None,
        watch: QueueWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
        memory: MemoryBudget | None = None,
    ) -> None:
        self.workers, self._max_wait = workers, max_wait
        self._watch, self._clock = watch or _Unwatched(), clock
        self._estimates, self._shares = Estimates(clock), FairShares()
        self._memory = memory or MemoryBudget(2**62, resident=lambda: 0, trim=lambda: None)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._hurried = itertools.count(1)
        self._waiting: list[_Ticket] = []  # in their order
        self._paused: list[_Ticket] = []  # searches that give way, in their order
        self._working: list[_Ticket] = []
        self._shared, self._shared_at = 0.0, clock()

    @contextmanager
    def admit(self, cost: Cost, caller: Caller, clock: Clock | None = None) -> Iterator[None]:
        """Wait for the turn of a request; it is worked on for the time of the context.

        Args:
            cost: How much work it is.
            caller: Whose call it is.
            clock: Times its stages, from which the cost of the next is learned.

        Raises:
            OverloadError: The queue has no room for it, or it would wait for longer than the caller does.
            RequestError: The caller's deadline is too short even without a wait, or the memory for its photo.
            CallCancelledError: The caller cancelled while it waited.
        """
        ticket = self._enter(cost, caller)
        caller.on_cancel(partial(self._cancel, ticket))
        ticket.woken.wait()
        if ticket.error is not None:
            raise ticket.error
        self._watch.waited(self._clock() - ticket.since)
        caller.give_way = partial(self._give_way, ticket)
        done = False
        try:
            yield
            done = True
        finally:
            self._leave(ticket, clock or Clock(), done)

    def retry_after(self, caller: Caller) -> float | None:
        """Return after how many seconds ``caller`` may retry; ``None`` if there is room for a call of its own now."""
        with self._lock:
            ahead = self._ahead((PRIORITIES.index(caller.priority), self._tag(caller), math.inf))
            return self._retry_after(ahead) if ahead >= self._room() and self._waiting else None

    def _enter(self, cost: Cost, caller: Caller) -> _Ticket:
        with self._lock:
            self._advance()
            self._memory.check(cost.memory)
            seconds, now = self._estimates.expected(cost), self._clock()
            if cost.is_search:  # which gives way after that
                seconds = min(seconds, self._estimates.usual)
            remaining = math.inf if caller.deadline is None else caller.deadline - now
            fastest = self._estimates.fastest(cost)
            if remaining < fastest and next(self._hurried) % _LET_THROUGH:
                message = f"the deadline leaves {max(remaining, 0):.2f} s, but calls like this have taken {fastest:.2f} s at least; allow more"
                raise RequestError(Reason.DEADLINE_TOO_SHORT, "", message)
            ticket = _Ticket(cost, caller, next(self._numbers), seconds, self._tag(caller), now)
            self._charge(ticket, seconds)
            self._memory.wait(cost.message_bytes)
            bisect.insort(self._waiting, ticket, key=lambda other: other.order)
            self._begin_next()
            if ticket in self._waiting:
                try:
                    self._require_room(ticket, remaining, fastest)
                except OverloadError as error:
                    self._dismiss(ticket, error)
                    raise
                self._make_room(ticket)
            self._report()
            return ticket

    def _tag(self, caller: Caller) -> float:
        return self._shares.tag(caller.name, self._credit())

    def _credit(self) -> float:
        return _CREDIT * self._estimates.usual

    def _require_room(self, ticket: _Ticket, remaining: float, fastest: float) -> None:
        """Raise ``OverloadError`` unless ``ticket`` may wait, and can be done in its ``remaining`` seconds."""
        ahead, room = self._ahead(ticket.order), self._room()
        before = sum(other.order < ticket.order for other in self._waiting)
        if before >= MAX_WAITING or (ahead and ahead + ticket.seconds > room):
            message = f"{ahead:.1f} s of work wait already; this server lets {room:.2g} s wait"
        elif self._memory.is_crowded:
            message = "the requests that wait already take all the memory that there is for them"
        elif remaining < self._min_wait(ticket) + fastest:
            message = f"it cannot be done within the call's deadline of {remaining:.1f} s, as {ahead:.1f} s of work wait already"
        else:
            return
        raise OverloadError(Reason.QUEUE_FULL, message, self._retry_after(ahead + ticket.seconds))

    def _make_room(self, newcomer: _Ticket) -> None:
        """Reject those who wait behind ``newcomer``, of its priority, and no longer fit; the last of all if there are too many."""
        room, rank = self._room(), newcomer.order[0]
        for ticket in [ticket for ticket in reversed(self._waiting) if ticket.order > newcomer.order]:
            ahead = self._ahead(ticket.order)
            is_late = ticket.order[0] == rank and ahead + ticket.seconds > room
            if is_late or len(self._waiting) > MAX_WAITING:
                message = "calls of others, who have had less of this server, go first, and fill the queue"
                self._dismiss(
                    ticket, OverloadError(Reason.QUEUE_FULL, message, self._retry_after(ahead + ticket.seconds))
                )

    def _leave(self, ticket: _Ticket, clock: Clock, done: bool) -> None:
        with self._lock:
            self._advance()
            if ticket in self._working:  # and not cancelled in a pause
                self._stop(ticket)
            has_freed = self._memory.end(ticket.cost.memory)
            self._settle(ticket)
            if done:  # what was rejected or cancelled half-way says nothing of its kind
                self._learn(ticket, clock)
            self._begin_next()
            self._report()
        if has_freed:
            self._memory.tidy()

    def _learn(self, ticket: _Ticket, clock: Clock) -> None:
        """Learn from a call that is done; its stages are timed by the wall, of which each had the same share of the machine."""
        share = ticket.spent / max(self._clock() - ticket.entered - ticket.paused, 1e-9)
        walls = clock.seconds | {
            stage: max(0.0, clock.seconds[stage] - ticket.paused) for stage in ("optimise",) if stage in clock.seconds
        }
        stages = {stage: seconds * share for stage, seconds in walls.items()}
        self._estimates.record(ticket.cost, ticket.spent, stages, clock.faces)

    def _cancel(self, ticket: _Ticket) -> None:
        with self._lock:
            if ticket in self._waiting:
                self._dismiss(ticket, CallCancelledError())
            elif ticket in self._paused:  # it goes on, to find that it is cancelled
                self._paused.remove(ticket)
                ticket.woken.set()
            self._report()

    def _dismiss(self, ticket: _Ticket, error: Exception) -> None:
        """Take ``ticket`` out of the queue for ``error``."""
        self._waiting.remove(ticket)
        self._memory.wait(-ticket.cost.message_bytes)
        self._settle(ticket)
        ticket.error = error
        ticket.woken.set()

    def _give_way(self, ticket: _Ticket) -> None:
        """Let those go first whose turn it is, in the middle of a search; return when it is its own turn again."""
        with self._lock:
            self._advance()
            if ticket in self._working and self._must_give_way(ticket):
                self._stop(ticket)
                self._settle(ticket)
                ticket.tag = self._tag(ticket.caller)
                self._charge(ticket, _TURN)
                ticket.woken.clear()
                bisect.insort(self._paused, ticket, key=lambda other: other.order)
                paused_at = self._clock()
                self._begin_next()
                self._report()
            else:
                paused_at = None
        ticket.woken.wait()
        if paused_at is not None:
            ticket.paused += self._clock() - paused_at

    def _must_give_way(self, ticket: _Ticket) -> bool:
        in_turn, successor = self._shared - ticket.begun, self._next()
        if in_turn < _TURN or successor is None or not self._has_memory(successor):
            return False
        rank, _, number = ticket.order
        next_tag = self._tag(ticket.caller) + ticket.spent + in_turn - ticket.charged
        return successor.order < (rank, next_tag, number)

    def _next(self) -> _Ticket | None:
        """Return whose turn it is among those who wait, and the searches that gave way."""
        searches = sum(ticket.cost.is_search for ticket in (*self._working, *self._paused))
        is_full = searches >= SEARCHES_PER_WORKER * self.workers
        waiting = next((ticket for ticket in self._waiting if not (is_full and ticket.cost.is_search)), None)
        candidates = [*self._paused[:1], *([waiting] if waiting else [])]
        return min(candidates, key=lambda ticket: ticket.order, default=None)

    def _has_memory(self, ticket: _Ticket) -> bool:
        return ticket in self._paused or self._memory.fits(ticket.cost.memory)

    def _begin_next(self) -> None:
        """Begin those whose turn it is."""
        while len(self._working) < self.workers and (ticket := self._next()) is not None:
            if not self._has_memory(ticket):
                break
            if ticket in self._paused:
                self._paused.remove(ticket)
            else:
                self._waiting.remove(ticket)
                self._memory.wait(-ticket.cost.message_bytes)
                self._memory.begin(ticket.cost.memory)
                ticket.entered = self._clock()
            ticket.begun = self._shared
            self._working.append(ticket)
            ticket.woken.set()

    def _stop(self, ticket: _Ticket) -> None:
        self._working.remove(ticket)
        ticket.spent += self._shared - ticket.begun

    def _charge(self, ticket: _Ticket, seconds: float) -> None:
        """Charge the caller of ``ticket``, from its tag on, for a turn of so many seconds."""
        self._shares.charge(ticket.caller.name, ticket.tag + seconds)
        ticket.charged += seconds

    def _settle(self, ticket: _Ticket) -> None:
        """Charge the caller for what ``ticket`` has taken, in place of what it was expected to take."""
        self._shares.correct(ticket.caller.name, ticket.spent - ticket.charged)
        ticket.charged = ticket.spent

    def _advance(self) -> None:
        """Bring the shared clock, and the fair shares, up to now."""
        now = self._clock()
        if self._working:
            self._shared += (now - self._shared_at) / len(self._working)
        self._shared_at = now
        tags = [ticket.tag for ticket in (*self._waiting, *self._paused)]
        tags += [ticket.tag + self._shared - ticket.begun for ticket in self._working]
        self._shares.advance(tags, self._credit())

    def _ahead(self, order: tuple[int, float, float]) -> float:
        """Return the seconds of work that wait and go before a newcomer of ``order``."""
        return sum(ticket.seconds for ticket in self._waiting if ticket.order < order)

    def _min_wait(self, newcomer: _Ticket) -> float:
        """Return the seconds that ``newcomer`` waits if everything before it is as fast as it ever was, and searches give way."""
        fastest = self._estimates.fastest
        ahead = sum(fastest(ticket.cost) for ticket in self._waiting if ticket.order < newcomer.order)
        remaining = [
            0.0 if ticket.cost.is_search else fastest(ticket.cost) - (self._shared - ticket.begun)
            for ticket in self._working
        ]
        return ahead + max(0.0, min(remaining, default=0.0)) * len(remaining)

    def _room(self) -> float:
        """Return the seconds of work that may wait."""
        return _WAITING_SHARE * self.workers * self._estimates.usual if self._max_wait is None else self._max_wait

    def _retry_after(self, seconds: float) -> float:
        """Return when the queue, with ``seconds`` of work in it, will have room."""
        return max(_MIN_RETRY, seconds - self._room())

    def _report(self) -> None:
        self._watch.waiting(len(self._waiting), sum(ticket.seconds for ticket in self._waiting))
        self._watch.working(len(self._working))
