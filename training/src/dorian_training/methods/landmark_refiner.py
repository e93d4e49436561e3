"""The landmark refiner's training: views aligned by landmarks that are wrong, and the right ones to tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_bundle.mesh import LEFT_IRIS, RIGHT_IRIS
from dorian_training.checkpoint import load_network
from dorian_training.data.landmark_batches import LandmarkBatch
from dorian_training.methods.stage import Stage, cosine_rate
from dorian_training.networks.landmark_refiner import LandmarkRefiner, LandmarkRefinerShape


@dataclass(frozen=True)
class LandmarkRefinerSettings:
    """Numbers of the training. ``warm_up``: share of the steps in which the rate grows from nothing.

    ``visibility_weight``: of the loss of the visible share, against hundredths of a view's side.
    """

    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warm_up: float = 0.03
    ema_decay: float = 0.999
    visibility_weight: float = 0.5


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
            points, logits = self.refiner(batch.image)
        distance = F.smooth_l1_loss(points * 100, batch.landmarks * 100, beta=0.5, reduction="none")  # in hundredths
        weights = batch.visible / batch.visible.sum().clamp(min=1e-6)  # what cannot be seen cannot be placed
        landmarks = (distance.mean(dim=(1, 2)) * weights).sum()
        visibility = F.binary_cross_entropy_with_logits(logits, batch.visible)
        self.optimizer_step("landmark_refiner", landmarks + self.settings.visibility_weight * visibility)
        self.averages["landmark_refiner"].update_parameters(self.refiner)
        return {"landmarks": landmarks.detach(), "visibility": visibility.detach()}

    def measure(self) -> dict[str, float]:
        """Return metrics on the validation views.

        ``landmark_error``: the mean distance of the points from the true ones in views of which more than half is visible,
        as a fraction of the distance between the eyes. ``visibility_error``: the mean absolute error of the visible share.
        """
        if self.watched is None:
            return {}
        with torch.no_grad():
            points, logits = self.averages["landmark_refiner"](self.watched.image)
        error = {"visibility_error": float((logits.sigmoid() - self.watched.visible).abs().mean())}
        seen = self.watched.visible > 0.5
        if not seen.any():
            return error
        true = self.watched.landmarks[seen]
        between = (true[:, RIGHT_IRIS] - true[:, LEFT_IRIS]).norm(dim=1)
        distance = (points[seen] - true).norm(dim=2).mean(dim=1)
        return {"landmark_error": float((distance / between).mean()), **error}

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        load_network(self.refiner, weights, "landmark_refiner")
        self.load_average("landmark_refiner", weights)
