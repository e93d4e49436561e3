"""How the commands say what came back: on stdout what was done, on stderr a warning for each face that failed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import click

from dorian_client._results import Age, Face, FaceReport, Filter, Reconstruction, Target
from dorian_client.errors import InvalidRequest


def in_words(target: Target | None) -> str:
    """Returns an age or a filter as it is written in a request."""
    match target:
        case None:
            return "unknown"
        case str() | Filter():
            return str(target)
        case _:
            return f"{target:g}"


def estimate(age: Age | None) -> str:
    """Returns an age that was estimated, in whole years where it is no group."""
    return in_words(age) if age is None or isinstance(age, str) else f"{age:.0f}"


def place(face: Face) -> str:
    """Returns which face it is, and where."""
    box = face.box
    return f"face {face.index}: {box.width:.0f}x{box.height:.0f} at ({box.x:.0f}, {box.y:.0f})"


def origin(result: FaceReport | Reconstruction) -> str:
    """Returns the age that a face was taken to have, and where that is known from."""
    if result.source is None:
        return "unknown"
    return f"{in_words(result.source)} (given)" if result.source_given else f"{estimate(result.source)} (estimated)"


def similarity(result: FaceReport | Reconstruction) -> str:
    """Returns ", similarity 0.83", or nothing where it was not measured."""
    return "" if result.identity_similarity is None else f", similarity {result.identity_similarity:.2f}"


def drawing(drawn: Reconstruction) -> str:
    """Returns how near a face was drawn, and by how many steps where it was searched."""
    error = "" if drawn.pixel_error is None else f", pixel error {drawn.pixel_error:.3f}"
    steps = f", by {drawn.steps} step{'' if drawn.steps == 1 else 's'}" if drawn.steps else ""
    return f"drawn as {origin(drawn)}{error}{similarity(drawn)}{steps}"


def warn_of_failures(results: Sequence[FaceReport | Reconstruction]) -> None:
    """Prints a warning for each face that failed; raises InvalidRequest if there are faces and all failed."""
    failures = list(dict.fromkeys((result.face, result.error) for result in results if result.error is not None))
    lines = [f"{'' if face is None else f'face {face.index}: '}{error.message}" for face, error in failures]
    if failures and all(result.error is not None for result in results):
        raise InvalidRequest("; ".join(lines), code="INVALID_ARGUMENT", reason=failures[0][1].reason)
    for line in lines:
        click.echo(f"warning: {line}", err=True)


def count_faces(number: int) -> str:
    """Returns "1 face" or "2 faces"."""
    return f"{number} face{'' if number == 1 else 's'}"


def print_json(result: Any) -> None:
    """Prints a result with everything that it has."""
    click.echo(json.dumps(dataclasses.asdict(result), indent=2))
