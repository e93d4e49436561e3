"""Photos that lie on their side or stand on their head: whether their faces are found, and aged as in the upright photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dorian_client import AgedPhoto, Client, InvalidRequest, PhotoError
from dorian_evaluation.images import Pixels, decode_image

AGE = 65
_TURNS = {90: 1, 180: 2, 270: 3}  # degrees to the left: quarter turns


def measure_turned(client: Client, paths: Sequence[Path]) -> dict[str, Any]:
    """Age each photo as it is and turned by 90, 180 and 270 degrees, and compare what comes back.

    Args:
        client: Of the server.
        paths: Upright photos. Those without a face as they are are left out.

    Returns:
        By turn: how many ``photos`` were sent, in what share the face was ``found`` where it is, and, of these, the mean
        absolute ``difference`` of the aged photo, turned back, from the aged upright one, in grey levels where either
        changed, and of the two estimated ages in ``years``.
    """
    rows: dict[int, list[tuple[float, float] | None]] = {turn: [] for turn in _TURNS}
    for path in paths:
        original = decode_image(path.read_bytes(), path.name)
        upright = _age(client, original, path.name)
        if upright is None:
            continue
        for turn, quarters in _TURNS.items():
            turned = _age(client, np.ascontiguousarray(np.rot90(original, quarters)), path.name)
            rows[turn].append(_compare(original, upright, turned, quarters) if turned else None)
    return {str(turn): _summarise(results) for turn, results in rows.items()}


def _age(client: Client, pixels: Pixels, name: str) -> tuple[AgedPhoto, Pixels] | None:
    try:
        (aged,) = client.age(pixels, [AGE], format="png").photos
    except (InvalidRequest, PhotoError):
        return None
    return aged, decode_image(aged.picture.data, name)


def _compare(
    original: Pixels, upright: tuple[AgedPhoto, Pixels], turned: tuple[AgedPhoto, Pixels], quarters: int
) -> tuple[float, float] | None:
    """Return the difference in grey levels and in years, or ``None`` if another place was changed than in the upright photo."""
    before = original.astype(np.float64)
    first = upright[1] - before
    second = np.rot90(turned[1], -quarters) - before
    changed_first, changed_second = (np.abs(change).max(axis=2) > 0 for change in (first, second))
    either, both = changed_first | changed_second, changed_first & changed_second
    if not both.any() or both.sum() < either.sum() / 2:
        return None
    ages = [photo.faces[0].estimated_age_after or 0.0 for photo, _ in (upright, turned)]
    return float(np.abs(first - second)[either].mean()), abs(ages[0] - ages[1])


def _summarise(results: Sequence[tuple[float, float] | None]) -> dict[str, Any]:
    found = [result for result in results if result is not None]
    means = np.mean(found, axis=0).round(2).tolist() if found else [None, None]
    share = round(len(found) / len(results), 4) if results else None
    return {"photos": len(results), "found": share, "difference": means[0], "years": means[1]}
