"""Landmark refinement: points placed in an aligned view are brought back to the photo, with the pose that they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE, crop_matrix, warp_crop
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.graphs import Array
from dorian_bundle.landmark_refinement import refine_landmarks
from dorian_bundle.mesh import POINTS, alignment_landmarks, mean_mesh

VIEW = 32
TEMPLATE = DEFAULT_TEMPLATE.zoomed(0.8)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


@dataclass
class Seen:
    """A refiner that sees the mean face ``off`` its place in the template, by fractions of the view; and what it was shown."""

    off: tuple[float, float] = (0.0, 0.0)
    images: list[Array] = field(default_factory=list)

    def __call__(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        (image,) = feed.values()
        self.images.append(image)
        places = mean_mesh(np.asarray(TEMPLATE.landmarks)) + self.off
        points = np.broadcast_to(places, (len(image), POINTS, 2)).astype(np.float32)
        return {"landmarks": points, "visibility": np.linspace(0.9, 0.5, len(image), dtype=np.float32)}


def face(side: float, degrees: float = 0.0, middle: tuple[float, float] = (100.0, 80.0)) -> DetectedFace:
    """A face whose landmarks lie as in the template, in a view that covers ``side`` pixels of the photo, turned."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # The mean face's own, which the template's five points are a little off.
    places = alignment_landmarks(mean_mesh(np.asarray(TEMPLATE.landmarks)))
    landmarks = (places - 0.5) * side @ turn.T + middle
    return DetectedFace((1.0, 2.0, 3.0, 4.0), landmarks, 0.75)


@pytest.mark.parametrize(("side", "degrees"), [(32, 0), (80, 0), (64, 90), (50, -37)])
def test_landmarks_are_brought_back_from_the_view(side: float, degrees: float) -> None:
    run, result = Seen(off=(0.1, -0.05)), face(side, degrees)
    (refined,) = refine_landmarks(run, picture(200, 220), [result], TEMPLATE, VIEW)
    angle = np.deg2rad(degrees)
    shift = side * np.array([0.1 * np.cos(angle) + 0.05 * np.sin(angle), 0.1 * np.sin(angle) - 0.05 * np.cos(angle)])
    assert refined.landmarks == pytest.approx(result.landmarks + shift, abs=1e-3)
    assert (refined.box, refined.score) == (result.box, result.score)
    assert refined.mesh is not None
    assert refined.mesh.shape == (POINTS, 2)
    assert refined.landmarks == pytest.approx(alignment_landmarks(refined.mesh))
    assert refined.visibility == pytest.approx(0.9)
    assert refined.pose is not None
    assert (refined.pose.yaw, refined.pose.roll) == (pytest.approx(0, abs=0.1), pytest.approx(degrees, abs=0.1))


def test_landmarks_that_were_right_stay() -> None:
    (refined,) = refine_landmarks(Seen(), picture(200, 220), [face(60, 10)], TEMPLATE, VIEW)
    assert refined.landmarks == pytest.approx(face(60, 10).landmarks, abs=1e-3)


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
    eyes = np.subtract(*alignment_landmarks(mean_mesh(np.asarray(TEMPLATE.landmarks)))[:2])
    return float(np.linalg.norm(face.landmarks[0] - face.landmarks[1]) / np.linalg.norm(eyes))


def test_many_faces_are_seen_in_parts_and_keep_their_order() -> None:
    faces = [face(40 + index, index) for index in range(70)]
    run = Seen(off=(0.02, 0))
    refined = refine_landmarks(run, picture(200, 220), faces, TEMPLATE, VIEW)
    assert sum(len(images) for images in run.images) == 70
    assert max(len(images) for images in run.images) < 70
    assert [item.visibility for item in refined][:32] == pytest.approx(np.linspace(0.9, 0.5, 32).tolist(), abs=1e-6)
    for before, after in zip(faces, refined, strict=True):
        moved = np.linalg.norm(after.landmarks - before.landmarks, axis=1)
        assert moved == pytest.approx(np.full(5, 0.02 * view_of(before)), abs=2e-3)


def test_what_lies_outside_of_the_photo_is_not_visible() -> None:
    """Of a face whose middle is the photo's lower edge, the upper half is seen."""
    (refined,) = refine_landmarks(Seen(), picture(100, 220), [face(60, middle=(100.0, 99.5))], TEMPLATE, VIEW)
    assert refined.mesh is not None
    inside = (refined.mesh[:, 1] < 99.5).mean()
    assert 0.2 < inside < 0.8
    assert refined.visibility == pytest.approx(0.9 * inside, abs=1e-6)


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
