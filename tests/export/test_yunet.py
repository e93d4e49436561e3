"""YuNet as a graph: what the published file gives, for RGB in [0, 1], any size and any batch; and what is not taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from dorian_bundle import Bundle
from dorian_bundle.face_readers import DETECTOR_OUTPUTS, DETECTOR_STRIDES, detector_signature
from dorian_export import yunet
from dorian_export.errors import ExportError, ParityError
from dorian_export.yunet import SHA256, adapt_yunet, export_yunet, read_yunet
from tests.export.conftest import YUNET

Pixels = NDArray[np.uint8]
NAMES = [f"{kind}_{stride}" for kind in DETECTOR_OUTPUTS for stride in DETECTOR_STRIDES]


def open_file(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (96, 160), (256, 32), (320, 480)])
def test_it_gives_what_the_published_file_gives(bundle: Bundle, size: tuple[int, int], batch: int) -> None:
    """That takes one image at a time, blue first, from 0 to 255."""
    images = np.random.default_rng(batch).random((batch, 3, *size), dtype=np.float32)
    outputs = open_file(bundle.graph_path("detector")).run(NAMES, {"image": images})
    published = open_file(YUNET)
    for index, image in enumerate(images):
        bgr = np.ascontiguousarray(255 * image[::-1])[None]
        for name, output, expected in zip(NAMES, outputs, published.run(NAMES, {"input": bgr}), strict=True):
            kind, stride = name.split("_")
            assert output.shape == (batch, size[0] // int(stride) * (size[1] // int(stride)), DETECTOR_OUTPUTS[kind])
            assert np.abs(output[index] - expected[0]).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def test_black_padding_is_black(bundle: Bundle) -> None:
    """What a photo is padded with up to a multiple of 32 is 0 in both, so that nothing changes at its edge."""
    image = np.zeros((1, 3, 64, 64), np.float32)
    ours, published = open_file(bundle.graph_path("detector")).run(NAMES, {"image": image}), open_file(YUNET)
    for output, expected in zip(ours, published.run(NAMES, {"input": image}), strict=True):
        assert np.abs(output - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max())


def test_another_file_is_not_taken_for_it(crops: Pixels, tmp_path: Path) -> None:
    model = onnx.load(YUNET)
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(weights), weights.name))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(
        ExportError, match=rf"other\.onnx has the sha256 .* is face_detection_yunet_2026may\.onnx, {SHA256}"
    ):
        export_yunet(tmp_path / "other.onnx", crops, tmp_path)
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(ExportError, match=r"text\.onnx is not an ONNX file"):
        export_yunet(tmp_path / "text.onnx", crops, tmp_path)
    with pytest.raises(ExportError, match="8 real faces are needed to prove the graphs on, got 7"):
        export_yunet(YUNET, crops[:7], tmp_path)
    assert not (tmp_path / "graphs").exists()


@pytest.mark.parametrize("index", [0, 40, 80])
def test_a_graph_that_differs_is_not_exported(
    index: int, crops: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapt_yunet(read_yunet(YUNET), detector_signature())
    weights = model.graph.initializer[index]
    weights.CopyFrom(numpy_helper.from_array(1.1 * numpy_helper.to_array(weights), weights.name))
    monkeypatch.setattr(yunet, "adapt_yunet", lambda *_: model)
    with pytest.raises(ParityError, match=r"^detector\.fp32\.onnx differs from face_detection_yunet_2026may\.onnx by"):
        export_yunet(YUNET, crops, tmp_path)
