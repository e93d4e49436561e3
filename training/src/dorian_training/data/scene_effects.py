"""What happens to scenes on the way to a detector: occlusion, light, blur, noise, lost colour, compression."""

from __future__ import annotations

import cv2
import numpy as np

from dorian_training.data.backgrounds import colour, painted_background
from dorian_training.data.face_labels import FACE, FaceLabels, Pixels

# Shares of scenes, or of faces.
OCCLUDED, RELIT, DARK, BLURRED, NOISY, GREY, COMPRESSED = 0.1, 0.6, 0.06, 0.2, 0.2, 0.1, 0.6

_Spot = tuple[float, float, float, float]  # centre, width and height, as fractions of a box, from its middle


def with_effects(pixels: Pixels, labels: FaceLabels, rng: np.random.Generator) -> Pixels:
    """``pixels`` uint8 RGB (height, width, 3), with some faces partly covered, and the whole changed; may be changed in place."""
    for box, points in zip(labels.boxes[labels.kind == FACE], labels.landmarks[labels.kind == FACE], strict=True):
        if rng.random() < OCCLUDED:
            _cover(pixels, box, points, rng)
    if rng.random() < RELIT:
        pixels = relit(pixels, rng)
    if rng.random() < DARK:
        pixels = _darkened(pixels, rng)
    if rng.random() < BLURRED:
        pixels = blurred(pixels, rng)
    if rng.random() < NOISY:
        pixels = _noisy(pixels, float(rng.uniform(2, 18)), rng)
    if rng.random() < GREY:
        pixels = np.asarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    if rng.random() < COMPRESSED:
        pixels = _compressed(pixels, int(rng.integers(25, 96)))
    return pixels


def relit(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """``pixels`` in another light: brightness, contrast, gamma, and a cast of colour."""
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.65, 1.5)
    cast = 1 + rng.normal(0, 0.07, 3)
    return _mapped(pixels, 0.5 + (levels - 0.5) * rng.uniform(0.65, 1.3) * cast + rng.uniform(-0.15, 0.15))


def blurred(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """``pixels`` out of focus, or in motion."""
    if rng.random() < 0.6:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.5, 2.2))), dtype=np.uint8)
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), dtype=np.float32)
    reach = (length - 1) / 2
    turn = rng.uniform(0, np.pi)
    way = reach * np.array([np.cos(turn), np.sin(turn)])
    start, end = np.rint(reach - way).astype(int).tolist(), np.rint(reach + way).astype(int).tolist()
    cv2.line(kernel, start, end, 1.0)
    return np.asarray(cv2.filter2D(pixels, -1, kernel / kernel.sum()), dtype=np.uint8)


def _cover(pixels: Pixels, box: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> None:
    """Hides up to 35 % of a face behind a bar, a band, a rectangle or an ellipse, turned as its eyes are."""
    spot, oval = _spot(rng)
    across, down, width, height = np.array(spot) * np.tile(box[2:], 2)
    eyes = points[1] - points[0]
    turn = float(np.degrees(np.arctan2(eyes[1], eyes[0])))
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    middle = box[:2] + box[2:] / 2 + (across * cosine - down * sine, across * sine + down * cosine)
    shape = ((float(middle[0]), float(middle[1])), (float(width), float(height)), turn)
    if oval:
        cv2.ellipse(pixels, shape, colour(rng), cv2.FILLED)
        return
    corners = np.rint(cv2.boxPoints(shape)).astype(np.int32)
    if rng.random() < 0.6:
        cv2.fillConvexPoly(pixels, corners, colour(rng))
        return
    x, y, w, h = cv2.boundingRect(corners)
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, pixels.shape[1]), min(y + h, pixels.shape[0])
    if right > left and bottom > top:
        mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
        cv2.fillConvexPoly(mask, corners - (left, top), 1)
        texture = painted_background(right - left, bottom - top, rng)
        pixels[top:bottom, left:right][mask > 0] = texture[mask > 0]


def _spot(rng: np.random.Generator) -> tuple[_Spot, bool]:
    """Where a face is covered, and whether by an ellipse."""
    match rng.integers(4):
        case 0:  # glasses
            return (
                0.0,
                float(rng.uniform(-0.14, -0.08)),
                float(rng.uniform(0.7, 1.0)),
                float(rng.uniform(0.1, 0.2)),
            ), False
        case 1:  # a mask
            height = float(rng.uniform(0.25, 0.35))
            return (0.0, 0.5 - height / 2, float(rng.uniform(0.85, 1.0)), height), False
        case _:
            width = float(rng.uniform(0.2, 0.8))
            height = float(rng.uniform(0.15, 0.35 / max(width, 0.5)))
            return (*rng.uniform(-0.5, 0.5, 2).tolist(), width, height), bool(rng.random() < 0.5)


def _darkened(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(1.2, 2.0) * rng.uniform(0.2, 0.6)
    return _noisy(_mapped(pixels, np.repeat(levels, 3, axis=1)), float(rng.uniform(2, 8)), rng)


def _mapped(pixels: Pixels, levels: np.ndarray) -> Pixels:
    """``pixels`` with each value replaced by that of ``levels`` (256, 3), 0 to 1."""
    table = np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(pixels, table), dtype=np.uint8)


def _noisy(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * strength
    return np.asarray(cv2.add(pixels, noise, dtype=cv2.CV_8U), dtype=np.uint8)


def _compressed(pixels: Pixels, quality: int) -> Pixels:
    data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1]
