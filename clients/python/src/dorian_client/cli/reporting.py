"""What the commands print: results on stdout, a warning on stderr for each face that failed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import click

from dorian_client._faces import Age, AgeInterval, Face, Filter, Pose, Target
from dorian_client._results import FaceReport, ReachedTarget, Reconstruction
from dorian_client.errors import InvalidRequest

_MIN_TURN = 10.0  # degrees below which a turn is not worth a word


def format_target(target: Target | None) -> str:
    """Return an age or a filter as it is written in a request."""
    match target:
        case None:
            return "unknown"
        case str() | Filter():
            return str(target)
        case _:
            return f"{target:g}"


def format_estimate(age: Age | None) -> str:
    """Return an estimated age: a group's label, or whole years."""
    return format_target(age) if age is None or isinstance(age, str) else f"{age:.0f}"


def format_face(face: Face) -> str:
    """Return a face's index, size and position."""
    box = face.box
    return f"face {face.index}: {box.width:.0f}x{box.height:.0f} at ({box.x:.0f}, {box.y:.0f})"


def format_interval(interval: AgeInterval | None) -> str:
    """Return " (26 to 45)", or nothing if the server does not say."""
    return "" if interval is None else f" ({interval.low:.0f} to {interval.high:.0f})"


def format_pose(pose: Pose) -> str:
    """Return how a face is turned, in words: "looking right by 30 degrees, tilted clockwise by 12"."""
    turns = (
        ("looking right" if pose.yaw > 0 else "looking left", pose.yaw),
        ("looking up" if pose.pitch > 0 else "looking down", pose.pitch),
        ("tilted clockwise" if pose.roll > 0 else "tilted anticlockwise", pose.roll),
    )
    words = [f"{name} by {abs(degrees):.0f} degrees" for name, degrees in turns if abs(degrees) >= _MIN_TURN]
    return ", ".join(words) or "seen from the front"


def format_source(result: FaceReport | Reconstruction) -> str:
    """Return the age that a face was taken to have, and whether it was given or estimated."""
    if result.source is None:
        return "unknown"
    if result.source_given:
        return f"{format_target(result.source)} (given)"
    interval = None if result.face is None else result.face.interval
    return f"{format_estimate(result.source)}{format_interval(interval)} (estimated)"


def format_reached(reached: ReachedTarget | None) -> str:
    """Return " (reached 52, 64 % of the way)", or nothing where the face was changed in full or no identity was to be kept."""
    if reached is None or reached.share == 1:
        return ""
    if reached.share == 0:
        return " (left as it was)"
    years = "" if reached.years is None else f"{reached.years:.0f}, "
    return f" (reached {years}{reached.share:.0%} of the way)".replace("%", " %")


def format_similarity(result: FaceReport | Reconstruction) -> str:
    """Return ", similarity 0.83" with its meaning, if the server knows it; nothing if it was not measured."""
    if result.identity_similarity is None:
        return ""
    apart = result.match.years_apart if result.match else None
    return f", similarity {result.identity_similarity:.2f}{'' if apart is None else f' ({apart})'}"


def format_reconstruction(reconstruction: Reconstruction) -> str:
    """Return how close a drawing is to its face, and the steps of its search if there was one."""
    error = "" if reconstruction.pixel_error is None else f", pixel error {reconstruction.pixel_error:.3f}"
    steps = f", by {count(reconstruction.steps, 'step')}" if reconstruction.steps else ""
    return f"drawn as {format_source(reconstruction)}{error}{format_similarity(reconstruction)}{steps}"


def count(number: int, noun: str) -> str:
    """Return "1 face" or "2 faces"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def warn_of_failures(results: Sequence[FaceReport | Reconstruction]) -> None:
    """Print a warning for each face that failed.

    Raises:
        InvalidRequest: All faces failed.
    """
    failures = list(dict.fromkeys((result.face, result.error) for result in results if result.error is not None))
    lines = [f"{'' if face is None else f'face {face.index}: '}{error.message}" for face, error in failures]
    if failures and all(result.error is not None for result in results):
        raise InvalidRequest("; ".join(lines), code="INVALID_ARGUMENT", reason=failures[0][1].reason)
    for line in lines:
        click.echo(f"warning: {line}", err=True)


def print_warnings(reports: Sequence[FaceReport]) -> None:
    """Print what may not be as expected in the result, once for each face."""
    warnings = [(report.face, warning) for report in reports for warning in report.warnings]
    for face, warning in dict.fromkeys(warnings):
        click.echo(f"warning: {'' if face is None else f'face {face.index}: '}{warning.message}", err=True)


def print_json(result: Any) -> None:
    """Print a result with all its fields."""
    click.echo(json.dumps(dataclasses.asdict(result), indent=2))
