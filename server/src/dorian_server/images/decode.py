"""Decoding photos: files that break a limit are rejected before they are decoded; pixels are upright sRGB, with their alpha."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import ImageFormat
from dorian_server.images.colour import convert_to_srgb
from dorian_server.images.containers import BrokenFileError, ParsedFile
from dorian_server.images.exif import Metadata, read_exif
from dorian_server.images.formats import FORMATS, list_labels
from dorian_server.settings import Limits

# ``decode`` itself checks sizes against the server's own limit, before any pixel is read.
Image.MAX_IMAGE_PIXELS = None

_FIELD = "image.data"
_TRANSPOSITIONS = {  # by EXIF orientation
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
    """A decoded photo.

    Args:
        pixels: Upright sRGB uint8 (height, width, 3); not to be written to.
        format: Format of its file.
        alpha: uint8 (height, width), 255 for opaque; ``None`` if all is opaque. Pixels beneath it are as the file has them.
        metadata: What may be kept of the file's EXIF; ``None`` if there is nothing.
    """

    pixels: NDArray[np.uint8]
    format: ImageFormat
    alpha: NDArray[np.uint8] | None = None
    metadata: Metadata | None = None


def decode(data: bytes, limits: Limits, output_format: ImageFormat | None = None) -> Photo:
    """Decode a file of one of ``FORMATS``; of an animation the first image.

    The photo is turned upright by its EXIF orientation. Colours, inks and greys are converted to sRGB by the file's ICC
    profile; 16 bits are rounded to 8.

    Args:
        data: The file.
        limits: How large it may be.
        output_format: The format in which the photo is to be returned, if not its own; it must hold as many pixels.

    Raises:
        RequestError: The file is empty, no such image, broken, or beyond ``limits`` or those of ``output_format``.
    """
    if not data:
        message = f"the image is empty; send the bytes of a {list_labels('or')} file"
        raise RequestError(Reason.IMAGE_EMPTY, _FIELD, message)
    if len(data) > limits.max_image_bytes:
        message = f"the image has {len(data):,} bytes; at most {limits.max_image_bytes:,} are allowed"
        raise RequestError(Reason.IMAGE_BYTES_EXCEEDED, _FIELD, message)
    unreadable = f"the image cannot be decoded; send a whole {list_labels('or')} file"
    try:
        image_format, file = _parse(data)
        orientation, metadata = read_exif(file.exif)
        pixels, alpha = _decode_pixels(image_format, file, orientation, limits, output_format)
    except BrokenFileError as error:
        raise RequestError(Reason.IMAGE_UNREADABLE, _FIELD, f"{unreadable}: {error}") from error
    except (RequestError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for broken files
        raise RequestError(Reason.IMAGE_UNREADABLE, _FIELD, unreadable) from error
    return Photo(pixels, image_format, alpha, metadata)


def _parse(data: bytes) -> tuple[ImageFormat, ParsedFile]:
    for image_format, spec in FORMATS.items():
        if spec.matches(data):
            try:
                return image_format, spec.parse(data)
            except (struct.error, IndexError) as error:
                raise BrokenFileError("the file is cut off") from error
    raise BrokenFileError(f"the file does not begin as a {list_labels('or')} file does")


def _decode_pixels(
    image_format: ImageFormat, file: ParsedFile, orientation: int, limits: Limits, output_format: ImageFormat | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the pixels (height, width, 3) and the alpha (height, width), both upright."""
    if file.size:  # a WebP's decoder takes memory for all pixels when it is opened
        _check_size(*file.size, limits)
    with Image.open(io.BytesIO(file.image), formats=[image_format]) as image:
        _check_size(*image.size, limits)
        _check_output(*image.size, output_format or image_format)
        image.load()
        colours, alpha = _split_alpha(image)
    colours = convert_to_srgb(colours, file.profile)
    return _turn_upright(colours, orientation), None if alpha is None else _turn_upright(alpha, orientation)


def _turn_upright(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    return np.asarray(image if orientation == 1 else image.transpose(_TRANSPOSITIONS[orientation]))


def _check_size(width: int, height: int, limits: Limits) -> None:
    if min(width, height) < limits.min_side:
        message = f"the image is {width}×{height} pixels; each side must be at least {limits.min_side}"
        raise RequestError(Reason.IMAGE_TOO_SMALL, _FIELD, message)
    if width * height > limits.max_pixels:
        message = f"the image is {width}×{height} pixels; at most {limits.max_pixels:,} pixels are allowed"
        raise RequestError(Reason.IMAGE_TOO_LARGE, _FIELD, message)


def _check_output(width: int, height: int, output_format: ImageFormat) -> None:
    spec = FORMATS[output_format]
    if max(width, height) > spec.max_side:
        labels = " or ".join(other.label for other in FORMATS.values() if other.max_side >= max(width, height))
        limit = f"a {spec.label} file has at most {spec.max_side:,} on a side"
        message = f"the image is {width}×{height} pixels; {limit}, so set output.format to {labels}"
        raise RequestError(Reason.IMAGE_TOO_LARGE, _FIELD, message)


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours, of mode L, RGB or CMYK, and the alpha, of mode L; no alpha where all is opaque."""
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
