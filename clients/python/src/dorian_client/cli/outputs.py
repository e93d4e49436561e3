"""Where the command writes: -o becomes one path per picture, which is checked before any call is made."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from PIL import Image

from dorian_client._files import (
    DEFAULT_QUALITY,
    FORMATS,
    FORMATS_BY_SUFFIX,
    JPEG,
    PNG,
    SUFFIXES,
    format_of,
    save_image,
    write_atomically,
)
from dorian_client._pictures import Picture

OUT_HELP = f"a file ending in {SUFFIXES}, or a folder"
_AGE_FIELD = "{age}"
_ALTERNATIVES = f"put {_AGE_FIELD} into its name, end it with / for a folder"
_DELTA_SUFFIX = PNG.suffixes[0]


def plan_pictures(out: str, photo: Path, ages: Sequence[str], format: str | None) -> list[Path]:
    """Return a path for each age: OUT itself, OUT with {age} filled in, or PHOTO-AGE.SUFFIX in the folder OUT."""
    if len(ages) > 1 and not _is_folder(out) and _AGE_FIELD not in out:
        raise click.UsageError(
            f"{len(ages)} ages cannot go into one file {out!r}: {_ALTERNATIVES}, or ask for one sheet with --sweep"
        )
    return _paths_of_ages(out, photo, ages, format)


def plan_picture(out: str, photo: Path, name: str, format: str | None) -> Path:
    """Return the path of a picture of no single age: OUT itself, or PHOTO-NAME.SUFFIX in the folder OUT."""
    if _AGE_FIELD in out:
        raise click.UsageError(f"{_AGE_FIELD} has no place in {out!r}: no single age is requested")
    path = _in_folder(out, photo, name, format) if _is_folder(out) else Path(out)
    _check(path, out, photo, format)
    return path


def plan_deltas(out: str, photo: Path, ages: Sequence[str], pictures: Sequence[Path]) -> list[Path]:
    """Return a path for the delta of each picture, by the same rules: PHOTO-AGE-delta.png in the folder OUT."""
    if not _is_folder(out) and Path(out).suffix.lower() not in PNG.suffixes:
        raise click.UsageError(f"a layer is a PNG with alpha: end {out!r} in {_DELTA_SUFFIX}, or with / for a folder")
    if not ages:
        paths = [plan_picture(out, photo, "aged-delta", PNG.name)]
    elif len(ages) > 1 and not _is_folder(out) and _AGE_FIELD not in out:
        raise click.UsageError(f"{len(ages)} layers cannot go into one file {out!r}: {_ALTERNATIVES}")
    else:
        paths = _paths_of_ages(out, photo, ages, PNG.name, "-delta")
    picture_paths = {picture.resolve() for picture in pictures}
    for path in paths:
        if path.resolve() in picture_paths:
            raise click.UsageError(f"a picture and a layer would go into the same file {str(path)!r}")
    return paths


def plan_latents(out: str, photo: Path) -> Path:
    """Return the path of a file of latents, which ends in .json."""
    path = Path(out)
    if path.suffix.lower() != ".json":
        raise click.UsageError(f"latents are written as JSON: end {out!r} in .json")
    _check_location(path, photo)
    return path


def write_picture(
    picture: Picture | Image.Image, path: Path, quality: int | None = None, *, on_stderr: bool = False
) -> None:
    """Write a picture to a planned path, make its folder if needed, and print the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, Picture):
        picture.save(path, quality=quality or DEFAULT_QUALITY)
    else:
        save_image(picture, path, quality=quality or DEFAULT_QUALITY)
    _print_path(path, on_stderr)


def write_json(content: Any, path: Path) -> None:
    """Write a planned JSON file, and print its path."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    _print_path(path)


def _print_path(path: Path, on_stderr: bool = False) -> None:
    click.echo(f"wrote {click.format_filename(path)}", err=on_stderr)


def _is_folder(out: str) -> bool:
    return out.endswith(("/", os.sep)) or (out != "" and Path(out).is_dir())


def _paths_of_ages(out: str, photo: Path, ages: Sequence[str], format: str | None, ending: str = "") -> list[Path]:
    names = [safe_name(age) for age in ages]
    if _is_folder(out):
        paths = [_in_folder(out, photo, name + ending, format) for name in names]
    else:
        paths = [Path(out.replace(_AGE_FIELD, name)) for name in names]
    for path in paths:
        _check(path, out, photo, format)
        if paths.count(path) > 1:
            raise click.UsageError(f"two of the ages would go into the same file {str(path)!r}")
    return paths


def _in_folder(out: str, photo: Path, name: str, format: str | None) -> Path:
    return Path(out, name_in_folder(photo, name, format))


def name_in_folder(photo: Path, name: str, format: str | None) -> str:
    """Return PHOTO-NAME.SUFFIX, with the suffix of a format or else the photo's."""
    if format is not None:
        suffix = FORMATS[format].suffixes[0]
    else:
        suffix = photo.suffix if photo.suffix.lower() in FORMATS_BY_SUFFIX else JPEG.suffixes[0]
    return f"{photo.stem}-{name}{suffix}"


def safe_name(age: str) -> str:
    """Return an age or a filter as a part of a file's name."""
    return re.sub(r"[^\w.+-]", "_", age)


def _check(path: Path, out: str, photo: Path, format: str | None) -> None:
    try:
        path_format = format_of(path)
    except ValueError as error:
        raise click.UsageError(f"{error}, or end it with / for a folder") from None
    if format not in (None, path_format.name):
        raise click.UsageError(f"--format {format} contradicts the name {path.name!r}")
    _check_location(path, photo, makes_folder=_is_folder(out))


def _check_location(path: Path, photo: Path, *, makes_folder: bool = False) -> None:
    if path.exists() and photo.exists() and path.samefile(photo):
        raise click.UsageError(f"{str(path)!r} is the photo itself, which is not overwritten; give another name")
    if not makes_folder and not path.parent.is_dir():
        raise click.UsageError(f"there is no folder {str(path.parent)!r}")
