"""What every stage shares: averages of its networks, optimiser steps, and the state that learning goes on from."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from dorian_training.data.batches import Batch
from dorian_training.methods.stage import Stage, cosine_rate


class OneLayer(Stage[Batch]):
    """Learns nothing by itself; its network is a number and a batch normalisation."""

    name = "one layer"

    def __init__(self, decay: float) -> None:
        super().__init__(torch.device("cpu"))
        self.network = self.add_network("net", nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1)))
        self.average = self.add_average("net", decay)
        self.add_optimizer("net", 0.1, (0.5, 0.9))

    def step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        raise NotImplementedError

    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        raise NotImplementedError

    def average_of(self, value: float) -> tuple[float, float]:
        """The averaged weight and running mean after the network's have become ``value`` and twice ``value``."""
        state = self.network.state_dict()
        state["0.weight"].fill_(value)
        state["1.running_mean"].fill_(2 * value)
        self.average.update_parameters(self.network)
        averaged = self.average.module.state_dict()
        return float(averaged["0.weight"]), float(averaged["1.running_mean"])


@pytest.mark.parametrize(
    ("decay", "kept"),
    [
        (0.25, [2 / 11, 0.25, 0.25]),
        (0.999, [2 / 11, 3 / 12, 4 / 13]),
    ],
)
def test_averages_of_parameters_and_buffers(decay: float, kept: list[float]) -> None:
    stage = OneLayer(decay)
    values = [8.0, -4.0, 1.0, 16.0]
    expected = values[0]  # the first value stands for all before it
    assert stage.average_of(values[0]) == (expected, 2 * expected)
    for value, share in zip(values[1:], kept, strict=True):
        expected = share * expected + (1 - share) * value
        assert stage.average_of(value) == pytest.approx((expected, 2 * expected), rel=1e-6)


def test_a_long_average_forgets_at_the_decay_it_was_given() -> None:
    stage = OneLayer(0.9)
    stage.average.n_averaged.fill_(10_000)
    stage.average.module.state_dict()["0.weight"].fill_(1.0)
    assert stage.average_of(0.0)[0] == pytest.approx(0.9)
    assert stage.average_of(0.0)[0] == pytest.approx(0.81)


def test_averages_neither_train_nor_change_by_use() -> None:
    stage = OneLayer(0.9)
    stage.average_of(1.0)
    before = {name: tensor.clone() for name, tensor in stage.average.state_dict().items()}
    assert not any(parameter.requires_grad for parameter in stage.average.parameters())
    stage.average(torch.randn(8, 1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.average.state_dict().items())


def test_one_step_down_a_loss() -> None:
    stage = OneLayer(0.9)
    weight = stage.network[0].weight  # type: ignore[index]
    with torch.no_grad():
        weight.fill_(3.0)
    weight.grad = torch.full_like(weight, -1e6)  # left over from another loss
    loss = stage.optimizer_step("net", (weight * 2).sum())
    assert (float(loss), loss.requires_grad) == (6.0, False)
    assert float(weight.detach()) == pytest.approx(3.0 - 0.1, abs=1e-5)  # Adam's first step is as long as its rate


def test_one_loss_moves_all_networks_that_it_is_for() -> None:
    stage = OneLayer(0.9)
    head = stage.add_network("head", nn.Linear(1, 1, bias=False))
    stage.add_optimizer("head", 0.2, (0.5, 0.9))
    weights = [stage.network[0].weight, head.weight]  # type: ignore[index]
    for weight in weights:
        with torch.no_grad():
            weight.fill_(3.0)  # type: ignore[operator]
        weight.grad = torch.full_like(weight, -1e6)  # type: ignore[arg-type]
    loss = stage.optimizer_step(("net", "head"), sum(weight.sum() for weight in weights))  # type: ignore[operator,misc]
    assert float(loss) == 6.0
    assert [float(weight.detach()) for weight in weights] == pytest.approx([2.9, 2.8], abs=1e-5)  # type: ignore[arg-type]


def test_weights_decay_in_matrices_and_kernels_alone() -> None:
    stage = OneLayer(0.9)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.PReLU(3), nn.Flatten(), nn.Linear(3, 4))
    stage.add_network("conv", network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(2.0)
    stage.add_optimizer("conv", 0.1, (0.9, 0.999), weight_decay=0.5)
    stage.optimizer_step("conv", sum((0 * parameter).sum() for parameter in network.parameters()))  # type: ignore[arg-type]
    result = {name: float(parameter.detach().mean()) for name, parameter in network.named_parameters()}
    shrunk = {name: value for name, value in result.items() if value != 2.0}
    assert shrunk == pytest.approx({"0.weight": 2 * (1 - 0.1 * 0.5), "4.weight": 2 * (1 - 0.1 * 0.5)})
    assert len(result) == 7


def test_without_decay_it_is_plain_adam() -> None:
    torch.manual_seed(0)
    stage, plain = OneLayer(0.9), nn.Linear(2, 2)
    head = stage.add_network("head", nn.Linear(2, 2))
    stage.add_optimizer("head", 0.1, (0.5, 0.9))
    plain.load_state_dict(head.state_dict())
    adam = torch.optim.Adam(plain.parameters(), lr=0.1, betas=(0.5, 0.9))
    for step in range(5):
        values = torch.randn(8, 2, generator=torch.Generator().manual_seed(step))
        stage.optimizer_step("head", (head(values) - values**2).square().mean())
        adam.zero_grad()
        (plain(values) - values**2).square().mean().backward()
        adam.step()
    for one, other in zip(head.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_rate_is_every_optimisers() -> None:
    stage = OneLayer(0.9)
    stage.add_network("head", nn.Linear(2, 2))
    stage.add_optimizer("head", 0.2, (0.5, 0.9))
    stage.set_rate(0.03)
    rates = [group["lr"] for optimizer in stage.optimizers.values() for group in optimizer.param_groups]
    assert rates == [0.03] * 4  # matrices and the rest, of both


@pytest.mark.parametrize(
    ("done", "warm_up", "rate"),
    [(0, 0.1, 0), (0.05, 0.1, 0.5), (0.1, 0.1, 1), (0.55, 0.1, 0.5), (0.325, 0.1, 0.853553), (1, 0.1, 0), (0, 0, 1)],
)
def test_the_rate_rises_in_a_line_and_falls_in_a_cosine(done: float, warm_up: float, rate: float) -> None:
    assert cosine_rate(done, warm_up) == pytest.approx(rate, abs=1e-6)


def test_a_stage_need_not_draw_measure_or_change() -> None:
    stage = OneLayer(0.9)
    stage.schedule(0.5)
    assert stage.samples() is None
    assert stage.measure() == {}


def test_what_a_checkpoint_holds() -> None:
    stage = OneLayer(0.9)
    stage.average_of(1.0)
    weights = stage.weights()
    assert weights.keys() == {"net", "net_ema"}
    assert weights["net"].keys() == weights["net_ema"].keys() == stage.network.state_dict().keys()


def test_state_goes_into_another_stage() -> None:
    first, second = OneLayer(0.9), OneLayer(0.9)
    for value in (5.0, 7.0):
        first.optimizer_step("net", first.network(torch.tensor([[1.0], [2.0]])).square().sum())
        first.average_of(value)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.average_of(9.0) == first.average_of(9.0)  # the averages know how many they have seen
    for stage in (first, second):
        stage.optimizer_step("net", (stage.network[0].weight * 2).sum())  # type: ignore[index]
    assert torch.equal(second.network.state_dict()["0.weight"], first.network.state_dict()["0.weight"])
