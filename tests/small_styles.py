"""The lean layout of AE-StyleGAN, a few channels wide: small enough to train and to export in a test."""

from __future__ import annotations

from dorian_training.networks.ae_stylegan import AeStyleGanShape
from dorian_training.networks.age_discriminator import AgeDiscriminatorShape

LEAN = AeStyleGanShape(
    sides=(3, 6, 12, 24, 48, 96),
    widths=(4, 4, 4, 4, 4, 4),
    style=4,
    mapping=0,
    structure_sides=(6, 12),
    structure_counts=(5, 6),
    luma_until=12,
    equalized=False,
    noise=False,
    shifts=True,
    convolve_small=True,
    discriminator=AgeDiscriminatorShape((4, 4), (2, 2), fine=(4, 4)),
)
