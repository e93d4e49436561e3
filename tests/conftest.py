"""What tests of several parts need: small archives of painted faces in the layout that training reads, refusals of commands."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any test imports ONNX Runtime
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # before any test imports OpenVINO

WriteArchives = Callable[[Path, Sequence[Mapping[str, object]]], Path]
REFERENCE_DATA = Path(__file__).parents[2] / "shared" / "data"
SIDE = 80
LANDMARKS = {
    "right_eye": (24.5, 23.0),
    "left_eye": (54.5, 23.0),
    "nose": (39.5, 40.4),
    "right_mouth": (26.6, 53.1),
    "left_mouth": (52.4, 53.1),
}


class SharedFixtureScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps tests together that share what is slow to make: a file's, and all of tests/export."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/export" if file.startswith("tests/export/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedFixtureScheduling:
    """Distribute tests among the workers of pytest-xdist, whose marks for groups are lost with pytest 9.2."""
    return SharedFixtureScheduling(config, log)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The archives of UTKFace and FairFace beside the repository."""
    if not (REFERENCE_DATA / "faces.csv").is_file():
        pytest.skip("the reference data (../shared/data) is not here")
    return REFERENCE_DATA


@pytest.fixture(scope="session")
def write_archives() -> WriteArchives:
    """Writes a folder of archives, a picture and a row of ``faces.csv`` per face; returns the folder.

    Each face is what differs from a man of 30 in the training split of ``utkface.zip``, by column.
    """
    return _write_archives


@pytest.fixture(scope="session")
def refused() -> Callable[..., bool]:
    """Whether a command, run by click's ``CliRunner``, ended with an error that holds certain words, and no traceback."""

    def refused(result: Any, *messages: str) -> bool:
        assert isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        _, _, message = result.output.rpartition("Error: ")
        return result.exit_code == 1 and message != result.output and all(word in message for word in messages)

    return refused


def _write_archives(folder: Path, faces: Sequence[Mapping[str, object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(index) | face for index, face in enumerate(faces)]
    with (folder / "faces.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(_row(0)), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    for name in {str(row["archive"]) for row in rows}:
        with ZipFile(folder / name, "w") as archive:
            for index, row in enumerate(rows):
                if row["archive"] == name:
                    archive.writestr(str(row["file"]), _picture(index))
    return folder


def _row(index: int) -> dict[str, object]:
    about = {
        "archive": "utkface.zip",
        "file": f"{index}.png",
        "split": "train",
        "age": 30,
        "age_low": 30,
        "age_high": 30,
    }
    person = {
        "gender": "Male",
        "ethnicity": "Asian",
        "identity": f"person {index}",
        "width": SIDE,
        "height": SIDE,
        "score": 0.9,
    }
    points = {
        f"{name}_{axis}": value for name, point in LANDMARKS.items() for axis, value in zip("xy", point, strict=True)
    }
    return {**about, **person, "box_x": 5, "box_y": 5, "box_w": 70, "box_h": 70, **points}


def _picture(index: int) -> bytes:
    """A PNG unlike that of any other index."""
    coarse = np.random.default_rng(index).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.imencode(".png", cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))[1].tobytes()
