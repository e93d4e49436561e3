"""The ledger of a folder of results: which photos were done, with which options and which bundle.

A photo's pictures are written first, then its row is committed, then those that are parts are moved into their places. So whenever
the process is killed, what the ledger says was done is there, or is moved when its row is next read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Literal, TypeAlias

import click

from dorian_client.cli.batches.folders import ResultFolder

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
        path: Its file.
        folder: The folder of results.
        key: Stands for all options and the bundle.

    Raises:
        click.UsageError: Another batch works on the folder, or the ledger is none.
    """

    def __init__(self, path: Path, folder: ResultFolder, key: str) -> None:
        self._folder, self._key = folder, key
        self._database = sqlite3.connect(path, timeout=1)
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
                f"another batch works on {folder.name!r} ({error}); wait for it, or give another folder"
            ) from None
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise click.UsageError(f"{str(path)!r} is no ledger ({error}); remove it, or give another folder") from None

    def find(self, source: str, stamp: str, places: Sequence[PurePosixPath]) -> dict[str, Any] | None:
        """Return the record of a photo if it needs no more work: the same photo, options and places, and all is there.

        Args:
            source: The photo's path or URL.
            stamp: What changes when the photo does.
            places: Where its pictures go.
        """
        row = self._database.execute(
            "SELECT status, record FROM photos WHERE paths = ? AND source = ? AND stamp = ? AND options = ?",
            (_names(places), source, stamp, self._key),
        ).fetchone()
        if row is None or row[0] == "failed":
            return None
        if row[0] == "done":
            if not self._folder.has(places, self._key):
                return None
            self._folder.finish(places, self._key)
        record: dict[str, Any] = json.loads(row[1])
        return record

    def note(
        self, source: str, stamp: str, status: Status, places: Sequence[PurePosixPath], record: Mapping[str, Any]
    ) -> None:
        """Note what came of a photo; if it is done, move its pictures, which are written, to their places."""
        row = (_names(places), source, stamp, self._key, status, json.dumps(record))
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?)", row)
        if status == "done":
            self._folder.finish(places, self._key)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()


def _names(places: Sequence[PurePosixPath]) -> str:
    return json.dumps([str(place) for place in places])
