"""Small folders in the layouts of public data sets, with a coloured disc at each landmark of their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_training.data.crops import cut_crops
from dorian_training.data.records import MEAN_LANDMARKS, FaceRecord

# A colour (RGB) per landmark: right eye, left eye, nose, right mouth corner, left mouth corner.
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))
CROP = 96
Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]


def paint(path: Path, width: int, height: int, points: Points) -> None:
    """A grey picture with a coloured disc at each landmark, sized by the face."""
    picture = np.full((height, width, 3), 128, np.uint8)
    radius = max(2, round(np.hypot(points[4][0] - points[0][0], points[4][1] - points[0][1]) / 8))
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cv2.circle(picture, (round(x), round(y)), radius, colour[::-1], cv2.FILLED)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])


def in_box(box: Box) -> Points:
    """The mean landmarks in ``box`` (x, y, width, height)."""
    x, y, width, height = box
    return [(x + u * width - 0.5, y + v * height - 0.5) for u, v in MEAN_LANDMARKS]


def assert_aligned(records: Sequence[FaceRecord]) -> None:
    """Every picture can be read, and its painted landmarks come to lie where the template has them."""
    crops = cut_crops(records, CROP)
    assert crops.records == tuple(records)
    assert crops.pixels.shape == (len(records), CROP, CROP, 3)
    for pixels in crops.pixels:
        for (x, y), colour in zip(DEFAULT_TEMPLATE.points(CROP), COLOURS, strict=True):
            assert np.abs(pixels[round(y), round(x)].astype(int) - colour).max() < 48


def by_name(records: Sequence[FaceRecord]) -> dict[str, FaceRecord]:
    assert len({record.name for record in records}) == len(records)
    return {record.name: record for record in records}


# UTKFace


def utkface(folder: Path, *names: str) -> None:
    for name in names:
        paint(folder / name, 200, 200, in_box((0, 0, 200, 200)))


# FairFace

FAIRFACE_HEADER = "file,age,gender,race,service_test\n"


def fairface(folder: Path, train: str, val: str) -> None:
    folder.mkdir(exist_ok=True)
    for part, rows in (("train", train), ("val", val)):
        (folder / part).mkdir(exist_ok=True)
        (folder / f"fairface_label_{part}.csv").write_text(rows)
        for row in rows.splitlines()[1:]:
            paint(folder / row.split(",")[0], 224, 224, in_box((0, 0, 224, 224)))


# CelebA

CELEBA_MARKS = {
    "000001.jpg": ((69, 109), (106, 113), (77, 142), (73, 152), (108, 154)),
    "000002.jpg": ((60, 100), (100, 100), (80, 123), (63, 140), (97, 140)),
    "000003.jpg": ((76, 112), (104, 106), (108, 128), (74, 156), (98, 158)),
}
CELEBA_ALIGNED = ((69.5, 111.5), (107.5, 111.5), (88.0, 136.0), (71.0, 152.0), (106.0, 152.0))


def celeba(folder: Path, marks: bool = True) -> None:
    rows = {name: " ".join(f"{x} {y}" for x, y in points) for name, points in CELEBA_MARKS.items()}
    for name, points in CELEBA_MARKS.items():
        paint(folder / "img_align_celeba" / name, 178, 218, points if marks else CELEBA_ALIGNED)
    (folder / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n000003.jpg 8692\n")
    (folder / "list_attr_celeba.txt").write_text(
        "3\n5_o_Clock_Shadow Eyeglasses Male Young \n"
        "000001.jpg -1  1 -1  1\n000002.jpg -1 -1  1 -1\n000003.jpg  1  1 -1 -1\n"
    )
    if marks:
        (folder / "list_landmarks_align_celeba.txt").write_text(
            "3\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x "
            "rightmouth_y\n" + "".join(f"{name}  {row}\n" for name, row in rows.items())
        )


# IMDB-WIKI

BORN_1950_06_30 = 712404.0  # datenum(1950, 6, 30) in MATLAB
Photo = dict[str, Any]


def photo(path: str, **changes: Any) -> Photo:
    """One photo's metadata; face_location counts from 1 and includes its ends."""
    values: Photo = {
        "dob": BORN_1950_06_30,
        "photo_taken": 1990,
        "full_path": path,
        "gender": 1.0,
        "name": "Fred Astaire",
        "face_location": [31.0, 21.0, 130.0, 120.0],
        "face_score": 3.5,
        "second_face_score": np.nan,
        "celeb_id": 6488,
    }
    return values | changes


def cells(values: Sequence[Any]) -> np.ndarray:
    """A 1 × N cell array."""
    array = np.empty((1, len(values)), dtype=object)
    for index, value in enumerate(values):
        array[0, index] = value
    return array


def imdb_wiki(mat: Path, photos: Sequence[Photo], without: Sequence[str] = ("celeb_id",)) -> None:
    """``mat`` in the published nesting: a 1 × 1 struct of 1 × N vectors and 1 × N cells."""
    columns = {key: [entry[key] for entry in photos] for key in photos[0] if key not in without}
    struct: dict[str, Any] = {}
    for key, values in columns.items():
        if key in ("full_path", "name"):
            struct[key] = cells(values)
        elif key == "face_location":
            struct[key] = cells([np.asarray([value], np.float64) for value in values])
        else:
            struct[key] = np.asarray([values], np.uint16 if key in ("photo_taken", "celeb_id") else np.float64)
    if "celeb_id" in struct:
        struct["celeb_names"] = cells(["Astaire", "Bacall"])
    mat.parent.mkdir(parents=True, exist_ok=True)
    savemat(mat, {mat.stem: struct})


# CACD

CACD_PEOPLE = [
    (53, 1, "53_Robin_Williams_0001.jpg"),
    (14, 2000, "14_Aaron_Johnson_0001.jpg"),
    (62, 1, "62_Robin_Williams_0007.jpg"),
]


def cacd(folder: Path, pictures: str = "CACD2000", **changes: Any) -> None:
    """The published nesting: a 1 × 1 struct of N × 1 vectors, one N × 1 cell, and an empty ``feature``."""
    ages, identities, names = zip(*CACD_PEOPLE, strict=True)
    struct = {
        "age": np.asarray(ages, np.uint8)[:, None],
        "identity": np.asarray(identities, np.uint16)[:, None],
        "year": np.full((3, 1), 2004, np.uint16),
        "feature": np.empty((0, 0), np.uint8),
        "rank": np.ones((3, 1), np.uint8),
        "lfw": np.ones((3, 1), np.uint8),
        "birth": np.full((3, 1), 1951, np.uint16),
        "name": cells(names).T,
    } | changes
    for name in names:
        paint(folder / pictures / name, 250, 250, in_box((51, 65, 148, 148)))
    savemat(
        folder / "celebrity2000_meta.mat",
        {
            "celebrityData": {"name": cells(["Robin Williams"]).T, "identity": np.ones((1, 1))},
            "celebrityImageData": {key: value for key, value in struct.items() if value is not None},
        },
    )
