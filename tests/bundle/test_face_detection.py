"""Finding faces: what maps say in closed form, and where it lies in the photo, whatever was done to the photo before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE, crop_matrix, warp_crop
from dorian_bundle.face_detection import (
    MAX_SIDE,
    MIN_CONTAINED,
    MIN_OVERLAP,
    REDUCED_SIDES,
    DetectedFace,
    decode_map,
    find_faces,
    refine_landmarks,
    suppress_overlaps,
)
from dorian_bundle.face_readers import DETECTOR_CHANNELS, DETECTOR_STRIDES

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
# A face's landmarks as fractions of its box.
PLACES = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])


@dataclass
class Planted:
    """A detector that finds what is planted: faces by the longest side of the picture that it is shown.

    A face is x, y, width, height in pixels of that picture, a score, and the stride of the map that tells of it.
    """

    faces: Mapping[int, Sequence[tuple[tuple[float, float, float, float], float, int]]]
    seen: list[Array] = field(default_factory=list)

    def __call__(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        (image,) = feed.values()
        self.seen.append(image)
        _, _, height, width = image.shape
        maps = {stride: empty_map(height // stride, width // stride) for stride in DETECTOR_STRIDES}
        for box, score, stride in self.faces.get(max(height, width), ()):
            plant(maps[stride], stride, box, score)
        return {f"map_{stride}": level[None] for stride, level in maps.items()}


def empty_map(rows: int, columns: int) -> Array:
    """A map that finds nothing, and says nonsense of where it is."""
    level = np.random.default_rng(0).normal(0, 3, (DETECTOR_CHANNELS, rows, columns)).astype(np.float32)
    level[0] = 0.01
    return level


def plant(level: Array, stride: int, box: tuple[float, float, float, float], score: float) -> None:
    """Write ``box``, with its landmarks, into the cell in which its centre lies."""
    x, y, width, height = box
    middle = np.array([x + width / 2, y + height / 2]) / stride
    column, row = np.clip(middle.astype(int), 0, (level.shape[2] - 1, level.shape[1] - 1))
    centre = np.array([column + 0.5, row + 0.5])
    landmarks = (PLACES * (width, height) + (x, y)) / stride - centre
    values = [score, *(middle - centre), *np.log(np.array([width, height]) / stride), *landmarks.ravel()]
    level[:, row, column] = np.asarray(values, dtype=np.float32)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def boxes(*rows: Sequence[float]) -> Floats:
    return np.asarray(rows, dtype=np.float64)


# --- one map ---


def test_a_cell_is_read_from_its_centre_in_strides() -> None:
    level = empty_map(4, 6)
    offsets = np.arange(10) / 4 - 1
    level[:, 2, 5] = [0.75, 0.25, -0.5, np.log(3), np.log(2), *offsets]
    result = decode_map(level, 16, 0.5)
    x, y = 16 * 5.5, 16 * 2.5
    assert result.scores.tolist() == [0.75]
    assert result.boxes[0] == pytest.approx([x + 4 - 24, y - 8 - 16, 48, 32], rel=1e-6)
    assert result.landmarks[0] == pytest.approx(np.array([x, y]) + 16 * offsets.reshape(5, 2), rel=1e-6)


def test_a_score_counts_from_the_least_on() -> None:
    level = np.zeros((DETECTOR_CHANNELS, 2, 2), dtype=np.float32)
    level[0] = [[0.25, 0.5], [0.75, 0.4999]]
    assert sorted(decode_map(level, 8, 0.5).scores.tolist()) == [0.5, 0.75]
    nothing = decode_map(level, 8, 0.9)
    assert (nothing.boxes.shape, nothing.landmarks.shape, nothing.scores.shape) == ((0, 4), (0, 5, 2), (0,))


def test_a_size_that_would_overflow_is_held_back() -> None:
    level = np.zeros((DETECTOR_CHANNELS, 1, 1), dtype=np.float32)
    level[0], level[3], level[4] = 1, 900, -900
    assert decode_map(level, 8, 0.5).boxes[0, 2:] == pytest.approx([8 * np.exp(6), 8 * np.exp(-6)])


def test_scaling_keeps_the_centres_of_pixels() -> None:
    """Pixel 0 of a picture four times as small covers pixels 0 to 3, whose middle is 1.5; edges are at 0 in both."""
    level = np.zeros((DETECTOR_CHANNELS, 1, 1), dtype=np.float32)
    level[0], level[5:] = 1, -0.5  # landmarks at (0, 0)
    level[3:5] = np.log(0.5)
    result = decode_map(level, 8, 0.5).scaled(4)
    assert result.landmarks[0] == pytest.approx(np.full((5, 2), 1.5))
    assert result.boxes[0] == pytest.approx([8, 8, 16, 16], rel=1e-6)


# --- overlaps ---


def test_the_best_of_overlapping_boxes_is_kept_first() -> None:
    rows = boxes((0, 0, 10, 10), (1, 0, 10, 10), (100, 0, 10, 10), (0, 1, 10, 10))
    assert suppress_overlaps(rows, np.array([0.6, 0.9, 0.95, 0.7])).tolist() == [2, 1]


def test_boxes_are_one_face_from_the_least_overlap_on() -> None:
    """Boxes of side 100 that are ``d`` apart share (100 - d) / (100 + d) of their union."""
    apart = 100 * (1 - MIN_OVERLAP) / (1 + MIN_OVERLAP)
    scores = np.array([0.9, 0.8])
    assert suppress_overlaps(boxes((0, 0, 100, 100), (apart - 0.1, 0, 100, 100)), scores).tolist() == [0]
    assert suppress_overlaps(boxes((0, 0, 100, 100), (apart + 0.1, 0, 100, 100)), scores).tolist() == [0, 1]


@pytest.mark.parametrize("larger_is_better", [True, False])
def test_a_box_in_another_is_the_same_face(larger_is_better: bool) -> None:
    scores = np.array([0.9, 0.8] if larger_is_better else [0.8, 0.9])
    outside = 40 * (1 - MIN_CONTAINED)
    within = boxes((0, 0, 100, 100), (-outside + 0.1, 30, 40, 40))
    beside = boxes((0, 0, 100, 100), (-outside - 0.1, 30, 40, 40))
    assert suppress_overlaps(within, scores).tolist() == [0 if larger_is_better else 1]
    assert sorted(suppress_overlaps(beside, scores).tolist()) == [0, 1]


def test_a_suppressed_box_suppresses_nothing() -> None:
    row = boxes((0, 0, 100, 100), (35, 0, 100, 100), (70, 0, 100, 100))
    assert suppress_overlaps(row, np.array([0.9, 0.8, 0.7])).tolist() == [0, 2]


def test_of_equal_scores_the_first_stays() -> None:
    assert suppress_overlaps(boxes((0, 0, 9, 9), (1, 1, 9, 9)), np.array([0.5, 0.5])).tolist() == [0]
    assert suppress_overlaps(np.empty((0, 4)), np.empty(0)).tolist() == []


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
    ("size", "seen"),
    [
        ((128, 64), [(128, 64)]),
        ((320, 64), [(320, 64), (128, 32)]),
        ((64, 321), [(64, 352), (64, 320), (32, 128)]),
        ((480, 640), [(480, 640), (256, 320), (96, 128)]),
        ((1920, 960), [(1920, 960), (320, 160), (128, 64)]),
        ((1000, 3840), [(512, 1920), (96, 320), (64, 128)]),
        ((3, 700), [(32, 704), (32, 320), (32, 128)]),
    ],
)
def test_larger_photos_are_looked_at_again_and_again(size: tuple[int, int], seen: list[tuple[int, int]]) -> None:
    run = Planted({})
    find_faces(run, picture(*size), 0.5)
    assert [image.shape[2:] for image in run.seen] == seen
    assert (MAX_SIDE, *REDUCED_SIDES) == (1920, 320, 128)


@pytest.mark.parametrize("stride", DETECTOR_STRIDES)
def test_a_face_is_found_where_it_is(stride: int) -> None:
    run = Planted({224: [((60.5, 41.0, 50.0, 62.0), 0.875, stride)]})
    (face,) = find_faces(run, picture(160, 224), 0.5)
    assert face.box == pytest.approx((60.5, 41.0, 50.0, 62.0), rel=1e-5)
    assert face.landmarks == pytest.approx(PLACES * (50.0, 62.0) + (60.5, 41.0), rel=1e-5)
    assert face.score == 0.875


def test_what_is_found_on_the_reduced_photo_is_scaled_back() -> None:
    run = Planted({320: [((80.0, 40.0, 100.0, 120.0), 0.9, 32)]})
    (face,) = find_faces(run, picture(960, 1280), 0.5)
    assert face.box == pytest.approx((320.0, 160.0, 400.0, 480.0), rel=1e-5)
    reduced = PLACES * (100.0, 120.0) + (80.0, 40.0)
    assert face.landmarks == pytest.approx((reduced + 0.5) * 4 - 0.5, rel=1e-5)


def test_a_photo_beyond_the_longest_side_is_found_in_its_own_pixels() -> None:
    run = Planted({1920: [((960.0, 480.0, 96.0, 112.0), 0.9, 16)]})
    (face,) = find_faces(run, picture(1200, 2400), 0.5)
    assert face.box == pytest.approx((1200.0, 600.0, 120.0, 140.0), rel=1e-5)


def test_what_both_looks_find_is_one_face() -> None:
    run = Planted(
        {
            640: [((100.0, 100.0, 60.0, 70.0), 0.7, 16), ((400.0, 300.0, 24.0, 24.0), 0.6, 8)],
            320: [((50.5, 50.5, 29.5, 35.0), 0.8, 8)],
        }
    )
    result = find_faces(run, picture(640, 640), 0.5)
    assert [face.score for face in result] == pytest.approx([0.8, 0.6])  # the better of the two, and the other face


def test_the_largest_face_comes_first() -> None:
    run = Planted(
        {256: [((10, 10, 30, 30), 0.9, 8), ((100, 10, 90, 90), 0.6, 16), ((20, 120, 50, 50), 0.7, 16)]},
    )
    assert [face.box[2] for face in find_faces(run, picture(256, 256), 0.5)] == pytest.approx([90, 50, 30])
    assert [face.box[2] for face in find_faces(run, picture(256, 256), 0.65)] == pytest.approx([50, 30])


@pytest.mark.parametrize(("side", "needed"), [(12, 0.8), (20, 0.8), (31, 0.7), (42, 0.6), (64, 0.4), (80, 0.4)])
def test_the_smaller_a_face_the_surer_it_must_be(side: float, needed: float) -> None:
    for score, count in ((needed - 0.01, 0), (needed + 0.01, 1)):
        run = Planted({256: [((100, 100, side * 0.8, side), score, 8)]})
        assert len(find_faces(run, picture(256, 256), 0.4, 0.8)) == count


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


# --- a second look at landmarks ---

VIEW = 32
TEMPLATE = DEFAULT_TEMPLATE.zoomed(0.8)


@dataclass
class Seen:
    """A refiner that sees every landmark ``off`` its place in the template, by fractions of the view; and what it was shown."""

    off: tuple[float, float] = (0.0, 0.0)
    images: list[Array] = field(default_factory=list)

    def __call__(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        (image,) = feed.values()
        self.images.append(image)
        places = np.asarray(TEMPLATE.landmarks) + self.off
        return {"landmarks": np.broadcast_to(places, (len(image), 5, 2)).astype(np.float32)}


def face(side: float, degrees: float = 0.0, middle: tuple[float, float] = (100.0, 80.0)) -> DetectedFace:
    """A face whose landmarks lie as in the template, in a view that covers ``side`` pixels of the photo, turned."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (np.asarray(TEMPLATE.landmarks) - 0.5) * side @ turn.T + middle
    return DetectedFace((1.0, 2.0, 3.0, 4.0), landmarks, 0.75)


@pytest.mark.parametrize(("side", "degrees"), [(32, 0), (80, 0), (64, 90), (50, -37)])
def test_landmarks_are_brought_back_from_the_view(side: float, degrees: float) -> None:
    run, result = Seen(off=(0.1, -0.05)), face(side, degrees)
    (refined,) = refine_landmarks(run, picture(200, 220), [result], TEMPLATE, VIEW)
    angle = np.deg2rad(degrees)
    shift = side * np.array([0.1 * np.cos(angle) + 0.05 * np.sin(angle), 0.1 * np.sin(angle) - 0.05 * np.cos(angle)])
    assert refined.landmarks == pytest.approx(result.landmarks + shift, abs=1e-3)
    assert (refined.box, refined.score) == (result.box, result.score)


def test_landmarks_that_were_right_stay() -> None:
    (refined,) = refine_landmarks(Seen(), picture(200, 220), [face(60, 10)], TEMPLATE, VIEW)
    assert refined.landmarks == pytest.approx(face(60, 10).landmarks, abs=1e-4)


def test_a_view_is_the_photo_aligned_to_the_template() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 220, 3), dtype=np.uint8)
    run, faces = Seen(), [face(60, 10), face(90, 0, (50, 50))]
    refine_landmarks(run, pixels, faces, TEMPLATE, VIEW)
    (images,) = run.images
    assert (images.shape, images.dtype) == ((2, 3, VIEW, VIEW), np.float32)
    for image, item in zip(images, faces, strict=True):
        view = warp_crop(pixels, crop_matrix(item.landmarks, TEMPLATE, VIEW), VIEW)
        assert image.transpose(1, 2, 0) == pytest.approx(view / 255, abs=1e-6)


def view_of(face: DetectedFace) -> float:
    """Pixels of the photo that the face's view covers."""
    eyes = np.subtract(*np.asarray(TEMPLATE.landmarks)[:2])
    return float(np.linalg.norm(face.landmarks[0] - face.landmarks[1]) / np.linalg.norm(eyes))


def test_many_faces_are_seen_in_parts_and_keep_their_order() -> None:
    faces = [face(40 + index, index) for index in range(70)]
    run = Seen(off=(0.02, 0))
    refined = refine_landmarks(run, picture(200, 220), faces, TEMPLATE, VIEW)
    assert sum(len(images) for images in run.images) == 70
    assert max(len(images) for images in run.images) < 70
    for before, after in zip(faces, refined, strict=True):
        moved = np.linalg.norm(after.landmarks - before.landmarks, axis=1)
        assert moved == pytest.approx(np.full(5, 0.02 * view_of(before)), abs=1e-3)


def test_faces_whose_landmarks_coincide_keep_them() -> None:
    lost = DetectedFace((0, 0, 9, 9), np.full((5, 2), 7.0), 0.9)
    run = Seen(off=(0.1, 0))
    first, second = refine_landmarks(run, picture(200, 220), [lost, face(60)], TEMPLATE, VIEW)
    assert first is lost
    assert not np.allclose(second.landmarks, face(60).landmarks)
    assert [len(images) for images in run.images] == [1]


def test_without_faces_nothing_is_run() -> None:
    run = Seen()
    assert refine_landmarks(run, picture(64, 64), [], TEMPLATE, VIEW) == []
    assert run.images == []
