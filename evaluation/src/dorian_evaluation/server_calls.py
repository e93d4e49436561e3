"""Calls to the server that is measured, through the SDK: its bundle and methods, and the faces of a data set, a few at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dorian_client import BundleInfo, Client, DorianError, Face, Landmarks, Method, ServerError
from dorian_evaluation.images import Pixels
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.errors import DataError

log = logging.getLogger(__name__)

# Reasons of this package for skipping a face, beside the server's.
OTHER_FACE = "ANOTHER_FACE"  # the server detects faces in the photo, but not the record's
UNREADABLE = "UNREADABLE"  # the photo cannot be sent

_PHOTO_REASONS = ("NO_FACE", "FACE_", "IMAGE_")  # how those of the server's reasons begin that blame a photo
_CHUNK_SIZE = 24  # faces that are sent before judges see them
_MAX_CALLS = 2  # at once

Floats = NDArray[np.float64]
Result = TypeVar("Result")


@dataclass(frozen=True)
class SkippedFace:
    """A face that is not measured.

    Attributes:
        reason: The server's, or ``OTHER_FACE`` or ``UNREADABLE``.
    """

    reason: str


def connect(address: str) -> Client:
    """Return a client of the server at ``address``, host:port, whose calls may take as long as they need."""
    return Client(address, timeout=None)


def fetch_bundle(client: Client) -> BundleInfo:
    """Return what the server has loaded; raise DataError if the call fails."""
    try:
        return client.bundle()
    except DorianError as error:
        raise DataError(f"the server at {client.address}: {error}") from error


def find_method(bundle: BundleInfo, name: str | None = None) -> Method:
    """Return the method of a name, or the default method; raise DataError if there is none."""
    for method in bundle.methods:
        if method.name == name or (name is None and method.is_default):
            return method
    raise DataError(f"the server has no method {name!r}; it has {', '.join(method.name for method in bundle.methods)}")


def draws_ages(method: Method) -> bool:
    """Tell whether a method can be given ages as targets, and not filters alone."""
    return bool(method.age_groups) or not method.filters


def skip_or_raise(client: Client, error: DorianError) -> SkippedFace:
    """Return why a face is skipped if its photo is at fault.

    Raises:
        DataError: The call failed for another reason.
    """
    reason = error.reason if isinstance(error, ServerError) else None
    if reason is None or not reason.startswith(_PHOTO_REASONS):
        raise DataError(f"the server at {client.address}: {error}") from error
    return SkippedFace(reason)


def map_faces(
    records: Sequence[FaceRecord], call: Callable[[FaceRecord, Pixels], Result | SkippedFace], description: str
) -> Iterator[list[Result | SkippedFace]]:
    """Call a function for each face and its photo, from two threads.

    Args:
        records: The faces.
        call: The function; what it raises is raised here.
        description: Of the progress bar.

    Yields:
        What ``call`` returns for a chunk of faces, in the order of ``records``.
    """

    def call_readable(record: FaceRecord, photo: Pixels | None) -> Result | SkippedFace:
        return SkippedFace(UNREADABLE) if photo is None else call(record, photo)

    progress = tqdm(total=len(records), desc=description, unit="face", mininterval=2)
    with PictureReader() as reader, ThreadPoolExecutor(_MAX_CALLS) as pool, progress:
        for start in range(0, len(records), _CHUNK_SIZE):
            chunk = records[start : start + _CHUNK_SIZE]
            yield list(pool.map(call_readable, chunk, [_read_photo(reader, record) for record in chunk]))
            progress.update(len(chunk))


def face_boxes(faces: Sequence[Face]) -> Floats:
    """Return the boxes of faces: left, top, width, height, (faces, 4)."""
    return np.asarray([astuple(face.box) for face in faces], dtype=np.float64).reshape(-1, 4)


def landmark_points(landmarks: Landmarks | None) -> Floats:
    """Return landmarks as an array (5, 2); raise DataError if the server sent none."""
    if landmarks is None:
        raise DataError("the server sent a face without landmarks")
    return np.asarray(astuple(landmarks), dtype=np.float64)


def select_face(boxes: Floats, landmarks: Floats) -> int | None:
    """Return the index of the box that contains most landmarks, and more than half of them.

    Of several, it is the one whose centre is nearest to the mean of the landmarks.

    Args:
        boxes: Left, top, width, height, (faces, 4).
        landmarks: (5, 2).

    Returns:
        The index, or None if no box contains more than half of the landmarks.
    """
    if not len(boxes):
        return None
    low, high = boxes[:, None, :2], (boxes[:, :2] + boxes[:, 2:])[:, None]  # (faces, 1, 2)
    contained = ((landmarks >= low) & (landmarks <= high)).all(axis=2).sum(axis=1)  # (faces,)
    distance = np.linalg.norm(boxes[:, :2] + boxes[:, 2:] / 2 - landmarks.mean(axis=0), axis=1)
    best = int(np.lexsort((distance, -contained))[0])
    return best if 2 * contained[best] > len(landmarks) else None


def _read_photo(reader: PictureReader, record: FaceRecord) -> Pixels | None:
    try:
        return reader.read(record)
    except DataError as error:
        log.warning("left out: %s", error)
        return None
