"""Where the dorian command writes: from what -o says to one path a picture, refused before any work is done."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import click
from PIL import Image

from dorian_client._pictures import DEFAULT_QUALITY, FORMATS_BY_SUFFIX, Picture, format_of, save_image

_PLACE = "{age}"
_SUFFIXES_BY_FORMAT = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}


def plan_pictures(out: str, photo: Path, ages: Sequence[str], format: str | None) -> list[Path]:
    """Returns a path for each age: OUT itself, OUT with {age} filled in, or PHOTO-AGE.SUFFIX in the folder OUT."""
    if _is_folder(out):
        paths = [_in_folder(out, photo, _safe(age), format) for age in ages]
    elif _PLACE in out:
        paths = [Path(out.replace(_PLACE, _safe(age))) for age in ages]
    elif len(ages) == 1:
        paths = [Path(out)]
    else:
        raise click.UsageError(
            f"{len(ages)} ages cannot go into one file {out!r}: put {_PLACE} into its name, end it with / for a "
            "folder, or ask for one sheet with --sweep"
        )
    for path in paths:
        _check(path, out, photo, format)
        if paths.count(path) > 1:
            raise click.UsageError(f"two of the ages would go into the same file {str(path)!r}")
    return paths


def plan_picture(out: str, photo: Path, name: str, format: str | None) -> Path:
    """Returns the path for a picture of no single age: OUT itself, or PHOTO-NAME.SUFFIX in the folder OUT."""
    if _PLACE in out:
        raise click.UsageError(f"{_PLACE} has no place in {out!r}: no single age is asked for")
    path = _in_folder(out, photo, name, format) if _is_folder(out) else Path(out)
    _check(path, out, photo, format)
    return path


def write(picture: Picture | Image.Image, path: Path, quality: int | None = None, *, quietly: bool = False) -> None:
    """Writes a picture to a planned path, makes the folder for it, and says so; on stderr if `quietly`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, Picture):
        picture.save(path, quality=quality or DEFAULT_QUALITY)
    else:
        save_image(picture, path, quality=quality or DEFAULT_QUALITY)
    click.echo(f"wrote {click.format_filename(path)}", err=quietly)


def _is_folder(out: str) -> bool:
    return out.endswith(("/", os.sep)) or (out != "" and Path(out).is_dir())


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
    if path.exists() and photo.exists() and path.samefile(photo):
        raise click.UsageError(f"{str(path)!r} is the photo itself, which is not overwritten; give another -o")
    if not _is_folder(out) and not path.parent.is_dir():
        raise click.UsageError(f"there is no folder {str(path.parent)!r}")
