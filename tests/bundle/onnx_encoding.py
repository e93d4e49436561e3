"""The encoding of ONNX files, by hand: these tests run without a library for them."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """A number in 7 bits a byte, the least first."""
    result = bytearray()
    while value >= 0x80:
        result.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*result, value])


def number(field: int, value: int) -> bytes:
    """A field that is a number."""
    return varint(field << 3) + varint(value)


def part(field: int, content: bytes | str) -> bytes:
    """A field that is a message, a text or bytes."""
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def empty_model(producer: str) -> bytes:
    """An ONNX file without a graph, which says who made it."""
    return number(1, 8) + part(2, producer)
