"""A folder for a benchmark: copies of a few photos, and files among them that are none."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_PER_FOLDER = 100


def fill(folder: Path, photos: Path, count: int) -> list[Path]:
    """Fill a folder with so many photos, copies of those of another, and return them."""
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    places = []
    for index in range(count):
        file = files[index % len(files)]
        place = folder / str(index // _PER_FOLDER) / f"{index:05}{file.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
        places.append(place)
    return places


def add_broken(photos: list[Path], count: int) -> list[Path]:
    """Put so many broken files evenly among photos: by turns a JPEG that is cut off, text that is named .jpg, and an empty file."""
    whole = io.BytesIO()
    with Image.open(photos[0]) as photo:
        photo.convert("RGB").save(whole, "JPEG")
    contents = [whole.getvalue()[: whole.tell() // 2], b"this is no photo\n", b""]
    places = []
    for index in range(count):
        neighbour = photos[(2 * index + 1) * len(photos) // (2 * count)]
        place = neighbour.with_name(f"{neighbour.stem}-broken-{index}.jpg")
        place.write_bytes(contents[index % len(contents)])
        places.append(place)
    return places
