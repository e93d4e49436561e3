"""Networks whose features of faces are compared, given by path: a recogniser, or any ONNX network of pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.graphs import sha256_of
from dorian_evaluation.judges.graphs import open_session
from dorian_evaluation.judges.identity_judge import IdentityJudge, judge_view
from dorian_training.errors import DataError

# Aligned RGB crops uint8 (faces, size, size, 3) → features (faces, features).
Features = Callable[[NDArray[np.uint8]], NDArray[np.float64]]

_BATCH = 16


@dataclass(frozen=True)
class PictureInput:
    """What an ONNX network takes: pixels from ``low`` to ``high``, and pictures of a ``side``, if it says none itself."""

    low: float = -1.0
    high: float = 1.0
    side: int | None = None


def open_features(path: Path, takes: PictureInput, template: AlignmentTemplate, sha256: str | None = None) -> Features:
    """The network at ``path``: ``.xml`` is a recogniser as ``IdentityJudge`` takes it, ``.onnx`` is one that takes pictures.

    ``takes``: what an ONNX network is given. ``template``: what the crops are aligned to.
    ``DataError`` if the file is neither, cannot be opened, or is not the one of this ``sha256``.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there, whose features were to be compared")
    if sha256 is not None and (found := sha256_of(path)) != sha256.lower():
        raise DataError(f"{path} has SHA-256 {found}, not {sha256.lower()}")
    match path.suffix.lower():
        case ".xml":
            return recogniser_features(IdentityJudge(path), template)
        case ".onnx":
            return picture_features(path, takes)
        case _:
            raise DataError(f"{path} is no network whose features can be compared; give an .onnx or an OpenVINO .xml")


def recogniser_features(judge: IdentityJudge, template: AlignmentTemplate) -> Features:
    """The embeddings of crops that are aligned to ``template``."""

    def features(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        landmarks = template.points(crops.shape[1])
        return judge.embeddings(np.stack([judge_view(crop, landmarks) for crop in crops])).astype(np.float64)

    return features


def picture_features(path: Path, takes: PictureInput) -> Features:
    """The first output of an ONNX network of RGB pictures (batch, 3, side, side).

    Crops are resized to its side bilinearly; of feature maps (batch, features, height, width) the means are taken.
    """
    session = open_session(path, "a network of pictures")
    entry = session.get_inputs()[0]
    if len(entry.shape) != 4 or entry.shape[1] != 3:
        raise DataError(f"{path} takes {entry.shape}, not pictures (batch, 3, side, side)")
    side = entry.shape[2] if isinstance(entry.shape[2], int) else takes.side
    if side is None:
        raise DataError(f"{path} takes pictures of any size; say with --features-side how large they are to be")

    def seen(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        how = cv2.INTER_LINEAR if len(crop) <= side else cv2.INTER_AREA
        resized = cv2.resize(crop, (side, side), interpolation=how).transpose(2, 0, 1)
        return np.asarray(takes.low + (takes.high - takes.low) * (resized / 255), dtype=np.float32)

    def features(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        parts = []
        for start in range(0, len(crops), _BATCH):
            batch = np.stack([seen(crop) for crop in crops[start : start + _BATCH]])
            found = session.run(None, {entry.name: batch})[0]
            parts.append(found.reshape(*found.shape[:2], -1).mean(axis=2, dtype=np.float64))
        return np.concatenate(parts)

    return features
