"""The networks that read faces: what they take and give, and how large they are."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.mesh import POINTS
from dorian_training.networks.age_estimator import YEARS, CompactAgeEstimator, CompactAgeEstimatorShape, expected_age
from dorian_training.networks.landmark_refiner import SIZE, ZOOM, LandmarkRefiner, LandmarkRefinerShape, view_template

SMALL: dict[str, tuple[Any, Any]] = {
    "age_estimator": (CompactAgeEstimator, CompactAgeEstimatorShape(widths=(4, 8, 8), strides=(2, 1, 2), dropout=0.5)),
    "landmark_refiner": (LandmarkRefiner, LandmarkRefinerShape(fine=(4, 8), middle=8, coarse=8, depth=1)),
}


@pytest.fixture(params=list(SMALL))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def images(family: str, count: int) -> Tensor:
    """Noise of the side that a network takes."""
    side = SIZE if family == "landmark_refiner" else 64
    return torch.randn(count, 3, side, side)


def built(family: str) -> nn.Module:
    """A small network whose batch statistics are not those of its start."""
    build, shape = SMALL[family]
    torch.manual_seed(0)
    network: nn.Module = build(shape)
    with torch.no_grad():
        for _ in range(3):
            network(images(family, 8) * 2 + 1)
    return network.eval()


def megabytes(network: nn.Module) -> float:
    """Size in half precision."""
    return 2 * sum(t.numel() for t in network.state_dict().values() if t.is_floating_point()) / 1e6


def joined(answer: Tensor | tuple[Tensor, ...]) -> Tensor:
    maps = [answer] if isinstance(answer, Tensor) else answer
    return torch.cat([item.reshape(len(item), -1) for item in maps], dim=1)


def test_shapes_survive_json(family: str) -> None:
    _, shape = SMALL[family]
    for item in (shape, type(shape)()):
        assert type(shape).from_dict(json.loads(json.dumps(item.as_dict()))) == item
    assert shape != type(shape)()


def test_the_same_weights_fit_a_network_of_the_same_shape(family: str) -> None:
    build, shape = SMALL[family]
    again = build(type(shape).from_dict(json.loads(json.dumps(shape.as_dict()))))
    again.load_state_dict(built(family).state_dict())
    with pytest.raises(RuntimeError, match=r"size mismatch|Unexpected key|Missing key"):
        build(type(shape)()).load_state_dict(built(family).state_dict())


@torch.no_grad()
def test_rows_of_a_batch_do_not_mix_at_inference(family: str) -> None:
    network, batch = built(family), images(family, 4)
    whole = joined(network(batch))
    assert (whole[1:] - whole[:-1]).abs().amax(dim=1).min() > 1e-4
    for row in range(4):
        assert torch.allclose(joined(network(batch[row : row + 1])), whole[row : row + 1], atol=1e-5)


def test_every_weight_learns(family: str) -> None:
    network = built(family).train()
    answer = joined(network(images(family, 4)))
    (answer * torch.randn(answer.shape)).sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@pytest.mark.parametrize(
    ("network", "limit"),
    [
        (CompactAgeEstimator(CompactAgeEstimatorShape()), 3.0),
        (LandmarkRefiner(LandmarkRefinerShape()), 1.5),
    ],
    ids=list(SMALL),
)
def test_what_ships_is_small(network: nn.Module, limit: float) -> None:
    assert 0.6 * limit < megabytes(network) < limit


# --- the landmark refiner ---


def refiner_of(maps: Tensor) -> LandmarkRefiner:
    """A refiner whose maps, (73, 24, 24), are these, whatever it sees."""

    class Fixed(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return maps[None].expand(len(image), -1, -1, -1)

    network = LandmarkRefiner(LandmarkRefinerShape())
    network.maps = Fixed()  # type: ignore[assignment]
    return network.eval()


@torch.no_grad()
def test_landmarks_are_mean_places_under_their_maps() -> None:
    maps = torch.full((POINTS, 24, 24), -1e4)
    maps[0, 3, 12] = 0  # row before column
    maps[1, 23, 23] = 0
    maps[2:] = 0.0
    maps[3] = -1e4
    maps[3, 4, 4], maps[3, 4, 8] = math.log(3), 0  # three to one
    result, _ = refiner_of(maps)(torch.zeros(2, 3, SIZE, SIZE))
    places = torch.tensor([(12.5, 3.5), (23.5, 23.5), (12, 12), (5.5, 4.5), (12, 12)])
    assert result.shape == (2, POINTS, 2)
    assert result[1, :5] == pytest.approx(places / 24, abs=1e-5)
    assert torch.equal(result[0], result[1])


@torch.no_grad()
def test_corrections_move_landmarks_beyond_the_view() -> None:
    network = refiner_of(torch.zeros(POINTS, 24, 24))
    network.corrections.bias[:2] = torch.tensor([0.75, -0.6])
    result, _ = network(torch.zeros(1, 3, SIZE, SIZE))
    assert result[0, 0] == pytest.approx(torch.tensor([1.25, -0.1]), abs=1e-5)
    assert result[0, 1] == pytest.approx(torch.tensor([0.5, 0.5]), abs=1e-5)


@torch.no_grad()
def test_visibility_is_a_logit_of_each_view() -> None:
    network = built("landmark_refiner")
    _, logits = network(torch.randn(5, 3, SIZE, SIZE))
    assert logits.shape == (5,)
    assert float(logits.std()) > 0


def test_views_show_the_face_smaller_than_crops() -> None:
    assert view_template() == DEFAULT_TEMPLATE.zoomed(ZOOM)
    assert 0 < ZOOM < 1


# --- the age estimator ---


@torch.no_grad()
def test_ages_are_spread_over_a_hundred_years() -> None:
    assert YEARS == 101
    assert built("age_estimator")(torch.randn(5, 3, 64, 64)).shape == (5, 101)


def test_the_expected_age_is_the_mean_of_the_distribution() -> None:
    certain = torch.full((3, 101), -1e4)
    certain[0, 0] = certain[1, 37] = certain[2, 100] = 0
    assert expected_age(certain).tolist() == [0, 37, 100]
    assert float(expected_age(torch.zeros(1, 101))) == pytest.approx(50)
    two = torch.full((1, 101), -1e4)
    two[0, 20], two[0, 60] = math.log(3), 0.0  # three to one
    assert float(expected_age(two)) == pytest.approx(30)
