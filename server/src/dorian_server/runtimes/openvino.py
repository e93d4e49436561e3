"""OpenVINO on the CPU: bf16 arithmetic where the processor has it, which is several times as fast with AMX."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from dorian_bundle.errors import GraphFileError
from dorian_bundle.graphs import Array, Signature, TensorSpec
from dorian_server.domain.errors import StartupError
from dorian_server.runtimes.cores import available_cores
from dorian_server.runtimes.options import Arithmetic
from dorian_server.runtimes.session import Sizes, named_signature

# OpenVINO reports each import of itself to its makers, unless this module is missing; a server of photos reports to nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402

_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoSession:
    """A graph in OpenVINO's CPU plug-in.

    Args:
        path: The ONNX file.
        expected: The graph's signature in the manifest.
        threads: CPU threads; 0 for one per core of this process.
        arithmetic: Precision of the arithmetic; auto: bf16 where the processor has it.

    Raises:
        GraphFileError: OpenVINO cannot open the file.
        GraphSignatureError: The graph has another signature.
        StartupError: The processor has no bf16.
    """

    def __init__(self, path: Path, expected: Signature, threads: int = 0, arithmetic: Arithmetic = "auto") -> None:
        core = ov.Core()
        config = {
            "INFERENCE_NUM_THREADS": threads or available_cores(),
            "INFERENCE_PRECISION_HINT": _HINTS[_resolve_arithmetic(arithmetic, core, expected)],
            "PERFORMANCE_HINT": "LATENCY",  # all threads at one batch: requests meet in batches, not in streams
        }
        try:
            self._model = core.compile_model(core.read_model(path), "CPU", config)
        except Exception as error:  # a RuntimeError for whatever it is
            raise GraphFileError(f"{path.name} cannot be opened by OpenVINO {ov.__version__}: {error}") from error
        self._signature = named_signature(
            _sizes(self._model.inputs, expected.inputs), _sizes(self._model.outputs, expected.outputs), expected
        )
        expected.require_same(self._signature, f"the file {path.name}")
        self._idle_requests: deque[ov.InferRequest] = deque()  # a request runs for one thread at a time

    @property
    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            request = self._idle_requests.pop()
        except IndexError:
            request = self._model.create_infer_request()
        try:
            outputs = request.infer(dict(inputs), share_inputs=True)
            return {spec.name: outputs[index] for index, spec in enumerate(self._signature.outputs)}
        finally:
            self._idle_requests.append(request)


def _resolve_arithmetic(arithmetic: Arithmetic, core: ov.Core, signature: Signature) -> Arithmetic:
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if arithmetic == "bf16" and not has_bf16:
        raise StartupError("this processor has no bf16 arithmetic; ask for auto or fp32")
    # Latent searches by a gradient in bf16 end at losses 8 to 21 % higher.
    if any(spec.name == "gradient" for spec in signature.outputs) or not has_bf16:
        return "fp32"
    return "bf16" if arithmetic == "auto" else arithmetic


def _sizes(ports: Sequence[ov.ConstOutput], expected: Sequence[TensorSpec]) -> dict[str, Sizes]:
    """Return the sizes of ``ports`` by name: of a port's names the one that is ``expected``, or else the first.

    Raises:
        GraphFileError: A port is not of float32.
    """
    expected_names = {spec.name for spec in expected}
    sizes: dict[str, Sizes] = {}
    for port in ports:
        name = min(port.get_names() & expected_names or port.get_names())
        if port.element_type != ov.Type.f32:
            raise GraphFileError(f"{name} is of type {port.element_type.get_type_name()}; graphs take and give f32")
        shape = port.partial_shape
        axes = [] if shape.rank.is_dynamic else list(shape)
        sizes[name] = [None if axis.is_dynamic else axis.get_length() for axis in axes]
    return sizes
