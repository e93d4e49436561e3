"""Photos to send: a path, bytes, an array or a PIL image becomes the bytes of a file that the server reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from dorian_client._files import FORMAT_LABELS, PNG, decode_image, encode_image
from dorian_client.errors import PhotoError

PhotoLike: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | npt.NDArray[np.uint8] | Image.Image

_VALID_PHOTOS = f"a path, the bytes of a {FORMAT_LABELS} file, an array or a PIL image"
_VALID_ARRAYS = "uint8 of shape (height, width, 3) in RGB order, or (height, width) for grey"
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}  # sent as they are
_CONVERTED_MODES = {"CMYK", "HSV", "LAB", "La", "PA", "RGBX", "RGBa", "YCbCr"}  # sent as RGB


def read_photo(photo: PhotoLike) -> bytes:
    """Return a photo as the bytes of an image file.

    Files and bytes are passed on unopened. Arrays and PIL images, turned upright by their EXIF orientation, become PNG.

    Args:
        photo: A path, the bytes of a file, an array of uint8, (height, width, 3) in RGB order or (height, width) for
            grey, or a PIL image of 8 bits a channel.

    Raises:
        PhotoError: The photo is none of these, or cannot be read.
    """
    match photo:
        case bytes() | bytearray() | memoryview():
            return bytes(photo)
        case np.ndarray():
            return encode_image(_image_from_array(photo), PNG)
        case Image.Image():
            return encode_image(_prepare(photo), PNG)
        case str() | os.PathLike():
            return _read_file(photo)
        case _:
            raise PhotoError(f"a photo cannot be {type(photo).__name__}; give {_VALID_PHOTOS}")


def open_upright(photo: bytes, name: str = "the photo") -> Image.Image:
    """Return a file's image, turned upright.

    Args:
        photo: The file's bytes.
        name: What the error calls it.

    Raises:
        PhotoError: Pillow cannot read it.
    """
    try:
        return decode_image(photo)
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"{name} cannot be opened here: {error}") from error


def _read_file(path: str | os.PathLike[str]) -> bytes:
    path = Path(os.fsdecode(path))
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PhotoError(f"no photo at {path}: there is no such file") from None
    except IsADirectoryError:
        raise PhotoError(f"{path} is a folder; give one photo's file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise PhotoError(f"cannot read the photo {str(path)!r}: {error}") from error


def _image_from_array(array: npt.NDArray[Any]) -> Image.Image:
    given = f"an array of {array.dtype} and shape {array.shape}"
    if array.dtype != np.uint8:
        raise PhotoError(f"a photo cannot be {given}: give {_VALID_ARRAYS}, with values from 0 to 255")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise PhotoError(f"a photo cannot be {given}: give {_VALID_ARRAYS}")
    if 0 in array.shape:
        raise PhotoError(f"a photo cannot be {given}: it has no pixels")
    return Image.fromarray(np.ascontiguousarray(array))


def _prepare(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise PhotoError(f"a photo cannot be a PIL image of {image.width} by {image.height}: it has no pixels")
    if image.mode not in _PNG_MODES | _CONVERTED_MODES:
        raise PhotoError(f"a photo cannot be a PIL image of mode {image.mode}: give 8 bits a channel, such as mode RGB")
    try:
        upright = ImageOps.exif_transpose(image)  # PNG written by Pillow keeps no orientation
        return upright if upright.mode in _PNG_MODES else _to_rgb(upright)
    except (OSError, SyntaxError, ValueError) as error:  # a lazily opened file that is broken, or closed by now
        raise PhotoError(f"cannot read the PIL image: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    converted = image.convert("RGB")
    converted.info.pop("icc_profile", None)  # it described the colours before the conversion
    return converted
