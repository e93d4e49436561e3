"""The numbers of AE-StyleGAN's training: those of Han et al. 2022 and of the report, and those of the lean preset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AeStyleGanSettings:
    """Numbers of the training. Weights of 0 switch a term off.

    ``encoder_steps``: of the encoder alone before each of the generator; 0: both learn in one. ``r1_weight``: of the penalty
    taken every ``r1_every`` steps, which grows to it over the first ``r1_warm_up``. ``discriminator_alone``: steps at the start in
    which it learns ages of real faces, while nothing is drawn. ``max_norm``: of the generator's gradient; 0: any. ``rec_d_weight``: of reconstructions among what the
    discriminator is to tell from real faces. ``style_mixing``: share of generated faces of two drawn styles. The terms
    from ``size_weight`` on are of mixed faces (see ``draw_mix``); ``excess_weight`` is of what goes beyond the
    bound (see ``AeStyleGanShape.excess``). ``guided`` is the number of faces in a batch that the FaceNet looks at.
    """

    learning_rate: float = 2e-3
    discriminator_rate: float = 2e-3
    beta1: float = 0.0
    beta2: float = 0.99
    encoder_steps: int = 1
    r1_weight: float = 0.2048
    r1_every: int = 16
    r1_warm_up: int = 0
    discriminator_alone: int = 0
    max_norm: float = 0.0
    rec_d_weight: float = 1.0
    pixel_weight: float = 1.0
    perceptual_weight: float = 1.0
    encoder_adversarial: float = 0.1
    generator_adversarial: float = 0.9
    style_mixing: float = 0.9
    ema_decay: float = 0.999
    guided: int = 8
    wrong_age_weight: float = 1.0
    wrong_age_distance: float = 12.0
    size_weight: float = 0.3
    excess_weight: float = 30.0
    alike_weight: float = 1.0
    identity_weight: float = 1.0
    identity_floor: float = 0.1
    identity_allowed: float = 0.3
    tint_weight: float = 60.0
    broad_tint_weight: float = 300.0
    imbalance_weight: float = 5.0
    target_spread: float = 3.0
    shift: int = 4
    brightness: float = 0.1
    saturation: float = 0.3


# Of the lean preset: rates of plain weights, and a discriminator that knows ages.
LEAN_SETTINGS = AeStyleGanSettings(
    learning_rate=4e-4,
    discriminator_rate=3e-4,
    encoder_steps=0,
    r1_weight=0.05,
    r1_warm_up=500,
    discriminator_alone=500,
    max_norm=2.0,
    rec_d_weight=0.25,
    pixel_weight=5.0,
    generator_adversarial=1.5,
    ema_decay=0.997,
    size_weight=0.2,
    guided=4,
)
