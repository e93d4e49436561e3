"""The photos of a batch: files, folders, patterns and URLs, each with its place in the tree."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import click

from dorian_client._files import FORMATS_BY_SUFFIX, SUFFIXES
from dorian_client._photos import read_photo
from dorian_client.cli.batches.folders import ResultFolder
from dorian_client.cli.batches.remote import is_url, open_system
from dorian_client.errors import PhotoError

_STAMPS = ("ETag", "etag", "mtime", "LastModified", "updated", "last_modified", "created")  # as file systems call them


class BatchPhoto(Protocol):
    """A photo of a batch; it can be pickled, so that other machines read it.

    Attributes:
        place: Where it is in its tree; its pictures have the same place in the folder of results.
    """

    @property
    def place(self) -> PurePosixPath: ...

    @property
    def source(self) -> str:
        """Its path or URL."""

    @property
    def identity(self) -> str:
        """What no other file has."""

    def read(self) -> bytes:
        """Return its bytes; raises PhotoError."""

    def stamp(self) -> str:
        """Return what changes when the photo does; raises OSError."""


@dataclass(frozen=True)
class LocalPhoto:
    """A photo that is a file of this machine."""

    source: str
    place: PurePosixPath
    path: Path  # absolute, as workers have other working folders

    @property
    def identity(self) -> str:
        return os.path.realpath(self.path)

    def read(self) -> bytes:
        return read_photo(self.path)

    def stamp(self) -> str:
        status = self.path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True)
class RemotePhoto:
    """A photo that fsspec reads."""

    system: Any
    path: str
    place: PurePosixPath

    @property
    def source(self) -> str:
        return str(self.system.unstrip_protocol(self.path))

    @property
    def identity(self) -> str:
        return self.source

    def read(self) -> bytes:
        try:
            return bytes(self.system.cat_file(self.path))
        except (OSError, ValueError) as error:
            raise PhotoError(f"cannot read the photo {self.source!r}: {error}") from error

    def stamp(self) -> str:
        info = self.system.info(self.path)
        return " ".join(str(info[name]) for name in ("size", *_STAMPS) if info.get(name) is not None)


def read_batch_photo(photo: BatchPhoto) -> bytes:
    """Return a photo's bytes; raises PhotoError."""
    return photo.read()


def find_photos(inputs: Sequence[str], out: ResultFolder) -> list[BatchPhoto]:
    """Return the photos that inputs name, each once, in their order; those of a folder by name.

    Hidden files, and what lies in the folder of results, are no photos of a folder or a pattern.

    Args:
        inputs: Files, folders, patterns such as "photos/**/*.jpg", and URLs.
        out: The folder of results.

    Raises:
        click.UsageError: An input names no photo.
    """
    photos: dict[str, BatchPhoto] = {}
    for given in inputs:
        found = list(_find_remote(given, out) if is_url(given) else _find_local(given, out))
        if not found:
            raise click.UsageError(
                f"no photo at {given!r}; give files, folders or patterns with files that end in {SUFFIXES}"
            )
        photos |= {photo.source: photo for photo in found if photo.source not in photos}
    return list(photos.values())


def _find_local(given: str, out: ResultFolder) -> Iterator[BatchPhoto]:
    if Path(given).is_dir():
        yield from _of_tree(Path(given), sorted(Path(given).rglob("*")), out)
    elif Path(given).exists() or not glob.has_magic(given):
        if not Path(given).is_file():
            raise click.UsageError(f"no photo at {given!r}: there is no such file")
        yield _local_photo(Path(given), PurePosixPath(Path(given).name))
    else:
        root = Path(*_before_pattern(Path(given).parts))
        found = glob.glob(given, recursive=True)  # noqa: PTH207 (pathlib's ** finds folders only)
        yield from _of_tree(root, sorted(map(Path, found)), out)


def _local_photo(path: Path, place: PurePosixPath) -> LocalPhoto:
    return LocalPhoto(os.path.normpath(path), place, path.absolute())


def _of_tree(root: Path, paths: Sequence[Path], out: ResultFolder) -> Iterator[BatchPhoto]:
    for path in paths:
        photo = _local_photo(path, PurePosixPath(path.relative_to(root).as_posix()))
        if _is_photo(photo.place) and path.is_file() and not out.holds(photo.identity, os.path.realpath(root)):
            yield photo


def _find_remote(given: str, out: ResultFolder) -> Iterator[BatchPhoto]:
    system, path = open_system(given)
    try:
        if glob.has_magic(path):
            root = "/".join(_before_pattern(path.split("/")))
            paths = sorted(system.glob(path))
        elif system.isdir(path):
            root, paths = path, sorted(system.find(path))
        else:
            root, paths = path.rpartition("/")[0], [path] if system.exists(path) else []
    except (OSError, ValueError) as error:
        raise click.UsageError(f"cannot look for photos at {given!r}: {error}") from None
    for found in paths:
        photo = RemotePhoto(system, found, PurePosixPath(found.removeprefix(root).lstrip("/")))
        is_found = _is_photo(photo.place) and not out.holds(photo.identity, system.unstrip_protocol(root))
        if is_found or found == path:
            yield photo


def _is_photo(place: PurePosixPath) -> bool:
    is_hidden = any(part.startswith(".") for part in place.parts)
    return place.suffix.lower() in FORMATS_BY_SUFFIX and not is_hidden


def _before_pattern(parts: Sequence[str]) -> list[str]:
    """Return the parts of a path before the first that is a pattern."""
    count = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return list(parts[:count])
