"""The hair segmenter's training: labels of hair and beards told by colour, weighted by how sure they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_training.checkpoint import load_network
from dorian_training.data.batches import as_images
from dorian_training.data.hair_batches import HairBatch, HairViews
from dorian_training.methods.stage import Stage, cosine_rate
from dorian_training.networks.hair_segmenter import HairSegmenter, HairSegmenterShape

_VIEWS_AT_ONCE = 64


@dataclass(frozen=True)
class HairSegmenterSettings:
    """Numbers of the training. ``warm_up``: share of the steps in which the rate grows from nothing."""

    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warm_up: float = 0.03
    ema_decay: float = 0.998


class HairSegmenterStage(Stage[HairBatch]):
    """Hair and beards learnt from labelled views; ``watched`` are views to measure on."""

    name = "hair_segmenter"

    def __init__(
        self,
        shape: HairSegmenterShape,
        settings: HairSegmenterSettings,
        device: torch.device,
        amp: bool,
        watched: HairViews | None = None,
    ) -> None:
        super().__init__(device)
        self.settings, self.amp, self.watched = settings, amp, watched
        self.segmenter = self.add_network("hair_segmenter", HairSegmenter(shape))
        self.add_average("hair_segmenter", settings.ema_decay)
        self.add_optimizer("hair_segmenter", settings.learning_rate, (0.9, 0.999), settings.weight_decay)

    def schedule(self, done: float) -> None:
        self.set_rate(self.settings.learning_rate * cosine_rate(done, self.settings.warm_up))

    def step(self, batch: HairBatch, number: int) -> dict[str, Tensor]:
        self.segmenter.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.segmenter(batch.image)  # (batch, 2, size, size)
        losses = F.binary_cross_entropy_with_logits(logits.float(), batch.regions, reduction="none")
        weighed, weights = ((values * batch.weights).sum(dim=(0, 2, 3)) for values in (losses, torch.ones_like(losses)))
        hair, beard = weighed / weights.clamp(min=1e-6)
        loss = hair + beard
        self.optimizer_step("hair_segmenter", loss)
        self.averages["hair_segmenter"].update_parameters(self.segmenter)
        return {"hair": hair.detach(), "beard": beard.detach()}

    def measure(self) -> dict[str, float]:
        """Return ``hair_iou`` and ``beard_iou`` of the validation views: what network and labels share over what is of either, where labels are sure."""
        if self.watched is None:
            return {}
        shared, either = np.zeros(2), np.zeros(2)
        for start in range(0, len(self.watched.pixels), _VIEWS_AT_ONCE):
            part = slice(start, start + _VIEWS_AT_ONCE)
            images = as_images(torch.from_numpy(self.watched.pixels[part]).to(self.device))
            with torch.no_grad():
                found = (self.averages["hair_segmenter"](images) > 0).cpu().numpy()  # (views, 2, size, size)
            labelled, weights = self.watched.regions[part] > 127, self.watched.weights[part].astype(np.float64)
            shared += (weights * (found & labelled)).sum(axis=(0, 2, 3))
            either += (weights * (found | labelled)).sum(axis=(0, 2, 3))
        return dict(zip(("hair_iou", "beard_iou"), (shared / either.clip(1e-6)).tolist(), strict=True))

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        load_network(self.segmenter, weights, "hair_segmenter")
        self.load_average("hair_segmenter", weights)
