"""The age translator's training: a translator against a discriminator that knows ages, held to the person and the photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import learned_mask
from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import SharedChange, centred
from dorian_training.data.batches import LabelledBatch, as_images
from dorian_training.data.crops import Crops
from dorian_training.errors import ConfigError
from dorian_training.losses.adversarial import fake_loss, r1_penalty, real_loss
from dorian_training.losses.age_bins import age_logit, wrong_age_loss
from dorian_training.losses.reconstruction import charbonnier
from dorian_training.losses.translation import broad_imbalance, broad_tint, identity_loss
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_discriminator import AgeDiscriminator
from dorian_training.networks.age_estimator import COMPACT_SIZE as AGE_SIZE
from dorian_training.networks.age_estimator import CompactAgeEstimator, expected_age
from dorian_training.networks.age_translator import AgeTranslator, AgeTranslatorShape
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.layers import at_side

_OLDEST = 90.0
_SAMPLE_AGES = (10.0, 25.0, 40.0, 55.0, 70.0)
_SAMPLE_ROWS = 10
_ADULT, _ELDER = 18, 70  # whose faces are watched


@dataclass(frozen=True)
class AgeTranslatorSettings:
    """Numbers of the training. Weights of 0 switch a term off; shares are of the batch that a dear term looks at.

    ``resolution``: side in pixels that is learnt at, at most the network's own. ``wrong_age_distance``: years.
    ``target_spread``: by how much target ages, which are other faces' ages, are shaken, in years.
    """

    learning_rate: float = 2e-4
    discriminator_rate: float = 3e-4
    beta1: float = 0.0
    beta2: float = 0.99
    resolution: int = 96
    r1_weight: float = 0.05
    r1_every: int = 16
    wrong_age_weight: float = 1.0
    wrong_age_distance: float = 12.0
    size_weight: float = 0.2
    identity_weight: float = 1.0
    identity_floor: float = 0.05
    identity_allowed: float = 0.35
    identity_share: float = 0.5
    cycle_weight: float = 0.25
    cycle_share: float = 0.25
    tint_weight: float = 30.0
    imbalance_weight: float = 5.0
    target_spread: float = 3.0
    shift: int = 4
    brightness: float = 0.1
    ema_decay: float = 0.998


@dataclass(frozen=True)
class GuideNetworks:
    """Frozen networks of other trainings. ``facenet``, of any layout, holds the person.

    ``age_estimator`` lends the discriminator its first weights, and then watches the ages; it is in no loss.
    """

    facenet: FaceNet
    age_estimator: CompactAgeEstimator | None = None


class AgeTranslatorStage(Stage[LabelledBatch]):
    """Faces moved to other faces' ages; labels are brackets, (batch, 2) first and last whole year."""

    name = "age_translator"

    def __init__(
        self,
        shape: AgeTranslatorShape,
        settings: AgeTranslatorSettings,
        guides: GuideNetworks,
        device: torch.device,
        amp: bool,
        watched: Crops | None = None,
    ) -> None:
        super().__init__(device)
        if settings.resolution > shape.translator.size:
            raise ConfigError(f"resolution {settings.resolution} is more than the network's {shape.translator.size} px")
        self.shape, self.settings, self.amp, self.watched = shape, settings, amp, watched
        self.translator = self.add_network("translator", AgeTranslator(shape.translator))
        self.discriminator = AgeDiscriminator(shape.discriminator)
        self.add_network("discriminator", self.discriminator)
        self.average = self.add_average("translator", settings.ema_decay)
        for name, rate in (
            ("translator", settings.learning_rate),
            ("discriminator", settings.discriminator_rate),
        ):
            self.add_optimizer(name, rate, (settings.beta1, settings.beta2))
        self.guides = guides
        for witness in (guides.facenet, guides.age_estimator):
            if witness is not None:
                witness.to(device).eval().requires_grad_(False)
        if guides.age_estimator is not None:
            self.discriminator.start_from_estimator(guides.age_estimator)
        self._masks: dict[int, Tensor] = {}

    def step(self, batch: LabelledBatch, number: int) -> dict[str, Tensor]:
        settings, years = self.settings, self.shape.discriminator.years
        image = at_side(batch.image, settings.resolution)
        low, high = batch.label[:, 0].float(), batch.label[:, 1].float()
        source = low + (high + 1 - low) * torch.rand_like(low)
        target = self._targets(source)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            delta = self.translator(image, source, target) * self._mask(image)
            fake = (image + delta).clamp(-1, 1)
            change = SharedChange.draw(settings.shift, settings.brightness)
            judged = self.discriminator(torch.cat([change(image), change(fake.detach())])).float()
        real_logits, fake_logits = judged.chunk(2)
        real, faked = real_loss(age_logit(real_logits, source, years)), fake_loss(age_logit(fake_logits, target, years))
        wrong = wrong_age_loss(real_logits, low, high, years, settings.wrong_age_distance)
        self.optimizer_step("discriminator", real + faked + settings.wrong_age_weight * wrong)
        losses = {"d/real": real.detach(), "d/fake": faked.detach(), "d/wrong_age": wrong.detach()}
        if settings.r1_weight and number % settings.r1_every == 0:
            penalty = r1_penalty(lambda real: age_logit(self.discriminator(real), source, years), image)
            self.optimizer_step("discriminator", penalty * (settings.r1_weight / 2 * settings.r1_every))
            losses["d/r1"] = penalty.detach()
        self.discriminator.requires_grad_(False)
        terms = self._terms(image, fake, delta, source, target, change)
        self.discriminator.requires_grad_(True)
        weights = {
            "adversarial": 1.0,
            "size": settings.size_weight,
            "identity": settings.identity_weight,
            "cycle": settings.cycle_weight,
            "tint": settings.tint_weight,
            "imbalance": settings.imbalance_weight,
        }
        self.optimizer_step("translator", torch.stack([weights[name] * term for name, term in terms.items()]).sum())
        self.average.update_parameters(self.translator)
        return losses | {f"g/{name}": term.detach() for name, term in terms.items()}

    def _terms(
        self, image: Tensor, fake: Tensor, delta: Tensor, source: Tensor, target: Tensor, change: SharedChange
    ) -> dict[str, Tensor]:
        """The translator's losses, by name, before they are weighed."""
        settings = self.settings
        terms = {"size": charbonnier(delta), "tint": broad_tint(delta), "imbalance": broad_imbalance(delta)}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.discriminator(change(fake)).float()
            terms["adversarial"] = real_loss(age_logit(logits, target, self.shape.discriminator.years))
            if settings.identity_weight:
                identity_count = max(1, round(len(image) * settings.identity_share))
                with torch.no_grad():
                    before = self._embedding(image[:identity_count])
                similarity = (before * self._embedding(fake[:identity_count])).sum(dim=1)
                terms["identity"] = identity_loss(
                    similarity, (target - source)[:identity_count], settings.identity_floor, settings.identity_allowed
                )
            if settings.cycle_weight:
                cycle_count = max(1, round(len(image) * settings.cycle_share))
                back = self.translator(fake[-cycle_count:], target[-cycle_count:], source[-cycle_count:]) * self._mask(
                    image
                )
                terms["cycle"] = charbonnier(fake[-cycle_count:] + back - image[-cycle_count:])
        return terms

    def _targets(self, source: Tensor) -> Tensor:
        """Other faces' ages, shaken: targets are spread as ages are, so that no span of ages sees fakes alone."""
        others = source[torch.randperm(len(source), device=source.device)]
        return (others + self.settings.target_spread * torch.randn_like(others)).clamp(0.5, _OLDEST)

    def _embedding(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.guides.facenet(at_side(image, self.guides.facenet.size))
        return embedding

    def _mask(self, image: Tensor) -> Tensor:
        side = image.shape[2]
        if side not in self._masks:
            self._masks[side] = torch.tensor(learned_mask(DEFAULT_TEMPLATE, side)).to(self.device)
        return self._masks[side]

    @torch.no_grad()
    def _aged(self, image: Tensor, source: Tensor, age: float) -> Tensor:
        """``image`` at ``age`` by the averaged translator."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            delta = self.average(image, source, torch.full_like(source, age))
        result: Tensor = (image + delta * self._mask(image)).clamp(-1, 1)
        return result

    def samples(self) -> Tensor | None:
        """Return a validation face per row: itself, then at 10, 25, 40, 55 and 70."""
        image, source = self._adults(_SAMPLE_ROWS)
        if not len(image):
            return None
        return torch.stack([image, *(self._aged(image, source, age) for age in _SAMPLE_AGES)], dim=1)

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Measure validation adults at five ages: mean estimated age, and mean similarity by the FaceNet of the loss."""
        image, source = self._adults(200)
        if not len(image) or self.guides.age_estimator is None:
            return {}
        metrics = {}
        for age in _SAMPLE_AGES:
            aged = self._aged(image, source, age)
            read = expected_age(self.guides.age_estimator(at_side(aged, AGE_SIZE)).float())
            similarity = (self._embedding(image) * self._embedding(aged)).sum(dim=1)
            metrics[f"age_{age:.0f}/read"] = float(read.mean())
            metrics[f"age_{age:.0f}/error"] = float((read - age).abs().mean())
            metrics[f"age_{age:.0f}/similarity"] = float(similarity.mean())
        return metrics

    def _adults(self, count: int) -> tuple[Tensor, Tensor]:
        """``count`` of the watched adults, or all, at the resolution of training, and their ages."""
        if self.watched is None:
            return torch.empty(0, 3, 1, 1), torch.empty(0)
        ages = np.asarray([record.age for record in self.watched.records], dtype=np.float32)
        adults = np.flatnonzero((ages >= _ADULT) & (ages <= _ELDER))
        selected = np.random.default_rng(0).permutation(adults)[:count]
        image = as_images(torch.from_numpy(self.watched.pixels[selected])).to(self.device)
        image = at_side(centred(image, self.shape.translator.size), self.settings.resolution)
        return image.contiguous(memory_format=torch.channels_last), torch.from_numpy(ages[selected]).to(self.device)

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        for name, network in self.networks.items():
            load_network(network, weights, name)
        self.load_average("translator", weights)
