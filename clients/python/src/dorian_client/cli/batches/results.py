"""What came of a photo of a batch, once its pictures are written: what engines hand to the run, also between machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dorian_client._batch import AgeOutcome
from dorian_client._files import DEFAULT_QUALITY, format_of
from dorian_client._results import AgeResult
from dorian_client.cli.batches.folders import ResultFolder
from dorian_client.cli.batches.ledger import Status
from dorian_client.cli.batches.plan import PlannedPhoto
from dorian_client.cli.batches.record import make_record, status_of
from dorian_client.errors import DorianError


@dataclass(frozen=True)
class PhotoResult:
    """What came of a photo; its pictures are written.

    Attributes:
        index: Its place among the photos of the batch.
        status: What came of it, in a word.
        record: What is kept of it.
        error: Why it was not aged.
        refused: How often a server rejected it for now.
    """

    index: int
    status: Status
    record: Mapping[str, Any]
    error: DorianError | None = None
    refused: int = 0


@dataclass(frozen=True)
class ResultWriter:
    """Writes pictures.

    Args:
        folder: The folder of results.
        key: Stands for all options and the bundle.
        quality: Of pictures that are converted here, as their photo's suffix is not its format.
    """

    folder: ResultFolder
    key: str
    quality: int | None

    def write(self, index: int, planned: PlannedPhoto, outcome: AgeOutcome) -> PhotoResult:
        """Write the pictures of a photo, if there are any, and return what is to be noted.

        Args:
            index: The photo's place among the photos of the batch.
            planned: The photo, and where its pictures go.
            outcome: What came of it.

        Raises:
            OSError: A picture cannot be written.
        """
        status, error = status_of(outcome)
        if error is None:
            self._write(planned, outcome.unwrap())
        record = make_record(planned, outcome, status, error)
        return PhotoResult(index, status, record, error, max(0, outcome.attempts - 1))

    def _write(self, planned: PlannedPhoto, result: AgeResult) -> None:
        for aged, place in zip(result.photos, planned.places, strict=True):
            data = aged.picture.encode(format_of(Path(place)).name, quality=self.quality or DEFAULT_QUALITY)
            self.folder.write_part(place, data, self.key)
