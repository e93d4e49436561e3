"""What a training stage is to the loop."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from dorian_training.checkpoint import load_network
from dorian_training.distributed import average_gradients

BatchKind = TypeVar("BatchKind")
_MANY_STEPS = 100_000  # after which an average's memory is as long as its decay says


class Stage(ABC, Generic[BatchKind]):
    """One stage of a method: networks that learn, their averages, their optimisers, and one step of learning.

    ``networks`` are those that the stage works with, learning or not; ``averages`` are exponential moving averages
    (parameters and buffers) of some of them, by name; ``optimizers`` too are by the name of their network. ``carried`` are
    weights of other stages' networks that only pass through, so that the last stage's checkpoint holds all.
    """

    name: str

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.networks: dict[str, nn.Module] = {}
        self.averages: dict[str, AveragedModel] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.carried: dict[str, dict[str, Tensor]] = {}

    @abstractmethod
    def step(self, batch: BatchKind, number: int) -> dict[str, Tensor]:
        """Learn from ``batch``; returns losses by name, detached. ``number`` counts from 0."""

    @abstractmethod
    def load_pretrained(self, weights: dict[str, dict[str, Tensor]]) -> None:
        """Begin with the ``weights`` of an earlier run (see ``weights``); ``CheckpointError`` if they do not fit."""

    def samples(self) -> Tensor | None:
        """Return images to look at: float RGB in [-1, 1], (rows, columns, 3, height, width), the same faces each time.

        ``None`` where a stage draws nothing.
        """
        return None

    def measure(self) -> dict[str, float]:
        """Return metrics on faces that the stage does not learn from, by name."""
        return {}

    def schedule(self, done: float) -> None:
        """Set what changes over a run, of which a share ``done`` from 0 to 1 lies behind."""

    def add_network(self, name: str, network: nn.Module) -> nn.Module:
        network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.networks[name] = network
        return network

    def add_average(self, name: str, decay: float) -> AveragedModel:
        def average_one(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            share = min(decay, (1 + float(count)) / (10 + float(count)))  # short memory at the start
            return averaged + (current - averaged) * (1 - share)  # exactly itself where nothing changes

        average = AveragedModel(self.networks[name], avg_fn=average_one, use_buffers=True)
        self.averages[name] = average.eval().requires_grad_(False)
        return average

    def load_average(self, name: str, weights: dict[str, dict[str, Tensor]]) -> None:
        """Let the average of network ``name`` go on from ``weights``, with the long memory of one that has seen many steps."""
        average = self.averages[name]
        load_network(average.module, weights, f"{name}_ema")
        average.n_averaged.fill_(_MANY_STEPS)

    def add_optimizer(
        self,
        name: str,
        rate: float,
        betas: tuple[float, float],
        weight_decay: float = 0.0,
        head_rate: float = 1.0,
    ) -> Optimizer:
        """Add Adam for network ``name``.

        Args:
            name: The network.
            rate: Learning rate.
            betas: Adam's decays.
            weight_decay: Decoupled, on matrices and kernels alone.
            head_rate: Factor on the rate of the network's ``head``, which is new where the rest is fine-tuned.
        """
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for key, parameter in self.networks[name].named_parameters():
            groups.setdefault((parameter.ndim > 1, key.startswith("head.")), []).append(parameter)
        self.optimizers[name] = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "weight_decay": weight_decay if is_matrix else 0.0,
                    "lr": rate * (head_rate if is_head else 1.0),
                    "rate_factor": head_rate if is_head else 1.0,
                }
                for (is_matrix, is_head), parameters in groups.items()
            ],
            lr=rate,
            betas=betas,
            fused=True,
        )
        return self.optimizers[name]

    def set_rate(self, rate: float) -> None:
        """Let all optimisers go on at the learning rate ``rate``."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("rate_factor", 1.0)

    def optimizer_step(self, names: str | Sequence[str], loss: Tensor, max_norm: float | None = None) -> Tensor:
        """Take one optimiser step of the network or networks ``names`` down ``loss``; return the loss, detached.

        With ``max_norm``, gradients of a network that are longer are shortened to it.
        """
        network_names = [names] if isinstance(names, str) else names
        for name in network_names:
            self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for name in network_names:
            average_gradients(self.networks[name])
            if max_norm is not None:
                nn.utils.clip_grad_norm_(self.networks[name].parameters(), max_norm)
            self.optimizers[name].step()
        return loss.detach()

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Return the state dicts by name: each network's, and each average's as ``<network>_ema``."""
        state_dicts = {name: network.state_dict() for name, network in self.networks.items()}
        state_dicts |= {f"{name}_ema": average.module.state_dict() for name, average in self.averages.items()}
        return self.carried | state_dicts

    def state_dict(self) -> dict[str, Any]:
        """Return all that training resumes from, except the random generators and the data stream."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "averages": {name: average.state_dict() for name, average in self.averages.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "carried": self.carried,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for kind in ("networks", "averages", "optimizers"):
            for name, part in getattr(self, kind).items():
                part.load_state_dict(state[kind][name])
        self.carried = state["carried"]


def cosine_rate(done: float, warm_up: float) -> float:
    """Return the share of the full learning rate at ``done`` of a run: up in a line to 1 at ``warm_up``, down in a cosine."""
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / (1 - warm_up))))
