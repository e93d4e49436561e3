"""TensorRT's engines on disk: what each is made for, and a cache of them that several processes may share."""

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

from dorian_bundle.detection import MAX_SIDE
from dorian_bundle.errors import EngineError
from dorian_bundle.face_readers import DETECTOR_STRIDES
from dorian_bundle.files import write_private
from dorian_bundle.graphs import BATCH, MAX_BATCH_ROWS, Precision, Signature, TensorSpec

log = logging.getLogger(__name__)

_BEST_ROWS = 8
_MOST_PICTURES, _BEST_PICTURES = 4, 1  # of a batch whose pictures have any side
_LEAST_SIDE, _BEST_SIDE = DETECTOR_STRIDES[-1], 640  # pixels; the largest side is MAX_SIDE

Engine = TypeVar("Engine")


@dataclass(frozen=True)
class Range:
    """The shapes that an engine's input may have, from ``least`` to ``most``, and the one that it is made for."""

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


def profile_of(signature: Signature, rows: int = MAX_BATCH_ROWS) -> dict[str, Range]:
    """The profile of a graph of ``signature``: batches of 1 to ``rows``, and pictures of 32 to ``MAX_SIDE`` pixels if any fit."""
    free = any(isinstance(axis, str) and axis != BATCH for spec in signature.inputs for axis in spec.shape)
    most, best = (min(rows, _MOST_PICTURES), _BEST_PICTURES) if free else (rows, min(rows, _BEST_ROWS))
    return {
        spec.name: Range(_sized(spec, 1, _LEAST_SIDE), _sized(spec, best, _BEST_SIDE), _sized(spec, most, MAX_SIDE))
        for spec in signature.inputs
    }


def most_rows(profile: Profile) -> int:
    """Rows of the largest batch that ``profile`` allows."""
    return min(shapes.most[0] for shapes in profile.values())


def default_cache() -> Path:
    """The folder of engines where no other is named: the user's."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dorian" / "engines"


def open_engine(
    folder: Path, key: EngineKey, build: Callable[[], bytes], load: Callable[[bytes], Engine]
) -> tuple[Engine, bool]:
    """The engine for ``key``, and whether it had to be built: read from ``folder``, or else built and kept there.

    One process builds, others wait. An engine in ``folder`` that does not ``load`` (``EngineError``) is built again, once;
    ``EngineError`` if the new one does not load either, which is then not kept.
    """
    path = folder / key.file_name
    with locked(path):
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


def locked(path: Path) -> AbstractContextManager[object]:
    """Keeps other processes from ``path`` while entered; its folder is made. ``EngineError`` without the extra ``tensorrt``."""
    try:
        from filelock import FileLock
    except ImportError as error:
        raise EngineError("engines need filelock: pip install 'dorian-bundle[tensorrt]'") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f"{path.name}.lock"))


def digest(content: object) -> str:
    """A name for ``content``, which JSON can hold: 32 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _sized(spec: TensorSpec, rows: int, side: int) -> tuple[int, ...]:
    return tuple(axis if isinstance(axis, int) else rows if axis == BATCH else side for axis in spec.shape)
