"""Faces of a data set that are asked of a server: their pictures are read, and a few sent at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from dorian_evaluation.ageing.seams import Pixels
from dorian_evaluation.ageing.service import LeftOut
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.errors import DataError

log = logging.getLogger(__name__)

UNREADABLE = "UNREADABLE"  # the reason for a picture that could not be sent
_CHUNK = 24  # faces that are sent before the judges look at them
_CALLS = 2  # at once

Answer = TypeVar("Answer")


def asked(
    records: Sequence[FaceRecord], ask: Callable[[FaceRecord, Pixels], Answer | LeftOut], words: str
) -> Iterator[list[Answer | LeftOut]]:
    """What ``ask`` says of each of ``records`` and its picture, chunk by chunk in their order; it is called from two threads.

    What ``ask`` raises is raised here. ``words`` say in the progress bar what is being done.
    """

    def answer(record: FaceRecord, picture: Pixels | None) -> Answer | LeftOut:
        return LeftOut(UNREADABLE) if picture is None else ask(record, picture)

    progress = tqdm(total=len(records), desc=words, unit="face", mininterval=2)
    with PictureReader() as reader, ThreadPoolExecutor(_CALLS) as pool, progress:
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            yield list(pool.map(answer, chunk, [_picture(reader, record) for record in chunk]))
            progress.update(len(chunk))


def _picture(reader: PictureReader, record: FaceRecord) -> Pixels | None:
    try:
        return reader.read(record)
    except DataError as error:
        log.warning("left out: %s", error)
        return None
