"""Age twelve people by every method of the embedded bundle, and write a sheet per person with the measurements.

python examples/gallery.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from demo import ROOT, close_up, running_server
from dorian_client import AgedPhoto, Client, Method, Target, make_sheet

FOLDER = ROOT / "demo" / "gallery"
AGES = (10, 25, 40, 55, 70)
CELL = 240  # pixels
REACH = 0.85  # from the centre of the face to the edge of a close-up, in widths of its box


def list_photos() -> list[Path]:
    """Return the photos: two portraits, and ten faces of FairFace."""
    portraits = [ROOT / "examples" / name for name in ("astronaut.jpg", "grace_hopper.jpg")]
    faces = (ROOT / "examples" / "faces").glob("*.webp")
    return [*portraits, *sorted(faces, key=lambda path: int(path.stem))]


def make_row(client: Client, photo: Path, method: Method, targets: Sequence[Target]) -> list[tuple[Image.Image, str]]:
    """Return tiles with labels: the photo's largest face, then the same at each of `targets`, at most as many as `AGES`."""
    result = client.age(photo, targets, method=method.name, faces="largest", format="png")
    face = result.photos[0].faces[0].face
    if face is None:
        sys.exit(f"no face in {photo}")
    reach = face.box.width * REACH
    with Image.open(photo) as original:
        tiles = [(close_up(original, face.box, reach, CELL), f"{method.name}: looks {face.estimated_age or 0:.0f}")]
    tiles += [(close_up(aged.picture.to_pil(), face.box, reach, CELL), make_label(aged)) for aged in result.photos]
    blank = Image.new("RGB", (CELL, CELL), "white")
    return tiles + [(blank, "")] * (len(AGES) + 1 - len(tiles))


def make_label(aged: AgedPhoto) -> str:
    """Return the target, the estimated age of the result, and its similarity to the photo."""
    report = aged.faces[0]
    target = f"{aged.target:g}" if isinstance(aged.target, float) else str(aged.target)
    return f"{target}: looks {report.estimated_age_after or 0:.0f}, {report.identity_similarity or 0:.2f}"


def main(folder: Path = FOLDER) -> None:
    """Write a sheet per person to `folder`: a row for each method of any age, and for the filters of each that has some."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = list_photos()
    with running_server() as address, Client(address) as client:
        methods = client.methods()
        for photo in photos:
            rows = [
                make_row(client, photo, method, targets)
                for method in methods
                for targets in (AGES if method.age_groups else (), method.filters)
                if targets
            ]
            tiles = [tile for row in rows for tile in row]
            sheet = make_sheet([tile for tile, _ in tiles], [label for _, label in tiles], columns=len(AGES) + 1)
            sheet.save(folder / f"{photo.stem}.jpg", quality=88)
    print(f"{len(photos)} people, {len(methods)} methods: {folder}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
