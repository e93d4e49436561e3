"""AE-StyleGAN's training (Han et al. 2022): encoder, style-based generator and discriminator learn at once.

Where styles come from faces alone (the lean preset), generated faces are real ones with others' styles mixed in, as they are
served: the face plus, under the face's mask, what the mixed styles draw more than its own do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import learned_mask
from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import SharedChange
from dorian_training.data.batches import LabelledBatch
from dorian_training.frechet import fit_gaussian, frechet_distance
from dorian_training.losses.adversarial import fake_loss, r1_penalty, real_loss
from dorian_training.losses.age_bins import age_logit, wrong_age_loss
from dorian_training.losses.reconstruction import charbonnier, feature_distance
from dorian_training.losses.translation import broad_imbalance, broad_tint, identity_loss, tint
from dorian_training.methods.ae_stylegan_settings import AeStyleGanSettings
from dorian_training.methods.stage import Stage
from dorian_training.methods.style_mixing import StyleMix, draw_mix, mean_at
from dorian_training.networks.ae_stylegan import (
    AeStyleGanShape,
    MappingNetwork,
    StyleGenerator,
    StyleMaps,
    build_discriminator,
    build_encoder,
    linear_faces,
)
from dorian_training.networks.age_discriminator import AgeDiscriminator
from dorian_training.networks.age_estimator import CompactAgeEstimator, DlibAgeEstimator, read_ages
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.eigen_pyramid import EigenPyramid, fit_pyramid
from dorian_training.networks.layers import at_side

_SAMPLE_AGES = (10.0, 25.0, 40.0, 55.0, 70.0)
_SAMPLE_ROWS = 10


@dataclass(frozen=True)
class ReadStyles:
    """What a training needs whose styles come from an age estimator.

    Attributes:
        estimator: The age estimator; it is in no loss, and watches the ages.
        age_means: The mean whitened features at each year, (years, style).
        compact_estimator: Lends a new discriminator its first weights; ``None``: it knows nothing of ages at the start.
    """

    estimator: DlibAgeEstimator
    age_means: Tensor
    compact_estimator: CompactAgeEstimator | None = None


class AeStyleGanStage(Stage[LabelledBatch]):
    """Labels are brackets (batch, 2), first and last whole year, and behind them whitened features where styles come from an age estimator."""

    name = "ae_stylegan"

    def __init__(
        self,
        shape: AeStyleGanShape,
        settings: AeStyleGanSettings,
        facenet: DlibResNet,
        device: torch.device,
        amp: bool,
        read: ReadStyles | None = None,
        watched: LabelledBatch | None = None,
        new_discriminator: bool = False,
    ) -> None:
        super().__init__(device)
        self.shape, self.settings, self.amp, self.watched = shape, settings, amp, watched
        self.new_discriminator = new_discriminator
        self.facenet = facenet.to(device).eval().requires_grad_(False)
        self.encoder = self.add_network("encoder", build_encoder(shape))
        self.generator = self.add_network("generator", StyleGenerator(shape))
        discriminator = build_discriminator(shape)
        if isinstance(discriminator, AgeDiscriminator) and read is not None and read.compact_estimator is not None:
            discriminator.start_from_estimator(read.compact_estimator.eval())
        self.discriminator = self.add_network("discriminator", discriminator)
        rates = {"encoder": settings.learning_rate, "generator": settings.learning_rate}
        self.mapping = self.add_network("mapping", MappingNetwork(shape)) if shape.mapping else None
        if self.mapping is not None:
            rates["mapping"] = settings.learning_rate
        for name, rate in (rates | {"discriminator": settings.discriminator_rate}).items():
            self.add_optimizer(name, rate, (settings.beta1, settings.beta2))
        for name in rates:
            self.add_average(name, settings.ema_decay)
        self.pyramid = EigenPyramid(shape.structure_sides, shape.structure_counts)
        if shape.structure:
            self.add_network("pyramid", self.pyramid)
        self.read = read
        self.age_means = None if read is None else read.age_means.to(device)
        self._mask = torch.tensor(learned_mask(DEFAULT_TEMPLATE, shape.size)).to(device)

    def start(self, maps: StyleMaps, images: Tensor) -> None:
        """Begin with the whitening of ``maps``, and with a pyramid fitted to ``images`` (faces, 3, size, size) in [-1, 1]."""
        self.encoder.load_state_dict(maps.state_dict())
        self.averages["encoder"].module.load_state_dict(maps.state_dict())
        fit_pyramid(self.pyramid, images)

    def step(self, batch: LabelledBatch, number: int) -> dict[str, Tensor]:
        settings = self.settings
        losses: dict[str, Tensor] = {}
        for _ in range(settings.encoder_steps if number >= settings.discriminator_alone else 0):
            terms = self._reconstruction_terms(batch.image, self._reconstruct(batch))
            losses |= {f"e/{name}": term.detach() for name, term in terms.items()}
            self.optimizer_step("encoder", self._weighed(terms, settings.encoder_adversarial))
        low, high = batch.label[:, 0].float(), batch.label[:, 1].float()
        source = low + (high + 1 - low) * torch.rand_like(low)
        mix = self._draw_mix(batch, source)
        change = SharedChange.draw(settings.shift, settings.brightness, settings.saturation)
        if number < settings.discriminator_alone:
            return losses | self._teach_discriminator(
                batch, source, (batch.image[:0], batch.image), mix, change, number
            )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            reconstructed, generated, change_drawn = self._generate(batch, mix)
        losses |= self._teach_discriminator(batch, source, (reconstructed, generated), mix, change, number)
        self.discriminator.requires_grad_(False)
        terms = self._generator_terms(batch.image, source, (reconstructed, generated), mix, change)
        if change_drawn is not None:
            terms["excess"] = self.shape.excess(change_drawn.float()).square().mean()
        total = self._weighed(terms, settings.encoder_adversarial)
        self.discriminator.requires_grad_(True)
        learning = [
            "generator",
            *(["mapping"] if self.mapping else []),
            *([] if settings.encoder_steps else ["encoder"]),
        ]
        self.optimizer_step(learning, total, settings.max_norm or None)
        for name, average in self.averages.items():
            average.update_parameters(self.networks[name])
        return losses | {f"g/{name}": term.detach() for name, term in terms.items()}

    def _draw_mix(self, batch: LabelledBatch, source: Tensor) -> StyleMix | None:
        if self.age_means is None:
            return None
        features = batch.label[:, 2:]
        return draw_mix(features, source, self.age_means, self.shape.levels, self.settings.target_spread)

    def _linear(self, image: Tensor) -> list[Tensor]:
        """The linear face of each image at every resolution; none where faces have no structure."""
        if not self.shape.structure:
            return []
        with torch.no_grad():
            return linear_faces(self.pyramid, self.pyramid.encode(image), self.shape.sides)

    def _styles(self, batch: LabelledBatch, encoder: nn.Module) -> Tensor:
        """The styles of each face; of the features in its label where it has them."""
        styles: Tensor = (
            encoder.styles_of(batch.label[:, 2:]) if isinstance(encoder, StyleMaps) else encoder(batch.image)
        )
        return styles

    def _reconstruct(self, batch: LabelledBatch) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            picture: Tensor = self.generator(self._styles(batch, self.encoder), self._linear(batch.image))
        return picture

    def _generate(self, batch: LabelledBatch, mix: StyleMix | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return reconstructed faces, and generated ones: drawn, or real ones that are mixed; each (batch, 3, size, size).

        The third is what mixed styles draw under the mask, before it is bounded; ``None`` where faces are drawn.
        """
        styles, linear = self._styles(batch, self.encoder), self._linear(batch.image)
        if mix is None:
            return self.generator(styles, linear), self.generator(self._drawn_styles(len(batch.image))), None
        mixed = _mixed(self.encoder, styles, mix.features, mix.levels)
        both = self.generator(torch.cat([styles, mixed]), [face.repeat(2, 1, 1, 1) for face in linear])
        own, other = both.chunk(2)
        change = other - own
        generated = (batch.image + self.shape.bounded(change) * self._mask).clamp(-1, 1)
        return own, generated, change * self._mask

    def _drawn_styles(self, count: int) -> Tensor:
        """Styles (count, levels, style) of noise, most of them of two, one below and one above a level."""
        assert self.mapping is not None
        levels = self.shape.levels
        first, second = (
            self.mapping(torch.randn(count, self.shape.style, device=self.device))[:, None] for _ in range(2)
        )
        mixed = torch.rand(count, device=self.device) < self.settings.style_mixing
        until = torch.where(mixed, torch.randint(1, levels, (count,), device=self.device), levels)  # (count,)
        below = torch.arange(levels, device=self.device)[None] < until[:, None]  # (count, levels)
        return torch.where(below[:, :, None], first, second)

    def _logit(self, logits: Tensor, age: Tensor) -> Tensor:
        logits = logits.float()
        return logits[:, 0] if logits.shape[1] == 1 else age_logit(logits, age, self.shape.discriminator.years)

    def _teach_discriminator(
        self,
        batch: LabelledBatch,
        source: Tensor,
        pictures: tuple[Tensor, Tensor],
        mix: StyleMix | None,
        change: SharedChange,
        number: int,
    ) -> dict[str, Tensor]:
        """Take one step of the discriminator on real, reconstructed and generated faces; return its losses."""
        settings, image = self.settings, batch.image
        reconstructed, generated = (picture.detach().float() for picture in pictures)
        judged = min(self._judged(len(image)), len(reconstructed))
        shown = torch.cat([image, generated, reconstructed[:judged]])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.discriminator(change(shown)).float()
        of_real, of_generated, of_reconstructed = logits.split([len(image), len(image), judged])
        losses = {
            "d/real": real_loss(self._logit(of_real, source)),
            "d/fake": fake_loss(self._logit(of_generated, source if mix is None else mix.age)),
        }
        total = losses["d/real"] + losses["d/fake"]
        if judged:
            losses["d/reconstructed"] = fake_loss(self._logit(of_reconstructed, source[:judged]))
            total = total + settings.rec_d_weight * losses["d/reconstructed"]
        if mix is not None:
            low, high = batch.label[:, 0].float(), batch.label[:, 1].float()
            years = self.shape.discriminator.years
            losses["d/wrong_age"] = wrong_age_loss(of_real, low, high, years, settings.wrong_age_distance)
            total = total + settings.wrong_age_weight * losses["d/wrong_age"]
        self.optimizer_step("discriminator", total)
        if settings.r1_weight and number % settings.r1_every == 0:
            penalty = r1_penalty(lambda real: self._logit(self.discriminator(real), source), image)
            warm = min(1.0, (number + 1) / (settings.r1_warm_up + 1))
            self.optimizer_step("discriminator", penalty * (warm * settings.r1_weight / 2 * settings.r1_every))
            losses["d/r1"] = penalty
        return {name: loss.detach() for name, loss in losses.items()}

    def _judged(self, count: int) -> int:
        """How many reconstructions of a batch the discriminator sees: all, or a quarter where they are not its main task."""
        return count if self.age_means is None else max(1, count // 4)

    def _reconstruction_terms(self, image: Tensor, reconstructed: Tensor) -> dict[str, Tensor]:
        """Pixel, perceptual and adversarial term of reconstructions (batch, 3, size, size)."""
        guided = self.settings.guided
        terms = {"pixel": (reconstructed.float() - image).square().mean()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            features, _ = self._guidance(reconstructed[:guided].float())
            with torch.no_grad():
                targets, _ = self._guidance(image[:guided])
            self.discriminator.requires_grad_(False)
            judged = self.discriminator(reconstructed.float())
            self.discriminator.requires_grad_(True)
        terms["perceptual"] = feature_distance(features, targets)
        terms["encoder_adversarial"] = real_loss(judged.float().mean(dim=1))
        return terms

    def _generator_terms(
        self,
        image: Tensor,
        source: Tensor,
        pictures: tuple[Tensor, Tensor],
        mix: StyleMix | None,
        change: SharedChange,
    ) -> dict[str, Tensor]:
        """The generator's losses, by name, before they are weighed."""
        settings, guided, judged = self.settings, self.settings.guided, self._judged(len(image))
        reconstructed, generated = (picture.float() for picture in pictures)
        terms = {"pixel": (reconstructed - image).square().mean()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            shown = torch.cat([generated, reconstructed[:judged]])
            of_generated, of_reconstructed = self.discriminator(change(shown)).split([len(image), judged])
            seen = [reconstructed[:guided], *([] if mix is None else [generated[:guided]])]
            features, embedding = self._guidance(torch.cat(seen))
            with torch.no_grad():
                targets, before = self._guidance(image[:guided])
        terms["perceptual"] = feature_distance([feature[: len(before)] for feature in features], targets)
        terms["adversarial"] = real_loss(self._logit(of_generated, source if mix is None else mix.age))
        terms["encoder_adversarial"] = real_loss(self._logit(of_reconstructed, source[:judged]))
        if mix is None:
            return terms
        delta, years = generated - image, mix.age - source
        alike = torch.exp(-years.abs() / settings.wrong_age_distance)[:, None, None, None]
        terms |= {"size": charbonnier(delta), "alike": charbonnier(delta * alike), "imbalance": broad_imbalance(delta)}
        terms |= {"tint": tint(delta), "broad_tint": broad_tint(delta)}
        similarity = (before * embedding[len(before) :]).sum(dim=1)
        terms["identity"] = identity_loss(
            similarity, years[:guided], settings.identity_floor, settings.identity_allowed
        )
        return terms

    def _guidance(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        return self.facenet.features_and_embedding(at_side(image, self.facenet.size))

    def _weighed(self, terms: dict[str, Tensor], encoder_adversarial: float) -> Tensor:
        settings = self.settings
        weights = {
            "pixel": settings.pixel_weight,
            "perceptual": settings.perceptual_weight,
            "adversarial": settings.generator_adversarial,
            "encoder_adversarial": encoder_adversarial,
            "size": settings.size_weight,
            "alike": settings.alike_weight,
            "imbalance": settings.imbalance_weight,
            "excess": settings.excess_weight,
            "tint": settings.tint_weight,
            "broad_tint": settings.broad_tint_weight,
            "identity": settings.identity_weight,
        }
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    @torch.no_grad()
    def reconstructions(self, batch: LabelledBatch) -> Tensor:
        """Return the faces of ``batch`` by the averaged encoder and generator, (batch, 3, size, size) in [-1, 1]."""
        encoder, generator = (self.averages[name].module for name in ("encoder", "generator"))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            picture: Tensor = generator(self._styles(batch, encoder), self._linear(batch.image))
        return picture.float().clamp(-1, 1)

    @torch.no_grad()
    def _aged(self, batch: LabelledBatch, age: float) -> Tensor:
        """``batch`` shifted to ``age`` by the difference of means, at all levels from the fifth on."""
        assert self.age_means is not None
        encoder, generator = (self.averages[name].module for name in ("encoder", "generator"))
        source = batch.label[:, :2].mean(dim=1)
        shift = mean_at(self.age_means, torch.full_like(source, age)) - mean_at(self.age_means, source)
        lent = (torch.arange(self.shape.levels, device=self.device) >= 4).expand(len(source), -1)
        styles, linear = self._styles(batch, encoder), self._linear(batch.image)
        mixed = _mixed(encoder, styles, batch.label[:, 2:] + shift, lent)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            delta = generator(mixed, linear) - generator(styles, linear)
        result: Tensor = (batch.image + self.shape.bounded(delta.float()) * self._mask).clamp(-1, 1)
        return result

    @torch.no_grad()
    def reconstruction_quality(self) -> tuple[float, float]:
        """Return the mean squared error of reconstructed validation faces, and their Fréchet distance from the faces.

        The distance is of FaceNet's descriptors.
        """
        assert self.watched is not None
        image, drawn = self.watched.image, self.reconstructions(self.watched)
        gaussians = [
            fit_gaussian(self.facenet.descriptor(at_side(faces, self.facenet.size)).double().cpu().numpy())
            for faces in (image, drawn)
        ]
        return float((drawn - image).square().mean()), frechet_distance(*gaussians)

    def samples(self) -> Tensor | None:
        """Return a validation face per row: itself, reconstructed, and, where styles come from faces, at five ages."""
        if self.watched is None:
            return None
        batch = LabelledBatch(self.watched.image[:_SAMPLE_ROWS], self.watched.label[:_SAMPLE_ROWS])
        columns = [batch.image, self.reconstructions(batch)]
        if self.age_means is not None:
            columns += [self._aged(batch, age) for age in _SAMPLE_AGES]
        return torch.stack(columns, dim=1)

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Measure validation faces: the error of reconstructions, and the change at five ages in grey levels, similarity and read years."""
        if self.watched is None:
            return {}
        image = self.watched.image
        error = (self.reconstructions(self.watched) - image).abs().mean()
        metrics = {"reconstruction/error": float(error) * 127.5}
        if self.read is None:
            return metrics
        estimator, (_, before) = self.read.estimator, self._guidance(image)
        for age in _SAMPLE_AGES:
            aged = self._aged(self.watched, age)
            delta = (aged - image) * 127.5
            luma = delta.mean(dim=1, keepdim=True)
            read = read_ages(estimator, aged)
            metrics[f"age_{age:.0f}/read"] = float(read.mean())
            metrics[f"age_{age:.0f}/similarity"] = float((before * self._guidance(aged)[1]).sum(dim=1).mean())
            metrics[f"age_{age:.0f}/luma"] = float(luma.abs().mean() / self._mask.mean())
            metrics[f"age_{age:.0f}/chroma"] = float((delta - luma).abs().mean() / self._mask.mean())
        return metrics

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Return the weights of all networks, and the mean features at each year where styles are read."""
        means = {} if self.read is None else {"age_means": {"features": self.read.age_means}}
        return super().weights() | means

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        for name, network in self.networks.items():
            if name != "discriminator" or not self.new_discriminator:
                load_network(network, weights, name)
        for name in self.averages:
            self.load_average(name, weights)


def _mixed(encoder: nn.Module, styles: Tensor, features: Tensor, levels: Tensor) -> Tensor:
    """``styles`` (batch, levels, style) with those of ``features`` (batch, style) at the ``levels`` (batch, levels) that are true."""
    return torch.where(levels[:, :, None], cast(StyleMaps, encoder).styles_of(features), styles)
