"""What work has taken: seconds of the whole machine for a unit of each kind, learned from the calls that were done before."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dorian_server.admission.cost import FACE_STAGES, REST, Cost, stage_of

_NEWEST = 0.2  # weight of the newest call in a mean
_REMEMBERED = 50  # calls
_HALF_LIFE = 30.0  # seconds in which what was fastest counts for half as much, unless calls confirm it
# Seconds of a unit until the first of its kind is done: on two cores of a server.
_UNKNOWN = 0.1
_TYPICAL: Mapping[str, float] = {
    "decode JPEG": 0.02,
    "decode PNG": 0.05,
    "decode WEBP": 0.05,
    "detect": 0.2,
    "read": 0.03,
    "generate": 0.03,
    "identity": 0.06,
    "reread": 0.03,
    "paste": 0.01,
    "write JPEG": 0.02,
    "write PNG": 0.1,
    "write WEBP": 0.1,
    REST: 0.005,
}


@dataclass
class _Rate:
    """What units of one kind have taken."""

    seconds: float  # a decaying sum, as ``amount`` is; so large calls, which tell more, count for more
    amount: float
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))  # seconds of a unit in each call
    learned_at: float = 0.0


class Estimates:
    """What units of each kind of work take, in seconds of the whole machine.

    Args:
        clock: Gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.usual = _UNKNOWN  # seconds of a call, of whatever kind
        self._clock = clock
        self._rates: dict[str, _Rate] = {}

    def record(
        self, cost: Cost, seconds: float, stages: Mapping[str, float] | None = None, faces: int | None = None
    ) -> None:
        """Learn from a call that is done.

        Args:
            cost: What it was expected to be.
            seconds: What it has taken, in seconds of the whole machine.
            stages: The shares of its stages in that; without any, it is shared out as it was expected to be.
            faces: Faces that it worked on; as expected unless given.
        """
        self.usual = self.usual + _NEWEST * (seconds - self.usual) if self._rates else seconds
        factor = max(1, cost.faces if faces is None else faces) / cost.faces
        for unit, spent in self._by_unit(cost, seconds, stages or {}).items():
            amount = cost.units[unit] * (factor if stage_of(unit) in FACE_STAGES else 1)
            rate = self._rates.setdefault(unit, _Rate(spent, amount))
            rate.seconds += _NEWEST * (spent - rate.seconds)
            rate.amount += _NEWEST * (amount - rate.amount)
            rate.recent.append(spent / amount)
            rate.learned_at = self._clock()

    def expected(self, cost: Cost) -> float:
        """Return the seconds that ``cost`` is likely to take."""
        return sum(self._expected(unit, amount) for unit, amount in cost.units.items())

    def fastest(self, cost: Cost) -> float:
        """Return the seconds in which ``cost`` can be done at best; units of which nothing is known count for nothing."""
        if cost.is_endless:
            return 0.0
        known = ((amount, self._rates[unit]) for unit, amount in cost.units.items() if unit in self._rates)
        now = self._clock()
        return sum(
            amount * min(rate.recent) * math.pow(0.5, (now - rate.learned_at) / _HALF_LIFE) for amount, rate in known
        )

    def _expected(self, unit: str, amount: float) -> float:
        rate = self._rates.get(unit)
        return amount * (_TYPICAL.get(unit, _UNKNOWN) if rate is None else rate.seconds / rate.amount)

    def _by_unit(self, cost: Cost, seconds: float, stages: Mapping[str, float]) -> dict[str, float]:
        """Return what each unit of ``cost`` has taken; none for those whose stages it did without."""
        if not stages:
            return _share_out(seconds, {unit: self._expected(unit, amount) for unit, amount in cost.units.items()})
        by_unit: dict[str, float] = {}
        for stage, spent in stages.items():
            units = {
                unit: self._expected(unit, amount) for unit, amount in cost.units.items() if stage_of(unit) == stage
            }
            by_unit |= _share_out(spent, units)
        if REST in cost.units:
            by_unit[REST] = max(0.0, seconds - sum(by_unit.values()))
        return by_unit


def _share_out(seconds: float, expected: Mapping[str, float]) -> dict[str, float]:
    """Share ``seconds`` out in proportion to what was ``expected``."""
    total = sum(expected.values())
    return {unit: seconds * (part / total) for unit, part in expected.items()} if total else {}
