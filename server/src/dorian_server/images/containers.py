"""What a JPEG, PNG or WebP file is made of: the part that holds the picture, the EXIF, the colour profile.

Only what makes the picture goes on to the decoder, so that comments, previews, animations and all the other things that a
file may carry cost no time and no memory there. The work is bounded by the length of the file.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from dorian_server.domain.requests import ImageFormat

FORMATS: tuple[ImageFormat, ...] = ("JPEG", "PNG", "WEBP")
EXIF_HEADER = b"Exif\0\0"

# Far more than any camera or program writes; each costs a few microseconds.
_MAX_PARTS = 65_536
# Each scan of a progressive JPEG costs a pass over all pixels, however few bytes it has. Programs write about ten.
_MAX_SCANS = 100
# A profile with tables for four inks takes one or two.
_MAX_PROFILE_BYTES = 4 * 2**20

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_PROFILE = b"ICC_PROFILE\0"


class BrokenFileError(Exception):
    """The file is not a whole picture of a known format; the words say what is wrong with it."""


@dataclass(frozen=True)
class PictureFile:
    """A file taken apart: ``picture`` is a file of ``format`` with nothing but the picture.

    ``size`` is (width, height) in pixels as the header says, where that is known without a decoder. ``exif`` is a TIFF file,
    ``profile`` an ICC profile; neither has been checked.
    """

    format: ImageFormat
    picture: bytes
    size: tuple[int, int] | None
    exif: bytes | None
    profile: bytes | None


def take_apart(data: bytes) -> PictureFile:
    """The parts of a JPEG, PNG or WebP file, told by its first bytes. ``BrokenFileError`` if it is none."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(_PNG_MAGIC):
            return _png(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError) as error:
        raise BrokenFileError("the file is cut off") from error
    raise BrokenFileError("the file does not begin as a JPEG, PNG or WebP file does")


# --- JPEG: segments, see ITU-T T.81 annex B ---

_SCAN, _END = 0xDA, 0xD9
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}
_JFIF, _EXIF, _PROFILE, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE  # the first and the last say how colours are stored
# Passes over fill bytes, pixels, and markers that stand alone.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
# Some tables of some hundred bytes, and the JFIF's preview, in most files.
_MAX_TABLE_BYTES = 2**18


def _jpeg(data: bytes) -> PictureFile:
    kept, exif = [b"\xff\xd8"], None
    size: tuple[int, int] | None = None
    profile: list[bytes] = []
    for marker, start, end in islice(_segments(data), _MAX_PARTS):
        content = data[start + 4 : end]
        if marker == _SCAN:
            if sum(map(len, kept)) > _MAX_TABLE_BYTES:
                raise BrokenFileError("the file has too many tables")
            _check_scans(data, start)
            return PictureFile("JPEG", b"".join([*kept, data[start:]]), size, exif, _joined(profile))
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, 1)
            size = width, height
        if marker in _FRAMES or marker in _TABLES or marker in (_JFIF, _ADOBE):
            kept.append(data[start:end])
        elif marker == _EXIF and content.startswith(EXIF_HEADER) and exif is None:
            exif = content[len(EXIF_HEADER) :]
        elif marker == _PROFILE and content.startswith(_JPEG_PROFILE):
            profile.append(content[len(_JPEG_PROFILE) :])
    raise BrokenFileError("the file ends, or has too many segments, before its picture begins")


def _segments(data: bytes, position: int = 2) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment from ``position`` to the picture's end; the start is that of the marker."""
    while found := _MARKER.search(data, position):
        marker, start = data[found.start() + 1], found.start()
        if marker == _END:
            return
        (length,) = struct.unpack_from(">H", data, start + 2)
        position = start + 2 + length
        if length < 2 or position > len(data):
            raise BrokenFileError("a segment of the file is cut off")
        yield marker, start, position


def _check_scans(data: bytes, start: int) -> None:
    """``BrokenFileError`` for more scans than a picture needs; those of previews and of what follows do not count."""
    if data.count(b"\xff\xda", start) <= _MAX_SCANS:
        return
    scans = (marker for marker, _, _ in _segments(data, start) if marker == _SCAN)
    if next(islice(scans, _MAX_SCANS, None), None):
        raise BrokenFileError(f"the picture is stored in more than {_MAX_SCANS} scans")


def _joined(chunks: list[bytes]) -> bytes | None:
    """The profile whose chunks each begin with their number, from 1, and with how many there are."""
    if not chunks or any(len(chunk) < 2 for chunk in chunks):
        return None
    chunks = sorted(chunks, key=lambda chunk: chunk[0])
    whole = [chunk[0] for chunk in chunks] == list(range(1, chunks[0][1] + 1))
    profile = b"".join(chunk[2:] for chunk in chunks)
    return profile if whole and len(profile) <= _MAX_PROFILE_BYTES else None


# --- PNG: chunks, see the PNG specification, third edition, section 5 ---


def _png(data: bytes) -> PictureFile:
    chunks: dict[bytes, bytes] = {}  # the first of each kind
    pixels = []
    position = len(_PNG_MAGIC)
    for _ in range(_MAX_PARTS):
        if position == len(data):  # the end's mark is missing, and no pixel
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        position += 12 + length
        if kind == b"IEND":
            break
        if kind not in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"iCCP"):
            continue
        if zlib.crc32(content, zlib.crc32(kind)) != checksum:
            if kind[0] & 0x20:  # may be missing
                continue
            raise BrokenFileError("a checksum of the file does not match")
        if kind == b"IDAT":
            pixels.append(content)
        else:
            chunks.setdefault(kind, content)
    else:
        raise BrokenFileError("the file has too many chunks")
    if not pixels or b"IHDR" not in chunks:
        raise BrokenFileError("the file ends before its picture begins")
    width, height, depth = struct.unpack_from(">IIB", chunks[b"IHDR"])
    chunks[b"IDAT"] = b"".join(pixels)
    kinds = [b"IHDR", b"PLTE", b"tRNS", b"IDAT"]
    if depth == 16:
        kinds.remove(b"tRNS")  # a colour of 16 bits cannot be told from its neighbours in the 8 bits that are kept
    picture = [_png_chunk(kind, chunks[kind]) for kind in kinds if kind in chunks]
    whole = b"".join([_PNG_MAGIC, *picture, _png_chunk(b"IEND", b"")])
    return PictureFile("PNG", whole, (width, height), chunks.get(b"eXIf"), _inflated(chunks.get(b"iCCP", b"")))


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return b"".join(
        [struct.pack(">I", len(content)), kind, content, struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))]
    )


def _inflated(content: bytes) -> bytes | None:
    """The profile in an iCCP chunk, which is a name, a zero, the method's zero, and a zlib stream."""
    _, _, packed = content.partition(b"\0")
    if packed[:1] != b"\0":
        return None
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(packed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if stream.eof else None


# --- WebP: chunks, see RFC 9649 ---


def _webp(data: bytes) -> PictureFile:
    """The decoder gets the whole file: it is quick to pass over what is no picture."""
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
    for _ in range(_MAX_PARTS):
        if position + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind in (b"EXIF", b"ICCP"):
            chunks.setdefault(kind, data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    profile = chunks.get(b"ICCP", b"")[: _MAX_PROFILE_BYTES + 1]
    exif = chunks.get(b"EXIF", b"").removeprefix(EXIF_HEADER)
    return PictureFile("WEBP", data, (width, height), exif, profile if len(profile) <= _MAX_PROFILE_BYTES else None)
