"""When a call is sent again: the server had no room for it and said when to come back, or it never came to one."""

# gRPC's own retryPolicy would not do: it reads the delay from grpc-retry-pushback-ms, and nothing of RetryInfo.

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from dorian_client.errors import Busy, ConnectionFailed, ServerError

_FIRST_DELAY = 0.1  # seconds at least; twice as many before each further try
_JITTER = 0.2  # share of a delay that is added at most, so that calls refused together do not come back together
_UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True)
class Retries:
    """How often a call is sent again at most, and what it is timed by.

    clock: seconds since some moment.
    sleep: waits for so many seconds.
    random: a number from 0 to 1, each as likely as the others.
    """

    limit: int
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    random: Callable[[], float] = random.random

    def begin(self, timeout: float | None) -> Tries:
        """Returns the tries of a call that begins now; timeout is in seconds for all of them together, None for no limit."""
        return Tries(self, timeout)


class Tries:
    """The tries of one call: how long the next may take, and when it comes."""

    def __init__(self, retries: Retries, timeout: float | None) -> None:
        self._retries = retries
        self._sent_again = 0
        self._ends = None if timeout is None else retries.clock() + timeout

    def seconds_left(self) -> float | None:
        """Returns how long the next try may take; None for no limit."""
        return None if self._ends is None else max(0.0, self._ends - self._retries.clock())

    def delay_after(self, error: ServerError) -> float | None:
        """Returns the seconds to wait before the call is sent again, and counts that; None if it is not to be.

        Busy waits for as long as the server said, or is final if it said nothing. A server that was not reached, or does
        not take calls now, is asked again, too. No delay is shorter than 0.1 s, then 0.2 s, and so on, as others were told
        the same. One that does not fit into the time left is not worth waiting for.
        """
        bare = _bare_delay(error, self._sent_again)
        if bare is None or self._sent_again >= self._retries.limit:
            return None
        delay = bare * (1 + _JITTER * self._retries.random())
        left = self.seconds_left()
        if left is not None and delay >= left:
            return None
        self._sent_again += 1
        return delay


def _bare_delay(error: ServerError, sent_again: int) -> float | None:
    own = _FIRST_DELAY * 2.0**sent_again
    if isinstance(error, Busy | ConnectionFailed) and error.retry_after is not None:
        return max(own, error.retry_after)
    if isinstance(error, ConnectionFailed) and error.code == _UNAVAILABLE:
        return own
    return None
