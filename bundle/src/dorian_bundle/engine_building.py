"""TensorRT's engines: built from ONNX files, and loaded, by the server and by ``dorian-export tensorrt`` alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dorian_bundle.engine_cache import EngineKey, Profile, open_engine
from dorian_bundle.errors import EngineError
from dorian_bundle.graphs import Precision
from dorian_bundle.stored_files import sha256_of

_INSTALL = "pip install 'dorian-bundle[tensorrt]', on a machine with an NVIDIA GPU"


def open_graph_engine(path: Path, precision: Precision, profile: Profile, folder: Path) -> tuple[Any, bool]:
    """Open the engine of an ONNX file for this machine's GPU, building it if the cache lacks it.

    Args:
        path: The ONNX file.
        precision: Precision of its weights and arithmetic.
        profile: Shapes that the engine accepts.
        folder: The cache.

    Returns:
        A ``tensorrt.ICudaEngine``, and whether it had to be built.

    Raises:
        EngineError: If it cannot be built or loaded, or TensorRT is not installed.
    """
    key = EngineKey(sha256_of(path), _tensorrt().__version__, gpu(), precision, profile)
    return open_engine(folder, key, lambda: build_engine(path, profile), load_engine)


def build_engine(path: Path, profile: Profile) -> bytes:
    """Build an engine of the ONNX file at ``path`` for the shapes of ``profile``.

    Raises:
        EngineError: If TensorRT cannot read the file or build an engine of it.
    """
    trt = _tensorrt()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    # TensorRT 11 always computes in the file's types; 10 only with this flag.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(path.read_bytes()):
        errors = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise EngineError(f"TensorRT {trt.__version__} cannot read {path.name}: {errors}")
    config, shapes = builder.create_builder_config(), builder.create_optimization_profile()
    for name, shape in profile.items():
        shapes.set_shape(name, shape.least, shape.best, shape.most)
    config.add_optimization_profile(shapes)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineError(f"TensorRT {trt.__version__} cannot build an engine of {path.name}; its log says why")
    return bytes(engine)


def load_engine(data: bytes) -> Any:
    """Load the engine in ``data``.

    Raises:
        EngineError: If it is none, or one for another GPU or version of TensorRT.
    """
    trt = _tensorrt()
    engine = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(data)
    if engine is None:
        raise EngineError(f"TensorRT {trt.__version__} cannot load it; its log says why")
    return engine


def gpu() -> str:
    """Return the name of this machine's first GPU and its compute capability.

    Raises:
        EngineError: If there is none, or cuda-bindings is not installed.
    """
    try:
        from cuda.bindings import runtime as cuda
    except ImportError as error:
        raise EngineError(f"engines need the package cuda-bindings: {_INSTALL}") from error
    status, properties = cuda.cudaGetDeviceProperties(0)
    if int(status) != 0:
        raise EngineError(f"there is no GPU that CUDA can use: {status.name}")
    return f"{properties.name.decode()} {properties.major}.{properties.minor}"


def _tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(f"TensorRT is not installed ({error}); to get it: {_INSTALL}") from error
    return tensorrt
