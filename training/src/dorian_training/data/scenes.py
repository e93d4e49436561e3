"""Scenes that a face detector learns from: rendered once from photographs and portraits, and kept in arrays on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm import tqdm

from dorian_bundle.files import draft_file
from dorian_training.data.face_labels import FACE, IGNORED, NO_FACE, FaceLabels, LabelledPicture
from dorian_training.data.records import FaceRecord
from dorian_training.data.scene_effects import with_effects
from dorian_training.data.scene_layouts import (
    MAX_FACES,
    VISIBLE_HALF,
    empty_scene,
    pasted_scene,
    photo_scene,
    tile_scene,
)
from dorian_training.data.scene_sources import SceneSources
from dorian_training.data.stored_arrays import digest, key_of, store

Layout = Callable[[SceneSources, int, np.random.Generator], LabelledPicture]

# Raised when rendering changes, so that older arrays on disk are not taken for new ones.
_RENDER_VERSION = 2
SMALLEST_FACE = 10.0  # pixels: the longer side of a face that is learnt
_PHOTOS, _TILES, _PASTED, _EMPTY = 0.38, 0.28, 0.28, 0.06  # shares of scenes


@dataclass(frozen=True)
class Scene:
    """One scene: ``pixels`` uint8 RGB (size, size, 3), its faces, and boxes within which nothing is to be learnt.

    ``boxes`` float32 (faces, 4) are x, y, width, height in pixels from the corner, and may reach out of the scene;
    ``landmarks`` float32 (faces, 5, 2) right eye, left eye, nose, right and left mouth corner; ``ignored`` float32 (boxes, 4).
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    ignored: NDArray[np.float32]


@dataclass(frozen=True)
class Scenes:
    """Scenes of one size, each with room for ``MAX_FACES`` faces.

    ``pixels`` uint8 RGB (scenes, size, size, 3); ``boxes`` float32 (scenes, 32, 4); ``landmarks`` float32 (scenes, 32, 5, 2);
    ``kind`` int8 (scenes, 32): ``FACE``, ``IGNORED``, or ``NO_FACE`` where the room is empty.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    kind: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> int:
        """Side of a scene in pixels."""
        return int(self.pixels.shape[1])

    def __getitem__(self, index: int) -> Scene:
        is_face, ignored = self.kind[index] == FACE, self.kind[index] == IGNORED
        boxes = self.boxes[index]
        return Scene(self.pixels[index], boxes[is_face], self.landmarks[index][is_face], boxes[ignored])


def render_scenes(
    records: Sequence[FaceRecord],
    count: int,
    size: int = 256,
    seed: int = 0,
    cache: Path | None = None,
    teacher: Path | None = None,
) -> Scenes:
    """``count`` scenes of ``size`` pixels, the same for the same arguments; from ``cache`` (a folder) if rendered before.

    Records of the source ``photos`` are faces in whole photographs, others portraits. Faces of photographs that no record
    has are found by ``teacher``, an ONNX file of YuNet, if it is given. ``DataError`` if no record can be used.
    """
    taught_by = digest(teacher) if teacher else None
    key = key_of(_RENDER_VERSION, count, size, seed, taught_by, [astuple(record) for record in records])
    place = cache / f"scenes-{size}px-{key}" if cache else None
    if place is None or not _labels_of(place).is_file():
        scenes = _render(SceneSources(records, teacher, cache), count, size, seed, place)
        if place is None:
            return scenes
    with np.load(_labels_of(place)) as stored:
        labels = [stored[name] for name in ("boxes", "landmarks", "kind")]
    # Changes stay in memory: pages of the file are read when they are looked at.
    return Scenes(np.load(_pixels_of(place), mmap_mode="c"), *labels)


def settled(labels: FaceLabels, size: int) -> FaceLabels:
    """The faces to keep in a scene: those too small or hardly in it are ignored, those outside of it are dropped."""
    visible = labels.visible((0, 0, size, size))
    doubtful = (labels.boxes[:, 2:].max(axis=1, initial=0) < SMALLEST_FACE) | (visible < VISIBLE_HALF)
    kind = np.where(doubtful, IGNORED, labels.kind).astype(np.int8)
    kept = FaceLabels(labels.boxes, labels.landmarks, kind).where(visible > 0)
    largest_first = np.lexsort((-kept.boxes[:, 2:].prod(axis=1), -kept.kind))
    return kept.where(largest_first[:MAX_FACES])


def _render(sources: SceneSources, count: int, size: int, seed: int, place: Path | None) -> Scenes:
    """Render scenes, into memory or into the files of ``place``."""
    shape = (count, size, size, 3)
    if place is None:
        return _fill(sources, np.empty(shape, dtype=np.uint8), seed)
    place.parent.mkdir(parents=True, exist_ok=True)
    with draft_file(_pixels_of(place), shared=True) as draft:
        scenes = _fill(sources, open_memmap(draft, mode="w+", dtype=np.uint8, shape=shape), seed)
    # Last: a cache that has labels is complete.
    store(_labels_of(place), boxes=scenes.boxes, landmarks=scenes.landmarks, kind=scenes.kind)
    return scenes


def _fill(sources: SceneSources, pixels: NDArray[np.uint8], seed: int) -> Scenes:
    """Render a scene into each row of ``pixels`` (scenes, size, size, 3)."""
    count, size = pixels.shape[:2]
    boxes = np.zeros((count, MAX_FACES, 4), dtype=np.float32)
    landmarks = np.zeros((count, MAX_FACES, 5, 2), dtype=np.float32)
    kind = np.full((count, MAX_FACES), NO_FACE, dtype=np.int8)
    with sources:
        for index in tqdm(range(count), desc=f"rendering {size} px scenes", unit="scene", mininterval=2):
            scene = _scene(sources, size, np.random.default_rng((seed, index)))
            held = len(scene.labels)
            pixels[index] = scene.pixels
            boxes[index, :held], landmarks[index, :held] = scene.labels.boxes, scene.labels.landmarks
            kind[index, :held] = scene.labels.kind
    return Scenes(pixels, boxes, landmarks, kind)


def _scene(sources: SceneSources, size: int, rng: np.random.Generator) -> LabelledPicture:
    layouts: dict[Layout, float] = {empty_scene: _EMPTY}
    if sources.has_photos:
        layouts[photo_scene] = _PHOTOS
    if sources.has_portraits:
        layouts |= {tile_scene: _TILES, pasted_scene: _PASTED}
    chances = np.array(list(layouts.values()))
    layout = list(layouts)[rng.choice(len(layouts), p=chances / chances.sum())]
    scene = layout(sources, size, rng)
    labels = settled(scene.labels, size)
    return LabelledPicture(with_effects(scene.pixels, labels, rng), labels)


def _pixels_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.npy")


def _labels_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.npz")
