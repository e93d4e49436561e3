"""AE-StyleGAN (Han et al. 2022): an encoder from a face to styles, one for each level, and a style-based generator back.

Presets of one code. ``paper``: StyleGAN2's configuration F at 128 px with 12 levels, where styles are all that there is of a
face. ``lean``, for few cores, 96 px by 3, 6, 12, 24, 48 and 96, which has 12 levels, too: a face is its *structure*, the
code of a pyramid of eigenfaces, which never learns and is never mixed, and its *styles*, what an age estimator sees in it
through a learned map for each level. Images are RGB in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.networks.age_discriminator import AgeDiscriminator, AgeDiscriminatorShape
from dorian_training.networks.age_estimator import DlibAgeEstimator
from dorian_training.networks.eigen_pyramid import EigenPyramid
from dorian_training.networks.layers import LEAK, at_side
from dorian_training.networks.residual_trunk import ResidualDiscriminator, ResidualEncoder
from dorian_training.networks.shape import NetworkShape
from dorian_training.networks.style_layers import Modulation, ScaledLinear, StyledConv, ToRgb, doubled

_MAPPING_RATE = 0.01  # of the generator's learning rate (Karras et al. 2019, appendix C)
_REACH = 4.0  # spreads within which whitened features stay
_EMPHASIS = 3.0
READER_FEATURES = 512  # pooled features of the age estimator's last two stages


@dataclass(frozen=True)
class AeStyleGanShape(NetworkShape):
    """The plain numbers from which all networks are built; checkpoints carry them.

    ``sides`` and ``widths``: resolutions of the generator, coarse to fine, and its channels there. ``style``: numbers of a
    level's style. ``mapping``: layers of the mapping network; 0: none, styles come from faces alone. ``structure_sides`` and
    ``structure_counts``: of the pyramid of eigenfaces; none: a face is its styles. ``luma_until``: side up to which the
    generator draws light and no colour. ``equalized``, ``noise``, ``shifts`` and ``convolve_small``: see ``StyledConv``.
    ``max_change``: see ``bounded``.
    """

    sides: tuple[int, ...] = (4, 8, 16, 32, 64, 128)
    widths: tuple[int, ...] = (512, 512, 512, 512, 512, 256)
    style: int = 512
    mapping: int = 8
    structure_sides: tuple[int, ...] = ()
    structure_counts: tuple[int, ...] = ()
    luma_until: int = 0
    modulation: Modulation = "demodulation"
    equalized: bool = True
    noise: bool = True
    shifts: bool = False
    convolve_small: bool = False
    max_change: float = 0.1
    discriminator: AgeDiscriminatorShape = field(default_factory=AgeDiscriminatorShape)

    @property
    def size(self) -> int:
        """Side of images in pixels."""
        return self.sides[-1]

    @property
    def levels(self) -> int:
        """Number of styles of a face: two for each resolution."""
        return 2 * len(self.sides)

    @property
    def structure(self) -> int:
        """Numbers of a face's structure; 0: it has none."""
        return sum(self.structure_counts)

    def bounded(self, change: Tensor) -> Tensor:
        """Return the ``change`` that mixed styles draw, of images in [-1, 1], as it is applied to a face.

        Near 0 it is as it is, and it never goes beyond ``max_change`` of the range from black to white: larger changes would be
        spots, as wrinkles and shadows of real faces stay below.
        """
        limit = 2 * self.max_change
        return limit * torch.tanh(change / limit)

    def excess(self, change: Tensor) -> Tensor:
        """Return by how much ``change`` goes beyond the bound, 0 or more: there ``bounded`` is flat, and draws patches with sharp edges."""
        return (change.abs() - 2 * self.max_change).clamp(min=0)


PRESETS: dict[str, AeStyleGanShape] = {
    "paper": AeStyleGanShape(),
    "paper256": AeStyleGanShape(sides=(4, 8, 16, 32, 64, 128, 256), widths=(512, 512, 512, 512, 512, 256, 128)),
    "lean": AeStyleGanShape(
        sides=(3, 6, 12, 24, 48, 96),
        widths=(160, 160, 128, 96, 48, 16),
        style=32,
        mapping=0,
        structure_sides=(6, 12, 24, 48),
        structure_counts=(72, 144, 224, 320),
        luma_until=12,
        equalized=False,
        noise=False,
        shifts=True,
        convolve_small=True,
        discriminator=AgeDiscriminatorShape(fine=(32, 64, 128, 192, 192)),
    ),
}


class MappingNetwork(nn.Module):
    """Normal noise (batch, style) → style (batch, style), the same for all levels (Karras et al. 2019, §2)."""

    def __init__(self, shape: AeStyleGanShape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(shape.mapping):
            layers += [ScaledLinear(shape.style, shape.style, equalized=True, rate=_MAPPING_RATE), nn.LeakyReLU(LEAK)]
        self.layers = nn.Sequential(*layers)

    def forward(self, noise: Tensor) -> Tensor:
        style: Tensor = self.layers(noise * torch.rsqrt(noise.square().mean(dim=1, keepdim=True) + 1e-8))
        return style


class StyleGenerator(nn.Module):
    """Styles (batch, levels, style), and the linear face at every resolution where there is one → image (batch, 3, size, size), unbounded.

    Level 1 feeds the convolution of the smallest resolution, and two levels each larger one's; the picture of a resolution
    shares its level with the next one's first convolution, and the last has a level of its own.
    """

    def __init__(self, shape: AeStyleGanShape) -> None:
        super().__init__()
        self.shape = shape
        side, width = shape.sides[0], shape.widths[0]
        self.constant = nn.Parameter(torch.randn(1, width, side, side))
        self.convolutions = nn.ModuleList([_styled(shape, width, width)])
        for before, after in zip(shape.widths, shape.widths[1:], strict=False):
            self.convolutions += [_styled(shape, before, after, doubles=True), _styled(shape, after, after)]
        self.to_rgb = nn.ModuleList(
            ToRgb(width, shape.style, shape.equalized, luma=side <= shape.luma_until)
            for side, width in zip(shape.sides, shape.widths, strict=True)
        )
        largest = shape.structure_sides[-1] if shape.structure else 0
        self.structure = nn.ModuleList(
            nn.Conv2d(6, width, 3, padding=1)
            for side, width in zip(shape.sides, shape.widths, strict=True)
            if side <= largest
        )

    def forward(self, styles: Tensor, linear: Sequence[Tensor] = ()) -> Tensor:
        """Draw faces; ``linear`` as ``linear_faces`` gives it."""
        added = [self._added(index, linear) for index in range(len(self.shape.sides))]
        features = self.constant.expand(styles.shape[0], -1, -1, -1)
        features = self.convolutions[0](features, styles[:, 0], added[0])
        picture = self.to_rgb[0](features, styles[:, 1])
        for index in range(1, len(self.shape.sides)):
            level = 2 * index - 1
            features = self.convolutions[level](features, styles[:, level], added[index])
            features = self.convolutions[level + 1](features, styles[:, level + 1])
            picture = doubled(picture) + self.to_rgb[index](features, styles[:, level + 2])
        result: Tensor = picture + linear[-1] if linear else picture
        return result

    def _added(self, index: int, linear: Sequence[Tensor]) -> Tensor | None:
        """What the structure adds to the features of resolution ``index``, from the face there and what is new in it; nothing above its own."""
        if index >= len(self.structure):
            return None
        new = linear[index] - doubled(linear[index - 1]) if index else torch.zeros_like(linear[index])
        added: Tensor = self.structure[index](torch.cat([linear[index], 4 * new], dim=1))
        return added


def _styled(shape: AeStyleGanShape, inputs: int, outputs: int, doubles: bool = False) -> StyledConv:
    return StyledConv(
        inputs,
        outputs,
        shape.style,
        modulation=shape.modulation,
        equalized=shape.equalized,
        doubles=doubles,
        convolve_small=shape.convolve_small,
        noise=shape.noise,
        shifts=shape.shifts,
    )


class StyleMaps(nn.Module):
    """Features that an age estimator pools from a face (batch, 512) → styles (batch, levels, style), by a linear map for each level.

    Features are whitened before, and the few far from the mean drawn towards it. As the maps are linear, a mean of faces'
    whitened features gives the mean of their styles.
    """

    whitening: Tensor
    whitening_mean: Tensor

    def __init__(self, shape: AeStyleGanShape) -> None:
        super().__init__()
        self.register_buffer("whitening", torch.zeros(READER_FEATURES, shape.style))
        self.register_buffer("whitening_mean", torch.zeros(READER_FEATURES))
        self.maps = nn.Parameter(torch.eye(shape.style).repeat(shape.levels, 1, 1))
        self.offsets = nn.Parameter(torch.zeros(shape.levels, shape.style))

    def forward(self, pooled: Tensor) -> Tensor:
        return self.styles_of(self.whitened(pooled))

    def whitened(self, pooled: Tensor) -> Tensor:
        """Return whitened features (batch, style) of ``pooled`` ones (batch, 512), all within 4 spreads."""
        return _REACH * torch.tanh((pooled - self.whitening_mean) @ self.whitening / _REACH)

    def styles_of(self, features: Tensor) -> Tensor:
        """Return the styles (batch, levels, style) of whitened ``features`` (batch, style)."""
        return torch.einsum("bf,lfs->bls", features, self.maps) + self.offsets

    @torch.no_grad()
    def fit(self, pooled: Tensor, ages: Tensor) -> Tensor:
        """Fit the whitening to pooled features (faces, 512): the widest principal components, each in units of its spread.

        The maps begin with what tells ``ages`` (faces,), in years, three times as large as the rest. Returns the whitened
        features (faces, style).
        """
        mean = pooled.mean(dim=0)
        variances, directions = torch.linalg.eigh((pooled - mean).T @ (pooled - mean) / len(pooled))
        style = self.whitening.shape[1]
        self.whitening.copy_((directions[:, -style:] / variances[-style:].clamp(min=1e-8).sqrt()).flip(1))
        self.whitening_mean.copy_(mean)
        features = self.whitened(pooled)
        slope = torch.linalg.lstsq(features - features.mean(dim=0), (ages - ages.mean())[:, None]).solution[:, 0]
        direction = slope / slope.norm().clamp(min=1e-8)
        self.maps.copy_((torch.eye(style) + (_EMPHASIS - 1) * torch.outer(direction, direction)).expand_as(self.maps))
        return features


class StyleReader(nn.Module):
    """Image (batch, 3, any side) → what ``StyleMaps`` takes of it, (batch, 512), by the age ``estimator``."""

    def __init__(self, estimator: DlibAgeEstimator) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, image: Tensor) -> Tensor:
        stages = self.estimator.stages(at_side(image, self.estimator.size))
        return torch.cat([stage.float().mean(dim=(2, 3)) for stage in stages[-2:]], dim=1)


def linear_faces(pyramid: EigenPyramid, code: Tensor, sides: Sequence[int]) -> list[Tensor]:
    """Return the face that ``code`` (batch, numbers) of ``pyramid`` stands for at each of ``sides``: (batch, 3, side, side)."""
    faces = dict(zip(pyramid.sides, pyramid.decode(code), strict=True))
    smallest = faces[pyramid.sides[0]]
    pictures: list[Tensor] = []
    for side in sides:
        if side in faces:
            pictures.append(faces[side])
        elif side < pyramid.sides[0]:
            pictures.append(F.avg_pool2d(smallest, smallest.shape[2] // side))
        else:
            pictures.append(doubled(pictures[-1]))
    return pictures


def build_encoder(shape: AeStyleGanShape) -> StyleMaps | ResidualEncoder:
    """Return the encoder of ``shape``: maps behind an age estimator where faces have a structure, else a residual network."""
    if shape.structure:
        return StyleMaps(shape)
    return ResidualEncoder(shape.sides, shape.widths, shape.levels, shape.style)


def build_discriminator(shape: AeStyleGanShape) -> nn.Module:
    """Return the discriminator of ``shape``: of ages where there is no mapping network, else StyleGAN2's; logits (batch, bins or 1)."""
    if shape.mapping:
        return ResidualDiscriminator(shape.sides, shape.widths)
    return AgeDiscriminator(shape.discriminator)
