"""A trained AE-StyleGAN as a teacher: what it draws of an age is shown to another network.

Images are RGB in [-1, 1], ages in years.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from dorian_training.checkpoint import load_network, load_weights
from dorian_training.errors import ConfigError
from dorian_training.methods.style_mixing import FIRST_LEVEL, mean_at
from dorian_training.networks.ae_stylegan import (
    AeStyleGanShape,
    StyleGenerator,
    StyleMaps,
    StyleReader,
    build_encoder,
    linear_faces,
)
from dorian_training.networks.age_estimator import DlibAgeEstimator, load_age_estimator
from dorian_training.networks.eigen_pyramid import EigenPyramid
from dorian_training.networks.layers import at_side


class StyleTeacher(nn.Module):
    """Image (batch, 3, side, side), source and target age (batch,) → delta (batch, 3, side, side) by a frozen AE-StyleGAN of the lean preset.

    ``metadata``: what its checkpoint says of itself.

    Args:
        checkpoint: Of AE-StyleGAN.
        age_estimator: Checkpoint of the age estimator that its styles are read by.

    Raises:
        ConfigError: If the styles of ``checkpoint`` are read by no age estimator, or ``age_estimator`` is of another layout.
    """

    def __init__(self, checkpoint: Path, age_estimator: Path) -> None:
        super().__init__()
        weights, self.metadata = load_weights(checkpoint)
        self.shape = AeStyleGanShape.from_dict(self.metadata["shape"])
        estimator = load_age_estimator(age_estimator)
        if not self.shape.structure or not isinstance(estimator, DlibAgeEstimator):
            raise ConfigError(
                "a teacher needs an AE-StyleGAN of the lean preset, and an age estimator of dlib's layout"
            )
        self.reader = StyleReader(estimator)
        self.maps = cast(StyleMaps, build_encoder(self.shape))
        self.generator = StyleGenerator(self.shape)
        self.pyramid = EigenPyramid(self.shape.structure_sides, self.shape.structure_counts)
        for network, name in ((self.maps, "encoder_ema"), (self.generator, "generator_ema"), (self.pyramid, "pyramid")):
            load_network(network, weights, name)
        self.register_buffer("age_means", weights["age_means"]["features"].float())
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        face = at_side(image, self.shape.size)
        features = self.maps.whitened(self.reader(face).float())  # (batch, style)
        means = cast(Tensor, self.age_means)
        shifted = features + mean_at(means, target) - mean_at(means, source)
        styles, other = self.maps.styles_of(features), self.maps.styles_of(shifted)  # (batch, levels, style) each
        mixed = torch.cat([styles[:, : FIRST_LEVEL - 1], other[:, FIRST_LEVEL - 1 :]], dim=1)
        linear = linear_faces(self.pyramid, self.pyramid.encode(face), self.shape.sides)
        delta = self.generator(mixed, linear).float() - self.generator(styles, linear).float()
        return at_side(self.shape.bounded(delta), image.shape[2])
