"""Ages ten kinds of photograph both ways through a server, and leaves a sheet: each as it is, at 20 and at 70.

python examples/photographs.py [SHEET]
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from demo import ROOT, running_server
from dorian_client import Box, Client, make_sheet

SHEET = ROOT / "demo" / "photographs.jpg"
AGES = (20, 70)
CELL = 200  # pixels


def photographs() -> Iterator[tuple[str, Image.Image]]:
    """Two portraits, and what cameras, scanners and people make of such; with names."""
    astronaut, officer = (Image.open(ROOT / "examples" / name) for name in ("astronaut.jpg", "grace_hopper.jpg"))
    yield "as taken", astronaut
    yield "as taken", officer
    yield "grey", astronaut.convert("L")
    yield "dark", ImageEnhance.Brightness(officer).enhance(0.3)
    yield "tilted", astronaut.rotate(24, Image.Resampling.BICUBIC, fillcolor=(90, 90, 90))
    yield "small", _on_canvas([(officer, 0.28, 700, 300)])
    yield "noisy", _noisy(astronaut)
    yield "two people", _on_canvas([(astronaut, 0.9, 60, 120), (officer, 0.8, 640, 90)])
    yield "at the edge", astronaut.crop((215, 0, 512, 300))
    yield "faded", Image.blend(ImageOps.colorize(officer.convert("L"), (60, 40, 30), (240, 220, 180)), officer, 0.25)


def _on_canvas(pieces: list[tuple[Image.Image, float, int, int]]) -> Image.Image:
    canvas = Image.new("RGB", (1280, 720), (118, 126, 120))
    for picture, scale, x, y in pieces:
        canvas.paste(ImageOps.scale(picture, scale), (x, y))
    return canvas


def _noisy(picture: Image.Image) -> Image.Image:
    small = np.asarray(ImageOps.scale(picture, 0.5), dtype=np.float64)
    noise = np.random.default_rng(0).normal(0, 14, small.shape)
    buffer = io.BytesIO()
    Image.fromarray((small + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


def around(picture: Image.Image, faces: list[Box]) -> Image.Image:
    """A square of ``picture`` around ``faces``."""
    left, top = min(face.x for face in faces), min(face.y for face in faces)
    right, bottom = max(face.x + face.width for face in faces), max(face.y + face.height for face in faces)
    reach = max(right - left, bottom - top) * (0.9 if len(faces) == 1 else 0.62)
    x, y = (left + right) / 2, (top + bottom) / 2
    box = tuple(round(side) for side in (x - reach, y - reach, x + reach, y + reach))
    return picture.convert("RGB").crop(box).resize((CELL, CELL), Image.Resampling.LANCZOS)


def main(sheet: Path = SHEET) -> None:
    """Age all photographs to ``AGES``; write them to ``sheet``."""
    pictures, labels = [], []
    with running_server() as address, Client(address) as client:
        for name, photo in photographs():
            result = client.age(photo, AGES, format="png")
            boxes = [face.box for face in result.photos[0].faces if face.box is not None]
            for label, picture in zip(
                (name, *map(str, AGES)), (photo, *(aged.picture.to_pil() for aged in result.photos)), strict=True
            ):
                pictures.append(around(picture, boxes))
                labels.append(label)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    make_sheet(pictures, labels, columns=6).save(sheet, quality=90)
    print(f"{len(labels) // 3} photographs at {', '.join(map(str, AGES))}: {sheet}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
