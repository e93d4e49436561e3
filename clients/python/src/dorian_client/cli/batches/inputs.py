"""The photos of a batch: files, folders, patterns and URLs, each with its place in the tree."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import click

from dorian_client._files import FORMATS_BY_SUFFIX, SUFFIXES
from dorian_client._photos import read_photo
from dorian_client.errors import PhotoError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+(?:::[a-z][a-z0-9+.-]+)*://.*", re.IGNORECASE)
_STAMPS = ("ETag", "etag", "mtime", "LastModified", "updated", "last_modified", "created")  # as file systems call them


@dataclass(frozen=True)
class BatchPhoto:
    """A photo of a batch.

    Attributes:
        source: Its path or URL.
        place: Where it is in its tree; its pictures have the same place in the folder of results.
        read: Returns its bytes; raises PhotoError.
        stamp: Returns what changes when the photo does; raises OSError.
    """

    source: str
    place: PurePosixPath
    read: Callable[[], bytes] = field(compare=False, repr=False)
    stamp: Callable[[], str] = field(compare=False, repr=False)


def find_photos(inputs: Sequence[str], out: Path) -> list[BatchPhoto]:
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
        found = list(_find_remote(given) if _SCHEME.fullmatch(given) else _find_local(given, out))
        if not found:
            raise click.UsageError(
                f"no photo at {given!r}; give files, folders or patterns with files that end in {SUFFIXES}"
            )
        photos |= {photo.source: photo for photo in found if photo.source not in photos}
    return list(photos.values())


def _find_local(given: str, out: Path) -> Iterator[BatchPhoto]:
    if Path(given).is_dir():
        yield from _of_tree(Path(given), sorted(Path(given).rglob("*")), out)
    elif Path(given).exists() or not glob.has_magic(given):
        yield _local_photo(Path(given), Path(given).name)
    else:
        root = Path(*_before_pattern(Path(given).parts))
        found = glob.glob(given, recursive=True)  # noqa: PTH207 (pathlib's ** finds folders only)
        yield from _of_tree(root, sorted(map(Path, found)), out)


def _of_tree(root: Path, paths: Sequence[Path], out: Path) -> Iterator[BatchPhoto]:
    is_within = out.resolve() != root.resolve() and out.resolve().is_relative_to(root.resolve())
    for path in paths:
        relative = path.relative_to(root)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        is_result = is_within and path.resolve().is_relative_to(out.resolve())
        if path.suffix.lower() in FORMATS_BY_SUFFIX and path.is_file() and not is_hidden and not is_result:
            yield _local_photo(path, relative.as_posix())


def _local_photo(path: Path, place: str) -> BatchPhoto:
    if not path.is_file():
        raise click.UsageError(f"no photo at {str(path)!r}: there is no such file")

    def stamp() -> str:
        status = path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    return BatchPhoto(os.path.normpath(path), PurePosixPath(place), lambda: read_photo(path), stamp)


def _find_remote(given: str) -> Iterator[BatchPhoto]:
    system, path = _open_system(given)
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
        place = found.removeprefix(root).lstrip("/")
        if PurePosixPath(found).suffix.lower() in FORMATS_BY_SUFFIX or found == path:
            yield _remote_photo(system, found, place)


def _remote_photo(system: Any, path: str, place: str) -> BatchPhoto:
    source = system.unstrip_protocol(path)

    def read() -> bytes:
        try:
            return bytes(system.cat_file(path))
        except (OSError, ValueError) as error:
            raise PhotoError(f"cannot read the photo {source!r}: {error}") from error

    def stamp() -> str:
        info = system.info(path)
        return " ".join(str(info[name]) for name in ("size", *_STAMPS) if info.get(name) is not None)

    return BatchPhoto(source, PurePosixPath(place), read, stamp)


def _open_system(given: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise click.UsageError(f"{given!r} is a URL, which needs fsspec: install dorian-client[remote]") from None
    try:
        system, path = fsspec.core.url_to_fs(given)
    except (ImportError, ValueError, OSError) as error:
        raise click.UsageError(f"cannot open {given!r}: {error}") from None
    return system, path.rstrip("/")


def _before_pattern(parts: Sequence[str]) -> list[str]:
    """Return the parts of a path before the first that is a pattern."""
    count = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return list(parts[:count])
