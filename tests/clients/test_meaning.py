"""What similarities, ages and faces mean, and warnings: as the SDK returns them, and as the dorian command says them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import Result

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import AgeInterval, Client, FaceWarning, IdentityMatch, Pose, YearsApart

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., Result]
TWELVE = YearsApart(12.25, "about")
ABOUT = "as alike as real photos of one person 12 years apart"
INTERVAL, POSE = AgeInterval(26.5, 44.75, 0.8125), Pose(30.5, -12.25, 4.5)
WARNING = FaceWarning("FACE_TURNED", "the face is tilted by 92 degrees clockwise; the photo seems to be turned")


def detailed(fake: Any) -> None:
    """Let the first face of ``fake`` have everything that a server may say of one."""
    fake.faces[0] = dataclasses.replace(fake.faces[0], interval=INTERVAL, pose=POSE, visibility=0.875)


@pytest.mark.parametrize(
    ("years_apart", "text"),
    [
        (TWELVE, ABOUT),
        (YearsApart(2, "at_most"), "at least as alike as real photos of one person 2 years apart"),
        (YearsApart(37, "at_least"), "less alike than real photos of one person 37 years apart"),
    ],
)
def test_years_as_text(years_apart: YearsApart, text: str) -> None:
    assert str(IdentityMatch(True, 0.5, 0.001, years_apart)) == text


def test_a_match_without_years_as_text() -> None:
    assert str(IdentityMatch(True, 0.5, 0.001)) == "one person's faces"
    assert str(IdentityMatch(False, 0.5, 0.001)) == "different people's faces"


def test_every_similarity_has_its_meaning(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.years_apart = TWELVE
    expected = IdentityMatch(True, 0.4375, 0.001, TWELVE)
    assert client.compare(pixels, pixels).match == expected
    assert client.compare(pixels, pixels, false_accept_rate=0.01).match == dataclasses.replace(
        expected, false_accept_rate=0.01
    )
    assert client.age(pixels, 60).photos[0].faces[0].match == expected
    assert client.reconstruct(pixels).faces[0].match == expected
    search = client.optimize(pixels)
    assert [step.match.same_person for step in search if step.match] == [False, False, True, True]  # by 0, .25, .5, .75
    assert search.result().reconstruction.match == expected


def test_a_server_that_knows_no_years(client: Client, pixels: Pixels) -> None:
    assert client.compare(pixels, pixels).match == IdentityMatch(True, 0.4375, 0.001, None)


def test_a_server_that_says_nothing_of_it(client: Client, fake: Any, pixels: Pixels) -> None:
    def strip(response: Any) -> Any:
        for message in (response, *response.results[0].faces) if hasattr(response, "results") else (response,):
            if "identity_match" in message.DESCRIPTOR.fields_by_name:
                message.ClearField("identity_match")
        return response

    fake.on_response = strip
    assert client.compare(pixels, pixels).match is None
    (report, _) = client.age(pixels, 60).photos[0].faces
    assert (report.match, report.interval_after, report.warnings) == (None, None, ())
    (face, _) = client.detect(pixels).faces
    assert (face.interval, face.pose, face.visibility) == (None, None, None)


def test_years_of_a_bound_that_is_unknown_are_left_out(client: Client, fake: Any, pixels: Pixels) -> None:
    def change(response: pb.CompareFacesResponse) -> pb.CompareFacesResponse:
        response.identity_match.years_apart.CopyFrom(pb.YearsApart(years=3, bound=99))  # type: ignore[arg-type]
        return response

    fake.on_response = change
    match = client.compare(pixels, pixels).match
    assert match is not None
    assert match.years_apart is None


def test_what_is_said_of_a_face(client: Client, fake: Any, pixels: Pixels) -> None:
    detailed(fake)
    first, second = client.detect(pixels).faces
    assert (first.interval, first.pose, first.visibility) == (INTERVAL, POSE, 0.875)
    assert (second.interval, second.pose, second.visibility) == (None, None, None)


def test_warnings_and_the_interval_after(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.warnings = {1: [WARNING]}

    def widen(response: pb.AgeTransformResponse) -> pb.AgeTransformResponse:
        report = response.results[0].faces[0]
        report.estimated_age_after_interval.CopyFrom(pb.AgeInterval(low=50, high=71.5, coverage=0.8125))
        report.warnings.add(code=77, message="something new")  # type: ignore[arg-type]
        return response

    fake.on_response = widen
    first, second = client.age(pixels, 60).photos[0].faces
    assert first.interval_after == AgeInterval(50, 71.5, 0.8125)
    assert first.warnings == (FaceWarning("77", "something new"),)
    assert second.warnings == (WARNING,)


def test_licences_of_methods(client: Client, fake: Any) -> None:
    obstacle = "FaceNet: CelebA (non-commercial research)"
    free = dataclasses.replace(fake.methods[0], commercial_use=True)
    other = dataclasses.replace(fake.methods[1], commercial_use=False, licence_obstacles=(obstacle,))
    fake.methods = [free, other, fake.methods[2]]
    stated = [(method.commercial_use, method.licence_obstacles) for method in client.methods()]
    assert stated == [(True, ()), (False, (obstacle,)), (None, ())]


# --- the command ---


def test_detect_says_it(run: Run, fake: Any) -> None:
    detailed(fake)
    fake.faces[1] = dataclasses.replace(fake.faces[1], pose=Pose(0.5, 1, -9))
    assert run("detect", "portrait.png").stdout.splitlines() == [
        "face 0: 32x40 at (8, 4), score 0.75, age 34 (26 to 45), looking right by 30 degrees, looking down by 12 degrees, "
        "88% visible",
        "face 1: 12x14 at (50, 6), score 0.50, age 8, seen from the front",
    ]
    face = json.loads(run("detect", "portrait.png", "--json").stdout)["faces"][0]
    assert (face["interval"]["low"], face["pose"]["yaw"], face["visibility"]) == (26.5, 30.5, 0.875)


def test_compare_says_it(run: Run, fake: Any) -> None:
    assert len(run("compare", "portrait.png", "portrait.png").stdout.splitlines()) == 1
    fake.years_apart = TWELVE
    assert run("compare", "portrait.png", "portrait.png").stdout.splitlines()[1:] == [f"they are {ABOUT}"]


def test_age_says_it_and_warns_once(run: Run, fake: Any) -> None:
    detailed(fake)
    fake.years_apart, fake.warnings = TWELVE, {0: [WARNING]}
    result = run("age", "portrait.png", "--to", "60", "--to", "70", "-o", "{age}.png")
    assert result.exit_code == 0, result.output
    assert "from 34 (26 to 45) (estimated)" in result.stdout
    assert f"similarity 0.88 ({ABOUT})" in result.stdout
    assert result.stderr.splitlines() == [f"warning: face 0: {WARNING.message}"]


def test_methods_say_it(run: Run, fake: Any) -> None:
    free = dataclasses.replace(fake.methods[0], commercial_use=True)
    other = dataclasses.replace(fake.methods[1], commercial_use=False, licence_obstacles=("one: A", "two: B"))
    fake.methods = [free, other]
    lines = run("methods").stdout.splitlines()
    assert "  free for commercial use" in lines
    assert "  not free for commercial use, because of one: A; two: B" in lines
