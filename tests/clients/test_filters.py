"""Filters as targets: requests, reports, and the names of their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import Result

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import Client, Filter, InvalidRequest

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., Result]
OLD, YOUNG = pb.Age(filter="old"), pb.Age(filter="young")


def test_a_filter_is_sent_and_returned(client: Client, fake: Any, pixels: Pixels) -> None:
    (photo,) = client.age(pixels, Filter("old")).photos
    assert list(fake.requests[0].targets) == [OLD]
    assert {photo.target, *(face.target for face in photo.faces)} == {Filter("old")}
    assert photo.faces[0].source == 34.25
    assert str(photo.target) == "old"


def test_filters_beside_ages_and_for_single_faces(client: Client, fake: Any, pixels: Pixels) -> None:
    result = client.age(pixels, [Filter("old"), 45], face_ages={1: Filter("young")})
    assert [[face.target for face in photo.faces] for photo in result.photos] == [
        [Filter("old"), Filter("young")],
        [45, Filter("young")],
    ]
    assert list(fake.requests[0].targets) == [OLD, pb.Age(years=45)]
    assert fake.requests[0].face_targets[0].target == YOUNG


def test_filters_of_methods_can_be_requested(client: Client, fake: Any, pixels: Pixels) -> None:
    result = client.age(pixels, client.methods()[-1].filters)
    assert [photo.target for photo in result.photos] == [Filter("young"), Filter("old")]
    assert list(fake.requests[-1].targets) == [YOUNG, OLD]


def test_a_sweep_of_a_method_without_ages(client: Client, fake: Any, pixels: Pixels) -> None:
    client.sweep(pixels, method="painter")
    assert (list(fake.requests[-1].targets), fake.requests[-1].method) == ([YOUNG, OLD], "painter")


def test_an_unknown_filter(client: Client, pixels: Pixels) -> None:
    with pytest.raises(InvalidRequest, match="no filter is called ancient") as caught:
        client.age(pixels, [30, Filter("ancient")])
    assert (caught.value.reason, caught.value.field) == ("FILTER_UNKNOWN", "targets[1].filter")


def test_filters_on_the_command_line(run: Run, fake: Any) -> None:
    result = run("age", "portrait.png", "--filter", "old", "--method", "painter", "-o", "older.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == (
        "face 0: 32x40 at (8, 4), by painter from 34 (estimated) with filter old, looks 57 after, similarity 0.88"
    )
    assert list(fake.requests[0].targets) == [OLD]
    assert Path("older.png").exists()


def test_a_filter_for_a_face_whose_age_is_not_known(run: Run, fake: Any) -> None:
    fake.faces = [dataclasses.replace(fake.faces[0], estimated_age=None)]
    result = run("age", "portrait.png", "--filter", "old", "-o", "older.png")
    assert "from unknown with filter old" in result.stdout


@pytest.mark.parametrize(("out", "name"), [("new/", "new/portrait-{}.png"), ("at-{age}.png", "at-{}.png")])
def test_filters_and_ages_into_files(out: str, name: str, run: Run, fake: Any) -> None:
    result = run("age", "portrait.png", "--filter", "young", "--to", "60+", "--filter", "old", "-o", out)
    assert result.exit_code == 0, result.output
    assert list(fake.requests[0].targets) == [pb.Age(group="60+"), YOUNG, OLD]
    assert all(Path(name.format(target)).exists() for target in ("60+", "young", "old"))


def test_a_sheet_of_filters(run: Run, fake: Any) -> None:
    assert run("age", "portrait.png", "--sweep", "--filter", "old", "-o", "sheet.png").exit_code == 0
    assert [list(request.targets) for request in fake.requests] == [[OLD]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--filter", "old", "--filter", "young", "-o", "a.png"], "2 ages cannot go into one file 'a.png'"),
        (["--filter", "old", "--to", "old", "-o", "new/"], "into the same file 'new/portrait-old.png'"),
    ],
)
def test_paths_for_a_single_picture(arguments: list[str], message: str, run: Run, fake: Any) -> None:
    result = run("age", "portrait.png", *arguments)
    assert (result.exit_code, fake.requests) == (2, [])
    assert message in result.stderr


def test_an_unknown_filter_on_the_command_line(run: Run) -> None:
    result = run("age", "portrait.png", "--filter", "ancient", "-o", "a.png")
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        "dorian: no filter is called ancient",
        "hint: 'dorian methods' lists the methods, age groups and filters that the server has",
    ]
    assert not Path("a.png").exists()
