"""Age-cGAN's encoder, generator and discriminator learning together, so that the generator draws the very person.

Trained before its encoder (Antipov et al. 2017, §3.2), a generator never hears whether a face can be rebuilt at all. Here it
is also the decoder of an autoencoder, as in VAE-GAN (Larsen et al. 2016), and its condition is asked of real faces too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import SharedChange
from dorian_training.data.batches import Batch
from dorian_training.losses.adversarial import fake_loss, own_logit, r1_penalty, real_loss, wrong_group_loss
from dorian_training.losses.reconstruction import charbonnier, feature_distance, latent_divergence
from dorian_training.methods.age_cgan import group_discriminator, reconstruction_samples
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_cgan import AgeCganShape, build_encoder, build_generator
from dorian_training.networks.age_discriminator import at_side
from dorian_training.networks.age_estimator import AgeEstimator
from dorian_training.networks.facenet import FaceNet


@dataclass(frozen=True)
class JointSettings:
    """Numbers of the joint stage. Weights of 0 switch a term off.

    ``alone``: steps at the start in which faces are only rebuilt. ``aged_identity_weight``: of the person in faces of another
    group than their own. ``divergence_weight``: of what keeps real faces' latents where generated ones are drawn.
    """

    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.99
    alone: int = 0
    pixel_weight: float = 10.0
    feature_weight: float = 1.0
    identity_weight: float = 1.0
    aged_identity_weight: float = 0.5
    divergence_weight: float = 0.1
    adversarial_weight: float = 0.2
    r1_weight: float = 0.05
    r1_every: int = 16
    wrong_group_weight: float = 1.0
    wrong_group_distance: int = 2
    shift: int = 4
    brightness: float = 0.1
    ema_decay: float = 0.999


class JointStage(Stage[Batch]):
    """E and G rebuild real faces and draw them at other ages; G draws new ones from the prior; D judges the drawn ones.

    A D of age groups begins as ``age_estimator``.
    """

    name = "joint"

    def __init__(
        self,
        shape: AgeCganShape,
        settings: JointSettings,
        device: torch.device,
        amp: bool,
        watched: Batch,
        facenet: FaceNet,
        age_estimator: AgeEstimator | None = None,
    ) -> None:
        super().__init__(device)
        self.shape, self.settings, self.amp = shape, settings, amp
        self.encoder = self.add_network("encoder", build_encoder(shape))
        self.generator = self.add_network("generator", build_generator(shape))
        self.discriminator = self.add_network("discriminator", group_discriminator(shape, age_estimator))
        for name in ("encoder", "generator"):
            self.add_average(name, settings.ema_decay)
        for name in self.networks:
            self.add_optimizer(name, settings.learning_rate, (settings.beta1, settings.beta2))
        self.facenet = facenet.to(device).eval().requires_grad_(False)
        self._watched = watched

    def start_from(self, weights: dict[str, dict[str, Tensor]]) -> None:
        load_network(self.generator, weights, "generator")
        load_network(self.discriminator, weights, "discriminator")
        self.load_average("generator", weights)
        if "encoder" in weights:
            load_network(self.encoder, weights, "encoder")
            self.load_average("encoder", weights)

    def step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        settings, image, group = self.settings, batch.image, batch.group
        alone, half = number < settings.alone, len(group) // 2
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            found = self.encoder(image)
            latents, groups = found, group
            if not alone:
                prior = torch.randn(len(group) - half, self.shape.latent, device=self.device)
                asked = torch.randint(self.shape.groups, (len(group),), device=self.device)
                latents, groups = torch.cat([found, found[:half], prior]), torch.cat([group, asked])
            drawn = self.generator(latents, F.one_hot(groups, self.shape.groups).float())
        losses: dict[str, Tensor] = {}
        adversarial: Tensor | float = 0.0
        if not alone:
            change = SharedChange.draw(settings.shift, settings.brightness)
            losses |= self._teach_discriminator(batch, drawn[len(group) :].detach(), asked, change, number)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                judged = self.discriminator.requires_grad_(False)(change(drawn[len(group) :])).float()
            adversarial = real_loss(own_logit(judged, asked))
            losses["g/adversarial"] = adversarial.detach()
        terms = self._rebuilding(image, drawn, found.float(), half)
        total = sum((weight * term for weight, term in terms.values()), settings.adversarial_weight * adversarial)
        assert isinstance(total, Tensor)
        self.descend(("encoder", "generator"), total)
        self.discriminator.requires_grad_(True)
        for name, average in self.averages.items():
            average.update_parameters(self.networks[name])
        return losses | {f"g/{name}": term.detach() for name, (_, term) in terms.items()}

    def _teach_discriminator(
        self, batch: Batch, drawn: Tensor, asked: Tensor, change: SharedChange, number: int
    ) -> dict[str, Tensor]:
        settings, group = self.settings, batch.group
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.discriminator(change(torch.cat([batch.image, drawn.to(batch.image.dtype)]))).float()
        of_real, of_drawn = logits.split([len(group), len(drawn)])
        real, fake = real_loss(own_logit(of_real, group)), fake_loss(own_logit(of_drawn, asked))
        wrong = wrong_group_loss(of_real, group, settings.wrong_group_distance)
        self.descend("discriminator", real + fake + settings.wrong_group_weight * wrong)
        losses = {"d/real": real.detach(), "d/fake": fake.detach(), "d/wrong_group": wrong.detach()}
        if settings.r1_weight and number % settings.r1_every == 0:
            penalty = r1_penalty(lambda seen: own_logit(self.discriminator(seen), group), batch.image)
            self.descend("discriminator", penalty * (settings.r1_weight / 2 * settings.r1_every))
            losses["d/r1"] = penalty.detach()
        return losses

    def _rebuilding(self, image: Tensor, drawn: Tensor, found: Tensor, half: int) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each term on the faces that ``image`` became, its first ``half`` at another age too."""
        settings, count = self.settings, len(image)
        rebuilt = drawn[:count]
        shown = drawn[: count + half] if len(drawn) > count else rebuilt
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            with torch.no_grad():
                wanted, person = self.facenet.features_and_embedding(at_side(image, self.facenet.size))
            features, embedding = self.facenet.features_and_embedding(at_side(shown, self.facenet.size))
        similarity = (embedding * torch.cat([person, person[: len(shown) - count]])).sum(dim=1)
        terms = {
            "pixel": (settings.pixel_weight, charbonnier(rebuilt.float() - image)),
            "feature": (settings.feature_weight, feature_distance([layer[:count] for layer in features], wanted)),
            "identity": (settings.identity_weight, 1 - similarity[:count].mean()),
            "divergence": (settings.divergence_weight, latent_divergence(found)),
        }
        if len(shown) > count:
            terms["aged_identity"] = (settings.aged_identity_weight, 1 - similarity[count:].mean())
        return terms

    @torch.no_grad()
    def samples(self) -> Tensor:
        """As the latent stage's."""
        return reconstruction_samples(self.averages["encoder"], self.averages["generator"], self._watched)
