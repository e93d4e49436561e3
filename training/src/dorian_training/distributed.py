"""Training on several devices under ``torchrun``: who this process is, and averages over all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Place:
    """This process among ``world`` processes, and the device it trains on."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0


@contextmanager
def joined(device: str) -> Iterator[Place]:
    """Join the processes that ``torchrun`` started, if it did; ``device``: ``auto``, ``cpu``, ``cuda`` or ``cuda:n``."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    place = Place(rank, world, torch.device(device))
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    if world == 1:
        yield place
        return
    distributed.init_process_group("nccl" if place.device.type == "cuda" else "gloo")
    try:
        yield place
    finally:
        distributed.destroy_process_group()


def share_start(modules: Iterable[nn.Module]) -> None:
    """Give every process the first one's parameters and buffers."""
    if not distributed.is_initialized():
        return
    for module in modules:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, src=0)


def first_says(word: bool, device: torch.device) -> bool:
    """The first process's ``word``, in every process: clocks differ, and processes that part ways wait for ever."""
    if not distributed.is_initialized():
        return word
    told = torch.tensor([word], dtype=torch.uint8, device=device)
    distributed.broadcast(told, src=0)
    return bool(told)


def average_gradients(module: nn.Module) -> None:
    """Replace the gradients of ``module`` by their mean over all processes; call between backward and step.

    In one flat message, as StyleGAN 3 does: it leaves alternating losses and R1's double backward alone, where the hooks
    of ``DistributedDataParallel`` would get in the way.
    """
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
