"""Ways to lay a scene out: a photograph, tiles side by side, faces pasted on a background, or no face at all."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from dorian_training.data.backgrounds import painted_background
from dorian_training.data.face_labels import FACE, FaceLabels, LabelledPicture, Pixels
from dorian_training.data.scene_pasting import blurred_backdrop, no_head, pasted_head, put, warped
from dorian_training.data.scene_sources import SceneSources

MAX_FACES = 32
VISIBLE_HALF = 0.5  # of its box must show, for a face to be learnt
# Sides of faces, evenly spread by their logarithm: from pixels to a multiple of the scene's side.
_PHOTO_FACES, _PASTED_FACES = (14.0, 1.3), (12.0, 0.86)
_KEPT_IN = 0.22  # of a face's side: with its middle that far from the edges, half of the box shows
_LARGEST_SCALE = 4.0  # how far photos are enlarged
_MOSAIC = 0.5  # of the photos that leave much of the scene open get others beside them
_MOST_PASTED, _MOST_DECOYS = 10, 4
_SHARED = 0.2  # of the smaller of two pasted boxes: more may not be hidden
_PLACE_TRIES = 6
_FACE_FREE_TILES = 0.3
_GRID_CHANCES = (0.28, 0.25, 0.2, 0.15, 0.12)  # of 1 to 5 rows
_TILE_WINDOW = (0.8, 1.0)  # of what a tile could show of its picture


def photo_scene(sources: SceneSources, size: int, rng: np.random.Generator) -> LabelledPicture:
    """A photo such that one of its faces, if it has any, gets a random size; zoomed out, others may stand beside it."""
    photo = sources.photo(rng)
    faces = photo.labels.boxes[photo.labels.kind == FACE]
    if len(faces):
        left, top, width, height = faces[rng.integers(len(faces))].tolist()
        side = _log_uniform(_PHOTO_FACES[0], _PHOTO_FACES[1] * size, rng)
        scale = min(side / max(width, height), _LARGEST_SCALE)
        focus = (left + width / 2, top + height / 2)
    else:
        side = 0.0
        scale = size / min(photo.width, photo.height) * rng.uniform(0.6, 1.5)
        focus = (photo.width / 2, photo.height / 2)
    if min(photo.width, photo.height) * scale < 0.6 * size and rng.random() < _MOSAIC:
        return _mosaic(sources, photo.height * scale, size, rng)
    canvas = backdrop(sources, size, size, rng)
    margin = side * _KEPT_IN if rng.random() < 0.9 else 0.0
    x, y = (
        _focus_place(f * scale, length * scale, margin, size, rng)
        for f, length in zip(focus, (photo.width, photo.height), strict=True)
    )
    return LabelledPicture(canvas, warped(canvas, photo, scale, _photo_turn(rng), focus, (x, y)))


def tile_scene(sources: SceneSources, size: int, rng: np.random.Generator, faces: bool = True) -> LabelledPicture:
    """Rectangular tiles that each show a portrait, or something without a face; without ``faces`` all of them do."""
    canvas = np.empty((size, size, 3), dtype=np.uint8)
    parts = []
    tiles = _grid(size, rng)
    face_free = _FACE_FREE_TILES if len(tiles) > 1 else 0.0
    for x, y, width, height in tiles:
        if faces and rng.random() >= face_free:
            picture = _window(sources.portrait(rng), width / height, rng).resized(width, height)
            parts.append(put(canvas, picture, x, y).cut((x, y, width, height), VISIBLE_HALF))
        else:
            canvas[y : y + height, x : x + width] = backdrop(sources, width, height, rng)
    return LabelledPicture(canvas, FaceLabels.joined(parts))


def pasted_scene(sources: SceneSources, size: int, rng: np.random.Generator, faces: bool = True) -> LabelledPicture:
    """Heads, and with the same masks decoys, pasted on a background apart from each other; only decoys without ``faces``."""
    canvas = backdrop(sources, size, size, rng)
    heads = int(rng.integers(1, _MOST_PASTED + 1)) if faces else 0
    is_head = rng.permutation([True] * heads + [False] * int(rng.integers(0, _MOST_DECOYS + 1)))
    sides = np.sort([_log_uniform(_PASTED_FACES[0], _PASTED_FACES[1] * size, rng) for _ in is_head])[::-1]
    taken: list[tuple[float, float, float]] = []
    parts = []
    for head, side in zip(is_head, sides, strict=True):
        place = _free_place(taken, float(side), size, rng)
        if place is None:
            continue
        taken.append((*place, float(side)))
        if head:
            parts.append(pasted_head(canvas, sources.portrait(rng), float(side), place, rng))
        else:
            decoy = no_head(sources, float(side), rng)
            pasted_head(canvas, decoy, float(side), place, rng)
    return LabelledPicture(canvas, FaceLabels.joined(parts))


def empty_scene(sources: SceneSources, size: int, rng: np.random.Generator) -> LabelledPicture:
    """A scene like the others, in which no face is."""
    return (pasted_scene if rng.random() < 0.5 else tile_scene)(sources, size, rng, faces=False)


def backdrop(sources: SceneSources, width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Something without a face, uint8 RGB (height, width, 3): a piece of a photo, sharp or blurred, or a drawing."""
    if rng.random() < 0.6:
        piece = sources.piece(width / height, rng)
        if piece is not None:
            return blurred_backdrop(piece, width, height, rng)
    return np.array(painted_background(width, height, rng))


def _mosaic(sources: SceneSources, height: float, size: int, rng: np.random.Generator) -> LabelledPicture:
    """Photos about ``height`` pixels high in shelves, until the scene is full or holds as many faces as it may."""
    canvas = backdrop(sources, size, size, rng)
    parts: list[FaceLabels] = []
    held, y = 0, -int(rng.integers(0, max(1, int(height / 3))))
    while y < size:
        shelf = max(8, round(height * rng.uniform(0.8, 1.3)))
        x = -int(rng.integers(0, max(1, shelf // 3)))
        while x < size:
            photo = sources.photo(rng)
            width = max(8, round(photo.width * shelf / photo.height))
            held += len(photo.labels)
            if held > MAX_FACES:
                return LabelledPicture(canvas, FaceLabels.joined(parts))
            labels = put(canvas, photo.resized(width, shelf), x, y)
            parts.append(labels.cut((x, y, width, shelf), VISIBLE_HALF))
            x += width
        y += shelf
    return LabelledPicture(canvas, FaceLabels.joined(parts))


def _grid(size: int, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
    """1 to 25 rectangles (x, y, width, height) of unequal size that cover the scene."""
    rows = 1 + int(rng.choice(len(_GRID_CHANCES), p=_GRID_CHANCES))
    tiles = []
    for top, bottom in pairwise(_edges(rows, size, rng)):
        columns = int(np.clip(rows + rng.integers(-1, 2), 1, 5)) if rows > 1 else 1
        for left, right in pairwise(_edges(columns, size, rng)):
            tiles.append((left, top, right - left, bottom - top))
    return tiles


def _edges(parts: int, size: int, rng: np.random.Generator) -> list[int]:
    lengths = rng.uniform(1, 1.7, parts)
    return [0, *np.rint(np.cumsum(lengths) / lengths.sum() * size).astype(int).tolist()]


def _window(portrait: LabelledPicture, ratio: float, rng: np.random.Generator) -> LabelledPicture:
    """A part of ``portrait``, its width ``ratio`` times its height, that holds the middle of the face."""
    height = min(portrait.height, portrait.width / ratio) * rng.uniform(*_TILE_WINDOW)
    width = height * ratio
    middle = portrait.labels.landmarks[0].mean(axis=0) + rng.normal(0, 0.08, 2) * (width, height)
    x = int(np.clip(middle[0] - width / 2, 0, portrait.width - width))
    y = int(np.clip(middle[1] - height / 2, 0, portrait.height - height))
    return portrait.cropped(x, y, max(1, int(width)), max(1, int(height)))


def _focus_place(focus: float, length: float, margin: float, size: int, rng: np.random.Generator) -> float:
    """Where in the scene the point ``focus`` of a side of ``length`` goes, ``margin`` from the edges; little stays open."""
    low, high = sorted((0.0, length - size))
    offset = rng.uniform(low, high)
    return float(focus - np.clip(offset, focus - size + margin, focus - margin))


def _photo_turn(rng: np.random.Generator) -> float:
    """Degrees: mostly a few, sometimes up to 40."""
    return float(rng.normal(0, 5) if rng.random() < 0.75 else rng.uniform(-40, 40))


def _free_place(
    taken: list[tuple[float, float, float]], side: float, size: int, rng: np.random.Generator
) -> tuple[float, float] | None:
    """A centre for a square of ``side`` that hides little of those ``taken`` (centre, side); ``None`` if none was found."""
    margin = min(side / 2, size / 2) if rng.random() < 0.85 else 0.0
    for _ in range(_PLACE_TRIES):
        x, y = rng.uniform(margin, size - margin, 2).tolist()
        if all(_shared((x, y, side), other) <= _SHARED for other in taken):
            return x, y
    return None


def _shared(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    """What two squares (centre, side) have in common, as a share of the smaller."""
    reach = (a[2] + b[2]) / 2
    least = min(a[2], b[2])
    across, down = (min(max(reach - abs(a[i] - b[i]), 0), least) for i in (0, 1))
    return across * down / least**2


def _log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(max(low, high))))
