"""Pictures without faces, drawn: gradients, noise, fractals, clutter and skin-coloured blur."""

from __future__ import annotations

import string
from collections.abc import Callable

import cv2
import numpy as np

from dorian_training.data.face_labels import Pixels, resized

Draw = Callable[[int, int, np.random.Generator], Pixels]
_LETTERS = np.array(list(string.ascii_letters + string.digits + "    .,!?&"))


def painted_background(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Any of the drawings of this file, uint8 RGB (height, width, 3)."""
    drawings: tuple[Draw, ...] = (gradient, noise, fractal, fractal, stripes, clutter, clutter, skin_blur)
    return drawings[rng.integers(len(drawings))](width, height, rng)


def colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Any colour, RGB, 0 to 255."""
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def gradient(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """A few colours that run into each other."""
    rows, columns = rng.integers(1, 4, 2)
    corners = np.repeat(np.repeat(rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8), 2, axis=0), 2, axis=1)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def noise(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Grains of one random size around a colour."""
    grain = float(rng.uniform(1, 12))
    shape = (max(2, round(height / grain)), max(2, round(width / grain)), 3)
    low = rng.integers(0, 160, 3)
    return resized(rng.integers(low, low + rng.integers(20, 96), shape, dtype=np.uint8), width, height)


def fractal(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Noise of all sizes at once, as foliage, stone and clouds have it, between two colours."""
    field = np.zeros((height, width), dtype=np.float32)
    roughness = rng.uniform(0.4, 0.9)
    side, strength = 3, 1.0
    while side <= max(width, height) // 2:
        coarse = rng.random((side, side), dtype=np.float32) - 0.5
        field += strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        side, strength = side * 2, strength * roughness
    if rng.random() < 0.3:
        field = np.abs(field)
    shades = np.asarray(cv2.normalize(field, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)  # type: ignore[call-overload]
    ramp = np.stack([np.interp(np.arange(256), (0, 128, 255), rng.integers(0, 256, 3)) for _ in range(3)], axis=1)
    return ramp.astype(np.uint8)[shades]


def stripes(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Parallel stripes, or checks, at any angle."""
    turn, period = rng.uniform(0, np.pi), rng.uniform(3, 40)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    across = (x * np.cos(turn) + y * np.sin(turn)) % period < period / 2
    if rng.random() < 0.5:
        across = across ^ ((y * np.cos(turn) - x * np.sin(turn)) % period < period / 2)
    first, second = np.array([colour(rng), colour(rng)], dtype=np.uint8)
    return np.asarray(np.where(across[:, :, None], first, second), dtype=np.uint8)


def clutter(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Lines, discs, rings, boxes, polygons and text upon a plainer drawing."""
    canvas = np.ascontiguousarray((gradient, noise, fractal)[rng.integers(3)](width, height, rng))
    side = max(width, height)
    for _ in range(rng.integers(5, 40)):
        place = rng.integers(-side // 8, side + side // 8, (4, 2))
        ink, thickness = colour(rng), int(rng.integers(1, max(2, side // 20)))
        start, end = place[0].tolist(), place[1].tolist()
        match rng.integers(6):
            case 0:
                cv2.line(canvas, start, end, ink, thickness, cv2.LINE_AA)
            case 1:
                radius = int(rng.integers(2, max(3, side // 6)))
                cv2.circle(canvas, start, radius, ink, cv2.FILLED if rng.random() < 0.5 else thickness, cv2.LINE_AA)
            case 2:
                corner = (place[0] + rng.integers(3, max(4, side // 3), 2)).tolist()
                cv2.rectangle(canvas, start, corner, ink, cv2.FILLED if rng.random() < 0.5 else thickness)
            case 3:
                near = place[0] + rng.integers(-side // 5, side // 5 + 1, (int(rng.integers(3, 7)), 2))
                cv2.fillPoly(canvas, [near.astype(np.int32)], ink, cv2.LINE_AA)
            case 4:
                axes = rng.integers(2, max(3, side // 4), 2).tolist()
                cv2.ellipse(canvas, start, axes, float(rng.uniform(0, 180)), 0, 360, ink, thickness, cv2.LINE_AA)
            case _:
                words = "".join(rng.choice(_LETTERS, int(rng.integers(2, 16))))
                font, scale = int(rng.integers(0, 8)), float(rng.uniform(0.3, side / 120 + 0.4))
                cv2.putText(canvas, words, start, font, scale, ink, 1 + thickness // 4, cv2.LINE_AA)
    return canvas


def skin_blur(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """Soft blotches in colours of skin, with a little grain."""
    red = rng.uniform(60, 250)
    tone = np.array([red, red * rng.uniform(0.62, 0.88), red * rng.uniform(0.45, 0.82)])
    blotches = tone * rng.uniform(0.6, 1.15, (int(rng.integers(2, 7)), int(rng.integers(2, 7)), 1))
    field = cv2.resize(np.clip(blotches, 0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.integers(0, int(rng.integers(1, 16)), (height, width, 1), dtype=np.uint8)
    return np.asarray(cv2.add(field, np.repeat(grain, 3, axis=2)), dtype=np.uint8)
