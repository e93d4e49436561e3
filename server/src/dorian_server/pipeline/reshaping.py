"""Reshaping: a face's points are moved, and the photo's pixels with them, smoothly and only near the face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.mesh import OUTLINE

_REACH = 1.35  # of the outline, beyond which nothing moves
_FADE = 0.08  # of the reach's height, over which what moves grows from there inwards
_NODES = 25  # along a side of the grid on which moves are computed; between nodes they are cubic
_LEAST_AREA = (
    64  # pixels, of a face and its surroundings; points of a smaller one lie on a line, or as good as in one place
)
_STRIP = 256  # rows that are moved at once, so that maps of large faces take little memory
_STIFFNESS = 2e-4  # of the plate, against points of opposite moves that lie close together

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Move:
    """How one face changes its shape: its points and how far each moves, (73, 2) both, in pixels of the photo."""

    mesh: Floats
    moves: Floats


def reshape_faces(photo: NDArray[np.uint8], moves: Sequence[Move], strength: float) -> None:
    """Move the pixels of ``photo``, RGB uint8 (height, width, 3), in place: of each face after the other, ``strength`` times as far."""
    for move in moves:
        if strength and np.abs(move.moves).max() > 0:
            _reshape(photo, move.mesh, move.moves * strength)


def shift_grid(mesh: Floats, moves: Floats, region: tuple[slice, slice]) -> NDArray[np.float32]:
    """Return how far off the pixels at the nodes of a grid over a region come from.

    A face's points come from where they were, what is beyond its surroundings from its own place; between them pixels move as a
    thin plate that is held at these points bends (Bookstein 1989).

    Args:
        mesh: The face's points (73, 2).
        moves: How far each moves, (73, 2).
        region: Rows and columns of the photo; nodes lie from its first to its last pixel.

    Returns:
        float32 (nodes, nodes, 2), x and y in pixels.
    """
    rows, columns = region
    surroundings = _surroundings(mesh)
    x, y = (np.linspace(part.start, part.stop - 1, _NODES) for part in (columns, rows))
    nodes = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)
    held = np.concatenate([mesh + moves, surroundings])
    back = np.concatenate([-moves, np.zeros_like(surroundings)])
    unit = float(np.ptp(surroundings[:, 1]))
    field = _bent_plate(held / unit, back, nodes / unit) * _weights(surroundings, nodes, _FADE * unit)[:, None]
    return np.asarray(field, dtype=np.float32).reshape(_NODES, _NODES, 2)


def _reshape(photo: NDArray[np.uint8], mesh: Floats, moves: Floats) -> None:
    height, width = photo.shape[:2]
    surroundings = _surroundings(mesh)
    left, top = np.maximum(np.floor(surroundings.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(surroundings.max(axis=0)) + 1, (width, height)).astype(int)
    if right - left < 2 or bottom - top < 2 or cv2.contourArea(surroundings.astype(np.float32)) < _LEAST_AREA:
        return
    grid = shift_grid(mesh, moves, (slice(top, bottom), slice(left, right)))
    margin = int(np.ceil(np.abs(moves).max())) + 3  # pixels come from near by
    first_row, first_column = int(max(0, top - margin)), int(max(0, left - margin))
    before = photo[first_row : bottom + margin, first_column : right + margin].copy()
    across = np.linspace(0, _NODES - 1, right - left, dtype=np.float32)
    down = np.linspace(0, _NODES - 1, bottom - top, dtype=np.float32)
    columns = np.arange(left, right, dtype=np.float32)
    for start in range(0, bottom - top, _STRIP):
        rows = np.arange(top + start, min(top + start + _STRIP, bottom), dtype=np.float32)
        x, y = cv2.split(cv2.remap(grid, *np.meshgrid(across, down[start : start + _STRIP]), cv2.INTER_CUBIC))
        x, y = x + (columns - first_column), y + (rows - first_row)[:, None]
        moved = np.asarray(cv2.remap(before, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
        photo[top + start : top + start + len(moved), left:right] = moved


def _surroundings(mesh: Floats) -> Floats:
    """Return the outline of ``mesh``, enlarged: beyond it nothing moves."""
    outline = mesh[OUTLINE]
    middle = outline.mean(axis=0)
    return np.asarray(middle + (outline - middle) * _REACH)


def _weights(surroundings: Floats, places: Floats, fade: float) -> Floats:
    """Return for each of ``places`` (places, 2) 1 within ``surroundings``, falling to 0 at them over the last ``fade`` pixels."""
    polygon = surroundings.astype(np.float32)
    depth = np.asarray([cv2.pointPolygonTest(polygon, place, True) for place in places.tolist()])
    share = np.clip(depth / fade, 0, 1)
    return np.asarray(share**2 * (3 - 2 * share))


def _bent_plate(points: Floats, values: Floats, places: Floats) -> Floats:
    """Return at ``places`` (places, 2) what a thin plate that has ``values`` (points, k) at ``points`` (points, 2) has there."""
    count = len(points)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(points, points) + _STIFFNESS * np.eye(count)
    system[:count, count:] = np.hstack([np.ones((count, 1)), points])
    system[count:, :count] = system[:count, count:].T
    weights = np.linalg.solve(system, np.concatenate([values, np.zeros((3, values.shape[1]))]))
    return np.asarray(_kernel(places, points) @ weights[:count] + weights[count] + places @ weights[count + 1 :])


def _kernel(places: Floats, points: Floats) -> Floats:
    """Return ``r² log r`` of the distances between ``places`` and ``points``, (places, points)."""
    squares = np.square(places).sum(axis=1)[:, None] + np.square(points).sum(axis=1) - 2 * places @ points.T
    np.maximum(squares, 1e-12, out=squares)
    return np.asarray(squares * np.log(squares) / 2)
