"""The checker: a bundle's files against what its manifest says of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from dorian_bundle import Bundle, GraphFileError, GraphSignatureError, ManifestError, load_bundle
from dorian_export.check import check_bundle, read_signature

FILE = "graphs/age_cgan_encoder.fp16.onnx"
Change = Callable[[onnx.GraphProto], object]


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy, to be broken."""
    return Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))


def note_again(folder: Path) -> None:
    """Bring size and hash of ``FILE`` in the manifest up to date, as somebody who changed it on purpose would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / FILE).read_bytes()
    for file in manifest["graphs"]["age_cgan_encoder"]["files"]:
        if file["path"] == FILE:
            file.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / "manifest.json").write_text(json.dumps(manifest))


def replace_graph(folder: Path, change: Change) -> None:
    model = onnx.load(folder / FILE)
    change(model.graph)
    onnx.save(model, folder / FILE)


def test_signatures_are_read_from_files(bundle: Bundle) -> None:
    for graph in bundle.manifest.graphs.values():
        for file in graph.files:
            assert read_signature(bundle.folder / file.path) == graph.signature


def test_a_sound_copy_passes(folder: Path, bundle: Bundle) -> None:
    checked = check_bundle(folder)
    assert (checked.folder, checked.sha256, checked.manifest) == (folder, bundle.sha256, bundle.manifest)


def rename_input(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == "image":
                node.input[index] = "picture"
    graph.input[0].name = "picture"


def fix_batch(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def rename_axis(graph: onnx.GraphProto) -> None:
    graph.output[0].type.tensor_type.shape.dim[0].dim_param = "faces"


def resize_output(graph: onnx.GraphProto) -> None:
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 15


def add_output(graph: onnx.GraphProto) -> None:
    graph.output.append(graph.output[0])
    graph.output[1].name = graph.node[0].output[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename_input, r"\(picture float32\[batch, 3, 64, 64\]\)"),
        (fix_batch, r"image float32\[1, 3, 64, 64\]"),
        (rename_axis, r"latent float32\[faces, 16\]"),
        (resize_output, r"latent float32\[batch, 15\]"),
        (add_output, r"latent float32\[batch, 16\], \w+ float32"),
    ],
)
def test_another_signature_is_found_behind_a_right_hash(folder: Path, change: Change, words: str) -> None:
    replace_graph(folder, change)
    with pytest.raises(GraphFileError):
        check_bundle(folder)
    note_again(folder)
    load_bundle(folder)  # does not open graphs
    with pytest.raises(GraphSignatureError, match=rf"the file {FILE} has the signature .*{words}.* is needed"):
        check_bundle(folder)


def test_half_precision_at_the_border_is_refused(folder: Path) -> None:
    def to_half(graph: onnx.GraphProto) -> None:
        graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16

    replace_graph(folder, to_half)
    note_again(folder)
    with pytest.raises(GraphSignatureError, match="latent is of type FLOAT16; graphs take and give FLOAT"):
        check_bundle(folder)


def test_a_file_that_is_no_graph(folder: Path) -> None:
    (folder / FILE).write_text("<html>not found</html>")
    note_again(folder)
    with pytest.raises(GraphFileError, match=rf"{FILE} is not an ONNX file"):
        check_bundle(folder)


def test_it_checks_what_loading_checks(folder: Path) -> None:
    (folder / "README.md").unlink()
    with pytest.raises(ManifestError, match="no model card"):
        check_bundle(folder)
    (folder / FILE).unlink()
    with pytest.raises(GraphFileError, match="missing"):
        check_bundle(folder)
    with pytest.raises(ManifestError, match="is no bundle"):
        check_bundle(folder / "graphs")
