"""Weights in other files, as ONNX itself writes and reads them: no bundle with them is written or loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from google.protobuf.descriptor import Descriptor
from onnx import TensorProto, helper, numpy_helper

from dorian_bundle import Bundle, ExternalDataError, load_bundle
from dorian_bundle.onnx_contents import FIELDS, require_self_contained
from dorian_export.onnx_writer import OPSET, save_onnx
from tests.export.test_check import FILE, note_again

WEIGHTS = np.arange(1000, dtype=np.float32)


def adding_model() -> onnx.ModelProto:
    """A graph that adds ``WEIGHTS`` to what it is given."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1000]) for name in "xy")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [numpy_helper.from_array(WEIGHTS, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def run(path: Path) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": np.zeros(1000, np.float32)})
    return np.asarray(result)


def messages_with_tensors(root: Descriptor) -> Iterator[tuple[str, int, str]]:
    """The fields from ``root`` on that are or hold tensors: message, number, message of the field."""

    def holds_tensor(message: Descriptor, above: frozenset[str]) -> bool:
        if message.name == "TensorProto":
            return True
        if message.name in above:
            return False
        return any(
            holds_tensor(field.message_type, above | {message.name}) for field in message.fields if field.message_type
        )

    pending, done = [root], set()
    while pending:
        message = pending.pop()
        if message.name in done or message.name == "TensorProto":
            continue
        done.add(message.name)
        for field in message.fields:
            if field.message_type and holds_tensor(field.message_type, frozenset()):
                yield message.name, field.number, field.message_type.name
                pending.append(field.message_type)


def test_all_ways_to_a_tensor_are_followed() -> None:
    ways = {(message.value, number, part.value) for message, parts in FIELDS.items() for number, part in parts.items()}
    assert set(messages_with_tensors(onnx.ModelProto.DESCRIPTOR)) == ways
    fields = TensorProto.DESCRIPTOR.fields_by_name
    assert [fields[name].number for name in ("name", "external_data", "data_location")] == [8, 13, 14]
    assert onnx.NodeProto.DESCRIPTOR.fields_by_name["op_type"].number == 4


def test_onnx_runtime_would_load_what_no_hash_covers(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    onnx.save(adding_model(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    data = path.read_bytes()
    np.testing.assert_array_equal(run(path), WEIGHTS)
    (tmp_path / "w.bin").write_bytes((2 * WEIGHTS).tobytes())
    np.testing.assert_array_equal(run(path), 2 * WEIGHTS)
    assert path.read_bytes() == data
    with pytest.raises(ExternalDataError, match="the tensor 'w' in another file"):
        require_self_contained(data, path.name)


def test_what_the_error_says_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    onnx.save(adding_model(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    onnx.save(onnx.load(path), path)
    (tmp_path / "w.bin").unlink()
    require_self_contained(path.read_bytes(), path.name)
    np.testing.assert_array_equal(run(path), WEIGHTS)


def test_a_bundle_with_external_data_is_not_loaded(bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))
    onnx.save(
        onnx.load(folder / FILE), folder / FILE, save_as_external_data=True, location="encoder.bin", size_threshold=0
    )
    note_again(folder)
    with pytest.raises(ExternalDataError, match=f"graph file {FILE} has the values of the tensor "):
        load_bundle(folder)


def test_external_data_is_not_written(tmp_path: Path) -> None:
    model = adding_model()
    (weights,) = model.graph.initializer
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="w.bin")
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(ExternalDataError, match=r"graph file g\.onnx has the values of the tensor 'w'"):
        save_onnx(model, tmp_path / "graphs" / "g.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["w.bin"]
