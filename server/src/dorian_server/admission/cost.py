"""How much work requests are, before they are done: seconds of the whole machine, learned from those that were done before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dorian_server.domain.requests import AgeRequest, OptimizeRequest, ReconstructRequest
from dorian_server.pipeline.latent_search import DEFAULT_STEPS, SearchSettings
from dorian_server.pipeline.reconstruction import BUDGETS

_UNKNOWN = 0.1  # seconds that a unit counts until the first of its kind is done
_NEWEST = 0.2  # share of the newest in the mean
_REMEMBERED = 50  # of a kind


@dataclass(frozen=True)
class Work:
    """``units`` of a ``kind`` of work; within a kind they are alike. ``endless`` work ends when the caller's deadline does."""

    kind: str
    units: float = 1.0
    endless: bool = False


DETECTION, COMPARISON = Work("detect"), Work("compare")


def work_of(request: AgeRequest | ReconstructRequest | OptimizeRequest) -> Work:
    """What ``request`` is in work, as far as can be told without looking at its photo."""
    match request:
        case AgeRequest():
            search = BUDGETS[request.optimisation]
            if search is not None:
                return Work("age, searched", search.steps)
            # To find and read the faces takes about as long as to draw and read them once again.
            return Work("age", 1 + max(1, len(request.targets)))
        case ReconstructRequest():
            if request.search is None:
                return Work("reconstruct")
            return Work("reconstruct, searched", _steps(request.search))
        case OptimizeRequest():
            return Work("optimise", _steps(request.search), endless=True)


def _steps(search: SearchSettings) -> int:
    return max(1, search.steps or DEFAULT_STEPS)


class Estimates:
    """What units of each kind have taken, in seconds of the whole machine."""

    def __init__(self) -> None:
        self.usual = _UNKNOWN  # seconds of a request, of whatever kind
        self._means: dict[str, float] = {}
        self._seen: dict[str, deque[float]] = {}

    def note(self, work: Work, seconds: float) -> None:
        """``work`` has taken ``seconds``."""
        self.usual = seconds if not self._means else self.usual + _NEWEST * (seconds - self.usual)
        each = seconds / work.units
        mean = self._means.get(work.kind, each)
        self._means[work.kind] = mean + _NEWEST * (each - mean)
        self._seen.setdefault(work.kind, deque(maxlen=_REMEMBERED)).append(each)

    def expected(self, work: Work) -> float:
        """Seconds that ``work`` is likely to take."""
        return self._means.get(work.kind, _UNKNOWN) * work.units

    def least(self, work: Work) -> float:
        """Seconds in which ``work`` can be done at best; 0 where nothing is known."""
        if work.endless or work.kind not in self._seen:
            return 0.0
        return min(self._seen[work.kind]) * work.units
