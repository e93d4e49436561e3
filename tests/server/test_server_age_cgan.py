"""Age-cGAN's networks behind the pipeline: conditions, shapes, and which picture belongs to which face and age."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import AgeError
from dorian_bundle.ages import PAPER_GROUPS, age_condition, group_condition
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.reading import pictures_of
from dorian_server.requests import Age

Floats = NDArray[np.float32]


def flat_crop(level: int, size: int = 64) -> NDArray[np.uint8]:
    return np.full((size, size, 3), level, np.uint8)


# --- ages ---


@pytest.mark.parametrize("index", range(len(PAPER_GROUPS)))
def test_a_groups_condition(index: int) -> None:
    condition = Age(group=PAPER_GROUPS[index].label).condition(PAPER_GROUPS)
    assert np.array_equal(condition, group_condition(PAPER_GROUPS, index))


@pytest.mark.parametrize("years", [0.0, 16.5, 34.5, 61.0])
def test_a_condition_of_years(years: float) -> None:
    assert np.array_equal(Age(years=years).condition(PAPER_GROUPS), age_condition(PAPER_GROUPS, years))


@pytest.mark.parametrize(
    "age", [Age(group="61+"), Age(group=""), Age(years=-3), Age(years=200), Age(years=np.nan), Age()]
)
def test_ages_that_do_not_exist(age: Age) -> None:
    with pytest.raises(AgeError):
        age.condition(PAPER_GROUPS)


# --- networks ---


def test_pictures_are_channels_first_from_0_to_1() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    pictures = pictures_of(list(crops))
    assert pictures.shape == (2, 3, 64, 64)
    assert pictures.dtype == np.float32
    assert pictures.flags.c_contiguous
    assert np.array_equal(np.rint(pictures * 255).transpose(0, 2, 3, 1), crops)


@pytest.mark.parametrize("faces", [1, 3])
def test_the_embedded_networks_shapes(networks: AgeCgan, faces: int) -> None:
    size, latent, groups = networks.crop_size, networks.manifest.latent_size, len(networks.groups)
    crops = list(np.random.default_rng(0).integers(0, 256, (faces, size, size, 3), dtype=np.uint8))
    latents = networks.encode(crops)
    assert latents.shape == (faces, latent)
    drawn = networks.generate(latents, np.eye(groups, dtype=np.float32)[:faces])
    assert drawn.shape == (faces, size, size, 3)
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_each_crop_has_its_own_latent(flat_networks: AgeCgan) -> None:
    latents = flat_networks.encode([flat_crop(level) for level in (10, 200, 90)])
    assert latents[:, 0] * 255 == pytest.approx([10, 200, 90], abs=1e-3)


def test_each_picture_is_of_its_own_latent_and_condition(flat_networks: AgeCgan, group_levels: Floats) -> None:
    latents = np.zeros((3, flat_networks.manifest.latent_size), np.float32)
    latents[:, 0] = reds = (0.1, 0.8, 0.4)
    order = [4, 0, 2]
    drawn = flat_networks.generate(latents, np.eye(len(group_levels), dtype=np.float32)[order])
    for picture, red, group in zip(drawn, reds, order, strict=True):
        assert np.allclose(picture, np.array([red, group_levels[group], 0.5], np.float32), atol=1e-6)


def test_a_picture_does_not_depend_on_what_is_drawn_beside_it(networks: AgeCgan) -> None:
    latents = np.random.default_rng(0).normal(size=(3, networks.manifest.latent_size)).astype(np.float32)
    conditions = np.eye(len(networks.groups), dtype=np.float32)[[0, 5, 3]]
    together = networks.generate(latents, conditions)
    for index in range(3):
        (alone,) = networks.generate(latents[[index]], conditions[[index]])
        assert np.abs(together[index] - alone).max() < 1e-5


def test_the_age_asked_for_changes_the_picture(networks: AgeCgan) -> None:
    latent = np.random.default_rng(0).normal(size=(1, networks.manifest.latent_size)).astype(np.float32)
    conditions = np.eye(len(networks.groups), dtype=np.float32)
    drawn = networks.generate(np.repeat(latent, len(conditions), axis=0), conditions)
    assert np.abs(np.diff(drawn, axis=0)).mean(axis=(1, 2, 3)).min() > 1e-3
