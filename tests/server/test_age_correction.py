"""Faces that are read off their target get more or less of their change: how much, and which of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dorian_bundle import skin_detail
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.calibration import Calibration, EstimatePoint
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.methods.method import Drawing, PhotoChange
from dorian_server.pipeline import composition
from dorian_server.pipeline.age_correction import calibration_to_correct_by, correct_drawings, corrected_years
from dorian_server.pipeline.identity_budget import DrawnFaces
from dorian_server.pipeline.pipeline import Pipeline

YOUNG, OLD = Age(years=30), Age(years=70)
AS_ASKED = Calibration()
REQUEST = AgeRequest(b"", [OLD])


class Method:
    """A method that reads its drawings back, or not."""

    def __init__(self, read_back: Calibration | None) -> None:
        self.read_back = read_back


class Faces:
    """Faces of an age whose drawings are as many years of change, read off by ``misses``, (faces,)."""

    def __init__(self, *misses: float, source: Age = YOUNG) -> None:
        self.misses, self.source = misses, source

    def image(self, *targets: Age) -> DrawnFaces:
        return DrawnFaces(
            list(targets), [drawing(self.source.years_in(PAPER_GROUPS), years_of(age)) for age in targets]
        )

    def read(self, drawings: Sequence[Drawing]) -> list[float]:
        return [shown(drawn)[0] + miss for drawn, miss in zip(drawings, self.misses, strict=True)]

    def correct(self, *images: DrawnFaces, by: Calibration = AS_ASKED) -> list[list[tuple[float, float]]]:
        """The age of each face, as its drawing and as the photo beside it change to it."""
        sources = [self.source] * len(self.misses)
        corrected = [correct_drawings(image, sources, PAPER_GROUPS, by, self.read) for image in images]
        assert [image.targets for image in corrected] == [image.targets for image in images]
        return [[shown(drawn) for drawn in image.drawings] for image in corrected]


def years_of(age: Age) -> float:
    return 0.0 if age.filter else age.years_in(PAPER_GROUPS)


def drawing(source: float, years: float) -> Drawing:
    before = np.full((2, 2, 3), source, np.float32)
    return Drawing(before, np.full_like(before, years), PhotoChange(source, years, None, None))


def shown(drawn: Drawing) -> tuple[float, float]:
    assert drawn.photo is not None
    return float(drawn.after[0, 0, 0]), drawn.photo.face_target


def both(*years: float) -> list[Any]:
    return [pytest.approx((age, age), abs=1e-4) for age in years]


@pytest.mark.parametrize(
    ("source", "target", "miss", "drawn"),
    [
        (30, 70, -4, 74),  # four years young: four more are asked for
        (30, 70, 6, 64),
        (60, 25, 8, 17),
        (30, 70, -30, 75),  # five more at most
        (30, 70, 20, 60),  # and ten less
        (30, 36, 14, 30),  # not beyond the source
        (40, 36, -16, 40),
        (60, 19, 26, 9),
        (30, 118, -28, 120),
    ],
)
def test_a_miss_is_made_up_for(source: float, target: float, miss: float, drawn: float) -> None:
    assert corrected_years(source, target, miss) == pytest.approx(drawn)


@pytest.mark.parametrize("miss", [-0.9, 0.0, 0.9])
def test_a_face_that_is_read_right_stays(miss: float) -> None:
    assert corrected_years(30, 70, miss) is None


def test_faces_are_held_against_the_estimates_that_the_calibration_wants() -> None:
    """At 50, which is to be estimated at 46 where faces get younger and at 52 where they get older."""
    estimates = tuple(EstimatePoint(asked=age, younger=age - 4, older=age + 2) for age in (40, 60))
    for source, drawn in ((OLD, (46, 50, 55)), (YOUNG, (52, 55, 55))):
        faces, target = Faces(0, -4, -9, source=source), Age(years=50)
        image = faces.image(target, target, target)
        assert faces.correct(image, by=Calibration(estimates=estimates)) == [both(*drawn)]


def test_faces_that_miss_get_more_or_less_of_their_change() -> None:
    faces = Faces(-5, 0, 10)
    images = [faces.image(OLD, OLD, OLD), faces.image(Age(years=50), Age(years=50), Age(years=50))]
    assert faces.correct(*images) == [both(75, 70, 60), both(55, 50, 40)]


def test_a_change_grows_by_half_at_most_and_is_not_lost() -> None:
    """The photo beside it changes to the age all the same."""
    small = Age(years=36)
    assert Faces(-5).correct(Faces(-5).image(small)) == [[pytest.approx((39, 41), abs=1e-4)]]
    assert Faces(30).correct(Faces(30).image(small)) == [[pytest.approx((32.4, 30), abs=1e-4)]]


def test_hair_has_the_age_that_was_asked_for() -> None:
    """Else a beard would be shaved where 25 is drawn as 15."""
    target = Age(years=25)
    faces = Faces(10, source=OLD)
    image = correct_drawings(faces.image(target), [OLD], PAPER_GROUPS, AS_ASKED, faces.read)
    (photo,) = (drawn.photo for drawn in image.drawings)
    assert photo == PhotoChange(70, 25, None, None, corrected=15)


def test_groups_are_met_at_their_centres() -> None:
    faces = Faces(-5)
    (centre,) = (group.centre for group in PAPER_GROUPS if group.label == "40-49")
    assert faces.correct(faces.image(Age(group="40-49"))) == [both(centre + 5)]


def test_an_adult_made_a_child_is_corrected() -> None:
    faces = Faces(4)
    assert faces.correct(faces.image(Age(years=10))) == [both(10 - 4)]


@pytest.mark.parametrize(
    ("source", "target"),
    [(YOUNG, Age(years=33)), (Age(years=10), OLD), (YOUNG, Age(filter="old"))],
    ids=["a small change", "a child", "a filter"],
)
def test_others_stay_as_they_are(source: Age, target: Age) -> None:
    faces = Faces(-9, source=source)
    before = faces.image(target)
    assert faces.correct(before) == [[shown(before.drawings[0])]]


@pytest.mark.parametrize(
    "changes",
    [{"strength": 0.9}, {"strength": 1.2}, {"blend": "replace"}, {"keep_identity": 0.5}, {"optimisation": "fast"}],
    ids=str,
)
def test_what_is_scaled_or_bounded_is_not_corrected(changes: dict[str, Any]) -> None:
    method: Any = Method(AS_ASKED)
    assert calibration_to_correct_by(REQUEST, method) is AS_ASKED
    assert calibration_to_correct_by(replace(REQUEST, **changes), method) is None


def test_a_method_may_not_read_back() -> None:
    method: Any = Method(None)
    assert calibration_to_correct_by(REQUEST, method) is None


def test_the_embedded_translator_comes_closer_by_reading_back(
    embedded: Pipeline, astronaut_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closer to what its calibration says that faces of the target are estimated at; the face looks younger than the age that is given."""
    method = embedded.method("age_translator")
    calibration, source, targets = method.read_back, 45.0, (55.0, 60.0, 65.0, 70.0)
    assert calibration is not None
    wanted = [calibration.wanted_estimate(source, years) for years in targets]
    misses = []
    for read_back in (calibration, None):
        monkeypatch.setattr(method, "read_back", read_back)
        request = AgeRequest(astronaut_file, [Age(years=years) for years in targets], source=Age(years=source))
        faces = [image.faces[0].after for image in embedded.age(request, method, Clock()).images]
        misses.append(sum(abs(face.estimated_age - years) for face, years in zip(faces, wanted, strict=True) if face))
    assert misses[0] < misses[1] - 5


def test_reading_back_makes_nothing_twice_that_stays_the_same(
    embedded: Pipeline, astronaut_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hair has the age that was asked for, and where lines lie is the face's own; each picture is what it is without others."""
    made = Counter[str]()

    def count(module: ModuleType, name: str) -> None:
        make = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: (made.update([name]), make(*given))[1])

    def aged(*years: float) -> list[bytes]:
        request = AgeRequest(astronaut_file, [Age(years=age) for age in years])
        return [image.image.data for image in embedded.age(request, embedded.method("age_translator"), Clock()).images]

    count(composition, "hair_patches")
    count(skin_detail, "draw_lines")
    together = aged(70, 55)
    assert made == {"hair_patches": 2, "draw_lines": 1}
    assert together == [*aged(70), *aged(55)]
