"""Image files taken apart into their named parts, changed part by part, and written again with lengths and checksums that fit, or lie.

JPEG has segments, PNG and WebP have chunks, HEIF, AVIF and JPEG XL have boxes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from bench.attack.mutations import damage, odd_number

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_SCAN = b"\xda"


@dataclass(frozen=True)
class Part:
    """A part of a file.

    Args:
        kind: Marker of a segment, name of a chunk or box; empty for bytes that stand alone, as a JPEG's scans.
        content: What it holds.
        length: What it says to hold, where that is a lie.
        checksum: What is written for its checksum, where that is a lie.
    """

    kind: bytes
    content: bytes
    length: int | None = None
    checksum: int | None = None


@dataclass(frozen=True)
class Layout:
    """How the files of a family are taken apart and written.

    Args:
        name: Of the family.
        matches: Whether a file is of it.
        read: Takes a file apart.
        write: Puts parts together.
        kinds: Those that parts of other files of the family have.
    """

    name: str
    matches: Callable[[bytes], bool]
    read: Callable[[bytes], list[Part]]
    write: Callable[[Sequence[Part]], bytes]
    kinds: tuple[bytes, ...]


# --- JPEG ---


def read_jpeg(data: bytes) -> list[Part]:
    """Return the segments of a JPEG file, and from the first scan on all the rest as one."""
    parts, position = [], 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        kind, (length,) = data[position + 1 : position + 2], struct.unpack_from(">H", data, position + 2)
        parts.append(Part(kind, data[position + 4 : position + 2 + length]))
        position += 2 + length
        if kind == _SCAN:
            break
    return [*parts, Part(b"", data[position:])]


def write_jpeg(parts: Sequence[Part]) -> bytes:
    """Return a JPEG file of ``parts``; contents that are too long for a segment are cut."""
    written = [b"\xff\xd8"]
    for part in parts:
        if not part.kind:
            written.append(part.content)
            continue
        content = part.content[:65_533]
        length = len(content) + 2 if part.length is None else part.length & 0xFFFF
        written.append(b"\xff" + part.kind[:1] + struct.pack(">H", length) + content)
    return b"".join(written)


# --- PNG ---


def read_png(data: bytes) -> list[Part]:
    """Return the chunks of a PNG file."""
    parts, position = [], len(PNG_MAGIC)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        parts.append(Part(kind, data[position + 8 : position + 8 + length]))
        position += 12 + length
    return parts


def write_png(parts: Sequence[Part]) -> bytes:
    """Return a PNG file of ``parts``."""
    written = [PNG_MAGIC]
    for part in parts:
        length = len(part.content) if part.length is None else part.length & 0xFFFFFFFF
        checksum = zlib.crc32(part.kind + part.content) if part.checksum is None else part.checksum
        written.append(struct.pack(">I", length) + part.kind + part.content + struct.pack(">I", checksum))
    return b"".join(written)


# --- WebP ---


def read_webp(data: bytes) -> list[Part]:
    """Return the chunks of a WebP file."""
    parts, position = [], 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        parts.append(Part(kind, data[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    return parts


def write_webp(parts: Sequence[Part]) -> bytes:
    """Return a WebP file of ``parts``."""
    written = []
    for part in parts:
        length = len(part.content) if part.length is None else part.length & 0xFFFFFFFF
        written.append(part.kind + struct.pack("<I", length) + part.content + bytes(len(part.content) % 2))
    body = b"WEBP" + b"".join(written)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# --- boxes ---


def read_boxes(data: bytes) -> list[Part]:
    """Return the outermost boxes of a HEIF, AVIF or JPEG XL file."""
    parts, position = [], 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + length if length >= 8 else len(data)
        parts.append(Part(kind, data[position + 8 : end]))
        position = end
    return parts


def write_boxes(parts: Sequence[Part]) -> bytes:
    """Return a file of ``parts``."""
    written = []
    for part in parts:
        length = len(part.content) + 8 if part.length is None else part.length & 0xFFFFFFFF
        written.append(struct.pack(">I", length) + part.kind + part.content)
    return b"".join(written)


_SEGMENTS = (0xC0, 0xC1, 0xC2, 0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0x01)
LAYOUTS = (
    Layout(
        "JPEG",
        lambda data: data.startswith(b"\xff\xd8"),
        read_jpeg,
        write_jpeg,
        tuple(bytes([marker]) for marker in _SEGMENTS),
    ),
    Layout(
        "PNG",
        lambda data: data.startswith(PNG_MAGIC),
        read_png,
        write_png,
        tuple(
            b"IHDR PLTE IDAT IEND tRNS cHRM gAMA sBIT sRGB cICP iCCP tEXt zTXt iTXt eXIf bKGD pHYs acTL fcTL fdAT".split()
        ),
    ),
    Layout(
        "WebP",
        lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
        read_webp,
        write_webp,
        (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"ICCP", b"XMP "),
    ),
    Layout(
        "boxes",
        lambda data: data[4:8] in (b"ftyp", b"JXL ", b"jP  "),
        read_boxes,
        write_boxes,
        tuple(b"ftyp meta mdat free moov jxlc jxlp Exif jumb colr ipco iref iinf iloc".split()),
    ),
)


def mutate_parts(random: Random, layout: Layout, data: bytes, pool: Sequence[bytes]) -> bytes:
    """Return ``data`` with one to four of its parts changed.

    Args:
        random: Chooses.
        layout: The family of ``data``.
        data: A whole file.
        pool: Other files of the family, whose parts may be put into it.
    """
    parts = layout.read(data)
    for _ in range(random.randint(1, 4)):
        random.choice(_CHANGES)(random, layout, parts, pool)
    return layout.write(parts)


Change = Callable[[Random, Layout, list[Part], Sequence[bytes]], None]


def _damage(random: Random, layout: Layout, parts: list[Part], pool: Sequence[bytes]) -> None:
    if parts:
        index = random.randrange(len(parts))
        parts[index] = replace(parts[index], content=damage(random, parts[index].content))


def _lie(random: Random, layout: Layout, parts: list[Part], pool: Sequence[bytes]) -> None:
    if parts:
        index = random.randrange(len(parts))
        if random.random() < 0.2:
            parts[index] = replace(parts[index], checksum=random.getrandbits(32))
        else:
            parts[index] = replace(parts[index], length=odd_number(random))


def _rename(random: Random, layout: Layout, parts: list[Part], pool: Sequence[bytes]) -> None:
    if parts:
        index = random.randrange(len(parts))
        parts[index] = replace(parts[index], kind=random.choice(layout.kinds))


def _drop(random: Random, layout: Layout, parts: list[Part], pool: Sequence[bytes]) -> None:
    if parts:
        del parts[random.randrange(len(parts))]


def _repeat(random: Random, layout: Layout, parts: list[Part], pool: Sequence[bytes]) -> None:
    if parts:
        part = random.choice(parts)
        times = random.choice((1, 1, 2, 10, 100, 1000))
        if times * len(part.content) < 2**20:
            place = random.randrange(len(parts) + 1)
            parts[place:place] = [part] * times


def _swap(random: Random, layout: Layout, parts: list[Part], pool: Sequence[bytes]) -> None:
    if parts:
        i, j = random.randrange(len(parts)), random.randrange(len(parts))
        parts[i], parts[j] = parts[j], parts[i]


def _insert(random: Random, layout: Layout, parts: list[Part], pool: Sequence[bytes]) -> None:
    size = random.choice((0, 1, 2, 4, 8, 16, 100, 1000))
    parts.insert(random.randrange(len(parts) + 1), Part(random.choice(layout.kinds), random.randbytes(size)))


def _graft(random: Random, layout: Layout, parts: list[Part], pool: Sequence[bytes]) -> None:
    others = layout.read(random.choice(pool))
    if others:
        parts.insert(random.randrange(len(parts) + 1), random.choice(others))


_CHANGES: tuple[Change, ...] = (*(_damage,) * 4, *(_lie,) * 2, _rename, _drop, _repeat, _swap, _insert, _graft)
