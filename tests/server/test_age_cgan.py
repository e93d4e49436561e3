"""Age-cGAN's networks behind the pipeline: conditions, shapes, and which picture belongs to which face and age."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import AgeError
from dorian_bundle.ages import PAPER_GROUPS, age_condition, group_condition
from dorian_bundle.graphs import Signature
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age
from dorian_server.methods.age_cgan import AgeCgan

Floats = NDArray[np.float32]
GROUPS = [Age(group=group.label) for group in PAPER_GROUPS]


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
    pictures = crops_to_images(list(crops))
    assert pictures.shape == (2, 3, 64, 64)
    assert pictures.dtype == np.float32
    assert pictures.flags.c_contiguous
    assert np.array_equal(np.rint(pictures * 255).transpose(0, 2, 3, 1), crops)


@pytest.mark.parametrize("faces", [1, 3])
def test_the_embedded_networks_shapes(networks: AgeCgan, faces: int) -> None:
    size, latent = networks.manifest.crop_size, networks.manifest.latent_size
    crops = list(np.random.default_rng(0).integers(0, 256, (faces, size, size, 3), dtype=np.uint8))
    latents = networks.encode(crops)
    assert latents.shape == (faces, latent)
    drawn = networks.generate(latents, GROUPS[:faces])
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
    drawn = flat_networks.generate(latents, [GROUPS[group] for group in order])
    for picture, red, group in zip(drawn, reds, order, strict=True):
        assert np.allclose(picture, np.array([red, group_levels[group], 0.5], np.float32), atol=1e-6)


def test_a_picture_does_not_depend_on_what_is_drawn_beside_it(networks: AgeCgan) -> None:
    latents = np.random.default_rng(0).normal(size=(3, networks.manifest.latent_size)).astype(np.float32)
    ages = [GROUPS[0], GROUPS[5], Age(years=47.0)]
    together = networks.generate(latents, ages)
    for index in range(3):
        (alone,) = networks.generate(latents[[index]], [ages[index]])
        assert np.abs(together[index] - alone).max() < 1e-5


def test_the_age_asked_for_changes_the_picture(networks: AgeCgan) -> None:
    latent = np.random.default_rng(0).normal(size=(1, networks.manifest.latent_size)).astype(np.float32)
    drawn = networks.generate(np.repeat(latent, len(GROUPS), axis=0), GROUPS)
    assert np.abs(np.diff(drawn, axis=0)).mean(axis=(1, 2, 3)).min() > 1e-3


def test_drawings_are_each_faces_own_at_its_source_and_at_its_targets(
    flat_networks: AgeCgan, group_levels: Floats
) -> None:
    crops, sources = [flat_crop(10), flat_crop(200)], [GROUPS[2], GROUPS[5]]
    targets = [[GROUPS[0], GROUPS[4], GROUPS[2]], [GROUPS[1]]]
    clock = Clock()
    drawings = flat_networks.draw(crops, sources, targets, clock)
    assert list(clock.seconds) == ["encode", "generate"]
    assert [len(item) for item in drawings] == [3, 1]
    for crop, source, aims, drawn in zip(crops, (2, 5), ((0, 4, 2), (1,)), drawings, strict=True):
        for aim, drawing in zip(aims, drawn, strict=True):
            red = float(crop[0, 0, 0]) / 255
            assert np.allclose(drawing.before, np.array([red, group_levels[source], 0.5], np.float32), atol=1e-6)
            assert np.allclose(drawing.image, np.array([red, group_levels[aim], 0.5], np.float32), atol=1e-6)
            assert np.allclose(drawing.delta[..., 1], group_levels[aim] - group_levels[source], atol=1e-6)


def test_ages_in_years() -> None:
    assert [Age(group=group.label).years_in(PAPER_GROUPS) for group in PAPER_GROUPS] == [9, 24, 34.5, 44.5, 54.5, 70]
    assert Age(years=47.25).years_in(()) == 47.25


@pytest.mark.parametrize("age", [Age(group="61+"), Age(years=-3), Age(years=121), Age(years=np.nan), Age()])
def test_years_of_ages_that_do_not_exist(age: Age) -> None:
    with pytest.raises(AgeError):
        age.years_in(PAPER_GROUPS)


@pytest.mark.parametrize("learned", [False, True])
def test_the_bundle_says_whether_it_learned_under_the_mask(learned: bool, networks: AgeCgan) -> None:
    manifest = networks.manifest.model_copy(update={"learned_under_mask": learned})
    assert AgeCgan(manifest, lambda name: Unopened()).learned_under_mask == learned


class Unopened:
    """A session that nothing is asked of."""

    @property
    def signature(self) -> Signature:
        raise AssertionError

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        raise AssertionError
