"""Pictures that are fuzzed along the structure of their files, each made from a seed and its number."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from PIL import Image, features

from bench.attack.mutations import damage, odd_number
from bench.attack.parts import LAYOUTS, Layout, Part, mutate_parts
from bench.attack.profiles import carry
from bench.load import photos
from bench.load.server import ROOT
from dorian_server.images.formats import FORMATS
from tests.hostile_images import bases

_CASES = ROOT.parent / "shared" / "cases"
_MAX_SEED_BYTES = 600_000  # of a picture that is taken as a seed
_SIDE = 160
_TAKEN = 0.9  # share of pictures made from formats that the server takes


@cache
def seeds() -> dict[str, bytes]:
    """Return the whole files that are damaged, by name: painted ones, people, foreign formats, and ../shared/cases where it is there."""
    head = Image.open(io.BytesIO(photos.head()))
    person = head.resize((_SIDE, _SIDE * head.height // head.width))
    deep = Image.fromarray(np.asarray(person.convert("L")).astype(np.uint16) * 257)
    files = {f"painted-{name}": data for name, data in bases().items()}
    files |= {
        "person-jpeg": _write(person, "JPEG"),
        "person-progressive": _write(person, "JPEG", progressive=True, optimize=True),
        "person-cmyk": _write(person.convert("CMYK"), "JPEG"),
        "person-grey": _write(person.convert("L"), "JPEG"),
        "person-restarts": _write(person, "JPEG", restart_marker_blocks=2),
        "person-mpo": _write(person, "MPO", save_all=True, append_images=[person]),
        "person-png": _write(person, "PNG"),
        "person-palette": _write(person.quantize(64), "PNG", transparency=bytes(range(64))),
        "person-deep": _write(deep, "PNG"),
        "person-webp": _write(person, "WEBP"),
        "person-lossless": _write(person, "WEBP", lossless=True),
        "person-animated": _write(person, "WEBP", save_all=True, append_images=[person.rotate(9)]),
        "person-gif": _write(person, "GIF", save_all=True, append_images=[person.rotate(9)]),
        "person-bmp": _write(person, "BMP"),
        "person-tiff": _write(person, "TIFF", compression="tiff_lzw"),
    }
    if features.check("avif"):
        files["person-avif"] = _write(person, "AVIF")
    for path in sorted(_CASES.glob("*.*")) if _CASES.is_dir() else []:
        if path.suffix != ".md" and path.stat().st_size <= _MAX_SEED_BYTES:
            files[f"case-{path.name}"] = path.read_bytes()
    return files


def _write(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_picture(seed: int, number: int) -> tuple[str, bytes]:
    """Return the name and the bytes of picture ``number`` of a ``seed``; the same at each call, on any machine with the same seeds."""
    random = Random(f"{seed}/{number}")
    name = random.choice(_names(random.random() < _TAKEN))
    data = seeds()[name]
    layout = next((layout for layout in LAYOUTS if layout.matches(data)), None)
    kinds = (*(_mutate_parts,) * 5, *(_carry,) * 4, *(_resize,) * 2, _damage) if layout else (_damage,)
    way: Callable[[Random, Layout | None, bytes], bytes] = random.choice(kinds)
    return f"{number} {way.__name__.strip('_')} {name}", way(random, layout, data)


@cache
def _names(are_taken: bool) -> list[str]:
    """Return the names of the seeds that the server takes, or of those of formats that it does not know."""
    return sorted(
        name for name, data in seeds().items() if any(spec.matches(data) for spec in FORMATS.values()) is are_taken
    )


@cache
def _pool(layout: Layout) -> list[bytes]:
    return [data for data in seeds().values() if layout.matches(data)]


def _mutate_parts(random: Random, layout: Layout | None, data: bytes) -> bytes:
    assert layout is not None
    return mutate_parts(random, layout, data, _pool(layout))


def _carry(random: Random, layout: Layout | None, data: bytes) -> bytes:
    assert layout is not None
    if layout.name == "boxes":
        return _mutate_parts(random, layout, data)
    return layout.write(carry(random, layout.name, layout.read(data)))


def _damage(random: Random, layout: Layout | None, data: bytes) -> bytes:
    return damage(random, data, 12)


def _resize(random: Random, layout: Layout | None, data: bytes) -> bytes:
    """Return ``data`` with other sides, depth or colours in the header of its image, so that its pixels do not fit."""
    assert layout is not None
    parts = layout.read(data)
    for index, part in enumerate(parts):
        if part.kind in _HEADERS:
            content = bytearray(part.content)
            for place in range(*_HEADERS[part.kind]):
                if place < len(content) and random.random() < 0.4:
                    content[place] = odd_number(random, 8)
            parts[index] = Part(part.kind, bytes(content))
    return layout.write(parts)


# By the kind of a part: from where to where in it sides, depth and colours are.
_HEADERS = {
    b"\xc0": (0, 15),
    b"\xc2": (0, 15),
    b"IHDR": (0, 13),
    b"acTL": (0, 8),
    b"fcTL": (0, 26),
    b"VP8X": (0, 10),
    b"VP8 ": (3, 10),
    b"VP8L": (0, 5),
    b"ANMF": (0, 16),
    b"meta": (0, 400),
}
