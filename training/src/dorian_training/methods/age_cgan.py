"""Age-cGAN's first two stages (Antipov et al. 2017, §3.1 and §3.2): adversarial, then initial latent approximation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_bundle.ages import PAPER_GROUPS
from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import SharedChange
from dorian_training.data.batches import Batch
from dorian_training.losses.adversarial import fake_loss, group_logit, r1_penalty, real_loss, wrong_group_loss
from dorian_training.losses.reconstruction import charbonnier, feature_distance, latent_norm_penalty
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_cgan import (
    AgeCganShape,
    GroupDiscriminator,
    build_discriminator,
    build_encoder,
    build_generator,
)
from dorian_training.networks.age_estimator import CompactAgeEstimator
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.layers import at_side

_SAMPLE_ROWS = 8
# The years of the paper's groups, as an age estimator has them, up to 90.
GROUP_YEARS = tuple(slice(group.low, (group.high or 90) + 1) for group in PAPER_GROUPS)


@dataclass(frozen=True)
class AdversarialSettings:
    """Numbers of the adversarial stage. Weights of 0 switch a term off."""

    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.99
    r1_weight: float = 0.05
    r1_every: int = 16
    wrong_group_weight: float = 1.0
    wrong_group_distance: int = 2
    shift: int = 4
    brightness: float = 0.1
    ema_decay: float = 0.999


@dataclass(frozen=True)
class LatentSettings:
    """Numbers of the initial latent approximation. The weights are of the terms on real images.

    ``pairs_alone``: steps at the start that see generated pairs alone, as in the paper, where they are 100,000 pairs in all.
    ``identity_weight`` counts only where there is a FaceNet.
    """

    learning_rate: float = 5e-4
    beta1: float = 0.5
    beta2: float = 0.99
    pixel_weight: float = 2.0
    feature_weight: float = 1.0
    norm_weight: float = 0.1
    identity_weight: float = 1.0
    pairs_alone: int = 0
    ema_decay: float = 0.999


PAPER_ADVERSARIAL = AdversarialSettings(
    beta1=0.5, beta2=0.999, r1_weight=0.0, wrong_group_weight=0.0, shift=0, brightness=0.0
)


class AdversarialStage(Stage[Batch]):
    """G and D against each other on images and their age groups (eq. 1). A D of age groups begins as ``age_estimator``."""

    name = "adversarial"

    def __init__(
        self,
        shape: AgeCganShape,
        settings: AdversarialSettings,
        device: torch.device,
        amp: bool,
        age_estimator: CompactAgeEstimator | None = None,
    ) -> None:
        super().__init__(device)
        self.shape, self.settings, self.amp = shape, settings, amp
        self.generator = self.add_network("generator", build_generator(shape))
        discriminator = build_discriminator(shape)
        if age_estimator is not None and isinstance(discriminator, GroupDiscriminator):
            discriminator.start_from_estimator(age_estimator.eval(), GROUP_YEARS)
        self.discriminator = self.add_network("discriminator", discriminator)
        self.average = self.add_average("generator", settings.ema_decay)
        for name in ("generator", "discriminator"):
            self.add_optimizer(name, settings.learning_rate, (settings.beta1, settings.beta2))
        fixed = torch.Generator().manual_seed(0)
        self._sample_latent = torch.randn(_SAMPLE_ROWS, shape.latent, generator=fixed).to(device)

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        load_network(self.generator, weights, "generator")
        load_network(self.discriminator, weights, "discriminator")
        self.load_average("generator", weights)
        self.carried = {name: weights[name] for name in ("encoder", "encoder_ema") if name in weights}

    def step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        condition = F.one_hot(batch.group, self.shape.groups).float()
        latent = torch.randn(len(batch.group), self.shape.latent, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            fake = self.generator(latent, condition)
        change = SharedChange.draw(self.settings.shift, self.settings.brightness)
        losses = self.teach_discriminator(batch, fake.detach(), batch.group, change, number)
        losses["g/adversarial"] = self.optimizer_step("generator", self.adversarial_loss(fake, batch.group, change))
        self.discriminator.requires_grad_(True)
        self.average.update_parameters(self.generator)
        return losses

    def teach_discriminator(
        self, batch: Batch, fake: Tensor, fake_group: Tensor, change: SharedChange, number: int
    ) -> dict[str, Tensor]:
        """Take one step of D on real faces and on ``fake`` (batch, 3, 64, 64) ones, which were generated as of ``fake_group``; return its losses."""
        settings, group = self.settings, batch.group
        condition = F.one_hot(group, self.shape.groups).float()
        fake_condition = F.one_hot(fake_group, self.shape.groups).float()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            real_logits = self.discriminator(change(batch.image), condition).float()
            fake_logits = self.discriminator(change(fake), fake_condition).float()
        real, faked = real_loss(group_logit(real_logits, group)), fake_loss(group_logit(fake_logits, fake_group))
        losses = {"d/real": real.detach(), "d/fake": faked.detach()}
        total = real + faked
        if settings.wrong_group_weight and real_logits.shape[1] > 1:
            wrong = wrong_group_loss(real_logits, group, settings.wrong_group_distance)
            losses["d/wrong_group"] = wrong.detach()
            total = total + settings.wrong_group_weight * wrong
        self.optimizer_step("discriminator", total)
        if settings.r1_weight and number % settings.r1_every == 0:
            penalty = r1_penalty(lambda image: group_logit(self.discriminator(image, condition), group), batch.image)
            self.optimizer_step("discriminator", penalty * (settings.r1_weight / 2 * settings.r1_every))
            losses["d/r1"] = penalty.detach()
        return losses

    def adversarial_loss(self, fake: Tensor, fake_group: Tensor, change: SharedChange) -> Tensor:
        """Return the generator's adversarial loss on ``fake`` faces of ``fake_group``. D learns nothing from it, until its gradients are on again."""
        condition = F.one_hot(fake_group, self.shape.groups).float()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            judged = self.discriminator.requires_grad_(False)(change(fake), condition).float()
        return real_loss(group_logit(judged, fake_group))

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return a latent per row, an age group per column."""
        groups = self.shape.groups
        condition = torch.eye(groups, device=self.device).repeat(_SAMPLE_ROWS, 1)
        images: Tensor = self.average(self._sample_latent.repeat_interleave(groups, dim=0), condition)
        return torch.unflatten(images, 0, (_SAMPLE_ROWS, groups))


class LatentStage(Stage[Batch]):
    """E learns to undo a frozen G: on generated pairs G(z, y) → z (eq. 2), and on what G makes of E(x) for real images x."""

    name = "latent"

    def __init__(
        self,
        shape: AgeCganShape,
        settings: LatentSettings,
        device: torch.device,
        amp: bool,
        watched: Batch,
        facenet: FaceNet | None = None,
    ) -> None:
        super().__init__(device)
        self.shape, self.settings, self.amp = shape, settings, amp
        self.generator = self.add_network("generator_ema", build_generator(shape)).eval().requires_grad_(False)
        self.discriminator = self.add_network("discriminator", build_discriminator(shape)).eval().requires_grad_(False)
        self.encoder = self.add_network("encoder", build_encoder(shape))
        self.average = self.add_average("encoder", settings.ema_decay)
        self.add_optimizer("encoder", settings.learning_rate, (settings.beta1, settings.beta2))
        self.facenet = facenet.to(device).eval().requires_grad_(False) if facenet is not None else None
        self._watched = watched

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        """Take G and D from the adversarial stage, and E too if ``weights`` hold one; the rest is carried along."""
        load_network(self.generator, weights, "generator_ema")
        load_network(self.discriminator, weights, "discriminator")
        if "encoder" in weights:
            load_network(self.encoder, weights, "encoder")
            self.load_average("encoder", weights)
        self.carried = {name: weights[name] for name in ("generator",) if name in weights}

    def step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        settings = self.settings
        condition = F.one_hot(batch.group, self.shape.groups).float()
        latent = torch.randn(len(batch.group), self.shape.latent, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            with torch.no_grad():
                generated = self.generator(latent, condition).to(batch.image.dtype)
            if number < settings.pairs_alone:
                pairs = F.mse_loss(self.encoder(generated).float(), latent)
                self.optimizer_step("encoder", pairs)
                self.average.update_parameters(self.encoder)
                return {"e/pairs": pairs.detach()}
            with torch.no_grad():
                targets = self.discriminator.features(batch.image, condition)  # type: ignore[operator]
            encoded = self.encoder(torch.cat([generated, batch.image])).float()
            of_generated, of_real = encoded.chunk(2)
            rebuilt = self.generator(of_real, condition)
            features = self.discriminator.features(rebuilt, condition)  # type: ignore[operator]
            identity = self._identity_distance(rebuilt, batch.image)
        pairs = F.mse_loss(of_generated, latent)
        pixel = charbonnier(rebuilt.float() - batch.image)
        feature = feature_distance(features, targets)
        norm = latent_norm_penalty(of_real)
        total = pairs + settings.pixel_weight * pixel + settings.feature_weight * feature + settings.norm_weight * norm
        terms = {"pairs": pairs, "pixel": pixel, "feature": feature, "norm": norm}
        if identity is not None:
            terms["identity"] = identity
            total = total + settings.identity_weight * identity
        self.optimizer_step("encoder", total)
        self.average.update_parameters(self.encoder)
        return {f"e/{name}": term.detach() for name, term in terms.items()}

    def _identity_distance(self, rebuilt: Tensor, image: Tensor) -> Tensor | None:
        """Mean cosine distance of the embeddings of ``rebuilt`` and ``image``, if there is a FaceNet and it has a weight."""
        if self.facenet is None or not self.settings.identity_weight:
            return None
        size = self.facenet.size
        with torch.no_grad():
            target = self.facenet(at_side(image, size))
        similarity: Tensor = (self.facenet(at_side(rebuilt, size)) * target).sum(dim=1)
        return 1 - similarity.mean()

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return a real face per row: itself, its reconstruction at its own group, then at every group."""
        return reconstruction_samples(self.average, self.generator, self._watched)


@torch.no_grad()
def reconstruction_samples(encoder: nn.Module, generator: nn.Module, watched: Batch) -> Tensor:
    """Return, for each of the first ``watched`` faces, a row: itself, G(E(x), y) of its own group y, then of every group."""
    image, group = watched.image[:_SAMPLE_ROWS], watched.group[:_SAMPLE_ROWS]
    groups = torch.eye(len(PAPER_GROUPS), device=image.device)
    latent = encoder(image)
    aged = [generator(latent, group.expand(len(latent), -1)) for group in groups]
    return torch.stack([image, generator(latent, groups[group]), *aged], dim=1)
