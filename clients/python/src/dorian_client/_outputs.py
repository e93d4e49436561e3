"""Where the dorian command writes: from what -o says to one path a picture, refused before any work is done."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from PIL import Image

from dorian_client._pictures import DEFAULT_QUALITY, FORMATS_BY_SUFFIX, Picture, format_of, save_image, write_whole

_PLACE = "{age}"
_INTO_SEVERAL = f"put {_PLACE} into its name, end it with / for a folder"
_SUFFIXES_BY_FORMAT = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}


def plan_pictures(out: str, photo: Path, ages: Sequence[str], format: str | None) -> list[Path]:
    """Returns a path for each age: OUT itself, OUT with {age} filled in, or PHOTO-AGE.SUFFIX in the folder OUT."""
    if len(ages) > 1 and not _is_folder(out) and _PLACE not in out:
        raise click.UsageError(
            f"{len(ages)} ages cannot go into one file {out!r}: {_INTO_SEVERAL}, or ask for one sheet with --sweep"
        )
    return _spread(out, photo, ages, format)


def plan_picture(out: str, photo: Path, name: str, format: str | None) -> Path:
    """Returns the path for a picture of no single age: OUT itself, or PHOTO-NAME.SUFFIX in the folder OUT."""
    if _PLACE in out:
        raise click.UsageError(f"{_PLACE} has no place in {out!r}: no single age is asked for")
    path = _in_folder(out, photo, name, format) if _is_folder(out) else Path(out)
    _check(path, out, photo, format)
    return path


def plan_deltas(out: str, photo: Path, ages: Sequence[str], pictures: Sequence[Path]) -> list[Path]:
    """Returns a path for the layer of each picture, as they have theirs: in the folder OUT, PHOTO-AGE-delta.png."""
    if not _is_folder(out) and Path(out).suffix.lower() != ".png":
        raise click.UsageError(f"a layer is a PNG with alpha: end {out!r} in .png, or with / for a folder")
    if not ages:
        paths = [plan_picture(out, photo, "aged-delta", "png")]
    elif len(ages) > 1 and not _is_folder(out) and _PLACE not in out:
        raise click.UsageError(f"{len(ages)} layers cannot go into one file {out!r}: {_INTO_SEVERAL}")
    else:
        paths = _spread(out, photo, ages, "png", "-delta")
    taken = {picture.resolve() for picture in pictures}
    for path in paths:
        if path.resolve() in taken:
            raise click.UsageError(f"a picture and a layer would go into the same file {str(path)!r}")
    return paths


def plan_latents(out: str, photo: Path) -> Path:
    """Returns the path for a file of latents, which ends in .json."""
    path = Path(out)
    if path.suffix.lower() != ".json":
        raise click.UsageError(f"latents are written as JSON: end {out!r} in .json")
    _check_place(path, photo)
    return path


def write(picture: Picture | Image.Image, path: Path, quality: int | None = None, *, quietly: bool = False) -> None:
    """Writes a picture to a planned path, makes the folder for it, and says so; on stderr if `quietly`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, Picture):
        picture.save(path, quality=quality or DEFAULT_QUALITY)
    else:
        save_image(picture, path, quality=quality or DEFAULT_QUALITY)
    _say_written(path, quietly)


def write_json(content: Any, path: Path) -> None:
    """Writes what JSON can say to a planned path, and says so."""
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
    _say_written(path)


def _say_written(path: Path, quietly: bool = False) -> None:
    click.echo(f"wrote {click.format_filename(path)}", err=quietly)


def _is_folder(out: str) -> bool:
    return out.endswith(("/", os.sep)) or (out != "" and Path(out).is_dir())


def _spread(out: str, photo: Path, ages: Sequence[str], format: str | None, ending: str = "") -> list[Path]:
    names = [_safe(age) for age in ages]
    if _is_folder(out):
        paths = [_in_folder(out, photo, name + ending, format) for name in names]
    else:
        paths = [Path(out.replace(_PLACE, name)) for name in names]
    for path in paths:
        _check(path, out, photo, format)
        if paths.count(path) > 1:
            raise click.UsageError(f"two of the ages would go into the same file {str(path)!r}")
    return paths


def _in_folder(out: str, photo: Path, name: str, format: str | None) -> Path:
    if format is not None:
        suffix = _SUFFIXES_BY_FORMAT[format]
    else:
        suffix = photo.suffix if photo.suffix.lower() in FORMATS_BY_SUFFIX else ".jpg"
    return Path(out, f"{photo.stem}-{name}{suffix}")


def _safe(age: str) -> str:
    return re.sub(r"[^\w.+-]", "_", age)


def _check(path: Path, out: str, photo: Path, format: str | None) -> None:
    try:
        asked_for = format_of(path)
    except ValueError as error:
        raise click.UsageError(f"{error}, or end it with / for a folder") from None
    if format not in (None, asked_for):
        raise click.UsageError(f"--format {format} contradicts the name {path.name!r}")
    _check_place(path, photo, makes_folder=_is_folder(out))


def _check_place(path: Path, photo: Path, *, makes_folder: bool = False) -> None:
    if path.exists() and photo.exists() and path.samefile(photo):
        raise click.UsageError(f"{str(path)!r} is the photo itself, which is not overwritten; give another name")
    if not makes_folder and not path.parent.is_dir():
        raise click.UsageError(f"there is no folder {str(path.parent)!r}")
