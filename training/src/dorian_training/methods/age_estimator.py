"""The age estimator's training: exact ages and brackets alike, on faces flattened over age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dorian_training.checkpoint import load_network, require_network
from dorian_training.data.batches import LabelledBatch, run_on_centres
from dorian_training.data.crops import Crops
from dorian_training.losses.age import PeopleBias, age_likelihood, years_outside
from dorian_training.methods.stage import Stage, cosine_rate
from dorian_training.networks.age_estimator import AgeEstimatorShape, build_age_estimator, expected_age
from dorian_training.networks.dlib_resnet import DlibTrunk

_NARROW = 2  # years on each side of what a teacher reads


@dataclass(frozen=True)
class AgeEstimatorSettings:
    """Numbers of the training.

    ``head_rate``: factor on the learning rate of the head. ``max_norm``: length that gradients are shortened to. ``warm_up``:
    share of the steps in which the rate grows from nothing. ``balance``: how far rare ages are drawn more often, 0 to 1.
    ``even_brackets``: weight of the loss that takes a bracket's years for equally likely, against that in which any may be.
    ``people_balance``: how far rare pairs of ethnicity and gender are drawn more often within ten years, 0 to 1. ``people_weight``: of the
    loss by which no such people are read older or younger than others of their decade.
    """

    learning_rate: float = 4e-4
    head_rate: float = 4.0
    max_norm: float = 5.0
    weight_decay: float = 0.02
    blur: float = 2.0
    distance_weight: float = 0.1
    warm_up: float = 0.03
    ema_decay: float = 0.999
    balance: float = 0.5
    even_brackets: float = 0.0
    people_balance: float = 0.0
    people_weight: float = 0.0


class AgeEstimatorStage(Stage[LabelledBatch]):
    """Ages read from crops; labels are brackets and kinds of people, (batch, 3): first and last whole year, and see ``PeopleBias``.

    ``kinds``: how many kinds of people there are.
    """

    name = "age_estimator"

    def __init__(
        self,
        shape: AgeEstimatorShape,
        settings: AgeEstimatorSettings,
        device: torch.device,
        amp: bool,
        watched: Crops | None = None,
        kinds: int = 0,
    ) -> None:
        super().__init__(device)
        self.settings, self.amp, self.watched = settings, amp, watched
        self.people_bias = PeopleBias(kinds, device)
        network = build_age_estimator(shape)
        self.size = network.size
        self.estimator = self.add_network("age_estimator", network)
        self.add_average("age_estimator", settings.ema_decay)
        self.add_optimizer(
            "age_estimator", settings.learning_rate, (0.9, 0.999), settings.weight_decay, settings.head_rate
        )

    def schedule(self, done: float) -> None:
        self.set_rate(self.settings.learning_rate * cosine_rate(done, self.settings.warm_up))

    def step(self, batch: LabelledBatch, number: int) -> dict[str, Tensor]:
        self.estimator.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.estimator(batch.image)
        logits = logits.float()
        low, high, kind = batch.label.unbind(1)
        likelihood = age_likelihood(logits, low, high, self.settings.blur, self.settings.even_brackets)
        distance = years_outside(logits, low, high)
        people = self.people_bias.loss(expected_age(logits), low, high, kind)
        loss = likelihood + self.settings.distance_weight * distance + self.settings.people_weight * people
        self.optimizer_step("age_estimator", loss, self.settings.max_norm)
        self.averages["age_estimator"].update_parameters(self.estimator)
        return {"likelihood": likelihood.detach(), "years_outside": distance.detach(), "people": people.detach()}

    def measure(self) -> dict[str, float]:
        """Return what validation faces say, where there are any: the mean absolute error of exact ages, and how far outside of
        their brackets the others are read, in years."""
        if self.watched is None:
            return {}
        low, high = age_labels(self.watched).numpy().T
        read = read_ages(self.averages["age_estimator"], self.watched, self.size, self.device, self.amp)
        outside, exact = np.maximum(low - read, 0) + np.maximum(read - high, 0), low == high
        parts = {"error_in_years": exact, "years_outside_brackets": ~exact}
        return {name: float(outside[part].mean()) for name, part in parts.items() if part.any()}

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        """Begin with an age estimator's ``weights``, or with the trunk of dlib's FaceNet."""
        if "age_estimator" not in weights and isinstance(self.estimator, DlibTrunk):
            self._load_trunk(weights)
            return
        load_network(self.estimator, weights, "age_estimator")
        self.load_average("age_estimator", weights)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "people_bias": self.people_bias.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if "people_bias" in state:  # runs of before have none
            self.people_bias.load_state_dict(state["people_bias"])

    def _load_trunk(self, weights: dict[str, dict[str, Tensor]]) -> None:
        require_network(weights, "facenet_ema")
        trunk = {
            name: tensor for name, tensor in weights["facenet_ema"].items() if name.startswith(("stem.", "blocks."))
        }
        state = {name: tensor for name, tensor in self.estimator.state_dict().items() if name not in trunk}
        load_network(self.estimator, {"facenet_ema": {**state, **trunk}}, "facenet_ema")
        self.averages["age_estimator"].module.load_state_dict(self.estimator.state_dict())


def age_labels(crops: Crops) -> Tensor:
    """Return the first and last whole year of each face's label, (faces, 2); all ages are known."""
    return torch.tensor([(record.age_low, record.age_high) for record in crops.records])


def narrowed_labels(labels: Tensor, read: Tensor) -> Tensor:
    """Narrow brackets to what another estimator reads within them: soft labels, as a student gets from its teacher (Hinton et al. 2015).

    Args:
        labels: First and last whole year of each face's label, (faces, 2).
        read: Ages in years that the other estimator reads, (faces,).

    Returns:
        The years of each label that lie within ``_NARROW`` of what is read, or nearest to it, (faces, 2); exact ages as they are.
    """
    low, high = labels.unbind(1)
    middle = torch.minimum(torch.maximum(read.round().to(labels), low + _NARROW), high - _NARROW)
    return torch.stack([torch.maximum(low, middle - _NARROW), torch.minimum(high, middle + _NARROW)], dim=1)


def read_ages(network: torch.nn.Module, crops: Crops, size: int, device: torch.device, amp: bool = False) -> np.ndarray:
    """Return the expected ages (faces,) in years by ``network``, in evaluation mode, of the ``size`` px centres of ``crops``."""
    return expected_age(run_on_centres(network, crops, size, device, amp)).numpy()
