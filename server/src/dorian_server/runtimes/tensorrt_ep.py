"""ONNX Runtime's TensorRT provider; operators that TensorRT lacks run in CUDA's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import onnxruntime as ort

from dorian_bundle.engines import Range, default_cache, digest, locked, most_rows, profile_of
from dorian_bundle.graphs import Array, Signature, sha256_of
from dorian_server.runtimes.cuda import run_bound
from dorian_server.runtimes.in_parts import run_in_parts
from dorian_server.runtimes.onnx_runtime import open_graph, require_provider, signature_of

_PROVIDER = "TensorrtExecutionProvider"


class TensorrtEpSession:
    """A graph in ONNX Runtime's TensorRT provider, given ``rows`` at once at most, with engines kept in ``cache``.

    ``StartupError`` without the provider; ``GraphFileError`` and ``GraphSignatureError`` as ``OnnxRuntimeSession``.
    """

    def __init__(self, path: Path, expected: Signature, rows: int, cache: Path | None) -> None:
        require_provider(_PROVIDER)
        ort.preload_dlls()  # of CUDA and cuDNN, where they were installed by pip
        profile = profile_of(expected, rows)
        shapes = {name: asdict(each) for name, each in profile.items()}
        # The provider itself tells engines of other GPUs and versions of TensorRT apart, by their names in this folder.
        folder = (cache or default_cache()) / "onnxruntime" / digest([sha256_of(path), shapes])
        with locked(folder):
            self._session = open_graph(
                path, [(_PROVIDER, provider_options(profile, folder)), ("CUDAExecutionProvider", {})]
            )
        expected.require_same(self.signature, f"the file {path.name}")
        self._rows = most_rows(profile)

    @property
    def signature(self) -> Signature:
        return signature_of(self._session)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return run_in_parts(lambda part: run_bound(self._session, part), inputs, self._rows)


def provider_options(profile: Mapping[str, Range], folder: Path) -> dict[str, str]:
    """What the provider is told: the shapes of ``profile``, and to keep its engines in ``folder``."""

    def written(chosen: Callable[[Range], tuple[int, ...]]) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, chosen(shapes)))}" for name, shapes in profile.items())

    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_profile_min_shapes": written(lambda shapes: shapes.least),
        "trt_profile_opt_shapes": written(lambda shapes: shapes.best),
        "trt_profile_max_shapes": written(lambda shapes: shapes.most),
    }
