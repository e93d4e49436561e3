"""Detections against annotated faces: overlap, clipping, matching, false detections, landmarks, and the compared detectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dorian_bundle.boxes import iou
from dorian_evaluation.faces.detector_metrics import time_metrics
from dorian_evaluation.faces.detectors import YUNET_SCORE, cascade_detector, network_detector, yunet_detector
from dorian_evaluation.faces.image_sets import make_image_set, spread, tile_images
from dorian_evaluation.faces.matching import (
    Annotations,
    Detections,
    assign_detections,
    clip_boxes,
    landmark_errors,
    match_detections,
    summarise_matches,
)
from dorian_training.errors import DataError

EYES_50_APART = np.array([[25.0, 30], [75, 30], [50, 50], [30, 70], [70, 70]])


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.asarray(rows, dtype=np.float64).reshape(-1, 4)


def detections(*rows: tuple[float, float, float, float], landmarks: np.ndarray | None = None) -> Detections:
    return Detections(boxes(*rows), np.ones(len(rows)), landmarks)


def annotations(
    *rows: tuple[float, float, float, float], ignored: np.ndarray | None = None, side: int = 200
) -> Annotations:
    landmarks = np.tile(EYES_50_APART, (len(rows), 1, 1))
    return Annotations(side, side, boxes(*rows), landmarks, boxes() if ignored is None else ignored)


def test_overlap_is_intersection_over_union() -> None:
    overlap = iou(boxes((0, 0, 10, 10)), boxes((0, 0, 10, 10), (5, 0, 10, 10), (20, 20, 5, 5), (0, 0, 0, 0)))
    assert overlap == pytest.approx(np.array([[1, 1 / 3, 0, 0]]))


def test_boxes_are_cut_to_the_picture() -> None:
    cut = clip_boxes(boxes((-10, -20, 30, 40), (90, 95, 30, 40), (300, 300, 5, 5)), 100, 110)
    assert cut.tolist() == [[0, 0, 20, 20], [90, 95, 10, 15], [100, 110, 0, 0]]
    result = match_detections(
        detections((0, 0, 50, 80)), annotations((-50, -20, 100, 100))
    )  # IoU 0.4 of the whole, 1 of what shows
    assert result.is_hit.tolist() == [True]
    assert result.sides.tolist() == [80]  # what shows of the longer side


def test_each_face_takes_one_finding_and_the_closest_pairs_first() -> None:
    assert assign_detections(np.array([[0.6, 0.9], [0.55, 0.8]])).tolist() == [1, 0]
    assert assign_detections(np.array([[0.6], [0.7]])).tolist() == [-1, 0]
    assert assign_detections(np.array([[0.49]])).tolist() == [-1]
    assert assign_detections(np.zeros((2, 0))).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("finding", "false"),
    [
        ((0, 0, 100, 100), 0),
        ((10, 10, 20, 20), 1),  # a nose is no face
        ((52, 0, 100, 100), 1),  # IoU 0.316, but its centre lies beside the face
        ((48, 0, 100, 100), 0),  # IoU 0.351, no hit, yet not false
        ((150, 150, 40, 40), 0),  # the ignored box
        ((150, 20, 40, 40), 1),
    ],
)
def test_a_finding_is_false_unless_it_is_near_something_known(
    finding: tuple[float, float, float, float], false: int
) -> None:
    annotated = annotations((0, 0, 100, 100), ignored=boxes((150, 150, 40, 40)))
    assert match_detections(detections(finding), annotated).false_count == false


def test_landmark_errors_are_shares_of_the_distance_between_the_eyes() -> None:
    shifted = EYES_50_APART + np.array([3, 4])
    assert landmark_errors(shifted[None], EYES_50_APART[None]) == pytest.approx([10])
    result = match_detections(
        detections((0, 0, 100, 100), landmarks=shifted[None]), annotations((0, 0, 100, 100), (100, 100, 90, 90))
    )
    assert result.landmark_errors == pytest.approx([10, np.nan], nan_ok=True)
    assert np.isnan(match_detections(detections((0, 0, 100, 100)), annotations((0, 0, 100, 100))).landmark_errors).all()


def test_a_summary_by_size() -> None:
    near = EYES_50_APART[None] + np.array([5, 0])
    results = [
        match_detections(detections((0, 0, 100, 100), landmarks=near), annotations((0, 0, 100, 100), (100, 0, 39, 39))),
        match_detections(
            detections((0, 0, 30, 30), (150, 150, 30, 30)),
            annotations((0, 0, 30, 30), (100, 0, 40, 20), (50, 50, 19, 19)),
        ),
    ]
    assert summarise_matches(results) == {
        "recall": {"20-40": 0.5, "40+": 0.5},  # 30 px of 30 and 39; 100 of 100 and 40; 19 px counts nowhere
        "false_per_100": 50.0,
        "landmark_error": 10.0,
    }
    nothing = summarise_matches([match_detections(detections(), annotations())])
    assert nothing == {"recall": {"20-40": None, "40+": None}, "false_per_100": 0.0, "landmark_error": None}


def test_the_bundles_detector_is_decoded() -> None:
    level = np.zeros((1, 15, 4, 4), dtype=np.float32)
    level[0, 0, 1, 1] = 0.9
    level[0, 3:5, 1, 1] = np.log(2)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert inputs["image"].shape == (1, 3, 128, 128)
        return {"map_8": level[:, :, :1, :1], "map_16": level[:, :, :1, :1], "map_32": level}

    pixels = np.zeros((100, 120, 3), dtype=np.uint8)
    (box,) = network_detector(run, (0.5, 0.5))(pixels).boxes
    assert box == pytest.approx([16, 16, 64, 64])
    assert len(network_detector(run, (0.95, 0.95))(pixels).from_score(0).boxes) == 0
    moved = network_detector(
        run, (0.5, 0.5), lambda _, faces: [replace(face, landmarks=np.ones((5, 2))) for face in faces]
    )
    assert (moved(pixels).landmarks == np.ones((1, 5, 2))).all()


def test_yunet_sees_the_picture_at_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    class Network:
        size = (0, 0)

        def setInputSize(self, size: tuple[int, int]) -> None:
            self.size = size

        def detect(self, pixels: np.ndarray) -> tuple[int, np.ndarray | None]:
            row = [1, 2, *self.size, *range(10), 0.7]
            return (1, np.array([row], dtype=np.float32)) if pixels[0, 0, 2] == 255 else (0, None)  # BGR

    class Maker:
        @staticmethod
        def create(*arguments: Any) -> Network:
            assert arguments[3] == YUNET_SCORE
            return Network()

    monkeypatch.setattr(cv2, "FaceDetectorYN", Maker)
    find = yunet_detector(Path("yunet.onnx"))
    red = np.full((30, 40, 3), (255, 0, 0), dtype=np.uint8)
    recorded = find(red)
    assert recorded.boxes.tolist() == [[1, 2, 40, 30]]
    assert recorded.scores == pytest.approx([0.7])
    assert recorded.landmarks is not None
    assert recorded.landmarks[0, 4].tolist() == [8, 9]
    assert len(find(red[:, :, ::-1].copy()).boxes) == 0


def test_what_is_no_yunet(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(DataError, match=r"text\.onnx is not a face detector"):
        yunet_detector(tmp_path / "text.onnx")


def test_the_cascade_gives_boxes_alone() -> None:
    recorded = cascade_detector()(np.zeros((60, 60, 3), dtype=np.uint8))
    assert recorded.boxes.shape == (0, 4)
    assert recorded.landmarks is None


def test_a_photo_is_tiled_from_pictures() -> None:
    red, blue = (np.full((90, 45, 3), colour, dtype=np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    photo = tile_images([red, blue], 500, 400)  # tiles of 180 × 360; the second shelf is 40 high
    assert photo.shape == (400, 500, 3)
    assert (photo[0, :180] == red[0, 0]).all()
    assert (photo[0, 180:360] == blue[0, 0]).all()
    assert (photo[399, :180] == blue[0, 0]).all()  # the fourth picture
    with pytest.raises(DataError, match="no images"):
        tile_images([], 10, 10)


def test_times_are_medians_beside_the_first() -> None:
    calls: list[str] = []

    def detector(name: str) -> Any:
        return lambda pixels: calls.append(name)

    metrics = time_metrics({"bundle": detector("a"), "yunet": detector("b")}, np.zeros((4, 6, 3), np.uint8), 3)
    assert calls == ["a", "b"] * 4  # in turns, the first of which is not counted
    assert (metrics["width"], metrics["height"], metrics["repeats"]) == (6, 4, 3)
    assert metrics["ratio"]["bundle"] == 1


def test_a_few_of_many_are_spread() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread([1, 2], 5) == spread([1, 2], None) == [1, 2]
    with pytest.raises(DataError, match="has a box and landmarks"):
        make_image_set([], 1)
