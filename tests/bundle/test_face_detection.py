"""Finding faces: what cells say in closed form, and where it lies in the photo, whatever was done to the photo before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.face_detection import (
    CLOSE_UP_SIDE,
    MAX_OVERLAP,
    MAX_SIDE,
    MIN_SIDE,
    decode_outputs,
    find_faces,
    make_looks,
    suppress_overlaps,
)
from dorian_bundle.face_readers import DETECTOR_OUTPUTS, DETECTOR_STRIDES

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
# A face's landmarks as fractions of its box.
PLACES = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])


@dataclass
class Planted:
    """A detector that finds what is planted: faces by the longest side of the picture that it is shown.

    A face is x, y, width, height in pixels of that picture, a score, and the stride of the cells that tell of it.
    """

    faces: Mapping[int, Sequence[tuple[tuple[float, float, float, float], float, int]]]
    seen: list[Array] = field(default_factory=list)

    def __call__(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        (image,) = feed.values()
        self.seen.append(image)
        _, _, height, width = image.shape
        outputs: dict[str, Array] = {}
        for stride in DETECTOR_STRIDES:
            outputs |= empty_outputs(stride, (height // stride) * (width // stride))
        for box, score, stride in self.faces.get(max(height, width), ()):
            plant(outputs, stride, (height // stride, width // stride), box, score)
        return outputs


def empty_outputs(stride: int, cells: int) -> dict[str, Array]:
    """What is said of cells in which nothing is found: nonsense of where it is."""
    rng = np.random.default_rng(0)
    outputs = {
        kind: rng.normal(0, 3, (1, cells, numbers)).astype(np.float32) for kind, numbers in DETECTOR_OUTPUTS.items()
    }
    outputs["cls"][:], outputs["obj"][:] = 0.9, 0.01
    return {f"{kind}_{stride}": values for kind, values in outputs.items()}


def plant(
    outputs: Mapping[str, Array],
    stride: int,
    shape: tuple[int, int],
    box: tuple[float, float, float, float],
    score: float,
) -> None:
    """Write ``box``, with its landmarks, into the cell in which its centre lies, of as many rows and columns as ``shape``."""
    x, y, width, height = box
    middle = np.array([x + width / 2, y + height / 2]) / stride
    column, row = np.clip(middle.astype(int), 0, (shape[1] - 1, shape[0] - 1))
    corner, cell = np.array([column, row]), row * shape[1] + column
    outputs[f"cls_{stride}"][0, cell] = score
    outputs[f"obj_{stride}"][0, cell] = score
    outputs[f"bbox_{stride}"][0, cell] = [*(middle - corner), *np.log(np.array([width, height]) / stride)]
    outputs[f"kps_{stride}"][0, cell] = ((PLACES * (width, height) + (x, y)) / stride - corner).ravel()


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def boxes(*rows: Sequence[float]) -> Floats:
    return np.asarray(rows, dtype=np.float64)


# --- the cells of one stride ---


def cells_of(*rows: Sequence[float]) -> dict[str, Array]:
    """Outputs at a stride of 16, a row for each cell: class, objectness, box, landmarks."""
    values = np.asarray(rows, dtype=np.float32)[None]
    starts = np.cumsum([0, *DETECTOR_OUTPUTS.values()])
    return {
        f"{kind}_16": values[:, :, start : start + n]
        for (kind, n), start in zip(DETECTOR_OUTPUTS.items(), starts, strict=False)
    }


def test_a_cell_is_read_from_its_corner_in_strides() -> None:
    offsets = np.arange(10) / 4 - 1
    nothing, something = [0.0] * 16, [0.5, 0.72, 0.25, -0.5, np.log(3), np.log(2), *offsets]
    result = decode_outputs(cells_of(*[nothing] * 17, something), 16, 6, 0.5)  # row 2, column 5
    x, y = 16 * 5, 16 * 2
    assert result.scores == pytest.approx([0.6])
    assert result.boxes[0] == pytest.approx([x + 4 - 24, y - 8 - 16, 48, 32], rel=1e-6)
    assert result.landmarks[0] == pytest.approx(np.array([x, y]) + 16 * offsets.reshape(5, 2), rel=1e-6)


def test_a_score_is_the_geometric_mean_of_two_probabilities_and_counts_from_the_least_on() -> None:
    pairs = [(0.25, 1), (0.5, 0.5), (1, 0.5625), (0.4999, 0.5), (1.5, 0.49), (-1, -1)]
    cells = cells_of(*[[*pair, *[0.0] * 14] for pair in pairs])
    assert decode_outputs(cells, 16, 2, 0.5).scores == pytest.approx([0.5, 0.5, 0.75, 0.7])
    nothing = decode_outputs(cells, 16, 2, 0.9)
    assert (nothing.boxes.shape, nothing.landmarks.shape, nothing.scores.shape) == ((0, 4), (0, 5, 2), (0,))


def test_a_size_that_would_overflow_is_held_back() -> None:
    result = decode_outputs(cells_of([1, 1, 0, 0, 900, -900, *[0.0] * 10]), 16, 1, 0.5)
    assert result.boxes[0, 2:] == pytest.approx([16 * np.exp(6), 16 * np.exp(-6)])


def test_scaling_keeps_the_centres_of_pixels() -> None:
    """Pixel 0 of a picture four times as small covers pixels 0 to 3, whose middle is 1.5; edges are at 0 in both."""
    result = decode_outputs(cells_of([1, 1, 0.5, 0.5, 0, 0, *[0.0] * 10]), 16, 1, 0.5).scaled(np.array([4.0, 2.0]))
    assert result.landmarks[0] == pytest.approx(np.tile([1.5, 0.5], (5, 1)))
    assert result.boxes[0] == pytest.approx([0, 0, 64, 32])


# --- overlaps ---


def test_the_best_of_overlapping_boxes_is_kept_first() -> None:
    rows = boxes((0, 0, 10, 10), (1, 0, 10, 10), (100, 0, 10, 10), (0, 1, 10, 10))
    assert suppress_overlaps(rows, np.array([0.6, 0.9, 0.95, 0.7])).tolist() == [2, 1]


def test_boxes_are_one_face_beyond_the_largest_overlap() -> None:
    """Boxes of side 100 that are ``d`` apart share (100 - d) / (100 + d) of their union."""
    apart = 100 * (1 - MAX_OVERLAP) / (1 + MAX_OVERLAP)
    scores = np.array([0.9, 0.8])
    assert suppress_overlaps(boxes((0, 0, 100, 100), (apart - 0.1, 0, 100, 100)), scores).tolist() == [0]
    assert suppress_overlaps(boxes((0, 0, 100, 100), (apart + 0.1, 0, 100, 100)), scores).tolist() == [0, 1]


def test_a_suppressed_box_suppresses_nothing() -> None:
    row = boxes((0, 0, 100, 100), (45, 0, 100, 100), (90, 0, 100, 100))
    assert suppress_overlaps(row, np.array([0.9, 0.8, 0.7])).tolist() == [0, 2]


def test_of_equal_scores_the_first_stays() -> None:
    assert suppress_overlaps(boxes((0, 0, 9, 9), (1, 1, 9, 9)), np.array([0.5, 0.5])).tolist() == [0]
    assert suppress_overlaps(np.empty((0, 4)), np.empty(0)).tolist() == []


def test_only_so_many_are_compared() -> None:
    """A picture made to have a face in every cell costs no more than one with 5,000 of them."""
    row = boxes(*((20.0 * index, 0, 10, 10) for index in range(6000)))
    assert suppress_overlaps(row, np.linspace(0.8, 0.9, 6000)).tolist() == list(range(5999, 999, -1))


# --- a photo ---


def test_a_small_photo_is_seen_once_padded_to_multiples_of_32() -> None:
    run = Planted({})
    pixels = np.random.default_rng(1).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    assert find_faces(run, pixels, 0.5) == []
    (seen,) = run.seen
    assert (seen.shape, seen.dtype) == ((1, 3, 96, 128), np.float32)
    assert seen[0, :, :70, :100] == pytest.approx(pixels.transpose(2, 0, 1) / 255, abs=1e-6)
    assert not seen[0, :, 70:].any()
    assert not seen[0, :, :, 100:].any()


@pytest.mark.parametrize(
    ("size", "look", "seen"),
    [
        ((128, 64), 1920, [(128, 64)]),
        ((320, 64), 1920, [(320, 64)]),
        ((64, 321), 1920, [(64, 352), (64, 320)]),
        ((480, 640), 1920, [(480, 640), (256, 320)]),
        ((1920, 960), 1920, [(1920, 960), (640, 320), (320, 160)]),
        ((1920, 960), 1000, [(1024, 512), (640, 320), (320, 160)]),
        ((1920, 960), 640, [(640, 320), (320, 160)]),
        ((1000, 3840), 1920, [(512, 1920), (192, 640), (96, 320)]),
        ((3, 700), 1920, [(32, 704), (32, 640), (32, 320)]),
    ],
)
def test_larger_photos_are_looked_at_again_and_again(
    size: tuple[int, int], look: int, seen: list[tuple[int, int]]
) -> None:
    run = Planted({})
    find_faces(run, picture(*size), 0.5, look)
    assert [image.shape[2:] for image in run.seen] == seen
    assert (MAX_SIDE, MIN_SIDE, CLOSE_UP_SIDE) == (1920, 640, 320)


def test_each_look_is_made_from_the_one_before() -> None:
    """Where a photo is ten times as large as its last look, averaging it once would give another picture than in three steps."""
    pixels = np.random.default_rng(3).integers(0, 256, (2400, 1600, 3), dtype=np.uint8)
    first, second, third = make_looks(pixels)
    assert [look.shape[:2] for look in (first, second, third)] == [(1920, 1280), (640, 427), (320, 213)]
    assert np.array_equal(second, cv2.resize(first, (427, 640), interpolation=cv2.INTER_AREA))
    assert np.array_equal(third, cv2.resize(second, (213, 320), interpolation=cv2.INTER_AREA))
    (same,) = make_looks(pixels[:300, :200])
    assert np.array_equal(same, pixels[:300, :200])


@pytest.mark.parametrize("stride", DETECTOR_STRIDES)
def test_a_face_is_found_where_it_is(stride: int) -> None:
    run = Planted({224: [((60.5, 41.0, 50.0, 62.0), 0.875, stride)]})
    (face,) = find_faces(run, picture(160, 224), 0.5)
    assert face.box == pytest.approx((60.5, 41.0, 50.0, 62.0), rel=1e-5)
    assert face.landmarks == pytest.approx(PLACES * (50.0, 62.0) + (60.5, 41.0), rel=1e-5)
    assert face.score == 0.875


def test_what_is_found_on_the_reduced_photo_is_scaled_back() -> None:
    run = Planted({320: [((80.0, 40.0, 140.0, 170.0), 0.9, 32)]})
    (face,) = find_faces(run, picture(960, 1280), 0.5)
    assert face.box == pytest.approx((320.0, 160.0, 560.0, 680.0), rel=1e-5)
    reduced = PLACES * (140.0, 170.0) + (80.0, 40.0)
    assert face.landmarks == pytest.approx((reduced + 0.5) * 4 - 0.5, rel=1e-5)


def test_a_photo_beyond_the_longest_side_is_found_in_its_own_pixels() -> None:
    run = Planted({1920: [((960.0, 480.0, 96.0, 112.0), 0.9, 16)]})
    (face,) = find_faces(run, picture(1200, 2400), 0.5)
    assert face.box == pytest.approx((1200.0, 600.0, 120.0, 140.0), rel=1e-5)


def test_what_two_looks_find_is_one_face() -> None:
    run = Planted(
        {
            1280: [((200.0, 200.0, 120.0, 140.0), 0.7, 16), ((800.0, 600.0, 24.0, 24.0), 0.6, 8)],
            640: [((101.0, 101.0, 59.0, 70.0), 0.8, 8)],
        }
    )
    result = find_faces(run, picture(1280, 1280), 0.5)
    assert [face.score for face in result] == pytest.approx([0.8, 0.6])  # the better of the two, and the other face


@pytest.mark.parametrize(("side", "count"), [(155.0, 0), (165.0, 1)])
def test_the_last_look_is_for_faces_of_half_the_frame(side: float, count: int) -> None:
    """Smaller ones are placed better where the photo is larger; a photo that is no larger is seen once, for all of them."""
    planted = {320: [((60.0, 60.0, 0.8 * side, side), 0.9, 32)]}
    assert len(find_faces(Planted(planted), picture(640, 640), 0.5)) == count
    assert len(find_faces(Planted(planted), picture(320, 320), 0.5)) == 1


def test_the_largest_face_comes_first() -> None:
    run = Planted(
        {256: [((10, 10, 30, 30), 0.9, 8), ((100, 10, 90, 90), 0.6, 16), ((20, 120, 50, 50), 0.7, 16)]},
    )
    assert [face.box[2] for face in find_faces(run, picture(256, 256), 0.5)] == pytest.approx([90, 50, 30])
    assert [face.box[2] for face in find_faces(run, picture(256, 256), 0.65)] == pytest.approx([50, 30])


def test_boxes_end_at_the_frame_and_landmarks_do_not() -> None:
    run = Planted({128: [((-20.0, 60.0, 60.0, 60.0), 0.9, 16)]})
    (face,) = find_faces(run, picture(100, 128), 0.5)
    assert face.box == pytest.approx((0.0, 60.0, 40.0, 40.0), abs=1e-4)
    assert face.landmarks[0] == pytest.approx([-2.0, 84.0], rel=1e-5)
    assert face.landmarks[3, 1] == pytest.approx(108.0)


def test_what_lies_in_the_padding_alone_is_no_face() -> None:
    run = Planted({128: [((104.0, 10.0, 20.0, 20.0), 0.9, 8)]})
    assert find_faces(run, picture(96, 100), 0.5) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_photos_of_a_pixel_or_a_line(size: tuple[int, int]) -> None:
    run = Planted({})
    assert find_faces(run, picture(*size), 0.5) == []
    assert all(side % 32 == 0 and side > 0 for image in run.seen for side in image.shape[2:])


def test_pixels_are_only_read() -> None:
    pixels = picture(64, 400)
    pixels.setflags(write=False)
    find_faces(Planted({}), pixels[:, ::-1], 0.5)  # not contiguous, either
    assert (pixels == 128).all()


def test_reduced_photos_are_averaged() -> None:
    """A checkerboard of single pixels is grey from afar; every other pixel of it would be black or white."""
    board = np.indices((640, 640)).sum(axis=0) % 2 * np.uint8(254)
    run = Planted({})
    find_faces(run, np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8), 0.5)
    assert run.seen[1] == pytest.approx(127 / 255, abs=0.003)
