"""The photos of the load: small, so that the client takes little of the machine's time."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

from PIL import Image

from bench.load.server import ROOT

_PERSON = ROOT / "examples" / "astronaut.jpg"
_OTHER = ROOT / "examples" / "grace_hopper.jpg"
_HEAD = (120, 10, 328, 234)  # of the first: left, top, right, bottom
_OTHER_HEAD = (126, 10, 420, 340)
HEAD_SIZE = (_HEAD[2] - _HEAD[0], _HEAD[3] - _HEAD[1])
PERSON_SIZE = (512, 512)


def person() -> bytes:
    """A photo of a person, 512 by 512."""
    return _PERSON.read_bytes()


@cache
def head() -> bytes:
    """The head alone, of ``HEAD_SIZE``."""
    return _jpeg(Image.open(_PERSON).crop(_HEAD))


@cache
def other_head() -> bytes:
    """Somebody else's."""
    return _jpeg(Image.open(_OTHER).crop(_OTHER_HEAD))


@cache
def nobody() -> bytes:
    """A slope from dark to light."""
    return _jpeg(Image.linear_gradient("L").resize(HEAD_SIZE).convert("RGB"))


@cache
def tiny() -> bytes:
    """A photo that is too small to have a face on it."""
    return _jpeg(Image.new("RGB", (16, 16), "grey"))


@cache
def vast() -> bytes:
    """A PNG that says that it has 10,000,000,000 pixels."""
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
