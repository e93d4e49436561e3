"""Graph specs and graph files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from dorian_bundle import GraphFileError, GraphSignatureError
from dorian_bundle.graphs import Graph, GraphFile, Precision, Signature, TensorSpec
from dorian_bundle.stored_files import sha256_of
from tests.bundle.onnx_encoding import empty_model

IMAGE = TensorSpec(name="image", shape=("batch", 3, 64, 64))
LATENT = TensorSpec(name="latent", shape=("batch", 128))
ENCODER = Signature(inputs=(IMAGE,), outputs=(LATENT,))


def entry(precision: Precision = "fp32", path: str = "graphs/g.onnx") -> GraphFile:
    return GraphFile(path=path, precision=precision, sha256="0" * 64, bytes=1)


def test_a_signature_reads_as_one_line() -> None:
    assert str(ENCODER) == "(image float32[batch, 3, 64, 64]) -> (latent float32[batch, 128])"


def test_equal_signatures_pass() -> None:
    ENCODER.require_same(Signature(inputs=(IMAGE,), outputs=(LATENT,)), "the same")


@pytest.mark.parametrize(
    "other",
    [
        Signature(inputs=(IMAGE,), outputs=(LATENT.model_copy(update={"shape": ("batch", 127)}),)),
        Signature(inputs=(IMAGE,), outputs=(LATENT.model_copy(update={"shape": (1, 128)}),)),
        Signature(inputs=(IMAGE,), outputs=(LATENT.model_copy(update={"name": "z"}),)),
        Signature(inputs=(IMAGE, LATENT), outputs=(LATENT,)),
        Signature(inputs=(LATENT,), outputs=(IMAGE,)),
    ],
    ids=["width", "fixed batch", "name", "one more", "swapped"],
)
def test_other_signatures_are_refused_with_both_written_out(other: Signature) -> None:
    with pytest.raises(GraphSignatureError) as caught:
        ENCODER.require_same(other, "the file g.onnx")
    assert str(caught.value) == f"the file g.onnx has the signature {other}, but {ENCODER} is needed"


def test_a_signature_needs_inputs_and_outputs() -> None:
    with pytest.raises(ValidationError, match="inputs"):
        Signature(inputs=(), outputs=(LATENT,))
    with pytest.raises(ValidationError, match="outputs"):
        Signature(inputs=(IMAGE,), outputs=())


@pytest.mark.parametrize(
    "path", ["../x.onnx", "graphs/../../x.onnx", "/etc/x.onnx", "graphs/..", "..", ".", "", "graphs\\x.onnx"]
)
def test_paths_that_leave_the_bundle_are_refused(path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        entry(path=path)
    assert f"{path!r} is not a path inside the bundle" in str(caught.value)


@pytest.mark.parametrize("path", ["g.onnx", "graphs/g.fp16.onnx", "a/b/c..d.onnx"])
def test_paths_inside_the_bundle_pass(path: str) -> None:
    assert entry(path=path).path == path


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64])
def test_a_hash_is_64_lower_case_hexadecimal_digits(sha256: str) -> None:
    with pytest.raises(ValidationError, match="sha256"):
        GraphFile(path="g.onnx", precision="fp32", sha256=sha256, bytes=1)


def test_a_file_is_noted_as_it_is_and_then_verifies(tmp_path: Path) -> None:
    data = empty_model("a graph")
    (tmp_path / "g.onnx").write_bytes(data)
    noted = GraphFile.of(tmp_path, "g.onnx", "fp16")
    assert noted == GraphFile(path="g.onnx", precision="fp16", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    assert sha256_of(tmp_path / "g.onnx") == noted.sha256
    noted.verify(tmp_path)


def test_a_changed_file_does_not_verify(tmp_path: Path) -> None:
    file = tmp_path / "g.onnx"
    data, other = empty_model("a graph"), empty_model("A graph")
    file.write_bytes(data)
    noted = GraphFile.of(tmp_path, "g.onnx", "fp32")
    file.write_bytes(other)
    with pytest.raises(GraphFileError) as caught:
        noted.verify(tmp_path)
    assert str(caught.value) == (
        f"graph file g.onnx has SHA-256 {hashlib.sha256(other).hexdigest()}; the manifest says {noted.sha256}"
    )
    file.write_bytes(data[:-1])
    with pytest.raises(GraphFileError, match=r"^graph file g\.onnx has 10 bytes; the manifest says 11$"):
        noted.verify(tmp_path)
    file.unlink()
    with pytest.raises(GraphFileError, match=r"^graph file g\.onnx is missing from "):
        noted.verify(tmp_path)
    file.mkdir()
    with pytest.raises(GraphFileError, match="is missing"):
        noted.verify(tmp_path)


def test_the_most_precise_file_is_the_default() -> None:
    graph = Graph(signature=ENCODER, files=(entry("fp16", "half.onnx"), entry("fp32", "full.onnx")))
    assert graph.file().path == "full.onnx"
    assert graph.file("fp16").path == "half.onnx"
    assert graph.file("fp32").path == "full.onnx"


def test_a_precision_that_is_not_there_is_answered_with_those_that_are() -> None:
    graph = Graph(signature=ENCODER, files=(entry("fp32"),))
    with pytest.raises(GraphFileError, match=r"^no fp16 file; there is fp32$"):
        graph.file("fp16")


def test_one_file_per_precision() -> None:
    with pytest.raises(ValidationError, match=r"one file per precision is allowed, got \['fp32', 'fp32'\]"):
        Graph(signature=ENCODER, files=(entry(path="a.onnx"), entry(path="b.onnx")))
    with pytest.raises(ValidationError, match="files"):
        Graph(signature=ENCODER, files=())
