"""Pictures between bytes and pixels: what is refused, refused before it is decoded."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dorian_server.errors import RequestError
from dorian_server.settings import Limits

Format = Literal["JPEG", "PNG", "WEBP"]
FORMATS: tuple[Format, ...] = ("JPEG", "PNG", "WEBP")
DEFAULT_QUALITY = 92

# Sizes are checked by ``decode`` itself, before any pixel is read, against the server's own limit.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Photo:
    """A decoded photo: ``pixels`` RGB uint8 (height, width, 3), upright, and the format it came in."""

    pixels: NDArray[np.uint8]
    format: Format


def decode(data: bytes, limits: Limits) -> Photo:
    """Decode a JPEG, PNG or WebP file, turned upright by its EXIF orientation; an alpha channel is dropped.

    ``RequestError`` for what is empty, not such a picture, cut off, or beyond ``limits``.
    """
    if not data:
        raise RequestError(
            "IMAGE_EMPTY", "image.data", "the image is empty; send the bytes of a JPEG, PNG or WebP file"
        )
    if len(data) > limits.max_image_bytes:
        words = f"the image has {len(data):,} bytes; at most {limits.max_image_bytes:,} are allowed"
        raise RequestError("IMAGE_BYTES_EXCEEDED", "image.data", words)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, limits)
            kind = image.format or "JPEG"
            image.load()
            _turn_upright(image)
            pixels = _rgb(image)
    except (RequestError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for broken files
        words = "the image cannot be decoded; send a whole JPEG, PNG or WebP file"
        raise RequestError("IMAGE_UNREADABLE", "image.data", words) from error
    # A JPEG that holds several pictures, as many phones write it, is told apart as MPO.
    return Photo(pixels, next((known for known in FORMATS if known == kind), "JPEG"))


def _check_size(width: int, height: int, limits: Limits) -> None:
    if min(width, height) < limits.min_side:
        words = f"the image is {width}×{height} pixels; each side must be at least {limits.min_side}"
        raise RequestError("IMAGE_TOO_SMALL", "image.data", words)
    if width * height > limits.max_pixels:
        words = f"the image is {width}×{height} pixels; at most {limits.max_pixels:,} pixels are allowed"
        raise RequestError("IMAGE_TOO_LARGE", "image.data", words)


def _turn_upright(image: Image.Image) -> None:
    with suppress(Exception):  # a photo whose EXIF is broken is whole all the same; Pillow raises many kinds for it
        ImageOps.exif_transpose(image, in_place=True)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits of grey
        grey = np.asarray(image, dtype=np.float64) / 257
        return np.repeat(grey.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    image.info.pop("transparency", None)  # Pillow warns where a palette has it
    return np.asarray(image.convert("RGB"))


def encode(pixels: NDArray[np.uint8], kind: Format, quality: int = DEFAULT_QUALITY) -> bytes:
    """The bytes of a file of format ``kind`` with ``pixels`` RGB uint8 (height, width, 3).

    ``quality`` 1 to 100 is for JPEG and WebP; WebP at 100 is lossless.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if kind == "JPEG":
        image.save(buffer, kind, quality=quality, subsampling="4:4:4" if quality >= 90 else "4:2:0")
    elif kind == "WEBP":
        image.save(buffer, kind, quality=quality, lossless=quality == 100)
    else:
        image.save(buffer, kind, compress_level=3)
    return buffer.getvalue()
