"""CycleGAN's training (Zhu et al. 2017): young to old and back, each way against a discriminator, the way round kept whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.checkpoint import load_network
from dorian_training.data.domains import DomainBatch
from dorian_training.losses.adversarial import fake_score_loss, real_score_loss
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_estimator import CompactAgeEstimator
from dorian_training.networks.cyclegan import (
    CycleGanShape,
    FaceDiscriminator,
    build_discriminator,
    build_translator,
)

TRANSLATORS = ("old", "young")  # each is called by the domain that it leads to
_SAMPLE_ROWS = 8


@dataclass(frozen=True)
class CycleGanSettings:
    """Numbers of the training, those of the paper (§4). ``identity_weight`` is a share of ``cycle_weight``.

    The rate is constant up to ``decay_from`` of the steps, and falls in a line to nothing after it.
    """

    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    cycle_weight: float = 10.0
    identity_weight: float = 0.5
    pool: int = 50
    decay_from: float = 0.5
    ema_decay: float = 0.999


class ImagePool:
    """The last images that a translator made, from which its discriminator is shown older ones half of the time.

    Shrivastava et al. 2017, as in §4 of the paper. ``size`` 0: always the newest.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor) -> Tensor:
        """Return ``images`` (batch, 3, side, side), some of them exchanged for older ones; those that go stay in the pool."""
        shown = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image)
                shown.append(image)
            elif self.size and torch.rand(()) < 0.5:
                index = int(torch.randint(self.size, ()))
                shown.append(self.images[index])
                self.images[index] = image
            else:
                shown.append(image)
        return torch.stack(shown)


class CycleGanStage(Stage[DomainBatch]):
    """Both translators and both discriminators; translators and discriminators are called by the domain they serve.

    Discriminators of whole faces begin with what ``age_estimator`` sees. ``ConfigError`` if its layout is another.
    """

    name = "cyclegan"

    def __init__(
        self,
        shape: CycleGanShape,
        settings: CycleGanSettings,
        device: torch.device,
        amp: bool,
        watched: DomainBatch | None = None,
        age_estimator: CompactAgeEstimator | None = None,
    ) -> None:
        super().__init__(device)
        self.shape, self.settings, self.amp, self.watched = shape, settings, amp, watched
        self.pools = {domain: ImagePool(settings.pool) for domain in TRANSLATORS}
        for domain in TRANSLATORS:
            self.add_network(f"to_{domain}", build_translator(shape))
            self.add_average(f"to_{domain}", settings.ema_decay)
            critic = build_discriminator(shape)
            if age_estimator is not None and isinstance(critic, FaceDiscriminator):
                critic.start_tower(age_estimator.eval())
            self.add_network(f"discriminator_{domain}", critic)
        for name in self.networks:
            self.add_optimizer(name, settings.learning_rate, (settings.beta1, settings.beta2))

    def schedule(self, done: float) -> None:
        begin = self.settings.decay_from
        left = (1 - done) / (1 - begin) if done > begin else 1.0
        self.set_rate(self.settings.learning_rate * left)

    def step(self, batch: DomainBatch, number: int) -> dict[str, Tensor]:
        real = {"young": batch.young, "old": batch.old}
        terms: dict[str, Tensor] = {}
        fakes: dict[str, Tensor] = {}
        critics = [self._critic(domain) for domain in TRANSLATORS]
        for critic in critics:
            critic.requires_grad_(False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            for domain, source in (("old", "young"), ("young", "old")):
                to, back = self.networks[f"to_{domain}"], self.networks[f"to_{source}"]
                fakes[domain] = to(real[source])
                terms[f"adversarial_{domain}"] = real_score_loss(self._critic(domain)(fakes[domain]).float())
                terms[f"cycle_{source}"] = F.l1_loss(back(fakes[domain]).float(), real[source])
                if self.settings.identity_weight:
                    terms[f"identity_{domain}"] = F.l1_loss(to(real[domain]).float(), real[domain])
        weights = {
            "adversarial": 1.0,
            "cycle": self.settings.cycle_weight,
            "identity": self.settings.cycle_weight * self.settings.identity_weight,
        }
        total = torch.stack([weights[name.partition("_")[0]] * term for name, term in terms.items()]).sum()
        self.optimizer_step(tuple(f"to_{domain}" for domain in TRANSLATORS), total)
        losses = {f"g/{name}": term.detach() for name, term in terms.items()}
        for critic in critics:
            critic.requires_grad_(True)
        for domain in TRANSLATORS:
            shown = self.pools[domain].exchange(fakes[domain].float())
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                of_real, of_fake = (self._critic(domain)(image).float() for image in (real[domain], shown))
            loss = (real_score_loss(of_real) + fake_score_loss(of_fake)) / 2
            losses[f"d/{domain}"] = self.optimizer_step(f"discriminator_{domain}", loss)
            self.averages[f"to_{domain}"].update_parameters(self.networks[f"to_{domain}"])
        return losses

    def _critic(self, domain: str) -> nn.Module:
        return self.networks[f"discriminator_{domain}"]

    @torch.no_grad()
    def samples(self) -> Tensor | None:
        """Return a validation pair per row: young, made old, and back; old, made young, and back."""
        if self.watched is None:
            return None
        columns = []
        for image, target, back in ((self.watched.young, "old", "young"), (self.watched.old, "young", "old")):
            image = image[:_SAMPLE_ROWS]
            translated = self.averages[f"to_{target}"](image)
            columns += [image, translated, self.averages[f"to_{back}"](translated)]
        return torch.stack(columns, dim=1)

    def state_dict(self) -> dict[str, Any]:
        pools = {domain: torch.stack(pool.images) for domain, pool in self.pools.items() if pool.images}
        return {**super().state_dict(), "pools": pools}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for domain, images in state["pools"].items():
            self.pools[domain].images = list(images.to(self.device))

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        for name, network in self.networks.items():
            load_network(network, weights, name)
        for domain in TRANSLATORS:
            self.load_average(f"to_{domain}", weights)
