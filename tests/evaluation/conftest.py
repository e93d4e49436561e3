"""What tests of the evaluation share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dorian_training.data.crops import Crops
from tests.training.painted_crops import painted_crops


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_crops() -> Callable[..., Crops]:
    return painted_crops
