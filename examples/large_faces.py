"""Age three photographs of large faces to 10, 45 and 70, and write a sheet of the photos and the results.

python examples/large_faces.py [SHEET]
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from demo import ROOT, close_up, running_server
from dorian_client import Client, make_sheet

SHEET = ROOT / "demo" / "large_faces.jpg"
AGES = (10, 45, 70)
CELL = 560  # pixels
REACH = 0.6  # from the centre of the face to the edge of a close-up, in heights of its box


def main(sheet: Path = SHEET) -> None:
    """Age all photographs to `AGES`, and write photos and results to `sheet`."""
    tiles, labels = [], []
    with running_server() as address, Client(address) as client:
        for path in sorted((ROOT / "examples" / "large_faces").glob("*.jpg")):
            result = client.age(path, AGES, faces="largest", format="png")
            face = result.photos[0].faces[0].box
            if face is None:
                sys.exit(f"no face in {path}")
            with Image.open(path) as photo:
                pictures = [photo, *(aged.picture.to_pil() for aged in result.photos)]
                tiles += [close_up(picture, face, face.height * REACH, CELL) for picture in pictures]
            labels += [f"photo, a face of {face.height:.0f} pixels", *map(str, AGES)]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    make_sheet(tiles, labels, columns=1 + len(AGES)).save(sheet, quality=86)
    print(f"{len(tiles) // (1 + len(AGES))} large faces at {', '.join(map(str, AGES))}: {sheet}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
