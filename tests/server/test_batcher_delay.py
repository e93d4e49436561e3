"""A graph's batcher: batches that wait for company, what is told of them, and many callers of all kinds."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dorian_server.domain.caller import PRIORITIES, Caller, working_for
from dorian_server.domain.errors import CallCancelledError
from dorian_server.runtimes.batcher import Batcher
from tests.server.batcher_bench import SECONDS, Bench, Doubler, MakeBench, answered, of, sized

LEAST_DELAY = 0.05  # seconds
LONG = 30.0  # seconds, in which a test would not end
CALLERS = 16


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """A bench of one lane."""
    return make_bench()


# --- waiting for company ---


def test_a_batch_waits_for_company_until_it_is_full(make_bench: MakeBench) -> None:
    """Though a second lane is free: who takes it would have no company either."""
    bench = make_bench(lanes=2, max_rows=4, delay=LONG)
    bench.release()
    answers = [bench.submit(of(float(number))) for number in range(2)]
    bench.queue.await_waiting(1)
    assert bench.graph.batches == []
    answers.append(bench.submit(of(2.0, 3.0)))
    begin = time.perf_counter()
    assert sorted(row for answer in answers for row in answered(answer)) == [0, 2, 4, 6]
    assert time.perf_counter() - begin < LONG
    assert [sorted(batch) for batch in bench.graph.batches] == [[0, 1, 2, 3]]


def test_a_full_batch_does_not_wait(make_bench: MakeBench) -> None:
    bench = make_bench(max_rows=2, delay=LONG)
    bench.release()
    begin = time.perf_counter()
    assert answered(bench.submit(of(1.0, 2.0))) == [2, 4]
    assert time.perf_counter() - begin < LONG


def test_a_batch_waits_no_longer_than_the_delay(make_bench: MakeBench) -> None:
    bench = make_bench(lanes=2, delay=LEAST_DELAY)
    bench.release()
    begin = time.perf_counter()
    assert answered(bench.submit(of(1.0))) == [2]
    assert LEAST_DELAY <= time.perf_counter() - begin < SECONDS
    assert answered(bench.submit(of(2.0))) == [4], "the lane is free again"


def test_those_that_cannot_be_joined_are_no_company_and_go_next(make_bench: MakeBench) -> None:
    bench = make_bench(lanes=2, max_rows=2, delay=LONG)
    bench.release()
    wide = [bench.submit(of(float(number), width=2)) for number in (5, 6)]
    narrow = [bench.submit(of(float(number))) for number in (1, 2)]
    begin = time.perf_counter()
    assert sorted(row for answer in wide + narrow for row in answered(answer)) == [2, 4, 10, 12]
    assert time.perf_counter() - begin < LONG
    assert sorted(sorted(batch) for batch in bench.graph.batches) == [[1, 2], [5, 6]]


def test_a_caller_that_leaves_while_its_batch_waits_for_company_is_not_run(make_bench: MakeBench) -> None:
    bench, callers = make_bench(max_rows=3, delay=LONG), [Caller(), Caller()]
    bench.release()
    leaving = [bench.submit(of(float(number)), caller) for number, caller in enumerate(callers)]
    bench.queue.await_waiting(1)
    for caller in callers:
        caller.cancel()
    answer = bench.submit(of(2.0))  # the batch would be full
    for left in leaving:
        assert isinstance(left.exception(SECONDS), CallCancelledError)
    assert answered(answer) == [4]
    assert bench.graph.batches == [[2]]


# --- what is told ---


def test_the_watch_hears_of_rows_and_waits(bench: Bench) -> None:
    begin = time.perf_counter()
    answers = [bench.send(*job) for job in sized(1, 2, 3)]
    bench.release()
    for answer in answers:
        answered(answer)
    took = time.perf_counter() - begin
    assert bench.queue.rows == [1, 5]
    assert [len(waits) for waits in bench.queue.waits] == [1, 2]
    (alone,), (longer, shorter) = bench.queue.waits
    assert 0 <= alone <= took
    assert 0 < shorter < longer <= took
    bench.queue.await_waiting(0)


# --- many ---


@pytest.mark.parametrize(("lanes", "delay"), [(1, 0.0), (2, 0.0), (3, 0.0), (2, 0.001)])
def test_many_callers_that_fail_leave_and_stay_all_hear_of_it(lanes: int, delay: float) -> None:
    """Each gets its own answer, its own error, or ``CallCancelledError`` if it has left; no lane is lost on the way."""
    graph = Doubler()
    batcher = Batcher(graph, 4, lanes, delay)

    def call(seed: int) -> int:
        chance, good = random.Random(seed), 0
        for _ in range(40):
            caller = Caller(chance.choice(PRIORITIES))
            rows = [float(chance.randint(-1, 40)) for _ in range(chance.randint(1, 6))]
            leaving = threading.Timer(chance.uniform(0, 0.002), caller.cancel) if chance.random() < 0.3 else None
            if leaving:
                leaving.start()
            try:
                with working_for(caller):
                    actual = batcher.run(of(*rows, width=chance.randint(1, 2)))
                assert actual["twice"][:, 0].tolist() == [2 * row for row in rows]
                good += 1
            except ValueError:
                assert min(rows) < 0
            except CallCancelledError:
                assert caller.cancelled.is_set()
            if leaving:
                leaving.join()
        return good

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = [pool.submit(call, seed) for seed in range(CALLERS)]
        assert all(answer.result(SECONDS) > 0 for answer in answers)
    assert graph.most_at_once <= lanes
    assert max(map(len, graph.batches)) <= 4
    expect_lanes(graph, batcher, lanes)


def expect_lanes(graph: Doubler, batcher: Batcher, lanes: int) -> None:
    """So many runs begin at once, none of which can be joined with another; one more waits."""
    graph.open, before = False, len(graph.batches)
    with ThreadPoolExecutor(lanes + 1) as pool:
        answers = [pool.submit(batcher.run, of(float(row), width=row)) for row in range(1, lanes + 2)]
        graph.await_runs(before + lanes)
        assert graph.at_once == lanes
        graph.let_all()
        assert [answered(answer) for answer in answers] == [[2.0 * row] for row in range(1, lanes + 2)]
    assert len(graph.batches) == before + lanes + 1
