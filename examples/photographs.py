"""Age ten kinds of photographs to 20 and to 70, and write a sheet of the photos and the results.

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


def make_photographs() -> Iterator[tuple[str, Image.Image]]:
    """Yield two portraits, and what cameras, scanners and people make of such, each with a label."""
    astronaut, officer = (Image.open(ROOT / "examples" / name) for name in ("astronaut.jpg", "grace_hopper.jpg"))
    yield "as taken", astronaut
    yield "as taken", officer
    yield "grey", astronaut.convert("L")
    yield "dark", ImageEnhance.Brightness(officer).enhance(0.3)
    yield "tilted", astronaut.rotate(24, Image.Resampling.BICUBIC, fillcolor=(90, 90, 90))
    yield "small", paste_on_canvas([(officer, 0.28, 700, 300)])
    yield "noisy", add_noise(astronaut)
    yield "two people", paste_on_canvas([(astronaut, 0.9, 60, 120), (officer, 0.8, 640, 90)])
    yield "at the edge", astronaut.crop((215, 0, 512, 300))
    yield "faded", Image.blend(ImageOps.colorize(officer.convert("L"), (60, 40, 30), (240, 220, 180)), officer, 0.25)


def paste_on_canvas(pieces: list[tuple[Image.Image, float, int, int]]) -> Image.Image:
    """Return a grey canvas with pictures on it, each with its scale and the position of its top left corner."""
    canvas = Image.new("RGB", (1280, 720), (118, 126, 120))
    for picture, scale, x, y in pieces:
        canvas.paste(ImageOps.scale(picture, scale), (x, y))
    return canvas


def add_noise(picture: Image.Image) -> Image.Image:
    """Return a picture at half its size, with noise and the artefacts of strong compression."""
    pixels = np.asarray(ImageOps.scale(picture, 0.5), dtype=np.float64)
    noise = np.random.default_rng(0).normal(0, 14, pixels.shape)
    buffer = io.BytesIO()
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


def close_up(picture: Image.Image, faces: list[Box]) -> Image.Image:
    """Return a square around all faces."""
    left, top = min(face.x for face in faces), min(face.y for face in faces)
    right, bottom = max(face.x + face.width for face in faces), max(face.y + face.height for face in faces)
    reach = max(right - left, bottom - top) * (0.9 if len(faces) == 1 else 0.62)
    x, y = (left + right) / 2, (top + bottom) / 2
    box = tuple(round(side) for side in (x - reach, y - reach, x + reach, y + reach))
    return picture.convert("RGB").crop(box).resize((CELL, CELL), Image.Resampling.LANCZOS)


def main(sheet: Path = SHEET) -> None:
    """Age all photographs to `AGES`, and write photos and results to `sheet`."""
    tiles, labels = [], []
    with running_server() as address, Client(address) as client:
        for name, photo in make_photographs():
            result = client.age(photo, AGES, format="png")
            boxes = [face.box for face in result.photos[0].faces if face.box is not None]
            pictures = [photo, *(aged.picture.to_pil() for aged in result.photos)]
            tiles += [close_up(picture, boxes) for picture in pictures]
            labels += [name, *map(str, AGES)]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    make_sheet(tiles, labels, columns=6).save(sheet, quality=90)
    print(f"{len(labels) // 3} photographs at {', '.join(map(str, AGES))}: {sheet}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
