"""From a file's bytes to pixels: what is refused, refused before it is decoded; upright, sRGB, with its transparency."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import ImageFormat
from dorian_server.images.colour import to_srgb
from dorian_server.images.containers import BrokenFileError, PictureFile, take_apart
from dorian_server.images.exif import Metadata, read_exif
from dorian_server.settings import Limits

# Sizes are checked by ``decode`` itself, before any pixel is read, against the server's own limit.
Image.MAX_IMAGE_PIXELS = None

_WHAT_TO_SEND = "send a whole JPEG, PNG or WebP file"
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Photo:
    """A decoded photo: ``pixels`` sRGB uint8 (height, width, 3), upright, not to be written to; and its file's ``format``.

    ``alpha`` is uint8 (height, width), 255 for opaque, or none for a photo that is opaque all over; pixels beneath it are as
    the file has them. ``metadata`` is what of the file's EXIF may be kept, or none where there is nothing.
    """

    pixels: NDArray[np.uint8]
    format: ImageFormat
    alpha: NDArray[np.uint8] | None = None
    metadata: Metadata | None = None


def decode(data: bytes, limits: Limits) -> Photo:
    """Decode a JPEG, PNG or WebP file, of an animation the first picture, turned upright by its EXIF orientation.

    Colours are converted to sRGB by the file's ICC profile, inks and greys too; 16 bits are rounded to 8.
    ``RequestError`` for what is empty, not such a picture, cut off, or beyond ``limits``.
    """
    if not data:
        raise RequestError(
            Reason.IMAGE_EMPTY, "image.data", "the image is empty; send the bytes of a JPEG, PNG or WebP file"
        )
    if len(data) > limits.max_image_bytes:
        words = f"the image has {len(data):,} bytes; at most {limits.max_image_bytes:,} are allowed"
        raise RequestError(Reason.IMAGE_BYTES_EXCEEDED, "image.data", words)
    try:
        file = take_apart(data)
        orientation, metadata = read_exif(file.exif)
        pixels, alpha = _pixels(file, orientation, limits)
    except BrokenFileError as error:
        words = f"the image cannot be decoded; {_WHAT_TO_SEND}: {error}"
        raise RequestError(Reason.IMAGE_UNREADABLE, "image.data", words) from error
    except (RequestError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for broken files
        words = f"the image cannot be decoded; {_WHAT_TO_SEND}"
        raise RequestError(Reason.IMAGE_UNREADABLE, "image.data", words) from error
    return Photo(pixels, file.format, alpha, metadata)


def _pixels(file: PictureFile, orientation: int, limits: Limits) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    if file.size:  # a WebP's decoder takes memory for all pixels when it is opened
        _check_size(*file.size, limits)
    with Image.open(io.BytesIO(file.picture), formats=[file.format]) as image:
        _check_size(*image.size, limits)
        image.load()
        colours, alpha = _separated(image)
    colours = to_srgb(colours, file.profile)
    return _upright(colours, orientation), None if alpha is None else _upright(alpha, orientation)


def _upright(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    return np.asarray(image if orientation == 1 else image.transpose(_UPRIGHT[orientation]))


def _check_size(width: int, height: int, limits: Limits) -> None:
    if min(width, height) < limits.min_side:
        words = f"the image is {width}×{height} pixels; each side must be at least {limits.min_side}"
        raise RequestError(Reason.IMAGE_TOO_SMALL, "image.data", words)
    if width * height > limits.max_pixels:
        words = f"the image is {width}×{height} pixels; at most {limits.max_pixels:,} pixels are allowed"
        raise RequestError(Reason.IMAGE_TOO_LARGE, "image.data", words)


def _separated(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours, of mode L, RGB or CMYK, and alpha, of mode L; no alpha where all is opaque."""
    if image.mode.startswith("I"):  # 16 bits of grey
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return Image.fromarray(grey.astype(np.uint8)), None
    if "transparency" in image.info:  # of a palette's colours, or of one colour
        image = image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
        colours = image.convert("L" if image.mode == "LA" else "RGB")
        return colours, None if alpha.getextrema() == (255, 255) else alpha
    if image.mode in ("1", "P"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image, None
