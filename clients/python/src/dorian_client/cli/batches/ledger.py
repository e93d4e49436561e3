"""The ledger of a folder of results: which photos were done, with which options and which bundle.

A photo's pictures are written beside their places first, then its row is committed, then they are moved into their places. So
whenever the process is killed, what the ledger says was done is there, or is moved when the ledger is next opened.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import click

LEDGER_NAME = ".dorian-batch.sqlite"
_PART = "dorian-part"
_KEY_LETTERS = 8  # of the options, in the names of parts

# What came of a photo: aged; never to be aged like this, by its own fault; or not aged this time.
Status: TypeAlias = Literal["done", "rejected", "failed"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
    paths TEXT PRIMARY KEY,  -- so that a photo done otherwise takes the place of what was there
    source TEXT NOT NULL,
    stamp TEXT NOT NULL,
    options TEXT NOT NULL,
    status TEXT NOT NULL,
    record TEXT NOT NULL
)
"""


class Ledger:
    """The ledger of one batch at a time; a context manager.

    Args:
        out: The folder of results.
        options: Stands for all options and the bundle.

    Raises:
        click.UsageError: Another batch works on the folder, or the ledger is none.
    """

    def __init__(self, out: Path, options: str) -> None:
        self._out, self._options = out, options
        self._database = sqlite3.connect(out / LEDGER_NAME, timeout=1)
        try:
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute("BEGIN IMMEDIATE")  # takes the lock, which lasts as long as the connection
            self._database.execute(_SCHEMA)
            self._database.commit()
        except sqlite3.OperationalError as error:
            self._database.close()
            raise click.UsageError(
                f"another batch works on {str(out)!r} ({error}); wait for it, or give another folder"
            ) from None
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise click.UsageError(
                f"{str(out / LEDGER_NAME)!r} is no ledger ({error}); remove it, or give another folder"
            ) from None

    def find(self, source: str, stamp: str, paths: Sequence[Path]) -> dict[str, Any] | None:
        """Return the record of a photo if it needs no more work: the same photo, options and places, and all is there.

        Args:
            source: The photo's path or URL.
            stamp: What changes when the photo does.
            paths: Where its pictures go.
        """
        row = self._database.execute(
            "SELECT status, record FROM photos WHERE paths = ? AND source = ? AND stamp = ? AND options = ?",
            (self._names(paths), source, stamp, self._options),
        ).fetchone()
        if row is None or row[0] == "failed":
            return None
        if row[0] == "done":
            self._move(paths)
            if not all(path.is_file() for path in paths):
                return None
        record: dict[str, Any] = json.loads(row[1])
        return record

    def note(self, source: str, stamp: str, status: Status, paths: Sequence[Path], record: Mapping[str, Any]) -> None:
        """Note what came of a photo; if it is done, move its pictures, which are written, to their paths."""
        row = (self._names(paths), source, stamp, self._options, status, json.dumps(record))
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?)", row)
        if status == "done":
            self._move(paths)

    def part_of(self, path: Path) -> Path:
        """Return where a picture is written before it is moved to a path; its suffix stays."""
        return path.with_name(f".{path.stem}.{_PART}-{self._options[:_KEY_LETTERS]}{path.suffix}")

    def _names(self, paths: Sequence[Path]) -> str:
        return json.dumps([path.relative_to(self._out).as_posix() for path in paths])

    def _move(self, paths: Sequence[Path]) -> None:
        for path in paths:
            part = self.part_of(path)
            if part.exists():
                part.replace(path)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
