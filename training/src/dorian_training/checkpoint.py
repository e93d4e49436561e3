"""Checkpoints: the state from which a run resumes exactly, and the small half-precision file that is shipped and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dorian_bundle.files import draft_file
from dorian_training.errors import CheckpointError

RESUME_FILE = "resume.pt"
WEIGHTS_FILE = "networks.safetensors"
_AVERAGE = "_ema"  # after a network's name, its average's


def save_resume(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to the run folder, replacing the last one only when it is whole."""
    with draft_file(folder / RESUME_FILE) as draft:
        torch.save(state, draft)


def load_resume(folder: Path) -> dict[str, Any] | None:
    """Return the state last written to the run folder, on the CPU; ``None`` if there is none."""
    path = folder / RESUME_FILE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return state


def save_weights(
    path: Path, weights: dict[str, dict[str, Tensor]], metadata: dict[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write networks' state dicts to one safetensors file, floating-point tensors as ``dtype``, keyed ``network/tensor``.

    ``metadata`` (what JSON can hold) goes into its metadata: the networks' shape, the data, the number of steps. What a network
    has in common with its average, as what does not learn, is written once.
    """
    stored = {
        network: {name: _as(tensor, dtype) for name, tensor in state.items()} for network, state in weights.items()
    }
    tensors: dict[str, Tensor] = {}
    for network, state in stored.items():
        average = stored.get(f"{network}{_AVERAGE}", {})
        unshared = {
            name for name, tensor in state.items() if name not in average or not torch.equal(tensor, average[name])
        }
        tensors |= {f"{network}/{name}": state[name] for name in unshared or state}
    with draft_file(path) as draft:
        save_file(tensors, draft, metadata={"about": json.dumps(metadata)})


def load_weights(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the state dicts by network (floating-point tensors as float32), and what the file says about them.

    ``path``: the file, or a folder that holds ``networks.safetensors``. ``CheckpointError`` if it cannot be read.
    """
    file = path / WEIGHTS_FILE if path.is_dir() else path
    weights: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(file, framework="pt") as stored:
            metadata = json.loads((stored.metadata() or {}).get("about", "{}"))
            for key in stored.keys():  # noqa: SIM118 - not a dict
                network, _, name = key.partition("/")
                tensor = stored.get_tensor(key)
                weights.setdefault(network, {})[name] = tensor.float() if tensor.is_floating_point() else tensor
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{file} is not a checkpoint that can be read: {error}") from error
    for network, state in weights.items():
        for name, tensor in weights.get(f"{network}{_AVERAGE}", {}).items():
            state.setdefault(name, tensor)
    return weights, metadata


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor).cpu().contiguous()


def require_network(weights: dict[str, dict[str, Tensor]], name: str) -> None:
    """Raise ``CheckpointError`` unless ``weights`` hold a network called ``name``."""
    if name not in weights:
        raise CheckpointError(f"the checkpoint has no {name!r}; it has {', '.join(sorted(weights))}")


def load_network(network: torch.nn.Module, weights: dict[str, dict[str, Tensor]], name: str) -> None:
    """Give ``network`` the weights called ``name``; ``CheckpointError`` says which tensors do not fit."""
    require_network(weights, name)
    try:
        network.load_state_dict(weights[name])
    except RuntimeError as error:
        raise CheckpointError(f"{name!r} does not fit: {error}") from error
