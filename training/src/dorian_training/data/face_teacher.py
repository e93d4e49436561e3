"""A teacher for faces that nobody has labelled: YuNet, an ONNX detector that OpenCV runs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from dorian_bundle.boxes import iou
from dorian_training.data.face_labels import FACE, IGNORED, FaceLabels, LabelledPicture, Pixels, resized
from dorian_training.data.stored_arrays import digest, key_of, store
from dorian_training.errors import DataError

# Raised when teaching changes, so that older labels on disk are not taken for new ones.
_TEACHING_VERSION = 1
_LEAST_SCORE, _SURE_SCORE = 0.3, 0.75
_SCALES = (1, 2)  # at twice the size it finds smaller faces
_SAME_FACE = 0.35  # intersection over union


class FaceTeacher:
    """Finds faces with the detector in ``path``, an ONNX file as ``cv2.FaceDetectorYN`` reads it; ``DataError`` if it cannot."""

    def __init__(self, path: Path) -> None:
        try:
            self._detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), _LEAST_SCORE)
        except cv2.error as error:
            raise DataError(f"{path} is not a face detector that OpenCV can run: {error}") from error

    def complete(self, pixels: Pixels, known: FaceLabels) -> FaceLabels:
        """``known`` faces of ``pixels`` (uint8 RGB) and those that the teacher sees besides; doubtful ones are ignored."""
        rows = np.concatenate([self._rows(pixels, scale) for scale in _SCALES])
        found = known
        for row in rows[np.argsort(-rows[:, 14], kind="stable")]:
            if not len(found) or iou(found.boxes, row[:4]).max() < _SAME_FACE:
                kind = FACE if row[14] >= _SURE_SCORE else IGNORED
                found = FaceLabels.joined([found, FaceLabels.of([tuple(row[:4])], [row[4:14]], kind)])
        return found

    def _rows(self, pixels: Pixels, scale: int) -> np.ndarray:
        """Box, landmarks and score of each face, (faces, 15), in pixels of ``pixels``."""
        height, width = pixels.shape[:2]
        seen = resized(pixels, width * scale, height * scale)
        self._detector.setInputSize((width * scale, height * scale))
        faces: Any = self._detector.detect(cv2.cvtColor(seen, cv2.COLOR_RGB2BGR))[1]  # None where it sees none
        rows = np.zeros((0, 15), dtype=np.float32) if faces is None else np.asarray(faces)
        rows[:, :14] /= scale
        return rows[(rows[:, 2:4] > 0).all(axis=1)]


def completed(photos: Sequence[LabelledPicture], teacher: Path, cache: Path | None) -> list[LabelledPicture]:
    """``photos`` with all faces that ``teacher`` sees besides those known; kept in ``cache`` (a folder)."""
    known = [(zlib.crc32(photo.pixels.data), photo.labels.boxes.tolist()) for photo in photos]
    stored = cache / f"photo-faces-{key_of(_TEACHING_VERSION, digest(teacher), known)}.npz" if cache else None
    if stored is None or not stored.is_file():
        watcher = FaceTeacher(teacher)
        progress = tqdm(photos, desc="finding unlabelled faces", unit="photo", mininterval=2)
        labels = [watcher.complete(photo.pixels, photo.labels) for photo in progress]
        if stored is not None:
            every, faces = FaceLabels.joined(labels), np.array([len(part) for part in labels])
            store(stored, boxes=every.boxes, landmarks=every.landmarks, kind=every.kind, faces=faces)
    else:
        with np.load(stored) as arrays:
            every = FaceLabels(arrays["boxes"], arrays["landmarks"], arrays["kind"])
            parts = np.split(np.arange(len(every)), np.cumsum(arrays["faces"])[:-1])
        labels = [every.where(part) for part in parts]
    return [LabelledPicture(photo.pixels, part) for photo, part in zip(photos, labels, strict=True)]
