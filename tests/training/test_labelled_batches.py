"""Labelled batches: who is drawn how often, and that the stream goes on exactly where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from dorian_training.data.augmentation import Augmentation
from dorian_training.data.batches import LabelledBatch, LabelledBatches
from dorian_training.data.crops import Crops

MakeCrops = Callable[..., Crops]
SIZE = 16
NONE = Augmentation(shift=0, scale=0, turn=0, light=0, contrast=0, saturation=0, grey=0, coarse=0, erase=0)


@pytest.fixture
def painted(make_crops: MakeCrops) -> Callable[[int], Crops]:
    """Faces, each of one grey, which is its number."""

    def painted(count: int) -> Crops:
        pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, SIZE + 2, SIZE + 2, 3))
        return make_crops([30] * count, pixels.copy())

    return painted


def faces_in(batch: LabelledBatch) -> list[int]:
    """The numbers of the faces in a batch that nothing has changed."""
    assert float(batch.image.flatten(1).std(dim=1).max()) < 1e-6
    numbers: list[int] = ((batch.image[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    return numbers


def test_every_face_comes_with_its_label(painted: Callable[[int], Crops]) -> None:
    labels = torch.arange(40).reshape(20, 2) * 10
    batch = LabelledBatches(painted(20), labels, 12, 0, SIZE, NONE).next()
    assert (batch.image.shape, batch.image.dtype) == ((12, 3, SIZE, SIZE), torch.float32)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.label, labels[faces_in(batch)])


def test_images_are_augmented(make_crops: MakeCrops) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE + 2, SIZE + 2, 3), dtype=np.uint8)
    batches = LabelledBatches(make_crops([30], pixels), torch.zeros(1), 9, 0, SIZE, Augmentation())
    assert len(batches.next().image.flatten(1).unique(dim=0)) == 9  # one face, nine pictures of it


@pytest.mark.parametrize(("weights", "shares"), [(None, [0.25] * 4), ([1.0, 2.0, 0.0, 5.0], [1 / 8, 2 / 8, 0, 5 / 8])])
def test_faces_are_drawn_with_their_weights(
    painted: Callable[[int], Crops], weights: Sequence[float] | None, shares: Sequence[float]
) -> None:
    given = None if weights is None else torch.tensor(weights)
    batches = LabelledBatches(painted(4), torch.zeros(4), 500, 3, SIZE, NONE, given)
    drawn = [face for _ in range(8) for face in faces_in(batches.next())]
    assert np.bincount(drawn, minlength=4) / len(drawn) == pytest.approx(shares, abs=0.03)


def test_streams_follow_their_seed_and_go_on_where_their_state_was_taken(painted: Callable[[int], Crops]) -> None:
    def stream(seed: int) -> LabelledBatches:
        return LabelledBatches(painted(40), torch.arange(40) // 4, 8, seed, SIZE, Augmentation())

    def same(a: LabelledBatch, b: LabelledBatch) -> bool:
        return torch.equal(a.image, b.image) and torch.equal(a.label, b.label)

    one, two, other = stream(0), stream(0), stream(1)
    first = one.next()
    torch.manual_seed(5)  # what others draw has no part in it
    assert same(two.next(), first)
    state = one.state_dict()
    following = [one.next() for _ in range(3)]
    assert not same(other.next(), first)
    other.load_state_dict(state)
    assert all(same(other.next(), batch) for batch in following)
