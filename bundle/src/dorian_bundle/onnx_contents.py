"""What an ONNX file holds, read without a library for it: whether all that it loads is in the file itself.

Weights may lie in other files, which an ONNX file names; no hash of the ONNX file covers those. They are found by following the
messages of onnx.proto3 that can lead to a tensor, as far as their encoding goes: a tag, then a number or so many bytes
(https://protobuf.dev/programming-guides/encoding). What such a message holds besides is skipped, not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from dorian_bundle.errors import ExternalDataError, GraphFileError

MAX_FIELDS = 1_000_000  # read of one file; the largest graph of the embedded bundle has 10,440

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types; groups, 3 and 4, are in no ONNX file
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_TAG = 2**32 - 1
_MAX_VARINT_BYTES = 10
_SHOWN = 100  # characters of a name in an error


class _Message(Enum):
    """The messages that a tensor can be in."""

    MODEL = "ModelProto"
    TRAINING = "TrainingInfoProto"
    FUNCTION = "FunctionProto"
    GRAPH = "GraphProto"
    NODE = "NodeProto"
    ATTRIBUTE = "AttributeProto"
    SPARSE_TENSOR = "SparseTensorProto"
    TENSOR = "TensorProto"


# The fields that lead on, by number.
FIELDS: Mapping[_Message, Mapping[int, _Message]] = {
    _Message.MODEL: {7: _Message.GRAPH, 20: _Message.TRAINING, 25: _Message.FUNCTION},
    _Message.TRAINING: {1: _Message.GRAPH, 2: _Message.GRAPH},
    _Message.FUNCTION: {7: _Message.NODE, 11: _Message.ATTRIBUTE},
    _Message.GRAPH: {1: _Message.NODE, 5: _Message.TENSOR, 15: _Message.SPARSE_TENSOR},
    _Message.NODE: {5: _Message.ATTRIBUTE},
    _Message.ATTRIBUTE: {
        5: _Message.TENSOR,
        6: _Message.GRAPH,
        10: _Message.TENSOR,
        11: _Message.GRAPH,
        22: _Message.SPARSE_TENSOR,
        23: _Message.SPARSE_TENSOR,
    },
    _Message.SPARSE_TENSOR: {1: _Message.TENSOR, 2: _Message.TENSOR},
    _Message.TENSOR: {},
}
_OPERATOR = 4  # of a node
_COMPILED = b"EPContext"  # the operator of a part that an execution provider has compiled, into a file of its own
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14  # of a tensor


def require_self_contained(data: bytes, path: str) -> None:
    """Check that an ONNX file loads nothing from other files.

    Tensors are looked for in graphs, in subgraphs, functions and attributes of any depth, in sparse tensors and in training information.

    Args:
        data: All of the file.
        path: Its name in errors.

    Raises:
        ExternalDataError: It does.
        GraphFileError: It is no ONNX file, or has more than ``MAX_FIELDS`` fields.
    """
    pending = [(_Message.MODEL, 0, len(data))]
    count = 0
    try:
        while pending:
            message, start, end = pending.pop()
            parts = FIELDS[message]
            for number, wire, value, size in _fields(data, start, end):
                count += 1
                if count > MAX_FIELDS:
                    raise GraphFileError(f"graph file {path} has more than {MAX_FIELDS:,} fields; graphs have fewer")
                if number in parts and wire == _BYTES:
                    pending.append((parts[number], value, value + size))
                elif message is _Message.TENSOR and _is_external(number, wire, value):
                    raise ExternalDataError(_describe_external(data, start, end, path))
                elif message is _Message.NODE and number == _OPERATOR and data[value : value + size] == _COMPILED:
                    raise ExternalDataError(
                        f"graph file {path} has an EPContext node, which loads a compiled graph that the manifest's hashes do not"
                        " cover; give the graph as it was before it was compiled"
                    )
    except ValueError as error:
        raise GraphFileError(f"graph file {path} is not an ONNX file: {error}") from error


def _is_external(number: int, wire: int, value: int) -> bool:
    """Return whether a field of a tensor says that its values lie elsewhere; in the file itself they are at location 0."""
    return number == _EXTERNAL_DATA or (number == _DATA_LOCATION and (wire != _VARINT or value != 0))


def _describe_external(data: bytes, start: int, end: int, path: str) -> str:
    names = [
        data[value : value + size]
        for number, wire, value, size in _fields(data, start, end)
        if number == _NAME and wire == _BYTES
    ]
    name = names[-1].decode(errors="replace")[:_SHOWN] if names else ""
    return (
        f"graph file {path} has the values of the tensor {name!r} in another file, which the manifest's hashes do not cover;"
        " put all into one: onnx.save(onnx.load(FILE), FILE), then note its new size and SHA-256 in the manifest"
    )


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the fields of the message in ``data[start:end]``.

    Yields:
        Number, wire type, the value of a number or else where the bytes begin, and how many bytes there are.

    Raises:
        ValueError: The bytes are no message.
    """
    position = start
    while position < end:
        tag, position = _read_varint(data, position, end)
        number, wire = tag >> 3, tag & 7
        if tag > _MAX_TAG or number == 0:
            raise ValueError(f"there is no field with the tag {tag}")
        if wire == _VARINT:
            value, position = _read_varint(data, position, end)
            yield number, wire, value, 0
            continue
        if wire == _BYTES:
            size, position = _read_varint(data, position, end)
        elif wire in _FIXED_SIZES:
            size = _FIXED_SIZES[wire]
        else:
            raise ValueError(f"field {number} has the wire type {wire}")
        if size > end - position:
            raise ValueError(f"field {number} is said to have {size} bytes, of which there are {end - position}")
        yield number, wire, position, size
        position += size


def _read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Return the number at ``position``, of 7 bits in each byte, the least first, and where it ends."""
    if position < end and data[position] < 0x80:  # as nearly all are
        return data[position], position + 1
    result = 0
    for shift in range(_MAX_VARINT_BYTES):
        if position >= end:
            raise ValueError("it ends within a number")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return result, position
    raise ValueError(f"a number has more than {_MAX_VARINT_BYTES} bytes")
