"""EXIF: which way up a photo is, and what of it may stay with the photo that is made of it.

EXIF is a TIFF file: directories of entries, each a tag, a type, a count, and a value or its place. What stays is a list of
what is known to be about the camera, the time and the author. So nothing stays that tells a place, names a device by its
number, or shows the old face: GPS, a maker's notes, previews, other programs' data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ORIENTATION, _EXIF_DIRECTORY = 0x0112, 0x8769
_SHORT, _LONG = 3, 4
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}

_MAX_ENTRIES = 512
_MAX_VALUE_BYTES = 1024  # all that is kept fits into a JPEG's segment, then

_KEPT = {
    0x010E,  # ImageDescription
    *(0x010F, 0x0110),  # Make, Model
    *(0x011A, 0x011B, 0x0128),  # XResolution, YResolution, ResolutionUnit
    *(0x0131, 0x0132),  # Software, DateTime
    *(0x013B, 0x8298),  # Artist, Copyright
}
_KEPT_OF_EXIF = {
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x8830),  # ExposureTime, FNumber, ExposureProgram, sensitivity and its type
    *(0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012),  # ExifVersion, when taken and digitised, offsets of times
    *range(0x9201, 0x920B),  # ShutterSpeedValue to FocalLength
    *(0x9290, 0x9291, 0x9292),  # fractions of seconds of the three times
    *(0xA402, 0xA403, 0xA404, 0xA405, 0xA406),  # ExposureMode, WhiteBalance, zoom, FocalLengthIn35mmFilm, scene
    *(0xA432, 0xA433, 0xA434),  # the lens: specification, make, model
}


@dataclass(frozen=True)
class Metadata:
    """What may stay with a photo: ``exif``, a TIFF file without place, orientation, numbers of devices and previews."""

    exif: bytes


@dataclass(frozen=True)
class _Entry:
    tag: int
    type: int
    count: int
    value: bytes


class _Directories:
    """Reads a TIFF file's directories. ``struct.error`` for what is none, or points to nowhere."""

    def __init__(self, tiff: bytes) -> None:
        self.order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
        if not self.order:
            raise struct.error("no byte order")
        self._tiff = tiff
        (self.first,) = struct.unpack_from(self.order + "I", tiff, 4)

    def read(self, start: int, tags: set[int]) -> dict[int, _Entry]:
        """The entries with ``tags`` of the directory at ``start``, those whose value is missing or too long left out."""
        (count,) = struct.unpack_from(self.order + "H", self._tiff, start)
        found: dict[int, _Entry] = {}
        for index in range(min(count, _MAX_ENTRIES)):
            place = start + 2 + 12 * index
            if place + 12 > len(self._tiff):
                break
            tag, kind, values = struct.unpack_from(self.order + "HHI", self._tiff, place)
            length = _BYTES_OF_TYPE.get(kind, 0) * values
            if tag not in tags or not 0 < length <= _MAX_VALUE_BYTES:
                continue
            offset = place + 8 if length <= 4 else self.number(self._tiff[place + 8 : place + 12])
            value = self._tiff[offset : offset + length]
            if len(value) == length:
                found.setdefault(tag, _Entry(tag, kind, values, value))
        return found

    def number(self, value: bytes) -> int:
        """The number in two or four bytes."""
        return int.from_bytes(value, "little" if self.order == "<" else "big")


def read_exif(tiff: bytes | None) -> tuple[int, Metadata | None]:
    """The orientation, 1 to 8 as EXIF numbers them, and what of the rest may be kept.

    Broken EXIF gives what can be read of it; 1 and none, where that is nothing.
    """
    try:
        directories = _Directories(tiff or b"")
        entries = directories.read(directories.first, {*_KEPT, _ORIENTATION, _EXIF_DIRECTORY})
    except struct.error:
        return 1, None
    orientation = _number(directories, entries.pop(_ORIENTATION, None))
    place = _number(directories, entries.pop(_EXIF_DIRECTORY, None))
    try:
        of_exif = directories.read(place, _KEPT_OF_EXIF) if place else {}
    except struct.error:
        of_exif = {}
    kept = Metadata(_written(directories.order, entries, of_exif)) if entries or of_exif else None
    return orientation if 1 <= orientation <= 8 else 1, kept


def _number(directories: _Directories, entry: _Entry | None) -> int:
    """The value of an entry that must be one whole number; 0 for any other."""
    if entry is None or entry.count != 1 or entry.type not in (_SHORT, _LONG):
        return 0
    return directories.number(entry.value)


def _written(order: str, entries: dict[int, _Entry], of_exif: dict[int, _Entry]) -> bytes:
    """A TIFF file of two directories, the second inside the first."""
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    if not of_exif:
        return header + _directory(order, entries, 8)
    pointer = _Entry(_EXIF_DIRECTORY, _LONG, 1, bytes(4))
    start = 8 + len(_directory(order, {**entries, _EXIF_DIRECTORY: pointer}, 8))
    pointer = _Entry(_EXIF_DIRECTORY, _LONG, 1, struct.pack(order + "I", start))
    first = _directory(order, {**entries, _EXIF_DIRECTORY: pointer}, 8)
    return header + first + _directory(order, of_exif, start)


def _directory(order: str, entries: dict[int, _Entry], start: int) -> bytes:
    """A directory that begins at ``start``, with the values that do not fit into its entries after it."""
    rows, values = b"", b""
    place = start + 2 + 12 * len(entries) + 4
    for _, entry in sorted(entries.items()):
        field = entry.value.ljust(4, b"\0")
        if len(entry.value) > 4:
            field = struct.pack(order + "I", place + len(values))
            values += entry.value + bytes(len(entry.value) % 2)
        rows += struct.pack(order + "HHI", entry.tag, entry.type, entry.count) + field
    return struct.pack(order + "H", len(entries)) + rows + bytes(4) + values
