"""Reading faces: how old an aligned crop looks, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.face_readers import AgeEstimator as AgeEstimatorEntry
from dorian_bundle.face_readers import FaceNet as FaceNetEntry
from dorian_bundle.graphs import Array
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.runtimes.session import Session

USUAL_RATE = 1e-3


class AgeReader:
    """The bundle's age estimator."""

    def __init__(self, entry: AgeEstimatorEntry, session: Session) -> None:
        self.crop_size = entry.crop_size
        self._session = session

    def ages(self, crops: Sequence[NDArray[np.uint8]]) -> Array:
        """Ages in years (faces,) of aligned RGB ``crops`` uint8 (``crop_size``, ``crop_size``, 3)."""
        return self._session.run({"image": crops_to_images(crops)})["age"]


class IdentityReader:
    """The bundle's FaceNet, and what its similarity tells."""

    def __init__(self, entry: FaceNetEntry, session: Session) -> None:
        self.crop_size = entry.crop_size
        self.thresholds = {each.false_accept_rate: each.similarity for each in entry.thresholds}
        self._session = session

    def embeddings(self, crops: Sequence[NDArray[np.uint8]]) -> Array:
        """Embeddings (faces, embedding) of length 1 of aligned RGB ``crops`` uint8 (``crop_size``, ``crop_size``, 3)."""
        return self._session.run({"image": crops_to_images(crops)})["embedding"]

    def threshold(self, false_accept_rate: float) -> tuple[float, float]:
        """A measured false-accept rate and its similarity; 0 stands for ``USUAL_RATE``, or else the lowest measured.

        ``RequestError`` for a rate that was not measured.
        """
        rate = false_accept_rate or (USUAL_RATE if USUAL_RATE in self.thresholds else min(self.thresholds))
        for known, similarity in self.thresholds.items():
            if np.isclose(rate, known, rtol=1e-3, atol=0):
                return known, similarity
        words = f"no threshold is known for a false-accept rate of {rate:g}; known: {', '.join(f'{r:g}' for r in sorted(self.thresholds))}"
        raise RequestError(Reason.SETTING_OUT_OF_RANGE, "false_accept_rate", words)


def similarity(one: Array, other: Array) -> float:
    """Cosine similarity of two embeddings of length 1; rounding takes it nowhere beyond -1 and 1."""
    return float(np.clip(one @ other, -1, 1))
