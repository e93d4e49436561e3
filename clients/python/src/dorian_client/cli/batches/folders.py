"""The folder of a batch's results: on this machine, or in any storage that fsspec writes.

A picture appears whole or not at all. On this machine it is written as a part beside its place, and moved there once the ledger has
noted its photo. An object store has no such move, but an object is whole from the start: it is written to its place, then its photo is
noted. Folders can be pickled, so that other machines write into them.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import click

from dorian_client._files import write_atomically
from dorian_client.cli.batches.remote import is_url, open_system

LEDGER_NAME = ".dorian-batch.sqlite"
_MARK_NAME = ".dorian-batch.json"  # of a folder that is not on this machine
_PART = "dorian-part"
_KEY_LETTERS = 8  # of the options, in the names of parts
_HASH_LETTERS = 16


class ResultFolder(ABC):
    """Where the results of a batch go. A place is a path in it.

    Args:
        name: As it was given.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def ledger(self) -> Path:
        """The file of the ledger, which is on this machine, unless another is given."""

    @abstractmethod
    def path_of(self, place: PurePosixPath) -> str:
        """Return the path or URL of a place, for people."""

    @abstractmethod
    def identity_of(self, place: PurePosixPath) -> str:
        """Return what is the same for a place and for a photo (`BatchPhoto.identity`) if both are one file."""

    @abstractmethod
    def holds(self, identity: str, root: str) -> bool:
        """Tell whether a photo lies in this folder, and this folder in the tree of the root that the photo was found in."""

    @abstractmethod
    def prepare(self, ledger: Path) -> None:
        """Make the folder; raises click.UsageError if it cannot be made or written."""

    @abstractmethod
    def write_part(self, place: PurePosixPath, data: bytes, key: str) -> None:
        """Write a picture so that `finish` need only move it, and it is there if the machine fails; raises OSError."""

    @abstractmethod
    def finish(self, places: Sequence[PurePosixPath], key: str) -> None:
        """Move the parts of pictures to their places, if there are any; raises OSError."""

    @abstractmethod
    def has(self, places: Sequence[PurePosixPath], key: str) -> bool:
        """Tell whether all pictures are there, as parts or in their places."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file, which appears whole or not at all; raises OSError."""

    @abstractmethod
    def read(self, place: PurePosixPath) -> bytes:
        """Return a file; raises OSError."""


class LocalFolder(ResultFolder):
    """A folder of this machine."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._path = Path(name).absolute()  # as workers have other working folders

    @property
    def ledger(self) -> Path:
        return self._path / LEDGER_NAME

    def path_of(self, place: PurePosixPath) -> str:
        return str(Path(self.name) / place)

    def identity_of(self, place: PurePosixPath) -> str:
        return os.path.realpath(self._path / place)

    def holds(self, identity: str, root: str) -> bool:
        out = self._path.resolve()
        is_within = out != Path(root) and out.is_relative_to(root)
        return is_within and Path(identity).is_relative_to(out)

    def prepare(self, ledger: Path) -> None:
        _make_folder(self._path, self.name)
        if ledger != self.ledger:
            _make_folder(ledger.parent, str(ledger.parent))

    def write_part(self, place: PurePosixPath, data: bytes, key: str) -> None:
        part = self._part_of(place, key)
        part.parent.mkdir(parents=True, exist_ok=True)
        # What is cut off here is written again: its photo is not noted yet.
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, places: Sequence[PurePosixPath], key: str) -> None:
        for place in places:
            part = self._part_of(place, key)
            if part.exists():
                part.replace(self._path / place)

    def has(self, places: Sequence[PurePosixPath], key: str) -> bool:
        return all((self._path / place).is_file() or self._part_of(place, key).is_file() for place in places)

    def write(self, name: str, data: bytes) -> None:
        write_atomically(self._path / name, data)

    def read(self, place: PurePosixPath) -> bytes:
        return (self._path / place).read_bytes()

    def _part_of(self, place: PurePosixPath, key: str) -> Path:
        """Return where a picture is written before it is moved to its place; its suffix stays."""
        path = self._path / place
        return path.with_name(f".{path.stem}.{_PART}-{key[:_KEY_LETTERS]}{path.suffix}")


class RemoteFolder(ResultFolder):
    """A folder that fsspec opens; raises click.UsageError if it does not."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._system, self._root = open_system(name)
        self._known: set[str] | None = None

    @property
    def ledger(self) -> Path:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        digest = hashlib.sha256(self._url.encode()).hexdigest()[:_HASH_LETTERS]
        return state / "dorian" / f"batch-{digest}.sqlite"

    @property
    def _url(self) -> str:
        return str(self._system.unstrip_protocol(self._root))

    def path_of(self, place: PurePosixPath) -> str:
        return f"{self._url}/{place}"

    def identity_of(self, place: PurePosixPath) -> str:
        return self.path_of(place)

    def holds(self, identity: str, root: str) -> bool:
        return self._url.startswith(f"{root}/") and identity.startswith(f"{self._url}/")

    def prepare(self, ledger: Path) -> None:
        mark = {"ledger": str(ledger.resolve()), "machine": socket.gethostname()}
        try:
            self._put(PurePosixPath(_MARK_NAME), json.dumps(mark).encode())
        except OSError as error:
            raise click.UsageError(f"the folder {self.name!r} cannot be written: {error}") from None
        _make_folder(ledger.parent, str(ledger.parent))

    def write_part(self, place: PurePosixPath, data: bytes, key: str) -> None:
        self._put(place, data)

    def finish(self, places: Sequence[PurePosixPath], key: str) -> None:
        """Do nothing: the pictures are in their places."""

    def has(self, places: Sequence[PurePosixPath], key: str) -> bool:
        if self._known is None:  # asking once is cheaper than asking for each photo
            self._known = set(self._system.find(self._root))
        return all(f"{self._root}/{place}" in self._known for place in places)

    def write(self, name: str, data: bytes) -> None:
        self._put(PurePosixPath(name), data)

    def read(self, place: PurePosixPath) -> bytes:
        with self._errors_as_os_errors(place):
            return bytes(self._system.cat_file(f"{self._root}/{place}"))

    def _put(self, place: PurePosixPath, data: bytes) -> None:
        path = f"{self._root}/{place}"
        with self._errors_as_os_errors(place):
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(path, data)

    @contextmanager
    def _errors_as_os_errors(self, place: PurePosixPath) -> Iterator[None]:
        try:
            yield
        except OSError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise OSError(f"{self.path_of(place)}: {str(error) or type(error).__name__}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}


def open_folder(name: str) -> ResultFolder:
    """Return the folder of a path or a URL; raises click.UsageError."""
    return RemoteFolder(name) if is_url(name) else LocalFolder(name)


def _make_folder(path: Path, name: str) -> None:
    if path.exists() and not path.is_dir():
        raise click.UsageError(f"{name!r} is a file; give a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"the folder {name!r} cannot be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise click.UsageError(f"the folder {name!r} cannot be written")
