"""The landmark refiner's training: views aligned by landmarks that are wrong, and the right ones to tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_training.checkpoint import load_network
from dorian_training.data.landmark_batches import LandmarkBatch
from dorian_training.methods.stage import Stage, cosine_rate
from dorian_training.networks.landmark_refiner import LandmarkRefiner, LandmarkRefinerShape


@dataclass(frozen=True)
class LandmarkRefinerSettings:
    """Numbers of the training. ``warm_up``: share of the steps in which the rate grows from nothing."""

    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warm_up: float = 0.03
    ema_decay: float = 0.999


class LandmarkRefinerStage(Stage[LandmarkBatch]):
    """Landmarks learnt from views of single faces; ``watched`` are views to measure on."""

    name = "landmark_refiner"

    def __init__(
        self,
        shape: LandmarkRefinerShape,
        settings: LandmarkRefinerSettings,
        device: torch.device,
        amp: bool,
        watched: LandmarkBatch | None = None,
    ) -> None:
        super().__init__(device)
        self.settings, self.amp, self.watched = settings, amp, watched
        self.refiner = self.add_network("landmark_refiner", LandmarkRefiner(shape))
        self.add_average("landmark_refiner", settings.ema_decay)
        self.add_optimizer("landmark_refiner", settings.learning_rate, (0.9, 0.999), settings.weight_decay)

    def schedule(self, done: float) -> None:
        self.set_rate(self.settings.learning_rate * cosine_rate(done, self.settings.warm_up))

    def step(self, batch: LandmarkBatch, number: int) -> dict[str, Tensor]:
        self.refiner.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            predicted = self.refiner(batch.image)
        loss = F.smooth_l1_loss(predicted * 100, batch.landmarks * 100, beta=1.0)  # in hundredths of the view's side
        self.optimizer_step("landmark_refiner", loss)
        self.averages["landmark_refiner"].update_parameters(self.refiner)
        return {"loss": loss.detach()}

    def measure(self) -> dict[str, float]:
        """Return the mean distance of the validation views' landmarks from the true ones, as a fraction of the distance between the eyes."""
        if self.watched is None:
            return {}
        with torch.no_grad():
            predicted = self.averages["landmark_refiner"](self.watched.image)
        true = self.watched.landmarks
        between = (true[:, 0] - true[:, 1]).norm(dim=1)
        return {"landmark_error": float(((predicted - true).norm(dim=2).mean(dim=1) / between).mean())}

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        load_network(self.refiner, weights, "landmark_refiner")
        self.load_average("landmark_refiner", weights)
