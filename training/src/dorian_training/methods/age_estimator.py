"""The age estimator's training: exact ages and brackets alike, on faces flattened over age."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import centred
from dorian_training.data.batches import LabelledBatch, as_images
from dorian_training.data.crops import Crops
from dorian_training.losses.age import age_likelihood, years_outside
from dorian_training.methods.stage import Stage, cosine_rate
from dorian_training.networks.age_estimator import SIZE, AgeEstimator, AgeEstimatorShape, expected_age

_BATCH = 256


@dataclass(frozen=True)
class AgeEstimatorSettings:
    """Numbers of the training. ``warm_up``: share of the steps in which the rate grows from nothing."""

    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    blur: float = 2.0
    distance_weight: float = 0.1
    warm_up: float = 0.05
    ema_decay: float = 0.999


class AgeEstimatorStage(Stage[LabelledBatch]):
    """Ages read from crops; labels are brackets, (batch, 2) first and last whole year."""

    name = "age_estimator"

    def __init__(
        self,
        shape: AgeEstimatorShape,
        settings: AgeEstimatorSettings,
        device: torch.device,
        amp: bool,
        watched: Crops | None = None,
    ) -> None:
        super().__init__(device)
        self.settings, self.amp, self.watched = settings, amp, watched
        self.estimator = self.add_network("age_estimator", AgeEstimator(shape))
        self.add_average("age_estimator", settings.ema_decay)
        self.add_optimizer("age_estimator", settings.learning_rate, (0.9, 0.999), settings.weight_decay)

    def schedule(self, done: float) -> None:
        self.set_rate(self.settings.learning_rate * cosine_rate(done, self.settings.warm_up))

    def step(self, batch: LabelledBatch, number: int) -> dict[str, Tensor]:
        self.estimator.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.estimator(batch.image)
        logits, low, high = logits.float(), batch.label[:, 0], batch.label[:, 1]
        likelihood = age_likelihood(logits, low, high, self.settings.blur)
        distance = years_outside(logits, low, high)
        self.optimizer_step("age_estimator", likelihood + self.settings.distance_weight * distance)
        self.averages["age_estimator"].update_parameters(self.estimator)
        return {"likelihood": likelihood.detach(), "years_outside": distance.detach()}

    def measure(self) -> dict[str, float]:
        """Return the mean absolute error in years on the validation faces whose age is exact, if there are any."""
        if self.watched is None:
            return {}
        exact = np.asarray([r.age_low is not None and r.age_low == r.age_high for r in self.watched.records])
        if not exact.any():
            return {}
        faces = self.watched.where(exact)
        true = np.asarray([record.age for record in faces.records])
        read = read_ages(self.averages["age_estimator"], faces, self.device, self.amp)
        return {"error_in_years": float(np.abs(true - read).mean())}

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        load_network(self.estimator, weights, "age_estimator")
        self.load_average("age_estimator", weights)


def age_labels(crops: Crops) -> Tensor:
    """Return the first and last whole year of each face's label, (faces, 2); all ages are known."""
    return torch.tensor([(record.age_low, record.age_high) for record in crops.records])


def flattening_weights(crops: Crops, width: int = 5, power: float = 0.5) -> Tensor:
    """Return the chances (faces,) that lift rare ages: one over how many faces share a label's ``width`` years, to a ``power``."""
    bins = np.asarray([int(record.age or 0) // width for record in crops.records])
    return torch.from_numpy(np.bincount(bins)[bins] ** -power).float()


def read_ages(network: torch.nn.Module, crops: Crops, device: torch.device, amp: bool = False) -> np.ndarray:
    """Return the expected ages (faces,) in years of the centres of ``crops`` by ``network``, which is in evaluation mode."""
    ages = []
    for start in range(0, len(crops), _BATCH):
        pixels = torch.from_numpy(crops.pixels[start : start + _BATCH]).to(device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=amp):
            logits = network(centred(as_images(pixels), SIZE))
        ages.append(expected_age(logits.float()).cpu().numpy())
    return np.concatenate(ages)
