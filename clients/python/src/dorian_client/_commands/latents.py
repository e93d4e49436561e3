"""Latents in files: written by the commands that find them, and read by the one that draws from them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from dorian_client._results import Box, Provenance, Reconstruction

_RIGHT = "give a file that 'dorian reconstruct --latents' or 'dorian optimize --latent' wrote"


@dataclass(frozen=True)
class SavedLatents:
    """What a file of latents holds: the method that they belong to, and each face's, whose box names it."""

    method: str
    faces: tuple[tuple[Box, tuple[float, ...]], ...]


def describe_latents(provenance: Provenance, faces: Iterable[Reconstruction]) -> dict[str, Any]:
    """Returns what a file of latents says: the method, and index, box and latent of each face that has one."""
    described = [
        {"index": drawn.face.index, "box": asdict(drawn.face.box), "latent": drawn.latent}
        for drawn in faces
        if drawn.face is not None and drawn.error is None
    ]
    return {"method": provenance.method, "faces": described}


def read_latents(name: str) -> SavedLatents:
    """Reads a file of latents; refuses, as click does, one that is not there or that describe_latents cannot have made."""
    try:
        content = json.loads(Path(name).read_bytes(), parse_int=float)  # numbers are floats then, and nothing else is
    except OSError as error:
        raise click.BadParameter(f"cannot read {name!r}: {error.strerror or error}") from None
    except ValueError as error:  # no JSON, or no text
        raise click.BadParameter(f"{name!r} is no JSON: {error}") from None
    match content:
        case {"method": str(method), "faces": [_, *_] as faces} if method:
            return SavedLatents(method, tuple(_read_face(face, name) for face in faces))
    raise click.BadParameter(f"{name!r} holds no method's latents; {_RIGHT}")


def _read_face(face: object, name: str) -> tuple[Box, tuple[float, ...]]:
    match face:
        case {"box": {"x": x, "y": y, "width": width, "height": height}, "latent": [_, *_] as latent} if all(
            isinstance(number, float) and math.isfinite(number) for number in (x, y, width, height, *latent)
        ):
            return Box(x, y, width, height), tuple(latent)
    raise click.BadParameter(f"{name!r} has a face without a box of numbers or without a latent of numbers; {_RIGHT}")
