"""The check of a whole bundle: manifest, files, and that graphs take and give what the manifest says."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from dorian_bundle import Bundle, GraphFileError, GraphSignatureError, load_bundle
from dorian_bundle.graphs import Signature, TensorSpec


def check_bundle(folder: Path) -> Bundle:
    """Load and verify the bundle in ``folder``, graphs included; raises ``BundleError`` if anything is wrong with it."""
    bundle = load_bundle(folder)
    for graph in bundle.manifest.graphs.values():
        for file in graph.files:
            graph.signature.require_same(read_signature(folder / file.path), f"the file {file.path}")
    return bundle


def read_signature(path: Path) -> Signature:
    """Read what the ONNX file at ``path`` takes and gives.

    ``GraphSignatureError`` for types other than float32, ``GraphFileError`` for another kind of file.
    """
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except DecodeError as error:
        raise GraphFileError(f"{path} is not an ONNX file: {error}") from error
    return Signature(
        inputs=tuple(_spec(value) for value in graph.input), outputs=tuple(_spec(value) for value in graph.output)
    )


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise GraphSignatureError(f"{value.name} is of type {kind}; graphs take and give FLOAT")
    shape = tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim)
    return TensorSpec(name=value.name, shape=shape)
