"""ICC profiles, checked before Little CMS reads them; see ICC.1:2022, sections 7 and 10.

Little CMS follows whatever a profile says, and 50 kB can describe hours of work. So a profile is written again with only those
tags that a conversion to sRGB reads: a matrix and curves, or one table (``lut8Type``, ``lut16Type``, ``lutAToBType``). Each has
a fixed number of steps and a bounded number of values. Floating-point pipelines (``multiProcessElementsType``), which have
neither, are left out.
"""

from __future__ import annotations

import struct

# By the colour space of a profile's device: how many channels it has.
_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}
_CONNECTION_SPACES = (b"XYZ ", b"Lab ")
_CONNECTION_CHANNELS = 3

_HEADER_BYTES = 128
_MAX_TAGS = 100  # as Little CMS
_MAX_CURVE_POINTS = 65_536
_MAX_TABLE_POINTS = 4_096  # of a lut16Type's curves, by its specification
_MAX_GRID_NODES = 2**20  # the largest in use, 33 per ink and 17 of four inks, have about 36,000 and 84,000

_XYZ_TAGS = (b"wtpt", b"bkpt", b"rXYZ", b"gXYZ", b"bXYZ")
_CURVE_TAGS = (b"rTRC", b"gTRC", b"bTRC", b"kTRC")
_PARAMETER_COUNTS = (1, 3, 4, 5, 7)  # of a parametric curve, by its function


class UnusableProfileError(Exception):
    """The profile is not one that is converted by; the message says why."""


def rebuild_profile(profile: bytes) -> bytes:
    """Return ``profile`` with only the tags that are needed, each of a known type and a bounded size.

    Raises:
        UnusableProfileError: It is broken, of another kind, or larger than a conversion needs.
    """
    try:
        tags = _read_tags(profile)
        channels = _CHANNELS.get(profile[16:20], 0)
        if not channels or profile[20:24] not in _CONNECTION_SPACES:
            raise UnusableProfileError("it is not of grey, RGB or CMYK, or does not lead to XYZ or Lab")
        for name, content in tags.items():
            _check_tag(name, content, channels)
    except (struct.error, IndexError) as error:
        raise UnusableProfileError("it is cut off") from error
    return _write_profile(profile[:_HEADER_BYTES], tags)


def _read_tags(profile: bytes) -> dict[bytes, bytes]:
    """Return the contents of those tags that a conversion reads."""
    size, signature = struct.unpack_from(">I32x4s", profile)
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    end = min(size, len(profile))
    if signature != b"acsp" or count > _MAX_TAGS:
        raise UnusableProfileError(f"it does not begin as a profile does, or has more than {_MAX_TAGS} tags")
    tags: dict[bytes, bytes] = {}
    for index in range(count):
        name, start, length = struct.unpack_from(">4sII", profile, _HEADER_BYTES + 4 + 12 * index)
        if name not in (*_XYZ_TAGS, *_CURVE_TAGS, b"chad", b"A2B0"):
            continue
        if name in tags or start + length > end:
            raise UnusableProfileError("a tag is there twice, or ends beyond the profile")
        tags[name] = profile[start : start + length]
    return tags


def _write_profile(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    position = _HEADER_BYTES + 4 + 12 * len(tags)
    table, contents = [], []
    for name, content in tags.items():
        table.append(struct.pack(">4sII", name, position, len(content)))
        contents.append(content + bytes(-len(content) % 4))
        position += len(contents[-1])
    return b"".join([struct.pack(">I", position), header[4:], struct.pack(">I", len(tags)), *table, *contents])


def _check_tag(name: bytes, content: bytes, channels: int) -> None:
    if name in _CURVE_TAGS:
        _measure_curve(content)
    elif name == b"A2B0":
        _check_table(content, channels)
    else:
        kind, length = (b"sf32", 44) if name == b"chad" else (b"XYZ ", 20)
        if content[:4] != kind or not length <= len(content) <= length + 4:
            raise UnusableProfileError("a white point, a primary or an adaptation is not what it should be")


def _measure_curve(content: bytes) -> int:
    """Return the bytes of the curve at the beginning of ``content``."""
    kind = content[:4]
    if kind == b"curv":
        (count,) = struct.unpack_from(">I", content, 8)
        length: int = 12 + 2 * count
        is_bounded = count <= _MAX_CURVE_POINTS
    elif kind == b"para":
        (function,) = struct.unpack_from(">H", content, 8)
        is_bounded = function < len(_PARAMETER_COUNTS)
        length = 12 + 4 * _PARAMETER_COUNTS[function] if is_bounded else 0
    else:
        raise UnusableProfileError("a curve is of an unknown type")
    if not is_bounded or length > len(content):
        raise UnusableProfileError(
            f"a curve has more than {_MAX_CURVE_POINTS:,} points, is cut off, or is of no known function"
        )
    return length


def _check_table(content: bytes, channels: int) -> None:
    kind = content[:4]
    if kind not in (b"mft1", b"mft2", b"mAB "):
        raise UnusableProfileError("a table is of an unknown type")
    inputs, outputs, grid = content[8], content[9], content[10]
    if (inputs, outputs) != (channels, _CONNECTION_CHANNELS):
        raise UnusableProfileError("a table has other channels than its profile")
    if kind == b"mAB ":
        _check_stages(content, channels)
        return
    if kind == b"mft1":
        start, points, value_bytes = 48, 256 * (inputs + outputs), 1
    else:
        input_points, output_points = struct.unpack_from(">HH", content, 48)
        if not (2 <= input_points <= _MAX_TABLE_POINTS and 2 <= output_points <= _MAX_TABLE_POINTS):
            raise UnusableProfileError(f"a table's curves have not 2 to {_MAX_TABLE_POINTS:,} points")
        start, points, value_bytes = 52, input_points * inputs + output_points * outputs, 2
    values = points + _count_nodes([grid] * inputs) * outputs
    if start + values * value_bytes > len(content):
        raise UnusableProfileError("a table is cut off")


def _check_stages(content: bytes, channels: int) -> None:
    """Check the five steps of a ``lutAToBType``, of which each is there once at most."""
    output_curves, matrix, middle_curves, grid, input_curves = struct.unpack_from(">5I", content, 12)
    curve_sets = (
        (output_curves, _CONNECTION_CHANNELS),
        (middle_curves, _CONNECTION_CHANNELS),
        (input_curves, channels),
    )
    for start, count in curve_sets:
        position = start
        for _ in range(count if start else 0):
            length = _measure_curve(content[position:])
            position += length + -length % 4
    if matrix and matrix + 48 > len(content):
        raise UnusableProfileError("a matrix is cut off")
    if grid:
        value_bytes = content[grid + 16]
        nodes = _count_nodes(list(content[grid : grid + channels]))
        if value_bytes not in (1, 2) or grid + 20 + nodes * _CONNECTION_CHANNELS * value_bytes > len(content):
            raise UnusableProfileError("a table is cut off")


def _count_nodes(sides: list[int]) -> int:
    """Return how many nodes a grid has; each of its sides has at least two."""
    nodes = 1
    for side in sides:
        nodes *= side
    if min(sides) < 2 or nodes > _MAX_GRID_NODES:
        raise UnusableProfileError(f"a table has a side of less than 2 nodes, or more than {_MAX_GRID_NODES:,} nodes")
    return nodes
