"""How much work requests are expected to be: seconds of the whole machine, learned from those that were done before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dorian_server.domain.requests import (
    DEFAULT_STEPS,
    SEARCH_BUDGETS,
    AgeRequest,
    OptimizeRequest,
    ReconstructRequest,
    SearchSettings,
)

_UNKNOWN = 0.1  # seconds that a unit counts until the first of its kind is done
_NEWEST = 0.2  # share of the newest in the mean
_REMEMBERED = 50  # of a kind


@dataclass(frozen=True)
class Cost:
    """How much work a request is.

    Args:
        kind: Units of one kind are alike.
        units: How many there are.
        endless: Whether the work ends when the caller's deadline does, so that no deadline is too short for it.
    """

    kind: str
    units: float = 1.0
    endless: bool = False


DETECTION, COMPARISON = Cost("detect"), Cost("compare")


def cost_of(request: AgeRequest | ReconstructRequest | OptimizeRequest) -> Cost:
    """Return the cost of ``request``, as far as it can be told without looking at its photo."""
    match request:
        case AgeRequest():
            search = SEARCH_BUDGETS[request.optimisation]
            if search is not None:
                return Cost("age, searched", search.steps)
            # To detect and read the faces takes about as long as to draw and read them once again.
            return Cost("age", 1 + max(1, len(request.targets)))
        case ReconstructRequest():
            if request.search is None:
                return Cost("reconstruct")
            return Cost("reconstruct, searched", _steps(request.search))
        case OptimizeRequest():
            return Cost("optimise", _steps(request.search), endless=True)


def _steps(search: SearchSettings) -> int:
    return max(1, search.steps or DEFAULT_STEPS)


class Estimates:
    """What units of each kind have taken, in seconds of the whole machine."""

    def __init__(self) -> None:
        self.usual = _UNKNOWN  # seconds of a request, of whatever kind
        self._means: dict[str, float] = {}
        self._recent: dict[str, deque[float]] = {}

    def record(self, cost: Cost, seconds: float) -> None:
        """Learn that ``cost`` has taken ``seconds``."""
        self.usual = seconds if not self._means else self.usual + _NEWEST * (seconds - self.usual)
        unit = seconds / cost.units
        mean = self._means.get(cost.kind, unit)
        self._means[cost.kind] = mean + _NEWEST * (unit - mean)
        self._recent.setdefault(cost.kind, deque(maxlen=_REMEMBERED)).append(unit)

    def expected(self, cost: Cost) -> float:
        """Return the seconds that ``cost`` is likely to take."""
        return self._means.get(cost.kind, _UNKNOWN) * cost.units

    def fastest(self, cost: Cost) -> float:
        """Return the seconds in which ``cost`` can be done at best; 0 where nothing is known."""
        if cost.endless or cost.kind not in self._recent:
            return 0.0
        return min(self._recent[cost.kind]) * cost.units
