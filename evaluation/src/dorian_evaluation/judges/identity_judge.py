"""A judge of identity: an independent recogniser in OpenVINO's format that embeds aligned crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix, warp_crop
from dorian_training.errors import DataError

# Where face-reidentification-retail-0095 has the landmarks in its crop, and the crop's side, according to its authors.
TEMPLATE = AlignmentTemplate(
    landmarks=((0.3156, 0.4616), (0.6826, 0.4616), (0.5003, 0.6405), (0.3495, 0.8247), (0.6534, 0.8247))
)
SIZE = 128
_BATCH = 16


def judge_view(picture: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The crop (128, 128, 3) that ``IdentityJudge`` embeds of the face with these ``landmarks`` (5, 2) in an RGB ``picture``."""
    return warp_crop(picture, crop_matrix(landmarks, TEMPLATE, SIZE), SIZE)


class IdentityJudge:
    """Embeds faces with the network at ``path``: BGR 0 to 255, (1, 3, 128, 128) in, one embedding out.

    ``DataError`` if OpenVINO is not installed, or cannot open it.
    """

    def __init__(self, path: Path) -> None:
        try:
            import openvino
        except ImportError as error:
            raise DataError("a recogniser needs OpenVINO: pip install openvino") from error
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            model.reshape([-1, 3, SIZE, SIZE])
            self._network = core.compile_model(model, "CPU")
        except RuntimeError as error:  # all that OpenVINO raises
            raise DataError(f"{path} cannot be opened as a recogniser of {SIZE} px crops: {error}") from error

    def embeddings(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (faces, embedding) of length 1 of RGB ``crops`` uint8 (faces, 128, 128, 3), aligned to ``TEMPLATE``.

        Each is the sum of the crop's and its mirror image's, made one long.
        """
        both = [self._embedded(pixels) for pixels in (crops, crops[:, :, ::-1])]
        summed = both[0] + both[1]
        return np.asarray(summed / np.linalg.norm(summed, axis=1, keepdims=True), dtype=np.float32)

    def _embedded(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(crops), _BATCH):
            bgr = crops[start : start + _BATCH, :, :, ::-1].transpose(0, 3, 1, 2)
            found = self._network(np.ascontiguousarray(bgr, dtype=np.float32))[0]
            parts.append(np.asarray(found, dtype=np.float32).reshape(len(bgr), -1))
        return np.concatenate(parts)
