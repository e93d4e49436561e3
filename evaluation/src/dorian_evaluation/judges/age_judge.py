"""A judge of age: an independent network, given as an ONNX file, that reads years from aligned crops."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_evaluation.judges.graphs import open_session
from dorian_training.errors import DataError

# The part of an aligned crop, around its centre, that the judge looks at; chosen on real faces of the validation split.
CROP_FRACTION = 0.9
_BATCH = 32


class AgeJudge:
    """Reads ages with the network at ``path``: RGB 0 to 255, (batch, 3, side, side) in, an output called ``age`` in years."""

    def __init__(self, path: Path, crop_fraction: float = CROP_FRACTION) -> None:
        self._fraction = crop_fraction
        self._session = open_session(path, "a judge of age")
        entry = self._session.get_inputs()[0]
        if "age" not in [output.name for output in self._session.get_outputs()] or len(entry.shape) != 4:
            raise DataError(f"{path} is no judge of age: it needs one picture input and an output called age")
        self._input, self._side = entry.name, int(entry.shape[2])

    def ages(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Ages in years (faces,) of aligned ``crops``, RGB uint8 (faces, size, size, 3)."""
        margin = round(crops.shape[1] * (1 - self._fraction) / 2)
        found = []
        for start in range(0, len(crops), _BATCH):
            seen = [
                self._view(crop[margin : len(crop) - margin, margin : len(crop) - margin])
                for crop in crops[start : start + _BATCH]
            ]
            found.append(self._session.run(["age"], {self._input: np.stack(seen)})[0].ravel())
        return np.concatenate(found).astype(np.float64)

    def _view(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        resized = cv2.resize(crop, (self._side, self._side), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.float32)
