"""The judge of age: ``faceapi_age_gender``, or any ONNX network with the same input and an output called ``age``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.graphs import open_session
from dorian_training.errors import DataError

FILE_NAME = "faceapi_age_gender.onnx"

# The part of an aligned crop, around its centre, that the judge sees; chosen on real faces of the validation split.
CROP_FRACTION = 0.9
_BATCH_SIZE = 32


class FaceApiJudge:
    """Estimates ages with a network of RGB images from 0 to 255, (batch, 3, side, side), and an output ``age`` in years.

    Args:
        path: The ONNX file.
        crop_fraction: The part of a crop, around its centre, that the network sees.

    Raises:
        DataError: The network cannot be opened, or has other inputs and outputs.
    """

    crop_size = 128

    def __init__(self, path: Path, crop_fraction: float = CROP_FRACTION) -> None:
        self._fraction = crop_fraction
        self._session = open_session(path, "a judge of age")
        entry = self._session.get_inputs()[0]
        if "age" not in [output.name for output in self._session.get_outputs()] or len(entry.shape) != 4:
            raise DataError(f"{path} is no judge of age: it needs one image input and an output called age")
        self._input, self._side = entry.name, int(entry.shape[2])

    def ages(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return ages in years, (faces,), of aligned crops, RGB uint8 (faces, size, size, 3)."""
        margin = round(crops.shape[1] * (1 - self._fraction) / 2)
        ages = []
        for start in range(0, len(crops), _BATCH_SIZE):
            images = [
                self._to_image(crop[margin : len(crop) - margin, margin : len(crop) - margin])
                for crop in crops[start : start + _BATCH_SIZE]
            ]
            ages.append(self._session.run(["age"], {self._input: np.stack(images)})[0].ravel())
        return np.concatenate(ages).astype(np.float64)

    def _to_image(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        resized = cv2.resize(crop, (self._side, self._side), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.float32)  # (3, side, side)
