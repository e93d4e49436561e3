"""Views for the landmark refiner: what is drawn at a landmark lies where its label says, however the view is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dorian_bundle.alignment import DEFAULT_TEMPLATE, crop_matrix
from dorian_training.data.archives import load_archives
from dorian_training.data.crops import Crops, cut_crops
from dorian_training.data.landmark_batches import (
    MARGIN,
    LandmarkBatch,
    LandmarkBatches,
    Wrongness,
    cut_template,
    points_in,
)

MakeCrops = Callable[..., Crops]
SIZE = 32
SIDE = 48
COUNT = 40
RIGHT = Wrongness(shift=0, scale=0, turn=0, covered=0, turned=0, missed=0)
MIRRORED = (1, 0, 2, 4, 3)  # right and left change places


@pytest.fixture(scope="module")
def places() -> Tensor:
    """Landmarks of faces, in fractions of a crop's side, in the middle half of it."""
    return 0.3 + 0.4 * torch.rand(COUNT, 5, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def marked(make_crops: MakeCrops, places: Tensor) -> Callable[[int], Crops]:
    """Black crops with a white blob at one of the landmarks."""

    def marked(landmark: int) -> Crops:
        line = (np.arange(SIDE) + 0.5) / SIDE
        x, y = places[:, landmark].numpy().T[:, :, None, None]
        blob = np.exp(-((line[None, None, :] - x) ** 2 + (line[None, :, None] - y) ** 2) / (2 * 0.03**2))
        return make_crops([30] * COUNT, np.repeat((255 * blob[..., None]).astype(np.uint8), 3, axis=3))

    return marked


def batches_of(crops: Crops, places: Tensor, wrongness: Wrongness, count: int = 64, seed: int = 0) -> LandmarkBatches:
    return LandmarkBatches(crops, places, count, seed, SIZE, wrongness, MIRRORED, slice(0, 5))


def blobs(images: Tensor) -> Tensor:
    """Where the middles of the blobs lie, in fractions of the view (batch, 2)."""
    grey = images.mean(dim=1)
    low, high = grey.amin(dim=(1, 2), keepdim=True), grey.amax(dim=(1, 2), keepdim=True)
    weight = ((grey - low) / (high - low) - 0.3).clamp(min=0)
    line = (torch.arange(SIZE) + 0.5) / SIZE
    total = weight.sum(dim=(1, 2))
    return torch.stack([(weight.sum(1) * line).sum(1) / total, (weight.sum(2) * line).sum(1) / total], dim=1)


@pytest.mark.parametrize("landmark", range(5))
@pytest.mark.parametrize(
    "wrongness", [RIGHT, replace(RIGHT, shift=0.05, scale=0.15, turn=25.0)], ids=["right", "wrong"]
)
def test_labels_follow_what_they_label(
    marked: Callable[[int], Crops], places: Tensor, landmark: int, wrongness: Wrongness
) -> None:
    batch = batches_of(marked(landmark), places, wrongness).next()
    result = blobs(batch.image)
    own, other = ((batch.landmarks[:, which] - result).norm(dim=1) for which in (landmark, MIRRORED[landmark]))
    recorded = ((result > 0.15) & (result < 0.85)).all(dim=1)  # wholly in the view
    assert recorded.sum() > 40
    assert torch.minimum(own, other)[recorded].max() < 1.2 / SIZE
    if MIRRORED[landmark] != landmark:
        assert 0.25 < (own < other)[recorded].float().mean() < 0.75  # about half of them are mirrored


def test_what_a_batch_is(marked: Callable[[int], Crops], places: Tensor) -> None:
    batch = batches_of(marked(0), places, Wrongness(), 7).next()
    assert (batch.image.shape, batch.image.dtype) == ((7, 3, SIZE, SIZE), torch.float32)
    assert (batch.landmarks.shape, batch.landmarks.dtype) == ((7, 5, 2), torch.float32)
    assert (batch.visible.shape, batch.visible.dtype) == ((7,), torch.float32)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert batch.image.abs().max() <= 1


def test_views_that_are_not_wrong_show_the_middle(marked: Callable[[int], Crops], places: Tensor) -> None:
    batch = batches_of(marked(2), places, RIGHT, 200).next()
    middle = 0.5 + (places - 0.5) * SIDE / SIZE
    turned = middle[:, MIRRORED] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    known = torch.cat([middle, turned])
    distance = (batch.landmarks[:, None] - known[None]).abs().amax(dim=(2, 3))
    assert distance.amin(dim=1).max() < 1e-5


def test_wrongness_reaches_as_far_as_it_may(marked: Callable[[int], Crops]) -> None:
    """Of a face whose landmarks are the middle of the crop and points beside and above it."""
    cross = torch.tensor([(0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.6, 0.5), (0.6, 0.5)]).expand(COUNT, 5, 2)
    recorded = batches_of(marked(0), cross, replace(RIGHT, shift=0.06, scale=0.2, turn=20.0), 2000).next().landmarks
    right = batches_of(marked(0), cross, RIGHT, 10).next().landmarks
    arm = 0.1 * SIDE / SIZE
    assert (right[:, 3, 0] - 0.5).abs().tolist() == pytest.approx([arm] * 10, abs=1e-5)
    beside = recorded[:, 3] - recorded[:, 2]
    scale = arm / beside.norm(dim=1)
    assert 0.8 - 1e-3 < scale.min() < 0.82
    assert 1.18 < scale.max() < 1.2 + 1e-3
    turn = torch.atan(beside[:, 1] / beside[:, 0]) * 180 / torch.pi
    assert -20.01 < turn.min() < -19
    assert 19 < turn.max() < 20.01
    moved = (recorded[:, 2] - 0.5).norm(dim=1) * scale * SIZE / SIDE
    assert 0.06 < moved.max() <= 0.06 * 2**0.5 + 1e-3


def test_streams_follow_their_seed_and_go_on_where_their_state_was_taken(
    marked: Callable[[int], Crops], places: Tensor
) -> None:
    def same(a: LandmarkBatch, b: LandmarkBatch) -> bool:
        return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("image", "landmarks", "visible"))

    one, two, other = (batches_of(marked(0), places, Wrongness(), 8, seed) for seed in (0, 0, 1))
    first = one.next()
    torch.manual_seed(5)  # what others draw has no part in it
    assert same(two.next(), first)
    state = one.state_dict()
    following = [one.next() for _ in range(3)]
    assert not same(other.next(), first)
    other.load_state_dict(state)
    assert all(same(other.next(), batch) for batch in following)


def test_crops_have_room_for_wrong_views() -> None:
    side, template = cut_template(64, DEFAULT_TEMPLATE)
    assert side == 64 * (1 + 2 * MARGIN)
    assert template.points(side) == pytest.approx(DEFAULT_TEMPLATE.points(64) + 64 * MARGIN)


def test_points_are_found_in_their_crops(tmp_path: Path, write_archives: Callable[..., Path]) -> None:
    rows = [{"nose_x": 39.5 + index, "nose_y": 40.4 - index} for index in range(4)]
    crops = cut_crops(load_archives(write_archives(tmp_path, rows)), SIDE)
    landmarks = np.stack([np.asarray(record.landmarks) for record in crops.records])
    points = np.concatenate([landmarks, landmarks[:, :2] + 3], axis=1)  # (4, 7, 2)
    result = points_in(crops, points, DEFAULT_TEMPLATE)
    assert result.shape == (4, 7, 2)
    for five, positions, places in zip(landmarks, points, result, strict=True):
        matrix = crop_matrix(five, DEFAULT_TEMPLATE, SIDE)
        expected = (positions @ matrix[:, :2].T + matrix[:, 2] + 0.5) / SIDE
        assert places == pytest.approx(expected, abs=1e-6)
    assert float((result[3] - result[0]).abs().max()) > 0.02


def test_upright_faces_are_visible_and_turned_and_missed_ones_are_not(
    marked: Callable[[int], Crops], places: Tensor
) -> None:
    upright = batches_of(marked(0), places, RIGHT, 300)
    assert (upright.next().visible == 1).all()
    spoilt = batches_of(marked(0), places, replace(RIGHT, turned=0.2, missed=0.1), 300)
    spoilt.load_state_dict(upright.state_dict())
    expected, batch = upright.next(), spoilt.next()
    assert set(batch.visible.tolist()) == {0.0, 1.0}
    assert 0.2 < (batch.visible == 0).float().mean() < 0.4
    lost = batch.visible == 0
    distance = (blobs(batch.image) - batch.landmarks[:, 0]).norm(dim=1)  # NaN where a view shows no blob
    assert distance[~lost].median() < 0.05
    assert distance[lost].nanmedian() > 0.05
    assert torch.equal(batch.landmarks, expected.landmarks)


def test_covered_faces_are_less_visible(marked: Callable[[int], Crops]) -> None:
    square = torch.tensor([(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)]).expand(COUNT, 5, 2)
    batch = batches_of(marked(0), square, replace(RIGHT, covered=1.0), 200).next()
    assert batch.visible.min() < 0.5
    assert (batch.visible < 1).float().mean() > 0.5
