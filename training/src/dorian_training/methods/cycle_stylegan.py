"""Cycle-StyleGAN: two pairs of encoder and generator, fine-tuned from AE-StyleGAN, that take the young to the old and back.

The report's eq. 6, mended: the way round is compared with the face that it began from, ‖G̃_y2o(Ẽ_young(y)) - x‖², the
adversarial term is softplus(-D), and the discriminators learn from what is drawn. Where faces have a structure, a translated
face is the face plus, under the mask, what the fine-tuned pair draws more than the pair it began from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import learned_mask
from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import SharedChange
from dorian_training.data.domains import DomainBatch
from dorian_training.errors import CheckpointError
from dorian_training.frechet import fit_gaussian, frechet_distance
from dorian_training.losses.adversarial import fake_loss, r1_penalty, real_loss
from dorian_training.losses.reconstruction import charbonnier
from dorian_training.losses.translation import broad_imbalance, broad_tint, tint
from dorian_training.methods.cyclegan import ImagePool
from dorian_training.methods.stage import Stage
from dorian_training.networks.ae_stylegan import (
    AeStyleGanShape,
    StyleGenerator,
    StyleMaps,
    StyleReader,
    build_discriminator,
    build_encoder,
    linear_faces,
)
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.eigen_pyramid import EigenPyramid
from dorian_training.networks.layers import at_side

DOMAINS = ("old", "young")  # each pair is called by the domain that it leads to
_OTHER = {"old": "young", "young": "old"}
_FIRST_LEVEL = 5  # from which the mean styles of the domains are shifted at the start
_SAMPLE_ROWS = 8


@dataclass(frozen=True)
class CycleStyleGanSettings:
    """Numbers of the fine-tuning. Weights of 0 switch a term off.

    ``start_shift``: how much of the difference of the domains' mean styles the encoders begin with. ``measure_every``:
    iterations between Fréchet distances; the weights of the best are kept.
    """

    learning_rate: float = 2e-4
    discriminator_rate: float = 3e-4
    beta1: float = 0.0
    beta2: float = 0.99
    cycle_weight: float = 30.0
    size_weight: float = 0.3
    tint_weight: float = 60.0
    broad_tint_weight: float = 300.0
    imbalance_weight: float = 5.0
    r1_weight: float = 0.05
    r1_every: int = 16
    pool: int = 50
    ema_decay: float = 0.98
    start_shift: float = 0.5
    measure_every: int = 50
    shift: int = 4
    brightness: float = 0.1
    saturation: float = 0.3


@dataclass(frozen=True)
class StyleStart:
    """What the pairs begin from: an AE-StyleGAN's averaged weights by network, and the reader of its styles if it has one.

    ``shifts``: by domain, what is added to a face's features (style,) to reach it.
    """

    weights: dict[str, dict[str, Tensor]]
    reader: StyleReader | None = None
    shifts: dict[str, Tensor] | None = None


class CycleStyleGanStage(Stage[DomainBatch]):
    """Two pairs and two discriminators; the pairs that it began from stay beside them where faces have a structure."""

    name = "cycle_stylegan"

    def __init__(
        self,
        shape: AeStyleGanShape,
        settings: CycleStyleGanSettings,
        start: StyleStart,
        facenet: DlibResNet,
        device: torch.device,
        amp: bool,
        watched: DomainBatch | None = None,
    ) -> None:
        super().__init__(device)
        self.shape, self.settings, self.amp, self.watched = shape, settings, amp, watched
        self.pools = {domain: ImagePool(settings.pool) for domain in DOMAINS}
        self.facenet = facenet.to(device).eval().requires_grad_(False)
        self.reader = None if start.reader is None else start.reader.to(device).eval().requires_grad_(False)
        for name, network, source in (
            ("encoder", build_encoder(shape), "encoder_ema"),
            ("generator", StyleGenerator(shape), "generator_ema"),
        ):
            load_network(network, start.weights, source)
            self.add_network(name, network).eval().requires_grad_(False)
        self.pyramid = EigenPyramid(shape.structure_sides, shape.structure_counts)
        if shape.structure:
            load_network(self.pyramid, start.weights, "pyramid")
            self.add_network("pyramid", self.pyramid)
        for domain in DOMAINS:
            self._add_pair(domain, start)
        self._mask = torch.tensor(learned_mask(DEFAULT_TEMPLATE, shape.size)).to(device)
        self.best: dict[str, float] = {}
        self.kept: dict[str, dict[str, Tensor]] = {}

    def _add_pair(self, domain: str, start: StyleStart) -> None:
        settings = self.settings
        encoder, generator = build_encoder(self.shape), StyleGenerator(self.shape)
        encoder.load_state_dict(self.networks["encoder"].state_dict())
        generator.load_state_dict(self.networks["generator"].state_dict())
        if isinstance(encoder, StyleMaps) and start.shifts is not None:
            shift = settings.start_shift * start.shifts[domain]
            with torch.no_grad():
                moved = torch.einsum("f,lfs->ls", shift, encoder.maps.cpu())
                encoder.offsets[_FIRST_LEVEL - 1 :] += moved[_FIRST_LEVEL - 1 :]
        critic = build_discriminator(self.shape)
        load_network(critic, start.weights, "discriminator")
        for name, network in (("encoder", encoder), ("generator", generator), ("discriminator", critic)):
            self.add_network(f"{name}_{domain}", network)
            rate = settings.discriminator_rate if name == "discriminator" else settings.learning_rate
            self.add_optimizer(f"{name}_{domain}", rate, (settings.beta1, settings.beta2))
            if name != "discriminator":
                self.add_average(f"{name}_{domain}", settings.ema_decay)

    def translate(self, image: Tensor, domain: str, average: bool = False) -> Tensor:
        """Return ``image`` (batch, 3, size, size) taken to ``domain``, by the averaged pair if so asked."""
        encoder, generator = (
            self.averages[f"{name}_{domain}"].module if average else self.networks[f"{name}_{domain}"]
            for name in ("encoder", "generator")
        )
        if self.reader is None:
            drawn: Tensor = generator(encoder(image))
            return drawn.clamp(-1, 1)
        pooled, linear = self.reader(image), self._linear(image)
        own = self.networks["generator"](self.networks["encoder"](pooled), linear)
        change = self.shape.bounded(generator(encoder(pooled), linear) - own)
        result: Tensor = (image + change * self._mask).clamp(-1, 1)
        return result

    def _linear(self, image: Tensor) -> list[Tensor]:
        return linear_faces(self.pyramid, self.pyramid.encode(image), self.shape.sides)

    def step(self, batch: DomainBatch, number: int) -> dict[str, Tensor]:
        real = {"young": batch.young, "old": batch.old}
        settings = self.settings
        change = SharedChange.draw(settings.shift, settings.brightness, settings.saturation)
        terms: dict[str, Tensor] = {}
        fakes: dict[str, Tensor] = {}
        for domain in DOMAINS:
            self._critic(domain).requires_grad_(False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            for domain in DOMAINS:
                source = real[_OTHER[domain]]
                fake = self.translate(source, domain).float()
                back = self.translate(fake, _OTHER[domain], average=True).float()
                fakes[domain] = fake
                terms |= {
                    f"adversarial_{domain}": real_loss(self._logit(change(fake), domain)),
                    f"cycle_{domain}": (back - source).square().mean(),
                }
                if self.reader is not None:
                    delta = fake - source
                    terms |= {
                        f"size_{domain}": charbonnier(delta),
                        f"tint_{domain}": tint(delta),
                        f"broad_tint_{domain}": broad_tint(delta),
                        f"imbalance_{domain}": broad_imbalance(delta),
                    }
        weights = {
            "adversarial": 1.0,
            "cycle": settings.cycle_weight,
            "size": settings.size_weight,
            "tint": settings.tint_weight,
            "broad_tint": settings.broad_tint_weight,
            "imbalance": settings.imbalance_weight,
        }
        total = torch.stack([weights[name.rpartition("_")[0]] * term for name, term in terms.items()]).sum()
        self.optimizer_step([f"{name}_{domain}" for domain in DOMAINS for name in ("encoder", "generator")], total)
        losses = {f"g/{name}": term.detach() for name, term in terms.items()}
        for domain in DOMAINS:
            losses |= self._teach(domain, real[domain], self.pools[domain].exchange(fakes[domain]), change, number)
            for name in ("encoder", "generator"):
                self.averages[f"{name}_{domain}"].update_parameters(self.networks[f"{name}_{domain}"])
        return losses

    def _teach(self, domain: str, real: Tensor, shown: Tensor, change: SharedChange, number: int) -> dict[str, Tensor]:
        """Take one step of the discriminator of ``domain`` on ``real`` faces and ``shown`` ones from the pool."""
        settings, critic = self.settings, self._critic(domain).requires_grad_(True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            of_real, of_fake = self._logit(change(torch.cat([real, shown])), domain).chunk(2)
        losses = {f"d/real_{domain}": real_loss(of_real), f"d/fake_{domain}": fake_loss(of_fake)}
        self.optimizer_step(f"discriminator_{domain}", torch.stack(list(losses.values())).sum())
        if settings.r1_weight and number % settings.r1_every == 0:
            penalty = r1_penalty(lambda image: self._logit(image, domain), real)
            self.optimizer_step(f"discriminator_{domain}", penalty * (settings.r1_weight / 2 * settings.r1_every))
            losses[f"d/r1_{domain}"] = penalty
        critic.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}

    def _critic(self, domain: str) -> nn.Module:
        return self.networks[f"discriminator_{domain}"]

    def _logit(self, image: Tensor, domain: str) -> Tensor:
        """How real ``image`` looks as a face of ``domain``, (batch,): the mean over the discriminator's outputs of its half of life."""
        logits: Tensor = self._critic(domain)(image).float()
        half = logits.shape[1] // 2
        return (logits[:, half:] if domain == "old" else logits[:, : max(half, 1)]).mean(dim=1)

    def samples(self) -> Tensor | None:
        """Return a validation pair per row: young, made old, and back; old, made young, and back."""
        if self.watched is None:
            return None
        columns = []
        for image, target in ((self.watched.young[:_SAMPLE_ROWS], "old"), (self.watched.old[:_SAMPLE_ROWS], "young")):
            translated = self._translated(image, target)
            columns += [image, translated, self._translated(translated, _OTHER[target])]
        return torch.stack(columns, dim=1)

    @torch.no_grad()
    def _translated(self, image: Tensor, domain: str) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            parts = [self.translate(part, domain, average=True).float() for part in torch.split(image, 32)]
        return torch.cat(parts)

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Measure the Fréchet distance of the watched faces taken to each domain from those that belong there, and keep the best pairs.

        Features are FaceNet's descriptors, which are in no loss; as Table I of the report, on one fixed set.
        """
        if self.watched is None:
            return {}
        real = {"young": self.watched.young, "old": self.watched.old}
        features = {domain: fit_gaussian(self._descriptors(image)) for domain, image in real.items()}
        metrics: dict[str, float] = {}
        for domain in DOMAINS:
            translated = fit_gaussian(self._descriptors(self._translated(real[_OTHER[domain]], domain)))
            distance = frechet_distance(translated, features[domain])
            metrics[f"frechet/{domain}"] = distance
            if distance < self.best.get(domain, float("inf")):
                self.best[domain] = distance
                for name in (f"encoder_{domain}", f"generator_{domain}"):
                    state = self.averages[name].module.state_dict()
                    self.kept[f"{name}_ema"] = {key: value.clone() for key, value in state.items()}
        metrics["frechet/untouched"] = frechet_distance(features["young"], features["old"])
        return metrics

    def _descriptors(self, image: Tensor) -> Any:
        parts = [self.facenet.descriptor(at_side(part, self.facenet.size)) for part in torch.split(image, 32)]
        return torch.cat(parts).double().cpu().numpy()

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Return the weights of all networks, the averages being those of the best measurement."""
        return super().weights() | self.kept

    def state_dict(self) -> dict[str, Any]:
        pools = {domain: torch.stack(pool.images) for domain, pool in self.pools.items() if pool.images}
        return {**super().state_dict(), "pools": pools, "best": self.best, "kept": self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.best, self.kept = state["best"], state["kept"]
        for domain, images in state["pools"].items():
            self.pools[domain].images = list(images.to(self.device))

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        raise CheckpointError("Cycle-StyleGAN begins from an AE-StyleGAN; resume its own runs by their folder")
