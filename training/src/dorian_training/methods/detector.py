"""The face detector's training on scenes: photographs, collages, and faces pasted into clutter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dorian_training.checkpoint import load_network
from dorian_training.data.scene_batches import SceneBatch
from dorian_training.losses.detection import Truth, detection_losses
from dorian_training.methods.stage import Stage, cosine_rate
from dorian_training.networks.detector import Detector, DetectorShape, read_cells


@dataclass(frozen=True)
class DetectorSettings:
    """Numbers of the training. ``warm_up``: share of the steps in which the rate grows from nothing."""

    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    box_weight: float = 2.0
    landmark_weight: float = 2.0
    warm_up: float = 0.03
    ema_decay: float = 0.999


class DetectorStage(Stage[SceneBatch]):
    """Boxes, landmarks and scores learnt from scenes."""

    name = "detector"

    def __init__(self, shape: DetectorShape, settings: DetectorSettings, device: torch.device, amp: bool) -> None:
        super().__init__(device)
        self.settings, self.amp = settings, amp
        self.detector = self.add_network("detector", Detector(shape))
        self.add_average("detector", settings.ema_decay)
        self.add_optimizer("detector", settings.learning_rate, (0.9, 0.999), settings.weight_decay)

    def schedule(self, done: float) -> None:
        self.set_rate(self.settings.learning_rate * cosine_rate(done, self.settings.warm_up))

    def step(self, batch: SceneBatch, number: int) -> dict[str, Tensor]:
        self.detector.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            maps = self.detector(batch.image)
        losses = detection_losses(read_cells(maps), Truth(batch.boxes, batch.landmarks, batch.kind))
        weights = {"score": 1.0, "box": self.settings.box_weight, "landmarks": self.settings.landmark_weight}
        self.optimizer_step("detector", torch.stack([weights[name] * loss for name, loss in losses.items()]).sum())
        self.averages["detector"].update_parameters(self.detector)
        return {name: loss.detach() for name, loss in losses.items()}

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        load_network(self.detector, weights, "detector")
        self.load_average("detector", weights)
