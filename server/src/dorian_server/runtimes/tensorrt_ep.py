"""ONNX Runtime's TensorRT provider; operators that TensorRT lacks run in CUDA's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import onnxruntime as ort

from dorian_bundle.engine_cache import Range, build_profile, default_cache, digest, largest_batch, lock_file
from dorian_bundle.graphs import Array, Signature
from dorian_bundle.stored_files import sha256_of
from dorian_server.runtimes.cuda import run_bound
from dorian_server.runtimes.onnx_runtime import open_graph, require_provider, signature_of
from dorian_server.runtimes.session import run_in_chunks

_PROVIDER = "TensorrtExecutionProvider"


class TensorrtEpSession:
    """A graph in ONNX Runtime's TensorRT provider.

    Args:
        path: The ONNX file.
        expected: The graph's signature in the manifest.
        max_rows: Rows that the engine is given at once.
        cache: Folder in which engines are kept; ``None`` for the user's.

    Raises:
        StartupError: ONNX Runtime lacks the provider.
        GraphFileError: It cannot open the file.
        GraphSignatureError: The graph has another signature.
    """

    def __init__(self, path: Path, expected: Signature, max_rows: int, cache: Path | None) -> None:
        require_provider(_PROVIDER)
        ort.preload_dlls()  # of CUDA and cuDNN, where they were installed by pip
        profile = build_profile(expected, max_rows)
        shapes = {name: asdict(shape_range) for name, shape_range in profile.items()}
        # The provider itself distinguishes engines of other GPUs and versions of TensorRT, by their names in this folder.
        folder = (cache or default_cache()) / "onnxruntime" / digest([sha256_of(path), shapes])
        with lock_file(folder):
            self._session = open_graph(
                path, [(_PROVIDER, provider_options(profile, folder)), ("CUDAExecutionProvider", {})]
            )
        expected.require_same(self.signature, f"the file {path.name}")
        self._max_rows = largest_batch(profile)

    @property
    def signature(self) -> Signature:
        return signature_of(self._session)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return run_in_chunks(lambda chunk: run_bound(self._session, chunk), inputs, self._max_rows)


def provider_options(profile: Mapping[str, Range], folder: Path) -> dict[str, str]:
    """Return the provider's options for the shapes of ``profile``, with its engines kept in ``folder``."""

    def format_shapes(select: Callable[[Range], tuple[int, ...]]) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, select(shapes)))}" for name, shapes in profile.items())

    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_profile_min_shapes": format_shapes(lambda shapes: shapes.least),
        "trt_profile_opt_shapes": format_shapes(lambda shapes: shapes.best),
        "trt_profile_max_shapes": format_shapes(lambda shapes: shapes.most),
    }
