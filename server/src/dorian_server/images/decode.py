"""Decoding photos: files that break a limit are rejected before they are decoded; pixels are upright sRGB, with their alpha."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import ImageFormat
from dorian_server.images.colour import convert_to_srgb
from dorian_server.images.containers import BrokenFileError, Header, ParsedFile
from dorian_server.images.exif import Metadata, read_exif
from dorian_server.images.formats import FORMATS, list_labels
from dorian_server.settings import Limits

# ``decode`` itself checks sizes against the server's own limit, before any pixel is read.
Image.MAX_IMAGE_PIXELS = None

_FIELD = "image.data"
_STRIP_PIXELS = 2**20  # that are copied at once from a decoded image to the array

Transposition = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
# By EXIF orientation: from an upright image to the same pixels as the file has them, as a view.
_STORED_VIEWS: Mapping[int, Transposition] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
_SWAPS_SIDES = (5, 6, 7, 8)


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


@dataclass(frozen=True)
class PhotoHeader:
    """What a photo's file says of it before any of it is decoded: its format, and the header of its image."""

    format: ImageFormat
    image: Header

    @property
    def pixels(self) -> int:
        return self.image.width * self.image.height


def read_photo_header(data: bytes, limits: Limits, output_format: ImageFormat | None = None) -> PhotoHeader:
    """Return the header of a photo's file that is within all limits, as far as can be told without decoding it.

    Args:
        data: The file.
        limits: How large it may be.
        output_format: The format in which the photo is to be returned, if not its own; it must hold as many pixels.

    Raises:
        RequestError: The file is empty, of no known format, or beyond ``limits`` or those of ``output_format``.
    """
    if not data:
        message = f"the image is empty; send the bytes of a {list_labels('or')} file"
        raise RequestError(Reason.IMAGE_EMPTY, _FIELD, message)
    if len(data) > limits.max_image_bytes:
        message = f"the image has {len(data):,} bytes; at most {limits.max_image_bytes:,} are allowed"
        raise RequestError(Reason.IMAGE_BYTES_EXCEEDED, _FIELD, message)
    with _broken_files_rejected():
        image_format = _format_of(data)
        try:
            header = FORMATS[image_format].read_header(data)
        except (struct.error, IndexError) as error:
            raise BrokenFileError("the file is cut off") from error
    _check_size(header.width, header.height, limits)
    _check_output(header.width, header.height, output_format or image_format)
    return PhotoHeader(image_format, header)


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
    header = read_photo_header(data, limits, output_format)
    with _broken_files_rejected():
        spec = FORMATS[header.format]
        try:
            file = spec.parse(data)
        except (struct.error, IndexError) as error:
            raise BrokenFileError("the file is cut off") from error
        orientation, metadata = read_exif(file.exif)
        pixels, alpha = _decode_pixels(spec.load, header.image, file, orientation)
    return Photo(pixels, header.format, alpha, metadata)


@contextmanager
def _broken_files_rejected() -> Iterator[None]:
    unreadable = f"the image cannot be decoded; send a whole {list_labels('or')} file"
    try:
        yield
    except BrokenFileError as error:
        raise RequestError(Reason.IMAGE_UNREADABLE, _FIELD, f"{unreadable}: {error}") from error
    except (RequestError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for broken files
        raise RequestError(Reason.IMAGE_UNREADABLE, _FIELD, unreadable) from error


def _format_of(data: bytes) -> ImageFormat:
    for image_format, spec in FORMATS.items():
        if spec.matches(data):
            return image_format
    raise BrokenFileError(f"the file does not begin as a {list_labels('or')} file does")


def _decode_pixels(
    load: Callable[[bytes], Image.Image], header: Header, file: ParsedFile, orientation: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the pixels (height, width, 3) and the alpha (height, width), both upright."""
    image = load(file.image)
    if image.size != (header.width, header.height):  # memory was reckoned by the header
        raise BrokenFileError("the file gives two sizes of its image")
    colours, alpha = _split_alpha(image)
    del image
    colours = convert_to_srgb(colours, file.profile)
    return _turn_upright(colours, orientation), None if alpha is None else _turn_upright(alpha, orientation)


def _turn_upright(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    """Return the pixels of ``image``, uint8 (height, width, 3) or for mode L (height, width), upright.

    They are copied strip by strip, as Pillow would need as much memory again to give them all at once.
    """
    width, height = image.size
    shape = (width, height) if orientation in _SWAPS_SIDES else (height, width)
    upright = np.empty(shape if image.mode == "L" else (*shape, 3), dtype=np.uint8)
    stored = _STORED_VIEWS[orientation](upright)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        stored[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return upright


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
