"""Faces drawn onto a photo: lines at the boxes, dots at the landmarks, legible labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dorian_client import Box, Face, Landmarks
from dorian_client._rendering import BOX_COLOUR, LANDMARK_COLOUR, draw_faces

GREY = (90, 90, 90)
MIDDLE = Box(140, 100, 80, 100)
POINTS = Landmarks((160, 130), (200, 131), (180, 150), (165, 175), (195, 176))


def _face(box: Box = MIDDLE, age: float | None = None, landmarks: Landmarks | None = None) -> Face:
    return Face(index=0, box=box, score=0.9, landmarks=landmarks, estimated_age=age)


def _draw(face: Face, width: int = 400, height: int = 300) -> npt.NDArray[np.uint8]:
    return np.asarray(draw_faces(Image.new("RGB", (width, height), GREY), [face]))


def _edges(result: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(result)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_the_box_is_outlined_and_nothing_else_is_touched() -> None:
    drawing = _draw(_face())
    assert _edges((drawing[100:] == BOX_COLOUR).all(axis=2)) == (140, 0, 220, 100)
    assert (drawing[101:199, 141:219] == GREY).all()
    assert (drawing[200:] == GREY).all()
    assert (drawing[:, :140] == GREY).all()
    assert (drawing[:, 220:] == GREY).all()


def test_each_landmark_is_a_dot() -> None:
    drawing = (_draw(_face(landmarks=POINTS)) == LANDMARK_COLOUR).all(axis=2)
    for x, y in (POINTS.right_eye, POINTS.left_eye, POINTS.nose, POINTS.right_mouth, POINTS.left_mouth):
        left, top = int(x) - 3, int(y) - 3
        assert _edges(drawing[top : top + 7, left : left + 7]) == (2, 2, 5, 5)
    assert drawing.sum() <= 5 * 9


def test_the_label_says_the_index_and_the_age() -> None:
    unread, young, old = (_draw(_face(age=age)) for age in (None, 9.6, 61.0))
    above = [(drawing[:100] != GREY).any(axis=2) for drawing in (unread, young, old)]
    widths = [_edges(label)[2] - _edges(label)[0] for label in above]
    assert widths[0] < widths[1]  # no age in the label without an age
    assert not np.array_equal(young, old)
    np.testing.assert_array_equal(young, _draw(_face(age=10.4)))  # whole years
    assert {_edges(label)[0] for label in above} == {140}
    assert {_edges(label)[3] for label in above} == {100}


@pytest.mark.parametrize(
    "box", [Box(140, 0, 80, 100), Box(380, 100, 40, 40), Box(-10, -5, 60, 60), Box(0, 280, 50, 50)]
)
def test_labels_stay_within_the_photo(box: Box) -> None:
    whole = np.count_nonzero((_draw(_face(age=34)) == 0).all(axis=2))  # letters in black
    assert np.count_nonzero((_draw(_face(box, age=34)) == 0).all(axis=2)) == whole > 0


def test_lines_grow_with_the_photo() -> None:
    box = Box(1000, 1000, 800, 800)
    drawing = _draw(_face(box, landmarks=POINTS), 4000, 3000)
    column = (drawing[1400, 990:1100] == BOX_COLOUR).all(axis=1)
    assert column.sum() == 15
    label = _edges((drawing[:1000] == BOX_COLOUR).all(axis=2))
    assert label[3] - label[1] > 60


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_photos_of_other_modes(mode: str) -> None:
    photo = Image.new("RGB", (400, 300), GREY).convert(mode)
    before = photo.tobytes()
    drawing = draw_faces(photo, [_face()])
    assert (drawing.mode, drawing.getpixel((140, 150))) == ("RGB", BOX_COLOUR)
    assert photo.tobytes() == before


def test_the_photo_itself_is_not_drawn_onto() -> None:
    photo = Image.new("RGB", (400, 300), GREY)
    draw_faces(photo, [_face()])
    assert photo.getpixel((140, 150)) == GREY
