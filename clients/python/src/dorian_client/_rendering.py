"""Images made of results: sheets of labelled pictures, photos with their faces drawn in, and photos with a delta added."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dorian_client._faces import Face
from dorian_client._photos import PhotoLike, open_upright, read_photo
from dorian_client._pictures import Picture

_MAX_HEIGHT = 512
_MAX_COLUMNS = 7
_GAP = 8  # pixels around and between tiles
_MIN_FONT_SIZE = 14
_TILES_PER_FONT = 16  # a tile's height over the size of the letters below it
_LINE_HEIGHT = 1.6  # of the label strip, in font sizes
_BACKGROUND = (255, 255, 255)
_INK = (32, 32, 32)

BOX_COLOUR = (0, 200, 83)
LANDMARK_COLOUR = (255, 64, 129)
_LABEL_COLOUR = (0, 0, 0)
_MIN_LABEL_SIZE = 12
_SIDES_PER_LABEL = 40  # the photo's longer side over the size of a label's letters
_SIDES_PER_LINE = 256  # the photo's longer side over the width of lines
_PADDING = 0.25  # around the letters of a label, in font sizes

_NO_CHANGE = 128  # the colour of a delta that changes nothing


def make_sheet(
    pictures: Sequence[Picture | Image.Image], labels: Sequence[str], *, columns: int = _MAX_COLUMNS
) -> Image.Image:
    """Return one RGB image of several, each with its label below it.

    All are scaled to the height of the tallest, at most 512 pixels; all cells are as wide as the widest picture or label.

    Args:
        pictures: What to show, left to right, then down.
        labels: One per picture.
        columns: Pictures in a row.

    Raises:
        ValueError: There is no picture, no column, or not one label per picture.

    Example:
        >>> result = client.sweep("portrait.jpg")
        >>> labels = [str(photo.target) for photo in result.photos]
        >>> make_sheet([photo.picture for photo in result.photos], labels).save("sheet.jpg")
    """
    if not pictures or len(pictures) != len(labels) or columns < 1:
        raise ValueError(f"cannot put {len(pictures)} pictures with {len(labels)} labels in {columns} columns")
    images = [picture.to_pil() if isinstance(picture, Picture) else picture for picture in pictures]
    height = min(_MAX_HEIGHT, max(image.height for image in images))
    tiles = [_scale(image, height) for image in images]
    size = max(_MIN_FONT_SIZE, height // _TILES_PER_FONT)
    font = ImageFont.load_default(size)
    strip = math.ceil(size * _LINE_HEIGHT)
    label_width = max(math.ceil(font.getlength(label)) for label in labels)
    width = max(label_width, *(tile.width for tile in tiles))

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


def draw_faces(photo: Image.Image, faces: Iterable[Face]) -> Image.Image:
    """Return an upright photo as RGB with its faces drawn in; lines and letters grow with the photo.

    Each face has a box, its landmarks, and a label ("0, age 34") above the box, or inside it at the photo's edge.
    """
    drawing = photo.convert("RGB")
    side = max(drawing.size)
    font = ImageFont.load_default(max(_MIN_LABEL_SIZE, side // _SIDES_PER_LABEL))
    line = max(1, side // _SIDES_PER_LINE)
    draw = ImageDraw.Draw(drawing)
    for face in faces:
        box = face.box
        draw.rectangle((box.x, box.y, box.x + box.width - 1, box.y + box.height - 1), outline=BOX_COLOUR, width=line)
        for x, y in astuple(face.landmarks) if face.landmarks is not None else ():
            draw.ellipse((x - line, y - line, x + line, y + line), fill=LANDMARK_COLOUR)
        _draw_label(draw, face, font, drawing.width)
    return drawing


def compose(photo: PhotoLike, delta: Picture | PhotoLike) -> Image.Image:
    """Add a delta to its photo: each pixel of the result is photo + colour - 128, within 0 to 255.

    The result is the aged picture before it was compressed, to the bit if the photo has 8 bits a channel, no alpha and
    sRGB colours; the server converts other photos first, and may round differently.

    Args:
        photo: The photo that was sent.
        delta: `AgedPhoto.delta`, or the file that `dorian age --delta` wrote. Its alpha marks the faces and is not used:
            the colours are blended already.

    Returns:
        The aged photo, upright, as RGB.

    Raises:
        PhotoError: One of the two cannot be read.
        ValueError: They do not belong together.

    Example:
        >>> photo = client.age("portrait.png", "60+", with_delta=True).photos[0]
        >>> compose("portrait.png", photo.delta).save("older.png")
    """
    base = open_upright(read_photo(photo)).convert("RGB")
    layer = open_upright(delta.data if isinstance(delta, Picture) else read_photo(delta), "the layer")
    if layer.mode != "RGBA":
        raise ValueError(f"a layer cannot be of mode {layer.mode}; give the delta of an aged photo, which is RGBA")
    if layer.size != base.size:
        layer_size, photo_size = ("{} by {}".format(*image.size) for image in (layer, base))
        raise ValueError(
            f"a layer of {layer_size} cannot go onto a photo of {photo_size}; give the photo that was sent"
        )
    change = np.asarray(layer, dtype=np.int16)[:, :, :3] - _NO_CHANGE  # (height, width, 3)
    return Image.fromarray((np.asarray(base) + change).clip(0, 255).astype(np.uint8))


def _scale(image: Image.Image, height: int) -> Image.Image:
    image = image.convert("RGB")
    if image.height == height:
        return image
    width = max(1, round(image.width * height / image.height))
    return image.resize((width, height), Image.Resampling.LANCZOS)


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
    draw.rectangle((x, y, x + label_width - 1, y + label_height - 1), fill=BOX_COLOUR)
    draw.text((x + padding - left, y + padding - top), text, fill=_LABEL_COLOUR, font=font)
