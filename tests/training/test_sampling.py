"""How often training draws each face: rare ages, rare people and sharp pictures against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dorian_training.data.crops import Crops
from dorian_training.data.sampling import flattening_weights, people_weights, sharpness_weights

MakeCrops = Callable[..., Crops]


@pytest.mark.parametrize(
    ("how", "sharing"),
    [
        ((), [4**-0.5] * 4 + [1, 2**-0.5, 2**-0.5, 1]),  # by default, the root of their rarity in five years
        ((5, 1.0), [1 / 4] * 4 + [1, 1 / 2, 1 / 2, 1]),
        ((8, 0.9), [3**-0.9] * 3 + [2**-0.9, 1, 2**-0.9, 2**-0.9, 2**-0.9]),
        ((5, 0.0), [1] * 8),
    ],
)
def test_rare_ages_are_lifted_by_a_power_of_their_rarity(
    make_crops: MakeCrops, how: tuple[float, ...], sharing: list[float]
) -> None:
    ages = [20, 21, 23, 24, 70, 0, 4, 25]
    weights = flattening_weights(make_crops(ages, np.zeros((8, 8, 8, 3), np.uint8)), *how)
    assert weights.tolist() == pytest.approx(sharing)
    assert weights.dtype == torch.float32


def test_rare_people_are_lifted_within_their_years(make_crops: MakeCrops) -> None:
    crops = make_crops([20, 21, 22, 23, 24, 70], np.zeros((6, 8, 8, 3), np.uint8))
    men = ("Male", "Male", "Male", "Male", "Female", "Female")
    records = tuple(replace(record, gender=gender) for record, gender in zip(crops.records, men, strict=True))
    weights = people_weights(Crops(crops.pixels, records), 10, 0.5)
    mean = (4 * 0.5 + 1) / 5  # of a half for each of four men, and one for the woman
    assert weights.tolist() == pytest.approx([0.5 / mean] * 4 + [1 / mean, 1.0])


def test_sharp_pictures_are_lifted_among_faces_of_their_age_and_no_age_is(make_crops: MakeCrops) -> None:
    """The same noise, ever more blurred; contrast and brightness make no picture sharp."""
    noise = np.random.default_rng(0).normal(0, 60, (48, 48, 3))
    blurs = [0.3, 0.8, 1.3, 2.0, 3.0] * 2
    pixels = [cv2.GaussianBlur(noise, (0, 0), blur) for blur in blurs]
    scaled = [128 + picture * (30 / picture.std()) * (0.7 if i % 2 else 1.3) for i, picture in enumerate(pixels)]
    crops = make_crops([20] * 5 + [71] * 5, np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
    weights = sharpness_weights(crops, 10).reshape(2, 5)
    assert weights.tolist() == [pytest.approx([2.43, 1.47, 0.75, 0.27, 0.03])] * 2
    assert sharpness_weights(make_crops([50], np.zeros((1, 48, 48, 3), np.uint8)), 10).tolist() == [0.75]
