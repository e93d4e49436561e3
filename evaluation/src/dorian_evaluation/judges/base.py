"""What commands expect of a judge of age and of a judge of identity."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import AlignmentTemplate, crop_matrix, warp_crop


class AgeJudge(Protocol):
    """Estimates ages."""

    @property
    def crop_size(self) -> int:
        """Side in pixels of the crops that it sees best."""

    def ages(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return ages in years, (faces,), of aligned crops, RGB uint8 (faces, size, size, 3) of any size."""


class IdentityJudge(Protocol):
    """Embeds faces, so that those of one person are alike."""

    @property
    def crop_size(self) -> int:
        """Side of its crops in pixels."""

    @property
    def template(self) -> AlignmentTemplate:
        """What its crops are aligned to."""

    def embeddings(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return unit vectors (faces, embedding) of crops, RGB uint8 (faces, crop_size, crop_size, 3)."""


def crop_for_judge(judge: IdentityJudge, image: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the crop (crop_size, crop_size, 3) that a judge embeds of the face with ``landmarks`` (5, 2) in an RGB image."""
    return warp_crop(image, crop_matrix(landmarks, judge.template, judge.crop_size), judge.crop_size)
