"""Networks small enough to train in a test, and faces whose age group is their brightness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dorian_bundle.ages import PAPER_GROUPS
from dorian_training.data.batches import BalancedBatches
from dorian_training.data.crops import Crops
from dorian_training.methods.age_cgan import AdversarialSettings, AdversarialStage, LatentSettings, LatentStage
from dorian_training.methods.stage import Stage
from dorian_training.networks.age_cgan import AgeCganShape, DiscriminatorShape, EncoderShape, GeneratorShape
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.facenet import FaceNet
from tests.training.painted_crops import painted_crops

MakeCrops = Callable[[Sequence[int | None], NDArray[np.uint8]], Crops]
MakeBatches = Callable[..., BalancedBatches]
MakeStage = Callable[..., Stage]
CPU = torch.device("cpu")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_shape() -> AgeCganShape:
    """Everything that a preset may have, a few channels wide."""
    return AgeCganShape(
        latent=8,
        encoder=EncoderShape((8, 8, 8, 8, 8), kernel=3, hidden=16),
        generator=GeneratorShape((8, 8, 8, 8), kernel=3, hidden=16, refine=1, dropout=0.1, leak=0.0),
        discriminator=DiscriminatorShape((8, 8, 8, 8), kernel=4, batch_norm=False, condition="outputs"),
    )


@pytest.fixture(scope="session")
def make_crops() -> MakeCrops:
    return painted_crops


@pytest.fixture(scope="session")
def make_batches(make_crops: MakeCrops) -> MakeBatches:
    """Balanced batches of 64 px noise, eight faces a group, each group brighter than the one before."""
    groups = np.repeat(np.arange(len(PAPER_GROUPS)), 8)
    noise = np.random.default_rng(0).integers(0, 40, (len(groups), 64, 64, 3), dtype=np.uint8)
    crops = make_crops(
        [PAPER_GROUPS[g].low for g in groups], noise + (groups * 40)[:, None, None, None].astype(np.uint8)
    )

    def make(seed: int = 0, batch_size: int = 6) -> BalancedBatches:
        return BalancedBatches(crops, PAPER_GROUPS, batch_size, seed)

    return make


@pytest.fixture(scope="session")
def make_stage(tiny_shape: AgeCganShape, make_batches: MakeBatches) -> MakeStage:
    """A stage (``adversarial`` or ``latent``) of tiny networks, initialised from ``seed``, with changed settings.

    ``facenet``: of the latent stage.
    """

    def make(kind: str, seed: int = 0, amp: bool = False, facenet: FaceNet | None = None, **changes: float) -> Stage:
        torch.manual_seed(seed)
        if kind == "adversarial":
            return AdversarialStage(tiny_shape, AdversarialSettings(**changes), CPU, amp)  # type: ignore[arg-type]
        settings = LatentSettings(**changes)  # type: ignore[arg-type]
        return LatentStage(tiny_shape, settings, CPU, amp, make_batches().next(), facenet)

    return make


@pytest.fixture
def facenet() -> DlibResNet:
    """An untrained FaceNet, a few channels wide, which tells the tests' faces apart."""
    torch.manual_seed(6)
    network = DlibResNet(DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8)))
    for parameter in network.parameters():
        if parameter.ndim > 1:  # untrained, all people would be nearly the same
            parameter.data *= 2
    return network


@pytest.fixture(scope="session")
def differing() -> Callable[[Any, Any], list[str]]:
    """Names the paths at which two nested containers of tensors and numbers are not the same, bit by bit."""

    def differing(a: Any, b: Any) -> list[str]:
        one, two = dict(_leaves(a)), dict(_leaves(b))
        assert one.keys() == two.keys()
        return [
            path
            for path, value in one.items()
            if not (torch.equal(value, two[path]) if isinstance(value, Tensor) else value == two[path])
        ]

    return differing


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and number in nested containers, by its path."""
    match value:
        case Mapping():
            for key, part in value.items():
                yield from _leaves(part, f"{path}/{key}")
        case Tensor():
            yield path, value
        case str():
            yield path, value
        case Sequence():
            for index, part in enumerate(value):
                yield from _leaves(part, f"{path}/{index}")
        case _:
            yield path, value
