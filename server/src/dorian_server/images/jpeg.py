"""JPEG: its segments, see ITU-T T.81 annex B."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from io import BytesIO
from itertools import islice

from PIL import Image

from dorian_server.images.containers import (
    EXIF_HEADER,
    MAX_PARTS,
    MAX_PROFILE_BYTES,
    BrokenFileError,
    Header,
    ParsedFile,
)

MAGIC = b"\xff\xd8\xff"

# Each scan of a progressive JPEG costs a pass over all pixels, however few bytes it has. Programs write about ten.
_MAX_SCANS = 100
_PROFILE_HEADER = b"ICC_PROFILE\0"
_MIN_QUALITY_OF_FULL_CHROMA = 90

_SCAN, _END = 0xDA, 0xD9
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}
_JFIF, _EXIF, _PROFILE, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE  # the first and the last say how colours are stored
_NO_IMAGE = "the file ends, or has too many segments, before its image begins"
# Passes over fill bytes, pixels, and markers that stand alone.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
# Some tables of some hundred bytes, and the JFIF's preview, in most files.
_MAX_TABLE_BYTES = 2**18


def read_header(data: bytes) -> Header:
    """Return the header of a JPEG file.

    Raises:
        BrokenFileError: The file ends, or has too many segments, before its image begins.
    """
    for marker, start, end in islice(_segments(data), MAX_PARTS):
        if marker in _FRAMES:
            _, height, width, components = struct.unpack(">BHHB", data[start + 4 : end][:6])
            # A progressive file's coefficients are 2 bytes for each component, beside Pillow's 4.
            needed = 2 * components + 4 if marker in _PROGRESSIVE else 0
            return Header(width, height, max(needed, 9 if components == 4 else 8))
        if marker == _SCAN:
            break
    raise BrokenFileError(_NO_IMAGE)


def parse(data: bytes) -> ParsedFile:
    """Return the parts of a JPEG file.

    Raises:
        BrokenFileError: The file ends, or has too many segments or tables, before its image begins, or it has too many scans.
    """
    kept, exif = [b"\xff\xd8"], None
    profile_chunks: list[bytes] = []
    for marker, start, end in islice(_segments(data), MAX_PARTS):
        content = data[start + 4 : end]
        if marker == _SCAN:
            if sum(map(len, kept)) > _MAX_TABLE_BYTES:
                raise BrokenFileError("the file has too many tables")
            _check_scans(data, start)
            return ParsedFile(b"".join([*kept, data[start:]]), exif, _join_profile(profile_chunks))
        if marker in _FRAMES or marker in _TABLES or marker in (_JFIF, _ADOBE):
            kept.append(data[start:end])
        elif marker == _EXIF and content.startswith(EXIF_HEADER) and exif is None:
            exif = content[len(EXIF_HEADER) :]
        elif marker == _PROFILE and content.startswith(_PROFILE_HEADER):
            profile_chunks.append(content[len(_PROFILE_HEADER) :])
    raise BrokenFileError(_NO_IMAGE)


def _segments(data: bytes, position: int = 2) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment from ``position`` to the end of the image; the start is that of the marker."""
    while match := _MARKER.search(data, position):
        marker, start = data[match.start() + 1], match.start()
        if marker == _END:
            return
        (length,) = struct.unpack_from(">H", data, start + 2)
        position = start + 2 + length
        if length < 2 or position > len(data):
            raise BrokenFileError("a segment of the file is cut off")
        yield marker, start, position


def _check_scans(data: bytes, start: int) -> None:
    """Raise ``BrokenFileError`` for more scans than an image needs; those of previews and after the image do not count."""
    if data.count(b"\xff\xda", start) <= _MAX_SCANS:
        return
    scans = (marker for marker, _, _ in _segments(data, start) if marker == _SCAN)
    if next(islice(scans, _MAX_SCANS, None), None):
        raise BrokenFileError(f"the image is stored in more than {_MAX_SCANS} scans")


def _join_profile(chunks: list[bytes]) -> bytes | None:
    """Return the profile whose chunks each begin with their number, from 1, and with how many there are."""
    if not chunks or any(len(chunk) < 2 for chunk in chunks):
        return None
    chunks = sorted(chunks, key=lambda chunk: chunk[0])
    is_complete = [chunk[0] for chunk in chunks] == list(range(1, chunks[0][1] + 1))
    profile = b"".join(chunk[2:] for chunk in chunks)
    return profile if is_complete and len(profile) <= MAX_PROFILE_BYTES else None


def save(image: Image.Image, file: BytesIO, quality: int, exif: bytes | None) -> None:
    """Write ``image`` (mode RGB) to ``file``."""
    subsampling = "4:4:4" if quality >= _MIN_QUALITY_OF_FULL_CHROMA else "4:2:0"
    image.save(file, "JPEG", quality=quality, subsampling=subsampling, **({"exif": exif} if exif else {}))
