"""An identity budget: each face is changed as far towards its target as it stays similar enough to what it was.

The way to an age goes through the ages between it and the source age, that to a filter through parts of its strength. The whole way is
looked at first; where it goes too far, the way is halved ``BUDGET_STEPS`` times, so that the end is met within a thirty-second part of it.
All faces of all images take a step at once, in one batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dorian_bundle.ages import AgeGroup
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import CallCancelledError, Reason, RequestError
from dorian_server.domain.requests import BUDGET_STEPS, Age, AgeRequest
from dorian_server.domain.results import ReachedTarget
from dorian_server.methods.method import Drawing

# Draws the prepared faces of some indices, each at its targets.
DrawFaces = Callable[[Sequence[int], Sequence[Sequence[Age]], Clock], list[list[Drawing]]]
KeptFaces = tuple[list[Age], list[Drawing | None], list[ReachedTarget]]


def check_budget(request: AgeRequest) -> None:
    """Raise ``RequestError`` if the identity budget of ``request`` is no similarity that can be kept."""
    budget = request.keep_identity
    if budget is not None and not 0 < budget <= 1:
        message = f"keep_identity {budget:g} is out of range; it must be a similarity above 0 and at most 1"
        raise RequestError(Reason.SETTING_OUT_OF_RANGE, "keep_identity", message)


@dataclass(frozen=True)
class DrawnFaces:
    """What the prepared faces of one image are to become, and the drawing of each."""

    targets: list[Age]
    drawings: list[Drawing]


@dataclass
class _Way:
    """The way of one face to its target: the part that keeps the person, that which does not, and the drawing that keeps them."""

    image: int
    face: int
    target: Age
    whole: Drawing
    kept: float = 0.0
    lost: float = 1.0
    drawing: Drawing | None = None

    @property
    def middle(self) -> float:
        return (self.kept + self.lost) / 2


class IdentityBudget:
    """Finds how far the faces of a photo can change.

    Args:
        budget: The least similarity, above 0 and at most 1.
        sources: The source age of each prepared face.
        groups: The method's age groups.
        draw: Draws faces.
        similarities: How similar each prepared face stays with drawings, or with ``None`` as it is, put into the photo together.
    """

    def __init__(
        self,
        budget: float,
        sources: Sequence[Age],
        groups: Sequence[AgeGroup],
        draw: DrawFaces,
        similarities: Callable[[Sequence[Drawing | None]], list[float]],
    ) -> None:
        self._budget, self._sources, self._groups = budget, sources, groups
        self._draw, self._similarities = draw, similarities

    def apply(self, images: Sequence[DrawnFaces], cancelled: threading.Event) -> list[KeptFaces]:
        """Return for each of ``images`` the targets, the drawings to put into it, and how far each face has come.

        Args:
            images: Each with the whole change of its faces.
            cancelled: Ends the search, once set.

        Raises:
            CallCancelledError: The call was cancelled.
        """
        ways = [
            [_Way(index, face, *pair) for face, pair in enumerate(zip(image.targets, image.drawings, strict=True))]
            for index, image in enumerate(images)
        ]
        self._judge(ways, {(way.image, way.face): way.whole for row in ways for way in row}, 1.0)
        for _ in range(BUDGET_STEPS):
            pending = [way for row in ways for way in row if way.kept < 1]
            if not pending:
                break
            if cancelled.is_set():
                raise CallCancelledError("the call was cancelled during the search of its identity budget")
            self._judge(ways, self._draw_middles(pending))
        return [
            (image.targets, [way.drawing for way in row], [self._reached(way) for way in row])
            for image, row in zip(images, ways, strict=True)
        ]

    def _judge(
        self, ways: Sequence[Sequence[_Way]], trials: dict[tuple[int, int], Drawing], share: float | None = None
    ) -> None:
        """Put ``trials`` into their images, by image and face, and note whether they keep the persons; at ``share``, or half the way."""
        for row in ways:
            tried = [trials.get((way.image, way.face)) for way in row]
            if not any(trial is not None for trial in tried):
                continue
            similarities = self._similarities(
                [way.drawing if trial is None else trial for way, trial in zip(row, tried, strict=True)]
            )
            for way, trial, similarity in zip(row, tried, similarities, strict=True):
                at = way.middle if share is None else share
                if trial is not None and similarity >= self._budget:
                    way.kept, way.drawing = at, trial
                elif trial is not None:
                    way.lost = at

    def _draw_middles(self, ways: Sequence[_Way]) -> dict[tuple[int, int], Drawing]:
        """Return what each of ``ways`` shows in its middle, by image and face."""
        trials = {
            (way.image, way.face): _part_of(way.whole, way.middle) for way in ways if way.target.filter is not None
        }
        by_face: dict[int, list[_Way]] = {}
        for way in ways:
            if way.target.filter is None:
                by_face.setdefault(way.face, []).append(way)
        if by_face:
            ages = [[Age(years=self._years(way, way.middle)) for way in row] for row in by_face.values()]
            drawn = self._draw(list(by_face), ages, Clock())  # timed as a whole
            for row, drawings in zip(by_face.values(), drawn, strict=True):
                trials |= {(way.image, way.face): drawing for way, drawing in zip(row, drawings, strict=True)}
        return trials

    def _years(self, way: _Way, share: float) -> float:
        source, target = (age.years_in(self._groups) for age in (self._sources[way.face], way.target))
        return source + share * (target - source)

    def _reached(self, way: _Way) -> ReachedTarget:
        return ReachedTarget(way.kept, None if way.target.filter is not None else self._years(way, way.kept))


def _part_of(drawing: Drawing, share: float) -> Drawing:
    """Return ``drawing`` with a part of its change."""
    return replace(drawing, after=drawing.before + share * drawing.delta)
