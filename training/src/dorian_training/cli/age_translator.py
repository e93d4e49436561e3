"""``dorian-train age-translator``: what any change of age adds to a face, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dorian_training.checkpoint import load_weights, require_network
from dorian_training.cli.config import (
    CHECKPOINT,
    SelectedSetsConfig,
    apply_overrides,
    batch_size_field,
    config_command,
    option,
    steps_field,
)
from dorian_training.cli.runs import cut_splits, earlier_stages, read_run, run_distributed, run_stage
from dorian_training.data.augmentation import MILD_AUGMENTATION
from dorian_training.data.batches import LabelledBatches
from dorian_training.data.crops import Crops, with_margin
from dorian_training.data.sampling import flattening_weights, people_weights, sharpness_weights
from dorian_training.distributed import DistributedContext
from dorian_training.errors import ConfigError
from dorian_training.methods.age_estimator import age_labels
from dorian_training.methods.age_translator import AgeTranslatorSettings, AgeTranslatorStage, GuideNetworks
from dorian_training.methods.style_teacher import StyleTeacher
from dorian_training.networks.age_estimator import load_age_estimator, load_compact_age_estimator
from dorian_training.networks.age_translator import AgeTranslatorShape, age_translator_of
from dorian_training.networks.facenet import load_facenet

_AGE_SPAN = 8  # years; ages in such spans are drawn almost equally often
_FLATNESS = 0.9


@dataclass(frozen=True, kw_only=True)
class AgeTranslatorConfig(SelectedSetsConfig):
    """Options of the age translator's training."""

    steps: int = steps_field(12_000)
    batch_size: int = batch_size_field(32)
    facenet: Path = option("Checkpoint of the FaceNet that preserves identity.", kind=CHECKPOINT)
    age_estimator: Path | None = option(
        "Checkpoint of the age estimator that the discriminator starts from, and that reads drawn ages in the loss.",
        default=None,
        kind=CHECKPOINT,
    )
    age_reader: Path | None = option(
        "Checkpoint of another age estimator, of any layout, that reads drawn ages in the loss, too.",
        default=None,
        kind=CHECKPOINT,
    )
    age_judge: Path | None = option(
        "Checkpoint of another age estimator, which reads the validation faces, so that checkpoints can be compared.",
        default=None,
        kind=CHECKPOINT,
    )
    teacher: Path | None = option(
        "Checkpoint of an AE-StyleGAN of the lean preset that shows how faces get older.", default=None, kind=CHECKPOINT
    )
    teacher_reader: Path | None = option(
        "Checkpoint of the age estimator that the teacher's styles are read by.", default=None, kind=CHECKPOINT
    )
    skin_detail: Path | None = option(
        "Checkpoint of skin-detail: folds run as its lines of old skin do, in place of those of --from.",
        default=None,
        kind=CHECKPOINT,
    )
    held: Path | None = option(
        "Checkpoint of an age translator of the same layout: faces get older as it draws them, and only how they get younger is learnt.",
        default=None,
        kind=CHECKPOINT,
    )

    def settings(self) -> AgeTranslatorSettings:
        """Return the stage's settings with the overrides applied."""
        return apply_overrides(AgeTranslatorSettings(), self.overrides)


@config_command("age-translator", AgeTranslatorConfig)
def age_translator(config: AgeTranslatorConfig) -> None:
    """Train the age translator: what any change of age adds to a face, in one pass.

    \b
    dorian-train age-translator --data faces/ --only fairface --only portraits --facenet models/checkpoints/facenet \\
      --age-estimator models/checkpoints/compact_age_estimator --skin-detail models/checkpoints/skin_detail --out runs/translator
    """
    run_distributed(_train, config)


def _train(context: DistributedContext, config: AgeTranslatorConfig) -> None:
    resumed = read_run(config.out, AgeTranslatorStage.name)
    shape = AgeTranslatorShape.from_dict(resumed["shape"]) if resumed else AgeTranslatorShape()
    size = shape.translator.size
    train, val = cut_splits(
        config, lambda record: record.age is not None and config.is_selected(record), with_margin(size)
    )
    batches = LabelledBatches(
        train,
        age_labels(train),
        config.batch_size,
        config.seed + context.rank,
        size,
        MILD_AUGMENTATION,
        _chances(train),
        context.device,
    )
    estimator = load_compact_age_estimator(config.age_estimator) if config.age_estimator else None
    reader = load_age_estimator(config.age_reader) if config.age_reader else None
    judge = load_age_estimator(config.age_judge) if config.age_judge else None
    teacher = _teacher(config)
    held = age_translator_of(*load_weights(config.held)) if config.held else None
    guides = GuideNetworks(load_facenet(config.facenet), estimator, reader, judge, teacher, held)
    taught = {"taught_by": earlier_stages(teacher.metadata)} if teacher else {}
    lines = _skin_lines(config.skin_detail) if config.skin_detail else None
    stage = AgeTranslatorStage(shape, config.settings(), guides, context.device, config.amp, val, lines)
    run_stage(stage, batches, train.records, context, config, {"shape": shape.as_dict(), **taught})


def _teacher(config: AgeTranslatorConfig) -> StyleTeacher | None:
    if config.teacher is None:
        return None
    if config.teacher_reader is None:
        raise ConfigError("--teacher needs --teacher-reader, the age estimator that its styles are read by")
    return StyleTeacher(config.teacher, config.teacher_reader)


def _skin_lines(checkpoint: Path) -> tuple[Tensor, Tensor]:
    """Return how the lines of old skin run, (2, cells, cells), and how strong they are, (cells, cells), by a checkpoint of ``skin-detail``."""
    weights, _ = load_weights(checkpoint)
    require_network(weights, "skin_detail")
    table = weights["skin_detail"]
    if "line_direction" not in table:
        raise ConfigError(f"{checkpoint} knows no lines; fit it again, by dorian-train skin-detail")
    return table["line_direction"], table["line_energy"].amax(dim=0)


def _chances(crops: Crops) -> Tensor:
    """How often each face (faces,) is drawn: ages and people evenly, sharp pictures more often."""
    even = flattening_weights(crops, _AGE_SPAN, _FLATNESS) * people_weights(crops, _AGE_SPAN)
    return even * sharpness_weights(crops, _AGE_SPAN)
