"""WebP: its chunks, see RFC 9649."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from dorian_server.images.containers import (
    EXIF_HEADER,
    MAX_PARTS,
    MAX_PROFILE_BYTES,
    BrokenFileError,
    Header,
    ParsedFile,
)

# Of a lossless WebP, from 0 to 100: more takes several times as long for files smaller by about a hundredth.
_LOSSLESS_EFFORT = 25
_IS_ANIMATED, _HAS_ALPHA = 0x02, 0x10  # flags of an extended file
_IMAGE_CHUNKS = (b"ALPH", b"VP8 ", b"VP8L")
_NO_MEMORY = -4  # OpenCV's code of errors


def matches(data: bytes) -> bool:
    """Return whether ``data`` begins as a WebP file does."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def read_header(data: bytes) -> Header:
    """Return the header of a WebP file.

    Raises:
        BrokenFileError: The file does not begin with a chunk of an image.
    """
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = _read_sides(data, 24)
        has_alpha = bool(data[20] & _HAS_ALPHA)
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        has_alpha = bool(bits >> 28 & 1)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        has_alpha = False
    else:
        raise BrokenFileError("the file does not begin as a WebP file does")
    return Header(width, height, 12 if has_alpha else 9, has_alpha)


def parse(data: bytes) -> ParsedFile:
    """Return the parts of a WebP file; the image is the whole file, from which ``load`` takes the first one.

    Raises:
        BrokenFileError: The file does not begin with a chunk of an image.
    """
    read_header(data)
    chunks: dict[bytes, bytes] = {}
    for kind, content in _chunks(data, 12, len(data)):
        if kind in (b"EXIF", b"ICCP"):
            chunks.setdefault(kind, content)
    profile = chunks.get(b"ICCP", b"")[: MAX_PROFILE_BYTES + 1]
    exif = chunks.get(b"EXIF", b"").removeprefix(EXIF_HEADER)
    return ParsedFile(data, exif, profile if len(profile) <= MAX_PROFILE_BYTES else None)


def load(data: bytes) -> Image.Image:
    """Return the image of a WebP file, of an animation the first, of mode RGBA if the header says that it has alpha, else RGB.

    libwebp's decoder of single images takes memory for one image, and only as it decodes; that of animations, which Pillow uses,
    takes it for two when it is opened, whatever the file holds.

    Raises:
        BrokenFileError: The image is cut off or broken, or lies outside of its canvas.
    """
    mode = "RGBA" if read_header(data).has_alpha else "RGB"
    is_animated = data[12:16] == b"VP8X" and data[20] & _IS_ANIMATED
    image = _load_frame(data, mode) if is_animated else _decode(data)
    return image if image.mode == mode else image.convert(mode)


def _load_frame(data: bytes, mode: str) -> Image.Image:
    """Return the first frame of an animation, on its canvas of ``mode``."""
    frame = next((content for kind, content in _chunks(data, 30, len(data)) if kind == b"ANMF"), b"")
    left, top = (2 * int.from_bytes(frame[start : start + 3], "little") for start in (0, 3))
    sides, canvas = _read_sides(frame, 6), _read_sides(data, 24)
    if left + sides[0] > canvas[0] or top + sides[1] > canvas[1]:
        raise BrokenFileError("a frame lies outside of the canvas")
    parts = [(kind, content) for kind, content in _chunks(frame, 16, len(frame)) if kind in _IMAGE_CHUNKS]
    image = _decode(_write_file(parts, sides))
    if sides == canvas:
        return image
    image_on_canvas = Image.new(mode, canvas)
    image_on_canvas.paste(image, (left, top))
    return image_on_canvas


def _chunks(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the content of each chunk from ``position`` to ``end``; the last one may be cut off."""
    for _ in range(MAX_PARTS):
        if position + 8 > end:
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _read_sides(data: bytes, start: int) -> tuple[int, int]:
    """Return width and height, which are stored less one, in three bytes each."""
    width, height = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (start, start + 3))
    return width, height


def _write_file(parts: Sequence[tuple[bytes, bytes]], sides: tuple[int, int]) -> bytes:
    """Return a WebP file of a single image: its chunks, after a header that says that it has alpha if one is of alpha."""
    if any(kind == b"ALPH" for kind, _ in parts):
        stored = b"".join((side - 1).to_bytes(3, "little") for side in sides)
        parts = [(b"VP8X", bytes([_HAS_ALPHA, 0, 0, 0]) + stored), *parts]
    written = [kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for kind, content in parts]
    body = b"WEBP" + b"".join(written)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _decode(data: bytes) -> Image.Image:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # BGR or BGRA (height, width, bands)
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from error
        raise BrokenFileError("its image is broken") from error
    if pixels is None:
        raise BrokenFileError("its image is cut off or broken")
    height, width, bands = pixels.shape
    mode, order = ("RGBA", "BGRA") if bands == 4 else ("RGB", "BGR")
    return Image.frombuffer(mode, (width, height), pixels, "raw", order, 0, 1)


def save(image: Image.Image, file: BytesIO, quality: int, exif: bytes | None) -> None:
    """Write ``image`` (mode RGB or RGBA) to ``file``; at ``quality`` 100 without loss, colours beneath alpha included."""
    options = {"quality": _LOSSLESS_EFFORT, "lossless": True, "exact": True} if quality == 100 else {"quality": quality}
    image.save(file, "WEBP", **options, **({"exif": exif} if exif else {}))
