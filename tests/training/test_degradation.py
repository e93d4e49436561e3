"""Degradation: each kind of damage does what its name says, to the share of images that it is given."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from dorian_training.data.degradation import Degradation, degraded

COUNT, SIZE = 80, 24
NONE = Degradation(**{item.name: 0.0 for item in fields(Degradation)})


def images(seed: int = 0) -> Tensor:
    return torch.rand(COUNT, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8


def damage(seed: int = 0, **shares: float) -> tuple[Tensor, Tensor]:
    """Images before and after damage of these shares alone."""
    before = images()
    return before, degraded(before, replace(NONE, **shares), torch.Generator().manual_seed(seed))


def changed(before: Tensor, after: Tensor) -> Tensor:
    return (before - after).abs().amax(dim=(1, 2, 3)) > 1e-6


def test_without_shares_nothing_changes() -> None:
    before, after = damage()
    assert torch.equal(before, after)
    assert after.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", [item.name for item in fields(Degradation)])
def test_about_the_share_is_damaged_and_stays_in_range(kind: str) -> None:
    before, after = damage(**{kind: 0.5})
    assert 0.35 < changed(before, after).float().mean() < 0.65
    assert after.abs().max() <= 1
    assert changed(*damage(**{kind: 1.0})).all()


def test_blur_takes_detail_and_strong_blur_more() -> None:
    before, _ = damage()
    deviations = [damage(**{kind: 1.0})[1].std() / before.std() for kind in ("blur", "strong_blur")]
    assert 0.25 < deviations[0] < 0.45
    assert deviations[1] < 0.7 * deviations[0]


def test_sepia_prints_are_brown() -> None:
    _, after = damage(sepia=1.0)
    red, green, blue = after.mean(dim=(0, 2, 3)).tolist()
    assert red > green > blue
    flat = (after - after.mean(dim=(2, 3), keepdim=True)).flatten(2)
    assert torch.corrcoef(flat[0])[0, 2] > 0.99, "one picture in all channels"


def test_fading_takes_contrast_and_low_light_takes_light() -> None:
    before, faded = damage(fading=1.0)
    assert (faded.std(dim=(1, 2, 3)) / before.std(dim=(1, 2, 3))).max() < 0.91
    _, dark = damage(low_light=1.0)
    assert (dark.mean(dim=(1, 2, 3)) < before.mean(dim=(1, 2, 3)) - 0.1).all()


def test_grain_is_coloured_in_half_of_the_cases() -> None:
    before, after = damage(grain=1.0)
    noise = after - before
    coloured = (noise[:, 0] - noise[:, 1]).abs().amax(dim=(1, 2)) > 1e-3
    assert 0.3 < coloured.float().mean() < 0.7


def test_compression_keeps_the_picture() -> None:
    smooth = torch.nn.functional.interpolate(images()[:, :, :3, :3], (SIZE, SIZE), mode="bilinear")
    after = degraded(smooth, replace(NONE, jpeg=1.0), torch.Generator().manual_seed(0))
    assert 0 < (after - smooth).abs().mean() < 0.2
    assert changed(smooth, after).all()


def test_damage_follows_its_generator() -> None:
    everything = {item.name: 0.5 for item in fields(Degradation)}
    torch.manual_seed(3)
    first = damage(1, **everything)[1]
    torch.manual_seed(4)
    assert torch.equal(first, damage(1, **everything)[1])
    assert not torch.equal(first, damage(2, **everything)[1])
