"""Photos that lie on their side or stand on their head: where a face is in the turned look, it is in the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.quarter_turns import find_upright_and_turned

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT = 90, 60


def marked(width: int, height: int, box: tuple[int, int, int, int]) -> Pixels:
    """A black photo with a white box."""
    x, y, w, h = box
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y : y + h, x : x + w] = 255
    return pixels


class Eyes:
    """Finds the white box of an image in some of its calls, counted from 1."""

    def __init__(self, *calls: int) -> None:
        self.calls, self.seen = calls, list[tuple[int, int]]()

    def __call__(self, pixels: Pixels) -> list[DetectedFace]:
        self.seen.append((pixels.shape[0], pixels.shape[1]))
        rows, columns = np.nonzero(pixels[:, :, 0] > 128)
        if not len(rows) or len(self.seen) not in self.calls:
            return []
        x, y, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        corners = np.array([(x, y), (right, y), ((x + right) / 2, (y + bottom) / 2), (x, bottom), (right, bottom)])
        return [DetectedFace((float(x), float(y), float(right - x), float(bottom - y)), corners - 0.5, 0.9)]


def sure(faces: Sequence[DetectedFace]) -> list[DetectedFace]:
    return [replace(face, visibility=0.9) for face in faces]


# Calls: the photo as it is, then turned twice, once and three times to the left.
@pytest.mark.parametrize(("call", "quarters"), [(2, 2), (3, 1), (4, 3)])
def test_a_face_of_a_turned_look_is_where_it_is_in_the_photo(call: int, quarters: int) -> None:
    box = (10, 20, 30, 12)
    (face,) = find_upright_and_turned(marked(WIDTH, HEIGHT, box), Eyes(call), sure)
    assert face.box == box
    x, y, w, h = box
    top_left = {1: (x + w, y), 2: (x + w, y + h), 3: (x, y + h)}[quarters]  # in the photo, of the face as it is upright
    assert face.landmarks[0] + 0.5 == pytest.approx(top_left)
    assert face.landmarks[2] + 0.5 == pytest.approx((x + w / 2, y + h / 2))


def test_a_large_photo_is_looked_at_smaller_and_its_faces_are_in_its_own_pixels() -> None:
    eyes, box = Eyes(3), (400, 200, 600, 240)
    (face,) = find_upright_and_turned(marked(1800, 1200, box), eyes, sure)
    assert eyes.seen == [(1200, 1800), (427, 640), (640, 427), (640, 427)]
    assert face.box == pytest.approx(box, abs=3)


def test_a_photo_whose_faces_are_confirmed_is_looked_at_once() -> None:
    eyes = Eyes(1, 2, 3, 4)
    assert len(find_upright_and_turned(marked(WIDTH, HEIGHT, (10, 20, 30, 12)), eyes, sure)) == 1
    assert len(eyes.seen) == 1


def test_a_face_that_stands_on_its_head_is_taken_the_right_way_round() -> None:
    """It is found both ways, but only confirmed the right way."""
    calls = []

    def refine(faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        calls.append(len(faces))
        return [replace(face, visibility=0.9 if len(calls) == 2 else 0.1) for face in faces]

    (face,) = find_upright_and_turned(marked(WIDTH, HEIGHT, (10, 20, 30, 12)), Eyes(1, 2, 3, 4), refine)
    assert face.visibility == 0.9
    assert face.landmarks[0, 1] > face.landmarks[3, 1], "its eyes are below its mouth"


def test_a_covered_face_stays_if_no_turn_shows_a_better_one() -> None:
    def refine(faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        return [replace(face, visibility=0.2) for face in faces]

    (face,) = find_upright_and_turned(marked(WIDTH, HEIGHT, (10, 20, 30, 12)), Eyes(1, 2, 3, 4), refine)
    assert face.landmarks[0, 1] < face.landmarks[3, 1]


def test_a_photo_without_a_face_has_none_whichever_way_up() -> None:
    eyes = Eyes(1, 2, 3, 4)
    assert find_upright_and_turned(np.zeros((HEIGHT, WIDTH, 3), np.uint8), eyes, sure) == []
    assert len(eyes.seen) == 4
