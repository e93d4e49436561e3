"""The age translator, a method of our own: one residual U-Net that draws what a change of age adds to a face.

One pass for any pair of ages, after FRAN (Zoss et al. 2022: a residual U-Net told both ages), SAM (Alaluf et al. 2021: age as a
number) and StarGAN v2 (Choi et al. 2020: a discriminator with an output for each domain, here for each span of ages).
Images are RGB in [-1, 1], ages in years.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.checkpoint import load_network, require_network
from dorian_training.networks.age_discriminator import AgeDiscriminatorShape
from dorian_training.networks.layers import LEAK, at_side
from dorian_training.networks.shading import (
    along_strokes,
    averaged,
    below_eyes,
    beside_features,
    goatee_of,
    luma_of,
    no_strokes,
    shaded,
    skin_of,
    stroke_kernels,
    stroke_shares,
)
from dorian_training.networks.shape import NetworkShape

FULL_AGE = 100.0  # years, the unit in which ages enter the network
_LUMA_BLUR = 13  # pixels of the crop, side of the box over which a luma is averaged, twice, apart from which it is fine
_SURROUNDINGS = 25  # the same of a photo's luma, beyond which a delta may hardly go
_CROWD = 15  # the same of a delta's dark folds, within which they are many or few
_FOLDS = 5  # the same of a delta's luma, apart from which it is a fold


@dataclass(frozen=True)
class TranslatorShape(NetworkShape):
    """A U-Net that works at a half, a quarter and an eighth of ``size`` with ``widths`` channels.

    ``middle``: residual blocks at the coarsest level. ``fine``: channels at full size, where only the head works. ``style``:
    units of what the ages become. ``gentle``: years of change over which the delta fades in (see ``AgeTranslator``).
    ``delta_bound`` and ``fine_bound``: how far a delta's luma, and what of it is apart from its own mean around, may go, of images in
    [-1, 1]; 0: any. ``light_bound``: how far a delta may make a pixel lighter than it and its surroundings are; 0: any.
    ``fold_gain``: factor of folds where faces get older, ``broad_light`` the share of what else gets lighter there that is kept
    (see ``AgeTranslator.lit``), and ``young_shadow`` that of broad shadows where they get younger, but ``goatee_shadow`` around the mouth;
    ``fold_gain`` 0: all stays as it is drawn. ``stroke_gain``: factor of folds that are drawn out along the lines of old skin.
    ``bank_light``: share of the light beside folds that is kept where faces get older, and ``crowd_bound`` how dark folds below the eyes may be
    on average before they get fainter (0: any); shapes from before they were numbers have all of both.
    ``photo_blur`` and ``delta_blur``: pixels, odd, side of the box over which the photo that the network sees, and the luma that it
    draws, are averaged, twice; 0: not at all.
    """

    size: int = 96
    widths: tuple[int, ...] = (32, 96, 160)
    middle: int = 2
    fine: int = 16
    style: int = 128
    waves: int = 4
    gentle: float = 8.0
    delta_bound: float = 0.35
    fine_bound: float = 0.15
    light_bound: float = 0.03
    fold_gain: float = 2.75
    broad_light: float = 0.5
    young_shadow: float = 0.6
    goatee_shadow: float = 0.0
    stroke_gain: float = 1.8
    bank_light: float = 0.3
    crowd_bound: float = 0.035
    photo_blur: int = 3
    delta_blur: int = 3

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """See ``NetworkShape.from_dict``."""
        return super().from_dict({"bank_light": 1.0, "crowd_bound": 0.0, **values})


@dataclass(frozen=True)
class AgeTranslatorShape(NetworkShape):
    """The plain numbers from which both networks are built; checkpoints carry them."""

    translator: TranslatorShape = field(default_factory=TranslatorShape)
    discriminator: AgeDiscriminatorShape = field(default_factory=AgeDiscriminatorShape)


class AgeCode(nn.Module):
    """Source and target age (batch,) in years → style (batch, style): waves of both ages, and their difference."""

    def __init__(self, waves: int, style: int) -> None:
        super().__init__()
        self.frequencies = [math.pi * wave for wave in range(1, waves + 1)]
        self.layers = nn.Sequential(
            nn.Linear(4 * waves + 4, style), nn.LeakyReLU(LEAK), nn.Linear(style, style), nn.LeakyReLU(LEAK)
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        ages = torch.stack([source, target], dim=1).float() / FULL_AGE  # (batch, 2)
        change = ages[:, 1:] - ages[:, :1]  # (batch, 1)
        phases = torch.stack([ages * frequency for frequency in self.frequencies], dim=2).flatten(
            1
        )  # (batch, 2 * waves)
        encoding = torch.cat([ages, change, change.abs(), phases.sin(), phases.cos()], dim=1)  # (batch, 4 * waves + 4)
        style: Tensor = self.layers(encoding.to(next(self.layers.parameters()).dtype))
        return style


class ModulatedBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; between them the style scales and shifts each channel."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(style, 2 * width)
        for convolution, gain in ((self.first, 1.0), (self.second, 0.3)):  # blocks start close to the identity
            nn.init.kaiming_normal_(convolution.weight, a=LEAK)
            convolution.weight.data.mul_(gain)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.modulation(style)[:, :, None, None].chunk(2, dim=1)  # (batch, width, 1, 1) each
        changed = self.first(F.leaky_relu(features, LEAK)) * (1 + scale) + shift
        result: Tensor = features + self.second(F.leaky_relu(changed, LEAK))
        return result


class AgeTranslator(nn.Module):
    """Image (batch, 3, size, size), source and target age (batch,) → delta (batch, 3, size, size) to be added.

    The heavy part works at half resolution and below. Its way back up repeats pixels and convolves, so that no grid of
    sub-pixels shows. What it draws is light and shadow on skin: see ``shaded``; adding the same to each channel makes shadows brown and
    light grey. This luma is bounded by ``delta_bound``, and what of it is fine by ``fine_bound``, each by a hyperbolic tangent: no
    single pixel can go far, and what is small is a wrinkle rather than a spot. Age casts shadows and makes hair lighter, so light may
    rise to that of the surroundings, and beyond them by ``light_bound`` alone: skin gets no shine. The network sees a blurred photo, and its luma is blurred, so that sharp photos are to it what blurred
    ones are, and nothing that it draws has edges of its own. The delta has the factor ``1 - exp(-|target - source| / gentle)``: it is
    zero where the target is the source age.
    """

    skin: Tensor
    left_out: Tensor
    cheeks: Tensor
    kernels: Tensor
    strokes: Tensor

    def __init__(self, shape: TranslatorShape) -> None:
        super().__init__()
        self.gentle, self.bounds = shape.gentle, (shape.delta_bound, shape.fine_bound)
        self.light_bound, self.fold_gain = shape.light_bound, shape.fold_gain
        self.broad_light, self.bank_light = shape.broad_light, shape.bank_light
        self.photo_blur, self.delta_blur = shape.photo_blur, shape.delta_blur
        self.register_buffer("skin", skin_of(shape.size), persistent=False)  # (1, 1, size, size)
        goatee = goatee_of(shape.size)
        left_out = 1 - shape.young_shadow + (shape.young_shadow - shape.goatee_shadow) * goatee
        self.register_buffer("left_out", left_out, persistent=False)  # (1, 1, size, size)
        self.stroke_gain, self.crowd_bound = shape.stroke_gain, shape.crowd_bound
        self.register_buffer("cheeks", below_eyes(shape.size), persistent=False)  # (1, 1, size, size)
        self.register_buffer("kernels", stroke_kernels(shape.size), persistent=False)  # (directions, 1, reach, reach)
        self.register_buffer("strokes", no_strokes(shape.size))  # (1, directions + 1, size, size)
        self.register_load_state_dict_pre_hook(_without_strokes)  # type: ignore[no-untyped-call]
        self.code = AgeCode(shape.waves, shape.style)
        inputs = (3, *shape.widths[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1) for before, after in zip(inputs, shape.widths, strict=True)
        )
        self.seen = nn.ModuleList(ModulatedBlock(width, shape.style) for width in shape.widths[:-1])
        self.middle = nn.ModuleList(ModulatedBlock(shape.widths[-1], shape.style) for _ in range(shape.middle))
        self.up = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip(shape.widths[:0:-1], shape.widths[-2::-1], strict=True)
        )
        self.drawn = nn.ModuleList(ModulatedBlock(width, shape.style) for width in shape.widths[-2::-1])
        self.fine = nn.Conv2d(shape.widths[0], shape.fine, 1)
        self.refine = nn.Conv2d(shape.fine + 3, shape.fine, 3, padding=1)
        self.head = nn.Conv2d(shape.fine, 1, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        return self.bounded(self.unbounded(image, source, target), image, source, target)

    def unbounded(self, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Return the delta's luma (batch, 1, size, size), float32, before its bounds and its factor of years."""
        style = self.code(source, target)  # (batch, style)
        image = averaged(image, self.photo_blur)
        features, skips = image, []
        for down, block in zip(self.down, [*self.seen, None], strict=True):
            features = down(features)  # half the size
            if block is not None:
                features = block(features, style)
                skips.append(features)
        for block in self.middle:
            features = block(features, style)
        for up, block in zip(self.up, self.drawn, strict=True):
            features = block(_doubled(up(features)) + skips.pop(), style)  # twice the size
        # features: (batch, widths[0], size / 2, size / 2)
        fine = torch.cat(
            [_doubled(self.fine(F.leaky_relu(features, LEAK))), image], dim=1
        )  # (batch, fine + 3, size, size)
        luma: Tensor = self.head(F.leaky_relu(self.refine(fine), LEAK)).float()  # (batch, 1, size, size)
        return luma

    def bounded(self, luma: Tensor, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Return the delta (batch, 3, size, size) of ``image`` that an ``unbounded`` luma within its bounds makes, times the factor of years."""
        gate = 1 - torch.exp(-(target - source).abs().float() / self.gentle)  # (batch,)
        smooth = self._smooth_luma(*self._parts(luma))
        lit = self.lit(smooth, image, target > source)
        return shaded(lit, image, self._skin_of(image)) * gate[:, None, None, None]

    def lit(self, luma: Tensor, image: Tensor, older: Tensor) -> Tensor:
        """Return a delta's ``luma`` (batch, 1, height, width) as the light of ``image`` has it, of faces that get ``older`` (batch,) or not.

        Broad shadows do not come with age: what a network draws of them looks like dirt on skin in even light. So of faces that get older
        only folds are kept, dark lines and a share of their lighter banks, and a share of broad light, as of hair. Folds run as on old
        skin, are deepened, and are fainter where they crowd below the eyes. Of faces that get younger a share of broad shadows is kept,
        and another around the mouth, where they would be a beard that the face does not have.
        ``light_bound`` bounds how much lighter a pixel gets.
        """
        if self.fold_gain:
            broad = averaged(luma, _FOLDS)
            folds = self._as_lines(luma - broad)
            folds = self.fold_gain * torch.where(folds > 0, self.bank_light * folds, folds)
            aged = self._uncrowded(folds) + self.broad_light * broad.clamp(min=0)
            younger = luma - at_side(self.left_out, image.shape[2]) * broad.clamp(max=0)
            luma = torch.where(older[:, None, None, None], aged, younger)
        if self.light_bound:
            room = self._room(image)
            luma = torch.where(luma > 0, room * torch.tanh(luma / room), luma)
        return luma

    def excess(self, luma: Tensor, image: Tensor) -> Tensor:
        """Return how far an ``unbounded`` luma of ``image`` goes beyond its bounds, in squares, mean.

        There a hyperbolic tangent is flat, and draws patches with sharp edges.
        """
        delta_bound, fine_bound = self.bounds
        broad, fine = self._parts(luma)
        excess = _beyond(luma, delta_bound) + _beyond(fine, fine_bound)
        if self.light_bound:
            excess = excess + (self._smooth_luma(broad, fine) - self._room(image)).clamp(min=0).square().mean()
        return excess

    def smooth(self, luma: Tensor) -> Tensor:
        """Return a delta's ``luma`` (batch, 1, size, size) as smooth as what is drawn."""
        return averaged(luma, self.delta_blur)

    def follow_lines(self, direction: Tensor, energy: Tensor) -> None:
        """Let folds run as lines do on old skin; until then they stay as they are drawn.

        Args:
            direction: How lines run, (2, cells, cells); see ``stroke_shares``.
            energy: How strong they are, (cells, cells).
        """
        self.strokes.copy_(stroke_shares(direction, energy, beside_features(self.strokes.shape[2])))

    def _as_lines(self, folds: Tensor) -> Tensor:
        """Return ``folds`` (batch, 1, height, width), drawn out along lines where it is known how they run."""
        strokes = at_side(self.strokes.float(), folds.shape[2])  # (1, directions + 1, height, width)
        return along_strokes(folds, self.kernels.float(), strokes, self.stroke_gain)

    def _uncrowded(self, folds: Tensor) -> Tensor:
        """Return ``folds`` (batch, 1, height, width), fainter below the eyes where there are many: cheeks have a few lines, not rays."""
        if not self.crowd_bound:
            return folds
        crowd = averaged((-folds).clamp(min=0), _CROWD) / self.crowd_bound
        share = 1 / crowd.clamp(min=1).square()
        return folds * (1 - at_side(self.cheeks, folds.shape[2]) * (1 - share))

    def _skin_of(self, image: Tensor) -> Tensor:
        """Where ``image`` shows skin, (1, 1, height, width)."""
        return at_side(self.skin.float(), image.shape[2])

    def _room(self, image: Tensor) -> Tensor:
        """How much lighter each pixel of ``image`` may get, (batch, 1, size, size)."""
        luma = luma_of(image.float())
        return (averaged(luma, _SURROUNDINGS) - luma).clamp(min=0) + self.light_bound

    def _smooth_luma(self, broad: Tensor, fine: Tensor) -> Tensor:
        """The luma of these two parts, what is fine within its bound, as smooth as what is drawn."""
        _, fine_bound = self.bounds
        return self.smooth(broad + _squashed(fine, fine_bound))

    def _parts(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is broad and what is fine of a luma within ``delta_bound``, (batch, 1, size, size) each; one without a bound is broad."""
        delta_bound, fine_bound = self.bounds
        luma = _squashed(luma, delta_bound)
        broad = averaged(luma, _LUMA_BLUR if fine_bound else 0)
        return broad, luma - broad


def age_translator_of(weights: dict[str, dict[str, Tensor]], metadata: dict[str, Any]) -> AgeTranslator:
    """Return the EMA of the age translator of a checkpoint's ``weights`` and ``metadata``, for inference; ``CheckpointError`` if it has none."""
    require_network(weights, "translator_ema")  # before its shape is read: any checkpoint has one
    network = AgeTranslator(AgeTranslatorShape.from_dict(metadata["shape"]).translator)
    load_network(network, weights, "translator_ema")
    return network.eval().requires_grad_(False)


def _without_strokes(network: AgeTranslator, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Let checkpoints be read that were trained before folds followed lines: theirs stay as they are drawn."""
    state.setdefault(f"{prefix}strokes", no_strokes(network.strokes.shape[2]))


def _beyond(values: Tensor, bound: float) -> Tensor:
    return (values.abs() - bound).clamp(min=0).square().mean() if bound else values.new_zeros(())


def _squashed(values: Tensor, bound: float) -> Tensor:
    return bound * torch.tanh(values / bound) if bound else values


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="nearest")
