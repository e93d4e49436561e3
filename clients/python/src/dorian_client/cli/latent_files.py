"""Files of latents: `dorian reconstruct` and `dorian optimize` write them, `dorian age` reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from dorian_client._faces import Box
from dorian_client._results import Provenance, Reconstruction

_ADVICE = "give a file that 'dorian reconstruct --latents' or 'dorian optimize --latent' wrote"


@dataclass(frozen=True)
class SavedLatents:
    """The content of a file of latents.

    Attributes:
        method: The method that the latents belong to.
        faces: Each face's box, which selects it, and latent.
    """

    method: str
    faces: tuple[tuple[Box, tuple[float, ...]], ...]


def latents_to_dict(provenance: Provenance, faces: Iterable[Reconstruction]) -> dict[str, Any]:
    """Return the content of a file of latents: the method, and index, box and latent of each face that has one."""
    entries = [
        {"index": reconstruction.face.index, "box": asdict(reconstruction.face.box), "latent": reconstruction.latent}
        for reconstruction in faces
        if reconstruction.face is not None and reconstruction.error is None
    ]
    return {"method": provenance.method, "faces": entries}


def read_latents(name: str) -> SavedLatents:
    """Read a file of latents; raises click.BadParameter if it is missing or invalid."""
    try:
        content = json.loads(Path(name).read_bytes(), parse_int=float)  # every number is a float, and nothing else is
    except OSError as error:
        raise click.BadParameter(f"cannot read {name!r}: {error.strerror or error}") from None
    except ValueError as error:  # not JSON, or not text
        raise click.BadParameter(f"{name!r} is not JSON: {error}") from None
    match content:
        case {"method": str(method), "faces": [_, *_] as faces} if method:
            return SavedLatents(method, tuple(_read_face(face, name) for face in faces))
    raise click.BadParameter(f"{name!r} contains no method's latents; {_ADVICE}")


def _read_face(face: object, name: str) -> tuple[Box, tuple[float, ...]]:
    match face:
        case {"box": {"x": x, "y": y, "width": width, "height": height}, "latent": [_, *_] as latent} if all(
            isinstance(number, float) and math.isfinite(number) for number in (x, y, width, height, *latent)
        ):
            return Box(x, y, width, height), tuple(latent)
    raise click.BadParameter(f"{name!r} has a face without a box of numbers or without a latent of numbers; {_ADVICE}")
