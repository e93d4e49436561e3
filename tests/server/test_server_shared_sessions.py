"""Concurrent runs of one graph: which are joined, in what order, that each caller has its own answer, and what an error does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_searches import EMBEDDING, LATENT, SIZE
from turnstile import SECONDS, WatchedSession

from dorian_bundle import Bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.families import cyclegan_signature
from dorian_bundle.graphs import Signature
from dorian_server.batches import MOST_ROWS
from dorian_server.sessions.onnx_runtime import OnnxRuntimeSession
from dorian_server.sessions.shared import SharedSession

Floats = NDArray[np.float32]
Arrays = Mapping[str, Floats]
Send = Callable[..., Future[dict[str, Floats]]]


class Doubler:
    """Gives twice what it is given, and each row's number in its batch; refuses negative rows. It notes its batches.

    Its first run waits until ``go`` is set.
    """

    signature: Signature = cyclegan_signature(SIZE)

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.started, self.go = threading.Event(), threading.Event()
        self.at_once, self.most_at_once = 0, 0
        self.go.set()

    def run(self, inputs: Arrays) -> dict[str, Floats]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            rows = inputs["row"]
            self.batches.append(rows[:, 0].tolist())
            self.started.set()
            assert self.go.wait(SECONDS)
            assert len(inputs["again"]) == len(rows)
            if (rows < 0).any():
                raise ValueError(f"{rows.min():g} is negative")
            return {"twice": rows + inputs["again"], "place": np.arange(len(rows), dtype=np.float32)}
        finally:
            self.at_once -= 1


@pytest.fixture
def session() -> Doubler:
    return Doubler()


@pytest.fixture
def shared(session: Doubler) -> WatchedSession:
    return WatchedSession(session)


@pytest.fixture
def send(session: Doubler, shared: WatchedSession) -> Iterator[Send]:
    """Calls ``shared`` with rows on a thread of its own. The first call runs and waits; the others queue in their order."""
    with ThreadPoolExecutor(64) as pool:

        def send(*rows: float) -> Future[dict[str, Floats]]:
            if not session.started.is_set():
                session.go.clear()
            future = pool.submit(shared.run, of(*rows))
            shared.turnstile.await_callers(1)
            assert session.started.wait(SECONDS)
            return future

        yield send
        session.go.set()


def of(*rows: float) -> Arrays:
    given = np.array(rows, np.float32)[:, None]
    return {"row": given, "again": given.copy()}


def answered(future: Future[dict[str, Floats]]) -> list[float]:
    return future.result(SECONDS)["twice"][:, 0].tolist()


def sized(*rows: int) -> list[list[float]]:
    """Jobs of so many rows each, of which no two are alike."""
    ends = np.cumsum(rows)
    return [list(map(float, range(end - number, end))) for number, end in zip(rows, ends, strict=True)]


# --- joining ---


def test_who_comes_while_the_graph_runs_is_in_its_next_run(session: Doubler, send: Send) -> None:
    futures = [send(float(number)) for number in range(5)]
    session.go.set()
    assert [answered(future) for future in futures] == [[2.0 * number] for number in range(5)]
    assert session.batches == [[0], [1, 2, 3, 4]]


def test_each_caller_has_the_answers_to_its_own_rows(session: Doubler, send: Send) -> None:
    jobs = sized(1, 3, 1, 2)
    futures = [send(*job) for job in jobs]
    session.go.set()
    assert [answered(future) for future in futures] == [[2 * row for row in job] for job in jobs]
    assert session.batches == [jobs[0], jobs[1] + jobs[2] + jobs[3]]
    places = [future.result()["place"].tolist() for future in futures]
    assert places == [[0], [0, 1, 2], [3], [4, 5]], "all outputs are handed out alike"


@pytest.mark.parametrize(
    ("rows", "batches"),
    [
        ([1] * 41, [1, 32, 8]),
        ([1, 20, 10, 5, 30], [1, 30, 5, 30]),
        ([1, 31, 1, 1], [1, 32, 1]),
        ([1, 40, 2], [1, 40, 2]),
        ([40, 1, 1], [40, 2]),
    ],
)
def test_no_more_rows_at_once_than_a_graph_is_given_unless_one_caller_has_more(
    session: Doubler, send: Send, rows: list[int], batches: list[int]
) -> None:
    assert MOST_ROWS == 32
    futures = [send(*job) for job in sized(*rows)]
    session.go.set()
    assert [answered(future) for future in futures] == [[2 * row for row in job] for job in sized(*rows)]
    assert [len(batch) for batch in session.batches] == batches


def test_nobody_is_overtaken(session: Doubler, send: Send) -> None:
    """Who comes first is served first, though a later and smaller job would fit where the next does not."""
    jobs = sized(1, 30, 30, 1, 1)
    futures = [send(*job) for job in jobs]
    session.go.set()
    for future in futures:
        answered(future)
    assert [row for batch in session.batches for row in batch] == [row for job in jobs for row in job]
    assert [len(batch) for batch in session.batches] == [1, 30, 32]


def test_one_caller_alone_is_run_as_it_is() -> None:
    seen: list[Arrays] = []
    made = {"out": np.ones((2, 3), np.float32)}

    class Mirror:
        signature = cyclegan_signature(SIZE)

        def run(self, inputs: Arrays) -> dict[str, Floats]:
            seen.append(inputs)
            return made

    given = of(1, 2)
    found = SharedSession(Mirror()).run(given)
    assert seen[0]["row"] is given["row"]
    assert found.keys() == made.keys()
    assert np.array_equal(found["out"], made["out"])


def test_callers_of_one_run_have_nothing_in_common(session: Doubler, send: Send) -> None:
    first, one, other = send(0.0), send(1.0, 2.0), send(3.0)
    session.go.set()
    answered(first)
    one.result(SECONDS)["twice"][:] = -7
    assert answered(other) == [6]
    assert not np.shares_memory(one.result()["twice"], other.result()["twice"])


def test_it_is_of_the_sessions_signature(session: Doubler, shared: WatchedSession) -> None:
    assert shared.signature is session.signature


# --- errors ---


def test_a_bad_job_fails_alone(session: Doubler, send: Send) -> None:
    first, good, bad, better = send(0.0), send(1.0), send(-2.0), send(3.0, 4.0)
    session.go.set()
    assert [answered(future) for future in (first, good, better)] == [[0], [2], [6, 8]]
    with pytest.raises(ValueError, match="-2 is negative"):
        answered(bad)
    assert session.batches == [[0], [1, -2, 3, 4], [1], [-2], [3, 4]]


def test_a_job_that_cannot_be_joined_fails_alone(session: Doubler, shared: WatchedSession, send: Send) -> None:
    """Its rows are of another length, so that there is no batch of them."""
    first, good = send(0.0), send(1.0)
    wide = {"row": np.ones((1, 2), np.float32), "again": np.ones((3, 2), np.float32)}
    with ThreadPoolExecutor(1) as pool:
        bad = pool.submit(shared.run, wide)
        shared.turnstile.await_callers(1)
        better = send(5.0)
        session.go.set()
        assert [answered(future) for future in (first, good, better)] == [[0], [2], [10]]
        with pytest.raises(AssertionError):
            bad.result(SECONDS)


def test_several_bad_jobs_have_each_its_own_error(session: Doubler, send: Send) -> None:
    futures = [send(float(-number)) for number in range(4)]
    session.go.set()
    assert answered(futures[0]) == [0]
    for number in (1, 2, 3):
        with pytest.raises(ValueError, match=f"-{number} is negative"):
            answered(futures[number])


def test_an_error_holds_nobody_back_who_comes_later(session: Doubler, shared: WatchedSession) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="negative"):
            shared.run(of(-1))
        assert shared.run(of(4))["twice"].tolist() == [[8]]


# --- many ---


def test_many_callers_get_what_they_would_alone(session: Doubler) -> None:
    shared, random = SharedSession(session), np.random.default_rng(0)
    rounds = [[random.uniform(-1, 9, random.integers(1, 4)) for _ in range(60)] for _ in range(8)]

    def call(jobs: Sequence[NDArray[np.float64]]) -> list[list[float] | None]:
        answers: list[list[float] | None] = []
        for job in jobs:
            try:
                answers.append(shared.run(of(*job))["twice"][:, 0].tolist())
            except ValueError:
                answers.append(None)
        return answers

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, rounds))
    doubled = [[(2 * job.astype(np.float32)).tolist() if job.min() >= 0 else None for job in jobs] for jobs in rounds]
    assert found == doubled
    assert any(answer is None for answers in found for answer in answers)
    assert session.most_at_once == 1
    assert max(map(len, session.batches)) <= MOST_ROWS


def test_a_graph_gives_the_same_joined_as_alone(searching_bundle: Bundle) -> None:
    graph = searching_bundle.manifest.graphs["gradient"]
    alone = OnnxRuntimeSession(searching_bundle.graph_path("gradient"), graph.signature, 1)
    shared, random = SharedSession(alone), np.random.default_rng(0)
    shapes = {
        "latent": (LATENT,),
        "condition": (len(PAPER_GROUPS),),
        "image": (3, SIZE, SIZE),
        "embedding": (EMBEDDING,),
        "weights": (3,),
    }
    jobs = [
        {name: random.uniform(0, 1, (1, *shape)).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(120)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.run, jobs))
    for job, answer in zip(jobs, found, strict=True):
        expected = alone.run(job)
        assert answer.keys() == expected.keys()
        assert all(np.allclose(answer[name], expected[name], atol=1e-6) for name in expected)
