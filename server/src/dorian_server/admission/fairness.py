"""Fair shares: callers take turns by the work that they have had, and not by the calls that they send.

Start-time fair queueing (Goyal, Vin and Cheng 1996): a call's tag is where the work of its caller's calls before it ends, in seconds
of work; calls begin in the order of their tags. Who was idle begins at the present, which is the least tag of the calls that wait or
are worked on, or a little before it: so who was rejected, and has had less than the others, is soon made up for.
"""

from __future__ import annotations

from collections.abc import Collection


class FairShares:
    """The work that each caller has had, or is to have; for one thread at a time, as its owner sees to."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ends: dict[str, float] = {}

    def tag(self, caller: str, credit: float) -> float:
        """Return the tag of the next call of ``caller``.

        Args:
            caller: Who calls.
            credit: Seconds of work that who has had less than the others may have before them.
        """
        return max(self._ends.get(caller, 0.0), self._now - credit)

    def charge(self, caller: str, end: float) -> None:
        """Note that the work of ``caller`` ends at ``end``, as the work of a call at its tag does."""
        self._ends[caller] = end

    def correct(self, caller: str, seconds: float) -> None:
        """Add ``seconds``, which may be fewer than none, to the work of ``caller``."""
        if caller in self._ends:
            self._ends[caller] += seconds

    def advance(self, tags: Collection[float], credit: float) -> None:
        """Bring the present up to the least of ``tags``, those of all calls that there are; to where all work ends, if there are none.

        Callers who have had no more than who was never here are forgotten.
        """
        now = min(tags, default=max(self._ends.values(), default=self._now))
        if now > self._now:
            self._now = now
            self._ends = {caller: end for caller, end in self._ends.items() if end > now - credit}
