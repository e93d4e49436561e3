"""The age translator's training: a translator against a discriminator that knows ages, held to the person and the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import learned_mask, part_mask
from dorian_bundle.mesh import crop_mesh
from dorian_training.checkpoint import load_network
from dorian_training.data.augmentation import SharedChange, centred
from dorian_training.data.batches import LabelledBatch, as_images
from dorian_training.data.crops import Crops
from dorian_training.errors import ConfigError
from dorian_training.losses.adversarial import fake_loss, r1_penalty, real_loss
from dorian_training.losses.age_bins import age_logit, wrong_age_loss
from dorian_training.losses.reconstruction import charbonnier
from dorian_training.losses.translation import broad_imbalance, similarity_hinge
from dorian_training.methods.stage import Stage
from dorian_training.methods.style_teacher import StyleTeacher
from dorian_training.networks.age_discriminator import AgeDiscriminator
from dorian_training.networks.age_estimator import AgeEstimator, CompactAgeEstimator, read_ages
from dorian_training.networks.age_translator import AgeTranslator, AgeTranslatorShape
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.layers import at_side
from dorian_training.networks.shading import averaged, luma_of

_OLDEST = 90.0
_CHILD = (3.0, 14.0)  # years
_SAMPLE_AGES = (10.0, 25.0, 40.0, 55.0, 70.0)
_FURTHER_AGES = (5.0, 80.0, 90.0)  # beside those, so that faces are also read as the ages of ``_EQUAL_AGES``
_EQUAL_AGES = (25.0, 40.0, 55.0, 65.0)  # estimated ages at which similarities are compared
_UNREACHED = 0.03  # similarity that each year counts by which an age is not reached
_SAMPLE_ROWS = 10
_AGE_PRECISION = 5.0  # years, below which a missed age counts less
_DECADE = 10.0  # years
_ADULT, _ELDER = 18, 70  # whose faces are watched


@dataclass(frozen=True)
class AgeTranslatorSettings:
    """Numbers of the training. Weights of 0 switch a term off; shares are of the batch that a dear term looks at.

    ``resolution``: side in pixels that is learnt at, at most the network's own. ``wrong_age_distance``: years.
    ``outside_weight``: of what is drawn outside of the mask. ``iris_weight``: of what is drawn between the lids.
    ``identity_margin`` and ``identity_long_margin``: see ``similarity_hinge``. ``flip_weight``: of the difference between the
    deltas of a face and of its mirror image. ``excess_weight``: of what goes beyond the network's bounds. ``target_spread``: by
    how much target ages, which are other faces' ages, are shaken, in years. ``child_targets``: share of targets that are drawn from
    children's ages instead, which adults are furthest from. ``judged_blur``: pixels, odd, side of the box over which
    what the discriminator sees is averaged, twice, as what is drawn is smooth: else it asks for wrinkles, and gets mottled skin. ``teacher_weight``:
    of the difference in luma from what the teacher draws of faces that get older, ``held_weight``: of that from what the held translator draws of them. ``age_weight``: of how far
    the age estimators read a drawn face from its target, in decades; ``reader_share``: of the batch, that the age reader looks at.
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
    outside_weight: float = 0.5
    iris_weight: float = 1.0
    identity_weight: float = 3.0
    identity_margin: float = 0.25
    identity_long_margin: float = 0.12
    identity_share: float = 0.5
    cycle_weight: float = 0.25
    cycle_share: float = 0.25
    flip_weight: float = 0.5
    flip_share: float = 0.25
    excess_weight: float = 10.0
    imbalance_weight: float = 5.0
    target_spread: float = 3.0
    child_targets: float = 0.0
    shift: int = 4
    brightness: float = 0.1
    judged_blur: int = 3
    adversarial_weight: float = 1.0
    age_weight: float = 1.0
    reader_share: float = 0.5
    teacher_weight: float = 30.0
    teacher_share: float = 0.5
    held_weight: float = 100.0
    ema_decay: float = 0.998


@dataclass(frozen=True)
class GuideNetworks:
    """Frozen networks of other trainings. ``facenet``, of any layout, holds the person.

    ``age_estimator`` lends the discriminator its first weights, and reads the drawn ages in the loss; so does ``age_reader``, which sees
    more of a face: what a small network alone reads is soon drawn for it alone. ``age_judge`` is in no loss, and watches them.
    ``teacher`` shows how faces get older; ``held`` is a translator that draws them as they are to stay, while only how they get younger is learnt.
    """

    facenet: FaceNet
    age_estimator: CompactAgeEstimator | None = None
    age_reader: AgeEstimator | None = None
    age_judge: AgeEstimator | None = None
    teacher: StyleTeacher | None = None
    held: AgeTranslator | None = None


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
        skin_lines: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__(device)
        if settings.resolution > shape.translator.size:
            raise ConfigError(f"resolution {settings.resolution} is more than the network's {shape.translator.size} px")
        self.shape, self.settings, self.amp, self.watched = shape, settings, amp, watched
        self.skin_lines = skin_lines
        self.translator = AgeTranslator(shape.translator)
        self.add_network("translator", self.translator)
        self.discriminator = AgeDiscriminator(shape.discriminator)
        self.add_network("discriminator", self.discriminator)
        self.average = self.add_average("translator", settings.ema_decay)
        self._follow_lines()
        for name, rate in (
            ("translator", settings.learning_rate),
            ("discriminator", settings.discriminator_rate),
        ):
            self.add_optimizer(name, rate, (settings.beta1, settings.beta2))
        self.guides = guides
        for witness in (
            guides.facenet,
            guides.age_estimator,
            guides.age_reader,
            guides.age_judge,
            guides.teacher,
            guides.held,
        ):
            if witness is not None:
                witness.to(device).eval().requires_grad_(False)
        if guides.age_estimator is not None:
            self.discriminator.start_from_estimator(guides.age_estimator)
        self._masks: dict[int, Tensor] = {}
        self._eye_masks: dict[int, Tensor] = {}

    def step(self, batch: LabelledBatch, number: int) -> dict[str, Tensor]:
        settings, years = self.settings, self.shape.discriminator.years
        image = at_side(batch.image, settings.resolution)
        photo = self._blurred(image)
        low, high = batch.label[:, 0].float(), batch.label[:, 1].float()
        source = low + (high + 1 - low) * torch.rand_like(low)
        target = self._targets(source)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            unbounded = self.translator.unbounded(image, source, target)
            whole = self.translator.bounded(unbounded, image, source, target)
            delta = whole * self._mask(image)
            fake = (image + delta).clamp(-1, 1)
            change = SharedChange.draw(settings.shift, settings.brightness)
            judged = self.discriminator(torch.cat([change(photo), change(self._blurred(fake.detach()))])).float()
        real_logits, fake_logits = judged.chunk(2)
        real, faked = real_loss(age_logit(real_logits, source, years)), fake_loss(age_logit(fake_logits, target, years))
        wrong = wrong_age_loss(real_logits, low, high, years, settings.wrong_age_distance)
        self.optimizer_step("discriminator", real + faked + settings.wrong_age_weight * wrong)
        losses = {"d/real": real.detach(), "d/fake": faked.detach(), "d/wrong_age": wrong.detach()}
        if settings.r1_weight and number % settings.r1_every == 0:
            penalty = r1_penalty(lambda real: age_logit(self.discriminator(real), source, years), photo)
            self.optimizer_step("discriminator", penalty * (settings.r1_weight / 2 * settings.r1_every))
            losses["d/r1"] = penalty.detach()
        self.discriminator.requires_grad_(False)
        terms = self._terms(image, fake, whole, source, target, change)
        terms["excess"] = self.translator.excess(unbounded, image)
        self.discriminator.requires_grad_(True)
        weights = {
            "adversarial": settings.adversarial_weight,
            "age": settings.age_weight,
            "teacher": settings.teacher_weight,
            "held": settings.held_weight,
            "size": settings.size_weight,
            "outside": settings.outside_weight,
            "iris": settings.iris_weight,
            "identity": settings.identity_weight,
            "cycle": settings.cycle_weight,
            "flip": settings.flip_weight,
            "excess": settings.excess_weight,
            "imbalance": settings.imbalance_weight,
        }
        self.optimizer_step("translator", torch.stack([weights[name] * term for name, term in terms.items()]).sum())
        self.average.update_parameters(self.translator)
        return losses | {f"g/{name}": term.detach() for name, term in terms.items()}

    def _terms(
        self, image: Tensor, fake: Tensor, whole: Tensor, source: Tensor, target: Tensor, change: SharedChange
    ) -> dict[str, Tensor]:
        """The translator's losses, by name, before they are weighed; ``whole`` is what it draws, before the mask."""
        settings, mask, eyes = self.settings, self._mask(image), self._eyes(image)
        delta, older = whole * mask, target > source
        terms = {"size": charbonnier(delta), "imbalance": broad_imbalance(delta)}
        terms["outside"] = charbonnier(whole * (1 - mask))
        terms["iris"] = charbonnier(delta * eyes) / eyes.mean()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self.discriminator(change(self._blurred(fake))).float()
            terms["adversarial"] = real_loss(age_logit(logits, target, self.shape.discriminator.years))
            learnt = older.logical_not() if self.guides.held else torch.ones_like(older)
            if settings.age_weight and (self.guides.age_estimator or self.guides.age_reader):
                terms["age"] = self._age(change(fake), target, learnt)
            if settings.held_weight and self.guides.held is not None:
                with torch.no_grad():
                    kept = self.guides.held(image, source, target)
                terms["held"] = charbonnier((whole - kept) * mask * older[:, None, None, None])
            if settings.identity_weight:
                terms["identity"] = self._identity(image, fake, target - source)
            if settings.cycle_weight:
                faces = slice(-_count(image, settings.cycle_share), None)
                back = self.translator(fake[faces], target[faces], source[faces]) * mask
                terms["cycle"] = charbonnier(fake[faces] + back - image[faces])
            if settings.teacher_weight and self.guides.teacher is not None:
                faces = slice(_count(image, settings.teacher_share))
                shown = luma_of(self.guides.teacher(image[faces], source[faces], target[faces]))
                wanted = self.translator.lit(self.translator.smooth(shown), image[faces], older[faces])
                missed = (luma_of(whole[faces]) - wanted) * mask
                terms["teacher"] = charbonnier(missed * older[faces, None, None, None])
            if settings.flip_weight:
                faces = slice(_count(image, settings.flip_share))
                mirrored = self.translator(image[faces].flip(3), source[faces], target[faces]).flip(3)
                terms["flip"] = charbonnier((mirrored - whole[faces]) * mask)
        return terms

    def _age(self, fake: Tensor, target: Tensor, learnt: Tensor) -> Tensor:
        """How far drawn faces (batch, ...) are read from their ``target`` ages (batch,), by each estimator of the loss; mean.

        Those that are not ``learnt`` (batch,) count as read right.
        """
        count = _count(fake, self.settings.reader_share)
        readers = ((self.guides.age_estimator, len(fake)), (self.guides.age_reader, count))
        missed = [
            smooth_l1_loss(read_ages(reader, fake[:faces]), target[:faces], beta=_AGE_PRECISION, reduction="none")
            * learnt[:faces]
            for reader, faces in readers
            if reader is not None
        ]
        return torch.stack([years.mean() for years in missed]).mean() / _DECADE

    def _identity(self, image: Tensor, fake: Tensor, change: Tensor) -> Tensor:
        """The identity term of a share of the faces (batch, ...), changed by ``change`` years (batch,)."""
        settings = self.settings
        count = _count(image, settings.identity_share)
        with torch.no_grad():
            before = self._embedding(image[:count])
        similarity = (before * self._embedding(fake[:count])).sum(dim=1)
        return similarity_hinge(similarity, change[:count], settings.identity_margin, settings.identity_long_margin)

    def _blurred(self, image: Tensor) -> Tensor:
        """``image`` (batch, 3, side, side) as the discriminator sees it."""
        return averaged(image, self.settings.judged_blur)

    def _targets(self, source: Tensor) -> Tensor:
        """Other faces' ages, shaken: targets are spread as ages are, so that no span of ages sees fakes alone; and children's."""
        others = source[torch.randperm(len(source), device=source.device)]
        shaken = (others + self.settings.target_spread * torch.randn_like(others)).clamp(0.5, _OLDEST)
        if not self.settings.child_targets:
            return shaken
        child = _CHILD[0] + (_CHILD[1] - _CHILD[0]) * torch.rand_like(source)
        return torch.where(torch.rand_like(source) < self.settings.child_targets, child, shaken)

    def _embedding(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.guides.facenet(at_side(image, self.guides.facenet.size))
        return embedding

    def _mask(self, image: Tensor) -> Tensor:
        side = image.shape[2]
        if side not in self._masks:
            self._masks[side] = torch.tensor(learned_mask(DEFAULT_TEMPLATE, side)).to(self.device)
        return self._masks[side]

    def _eyes(self, image: Tensor) -> Tensor:
        side = image.shape[2]
        if side not in self._eye_masks:
            eyes = part_mask(crop_mesh(side), side, "eyes")
            self._eye_masks[side] = torch.tensor(eyes).to(self.device)
        return self._eye_masks[side]

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
        """Measure validation adults at several ages: mean age by the judge, mean similarity by the FaceNet of the loss, and a score.

        The score is ``similarity_at_equal_age`` of these means.
        """
        image, source = self._adults(200)
        if not len(image) or self.guides.age_judge is None:
            return {}
        metrics, reads, similarities = dict[str, float](), list[float](), list[float]()
        for age in (*_SAMPLE_AGES, *_FURTHER_AGES):
            aged = self._aged(image, source, age)
            read = read_ages(self.guides.age_judge, aged)
            similarity = (self._embedding(image) * self._embedding(aged)).sum(dim=1)
            reads.append(float(read.mean()))
            similarities.append(float(similarity.mean()))
            if age in _SAMPLE_AGES:
                metrics[f"age_{age:.0f}/read"], metrics[f"age_{age:.0f}/similarity"] = reads[-1], similarities[-1]
                metrics[f"age_{age:.0f}/error"] = float((read - age).abs().mean())
        return metrics | {"score": similarity_at_equal_age(reads, similarities)}

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
        self._follow_lines()

    def _follow_lines(self) -> None:
        if self.skin_lines is not None:
            self.translator.follow_lines(*self.skin_lines)
            self.average.module.follow_lines(*self.skin_lines)  # type: ignore[operator]


def similarity_at_equal_age(reads: Sequence[float], similarities: Sequence[float]) -> float:
    """Return the mean similarity of faces at the moments when they are estimated at ``_EQUAL_AGES``.

    Two translators cannot be compared at equal targets, as one that changes less also keeps more of the person. Between
    targets similarity is a straight line over the estimated age; an age that no target reaches costs ``_UNREACHED`` a year.

    Args:
        reads: Mean estimated age at each target.
        similarities: Mean similarity to the photo at each target.
    """
    order = np.argsort(reads)
    ages, alike = np.asarray(reads)[order], np.asarray(similarities)[order]
    equal = np.asarray(_EQUAL_AGES)
    missing = np.maximum(np.maximum(ages[0] - equal, equal - ages[-1]), 0)
    return float((np.interp(equal, ages, alike) - _UNREACHED * missing).mean())


def _count(image: Tensor, share: float) -> int:
    """How many faces of a batch a dear term looks at, one at least."""
    return max(1, round(len(image) * share))
