"""Files of a bundle as its manifest names them, with what shows that they are the ones it describes."""

from __future__ import annotations

import builtins
import hashlib
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dorian_bundle.errors import GraphFileError


class StoredFile(BaseModel):
    """One file: its ``path`` in the bundle, its hash and size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str] = "file"  # as errors call it

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)

    @field_validator("path")
    @classmethod
    def _check_inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path:
            raise ValueError(f"{path!r} is not a path inside the bundle")
        return path

    def verify(self, folder: Path) -> None:
        """Check that the file is in ``folder``, with this entry's size and hash, and fit to be in a bundle.

        Raises:
            GraphFileError: If it is not.
        """
        file = folder / self.path
        if not file.is_file():
            raise GraphFileError(f"{self.kind} {self.path} is missing from {folder}")
        if (size := file.stat().st_size) != self.bytes:
            raise GraphFileError(f"{self.kind} {self.path} has {size} bytes; the manifest says {self.bytes}")
        if not file.resolve().is_relative_to(folder.resolve()):
            raise GraphFileError(
                f"{self.kind} {self.path} is a link to outside of the bundle; copy the file into the bundle"
            )
        data = file.read_bytes()
        if (sha256 := hashlib.sha256(data).hexdigest()) != self.sha256:
            raise GraphFileError(f"{self.kind} {self.path} has SHA-256 {sha256}; the manifest says {self.sha256}")
        self.check_contents(self.path, data)

    @classmethod
    def check_contents(cls, path: str, data: builtins.bytes) -> None:
        """Raise ``GraphFileError``, which names ``path``, if ``data``, all of a file, is not fit to be in a bundle."""


def describe_file(folder: Path, path: str) -> StoredFile:
    """Return the entry for the file at ``folder / path`` as it is now."""
    file = folder / path
    return StoredFile(path=path, sha256=sha256_of(file), bytes=file.stat().st_size)


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
