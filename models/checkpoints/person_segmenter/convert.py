"""Convert MediaPipe's selfie_segmentation.tflite to ONNX: ``python convert.py selfie_segmentation.tflite selfie_segmentation.onnx``.

Needs the packages tflite and onnx. The graph takes RGB in [0, 1], (batch, 3, 256, 256), and gives how much of each pixel is a person,
(batch, 1, 256, 256).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 256
_OPSET = 17
_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}  # by tflite.TensorType
_KINDS = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
_PLAIN = {"RELU": "Relu", "LOGISTIC": "Sigmoid", "HARD_SWISH": "HardSwish", "ADD": "Add", "MUL": "Mul"}


class Converter:
    """Walks over the operators of a tflite graph, and makes a node of each."""

    def __init__(self, data: bytes) -> None:
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.graph = self.model.Subgraphs(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.widened: dict[int, NDArray[Any]] = {}  # half-precision weights, which the file widens as it runs

    def convert(self) -> onnx.ModelProto:
        """Return the graph as an ONNX model."""
        for index in range(self.graph.OperatorsLength()):
            self._add(self.graph.Operators(index))
        first, last = int(self.graph.Inputs(0)), int(self.graph.Outputs(0))
        self.nodes.insert(0, helper.make_node("Identity", ["image"], [_name(first)]))
        self.nodes.append(helper.make_node("Identity", [_name(last)], ["people"]))
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
        people = helper.make_tensor_value_info("people", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])
        graph = helper.make_graph(self.nodes, "person_segmenter", [image], [people], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _add(self, operator: Any) -> None:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        kind = _KINDS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs, output = [int(value) for value in operator.InputsAsNumpy()], int(operator.OutputsAsNumpy()[0])
        match kind:
            case "DEQUANTIZE":
                self.widened[output] = self._stored(inputs[0]).astype(np.float32)
            case "CONV_2D" | "DEPTHWISE_CONV_2D":
                self._add_convolution(operator, kind, inputs, output)
            case "CUSTOM" if code.CustomCode() == b"Convolution2DTransposeBias":
                weights = self._weights(inputs[1]).transpose(3, 0, 1, 2)  # (in, out, 2, 2)
                self._node("ConvTranspose", inputs[:1], output, [weights, self._weights(inputs[2])], strides=[2, 2])
            case "AVERAGE_POOL_2D" if self._shape(output)[1:3] == (1, 1):
                self._node("GlobalAveragePool", inputs, output)
            case "RESIZE_BILINEAR":
                factor = self._shape(output)[1] / self._shape(inputs[0])[1]
                self.weights.append(numpy_helper.from_array(np.float32([1, 1, factor, factor]), f"scales{output}"))
                names = [_name(inputs[0]), "", f"scales{output}"]
                how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
                self.nodes.append(helper.make_node("Resize", names, [_name(output)], **how))
            case _ if kind in _PLAIN:
                self._node(_PLAIN[kind], inputs, output)
            case _:
                raise SystemExit(f"operator {kind} is not one of selfie_segmentation.tflite")

    def _add_convolution(self, operator: Any, kind: str, inputs: Sequence[int], output: int) -> None:
        is_depthwise = kind != "CONV_2D"
        options = tflite.DepthwiseConv2DOptions() if is_depthwise else tflite.Conv2DOptions()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        weights = (
            self._weights(inputs[1]).transpose(3, 0, 1, 2)
            if is_depthwise
            else self._weights(inputs[1]).transpose(0, 3, 1, 2)
        )
        strides, pads = (options.StrideH(), options.StrideW()), [0, 0, 0, 0]
        if options.Padding() == tflite.Padding.SAME:
            for axis in range(2):
                before, after = self._shape(inputs[0])[1 + axis], self._shape(output)[1 + axis]
                missing = max((after - 1) * strides[axis] + weights.shape[2 + axis] - before, 0)
                pads[axis], pads[axis + 2] = missing // 2, missing - missing // 2
        group = len(weights) if is_depthwise else 1
        bias = self._weights(inputs[2])
        self._node("Conv", inputs[:1], output, [weights, bias], strides=strides, pads=pads, group=group)
        if options.FusedActivationFunction() != tflite.ActivationFunctionType.NONE:
            raise SystemExit("fused activations are not those of selfie_segmentation.tflite")

    def _node(
        self, kind: str, inputs: Sequence[int], output: int, weights: Sequence[NDArray[Any]] = (), **how: Any
    ) -> None:
        names = [_name(value) for value in inputs]
        for position, values in enumerate(weights):
            names.append(f"weights{output}_{position}")
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), names[-1]))
        self.nodes.append(helper.make_node(kind, names, [_name(output)], **how))

    def _weights(self, tensor: int) -> NDArray[Any]:
        return self.widened[tensor] if tensor in self.widened else self._stored(tensor)

    def _stored(self, tensor: int) -> NDArray[Any]:
        about = self.graph.Tensors(tensor)
        data = self.model.Buffers(about.Buffer()).DataAsNumpy()
        return np.frombuffer(data.tobytes(), _DTYPES[about.Type()]).reshape(about.ShapeAsNumpy())

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(value) for value in self.graph.Tensors(tensor).ShapeAsNumpy())


def _name(tensor: int) -> str:
    return f"tensor{tensor}"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    onnx.save(Converter(source.read_bytes()).convert(), target)
