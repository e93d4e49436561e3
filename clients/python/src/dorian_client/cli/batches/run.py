"""A batch: an engine ages what is open, and what comes of it is noted and counted."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import click

from dorian_client._calls import ManyAges
from dorian_client._client import Client
from dorian_client.cli.batches.ledger import Ledger
from dorian_client.cli.batches.plan import PlannedPhoto
from dorian_client.cli.batches.record import concerns_all
from dorian_client.cli.batches.results import PhotoResult, ResultWriter

_AHEAD = 2  # responses that wait to be written, and are lost if the process is killed
_UNKNOWN_STAMP = "?"  # of a photo that cannot be looked at; reading it fails, too


@dataclass
class Tally:
    """What has come of a batch.

    Attributes:
        records: Of the photos that are done, rejected or failed, by their index.
        earlier: How many needed no work, as they were done before.
        refused: How often the server rejected a photo for now.
    """

    records: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    earlier: int = 0
    refused: int = 0
    failed: int = 0
    begun: float = field(default_factory=time.monotonic)

    def describe(self) -> str:
        """Return photos a second, and what was refused and failed."""
        rate = (len(self.records) - self.earlier) / max(time.monotonic() - self.begun, 1e-9)
        return f"{rate:.1f} photos/s, {self.refused} refused, {self.failed} failed"


class Engine(Protocol):
    """Ages photos, and writes their pictures."""

    def age(self, photos: Mapping[int, PlannedPhoto]) -> Generator[PhotoResult, None, None]:
        """Yield what comes of each photo, as it comes; the end of the generator, however it comes, ends all work.

        Args:
            photos: The photos that are open, by their place among all.

        Raises:
            DorianError: The server cannot be asked at all.
            OSError: A picture cannot be written.
        """


@dataclass(frozen=True)
class ServerEngine:
    """Sends photos to a server from here, as many at once as keep it busy.

    Args:
        client: Calls the server.
        calls: Makes the requests.
        writer: Writes the pictures.
        concurrency: Calls in flight at most; None for as many as keep the server busy.
        workers: Calls that the server works on at once.
    """

    client: Client
    calls: ManyAges
    writer: ResultWriter
    concurrency: int | None
    workers: int

    def age(self, photos: Mapping[int, PlannedPhoto]) -> Generator[PhotoResult, None, None]:
        """Yield what comes of each photo, as it comes."""
        indices = list(photos)
        outcomes = self.client._age_many(
            (planned.photo for planned in photos.values()),
            self.calls,
            in_order=False,
            concurrency=self.concurrency,
            workers=self.workers,
            ahead=_AHEAD,
        )
        with closing(outcomes):
            for outcome in outcomes:
                index = indices[outcome.index]
                yield self.writer.write(index, photos[index], outcome)


@dataclass(frozen=True)
class BatchRun:
    """A batch that is ready to begin.

    Args:
        engine: Ages photos.
        planned: All photos.
        ledger: What was done before.
        on_error: Whether a photo that fails ends the batch.
    """

    engine: Engine
    planned: Sequence[PlannedPhoto]
    ledger: Ledger
    on_error: Literal["skip", "stop"]

    def run(self, tally: Tally) -> None:
        """Age what is open.

        Args:
            tally: Counts what comes of it; it is complete however this ends.

        Raises:
            DorianError: The batch was stopped by it.
            OSError: A picture cannot be written.
        """
        stamps = [_stamp_of(planned) for planned in self.planned]
        pending = {}
        for index, planned in enumerate(self.planned):
            record = self.ledger.find(planned.photo.source, stamps[index], planned.places)
            if record is None:
                pending[index] = planned
            else:
                tally.records[index] = record
        tally.earlier = len(tally.records)
        results = self.engine.age(pending)
        tally.begun = time.monotonic()
        with _progress(len(pending)) as bar, closing(results):
            for result in results:
                self._note(result, stamps[result.index], tally)
                bar.update(1, tally)
                error = result.error
                if error is not None and (self.on_error == "stop" or concerns_all(error)):
                    raise error

    def _note(self, result: PhotoResult, stamp: str, tally: Tally) -> None:
        planned = self.planned[result.index]
        self.ledger.note(planned.photo.source, stamp, result.status, planned.places, result.record)
        tally.records[result.index] = result.record
        tally.refused += result.refused
        tally.failed += result.error is not None


def _stamp_of(planned: PlannedPhoto) -> str:
    try:
        return planned.photo.stamp()
    except (OSError, ValueError):
        return _UNKNOWN_STAMP


def _progress(length: int) -> Any:
    return click.progressbar(
        length=length, label="ageing", show_pos=True, show_eta=True, file=sys.stderr,
        item_show_func=lambda tally: None if tally is None else tally.describe(),
    )  # fmt: skip
