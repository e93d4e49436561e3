"""ONNX files whose weights lie elsewhere are found wherever a tensor can be, and only those; so are files that are no ONNX."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest

from dorian_bundle import ExternalDataError, GraphFileError, load_bundle
from dorian_bundle.graphs import GraphFile
from dorian_bundle.onnx_contents import MAX_FIELDS, require_self_contained
from tests.bundle.onnx_encoding import number, part, varint

LOCATION = part(13, part(1, "location") + part(2, "weights.bin"))
EXTERNAL = number(14, 1)
NAME = part(8, "conv1.weight")
TENSOR = number(1, 2) + number(2, 1) + NAME + part(9, bytes(8))  # dims, float, its values
ENCODER = "graphs/age_cgan_encoder.fp16.onnx"


def graph_with(tensor: bytes) -> bytes:
    """A model whose graph has one tensor."""
    return number(1, 8) + part(7, part(5, tensor))


def in_attribute(attribute: bytes) -> bytes:
    """A model with a node that has an attribute."""
    return part(7, part(1, part(4, "Constant") + part(5, attribute)))


def deep(tensor: bytes) -> bytes:
    """A model with a tensor in the innermost of 50 subgraphs."""
    graph = part(5, tensor)
    for _ in range(50):
        graph = part(1, part(4, "If") + part(5, part(1, "then_branch") + part(6, graph)))
    return part(7, graph)


PLACES = {
    "a graph": graph_with,
    "the second part of a graph": lambda tensor: part(7, part(2, "main")) + graph_with(tensor),
    "the values of a sparse tensor": lambda tensor: part(7, part(15, part(1, tensor))),
    "the indices of a sparse tensor": lambda tensor: part(7, part(15, part(1, TENSOR) + part(2, tensor))),
    "an attribute": lambda tensor: in_attribute(part(5, tensor)),
    "an attribute's list": lambda tensor: in_attribute(part(10, TENSOR) + part(10, tensor)),
    "an attribute's sparse tensor": lambda tensor: in_attribute(part(22, part(1, tensor))),
    "an attribute's sparse tensors": lambda tensor: in_attribute(part(23, part(2, tensor))),
    "a subgraph": lambda tensor: in_attribute(part(6, part(5, tensor))),
    "a list of subgraphs": lambda tensor: in_attribute(part(11, part(5, tensor))),
    "fifty subgraphs": deep,
    "a function": lambda tensor: part(25, part(7, part(5, part(5, tensor)))),
    "a function's default": lambda tensor: part(25, part(11, part(5, tensor))),
    "training": lambda tensor: part(20, part(1, part(5, tensor))),
    "a step of training": lambda tensor: part(20, part(2, part(5, tensor))),
}
SIGNS = {
    "location and place": TENSOR + LOCATION + EXTERNAL,
    "location alone": LOCATION + NAME,
    "place alone": NAME + EXTERNAL,
    "place that is 1 in 32 bits": NAME + number(14, 2**32 + 1),
    "place of another wire type": NAME + part(14, b"\x01"),
    "a tag in more bytes than it needs": NAME + b"\xf0\x80\x00\x01",
    "default after external": NAME + EXTERNAL + number(14, 0),
}


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_found_wherever_a_tensor_is(place: str) -> None:
    require_self_contained(PLACES[place](TENSOR), "g.onnx")
    with pytest.raises(ExternalDataError) as caught:
        require_self_contained(PLACES[place](TENSOR + LOCATION + EXTERNAL), "graphs/g.onnx")
    assert str(caught.value) == (
        "graph file graphs/g.onnx has the values of the tensor 'conv1.weight' in another file, which the manifest's hashes do not"
        " cover; put all into one: onnx.save(onnx.load(FILE), FILE), then note its new size and SHA-256 in the manifest"
    )


@pytest.mark.parametrize("tensor", SIGNS.values(), ids=SIGNS)
def test_each_sign_of_external_data_is_enough(tensor: bytes) -> None:
    with pytest.raises(ExternalDataError, match=r"'conv1\.weight'"):
        require_self_contained(graph_with(tensor), "g.onnx")


def test_a_tensor_that_says_where_its_values_are_anyway() -> None:
    require_self_contained(graph_with(TENSOR + number(14, 0)), "g.onnx")


def test_names_in_errors_are_short_and_readable() -> None:
    with pytest.raises(ExternalDataError) as caught:
        require_self_contained(graph_with(part(8, b"\xff\n" + b"x" * 10_000) + EXTERNAL), "g.onnx")
    assert "\\n" in str(caught.value)
    assert len(str(caught.value)) < 500
    with pytest.raises(ExternalDataError, match="the tensor ''"):
        require_self_contained(graph_with(EXTERNAL), "g.onnx")


def test_the_same_bytes_elsewhere_mean_nothing() -> None:
    """Weights, texts and fields of other messages may look like a tensor with external data."""
    tensor = NAME + LOCATION + EXTERNAL
    require_self_contained(graph_with(number(2, 1) + part(9, tensor)), "g.onnx")
    require_self_contained(part(7, part(1, part(13, tensor) + number(14, 1))), "g.onnx")
    require_self_contained(part(2, tensor) + part(14, tensor), "g.onnx")


@pytest.mark.parametrize("node", [part(4, "EPContext"), part(1, "x") + part(4, "EPContext") + part(7, "com.microsoft")])
def test_a_compiled_part_may_be_in_another_file(node: bytes) -> None:
    with pytest.raises(
        ExternalDataError, match=r"^graph file g\.onnx has an EPContext node, .* before it was compiled$"
    ):
        require_self_contained(part(7, part(1, node)), "g.onnx")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<html>not found</html>", "field 7 has the wire type 4"),
        (b"version https://git-lfs", "field 14 has the wire type 6"),
        (graph_with(TENSOR)[:-1], "field 7 is said to have 30 bytes, of which there are 29"),
        (part(7, part(5, TENSOR)[:-1]), "field 5 is said to have 28 bytes, of which there are 27"),
        (b"\x08", "it ends within a number"),
        (b"\x3a\xff", "it ends within a number"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "a number has more than 10 bytes"),
        (b"\x02\x00", "there is no field with the tag 2"),
        (varint(2**32 + (7 << 3 | 2)) + b"\x00", "there is no field with the tag 4294967354"),
        (b"\x09\x00\x00", "field 1 is said to have 8 bytes, of which there are 2"),
    ],
)
def test_files_that_are_no_onnx(data: bytes, problem: str) -> None:
    with pytest.raises(GraphFileError) as caught:
        require_self_contained(data, "g.onnx")
    assert str(caught.value) == f"graph file g.onnx is not an ONNX file: {problem}"
    assert not isinstance(caught.value, ExternalDataError)


def test_the_fields_that_are_read_are_bounded() -> None:
    dims = number(1, 1) * (MAX_FIELDS + 1)
    begin = time.process_time()
    with pytest.raises(GraphFileError, match="more than 1,000,000 fields"):
        require_self_contained(graph_with(dims), "g.onnx")
    assert time.process_time() - begin < 10


def test_the_embedded_graphs_are_self_contained_and_read_in_no_time(default_bundle: Path) -> None:
    graphs = {path.name: path.read_bytes() for path in (default_bundle / "graphs").glob("*.onnx")}
    assert len(graphs) >= 10
    begin = time.process_time()
    for name, data in graphs.items():
        require_self_contained(data, name)
    assert time.process_time() - begin < 0.5


def test_neither_noted_nor_loaded(folder: Path) -> None:
    data = graph_with(TENSOR + LOCATION + EXTERNAL)
    (folder / ENCODER).write_bytes(data)
    with pytest.raises(ExternalDataError, match=ENCODER):
        GraphFile.of(folder, ENCODER, "fp16")
    content = json.loads((folder / "manifest.json").read_bytes())
    (file,) = content["graphs"]["age_cgan_encoder"]["files"]
    file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ExternalDataError, match=ENCODER):
        load_bundle(folder)
