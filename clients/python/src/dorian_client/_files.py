"""Image files: the one table of formats, encoding and decoding, and atomic writes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from PIL import Image, ImageOps

from dorian.v1 import face_aging_pb2 as pb

DEFAULT_QUALITY = 92  # the server's default, too
_LOSSLESS_WEBP = 100  # the quality at which WebP is stored without loss


@dataclass(frozen=True)
class ImageFormat:
    """A format in which images are sent and stored.

    Attributes:
        name: As arguments, flags and `Picture.format` spell it.
        label: As people write it.
        number: Its value in the contract.
        pil_name: Pillow's name for it.
        suffixes: Of its files, in lower case; new files get the first one.
        has_quality: Whether it takes a quality from 1 to 100.
        modes: Pillow modes that it stores as they are; other images are converted to RGB first. None: Pillow decides.
    """

    name: str
    label: str
    number: pb.ImageFormat
    pil_name: str
    suffixes: tuple[str, ...]
    has_quality: bool = False
    modes: frozenset[str] | None = None


JPEG = ImageFormat(
    "jpeg", "JPEG", pb.IMAGE_FORMAT_JPEG, "JPEG", (".jpg", ".jpeg"), has_quality=True, modes=frozenset({"L", "RGB"})
)
PNG = ImageFormat("png", "PNG", pb.IMAGE_FORMAT_PNG, "PNG", (".png",))
WEBP = ImageFormat("webp", "WebP", pb.IMAGE_FORMAT_WEBP, "WEBP", (".webp",), has_quality=True)

# A new format is one entry here. Arguments, flags, help texts, suffixes and conversions all read this table.
FORMATS: dict[str, ImageFormat] = {format.name: format for format in (JPEG, PNG, WEBP)}
FORMATS_BY_NUMBER = {format.number: format for format in FORMATS.values()}
FORMATS_BY_PIL_NAME = {format.pil_name: format for format in FORMATS.values()}
FORMATS_BY_SUFFIX = {suffix: format for format in FORMATS.values() for suffix in format.suffixes}


def join_alternatives(alternatives: list[str]) -> str:
    """Return "a, b or c"."""
    *others, last = alternatives
    return f"{', '.join(others)} or {last}" if others else last


FORMAT_LABELS = join_alternatives([format.label for format in FORMATS.values()])  # "JPEG, PNG or WebP"
SUFFIXES = join_alternatives(list(FORMATS_BY_SUFFIX))  # ".jpg, .jpeg, .png or .webp"


def format_of(path: Path) -> ImageFormat:
    """Return the format that a path's suffix stands for.

    Raises:
        ValueError: The suffix stands for none.
    """
    try:
        return FORMATS_BY_SUFFIX[path.suffix.lower()]
    except KeyError:
        raise ValueError(f"the name {path.name!r} has no image suffix; end it in {SUFFIXES}") from None


def format_of_data(data: bytes) -> ImageFormat:
    """Return the format of a file's bytes.

    Raises:
        OSError: It is not an image.
        ValueError: It is an image of another format.
    """
    name = Image.open(io.BytesIO(data)).format or ""
    try:
        return FORMATS_BY_PIL_NAME[name]
    except KeyError:
        raise ValueError(f"{name or 'this'} is not one of {FORMAT_LABELS}") from None


def encode_image(image: Image.Image, format: ImageFormat, quality: int = DEFAULT_QUALITY) -> bytes:
    """Return an image as the bytes of a file.

    Args:
        image: The image, in any mode.
        format: The file's format.
        quality: 1 to 100, for formats that have one. WebP is lossless at 100.
    """
    if format.modes is not None and image.mode not in format.modes:
        image = image.convert("RGB")
    options: dict[str, int | bool] = {"quality": quality} if format.has_quality else {}
    if format is WEBP:
        options["lossless"] = quality == _LOSSLESS_WEBP
    buffer = io.BytesIO()
    image.save(buffer, format.pil_name, **options)
    return buffer.getvalue()


def decode_image(data: bytes) -> Image.Image:
    """Return a file's image, turned upright by its EXIF orientation.

    Raises:
        OSError, SyntaxError, ValueError: Pillow cannot read it.
    """
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data)))


def save_image(image: Image.Image, path: Path, *, quality: int = DEFAULT_QUALITY) -> None:
    """Write an image in the format of the path's suffix.

    Raises:
        ValueError: The suffix stands for no format.
        OSError: The file cannot be written.
    """
    write_atomically(path, encode_image(image, format_of(path), quality))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, which appears whole or not at all.

    Args:
        path: The file.
        data: What it holds.

    Raises:
        OSError: The file cannot be written.
    """
    partial = path.with_name(f".{uuid4().hex}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
