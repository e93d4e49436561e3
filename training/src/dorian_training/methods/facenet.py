"""The compact FaceNet's training: people told apart with a margin, and one person's faces drawn together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import centred
from dorian_training.data.batches import LabelledBatch, as_images
from dorian_training.data.crops import Crops
from dorian_training.losses.contrastive import supervised_contrastive
from dorian_training.losses.margin import MarginClassifier
from dorian_training.methods.stage import Stage, cosine_rate
from dorian_training.networks.compact_facenet import SIZE, CompactFaceNet, FaceNetShape
from dorian_training.verification import accuracy, balanced_pairs, best_threshold, similarities

_PAIRS = 3000
_BATCH = 256


@dataclass(frozen=True)
class FaceNetSettings:
    """Numbers of the training, shares of its steps among them: the rate grows from nothing over ``warm_up``.

    The margin does from ``margin_from`` to ``margin_full``; before it, faces must first be told apart at all.
    """

    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    scale: float = 30.0
    margin: float = 0.25
    margin_from: float = 0.3
    margin_full: float = 0.6
    warm_up: float = 0.02
    contrast_weight: float = 1.0
    temperature: float = 0.1
    ema_decay: float = 0.999


class FaceNetStage(Stage[LabelledBatch]):
    """Embeddings learnt by a margin softmax over identities and a contrast within the batch.

    Labels are identity indices, int64 (batch,), each several times in a batch.
    """

    name = "facenet"

    def __init__(
        self,
        shape: FaceNetShape,
        settings: FaceNetSettings,
        identities: int,
        device: torch.device,
        amp: bool,
        watched: Crops | None = None,
    ) -> None:
        super().__init__(device)
        self.settings, self.amp, self.watched = settings, amp, watched
        self.facenet = self.add_network("facenet", CompactFaceNet(shape))
        self.add_network("classifier", MarginClassifier(shape.embedding, identities, settings.scale, settings.margin))
        self.add_average("facenet", settings.ema_decay)
        for name in self.networks:
            self.add_optimizer(name, settings.learning_rate, (0.9, 0.999), settings.weight_decay)
        self._margin_part = 0.0

    def schedule(self, done: float) -> None:
        self.set_rate(self.settings.learning_rate * cosine_rate(done, self.settings.warm_up))
        begin, full = self.settings.margin_from, self.settings.margin_full
        grown = (done - begin) / (full - begin) if full > begin else float(done >= begin)
        self._margin_part = min(1.0, max(0.0, grown))

    def step(self, batch: LabelledBatch, number: int) -> dict[str, Tensor]:
        self.facenet.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            embedding = self.facenet(batch.image)
        margin = self.networks["classifier"](embedding, batch.label, self._margin_part)
        contrast = supervised_contrastive(embedding, batch.label, self.settings.temperature)
        self.optimizer_step(("facenet", "classifier"), margin + self.settings.contrast_weight * contrast)
        self.averages["facenet"].update_parameters(self.facenet)
        return {"margin": margin.detach(), "contrast": contrast.detach()}

    def measure(self) -> dict[str, float]:
        """Verification accuracy on the watched faces, at the threshold that is best for them, if there is a pair of one person."""
        if self.watched is None:
            return {}
        network = self.averages["facenet"]
        identities = identity_labels(self.watched).numpy()
        if not 1 < len(np.unique(identities)) < len(identities):
            return {}
        found = embed(network, self.watched, SIZE, self.device, self.amp)
        pairs = balanced_pairs(identities, _PAIRS, seed=0)
        similarity = similarities(found, pairs)
        return {"verification": accuracy(similarity, pairs.same, best_threshold(similarity, pairs.same))}

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        for name, network in self.networks.items():
            load_network(network, weights, name)
        self.load_average("facenet", weights)


def identity_labels(crops: Crops) -> Tensor:
    """Each face's person as an index from 0 on, int64 (faces,). A set's identities are its own: no other set shares them."""
    people = [(record.source, len(record.identity), record.identity) for record in crops.records]  # 9 comes before 10
    number = {person: index for index, person in enumerate(sorted(set(people)))}
    return torch.tensor([number[person] for person in people])


def embed(
    network: torch.nn.Module, crops: Crops, size: int, device: torch.device, amp: bool = False
) -> NDArray[np.float32]:
    """Embeddings (faces, embedding) of the ``size`` × ``size`` centres of ``crops`` by ``network``, in evaluation mode."""
    assert crops.size >= size
    found = []
    for start in range(0, len(crops), _BATCH):
        pixels = torch.from_numpy(crops.pixels[start : start + _BATCH]).to(device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=amp):
            found.append(network(centred(as_images(pixels), size)).float().cpu().numpy())
    return np.concatenate(found)
