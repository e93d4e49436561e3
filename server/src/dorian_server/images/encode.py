"""From pixels to a file's bytes: with transparency where the format has it, and no more metadata than is given."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dorian_server.domain.requests import DEFAULT_QUALITY, ImageFormat
from dorian_server.images.containers import EXIF_HEADER
from dorian_server.images.exif import Metadata

# Of a lossless WebP, from 0 to 100: more takes several times as long for files smaller by about a hundredth.
_LOSSLESS_EFFORT = 25


def encode(
    pixels: NDArray[np.uint8],
    kind: ImageFormat,
    quality: int = DEFAULT_QUALITY,
    alpha: NDArray[np.uint8] | None = None,
    metadata: Metadata | None = None,
) -> bytes:
    """The bytes of a file of format ``kind`` with ``pixels`` sRGB uint8 (height, width, 3), and ``alpha`` (height, width).

    ``quality`` 1 to 100 is for JPEG and WebP; WebP at 100 is lossless, as PNG always is: colours beneath ``alpha`` included.
    A JPEG has no transparency: it shows ``pixels`` on white. Nothing but ``metadata`` is written beside the picture.
    """
    image = Image.fromarray(pixels)
    if alpha is not None:
        image = _on_white(image, alpha) if kind == "JPEG" else _with_alpha(image, alpha)
    about = {} if metadata is None else {"exif": EXIF_HEADER + metadata.exif}
    buffer = io.BytesIO()
    if kind == "JPEG":
        image.save(buffer, kind, quality=quality, subsampling="4:4:4" if quality >= 90 else "4:2:0", **about)
    elif kind == "PNG":
        image.save(buffer, kind, compress_level=3, **about)
    elif quality == 100:
        image.save(buffer, kind, quality=_LOSSLESS_EFFORT, lossless=True, exact=True, **about)
    else:
        image.save(buffer, kind, quality=quality, **about)
    return buffer.getvalue()


def _on_white(image: Image.Image, alpha: NDArray[np.uint8]) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=Image.fromarray(alpha))
    return white


def _with_alpha(image: Image.Image, alpha: NDArray[np.uint8]) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    return image
