"""The judge of identity: ``face-reidentification-retail-0095``, a recogniser in OpenVINO's format."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate
from dorian_training.errors import DataError

# OpenVINO reports each import of itself to its makers, and keeps an id in the user's home, unless this module is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

FILE_NAME = "face-reidentification-retail-0095.xml"

# Where the network expects landmarks in its crop, and the crop's side, according to its authors.
TEMPLATE = AlignmentTemplate(
    landmarks=((0.3156, 0.4616), (0.6826, 0.4616), (0.5003, 0.6405), (0.3495, 0.8247), (0.6534, 0.8247))
)
CROP_SIZE = 128
_BATCH_SIZE = 16


class ReidentificationJudge:
    """Embeds faces with an OpenVINO network: BGR from 0 to 255, (1, 3, 128, 128), and one embedding as output.

    Args:
        path: The network's .xml, beside its .bin.

    Raises:
        DataError: OpenVINO is not installed, or cannot open the network.
    """

    crop_size = CROP_SIZE
    template = TEMPLATE

    def __init__(self, path: Path) -> None:
        try:
            import openvino  # of the extra "judges"
        except ImportError as error:
            raise DataError("a recogniser needs OpenVINO: pip install openvino") from error
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            model.reshape([-1, 3, CROP_SIZE, CROP_SIZE])
            self._network = core.compile_model(model, "CPU")
        except RuntimeError as error:  # all that OpenVINO raises
            raise DataError(f"{path} cannot be opened as a recogniser of {CROP_SIZE} px crops: {error}") from error

    def embeddings(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return unit vectors (faces, embedding) of RGB crops uint8 (faces, 128, 128, 3), aligned to ``TEMPLATE``.

        A face's is the normalised sum of the embeddings of its crop and of the crop's mirror image.
        """
        summed = self._embed(crops) + self._embed(crops[:, :, ::-1])
        return np.asarray(summed / np.linalg.norm(summed, axis=1, keepdims=True), dtype=np.float32)

    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        embeddings = []
        for start in range(0, len(crops), _BATCH_SIZE):
            bgr = crops[start : start + _BATCH_SIZE, :, :, ::-1].transpose(0, 3, 1, 2)  # (batch, 3, 128, 128)
            output = self._network(np.ascontiguousarray(bgr, dtype=np.float32))[0]
            embeddings.append(np.asarray(output, dtype=np.float32).reshape(len(bgr), -1))
        return np.concatenate(embeddings)
