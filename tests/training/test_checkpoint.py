"""Checkpoints: the state of a run, and the file of weights that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dorian_training.checkpoint import (
    RESUME_FILE,
    WEIGHTS_FILE,
    load_network,
    load_resume,
    load_weights,
    save_resume,
    save_weights,
)
from dorian_training.errors import CheckpointError

ABOUT = {"family": "age_cgan", "shape": {"widths": [1, 2]}, "steps": 7}


@pytest.fixture
def weights() -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(4))
    network(torch.randn(2, 3, 8, 8))
    return {"encoder": network.state_dict(), "generator_ema": {"layer/with.slash": torch.randn(5)}}


def test_weights_and_what_is_said_of_them_come_back(tmp_path: Path, weights: dict[str, dict[str, Tensor]]) -> None:
    save_weights(tmp_path / WEIGHTS_FILE, weights, ABOUT)
    for place in (tmp_path, tmp_path / WEIGHTS_FILE):
        result, about = load_weights(place)
        assert about == ABOUT
        assert result.keys() == weights.keys()
        for network, state in weights.items():
            assert result[network].keys() == state.keys()
            assert all(torch.equal(result[network][name], tensor) for name, tensor in state.items())
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS_FILE]


def test_half_precision_rounds_once_and_leaves_counts_alone(
    tmp_path: Path, weights: dict[str, dict[str, Tensor]]
) -> None:
    save_weights(tmp_path / "small", weights, ABOUT, torch.float16)
    result, _ = load_weights(tmp_path / "small")
    for name, tensor in weights["encoder"].items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert result["encoder"][name].dtype == expected.dtype
        assert torch.equal(result["encoder"][name], expected)
    assert int(result["encoder"]["1.num_batches_tracked"]) == 1
    assert not torch.equal(result["encoder"]["0.weight"], weights["encoder"]["0.weight"])
    save_weights(tmp_path / "again", result, ABOUT, torch.float16)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "small").read_bytes()


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint at all", b'\x08\0\0\0\0\0\0\0{"a":1}}'])
def test_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / WEIGHTS_FILE).write_bytes(content)
    for place in (tmp_path, tmp_path / WEIGHTS_FILE):
        with pytest.raises(CheckpointError, match=rf"{WEIGHTS_FILE} is not a checkpoint that can be read"):
            load_weights(place)


def test_a_network_that_the_checkpoint_lacks(weights: dict[str, dict[str, Tensor]]) -> None:
    with pytest.raises(CheckpointError, match="no 'encoder_ema'; it has encoder, generator_ema"):
        load_network(nn.Linear(1, 1), weights, "encoder_ema")


def test_a_network_of_another_shape(weights: dict[str, dict[str, Tensor]]) -> None:
    with pytest.raises(CheckpointError, match=r"(?s)'encoder' does not fit: .*0\.weight.*size mismatch"):
        load_network(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), weights, "encoder")
    with pytest.raises(CheckpointError, match=r"(?s)'encoder' does not fit: .*Missing"):
        load_network(nn.Linear(2, 2), weights, "encoder")


def test_a_network_takes_its_weights(weights: dict[str, dict[str, Tensor]]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    load_network(network, weights, "encoder")
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in weights["encoder"].items())


def test_the_state_of_a_run_comes_back(tmp_path: Path) -> None:
    assert load_resume(tmp_path) is None
    state = {"step": 3, "random": torch.get_rng_state(), "nested": {"tensor": torch.randn(2)}, "nothing": None}
    save_resume(tmp_path, state)
    result = load_resume(tmp_path)
    assert result is not None
    assert (result["step"], result["nothing"]) == (3, None)
    assert torch.equal(result["random"], state["random"])
    assert torch.equal(result["nested"]["tensor"], state["nested"]["tensor"])
    assert [path.name for path in tmp_path.iterdir()] == [RESUME_FILE]


def test_a_state_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    save_resume(tmp_path, {"step": 1})
    with pytest.raises(AttributeError):
        save_resume(tmp_path, {"step": 2, "what": lambda: None})
    assert load_resume(tmp_path) == {"step": 1}


def test_a_state_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / RESUME_FILE).write_bytes(b"half of a file")
    with pytest.raises(CheckpointError, match=rf"{RESUME_FILE} cannot be read"):
        load_resume(tmp_path)
