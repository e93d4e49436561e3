"""Training in two processes under torchrun: the same networks in both, and one of them writing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dorian_training.checkpoint import RESUME_FILE, load_resume, load_weights
from dorian_training.distributed import (
    DistributedContext,
    average_gradients,
    broadcast_flag,
    broadcast_state,
    distributed_context,
)

# Each process checks what it sees; a failed assert fails the launch.
WORKER = """
import sys
from pathlib import Path
import torch
from torch import nn
from dorian_training.distributed import average_gradients, broadcast_flag, broadcast_state, distributed_context

with distributed_context("cpu") as context:
    assert context.world_size == 2 and context.is_main == (context.rank == 0)
    torch.manual_seed(context.rank)
    module = nn.Sequential(nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(3))
    module[1].running_mean.fill_(context.rank)
    broadcast_state([module])
    torch.manual_seed(0)
    assert torch.equal(module[0].weight, nn.Conv2d(2, 3, 3).weight)
    assert module[1].running_mean.tolist() == [0.0] * 3
    (module[0].weight * (1 + 4 * context.rank)).sum().backward()
    average_gradients(module)
    assert torch.equal(module[0].weight.grad, torch.full_like(module[0].weight, 3.0))
    assert module[1].weight.grad is None
    assert broadcast_flag(context.is_main, context.device) and not broadcast_flag(not context.is_main, context.device)
    Path(sys.argv[1], f"rank{context.rank}").touch()
"""


@pytest.fixture
def launch(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Runs a program in two processes under torchrun."""
    scratch = tmp_path_factory.mktemp("torchrun")

    def launch(*command: object) -> None:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)}  # it leaves its logs behind
        result = subprocess.run(
            [*torchrun, *map(str, command)], env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert result.returncode == 0, result.stderr[-4000:]

    return launch


def learned(state: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Parameters of every network: batch statistics are each process's own."""
    own = ("running_mean", "running_var", "num_batches_tracked")
    return {
        f"{network}/{name}": tensor
        for network, tensors in state.items()
        for name, tensor in tensors.items()
        if not name.endswith(own)
    }


def test_alone_there_is_nothing_to_share() -> None:
    module = nn.Linear(2, 2)
    module(torch.ones(1, 2)).sum().backward()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    with distributed_context("cpu") as context:
        assert context == DistributedContext(0, 1, torch.device("cpu"))
        assert context.is_main
        broadcast_state([module])
        average_gradients(module)
        assert [broadcast_flag(word, context.device) for word in (True, False)] == [True, False]
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert module.weight.grad is not None
    assert torch.equal(module.weight.grad, torch.ones(2, 2))


def test_what_two_processes_share(tmp_path: Path, launch: Callable[..., None]) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    launch(tmp_path / "worker.py", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank0", "rank1", "worker.py"]


def test_two_processes_train_the_same_networks(
    tmp_path: Path, write_archives: Callable[..., Path], launch: Callable[..., None]
) -> None:
    ages = [9, 24, 34, 44, 54, 70] * 3
    faces = write_archives(tmp_path / "faces", [{"age_low": age, "age_high": age} for age in ages])
    out = tmp_path / "run"
    launch(
        *("-m", "dorian_training.cli.train", "age-cgan", "--data", faces, "--out", out, "--steps", 2),
        *("--preset", "dcgan", "--batch-size", 2, "--threads", 1, "--device", "cpu", "--cache", tmp_path / "cache"),
        *("--minutes", 60),
    )
    first, second = load_resume(out), load_resume(out / "rank1")
    assert first is not None
    assert second is not None
    assert first["step"] == second["step"] == 2
    assert not torch.equal(first["batches"]["generator"], second["batches"]["generator"])  # each draws its own faces
    for kind in ("networks", "averages"):
        one, two = learned(first["stage"][kind]), learned(second["stage"][kind])
        assert one.keys() == two.keys()
        assert [name for name, tensor in one.items() if not torch.equal(tensor, two[name])] == []
    moments = [state["stage"]["optimizers"]["generator"]["state"][0]["exp_avg"] for state in (first, second)]
    assert torch.equal(*moments)
    assert [path.name for path in (out / "rank1").iterdir()] == [RESUME_FILE]
    assert len(list(out.glob("events.out.tfevents*"))) == 1
    assert [path.name for path in (out / "samples").iterdir()] == ["0000002.jpg"]
    _, about = load_weights(out)
    assert (about["steps"], about["batch_size"]) == (2, 4)


@pytest.mark.parametrize(
    ("named", "device"), [("cpu", "cpu"), ("auto", "cuda:0" if torch.cuda.is_available() else "cpu")]
)
def test_devices_by_name(named: str, device: str) -> None:
    with distributed_context(named) as context:
        assert context.device == torch.device(device)
