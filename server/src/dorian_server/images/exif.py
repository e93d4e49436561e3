"""EXIF: the orientation of a photo, and what of it may be kept in the photos made from it.

EXIF is a TIFF file: directories of entries, each a tag, a type, a count, and a value or its offset. Only listed tags about the
camera, the time and the author are kept. So nothing is kept that reveals a location, identifies a device by its number, or
shows the original face: no GPS, maker's notes, previews, or other programs' data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ORIENTATION, _EXIF_DIRECTORY = 0x0112, 0x8769
_SHORT, _LONG = 3, 4
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}

_MAX_ENTRIES = 512
_MAX_VALUE_BYTES = 1024  # so that all that is kept fits into a segment of a JPEG

_KEPT_TAGS = {
    0x010E,  # ImageDescription
    *(0x010F, 0x0110),  # Make, Model
    *(0x011A, 0x011B, 0x0128),  # XResolution, YResolution, ResolutionUnit
    *(0x0131, 0x0132),  # Software, DateTime
    *(0x013B, 0x8298),  # Artist, Copyright
}
_KEPT_EXIF_TAGS = {
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x8830),  # ExposureTime, FNumber, ExposureProgram, sensitivity and its type
    *(0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012),  # ExifVersion, when taken and digitised, offsets of times
    *range(0x9201, 0x920B),  # ShutterSpeedValue to FocalLength
    *(0x9290, 0x9291, 0x9292),  # fractions of seconds of the three times
    *(0xA402, 0xA403, 0xA404, 0xA405, 0xA406),  # ExposureMode, WhiteBalance, zoom, FocalLengthIn35mmFilm, scene
    *(0xA432, 0xA433, 0xA434),  # the lens: specification, make, model
}


@dataclass(frozen=True)
class Metadata:
    """What may be kept of a photo's EXIF: ``exif`` is a TIFF file without location, orientation, device numbers and previews."""

    exif: bytes


@dataclass(frozen=True)
class _Entry:
    tag: int
    type: int
    count: int
    value: bytes


class _Directories:
    """Reads the directories of a TIFF file; ``struct.error`` for what is none, or points beyond its end."""

    def __init__(self, tiff: bytes) -> None:
        self.order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
        if not self.order:
            raise struct.error("no byte order")
        self._tiff = tiff
        (self.first,) = struct.unpack_from(self.order + "I", tiff, 4)

    def read(self, start: int, tags: set[int]) -> dict[int, _Entry]:
        """Return the entries with ``tags`` of the directory at ``start``, without those whose value is missing or too long."""
        (count,) = struct.unpack_from(self.order + "H", self._tiff, start)
        entries: dict[int, _Entry] = {}
        for index in range(min(count, _MAX_ENTRIES)):
            position = start + 2 + 12 * index
            if position + 12 > len(self._tiff):
                break
            tag, kind, values = struct.unpack_from(self.order + "HHI", self._tiff, position)
            length = _BYTES_OF_TYPE.get(kind, 0) * values
            if tag not in tags or not 0 < length <= _MAX_VALUE_BYTES:
                continue
            offset = position + 8 if length <= 4 else self.number(self._tiff[position + 8 : position + 12])
            value = self._tiff[offset : offset + length]
            if len(value) == length:
                entries.setdefault(tag, _Entry(tag, kind, values, value))
        return entries

    def number(self, value: bytes) -> int:
        """Return the number in two or four bytes."""
        return int.from_bytes(value, "little" if self.order == "<" else "big")


def read_exif(tiff: bytes | None) -> tuple[int, Metadata | None]:
    """Return the orientation, 1 to 8 as EXIF numbers them, and the metadata that may be kept.

    Of broken EXIF they are what can be read, or else 1 and ``None``.
    """
    try:
        directories = _Directories(tiff or b"")
        entries = directories.read(directories.first, {*_KEPT_TAGS, _ORIENTATION, _EXIF_DIRECTORY})
    except struct.error:
        return 1, None
    orientation = _read_number(directories, entries.pop(_ORIENTATION, None))
    exif_start = _read_number(directories, entries.pop(_EXIF_DIRECTORY, None))
    try:
        exif_entries = directories.read(exif_start, _KEPT_EXIF_TAGS) if exif_start else {}
    except struct.error:
        exif_entries = {}
    kept = Metadata(_write_tiff(directories.order, entries, exif_entries)) if entries or exif_entries else None
    return orientation if 1 <= orientation <= 8 else 1, kept


def _read_number(directories: _Directories, entry: _Entry | None) -> int:
    """Return the value of an entry that must be one integer; 0 for any other."""
    if entry is None or entry.count != 1 or entry.type not in (_SHORT, _LONG):
        return 0
    return directories.number(entry.value)


def _write_tiff(order: str, entries: dict[int, _Entry], exif_entries: dict[int, _Entry]) -> bytes:
    """Return a TIFF file of two directories, the second inside the first."""
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    if not exif_entries:
        return header + _write_directory(order, entries, 8)
    pointer = _Entry(_EXIF_DIRECTORY, _LONG, 1, bytes(4))
    start = 8 + len(_write_directory(order, {**entries, _EXIF_DIRECTORY: pointer}, 8))
    pointer = _Entry(_EXIF_DIRECTORY, _LONG, 1, struct.pack(order + "I", start))
    first = _write_directory(order, {**entries, _EXIF_DIRECTORY: pointer}, 8)
    return header + first + _write_directory(order, exif_entries, start)


def _write_directory(order: str, entries: dict[int, _Entry], start: int) -> bytes:
    """Return a directory that begins at ``start``, followed by the values that do not fit into its entries."""
    rows, values = b"", b""
    values_start = start + 2 + 12 * len(entries) + 4
    for _, entry in sorted(entries.items()):
        field = entry.value.ljust(4, b"\0")
        if len(entry.value) > 4:
            field = struct.pack(order + "I", values_start + len(values))
            values += entry.value + bytes(len(entry.value) % 2)
        rows += struct.pack(order + "HHI", entry.tag, entry.type, entry.count) + field
    return struct.pack(order + "H", len(entries)) + rows + bytes(4) + values
