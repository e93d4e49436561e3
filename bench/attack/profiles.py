"""ICC profiles and EXIF that are well-formed up to a point, with what asks for much work, points elsewhere, or contradicts itself."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from random import Random

from bench.attack.mutations import damage, odd_number
from bench.attack.parts import Part
from tests.hostile_images import srgb_profile

_SPACES = (b"RGB ", b"RGB ", b"GRAY", b"CMYK", b"Lab ", b"XYZ ", b"HSV ", b"2CLR", b"FCLR")
_CLASSES = (b"mntr", b"mntr", b"scnr", b"prtr", b"spac", b"link", b"nmcl", b"abst")
_TAGS = b"rXYZ gXYZ bXYZ wtpt chad rTRC gTRC bTRC kTRC A2B0 A2B1 B2A0 D2B0 gamt desc cprt cicp".split()
_MAX_SIDE = 255


def make_profile(random: Random) -> bytes:
    """Return a profile: sRGB's with damage, or one of generated tags."""
    if random.random() < 0.3:
        return damage(random, srgb_profile())
    tags = [(random.choice(_TAGS), _make_tag(random)) for _ in range(random.choice((0, 1, 3, 5, 9, 9, 12)))]
    if random.random() < 0.7:  # all that a profile of a display has
        tags += [(name, _make_xyz(random)) for name in (b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt")]
        tags += [(name, _make_curve(random)) for name in (b"rTRC", b"gTRC", b"bTRC", b"kTRC")]
    return _write(random, tags)


def _write(random: Random, tags: list[tuple[bytes, bytes]]) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    table, contents, position = [], [], start
    for name, content in tags:
        place, length = position, len(content)
        if random.random() < 0.04:
            place = random.choice((0, 128, start, odd_number(random)))
        if random.random() < 0.04:
            length = odd_number(random)
        table.append(struct.pack(">4sII", name, place, length))
        contents.append(content + bytes(-len(content) % 4))
        position += len(contents[-1])
    count = odd_number(random) if random.random() < 0.04 else len(tags)
    header = bytearray(128)
    struct.pack_into(">I4sI4s4s4s", header, 0, position, b"lcms", 0x04300000, random.choice(_CLASSES), b"", b"")
    header[16:24] = random.choice(_SPACES) + random.choice((b"XYZ ", b"XYZ ", b"Lab ", b"RGB "))
    header[36:40] = b"acsp"
    struct.pack_into(">III", header, 68, 63_190, 65_536, 54_061)
    return bytes(header) + struct.pack(">I", count) + b"".join(table) + b"".join(contents)


def _make_tag(random: Random) -> bytes:
    makers = (_make_curve, _make_xyz, _make_table, _make_table, _make_stages, _make_elements, _make_text)
    content = random.choice(makers)(random)
    return damage(random, content, 2) if random.random() < 0.2 else content


def _make_curve(random: Random) -> bytes:
    if random.random() < 0.4:
        function = random.choice((0, 1, 2, 3, 4, 5, 65_535))
        numbers = [random.choice((0, 1, 65_536, 144_179, -65_536, 2**31 - 1, -(2**31))) for _ in range(7)]
        return b"para" + bytes(4) + struct.pack(">HH", function, 0) + struct.pack(">7i", *numbers)
    count = random.choice((0, 1, 2, 256, 1024, 4096, 20_000))
    said = odd_number(random) if random.random() < 0.1 else count
    return b"curv" + bytes(4) + struct.pack(">I", said) + random.randbytes(2 * count)


def _make_xyz(random: Random) -> bytes:
    numbers = (random.choice((0, 1, 28_000, 65_536, -65_536, 2**31 - 1)) for _ in range(3))
    return b"XYZ " + bytes(4) + struct.pack(">3i", *numbers)


def _make_table(random: Random) -> bytes:
    """Return a ``lut8Type`` or a ``lut16Type``."""
    kind = random.choice((b"mft1", b"mft2"))
    inputs, outputs = random.choice((1, 3, 3, 3, 4, 15, 0)), random.choice((3, 3, 3, 1, 4, 16))
    grid = random.choice((0, 1, 2, 9, 17, 33, 64, _MAX_SIDE))
    head = kind + bytes(4) + bytes([inputs, outputs, grid, 0]) + struct.pack(">9i", *[65_536, 0, 0, 0] * 2, 65_536)
    points = 256
    if kind == b"mft2":
        points = random.choice((0, 1, 2, 256, 4096, 4097))
        head += struct.pack(">HH", points, points)
    values = points * (inputs + outputs) + min(grid**inputs, 200_000) * outputs
    return head + random.randbytes(min(values * (2 if kind == b"mft2" else 1), 400_000))


def _make_stages(random: Random) -> bytes:
    """Return a ``lutAToBType``: curves, a table, curves, a matrix, curves, some of which lie elsewhere."""
    channels, outputs = random.choice((3, 3, 4, 1, 15)), random.choice((3, 3, 4))
    stages = [b"".join(_pad(_make_curve(random)) for _ in range(count)) for count in (outputs, 0, outputs, 0, channels)]
    stages[1] = struct.pack(">12i", *(random.choice((0, 65_536, -65_536, 2**31 - 1)) for _ in range(12)))
    side = random.choice((0, 1, 2, 9, 17, 33, _MAX_SIDE))
    grid = bytes([side] * channels).ljust(16, b"\0") + bytes([random.choice((1, 2, 0, 3)), 0, 0, 0])
    stages[3] = grid + random.randbytes(min(side**channels * outputs, 200_000))
    offsets, position = [], 32
    for stage in stages:
        offsets.append(random.choice((position, position, position, 0, 32, odd_number(random))))
        position += len(_pad(stage))
    return (
        b"mAB "
        + bytes(4)
        + bytes([channels, outputs, 0, 0])
        + struct.pack(">5I", *offsets)
        + b"".join(map(_pad, stages))
    )


def _make_elements(random: Random) -> bytes:
    """Return a ``multiProcessElementsType``: many stages one after the other, which cost whoever runs them."""
    count = random.choice((1, 10, 1000, 4000))
    matrix = b"matf" + bytes(4) + struct.pack(">HH", 3, 3) + struct.pack(">12f", *[1.0, 0, 0, 0] * 3)
    start = 16 + 8 * count
    positions = b"".join(struct.pack(">II", start, len(matrix)) for _ in range(count))
    return b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, count) + positions + matrix


def _make_text(random: Random) -> bytes:
    return (
        random.choice((b"desc", b"mluc", b"text"))
        + bytes(4)
        + struct.pack(">II", odd_number(random), 12)
        + random.randbytes(40)
    )


def _pad(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


# --- EXIF ---


def make_exif(random: Random) -> bytes:
    """Return a TIFF file of up to four directories whose entries may lie anywhere, and point anywhere."""
    order = random.choice("<>")
    mark = b"II" if order == "<" else b"MM"
    first = random.choice((8, 8, 8, 0, odd_number(random)))
    written = mark + struct.pack(order + "HI", 42, first)
    for _ in range(random.randint(1, 4)):
        count = random.choice((0, 1, 3, 10, 600))
        entries = b"".join(_make_entry(random, order) for _ in range(min(count, 600)))
        said = odd_number(random, 16) if random.random() < 0.1 else count
        written += struct.pack(order + "H", said) + entries + struct.pack(order + "I", odd_number(random))
    return written + random.randbytes(random.choice((0, 10, 2000)))


def _make_entry(random: Random, order: str) -> bytes:
    tag = random.choice(
        (0x0112, 0x8769, 0x8825, 0x010E, 0x010F, 0x0132, 0x9003, 0x927C, 0xA405, random.getrandbits(16))
    )
    kind, count = (
        random.choice((1, 2, 3, 4, 5, 7, 9, 10, 12, 0, 13, 65_535)),
        random.choice((1, 1, 0, 2, 20, odd_number(random))),
    )
    return struct.pack(order + "HHII", tag, kind, count, random.choice((1, 6, 8, 26, odd_number(random))))


# --- where files carry them ---


def carry(random: Random, layout: str, parts: list[Part]) -> list[Part]:
    """Return ``parts`` of a JPEG, PNG or WebP file with a made profile, made EXIF, or odd numbers about colours."""
    choices: tuple[Callable[[Random, str], list[Part]], ...] = (
        _carry_profile,
        _carry_profile,
        _carry_exif,
        _carry_colours,
    )
    place = 0 if layout == "JPEG" else 1
    kinds = {b"iCCP", b"ICCP", b"eXIf", b"EXIF"}
    kept = [part for part in parts if part.kind not in kinds]
    kept[place:place] = random.choice(choices)(random, layout)
    if layout == "WebP" and kept and kept[0].kind == b"VP8X" and kept[0].content:
        kept[0] = Part(b"VP8X", bytes([kept[0].content[0] | 0x28]) + kept[0].content[1:])
    return kept


def _carry_profile(random: Random, layout: str) -> list[Part]:
    profile = make_profile(random)
    if layout == "PNG":
        return [Part(b"iCCP", b"profile\0\0" + zlib.compress(profile, 1))]
    if layout == "WebP":
        return [Part(b"ICCP", profile)]
    pieces = [profile[start : start + 65_000] for start in range(0, len(profile), 65_000)]
    said = odd_number(random, 8) if random.random() < 0.1 else len(pieces) % 256
    return [
        Part(b"\xe2", b"ICC_PROFILE\0" + bytes([index % 256, said]) + piece) for index, piece in enumerate(pieces, 1)
    ]


def _carry_exif(random: Random, layout: str) -> list[Part]:
    exif = make_exif(random)
    if layout == "JPEG":
        return [Part(b"\xe1", b"Exif\0\0" + exif)]
    return [Part(b"eXIf" if layout == "PNG" else b"EXIF", exif)]


def _carry_colours(random: Random, layout: str) -> list[Part]:
    if layout != "PNG":
        return _carry_profile(random, layout)
    made = {
        b"gAMA": struct.pack(">I", odd_number(random)),
        b"cHRM": struct.pack(">8I", *(odd_number(random) for _ in range(8))),
        b"sRGB": bytes([odd_number(random, 8)]),
        b"cICP": bytes(odd_number(random, 8) for _ in range(4)),
        b"tRNS": random.randbytes(random.choice((0, 1, 2, 6, 256, 300))),
        b"sBIT": random.randbytes(random.choice((1, 3, 4))),
    }
    return [Part(kind, content) for kind, content in random.sample(sorted(made.items()), random.randint(1, 4))]
