"""What is mixed while a generator learns: whose features, which levels, and the age that results."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dorian_bundle.style_levels import PRESETS
from dorian_training.methods.style_mixing import draw_mix, fit_age_means, mean_at

YEARS = torch.arange(91.0)


def test_features_are_those_of_the_resulting_age() -> None:
    torch.manual_seed(0)
    source = torch.linspace(5, 85, 32)
    features = torch.stack([source, torch.arange(32.0) ** 2], dim=1)  # the age, and who it is
    age_means = torch.stack([YEARS, torch.full_like(YEARS, 50)], dim=1)
    kinds = set()
    for _ in range(20):
        mix = draw_mix(features, source, age_means, 12, 0.0)
        assert mix.features.shape == (32, 2)
        share = mix.levels.sum(dim=1) / 8
        full = source + (mix.age - source) / share  # the age that all levels from the fifth on would give
        torch.testing.assert_close(mix.features[:, 0], full, atol=1e-3, rtol=1e-4)
        who = mix.features[:, 1].double().sqrt().numpy()
        kinds |= {
            "itself" if abs(root - index) < 1e-3 else "other" if abs(root - round(root)) < 1e-3 else "mean"
            for index, root in enumerate(who)
        }
    assert kinds == {"itself", "other", "mean"}


def test_levels_are_all_from_the_fifth_on_or_a_preset() -> None:
    torch.manual_seed(0)
    source = torch.full((64,), 40.0)
    mix = draw_mix(torch.zeros(64, 2), source, torch.zeros(91, 2), 12, 0.0)
    drawn = {tuple((torch.nonzero(row).ravel() + 1).tolist()) for row in mix.levels}
    assert drawn == {groups[0] for groups in PRESETS.values() if len(groups) == 1}
    other = draw_mix(torch.zeros(8, 2), source[:8], torch.zeros(91, 2), 14, 0.0)
    assert {tuple((torch.nonzero(row).ravel() + 1).tolist()) for row in other.levels} == {tuple(range(5, 15))}


@pytest.mark.parametrize(("age", "mean"), [(30.0, 30.0), (30.5, 30.5), (-3.0, 0.0), (200.0, 90.0)])
def test_means_lie_in_a_line_between_years(age: float, mean: float) -> None:
    table = YEARS[:, None, None].expand(91, 3, 2)
    assert mean_at(table[:, 0], torch.tensor([age])).tolist() == [[pytest.approx(mean)] * 2]
    assert mean_at(table, torch.tensor([age, age])).shape == (2, 3, 2)


def test_age_means_follow_the_age_and_not_the_gender() -> None:
    random = np.random.default_rng(0)
    ages = torch.from_numpy(random.integers(0, 91, 4000).astype(np.float32))
    women = random.random(4000) < ages.numpy() / 90  # the older, the more women
    features = torch.stack([ages, torch.from_numpy(women.astype(np.float32))], dim=1)
    means = fit_age_means(features, torch.stack([ages, ages], dim=1), women, 90)
    assert means.shape == (91, 2)
    assert means[20:71, 0] == pytest.approx(np.arange(20, 71) + 0.0, abs=1.5)
    assert means[:, 1] == pytest.approx(0.5, abs=1e-4)
    brackets = torch.stack([ages - ages % 10, ages - ages % 10 + 9], dim=1)
    assert fit_age_means(features, brackets, women, 90)[25:66:10, 0] == pytest.approx(np.arange(25, 66, 10), abs=2)


@pytest.mark.parametrize("women", [True, False])
def test_age_means_of_one_gender_alone(women: bool) -> None:
    ages = torch.arange(91.0)
    selected = np.full(91, women)
    means = fit_age_means(ages[:, None], torch.stack([ages, ages], dim=1), selected, 90)
    assert means[20:71, 0] == pytest.approx(np.arange(20, 71) - 0.5, abs=0.1)
