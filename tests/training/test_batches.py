"""Balanced batches: what is drawn, how often, and that the stream goes on exactly where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from dorian_bundle.ages import PAPER_GROUPS
from dorian_training.data.batches import BalancedBatches, Batch, groups_of
from dorian_training.data.crops import Crops
from dorian_training.errors import DataError

MakeCrops = Callable[..., Crops]
COUNTS = (2, 100, 5, 1, 40, 60)


@pytest.fixture
def crops(make_crops: MakeCrops) -> Crops:
    """Faces in very unequal groups and one of unknown age; a face's number is its colour, its right half is black."""
    ages = [group.low for group, count in zip(PAPER_GROUPS, COUNTS, strict=True) for _ in range(count)] + [None]
    pixels = np.zeros((len(ages), 8, 8, 3), np.uint8)
    pixels[:, :, :4] = np.arange(1, len(ages) + 1, dtype=np.uint8)[:, None, None, None]
    return make_crops(ages, pixels)


def draw(batches: BalancedBatches, count: int) -> Iterator[tuple[int, int, bool]]:
    """Of every image in ``count`` batches: its face's number (from 0), its group, whether it was mirrored."""
    for _ in range(count):
        batch = batches.next()
        pixels = ((batch.image + 1) * 127.5).round().int()
        assert torch.equal(pixels.amin(dim=(1, 2, 3)), torch.zeros(len(pixels), dtype=torch.int32))
        mirrored = (pixels[:, 0, 0, 0] == 0).tolist()
        yield from zip((pixels.amax(dim=(1, 2, 3)) - 1).tolist(), batch.group.tolist(), mirrored, strict=True)


def test_what_a_batch_is(crops: Crops) -> None:
    batch = BalancedBatches(crops, PAPER_GROUPS, 7, seed=0).next()
    assert (batch.image.shape, batch.image.dtype) == ((7, 3, 8, 8), torch.float32)
    assert (batch.group.shape, batch.group.dtype) == ((7,), torch.int64)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)


def test_pixels_fill_the_range_and_keep_their_channels(make_crops: MakeCrops) -> None:
    pixels = np.zeros((6, 4, 4, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 255, 51
    image = BalancedBatches(make_crops([g.low for g in PAPER_GROUPS], pixels), PAPER_GROUPS, 4, seed=0).next().image
    assert torch.allclose(image, torch.tensor([1.0, -0.6, -1.0])[:, None, None].expand(4, 3, 4, 4), atol=1e-6)


def test_groups_are_drawn_equally_often_and_faces_equally_often_within_them(crops: Crops) -> None:
    batches = BalancedBatches(crops, PAPER_GROUPS, 60, seed=3)
    assert batches.counts == list(COUNTS)
    drawn = list(draw(batches, 300))
    faces, groups, mirrored = (np.array(column) for column in zip(*drawn, strict=True))
    assert np.array_equal(groups, groups_of(crops, PAPER_GROUPS)[faces])
    assert np.bincount(groups, minlength=6) / len(groups) == pytest.approx([1 / 6] * 6, abs=0.012)  # four deviations
    assert mirrored.mean() == pytest.approx(0.5, abs=0.015)
    first = 0
    for group, count in enumerate(COUNTS):
        within = np.bincount(faces[groups == group] - first, minlength=count)
        assert len(within) == count
        expected = (groups == group).sum() / count
        assert np.abs(within - expected).max() <= 4.5 * np.sqrt(expected)
        first += count
    assert faces.max() == sum(COUNTS) - 1  # never the face of unknown age


def test_mirroring_does_not_follow_the_group(crops: Crops) -> None:
    drawn = list(draw(BalancedBatches(crops, PAPER_GROUPS, 60, seed=5), 100))
    for group in range(6):
        share = np.mean([mirrored for _, own, mirrored in drawn if own == group])
        assert share == pytest.approx(0.5, abs=0.07)


def test_the_same_seed_gives_the_same_stream(crops: Crops) -> None:
    def stream(seed: int) -> list[tuple[int, int, bool]]:
        torch.manual_seed(torch.initial_seed() + 1)  # the stream must not depend on the global generator
        return list(draw(BalancedBatches(crops, PAPER_GROUPS, 8, seed), 3))

    assert stream(1) == stream(1)
    assert stream(1) != stream(2)


def test_a_stream_goes_on_where_its_state_was_taken(crops: Crops) -> None:
    def same(a: Batch, b: Batch) -> bool:
        return torch.equal(a.image, b.image) and torch.equal(a.group, b.group)

    batches = BalancedBatches(crops, PAPER_GROUPS, 8, seed=0)
    batches.next()
    state = batches.state_dict()
    following = [batches.next() for _ in range(3)]
    other = BalancedBatches(crops, PAPER_GROUPS, 8, seed=99)
    assert not same(other.next(), following[0])
    other.load_state_dict(state)
    assert all(same(other.next(), batch) for batch in following)


def test_a_bracket_belongs_where_its_middle_lies(make_crops: MakeCrops) -> None:
    crops = make_crops([0, 18, 19, 29, 30, 59, 60, 116, None], np.zeros((9, 4, 4, 3), np.uint8))
    assert groups_of(crops, PAPER_GROUPS).tolist() == [0, 0, 1, 1, 2, 4, 5, 5, -1]


def test_groups_without_faces_are_named(make_crops: MakeCrops) -> None:
    crops = make_crops([5, 25, 35, 55, None], np.zeros((5, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"no faces in age group 40-49, 60\+"):
        BalancedBatches(crops, PAPER_GROUPS, 4, seed=0)
