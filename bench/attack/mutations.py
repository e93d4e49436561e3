"""Small damage to bytes, and numbers at which parsers go wrong; all of it drawn from a ``Random`` of known seed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 12, 13, 16, 31, 32, 64, 127, 128, 255, 256, 1000, 4096, 16_383, 16_384, 32_767, 65_535)
_LARGE = (65_536, 2**24 - 1, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)


def odd_number(random: Random, bits: int = 32) -> int:
    """Return a number below 2**``bits``, often at an edge of what some field holds."""
    number = random.choice([*_NUMBERS, *_LARGE, random.getrandbits(bits), random.getrandbits(8)])
    return number % 2**bits


def damage(random: Random, data: bytes, most: int = 8) -> bytes:
    """Return ``data`` with up to ``most`` bytes, numbers or spans of it changed."""
    changed = bytearray(data)
    for _ in range(random.randint(1, most)):
        if not changed:
            return random.randbytes(random.randint(0, 64))
        random.choice(_DAMAGES)(random, changed)
    return bytes(changed)


def _flip(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _replace(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))


def _write_number(random: Random, data: bytearray) -> None:
    size, code = random.choice(((2, "H"), (4, "I")))
    if len(data) >= size:
        start = random.randrange(len(data) - size + 1)
        data[start : start + size] = struct.pack(random.choice("<>") + code, odd_number(random, 8 * size))


def _insert(random: Random, data: bytearray) -> None:
    start = random.randrange(len(data) + 1)
    data[start:start] = random.choice((bytes, random.randbytes))(random.choice((1, 2, 3, 8, 64)))


def _delete(random: Random, data: bytearray) -> None:
    start = random.randrange(len(data))
    del data[start : start + random.choice((1, 2, 3, 8, 64, 512))]


def _repeat(random: Random, data: bytearray) -> None:
    start = random.randrange(len(data))
    data[start:start] = data[start : start + random.choice((1, 4, 16, 256))] * random.choice((1, 2, 8))


def _cut(random: Random, data: bytearray) -> None:
    del data[random.randrange(len(data)) :]


_DAMAGES: tuple[Callable[[Random, bytearray], None], ...] = (
    *(_flip,) * 3,
    *(_replace,) * 3,
    *(_write_number,) * 4,
    _insert,
    _delete,
    _repeat,
    _cut,
)
