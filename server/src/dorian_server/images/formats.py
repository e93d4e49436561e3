"""The image formats that the server reads and writes: a row of one table each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from dorian_server.domain.requests import ImageFormat
from dorian_server.images import jpeg, png, webp
from dorian_server.images.containers import ParsedFile


@dataclass(frozen=True)
class FormatSpec:
    """An image format; its key in the table is Pillow's name and, after ``IMAGE_FORMAT_``, the contract's.

    Args:
        label: Its name in messages.
        matches: Whether a file begins as one of the format does.
        parse: Takes a file apart; ``BrokenFileError`` if it is broken.
        save: Writes an image to a file, with a quality from 1 to 100 and EXIF with its header, or none.
        has_alpha: Whether the format stores transparency.
        max_side: Longest side of an image, in pixels.
    """

    label: str
    matches: Callable[[bytes], bool]
    parse: Callable[[bytes], ParsedFile]
    save: Callable[[Image.Image, BytesIO, int, bytes | None], None]
    has_alpha: bool
    max_side: int


FORMATS: Mapping[ImageFormat, FormatSpec] = {
    "JPEG": FormatSpec(
        "JPEG", lambda data: data.startswith(jpeg.MAGIC), jpeg.parse, jpeg.save, has_alpha=False, max_side=65_535
    ),
    "PNG": FormatSpec(
        "PNG", lambda data: data.startswith(png.MAGIC), png.parse, png.save, has_alpha=True, max_side=2**31 - 1
    ),
    "WEBP": FormatSpec("WebP", webp.matches, webp.parse, webp.save, has_alpha=True, max_side=16_383),
}


def list_labels(conjunction: str = "") -> str:
    """Return the labels of all formats: "JPEG, PNG, WebP", or with a ``conjunction`` "JPEG, PNG or WebP"."""
    *labels, last = (spec.label for spec in FORMATS.values())
    return f"{', '.join(labels)} {conjunction} {last}" if conjunction else ", ".join([*labels, last])
