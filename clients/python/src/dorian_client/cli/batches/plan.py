"""Where the pictures of a batch go; told, and checked, before any work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from dorian_client.cli.batches.inputs import BatchPhoto
from dorian_client.cli.outputs import name_in_folder, safe_name

_SHOWN = 5  # clashes that are told one by one


@dataclass(frozen=True)
class PlannedPhoto:
    """A photo, and where its pictures go: one path for each target."""

    photo: BatchPhoto
    paths: tuple[Path, ...]


def plan_batch(
    photos: Sequence[BatchPhoto], out: Path, targets: Sequence[str], format: str | None
) -> list[PlannedPhoto]:
    """Return the paths of all pictures.

    Args:
        photos: The photos.
        out: The folder of results.
        targets: Names of the targets.
        format: Format of the pictures; None for that of each photo.

    Raises:
        click.UsageError: Two pictures would go into one file, or one into a photo, or the folder cannot be written.
    """
    names = [safe_name(target) for target in targets]
    owners: dict[Path, str] = {}
    clashes: list[str] = []
    sources = {os.path.realpath(photo.source) for photo in photos}
    planned = []
    for photo in photos:
        folder = out.joinpath(*photo.place.parent.parts)
        paths = tuple(folder / name_in_folder(Path(photo.place.name), name, format) for name in names)
        for path in paths:
            if path in owners:
                clashes.append(f"{owners[path]} and {photo.source} would both go into {path}")
            elif os.path.realpath(path) in sources:
                clashes.append(f"{photo.source} would go into {path}, which is a photo of the batch")
            owners[path] = photo.source
        planned.append(PlannedPhoto(photo, paths))
    if clashes:
        more = f"\nand {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
        raise click.UsageError("names clash, nothing was done:\n" + "\n".join(clashes[:_SHOWN]) + more)
    _check_folder(out)
    return planned


def _check_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"the folder {str(out)!r} cannot be made: {error.strerror}") from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise click.UsageError(f"the folder {str(out)!r} cannot be written")
