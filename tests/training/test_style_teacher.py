"""AE-StyleGAN as a teacher: it shows what the method draws, and says which checkpoints it cannot be made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.masks import learned_mask
from dorian_training.checkpoint import save_weights
from dorian_training.data.batches import LabelledBatch
from dorian_training.errors import ConfigError
from dorian_training.methods.ae_stylegan import AeStyleGanStage, ReadStyles
from dorian_training.methods.ae_stylegan_settings import LEAN_SETTINGS
from dorian_training.methods.style_teacher import StyleTeacher
from dorian_training.networks.ae_stylegan import AeStyleGanShape, StyleMaps, StyleReader
from dorian_training.networks.age_estimator import (
    CompactAgeEstimator,
    CompactAgeEstimatorShape,
    DlibAgeEstimator,
    DlibAgeEstimatorShape,
)
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from tests.small_styles import LEAN

CPU = torch.device("cpu")
COUNT = 4


def write_estimator(folder: Path, network: nn.Module, shape: DlibAgeEstimatorShape | CompactAgeEstimatorShape) -> Path:
    path = folder / "age_estimator.safetensors"
    save_weights(path, {"age_estimator_ema": network.state_dict()}, {"shape": shape.as_dict()})
    return path


@pytest.fixture(scope="module")
def stage() -> AeStyleGanStage:
    """AE-StyleGAN at its start, whose watched faces have the features that its estimator reads of them."""
    torch.manual_seed(0)
    facenet = DlibResNet(DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8)))
    estimator = DlibAgeEstimator(DlibAgeEstimatorShape()).eval()
    means = torch.linspace(-2, 2, 91)[:, None] * torch.tensor([1.0, 0, 0, 0])
    image, maps = torch.rand(32, 3, 96, 96) - 0.5, StyleMaps(LEAN)
    ages = torch.linspace(20, 60, 32)
    with torch.no_grad():
        features = maps.fit(StyleReader(estimator)(image), ages)
    brackets = torch.stack([ages, ages + 3], dim=1)
    watched = LabelledBatch(image[:COUNT], torch.cat([brackets, features], dim=1)[:COUNT])
    stage = AeStyleGanStage(LEAN, LEAN_SETTINGS, facenet, CPU, False, ReadStyles(estimator, means), watched)
    stage.start(maps, image)
    for layer in stage.generator.convolutions:
        nn.init.normal_(layer.shift.weight, std=0.3)  # type: ignore[union-attr,arg-type]
    stage.averages["generator"].module.load_state_dict(stage.generator.state_dict())
    return stage


@pytest.fixture(scope="module")
def checkpoint(stage: AeStyleGanStage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "ae_stylegan.safetensors"
    save_weights(path, stage.weights(), {"shape": LEAN.as_dict()})
    return path


@pytest.fixture(scope="module")
def teacher(stage: AeStyleGanStage, checkpoint: Path) -> StyleTeacher:
    assert stage.read is not None
    assert isinstance(stage.read.estimator, DlibAgeEstimator)
    return StyleTeacher(checkpoint, write_estimator(checkpoint.parent, stage.read.estimator, DlibAgeEstimatorShape()))


def test_it_shows_what_ae_stylegan_draws(stage: AeStyleGanStage, teacher: StyleTeacher) -> None:
    samples, watched = stage.samples(), stage.watched
    assert samples is not None
    assert watched is not None
    source, mask = watched.label[:, :2].mean(dim=1), torch.tensor(learned_mask(DEFAULT_TEMPLATE, 96))
    for column, age in ((2, 10.0), (6, 70.0)):  # behind the face and its reconstruction
        delta = teacher(watched.image, source, torch.full_like(source, age))
        assert delta.abs().mean() > 0.01
        torch.testing.assert_close((watched.image + delta * mask).clamp(-1, 1), samples[:, column], atol=2e-3, rtol=0)


def test_a_face_of_its_own_age_is_left_alone_and_sizes_are_kept(teacher: StyleTeacher) -> None:
    age = torch.tensor([30.0, 50.0])
    delta = teacher(torch.rand(2, 3, 64, 64) - 0.5, age, age)
    assert delta.shape == (2, 3, 64, 64)
    torch.testing.assert_close(delta, torch.zeros_like(delta), atol=1e-5, rtol=0)


def test_it_needs_the_lean_preset_and_its_estimator(checkpoint: Path, tmp_path: Path) -> None:
    shape = CompactAgeEstimatorShape((4, 8), (2, 2), 0.1)
    compact = write_estimator(tmp_path, CompactAgeEstimator(shape), shape)
    with pytest.raises(ConfigError, match=r"lean preset, and an age estimator of dlib's layout"):
        StyleTeacher(checkpoint, compact)
    dlib = write_estimator(tmp_path, DlibAgeEstimator(DlibAgeEstimatorShape()), DlibAgeEstimatorShape())
    save_weights(tmp_path / "paper.safetensors", {}, {"shape": AeStyleGanShape().as_dict()})
    with pytest.raises(ConfigError, match=r"lean preset"):
        StyleTeacher(tmp_path / "paper.safetensors", dlib)
