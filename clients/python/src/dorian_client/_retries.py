"""Retries: of calls that a busy server rejected with a time to retry after, or that reached no server."""

# gRPC's own retryPolicy does not serve: it reads the delay from grpc-retry-pushback-ms and ignores RetryInfo.

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from dorian_client.errors import Busy, ConnectionFailed, ServerError

_FIRST_DELAY = 0.1  # seconds, doubled with each retry, where the server names no delay
_LONGEST_DELAY = 5.0  # seconds, to which it is doubled
_JITTER = 0.2  # share of a delay that is added at most, so that calls rejected together are not retried together
_UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True)
class Retries:
    """How often calls are retried, and what times them.

    Attributes:
        limit: Retries of a call at most.
        clock: Returns seconds since some moment.
        sleep: Waits for a number of seconds.
        random: Returns a number from 0 to 1, uniformly distributed.
    """

    limit: int
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    random: Callable[[], float] = random.random

    def begin(self, timeout: float | None) -> Attempts:
        """Return the attempts of a call that begins now; they share the timeout in seconds, None for no limit."""
        return Attempts(self, timeout)


class Attempts:
    """The attempts of one call: how long the next may take, and when it is due."""

    def __init__(self, retries: Retries, timeout: float | None) -> None:
        self._retries = retries
        self._count = 0
        self._deadline = None if timeout is None else retries.clock() + timeout

    def seconds_left(self) -> float | None:
        """Return how long the next attempt may take; None for no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - self._retries.clock())

    def delay_after(self, error: ServerError) -> float | None:
        """Return the seconds to wait before the call is retried, and count the retry; None if it is not retried.

        See `delay_before_retry`. A delay that exceeds the time left means no retry.
        """
        delay = delay_before_retry(error, self._count, self._retries.random)
        if delay is None or self._count >= self._retries.limit:
            return None
        left = self.seconds_left()
        if left is not None and delay >= left:
            return None
        self._count += 1
        return delay


def delay_before_retry(error: ServerError, count: int, random: Callable[[], float] = random.random) -> float | None:
    """Return the seconds to wait before a call is retried; None if a retry does not help.

    After Busy the call waits as long as the server says, and is not retried if it says nothing. After ConnectionFailed it
    is retried if it did not reach a server, or one that takes no calls now. Where the server names no delay, or none above
    0, it is 0.1 s, then 0.2 s, and so on up to 5 s, as gRPC's retry policy has it.

    Args:
        error: What the call ended with.
        count: How often it was retried before.
        random: Returns a number from 0 to 1, by which up to a fifth of the delay is added.
    """
    named = error.retry_after if isinstance(error, Busy | ConnectionFailed) else None
    is_away = isinstance(error, ConnectionFailed) and error.code == _UNAVAILABLE
    if named is None and not is_away:
        return None
    own = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(count, 32))
    return (named if named is not None and named > 0 else own) * (1 + _JITTER * random())
