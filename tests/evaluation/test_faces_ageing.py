"""Aged photos against their originals: changes outside of faces, seams, and the metrics of a server's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_client import AgedPhoto, Box, Face, FaceError, FaceReport, InvalidRequest, Landmarks, Picture
from dorian_evaluation.ageing.photos import list_photos, measure_photos
from dorian_evaluation.ageing.seams import changed_pixels, count_outside, measure_seam
from dorian_evaluation.ageing.sheet import Row, write_sheet
from dorian_training.errors import DataError

CROP = DEFAULT_TEMPLATE.points(64) + np.array([20, 10])  # columns 20 to 83, rows 10 to 73


def flat(level: int = 100, side: int = 100) -> np.ndarray:
    return np.full((side, side, 3), level, dtype=np.uint8)


def test_changes_outside_of_the_crops_are_counted() -> None:
    changed = np.zeros((100, 100), dtype=bool)
    for row, column in ((10, 20), (73, 83), (40, 50)):
        changed[row, column] = True
    assert count_outside(changed, [CROP], DEFAULT_TEMPLATE) == 0
    for row, column in ((9, 20), (74, 83), (40, 84), (40, 19)):
        changed[row, column] = True
    assert count_outside(changed, [CROP], DEFAULT_TEMPLATE) == 4
    assert count_outside(changed, [CROP, CROP + 1], DEFAULT_TEMPLATE) == 2
    assert count_outside(changed, [], DEFAULT_TEMPLATE) == 7


def test_a_pixel_is_changed_where_any_channel_is() -> None:
    aged = flat()
    aged[3, 4, 2] += 1
    assert np.argwhere(changed_pixels(flat(), aged)).tolist() == [[3, 4]]


def test_a_step_shows_as_a_seam() -> None:
    original, aged = flat(), flat()
    aged[40:60, 40:60] += 8
    measured = measure_seam(original, aged)
    assert measured is not None
    assert measured.change == pytest.approx((72 * 4 + 4 * 4 * 2**0.5) / 76)
    assert measured.photo == 0
    aged[48:52, 48:52] = original[48:52, 48:52]  # a hole is no outline
    assert measure_seam(original, aged) == measured


def test_what_fades_out_hardly_shows() -> None:
    original = flat()
    rows, columns = np.mgrid[:100, :100]
    inside = np.clip(30 - np.maximum(abs(rows - 50), abs(columns - 50)), 0, 8)
    measured = measure_seam(original, original + inside[:, :, None].astype(np.uint8))
    assert measured is not None
    assert 0.9 < measured.change < 1.1  # a level a pixel


def test_a_photos_own_gradient_is_taken_in_the_same_places() -> None:
    original = np.repeat((np.arange(100, dtype=np.uint8) * 2)[None, :, None], 100, axis=0).repeat(3, axis=2)
    aged = original.copy()
    aged[40:60, 40:60] += 4
    measured = measure_seam(original, aged)
    assert measured is not None
    assert measured.photo == pytest.approx(2)
    assert measure_seam(original, original) is None


@dataclass
class Server:
    """A client whose server brightens a square of each photo by the target age, and reports of faces what it is given."""

    reports: Callable[[int], Sequence[FaceReport]]

    def age(self, photo: np.ndarray, to: list[int], *, format: str) -> Any:
        if photo[0, 0, 0] == 0:
            raise InvalidRequest("no face")
        assert format == "png"
        return type("Result", (), {"photos": [self._aged(photo, age) for age in to]})

    def _aged(self, photo: np.ndarray, age: int) -> AgedPhoto:
        aged = photo.copy()
        aged[30:50, 40:60] += np.uint8(age)
        data = cv2.imencode(".png", aged[:, :, ::-1])[1].tobytes()
        return AgedPhoto(Picture(data, "png", 100, 100), tuple(self.reports(age)), age)


def report(age: float | None, error: str | None = None) -> FaceReport:
    points = Landmarks(*(tuple(point) for point in CROP.tolist()))
    face = Face(0, Box(20, 10, 60, 60), 0.9, points, 40.0)
    problem = FaceError(error, "in words") if error else None
    return FaceReport(
        face=face,
        error=problem,
        source=None,
        source_given=False,
        target=None,
        estimated_age_after=age,
        identity_similarity=None if error else 0.5,
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo with a face, and one without."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, level in (("a.png", 100), ("b.png", 0)):
        cv2.imwrite(str(folder / name), flat(level))
    (folder / "notes.txt").write_text("no photo")
    return folder


def test_metrics_of_a_servers_answers(photos: Path, tmp_path: Path) -> None:
    server = Server(lambda age: [report(age + 2.0), report(None, "FACE_TOO_SMALL")])
    metrics, rows = measure_photos(server, list_photos(photos), DEFAULT_TEMPLATE)  # type: ignore[arg-type]
    assert metrics["photos"]["b.png"] == {"refused": "no face"}
    aged = metrics["photos"]["a.png"]["25"]
    assert (aged["changed_pixels"], aged["changed_outside"]) == (400, 0)
    assert aged["seam_of_change"] == pytest.approx((72 * 12.5 + 4 * 12.5 * 2**0.5) / 76, abs=0.01)
    assert aged["faces"][0] == {"age_after": 27.0, "similarity": 0.5, "error": None}
    assert aged["faces"][1]["error"] == "FACE_TOO_SMALL"
    summary = metrics["summary"]
    assert (summary["photos"], summary["refused"]) == (2, 1)
    assert summary["65"] == {
        "faces": 1,
        "failed_faces": 1,
        "changed_outside": 0,
        "seam_of_change": metrics["photos"]["a.png"]["65"]["seam_of_change"],
        "seam_of_photo": 0.0,
        "age_after": 67.0,
        "similarity": 0.5,
    }
    write_sheet(tmp_path / "sheet.jpg", rows, DEFAULT_TEMPLATE)
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))
    assert sheet is not None
    assert sheet.shape[0] == 320 + 2 * 6
    first, last = sheet[166, 166], sheet[166, -166]
    assert abs(int(first[0]) - 100) < 4
    assert abs(int(last[0]) - 165) < 4


def test_what_cannot_be_aged_or_shown(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no photos"):
        list_photos(tmp_path / "empty")
    with pytest.raises(DataError, match="nothing to show"):
        write_sheet(tmp_path / "sheet.jpg", [], DEFAULT_TEMPLATE)
    (photos / "c.jpg").write_text("text")
    with pytest.raises(DataError, match=r"c\.jpg is not an image"):
        measure_photos(Server(lambda age: []), [photos / "c.jpg"], DEFAULT_TEMPLATE)  # type: ignore[arg-type]


def test_a_photo_without_faces_is_shown_whole(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.jpg", [Row((flat(), flat()), [])], DEFAULT_TEMPLATE)
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))
    assert sheet is not None
    assert sheet.shape[:2] == (332, 2 * 320 + 3 * 6)
