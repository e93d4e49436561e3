"""OpenVINO on the CPU: bf16 arithmetic where the processor has it, which is several times as fast with AMX."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from dorian_bundle.errors import GraphFileError
from dorian_bundle.graphs import Array, Signature, TensorSpec
from dorian_server.domain.errors import StartupError
from dorian_server.runtimes.axes import Sizes, named
from dorian_server.runtimes.cores import available_cores
from dorian_server.runtimes.factory import Arithmetic

# OpenVINO reports each import of itself to its makers, unless this module is missing; a server of photographs reports to nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402

_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoSession:
    """A graph in OpenVINO's CPU plug-in, on ``threads`` threads (0: one per core of this process).

    ``GraphFileError`` if OpenVINO cannot open it, ``GraphSignatureError`` if it is not of ``expected`` signature,
    ``StartupError`` for bf16 on a processor that has none.
    """

    def __init__(self, path: Path, expected: Signature, threads: int = 0, arithmetic: Arithmetic = "auto") -> None:
        core = ov.Core()
        config = {
            "INFERENCE_NUM_THREADS": threads or available_cores(),
            "INFERENCE_PRECISION_HINT": _HINTS[_chosen(arithmetic, core, expected)],
            "PERFORMANCE_HINT": "LATENCY",  # all threads at one batch: requests meet in batches, not in streams
        }
        try:
            self._model = core.compile_model(core.read_model(path), "CPU", config)
        except Exception as error:  # a RuntimeError for whatever it is
            raise GraphFileError(f"{path.name} cannot be opened by OpenVINO {ov.__version__}: {error}") from error
        self._signature = named(
            _sizes(self._model.inputs, expected.inputs), _sizes(self._model.outputs, expected.outputs), expected
        )
        expected.require_same(self._signature, f"the file {path.name}")
        self._free: deque[ov.InferRequest] = deque()  # a request runs for one thread at a time

    @property
    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        try:
            found = request.infer(dict(inputs), share_inputs=True)
            return {spec.name: found[index] for index, spec in enumerate(self._signature.outputs)}
        finally:
            self._free.append(request)


def _chosen(arithmetic: Arithmetic, core: ov.Core, signature: Signature) -> Arithmetic:
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if arithmetic == "bf16" and not has_bf16:
        raise StartupError("this processor has no bf16 arithmetic; ask for auto or fp32")
    # Searches by a gradient in bf16 end at losses 8 to 21 % higher.
    if any(spec.name == "gradient" for spec in signature.outputs) or not has_bf16:
        return "fp32"
    return "bf16" if arithmetic == "auto" else arithmetic


def _sizes(ports: Sequence[ov.ConstOutput], expected: Sequence[TensorSpec]) -> dict[str, Sizes]:
    """By name: that of ``expected`` which is among a port's, or else its first. ``GraphFileError`` for other types than float32."""
    known = {spec.name for spec in expected}
    found: dict[str, Sizes] = {}
    for port in ports:
        name = min(port.get_names() & known or port.get_names())
        if port.element_type != ov.Type.f32:
            raise GraphFileError(f"{name} is of type {port.element_type.get_type_name()}; graphs take and give f32")
        shape = port.partial_shape
        sizes = [] if shape.rank.is_dynamic else list(shape)
        found[name] = [None if size.is_dynamic else size.get_length() for size in sizes]
    return found
