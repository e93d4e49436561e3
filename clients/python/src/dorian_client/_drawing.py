"""Draws the faces of a photo onto it: boxes with their index and age, and landmarks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple

from PIL import Image, ImageDraw, ImageFont

from dorian_client._results import Face

BOX = (0, 200, 83)
LANDMARK = (255, 64, 129)
_INK = (0, 0, 0)
_MIN_FONT_SIZE = 12
_SIDES_PER_FONT = 40  # the photo's longer side is that many times the size of the letters
_SIDES_PER_LINE = 256  # … and that many times as long as lines are wide
_PADDING = 0.25  # around the letters of a label, in font sizes


def draw_faces(photo: Image.Image, faces: Iterable[Face]) -> Image.Image:
    """Returns the photo, upright already, as RGB with its faces drawn; lines and letters grow with the photo.

    Each face has a box, its landmarks, and a label above the box, or inside it where the photo ends: "0, age 34".
    """
    drawn = photo.convert("RGB")
    side = max(drawn.size)
    font = ImageFont.load_default(max(_MIN_FONT_SIZE, side // _SIDES_PER_FONT))
    line = max(1, side // _SIDES_PER_LINE)
    draw = ImageDraw.Draw(drawn)
    for face in faces:
        box = face.box
        draw.rectangle((box.x, box.y, box.x + box.width - 1, box.y + box.height - 1), outline=BOX, width=line)
        for x, y in astuple(face.landmarks) if face.landmarks is not None else ():
            draw.ellipse((x - line, y - line, x + line, y + line), fill=LANDMARK)
        _draw_label(draw, face, font, drawn.width)
    return drawn


def _draw_label(
    draw: ImageDraw.ImageDraw, face: Face, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> None:
    age = face.estimated_age
    text = f"{face.index}" if age is None else f"{face.index}, age {age:.0f}"
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    padding = round(_PADDING * (bottom - top))
    label_width, label_height = right - left + 2 * padding, bottom - top + 2 * padding
    x = max(0.0, min(face.box.x, width - label_width))
    y = face.box.y - label_height if face.box.y >= label_height else max(0.0, face.box.y)
    draw.rectangle((x, y, x + label_width - 1, y + label_height - 1), fill=BOX)
    draw.text((x + padding - left, y + padding - top), text, fill=_INK, font=font)
