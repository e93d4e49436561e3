"""Encoding images: with transparency where the format has it, and no more metadata than is given."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dorian_server.domain.requests import DEFAULT_QUALITY, ImageFormat
from dorian_server.images.containers import EXIF_HEADER
from dorian_server.images.exif import Metadata
from dorian_server.images.formats import FORMATS


def encode(
    pixels: NDArray[np.uint8],
    image_format: ImageFormat,
    quality: int = DEFAULT_QUALITY,
    alpha: NDArray[np.uint8] | None = None,
    metadata: Metadata | None = None,
) -> bytes:
    """Return the bytes of an image file.

    Args:
        pixels: sRGB uint8 (height, width, 3).
        image_format: Format of the file.
        quality: 1 to 100, for JPEG and WebP. WebP at 100 is lossless, as PNG always is, colours beneath ``alpha`` included.
        alpha: uint8 (height, width); a format without transparency shows ``pixels`` on white.
        metadata: Written beside the image; nothing else is.
    """
    spec = FORMATS[image_format]
    image = Image.fromarray(pixels)
    if alpha is not None:
        image = _with_alpha(image, alpha) if spec.has_alpha else _on_white(image, alpha)
    file = io.BytesIO()
    spec.save(image, file, quality, None if metadata is None else EXIF_HEADER + metadata.exif)
    return file.getvalue()


def _on_white(image: Image.Image, alpha: NDArray[np.uint8]) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=Image.fromarray(alpha))
    return white


def _with_alpha(image: Image.Image, alpha: NDArray[np.uint8]) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    return image
