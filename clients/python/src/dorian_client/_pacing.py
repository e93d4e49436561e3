"""How many calls of a batch are in flight: more while the server takes them, half as many once it rejects one.

Additive increase and multiplicative decrease (Chiu and Jain 1989), from as many calls as the server works on at once; slower
where calls were rejected before, as in CUBIC (Ha, Rhee and Xu 2008), so that few are rejected.
"""

from __future__ import annotations

import math

_UNKNOWN_WORKERS = 2
_CALLS_PER_WORKER = 4  # in flight at most, of a server that says how many workers it has
_MOST_CALLS = 64  # in flight at most, of one that does not
_CAUTION = 0.1  # share of the usual increase, short of as many calls as the server rejected one of before


class Pacer:
    """The calls in flight, and when the next may begin; for one thread at a time, as its owner sees to.

    Args:
        workers: Calls that the server works on at once; 0 if it does not say.
        most: Calls in flight at most; None for a few for each worker.
    """

    def __init__(self, workers: int, most: int | None) -> None:
        self.most = most or (_CALLS_PER_WORKER * workers or _MOST_CALLS)
        self.in_flight = 0
        self._limit = float(min(workers or _UNKNOWN_WORKERS, self.most))
        self._hold_until = 0.0
        self._cuts = 0
        self._ceiling = math.inf  # calls in flight when the server last rejected one

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        return int(self._limit)

    def seconds_to_next(self, now: float) -> float | None:
        """Return after how many seconds the next call may begin; None if one in flight must end first."""
        return max(0.0, self._hold_until - now) if self.in_flight < self.limit else None

    def begin(self) -> int:
        """Note that a call begins; return what `reject` is to be told of it."""
        self.in_flight += 1
        return self._cuts

    def succeed(self) -> None:
        """Note that the server has answered a call."""
        if self.in_flight >= self._ceiling:  # it takes by now what it once rejected
            self._ceiling = math.inf
        if self.in_flight >= self.limit:  # otherwise nothing shows that the server could do with more
            share = _CAUTION if self._limit + 1 >= self._ceiling else 1.0
            self._limit = min(self.most, self._limit + share / self._limit)
        self.in_flight -= 1

    def release(self) -> None:
        """Note that a call has ended in a way that says nothing of the server's load."""
        self.in_flight -= 1

    def reject(self, began: int, until: float, *, is_full: bool) -> None:
        """Note that the server has rejected a call.

        Args:
            began: What `begin` returned. Calls that began before the last cut cause no other.
            until: The moment before which the server wants no retry. No call begins before, unless the server is merely full,
                and works on other calls: then those that are left may be followed by new ones.
            is_full: Whether the server, or the caller's share of it, has room for fewer calls at once.
        """
        if began == self._cuts:
            self._ceiling = self.in_flight
            self._limit = max(1.0, self._limit / 2)
            self._cuts += 1
        self.in_flight -= 1
        if not is_full or self.in_flight == 0:
            self._hold_until = max(self._hold_until, until)
