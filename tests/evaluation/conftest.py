"""Fixtures of the evaluation's tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from dorian_client import Client
from dorian_evaluation import server_calls
from dorian_training.data.crops import Crops
from tests.training.painted_crops import painted_crops


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make calls to servers that are not there fail at once."""
    monkeypatch.setattr(server_calls, "Client", partial(Client, retries=0))


@pytest.fixture(scope="session")
def make_crops() -> Callable[..., Crops]:
    return painted_crops
