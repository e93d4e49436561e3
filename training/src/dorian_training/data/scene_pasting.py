"""Putting pictures into a scene: whole, turned, or through a soft mask around a head."""

from __future__ import annotations

import cv2
import numpy as np

from dorian_training.data.backgrounds import painted_background, skin_blur
from dorian_training.data.face_labels import FaceLabels, LabelledPicture, Matrix, Pixels, resized
from dorian_training.data.scene_effects import blurred, relit
from dorian_training.data.scene_sources import SceneSources

_HEAD = (0.12, 0.1, 0.76, 0.8)  # the box that a picture without a face gets, as fractions of its sides
_CORNER = 0.42  # of a portrait's sides, at most: a corner of it


def put(canvas: Pixels, picture: LabelledPicture, x: int, y: int) -> FaceLabels:
    """Copies ``picture`` to ``x``, ``y`` of ``canvas``, as far as it fits; returns its faces there."""
    height, width = canvas.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + picture.width, width), min(y + picture.height, height)
    if right > left and bottom > top:
        canvas[top:bottom, left:right] = picture.pixels[top - y : bottom - y, left - x : right - x]
    return picture.labels.moved(np.array([[1.0, 0, x], [0, 1, y]]))


def warped(
    canvas: Pixels,
    picture: LabelledPicture,
    scale: float,
    turn: float,
    focus: tuple[float, float],
    place: tuple[float, float],
) -> FaceLabels:
    """Draws ``picture``, scaled and turned by ``turn`` degrees about ``focus``, which comes to ``place``; returns its faces."""
    if scale < 1:
        width, height = max(2, round(picture.width * scale)), max(2, round(picture.height * scale))
        focus = (focus[0] * width / picture.width, focus[1] * height / picture.height)
        picture, scale = picture.resized(width, height), 1.0
    matrix = _turned(turn, scale, focus, place)
    size = canvas.shape[1::-1]
    cv2.warpAffine(picture.pixels, matrix, size, canvas, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)
    return picture.labels.moved(matrix)


def pasted_head(
    canvas: Pixels, picture: LabelledPicture, side: float, place: tuple[float, float], rng: np.random.Generator
) -> FaceLabels:
    """Blends the head in ``picture``, its box ``side`` pixels long, into ``canvas`` with its middle at ``place``.

    The mask is wider than the box, as far as the picture goes, and fades. Returns the faces, as they lie in ``canvas``.
    """
    box: np.ndarray = (
        picture.labels.boxes[0]
        if len(picture.labels)
        else np.array(_HEAD) * np.tile((picture.width, picture.height), 2)
    )
    scale = side / float(max(box[2:]))
    width, height = max(4, round(picture.width * scale)), max(4, round(picture.height * scale))
    box = box * np.tile((width / picture.width, height / picture.height), 2)
    picture = picture.resized(width, height)
    pixels = relit(picture.pixels, rng) if rng.random() < 0.3 else picture.pixels
    pixels = blurred(pixels, rng) if rng.random() < 0.15 else pixels
    mask = _head_mask(width, height, box, rng)
    turn = float(rng.normal(0, 8) if rng.random() < 0.75 else rng.uniform(-35, 35))
    matrix = _turned(turn, 1.0, (float(box[0] + box[2] / 2), float(box[1] + box[3] / 2)), place)
    _blend(canvas, pixels, mask, matrix)
    return picture.labels.moved(matrix)


def no_head(sources: SceneSources, side: float, rng: np.random.Generator) -> LabelledPicture:
    """Something to paste as a head that is none: a piece of a photo, the corner of a portrait, skin colours, a drawing."""
    ratio = float(rng.uniform(0.7, 1.0))
    height = max(8, round(side / _HEAD[3]))
    width = max(8, round(height * ratio))
    pixels: Pixels | None = None
    match rng.integers(4):
        case 0:
            pixels = sources.piece(ratio, rng)
        case 1 if sources.has_portraits:
            pixels = _corner(sources.portrait(rng), rng)
        case 2:
            pixels = skin_blur(width, height, rng)
    if pixels is None:
        pixels = painted_background(width, height, rng)
    return LabelledPicture(pixels, FaceLabels.of([], []))


def blurred_backdrop(piece: Pixels, width: int, height: int, rng: np.random.Generator) -> Pixels:
    """``piece`` stretched to ``width`` × ``height``; a quarter of them far out of focus."""
    if rng.random() < 0.25:
        piece = resized(piece, *rng.integers(3, 24, 2).tolist())
    return np.array(resized(piece, width, height))


def _corner(portrait: LabelledPicture, rng: np.random.Generator) -> Pixels | None:
    """A corner of ``portrait`` that holds next to nothing of the face; ``None`` if there is none."""
    width, height = (max(8, int(side * rng.uniform(0.2, _CORNER))) for side in (portrait.width, portrait.height))
    places = [(x, y) for x in (0, portrait.width - width) for y in (0, portrait.height - height)]
    for index in rng.permutation(len(places)):
        x, y = places[index]
        inside = ((portrait.labels.landmarks + 0.5 - (x, y)) / (width, height)).reshape(-1, 2)
        seen = portrait.labels.visible((x, y, width, height)).max(initial=0)
        if seen < 0.08 and not ((inside > -0.15) & (inside < 1.15)).all(axis=1).any():
            return portrait.pixels[y : y + height, x : x + width]
    return None


def _head_mask(width: int, height: int, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An oval or rounded rectangle about ``box``, float32 (height, width), 1 inside; it fades to 0 towards the edges."""
    feather = float(max(0.6, rng.uniform(0.01, 0.05) * min(width, height)))
    middle = np.rint(box[:2] + box[2:] * (0.5, rng.uniform(0.4, 0.5))).astype(int).tolist()
    reach = np.rint(box[2:] / 2 * (rng.uniform(1.0, 1.5), rng.uniform(1.02, 1.35))).astype(int)
    mask = np.zeros((height, width), dtype=np.float32)
    if rng.random() < 0.75:
        cv2.ellipse(mask, middle, reach.tolist(), 0, 0, 360, 1.0, cv2.FILLED)
    else:
        cv2.rectangle(mask, (middle - reach).tolist(), (middle + reach).tolist(), 1.0, cv2.FILLED)
    edge = min(round(2 * feather), min(width, height) // 4)
    mask[:edge] = mask[height - edge :] = 0
    mask[:, :edge] = mask[:, width - edge :] = 0
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), feather), dtype=np.float32)


def _blend(canvas: Pixels, pixels: Pixels, mask: np.ndarray, matrix: Matrix) -> None:
    """Mixes ``pixels``, moved by ``matrix``, into ``canvas`` by the weights ``mask`` (height, width)."""
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, canvas.shape[1::-1])
    if (high <= low).any():
        return
    local = matrix - np.array([[0.0, 0, low[0]], [0, 0, low[1]]])
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    weight = np.asarray(cv2.warpAffine(mask, local, size, flags=cv2.INTER_LINEAR))
    drawn = cv2.warpAffine(pixels, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    part = canvas[low[1] : high[1], low[0] : high[0]]
    part[:] = cv2.blendLinear(drawn, part, weight, 1 - weight)


def _turned(turn: float, scale: float, focus: tuple[float, float], place: tuple[float, float]) -> Matrix:
    """Scales and turns (degrees) about ``focus`` and takes it to ``place``; both in pixels from a corner."""
    matrix = np.asarray(cv2.getRotationMatrix2D((focus[0] - 0.5, focus[1] - 0.5), turn, scale), dtype=np.float64)
    matrix[:, 2] += np.subtract(place, focus)
    return matrix
