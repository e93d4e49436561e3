"""A batch: what is open is sent, and each outcome is written, noted and counted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import click

from dorian_client._batch import AgeOutcome
from dorian_client._calls import ManyAges
from dorian_client._client import Client
from dorian_client._files import DEFAULT_QUALITY, format_of
from dorian_client._results import AgeResult
from dorian_client.cli.batches.ledger import Ledger
from dorian_client.cli.batches.plan import PlannedPhoto
from dorian_client.cli.batches.record import concerns_all, make_record, status_of
from dorian_client.errors import DorianError

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


@dataclass(frozen=True)
class BatchRun:
    """A batch that is ready to begin.

    Args:
        client: Calls the server.
        calls: Makes the requests.
        planned: All photos.
        out: The folder of results.
        ledger: What was done before.
        on_error: Whether a photo that fails ends the batch.
        concurrency: Calls in flight at most; None for as many as keep the server busy.
        workers: Calls that the server works on at once.
        quality: Of pictures that are converted here, as their photo's suffix is not its format.
    """

    client: Client
    calls: ManyAges
    planned: Sequence[PlannedPhoto]
    out: Path
    ledger: Ledger
    on_error: Literal["skip", "stop"]
    concurrency: int | None
    workers: int
    quality: int | None

    def run(self, tally: Tally) -> None:
        """Age what is open.

        Args:
            tally: Counts what comes of it; it is complete however this ends.

        Raises:
            DorianError: The batch was stopped by it.
            OSError: A picture cannot be written.
        """
        stamps = [_stamp_of(planned) for planned in self.planned]
        pending = []
        for index, planned in enumerate(self.planned):
            record = self.ledger.find(planned.photo.source, stamps[index], planned.paths)
            if record is None:
                pending.append(index)
            else:
                tally.records[index] = record
        tally.earlier = len(tally.records)
        photos = (self.planned[index].photo for index in pending)
        outcomes = self.client._age_many(
            photos, self.calls, in_order=False, concurrency=self.concurrency, workers=self.workers, ahead=_AHEAD
        )
        tally.begun = time.monotonic()
        with _progress(len(pending)) as bar, closing(outcomes):
            for outcome in outcomes:
                index = pending[outcome.index]
                error = self._take(self.planned[index], stamps[index], outcome, index, tally)
                bar.update(1, tally)
                if error is not None and (self.on_error == "stop" or concerns_all(error)):
                    raise error

    def _take(
        self, planned: PlannedPhoto, stamp: str, outcome: AgeOutcome, index: int, tally: Tally
    ) -> DorianError | None:
        """Write and note what came of a photo; return why it was not aged."""
        status, error = status_of(outcome)
        if error is None:
            self._write(planned, outcome.unwrap())
        record = make_record(planned, outcome, status, error, self.out)
        self.ledger.note(planned.photo.source, stamp, status, planned.paths, record)
        tally.records[index] = record
        tally.refused += max(0, outcome.attempts - 1)
        tally.failed += error is not None
        return error

    def _write(self, planned: PlannedPhoto, result: AgeResult) -> None:
        for aged, path in zip(result.photos, planned.paths, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.ledger.part_of(path).open("wb") as file:
                file.write(aged.picture.encode(format_of(path).name, quality=self.quality or DEFAULT_QUALITY))
                os.fsync(file.fileno())


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
