"""Augmentation: a crop moves, turns and fades as far as it is told, and no further."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dorian_training.data.augmentation import MARGIN, Augmentation, SharedChange, augmented, centred

SIZE, SIDE = 32, 36
FACES = 64
NONE = Augmentation(shift=0, scale=0, turn=0, light=0, contrast=0, saturation=0, grey=0, coarse=0, erase=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(count: int = FACES) -> Tensor:
    """Images whose red is the place across and whose green the place down, from the middle, in halves of a crop; blue is 0.

    A crop shows red and green from -1 to 1 if it is not moved; 0.7 of that keeps all within bounds when it is.
    """
    places = 0.7 * (torch.arange(SIDE) + 0.5 - SIDE / 2) / (SIZE / 2)
    down, across = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([across, down, torch.zeros_like(down)]).expand(count, 3, SIDE, SIDE).clone()


def slopes(images: Tensor) -> Tensor:
    """How red and green change (batch, 2, 2), over the width and over the height, about the middle."""
    middle = images[:, :2, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4]
    across = middle.diff(dim=3).mean(dim=(2, 3)) * SIZE / 1.4
    down = middle.diff(dim=2).mean(dim=(2, 3)) * SIZE / 1.4
    return torch.stack([across, down], dim=2)


def middles(images: Tensor) -> Tensor:
    """Where in the source the crops' middles lie (batch, 2), as fractions of a crop's side."""
    half = SIZE // 2
    return images[:, :2, half - 1 : half + 1, half - 1 : half + 1].mean(dim=(2, 3)) / 1.4


def noise(count: int = FACES, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=generator(seed)) * 2 - 1


def test_the_margin_is_what_crops_are_cut_with() -> None:
    assert SIDE == SIZE + 2 * MARGIN * SIZE


def test_the_centre_is_cut_out_unchanged() -> None:
    images = noise()
    assert torch.equal(centred(images, SIZE), images[:, :, 2:-2, 2:-2])
    assert centred(images, SIZE).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(centred(images, SIDE), images)


def test_without_any_spread_faces_are_mirrored_and_nothing_else() -> None:
    images = noise()
    made, plain = augmented(images, SIZE, NONE, generator()), centred(images, SIZE)
    as_is = (made - plain).abs().amax(dim=(1, 2, 3)) < 1e-5
    mirrored = (made - plain.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert (as_is ^ mirrored).all()
    assert 0.3 < mirrored.float().mean() < 0.7
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_the_source_stays_as_it_was() -> None:
    images = noise()
    before = images.clone()
    augmented(images, SIZE, Augmentation(coarse=1, erase=1, grey=1), generator())
    assert torch.equal(images, before)


def test_shifts_reach_as_far_as_they_may_both_ways() -> None:
    result = middles(augmented(ramps(500), SIZE, replace(NONE, shift=0.05), generator()))
    reach = 0.05 * SIDE / SIZE
    assert result.abs().max() <= reach + 1e-5
    assert (result.amin(dim=0) < -0.9 * reach).all()
    assert (result.amax(dim=0) > 0.9 * reach).all()
    assert abs(float(torch.corrcoef(result.T)[0, 1])) < 0.2


def test_scales_reach_as_far_as_they_may_both_ways() -> None:
    made = augmented(ramps(500), SIZE, replace(NONE, scale=0.1), generator())
    scale = slopes(made)[:, 1, 1]
    assert slopes(made)[:, 0, 0].abs() == pytest.approx(scale, abs=1e-4)  # mirrored or not, the same both ways
    assert 0.9 - 1e-4 <= scale.min() < 0.91
    assert 1.09 < scale.max() <= 1.1 + 1e-4
    assert middles(made).abs().max() < 1e-4


def test_turns_reach_as_far_as_they_may_and_keep_shapes() -> None:
    result = slopes(augmented(ramps(500), SIZE, replace(NONE, turn=8), generator()))
    angle = torch.atan2(result[:, 0, 1], result[:, 1, 1]) * (180 / math.pi)
    assert angle.abs().max() <= 8.01
    assert angle.min() < -7.5
    assert angle.max() > 7.5
    assert (result.transpose(1, 2) @ result) == pytest.approx(torch.eye(2).expand(500, 2, 2), abs=1e-3)


def test_what_is_moved_beyond_the_source_is_reflected() -> None:
    made = augmented(torch.full((8, 3, SIDE, SIDE), 0.5), SIZE, replace(NONE, shift=0.2, turn=30), generator())
    assert made == pytest.approx(torch.full_like(made, 0.5), abs=1e-5)


def test_light_lifts_all_pixels_alike() -> None:
    grey = torch.zeros(200, 3, SIDE, SIDE)
    made = augmented(grey, SIZE, replace(NONE, light=0.25), generator())
    level = made.mean(dim=(1, 2, 3))
    assert (made - level[:, None, None, None]).abs().max() < 1e-6
    assert level.abs().max() <= 0.25
    assert level.min() < -0.2
    assert level.max() > 0.2


def test_contrast_spreads_about_the_middle() -> None:
    images = noise(200) * 0.5
    made = augmented(images, SIZE, replace(NONE, contrast=0.3), generator())
    plain = centred(images, SIZE)
    factor = made.std(dim=(1, 2, 3)) / plain.std(dim=(1, 2, 3))
    assert factor.min() >= 0.7 - 1e-4
    assert factor.max() <= 1.3 + 1e-4
    assert factor.max() - factor.min() > 0.5
    assert made.mean(dim=(1, 2, 3)) == pytest.approx(plain.mean(dim=(1, 2, 3)), abs=1e-5)


def test_saturation_spreads_colours_about_grey() -> None:
    images = noise(200) * 0.5
    made = augmented(images, SIZE, replace(NONE, saturation=0.4), generator())

    def colour(images: Tensor) -> Tensor:
        return (images - images.mean(dim=1, keepdim=True)).std(dim=(1, 2, 3))

    factor = colour(made) / colour(centred(images, SIZE))
    assert factor.min() >= 0.6 - 1e-4
    assert factor.max() <= 1.4 + 1e-4
    assert factor.max() - factor.min() > 0.6


def test_some_faces_lose_their_colour() -> None:
    made = augmented(noise(400), SIZE, replace(NONE, grey=0.25), generator())
    colourless = (made - made.mean(dim=1, keepdim=True)).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert 0.17 < colourless.float().mean() < 0.33
    assert made.abs().max() <= 1


def test_some_faces_lose_their_resolution() -> None:
    images = noise(400)
    made, plain = augmented(images, SIZE, replace(NONE, coarse=0.25), generator()), centred(images, SIZE)
    kept = torch.minimum(
        (made - plain).abs().amax(dim=(1, 2, 3)), (made - plain.flip(3)).abs().amax(dim=(1, 2, 3))
    ) < 1e-5  # fmt: skip
    assert 0.17 < 1 - kept.float().mean() < 0.33
    assert (made[~kept].std(dim=(1, 2, 3)) < 0.8 * plain.std()).all()
    assert made[~kept].mean(dim=(2, 3)) == pytest.approx(plain[~kept].mean(dim=(2, 3)), abs=0.05)


def test_some_faces_lose_a_rectangle() -> None:
    made = augmented(torch.zeros(400, 3, SIDE, SIDE), SIZE, replace(NONE, erase=0.5), generator())
    erased = (made != 0).all(dim=1)
    hit = erased.flatten(1).any(dim=1)
    assert 0.42 < hit.float().mean() < 0.58
    for mask, image in zip(erased[hit], made[hit], strict=True):
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        assert torch.equal(mask, rows[:, None] & columns[None])  # a rectangle
        assert SIZE // 8 <= min(rows.sum(), columns.sum()) <= max(rows.sum(), columns.sum()) < SIZE // 2
        assert len(image[:, mask].unique(dim=1).T) == 1  # of one colour


def test_everything_at_once_stays_in_range() -> None:
    made = augmented(noise(200), SIZE, Augmentation(grey=0.5, coarse=0.5, erase=0.5), generator())
    assert made.shape == (200, 3, SIZE, SIZE)
    assert made.abs().max() <= 1


def test_a_seed_gives_the_same_faces_again() -> None:
    images = noise()
    first = augmented(images, SIZE, Augmentation(), generator(3))
    torch.manual_seed(99)  # what others draw has no part in it
    assert torch.equal(augmented(images, SIZE, Augmentation(), generator(3)), first)
    assert not torch.equal(augmented(images, SIZE, Augmentation(), generator(4)), first)


# --- the change that a discriminator's images share ---


def test_a_shared_change_moves_and_lights_all_images_alike() -> None:
    images = noise(3)
    made = SharedChange(dx=3, dy=0, margin=2, light=0.25)(images)
    assert made.shape == images.shape
    assert torch.allclose(made[:, :, 2:, :-1], images[:, :, :-2, 1:] + 0.25)  # one to the left, two down
    assert torch.allclose(made[:, :, 2:, -1], images[:, :, :-2, -2] + 0.25)  # what comes in is reflected
    assert torch.allclose(made[:, :, :2, :-1], images[:, :, 1:3, 1:].flip(2) + 0.25)


@pytest.mark.parametrize("change", [SharedChange(2, 2, 2, 0.0), SharedChange(0, 0, 0, 0.0)])
def test_the_middle_of_a_shared_change_is_none(change: SharedChange) -> None:
    images = noise(3)
    assert torch.equal(change(images), images)


def test_shared_changes_reach_as_far_as_they_may_both_ways() -> None:
    torch.manual_seed(0)
    drawn = [SharedChange.draw(2, 0.1) for _ in range(300)]
    assert {change.dx for change in drawn} == {change.dy for change in drawn} == {0, 1, 2, 3, 4}
    assert len({(change.dx, change.dy) for change in drawn}) == 25
    assert {change.margin for change in drawn} == {2}
    lights = [change.light for change in drawn]
    assert -0.1 <= min(lights) < -0.09
    assert 0.09 < max(lights) <= 0.1
    assert SharedChange.draw(0, 0.0) == SharedChange(0, 0, 0, 0.0)
