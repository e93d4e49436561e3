"""Files that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft_file(path: Path, shared: bool = False) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; on leaving, the draft replaces ``path``.

    If the block raises, the draft is removed and ``path`` stays as it was. A draft left by a killed process is overwritten.

    Args:
        path: File to be replaced; its folder exists.
        shared: Whether other processes may write the same file at the same time. Each then has a draft of its own.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.part" if shared else f"{path.name}.part")
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` to write to; on leaving, it replaces ``path`` and all that was in it.

    If the block raises, the draft stays until the next one, and ``path`` stays as it was.
    """
    draft = path.with_name(f"{path.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    yield draft
    shutil.rmtree(path, ignore_errors=True)
    draft.rename(path)


def write_private(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, flushed to disk first; only the file's owner may read it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # of mode 0600
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
