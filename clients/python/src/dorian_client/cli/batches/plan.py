"""Where the pictures of a batch go; told, and checked, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click

from dorian_client.cli.batches.folders import ResultFolder
from dorian_client.cli.batches.inputs import BatchPhoto
from dorian_client.cli.outputs import name_in_folder, safe_name

_SHOWN = 5  # clashes that are told one by one


@dataclass(frozen=True)
class PlannedPhoto:
    """A photo, and where in the folder of results its pictures go: one place for each target."""

    photo: BatchPhoto
    places: tuple[PurePosixPath, ...]


def plan_batch(
    photos: Sequence[BatchPhoto], out: ResultFolder, targets: Sequence[str], format: str | None
) -> list[PlannedPhoto]:
    """Return the places of all pictures.

    Args:
        photos: The photos.
        out: The folder of results.
        targets: Names of the targets.
        format: Format of the pictures; None for that of each photo.

    Raises:
        click.UsageError: Two pictures would go into one file, or one into a photo.
    """
    names = [safe_name(target) for target in targets]
    owners: dict[PurePosixPath, str] = {}
    clashes: list[str] = []
    identities = {photo.identity for photo in photos}
    planned = []
    for photo in photos:
        name_of_photo = Path(photo.place.name)
        places = tuple(photo.place.parent / name_in_folder(name_of_photo, name, format) for name in names)
        for place in places:
            if place in owners:
                clashes.append(f"{owners[place]} and {photo.source} would both go into {out.path_of(place)}")
            elif out.identity_of(place) in identities:
                clashes.append(f"{photo.source} would go into {out.path_of(place)}, which is a photo of the batch")
            owners[place] = photo.source
        planned.append(PlannedPhoto(photo, places))
    if clashes:
        more = f"\nand {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
        raise click.UsageError("names clash, nothing was done:\n" + "\n".join(clashes[:_SHOWN]) + more)
    return planned
