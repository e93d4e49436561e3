"""Detections against annotated faces: overlap, clipping, matching, unlisted detections, landmarks, and the compared detectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from dorian_bundle.boxes import iou
from dorian_bundle.bundle import load_bundle
from dorian_bundle.face_detection import CLOSE_UP_SIDE
from dorian_bundle.face_readers import DETECTOR_OUTPUTS, DETECTOR_STRIDES
from dorian_evaluation.faces.detector_metrics import time_metrics
from dorian_evaluation.faces.detectors import Detector, network_detector, yunet_detector
from dorian_evaluation.faces.image_sets import AnnotatedImage, close_up, make_image_set, spread, tile_images
from dorian_evaluation.faces.matching import (
    Annotations,
    Detections,
    are_equal,
    assign_detections,
    clip_boxes,
    landmark_errors,
    match_detections,
    summarise_matches,
)
from dorian_evaluation.graphs import open_graph
from dorian_training.errors import DataError

ROOT = Path(__file__).parents[2]
EYES_50_APART = np.array([[25.0, 30], [75, 30], [50, 50], [30, 70], [70, 70]])


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.asarray(rows, dtype=np.float64).reshape(-1, 4)


def detections(*rows: tuple[float, float, float, float], landmarks: np.ndarray | None = None) -> Detections:
    places = np.tile(EYES_50_APART, (len(rows), 1, 1)) if landmarks is None else landmarks
    return Detections(boxes(*rows), np.ones(len(rows)), places)


def annotations(*rows: tuple[float, float, float, float], side: int = 200) -> Annotations:
    landmarks = np.tile(EYES_50_APART, (len(rows), 1, 1))
    return Annotations(side, side, boxes(*rows), landmarks)


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
    ("finding", "unlisted"),
    [
        ((0, 0, 100, 100), 0),
        ((10, 10, 20, 20), 1),  # a nose is no face
        ((52, 0, 100, 100), 1),  # IoU 0.316, but its centre lies beside the face
        ((48, 0, 100, 100), 0),  # IoU 0.351, no hit, yet listed
        ((150, 20, 40, 40), 1),
    ],
)
def test_a_finding_is_unlisted_unless_it_is_near_a_known_face(
    finding: tuple[float, float, float, float], unlisted: int
) -> None:
    assert match_detections(detections(finding), annotations((0, 0, 100, 100))).unlisted_count == unlisted


def test_landmark_errors_are_shares_of_the_distance_between_the_eyes() -> None:
    shifted = EYES_50_APART + np.array([3, 4])
    assert landmark_errors(shifted[None], EYES_50_APART[None]) == pytest.approx([10])
    result = match_detections(
        detections((0, 0, 100, 100), landmarks=shifted[None]), annotations((0, 0, 100, 100), (100, 100, 90, 90))
    )
    assert result.landmark_errors == pytest.approx([10, np.nan], nan_ok=True)


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
        "unlisted_per_100": 50.0,
        "landmark_error": 10.0,
    }
    nothing = summarise_matches([match_detections(detections(), annotations())])
    assert nothing == {"recall": {"20-40": None, "40+": None}, "unlisted_per_100": 0.0, "landmark_error": None}


def test_equal_findings_are_the_same_faces_within_a_pixel() -> None:
    faces = [(10, 10, 60, 60), (100, 100, 50, 50)]
    both = detections(*faces)
    assert are_equal(both, detections(*faces[::-1]), 200, 200)
    assert are_equal(detections(), detections(), 200, 200)
    assert are_equal(detections((-9, 10, 60, 60)), detections((-5, 10, 56, 60)), 200, 200)  # the same in the image
    assert not are_equal(both, detections(*faces[:1]), 200, 200)
    assert not are_equal(both, detections((11.1, 10, 60, 60), faces[1]), 200, 200)
    moved = both.landmarks + np.array([0, 1.1])
    assert not are_equal(both, detections(*faces, landmarks=moved), 200, 200)
    assert are_equal(both, detections(*faces, landmarks=both.landmarks + 0.9), 200, 200)


def test_the_bundles_detector_is_decoded() -> None:
    outputs = {
        f"{kind}_{stride}": np.zeros((1, (128 // stride) ** 2, numbers), dtype=np.float32)
        for kind, numbers in DETECTOR_OUTPUTS.items()
        for stride in DETECTOR_STRIDES
    }
    outputs["cls_32"][0, 5], outputs["obj_32"][0, 5] = 0.9, 0.9  # row 1, column 1
    outputs["bbox_32"][0, 5] = [0.5, 0.5, np.log(2), np.log(2)]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert inputs["image"].shape == (1, 3, 128, 128)
        return outputs

    pixels = np.zeros((100, 120, 3), dtype=np.uint8)
    (box,) = network_detector(run, 0.5)(pixels).boxes
    assert box == pytest.approx([16, 16, 64, 64])
    assert len(network_detector(run, 0.95)(pixels).boxes) == 0
    moved = network_detector(run, 0.5, lambda _, faces: [replace(face, landmarks=np.ones((5, 2))) for face in faces])
    assert (moved(pixels).landmarks == np.ones((1, 5, 2))).all()


@pytest.fixture(scope="module")
def detectors() -> tuple[Detector, Detector]:
    """The embedded bundle's, and OpenCV's on the file that its graph is made of."""
    bundle = load_bundle(ROOT / "models" / "default")
    entry = bundle.manifest.readers.detector
    path = ROOT / "models" / "checkpoints" / "detector" / "face_detection_yunet_2026may.onnx"
    return network_detector(open_graph(bundle, entry.graph), entry.min_score), yunet_detector(path, entry.min_score)


def expect_equal(detectors: tuple[Detector, Detector], pixels: np.ndarray) -> int:
    """Compare the detectors on photos as large as they are looked at once; returns the number of faces."""
    found, expected = (detect(pixels) for detect in detectors)
    assert are_equal(found, expected, pixels.shape[1], pixels.shape[0])
    return len(found.boxes)


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper"])
def test_it_finds_what_opencv_finds(detectors: tuple[Detector, Detector], name: str) -> None:
    pixels = cv2.cvtColor(cv2.imread(str(ROOT / "examples" / f"{name}.jpg")), cv2.COLOR_BGR2RGB)
    assert expect_equal(detectors, pixels) == 1


def test_it_finds_what_opencv_finds_in_photos(detectors: tuple[Detector, Detector]) -> None:
    path = ROOT.parent / "shared" / "data" / "photos.zip"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    faces = 0
    with ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".webp"))[::14][:100]:
            pixels = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR_RGB)
            height, width = pixels.shape[:2]
            scale = min(1, CLOSE_UP_SIDE / max(height, width))  # a larger one is looked at again, for close-ups
            faces += expect_equal(detectors, cv2.resize(pixels, (round(width * scale), round(height * scale))))
    assert faces >= 95


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
            assert arguments[3:] == (0.65, 0.3)
            return Network()

    monkeypatch.setattr(cv2, "FaceDetectorYN", Maker)
    find = yunet_detector(Path("yunet.onnx"), 0.65)
    red = np.full((30, 40, 3), (255, 0, 0), dtype=np.uint8)
    recorded = find(red)
    assert recorded.boxes.tolist() == [[1, 2, 40, 30]]
    assert recorded.scores == pytest.approx([0.7])
    assert recorded.landmarks[0, 4].tolist() == [8, 9]
    assert len(find(red[:, :, ::-1].copy()).boxes) == 0


def test_what_is_no_yunet(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(DataError, match=r"text\.onnx is not a face detector"):
        yunet_detector(tmp_path / "text.onnx", 0.5)


def test_a_close_up_is_what_the_box_holds() -> None:
    rows, columns = np.mgrid[:200, :200]
    pixels = np.stack([columns, rows, 0 * rows], axis=2).astype(np.uint8)
    image = AnnotatedImage(pixels, annotations((-10, 20, 90, 160)))  # 80 by 160 of it show
    cut = close_up(image)
    assert cut.pixels.shape == (640, 320, 3)
    assert cut.pixels[0, 0, :2] == pytest.approx([0, 20], abs=1)
    assert cut.pixels[-1, -1, :2] == pytest.approx([79, 179], abs=1)
    assert cut.annotations.boxes.tolist() == [[-40, 0, 360, 640]]
    eye = (EYES_50_APART[0] - (0, 20) + 0.5) * 4 - 0.5
    assert cut.annotations.landmarks[0, 0] == pytest.approx(eye)


def test_a_photo_is_tiled_from_pictures() -> None:
    red, blue = (np.full((90, 45, 3), colour, dtype=np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    photo = tile_images([red, blue], 500, 400)  # tiles of 180 × 360; the second shelf is 40 high
    assert photo.shape == (400, 500, 3)
    assert (photo[0, :180] == red[0, 0]).all()
    assert (photo[0, 180:360] == blue[0, 0]).all()
    assert (photo[399, :180] == blue[0, 0]).all()  # the fourth picture
    with pytest.raises(DataError, match="no images"):
        tile_images([], 10, 10)


def test_times_are_medians_of_turns() -> None:
    calls: list[str] = []

    def detector(name: str) -> Any:
        return lambda pixels: calls.append(name)

    metrics = time_metrics({"bundle": detector("a"), "yunet": detector("b")}, np.zeros((4, 6, 3), np.uint8), 3)
    assert calls == ["a", "b"] * 4  # in turns, the first of which is not counted
    assert (metrics["width"], metrics["height"], metrics["repeats"]) == (6, 4, 3)
    assert metrics["milliseconds"].keys() == {"bundle", "yunet"}


def test_a_few_of_many_are_spread() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread([1, 2], 5) == spread([1, 2], None) == [1, 2]
    with pytest.raises(DataError, match="has a box and landmarks"):
        make_image_set([], 1)
