"""Ages twelve people by every method of a server's bundle, and writes a sheet of each with what was read from it.

python examples/gallery.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from demo import ROOT, running_server
from dorian_client import AgedPhoto, Box, Client, Method, make_sheet

FOLDER = ROOT / "demo" / "gallery"
AGES = (10, 25, 40, 55, 70)
CELL = 240  # pixels
REACH = 0.85  # of a cell around the middle of the face, in widths of its box


def people() -> Iterator[Path]:
    """The photographs: two portraits, and ten faces of FairFace."""
    yield from (ROOT / "examples" / name for name in ("astronaut.jpg", "grace_hopper.jpg"))
    yield from sorted((ROOT / "examples" / "faces").glob("*.webp"), key=lambda path: int(path.stem))


def close_up(picture: Image.Image, face: Box) -> Image.Image:
    """A square of ``picture`` around ``face``; where the picture ends, its edge is where the square ends."""
    x, y = face.x + face.width / 2, face.y + face.height / 2
    reach = min(face.width * REACH, x, y, picture.width - x, picture.height - y)
    box = (x - reach, y - reach, x + reach, y + reach)
    return picture.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS, box)


def row(client: Client, photo: Path, method: Method) -> list[tuple[Image.Image, str]]:
    """``photo``'s largest face as it is, then at each of ``AGES`` or with each filter of ``method``, with what is read from it."""
    targets = method.filters or AGES
    result = client.age(photo, targets, method=method.name, faces=["largest"], format="png")
    face = result.photos[0].faces[0].face
    assert face is not None
    with Image.open(photo) as original:
        tiles = [(close_up(original, face.box), f"{method.name}: looks {face.estimated_age or 0:.0f}")]
    tiles += [(close_up(aged.picture.to_pil(), face.box), words(aged)) for aged in result.photos]
    blank = Image.new("RGB", (CELL, CELL), "white")
    return tiles + [(blank, "")] * (len(AGES) + 1 - len(tiles))


def words(aged: AgedPhoto) -> str:
    """The target, the age that the face looks after, and how similar it still is."""
    report = aged.faces[0]
    target = f"{aged.target:g}" if isinstance(aged.target, float) else str(aged.target)
    return f"{target}: looks {report.estimated_age_after or 0:.0f}, {report.identity_similarity or 0:.2f}"


def main(folder: Path = FOLDER) -> None:
    """Write a sheet of each person to ``folder``: a row per method."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_server() as address, Client(address) as client:
        methods = client.methods()
        for photo in people():
            tiles = [tile for method in methods for tile in row(client, photo, method)]
            sheet = make_sheet([tile for tile, _ in tiles], [label for _, label in tiles], columns=len(AGES) + 1)
            sheet.save(folder / f"{photo.stem}.jpg", quality=88)
    print(f"{len(list(people()))} people, {len(methods)} methods: {folder}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
