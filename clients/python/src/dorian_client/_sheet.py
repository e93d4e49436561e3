"""Puts pictures side by side on one sheet, each with a label below it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from dorian_client._pictures import Picture

MAX_HEIGHT = 512
MAX_COLUMNS = 7
_GAP = 8  # pixels around and between tiles
_MIN_FONT_SIZE = 14
_TILES_PER_FONT = 16  # a tile is that many times as high as the letters below it
_LINE_HEIGHT = 1.6  # of the label strip, in font sizes
_BACKGROUND = (255, 255, 255)
_INK = (32, 32, 32)


def make_sheet(
    pictures: Sequence[Picture | Image.Image], labels: Sequence[str], *, columns: int = MAX_COLUMNS
) -> Image.Image:
    """Returns one RGB image of all pictures, left to right, then down, `columns` to a row.

    All are scaled to the height of the highest, but at most 512 pixels; all cells are as wide as the widest picture or
    label. Raises ValueError if there is nothing to show, or not one label a picture.
    """
    if not pictures or len(pictures) != len(labels) or columns < 1:
        raise ValueError(f"cannot put {len(pictures)} pictures with {len(labels)} labels in {columns} columns")
    images = [picture.to_pil() if isinstance(picture, Picture) else picture for picture in pictures]
    height = min(MAX_HEIGHT, max(image.height for image in images))
    tiles = [_scale(image, height) for image in images]
    size = max(_MIN_FONT_SIZE, height // _TILES_PER_FONT)
    font = ImageFont.load_default(size)
    strip = math.ceil(size * _LINE_HEIGHT)
    widest_label = max(math.ceil(font.getlength(label)) for label in labels)
    width = max(widest_label, *(tile.width for tile in tiles))

    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (_GAP + columns * (width + _GAP), _GAP + rows * (height + strip + _GAP)), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        row, column = divmod(index, columns)
        left, top = _GAP + column * (width + _GAP), _GAP + row * (height + strip + _GAP)
        sheet.paste(tile, (left + (width - tile.width) // 2, top))
        draw.text((left + width / 2, top + height + strip / 2), label, fill=_INK, font=font, anchor="mm")
    return sheet


def _scale(image: Image.Image, height: int) -> Image.Image:
    image = image.convert("RGB")
    if image.height == height:
        return image
    width = max(1, round(image.width * height / image.height))
    return image.resize((width, height), Image.Resampling.LANCZOS)
