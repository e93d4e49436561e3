"""Many photos to age: which is sent next, what came of each, and in which order that is told. Without transport or threads."""

from __future__ import annotations

import heapq
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dorian_client._pacing import Pacer
from dorian_client._results import AgeResult
from dorian_client._retries import delay_before_retry
from dorian_client.errors import Busy, DorianError, InvalidRequest, Reason, ServerError

_FULL = (Reason.QUEUE_FULL, Reason.CALLS_AT_ONCE)  # reasons to send fewer photos at once
AHEAD = 16


@dataclass(frozen=True)
class AgeOutcome:
    """What came of one photo of `Client.age_many`.

    Attributes:
        index: The photo's place among the photos, from 0.
        photo: The photo, as it was given.
        result: What `Client.age` returns; None if there is an error.
        error: Why the photo was not aged: a PhotoError or a ServerError; None if it was.
        attempts: How often it was sent.
        seconds: From when it was first taken up until its response came.
    """

    index: int
    photo: Any
    result: AgeResult | None
    error: DorianError | None
    attempts: int
    seconds: float

    def unwrap(self) -> AgeResult:
        """Return the result; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


def check_many(photos: object, concurrency: object) -> None:
    """Raise TypeError or ValueError for photos that are one, or a number of calls that cannot be."""
    if isinstance(photos, str | bytes | os.PathLike):
        raise TypeError("give age_many several photos, such as a list of paths; age takes a single one")
    if concurrency is None:
        return
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise TypeError(f"a concurrency cannot be {type(concurrency).__name__}; give a number of calls, or None")
    if concurrency < 1:
        raise ValueError(f"a concurrency cannot be {concurrency}; give 1 or more, or None")


@dataclass(order=True)
class Job:
    """A photo that is being sent.

    Attributes:
        due: When it may be sent again, if it was rejected.
        index: The photo's place; -1 until it is drawn from the photos.
        photo: The photo.
        request: Its request, once it was read.
        since: When it was drawn.
        attempts: How often it was sent.
        began: What the pacer is to be told of it.
    """

    due: float = 0.0
    index: int = -1
    photo: Any = field(default=None, compare=False)
    request: Any = field(default=None, compare=False)
    since: float = field(default=0.0, compare=False)
    attempts: int = field(default=0, compare=False)
    began: int = field(default=0, compare=False)


class Batch:
    """The state of `age_many`; for one thread at a time, as its owner sees to.

    A photo that the server rejects for now is sent again when the server says, as often as its timeout allows.

    Args:
        pacer: How many calls are in flight.
        in_order: Whether outcomes are told in the order of the photos.
        timeout: Seconds for each photo from when it is first taken up; None for no limit.
        ahead: Outcomes, beside calls in flight, that may wait for whoever asks for them.
        clock: Returns seconds since some moment.
        random: Returns a number from 0 to 1, uniformly distributed.
    """

    def __init__(
        self,
        pacer: Pacer,
        *,
        in_order: bool,
        timeout: float | None,
        ahead: int = AHEAD,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.pacer, self._ahead = pacer, ahead
        self._in_order, self._timeout, self._clock, self._random = in_order, timeout, clock, random
        self._rejected: list[Job] = []  # a heap
        self._outcomes: dict[int, AgeOutcome] = {}
        self._drawn, self._told = 0, 0
        self._begun = 0  # fresh photos
        self._is_drawing, self._is_exhausted = False, False

    @property
    def has_work(self) -> bool:
        """Whether a photo is still to be sent, now or later."""
        return not self._is_exhausted or bool(self._rejected) or self.pacer.in_flight > 0

    @property
    def is_done(self) -> bool:
        """Whether all is done and told."""
        return not self.has_work and not self._outcomes

    def seconds_to_next(self) -> float | None:
        """Return after how many seconds a photo may be sent; None if something must happen first."""
        has_room = self._begun - self._told < self.pacer.limit + self._ahead
        can_draw = has_room and not self._is_drawing and not self._is_exhausted
        now = self._clock()
        seconds = self.pacer.seconds_to_next(now)
        if seconds is None or not (self._rejected or can_draw):
            return None
        return seconds if can_draw else max(seconds, self._rejected[0].due - now)

    def begin(self) -> Job:
        """Return the next job, if `seconds_to_next` is 0: one that is due again, or one whose photo is to be drawn."""
        if self._rejected and self._rejected[0].due <= self._clock():
            job = heapq.heappop(self._rejected)
        else:
            job, self._is_drawing = Job(), True
            self._begun += 1
        job.began = self.pacer.begin()
        return job

    def draw(self, job: Job, photo: object) -> None:
        """Give a job its photo."""
        job.index, job.photo, job.since = self._drawn, photo, self._clock()
        self._drawn += 1
        self._is_drawing = False

    def exhaust(self) -> None:
        """Note that there was no photo for a job."""
        self._is_drawing, self._is_exhausted = False, True
        self._begun -= 1
        self.pacer.release()

    def seconds_left(self, job: Job) -> float | None:
        """Return how long the call of a job may take; None for no limit."""
        return None if self._timeout is None else max(0.0, job.since + self._timeout - self._clock())

    def succeed(self, job: Job, result: AgeResult) -> None:
        """Note a job's result."""
        self.pacer.succeed()
        self._tell(job, result, None)

    def fail(self, job: Job, error: DorianError) -> None:
        """Note what a job's call ended with: it is retried, or that is its outcome."""
        delay = None
        if isinstance(error, ServerError):
            delay = delay_before_retry(error, job.attempts - 1, self._random)
        if delay is not None:
            job.due = self._clock() + delay
            is_full = isinstance(error, Busy) and error.reason in _FULL
            self.pacer.reject(job.began, job.due, is_full=is_full)
            left = self.seconds_left(job)
            if left is None or delay < left:
                heapq.heappush(self._rejected, job)
                return
        elif isinstance(error, InvalidRequest):
            self.pacer.succeed()
        else:
            self.pacer.release()
        self._tell(job, None, error)

    def pop(self) -> AgeOutcome | None:
        """Return the next outcome to be told; None if there is none yet."""
        index = self._told if self._in_order else next(iter(self._outcomes), -1)
        outcome = self._outcomes.pop(index, None)
        self._told += outcome is not None
        return outcome

    def _tell(self, job: Job, result: AgeResult | None, error: DorianError | None) -> None:
        seconds = self._clock() - job.since
        self._outcomes[job.index] = AgeOutcome(job.index, job.photo, result, error, job.attempts, seconds)
