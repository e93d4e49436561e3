"""TensorRT's engines on disk: the shapes that each is built for, and a cache that several processes may share."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from dorian_bundle.errors import EngineError
from dorian_bundle.face_detection import MAX_SIDE
from dorian_bundle.face_readers import DETECTOR_STRIDES
from dorian_bundle.files import write_private
from dorian_bundle.graphs import BATCH, MAX_BATCH_ROWS, Precision, Signature, TensorSpec

log = logging.getLogger(__name__)

_USUAL_ROWS = 8
_MAX_PHOTOS, _USUAL_PHOTOS = 4, 1  # rows of a batch whose images have any side
_MIN_SIDE, _USUAL_SIDE = DETECTOR_STRIDES[-1], 640  # pixels; the largest side is MAX_SIDE

Engine = TypeVar("Engine")


@dataclass(frozen=True)
class Range:
    """Shapes of an engine's input: from ``least`` to ``most``, fastest at ``best``. Their names go into the cache's file names."""

    least: tuple[int, ...]
    best: tuple[int, ...]
    most: tuple[int, ...]


Profile = Mapping[str, Range]


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on. ``graph``: SHA-256 of its ONNX file; ``tensorrt``: version; ``gpu``: name and capability."""

    graph: str
    tensorrt: str
    gpu: str
    precision: Precision
    profile: Profile

    @property
    def file_name(self) -> str:
        return f"{digest(asdict(self))}.engine"


def build_profile(signature: Signature, rows: int = MAX_BATCH_ROWS) -> dict[str, Range]:
    """Return the shapes to build an engine for, by input.

    Args:
        signature: The graph's.
        rows: Largest batch. A graph that takes images of any side gets batches of at most 4, of 32 to ``MAX_SIDE`` pixels.
    """
    any_side = any(isinstance(axis, str) and axis != BATCH for spec in signature.inputs for axis in spec.shape)
    most, best = (min(rows, _MAX_PHOTOS), _USUAL_PHOTOS) if any_side else (rows, min(rows, _USUAL_ROWS))
    return {
        spec.name: Range(
            _resolve(spec, 1, _MIN_SIDE), _resolve(spec, best, _USUAL_SIDE), _resolve(spec, most, MAX_SIDE)
        )
        for spec in signature.inputs
    }


def largest_batch(profile: Profile) -> int:
    """Return the rows of the largest batch that ``profile`` allows."""
    return min(shapes.most[0] for shapes in profile.values())


def default_cache() -> Path:
    """Return the folder of engines where none is configured: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dorian" / "engines"


def open_engine(
    folder: Path, key: EngineKey, build: Callable[[], bytes], load: Callable[[bytes], Engine]
) -> tuple[Engine, bool]:
    """Read an engine from the cache, or build and keep it. While one process builds, others wait.

    Args:
        folder: The cache.
        key: What the engine is built for.
        build: Builds the engine. Also called, once, if the engine in ``folder`` does not load.
        load: Opens an engine's data; raises ``EngineError`` if it cannot.

    Returns:
        The engine, and whether it had to be built.

    Raises:
        EngineError: If the engine cannot be built, or the new one does not load; it is then not kept.
    """
    path = folder / key.file_name
    with lock_file(path):
        if path.is_file():
            try:
                return load(path.read_bytes()), False
            except EngineError as error:
                log.warning("the engine %s does not load and is built again: %s", path, error)
                path.unlink()
        data = build()
        engine = load(data)
        write_private(path, data)
        return engine, True


def lock_file(path: Path) -> AbstractContextManager[object]:
    """Return a context manager that keeps other processes from ``path``; makes its folder.

    Raises:
        EngineError: If the extra ``tensorrt`` is not installed.
    """
    try:
        from filelock import FileLock
    except ImportError as error:
        raise EngineError("engines need filelock: pip install 'dorian-bundle[tensorrt]'") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f"{path.name}.lock"))


def digest(content: object) -> str:
    """Return a name for ``content``, which JSON can hold: 32 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _resolve(spec: TensorSpec, rows: int, side: int) -> tuple[int, ...]:
    return tuple(axis if isinstance(axis, int) else rows if axis == BATCH else side for axis in spec.shape)
