"""WebP: its chunks, see RFC 9649."""

from __future__ import annotations

import struct
from io import BytesIO

from PIL import Image

from dorian_server.images.containers import (
    EXIF_HEADER,
    MAX_PARTS,
    MAX_PROFILE_BYTES,
    BrokenFileError,
    ParsedFile,
)

# Of a lossless WebP, from 0 to 100: more takes several times as long for files smaller by about a hundredth.
_LOSSLESS_EFFORT = 25


def matches(data: bytes) -> bool:
    """Return whether ``data`` begins as a WebP file does."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def parse(data: bytes) -> ParsedFile:
    """Return the parts of a WebP file; the image is the whole file, as the decoder is quick to skip the rest.

    Raises:
        BrokenFileError: The file does not begin with a chunk of an image.
    """
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[start : start + 3], "little") + 1 for start in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise BrokenFileError("the file does not begin as a WebP file does")
    chunks: dict[bytes, bytes] = {}
    position = 12
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind in (b"EXIF", b"ICCP"):
            chunks.setdefault(kind, data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    profile = chunks.get(b"ICCP", b"")[: MAX_PROFILE_BYTES + 1]
    exif = chunks.get(b"EXIF", b"").removeprefix(EXIF_HEADER)
    return ParsedFile(data, (width, height), exif, profile if len(profile) <= MAX_PROFILE_BYTES else None)


def save(image: Image.Image, file: BytesIO, quality: int, exif: bytes | None) -> None:
    """Write ``image`` (mode RGB or RGBA) to ``file``; at ``quality`` 100 without loss, colours beneath alpha included."""
    options = {"quality": _LOSSLESS_EFFORT, "lossless": True, "exact": True} if quality == 100 else {"quality": quality}
    image.save(file, "WEBP", **options, **({"exif": exif} if exif else {}))
