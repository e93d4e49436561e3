"""Networks whose features of faces are compared, given by path: a recogniser, or any ONNX network of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_bundle.stored_files import sha256_of
from dorian_evaluation.graphs import open_session
from dorian_evaluation.judges.base import IdentityJudge, crop_for_judge
from dorian_evaluation.judges.reidentification import ReidentificationJudge
from dorian_training.errors import DataError

# Aligned RGB crops uint8 (faces, size, size, 3) → features (faces, features).
FeatureExtractor = Callable[[NDArray[np.uint8]], NDArray[np.float64]]

_BATCH_SIZE = 16


@dataclass(frozen=True)
class ImageInput:
    """What an ONNX network takes.

    Attributes:
        low: Value of a black pixel.
        high: Value of a white pixel.
        side: Side of the images in pixels, if the network does not fix it.
    """

    low: float = -1.0
    high: float = 1.0
    side: int | None = None


def open_features(
    path: Path, image_input: ImageInput, template: AlignmentTemplate, sha256: str | None = None
) -> FeatureExtractor:
    """Open a network whose features are compared.

    Args:
        path: An OpenVINO ``.xml``, which is taken for a recogniser like the judge of identity, or an ``.onnx`` of images.
        image_input: What an ONNX network takes.
        template: What the crops are aligned to.
        sha256: What the file must hash to, in hexadecimal.

    Raises:
        DataError: The file is neither kind, cannot be opened, or has another hash.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there; features of faces cannot be compared without it")
    if sha256 is not None and (digest := sha256_of(path)) != sha256.lower():
        raise DataError(f"{path} has SHA-256 {digest}, not {sha256.lower()}")
    match path.suffix.lower():
        case ".xml":
            return recogniser_features(ReidentificationJudge(path), template)
        case ".onnx":
            return image_features(path, image_input)
        case _:
            raise DataError(f"{path} is no network whose features can be compared; give an .onnx or an OpenVINO .xml")


def recogniser_features(judge: IdentityJudge, template: AlignmentTemplate) -> FeatureExtractor:
    """Return a function to a judge's embeddings of crops that are aligned to ``template``."""

    def extract(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        landmarks = template.points(crops.shape[1])
        views = np.stack([crop_for_judge(judge, crop, landmarks) for crop in crops])
        return judge.embeddings(views).astype(np.float64)

    return extract


def image_features(path: Path, image_input: ImageInput) -> FeatureExtractor:
    """Return a function to the first output of an ONNX network of RGB images (batch, 3, side, side).

    Crops are resized bilinearly. Feature maps (batch, features, height, width) are averaged over height and width.

    Raises:
        DataError: The network cannot be opened, or does not take such images.
    """
    session = open_session(path, "a network of images")
    entry = session.get_inputs()[0]
    if len(entry.shape) != 4 or entry.shape[1] != 3:
        raise DataError(f"{path} takes {entry.shape}, not images (batch, 3, side, side)")
    side = entry.shape[2] if isinstance(entry.shape[2], int) else image_input.side
    if side is None:
        raise DataError(f"{path} takes images of any size; give one with --features-side")

    def to_image(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpolation = cv2.INTER_LINEAR if len(crop) <= side else cv2.INTER_AREA
        resized = cv2.resize(crop, (side, side), interpolation=interpolation).transpose(2, 0, 1)  # (3, side, side)
        span = image_input.high - image_input.low
        return np.asarray(image_input.low + span * (resized / 255), dtype=np.float32)

    def extract(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        features = []
        for start in range(0, len(crops), _BATCH_SIZE):
            images = np.stack([to_image(crop) for crop in crops[start : start + _BATCH_SIZE]])
            output = session.run(None, {entry.name: images})[0]
            features.append(output.reshape(*output.shape[:2], -1).mean(axis=2, dtype=np.float64))
        return np.concatenate(features)

    return extract
