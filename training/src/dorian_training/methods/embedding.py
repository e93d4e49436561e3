"""Embeddings of faces by a FaceNet, and who the faces are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dorian_training.data.batches import run_on_centres
from dorian_training.data.crops import Crops
from dorian_training.networks.facenet import FaceNet


def identity_labels(crops: Crops) -> Tensor:
    """Return each face's person as an index from 0 on, int64 (faces,). No two sets share people."""
    people = [(record.source, len(record.identity), record.identity) for record in crops.records]  # 9 comes before 10
    number = {person: index for index, person in enumerate(sorted(set(people)))}
    return torch.tensor([number[person] for person in people])


def embed(facenet: FaceNet, crops: Crops) -> NDArray[np.float32]:
    """Return the embeddings (faces, embedding) of the centres of ``crops``, as large as ``facenet`` takes them."""
    assert crops.size >= facenet.size
    return run_on_centres(facenet, crops, facenet.size).numpy()
