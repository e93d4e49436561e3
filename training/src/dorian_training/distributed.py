"""Training on several devices under ``torchrun``: the rank of this process, and averages over all processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class DistributedContext:
    """This process among ``world_size`` processes, and the device that it trains on."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0


@contextmanager
def distributed_context(device: str) -> Iterator[DistributedContext]:
    """Join the process group that ``torchrun`` started, if it did.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:n``.
    """
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    context = DistributedContext(rank, world_size, torch.device(device))
    if context.device.type == "cuda":
        torch.cuda.set_device(context.device)
    if world_size == 1:
        yield context
        return
    distributed.init_process_group("nccl" if context.device.type == "cuda" else "gloo")
    try:
        yield context
    finally:
        distributed.destroy_process_group()


def broadcast_state(modules: Iterable[nn.Module]) -> None:
    """Give every process the parameters and buffers of the first one."""
    if not distributed.is_initialized():
        return
    for module in modules:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, src=0)


def broadcast_flag(flag: bool, device: torch.device) -> bool:
    """Return the first process's ``flag`` in every process.

    Clocks differ, and processes that disagree about stopping wait for each other for ever.
    """
    if not distributed.is_initialized():
        return flag
    tensor = torch.tensor([flag], dtype=torch.uint8, device=device)
    distributed.broadcast(tensor, src=0)
    return bool(tensor)


def average_gradients(module: nn.Module) -> None:
    """Replace the gradients of ``module`` by their mean over all processes; call between backward and step.

    In one flat message, as StyleGAN 3 does: it leaves alternating losses and R1's double backward alone, where the hooks
    of ``DistributedDataParallel`` would interfere.
    """
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, chunk in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(chunk.view_as(gradient))
