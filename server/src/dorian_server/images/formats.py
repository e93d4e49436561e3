"""The image formats that the server reads and writes: a row of one table each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from dorian_server.domain.requests import ImageFormat
from dorian_server.images import jpeg, png, webp
from dorian_server.images.containers import Header, ParsedFile


@dataclass(frozen=True)
class FormatSpec:
    """An image format; its key in the table is Pillow's name and, after ``IMAGE_FORMAT_``, the contract's.

    Args:
        label: Its name in messages.
        matches: Whether a file begins as one of the format does.
        read_header: Reads the size of the image alone; ``BrokenFileError`` if the file has none.
        parse: Takes a file apart; ``BrokenFileError`` if it is broken.
        load: Decodes the image that ``parse`` has taken out.
        save: Writes an image to a file, with a quality from 1 to 100 and EXIF with its header, or none.
        has_alpha: Whether the format stores transparency.
        max_side: Longest side of an image, in pixels.
    """

    label: str
    matches: Callable[[bytes], bool]
    read_header: Callable[[bytes], Header]
    parse: Callable[[bytes], ParsedFile]
    load: Callable[[bytes], Image.Image]
    save: Callable[[Image.Image, BytesIO, int, bytes | None], None]
    has_alpha: bool
    max_side: int


def _loader(image_format: ImageFormat) -> Callable[[bytes], Image.Image]:
    """Return what decodes an image of ``image_format`` with Pillow."""

    def load(data: bytes) -> Image.Image:
        with Image.open(BytesIO(data), formats=[image_format]) as image:
            image.load()
        return image

    return load


FORMATS: Mapping[ImageFormat, FormatSpec] = {
    "JPEG": FormatSpec(
        "JPEG",
        lambda data: data.startswith(jpeg.MAGIC),
        jpeg.read_header,
        jpeg.parse,
        _loader("JPEG"),
        jpeg.save,
        has_alpha=False,
        max_side=65_535,
    ),
    "PNG": FormatSpec(
        "PNG",
        lambda data: data.startswith(png.MAGIC),
        png.read_header,
        png.parse,
        _loader("PNG"),
        png.save,
        has_alpha=True,
        max_side=2**31 - 1,
    ),
    "WEBP": FormatSpec(
        "WebP", webp.matches, webp.read_header, webp.parse, webp.load, webp.save, has_alpha=True, max_side=16_383
    ),
}


def list_labels(conjunction: str = "") -> str:
    """Return the labels of all formats: "JPEG, PNG, WebP", or with a ``conjunction`` "JPEG, PNG or WebP"."""
    *labels, last = (spec.label for spec in FORMATS.values())
    return f"{', '.join(labels)} {conjunction} {last}" if conjunction else ", ".join([*labels, last])
