"""Age-cGAN's encoder, generator and discriminator learning together, so that the generator draws the very person.

Trained before its encoder (Antipov et al. 2017, §3.2), a generator never hears whether a face can be rebuilt at all. Here it
is also the decoder of an autoencoder, as in VAE-GAN (Larsen et al. 2016), and its condition is asked of real faces too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import learned_mask
from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import SharedChange
from dorian_training.data.batches import Batch
from dorian_training.losses.reconstruction import charbonnier, feature_distance, latent_divergence
from dorian_training.methods.age_cgan import GROUP_YEARS, AdversarialSettings, AdversarialStage, reconstruction_samples
from dorian_training.networks.age_cgan import SIZE, AgeCganShape, build_encoder
from dorian_training.networks.age_estimator import COMPACT_SIZE as AGE_SIZE
from dorian_training.networks.age_estimator import CompactAgeEstimator
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.layers import at_side


@dataclass(frozen=True)
class JointSettings(AdversarialSettings):
    """Numbers of the joint stage. Weights of 0 switch a term off.

    ``alone``: steps at the start in which faces are only rebuilt. ``aged_identity_weight``: of the person in faces of another
    group than their own. ``age_weight``: of the group that an age estimator, which does not learn, sees in aged and in new
    faces. ``divergence_weight``: of what keeps real faces' latents where generated ones are drawn.
    """

    alone: int = 0
    pixel_weight: float = 10.0
    feature_weight: float = 1.0
    identity_weight: float = 1.0
    aged_identity_weight: float = 0.5
    age_weight: float = 0.5
    divergence_weight: float = 0.1
    adversarial_weight: float = 0.2


class JointStage(AdversarialStage):
    """E and G rebuild real faces; G changes their age, and draws new faces from the prior; D judges the aged and the new ones.

    A real face is aged as it is served: what G changes between its own group and another is added to it under the face's mask.
    D begins as ``age_estimator``. ``watched`` faces are those of ``samples``.
    """

    name = "joint"
    settings: JointSettings

    def __init__(
        self,
        shape: AgeCganShape,
        settings: JointSettings,
        device: torch.device,
        amp: bool,
        watched: Batch,
        facenet: FaceNet,
        age_estimator: CompactAgeEstimator,
    ) -> None:
        super().__init__(shape, settings, device, amp, age_estimator)
        self.encoder = self.add_network("encoder", build_encoder(shape))
        self.add_average("encoder", settings.ema_decay)
        self.add_optimizer("encoder", settings.learning_rate, (settings.beta1, settings.beta2))
        self.facenet = facenet.to(device).eval().requires_grad_(False)
        self.age_estimator = age_estimator.to(device).eval().requires_grad_(False)
        self._mask = torch.tensor(learned_mask(DEFAULT_TEMPLATE, SIZE)).to(device)
        self._watched = watched

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        super().load_pretrained(weights)
        self.carried = {}
        if "encoder" in weights:
            load_network(self.encoder, weights, "encoder")
            self.load_average("encoder", weights)

    def step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        settings, image, group = self.settings, batch.image, batch.group
        count, half = len(group), len(group) // 2
        alone = number < settings.alone
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            latent = encoded = self.encoder(image)
            groups = group
            if not alone:
                prior = torch.randn(count - half, self.shape.latent, device=self.device)
                target_groups = torch.randint(self.shape.groups, (count,), device=self.device)
                latent, groups = torch.cat([encoded, encoded[:half], prior]), torch.cat([group, target_groups])
            generated = self.generator(latent, F.one_hot(groups, self.shape.groups).float()).float()
        rebuilt = shown = generated[:count]
        losses: dict[str, Tensor] = {}
        terms: dict[str, tuple[float, Tensor]] = {}
        if not alone:
            change_of_age = generated[count : count + half] - rebuilt[:half]
            aged = (image[:half] + self._mask * change_of_age).clamp(-1, 1)
            fake = torch.cat([aged, generated[count + half :]])
            shown = torch.cat([rebuilt, aged])
            change = SharedChange.draw(settings.shift, settings.brightness)
            losses = self.teach_discriminator(batch, fake.detach(), target_groups, change, number)
            terms["adversarial"] = settings.adversarial_weight, self.adversarial_loss(fake, target_groups, change)
            terms["age"] = settings.age_weight, self._age_distance(change(fake), target_groups)
        terms |= self._rebuilding(image, shown, encoded.float())
        self.optimizer_step(
            ("encoder", "generator"), torch.stack([weight * term for weight, term in terms.values()]).sum()
        )
        self.discriminator.requires_grad_(True)
        for name, average in self.averages.items():
            average.update_parameters(self.networks[name])
        return losses | {f"g/{name}": term.detach() for name, (_, term) in terms.items()}

    def _age_distance(self, image: Tensor, group: Tensor) -> Tensor:
        """-log of how likely the age estimator finds ``image`` to be of its ``group``; mean."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.age_estimator(at_side(image, AGE_SIZE)).float()
        likely = logits.log_softmax(dim=1)
        of_groups = torch.stack([likely[:, years].logsumexp(dim=1) for years in GROUP_YEARS], dim=1)
        return F.nll_loss(of_groups, group)

    def _rebuilding(self, image: Tensor, shown: Tensor, encoded: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each term on what became of the faces of ``image``: ``shown``, rebuilt, then the first of them aged."""
        settings, count = self.settings, len(image)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            with torch.no_grad():
                target_features, person = self.facenet.features_and_embedding(at_side(image, self.facenet.size))
            features, embedding = self.facenet.features_and_embedding(at_side(shown, self.facenet.size))
        similarity = (embedding * torch.cat([person, person[: len(shown) - count]])).sum(dim=1)
        terms = {
            "pixel": (settings.pixel_weight, charbonnier(shown[:count] - image)),
            "feature": (
                settings.feature_weight,
                feature_distance([layer[:count] for layer in features], target_features),
            ),
            "identity": (settings.identity_weight, 1 - similarity[:count].mean()),
            "divergence": (settings.divergence_weight, latent_divergence(encoded)),
        }
        if len(shown) > count:
            terms["aged_identity"] = (settings.aged_identity_weight, 1 - similarity[count:].mean())
        return terms

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return samples as the latent stage's."""
        return reconstruction_samples(self.averages["encoder"], self.average, self._watched)
