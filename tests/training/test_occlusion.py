"""Covered faces: what is said to be visible is what the patches leave."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dorian_training.data.occlusion import covered

COUNT, SIZE = 60, 48
SQUARE = torch.tensor([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]).expand(COUNT, 4, 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat() -> Tensor:
    """Views of one colour each, so that every patch shows."""
    return torch.linspace(-0.9, 0.9, COUNT)[:, None, None, None].expand(COUNT, 3, SIZE, SIZE).clone()


def test_the_visible_share_is_what_the_patches_leave_of_the_face() -> None:
    views = flat()
    result, visible = covered(views, SQUARE, 1.0, generator())
    untouched = (result == views).all(dim=1)[:, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4]
    assert visible == pytest.approx(untouched.float().mean(dim=(1, 2)), abs=0.06)
    assert visible.min() < 0.6
    assert visible.max() > 0.8


def test_about_the_share_is_covered_and_the_rest_is_as_it_was() -> None:
    views = flat()
    result, visible = covered(views, SQUARE, 0.4, generator())
    same = (result == views).all(dim=(1, 2, 3))
    assert 0.4 < same.float().mean() < 0.8
    assert (visible[same] == 1).float().mean() > 0.95
    assert torch.equal(views, flat()), "the views that were given stay"
    nothing, all_visible = covered(views, SQUARE, 0.0, generator())
    assert torch.equal(nothing, views)
    assert (all_visible == 1).all()


def test_patches_follow_their_generator() -> None:
    first, again, other = (covered(flat(), SQUARE, 0.5, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_face_without_an_area_is_not_visible() -> None:
    point = torch.full((COUNT, 4, 2), -3.0)
    _, visible = covered(flat(), point, 1.0, generator())
    assert set(visible.tolist()) <= {0.0, 1.0}
