"""How many rows a graph is given at once, from how long it takes for them; and what it is run on to find out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import count

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.face_readers import detector_signature
from dorian_bundle.graphs import MAX_BATCH_ROWS, Signature
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession
from dorian_server.runtimes.session import Session
from dorian_server.runtimes.warmup import sample_inputs, warm_up
from dorian_server.serving.bundles import build_pipeline
from dorian_server.settings import Settings

Floats = NDArray[np.float32]
Seconds = Callable[[int], float]
ALLOCATION = 10.0  # seconds of the first run


class Timed:
    """A session of which each run takes as long as ``seconds`` says of its rows, by its own ``clock``; every other one ``noise`` times."""

    signature: Signature = detector_signature()

    def __init__(self, seconds: Seconds, noise: float = 1.0) -> None:
        self.runs: list[int] = []
        self._seconds, self._noise, self._now = seconds, noise, 0.0

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        rows = len(inputs["image"])
        self._now += self._seconds(rows) * (self._noise if len(self.runs) % 2 else 1) + (0 if self.runs else ALLOCATION)
        self.runs.append(rows)
        return {}

    def clock(self) -> float:
        return self._now


def linear(overhead: float, row: float) -> Seconds:
    """Milliseconds of a run, and for each of its rows."""
    return lambda rows: (overhead + row * rows) / 1000


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        (linear(1, 0), MAX_BATCH_ROWS),  # all overhead
        (linear(24, 0), MAX_BATCH_ROWS),
        (linear(26, 0), 1),  # twice as much could be too long
        (linear(0, 1), 1),  # no overhead, nothing to win
        (linear(0, 0.001), 1),
        (linear(1, 1), 8),  # 8 rows take 9 ms, 16 take 17 ms: 1.06 times as many in a second
        (linear(4, 1), MAX_BATCH_ROWS),
        (linear(10, 1), 16),  # 16 rows take 26 ms
        (linear(0.1, 8), 1),
        (linear(300, 1), 1),
        (lambda rows: 0.001 if rows < 4 else 0.002 * rows, 2),
    ],
)
def test_as_many_rows_as_bring_more_in_a_second_and_do_not_take_long(seconds: Seconds, rows: int) -> None:
    session = Timed(seconds)
    assert warm_up(session, session.clock) == rows
    assert len(session.runs) <= 13


@pytest.mark.parametrize("noise", [3.0, 100.0])
def test_the_first_run_and_disturbed_ones_do_not_count(noise: float) -> None:
    session = Timed(linear(1, 1), noise)
    assert warm_up(session, session.clock) == 8


def test_a_graph_has_run_at_least_once_when_it_is_warm() -> None:
    session = Timed(linear(1000, 0))
    assert warm_up(session, session.clock) == 1
    assert session.runs[0] == 1


@pytest.mark.parametrize("rows", [1, 5])
def test_samples_fit_the_signature(default_bundle: Bundle, rows: int) -> None:
    for graph in default_bundle.manifest.graphs.values():
        inputs = sample_inputs(graph.signature, rows)
        assert list(inputs) == [spec.name for spec in graph.signature.inputs]
        for spec in graph.signature.inputs:
            values = inputs[spec.name]
            assert values.dtype == np.float32
            assert values.shape[0] == rows
            assert len(values.shape) == len(spec.shape)
            for size, named in zip(values.shape[1:], spec.shape[1:], strict=True):
                assert size == named if isinstance(named, int) else size > 0


def test_the_embedded_graphs_run_on_samples(default_bundle: Bundle) -> None:
    for name, graph in default_bundle.manifest.graphs.items():
        session = OnnxRuntimeSession(default_bundle.graph_path(name), graph.signature, 1)
        outputs = session.run(sample_inputs(graph.signature, 2))
        assert {len(values) for values in outputs.values()} == {2}, name


def test_each_graph_of_a_pipeline_has_its_own_number_of_rows(
    searching_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = count(1)

    def warmed(session: Session) -> int:
        return next(rows)

    monkeypatch.setattr("dorian_server.serving.bundles.warm_up", warmed)
    with caplog.at_level(logging.INFO, logger="dorian_server"):
        build_pipeline(Settings(searching_bundle.folder, threads=1))
    (line,) = (message for message in caplog.messages if message.startswith("rows at once: "))
    told = dict(part.split() for part in line.removeprefix("rows at once: ").split(", "))
    assert told.keys() == searching_bundle.manifest.graphs.keys()
    assert sorted(map(int, told.values())) == list(range(1, 1 + len(told)))
