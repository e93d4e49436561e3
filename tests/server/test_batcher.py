"""A graph's batcher: which runs are joined, in what order, that each caller has its own answer, and what errors and leaving do."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import numpy as np
import pytest

from dorian_bundle import Bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.families.cyclegan import cyclegan_signature
from dorian_bundle.graphs import MAX_BATCH_ROWS
from dorian_server.domain.caller import Caller
from dorian_server.domain.errors import CallCancelledError
from dorian_server.runtimes.batcher import Batcher
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession
from tests.server.batcher_bench import SECONDS, Arrays, Bench, Floats, MakeBench, answered, of, sized
from tests.server.tiny_searches import EMBEDDING, LATENT, SIZE


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """A bench of one lane."""
    return make_bench()


# --- joining ---


def test_who_comes_while_the_graph_runs_is_in_its_next_run(bench: Bench) -> None:
    answers = [bench.send(float(number)) for number in range(5)]
    bench.release()
    assert [answered(answer) for answer in answers] == [[2.0 * number] for number in range(5)]
    assert bench.graph.batches == [[0], [1, 2, 3, 4]]


def test_each_caller_has_the_answers_to_its_own_rows(bench: Bench) -> None:
    jobs = sized(1, 3, 1, 2)
    answers = [bench.send(*job) for job in jobs]
    bench.release()
    assert [answered(answer) for answer in answers] == [[2 * row for row in job] for job in jobs]
    assert bench.graph.batches == [jobs[0], jobs[1] + jobs[2] + jobs[3]]
    places = [answer.result()["place"].tolist() for answer in answers]
    assert places == [[0], [0, 1, 2], [3], [4, 5]], "all outputs are handed out alike"


@pytest.mark.parametrize(
    ("most", "rows", "batches"),
    [
        (MAX_BATCH_ROWS, [1] * 41, [1, 32, 8]),
        (MAX_BATCH_ROWS, [1, 31, 1, 1], [1, 32, 1]),
        (4, [1, 2, 2, 2], [1, 4, 2]),
        (1, [1, 1, 1], [1, 1, 1]),
    ],
)
def test_no_more_rows_at_once_than_a_graph_is_given(
    make_bench: MakeBench, most: int, rows: list[int], batches: list[int]
) -> None:
    bench = make_bench(max_rows=most)
    answers = [bench.send(*job) for job in sized(*rows)]
    bench.release()
    assert [answered(answer) for answer in answers] == [[2 * row for row in job] for job in sized(*rows)]
    assert [len(batch) for batch in bench.graph.batches] == batches == bench.queue.rows


@pytest.mark.parametrize(("rows", "batches"), [(4, [4]), (5, [4, 1]), (9, [4, 4, 1])])
def test_a_job_of_more_rows_is_run_in_parts(make_bench: MakeBench, rows: int, batches: list[int]) -> None:
    bench = make_bench(max_rows=4)
    bench.release()
    job = sized(rows)[0]
    assert answered(bench.submit(of(*job))) == [2 * row for row in job]
    assert [len(batch) for batch in bench.graph.batches] == batches


def test_who_fits_goes_along_with_the_first_that_waits(bench: Bench) -> None:
    """Nobody waits longer for it: the one that is passed by would not have been in that run either."""
    jobs = sized(1, 30, 30, 1, 1)
    answers = [bench.send(*job) for job in jobs]
    bench.release()
    for answer in answers:
        answered(answer)
    assert bench.graph.batches == [jobs[0], jobs[1] + jobs[3] + jobs[4], jobs[2]]


def test_rows_of_different_shapes_are_never_joined(bench: Bench) -> None:
    sent = [(0.0, 1), (1.0, 1), (2.0, 2), (3.0, 1), (4.0, 2), (5.0, 3)]
    answers = []
    for number, (row, width) in enumerate(sent):
        answers.append(bench.submit(of(row, width=width)))
        if number:
            bench.queue.await_waiting(number)
        else:
            bench.graph.await_runs(1)
    bench.release()
    for answer, (row, width) in zip(answers, sent, strict=True):
        assert answer.result(SECONDS)["twice"].tolist() == [[2 * row] * width]
    assert bench.graph.batches == [[0], [1, 3], [2, 4], [5]]


def test_one_caller_alone_is_run_as_it_is() -> None:
    recorded: list[Arrays] = []
    made = {"out": np.ones((2, 3), np.float32)}

    class Mirror:
        signature = cyclegan_signature(SIZE)

        def run(self, inputs: Arrays) -> dict[str, Floats]:
            recorded.append(inputs)
            return made

    given = of(1, 2)
    actual = Batcher(Mirror()).run(given)
    assert recorded[0]["row"] is given["row"]
    assert actual.keys() == made.keys()
    assert np.array_equal(actual["out"], made["out"])


def test_callers_of_one_run_have_nothing_in_common(bench: Bench) -> None:
    first, one, other = bench.send(0.0), bench.send(1.0, 2.0), bench.send(3.0)
    bench.release()
    answered(first)
    one.result(SECONDS)["twice"][:] = -7
    assert answered(other) == [6]
    assert not np.shares_memory(one.result()["twice"], other.result()["twice"])


def test_it_is_of_the_sessions_signature(bench: Bench) -> None:
    assert bench.batcher.signature is bench.graph.signature


def test_a_graph_gives_the_same_joined_as_alone(searching_bundle: Bundle) -> None:
    graph = searching_bundle.manifest.graphs["gradient"]
    alone = OnnxRuntimeSession(searching_bundle.graph_path("gradient"), graph.signature, 1)
    batcher, numbers = Batcher(alone, lanes=2), np.random.default_rng(0)
    shapes = {
        "latent": (LATENT,),
        "condition": (len(PAPER_GROUPS),),
        "image": (3, SIZE, SIZE),
        "embedding": (EMBEDDING,),
        "weights": (3,),
    }
    jobs = [
        {name: numbers.uniform(0, 1, (1, *shape)).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(120)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(batcher.run, jobs))
    for job, answer in zip(jobs, answers, strict=True):
        expected = alone.run(job)
        assert answer.keys() == expected.keys()
        assert all(np.allclose(answer[name], expected[name], atol=1e-6) for name in expected)


# --- lanes and who leads ---


def test_two_lanes_run_at_once_and_no_more(make_bench: MakeBench) -> None:
    bench = make_bench(lanes=2)
    answers = [bench.send(float(number)) for number in range(5)]
    assert (sorted(bench.graph.batches), bench.graph.at_once) == ([[0], [1]], 2)
    bench.graph.let(1)
    bench.graph.await_runs(3)
    bench.release()
    assert [answered(answer) for answer in answers] == [[2.0 * number] for number in range(5)]
    assert bench.graph.batches[2:] == [[2, 3, 4]]
    assert bench.graph.most_at_once == 2


def test_a_lane_that_comes_free_is_taken_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(lanes=2)
    running = [bench.send(0.0), bench.send(1.0)]
    bench.graph.let(1)
    wait(running, SECONDS, FIRST_COMPLETED)
    answer = bench.submit(of(2.0))
    bench.graph.await_runs(3)
    assert bench.graph.at_once == 2
    bench.release()
    assert [answered(item) for item in (*running, answer)] == [[0], [2], [4]]


def test_who_is_done_does_not_wait_for_the_next_batch(make_bench: MakeBench) -> None:
    """Whoever led it hands the lane on, whoever came with it is woken too, while the next batch has not even ended."""
    bench = make_bench(max_rows=2)
    first, second, third, fourth = (bench.send(float(number)) for number in range(4))
    bench.graph.let(1)
    assert answered(first) == [0]
    bench.graph.await_runs(2)
    assert not any(answer.done() for answer in (second, third, fourth))
    bench.graph.let(1)
    assert [answered(answer) for answer in (second, third)] == [[2], [4]]
    bench.graph.await_runs(3)
    assert not fourth.done()
    bench.release()
    assert answered(fourth) == [6]
    assert bench.graph.batches == [[0], [1, 2], [3]]


# --- who goes first, and who has left ---


def test_interactive_callers_go_before_others(make_bench: MakeBench) -> None:
    bench = make_bench(max_rows=2)
    bench.send(0.0)
    answers = [bench.send(float(number), caller=Caller("batch")) for number in (1, 2, 3)]
    answers += [bench.send(float(number)) for number in (4, 5, 6)]
    bench.release()
    for answer in answers:
        answered(answer)
    assert bench.graph.batches == [[0], [4, 5], [6, 1], [2, 3]]


def test_a_caller_that_leaves_while_it_waits_is_not_run(bench: Bench) -> None:
    """Wherever in the queue it is: the next to lead, or one that would go along."""
    leaving = [Caller(), Caller()]
    first = bench.send(0.0)
    leads = bench.send(1.0, caller=leaving[0])
    stays = bench.send(2.0)
    along = bench.send(3.0, caller=leaving[1])
    last = bench.send(4.0)
    for caller in leaving:
        caller.cancel()
    bench.release()
    for answer in (leads, along):
        with pytest.raises(CallCancelledError):
            answered(answer)
    assert [answered(answer) for answer in (first, stays, last)] == [[0], [4], [8]]
    assert bench.graph.batches == [[0], [2, 4]]


def test_a_caller_that_has_left_is_not_run_at_all(bench: Bench) -> None:
    caller = Caller()
    caller.cancel()
    with pytest.raises(CallCancelledError):
        answered(bench.submit(of(1.0), caller))
    assert bench.graph.batches == []


def test_a_caller_that_leaves_between_two_parts_is_run_no_further(make_bench: MakeBench) -> None:
    bench, caller = make_bench(max_rows=2), Caller()
    answer = bench.send(*map(float, range(6)), caller=caller)
    caller.cancel()
    bench.release()
    with pytest.raises(CallCancelledError):
        answered(answer)
    assert bench.graph.batches == [[0, 1]]


def test_where_all_that_wait_have_left_the_lane_is_free_again(bench: Bench) -> None:
    callers = [Caller() for _ in range(3)]
    first, *others = bench.send(0.0), *(bench.send(1.0, caller=caller) for caller in callers)
    for caller in callers:
        caller.cancel()
    bench.release()
    assert answered(first) == [0]
    for answer in others:
        assert isinstance(answer.exception(SECONDS), CallCancelledError)
    assert answered(bench.submit(of(7.0))) == [14]
    assert bench.queue.waiting == 0


# --- errors ---


def test_a_bad_job_fails_alone(bench: Bench) -> None:
    first, good, bad, better = bench.send(0.0), bench.send(1.0), bench.send(-2.0), bench.send(3.0, 4.0)
    bench.release()
    assert [answered(answer) for answer in (first, good, better)] == [[0], [2], [6, 8]]
    with pytest.raises(ValueError, match="-2 is negative"):
        answered(bad)
    assert bench.graph.batches == [[0], [1, -2, 3, 4], [1], [-2], [3, 4]]


def test_a_job_that_cannot_be_joined_fails_alone(bench: Bench) -> None:
    """It has other inputs than the graph takes."""
    first, good = bench.send(0.0), bench.send(1.0)
    bad = bench.submit({"row": np.ones((1, 1), np.float32), "against": np.ones((1, 1), np.float32)})
    bench.queue.await_waiting(2)
    better = bench.send(5.0)
    bench.release()
    assert [answered(answer) for answer in (first, good, better)] == [[0], [2], [10]]
    with pytest.raises(KeyError, match="again"):
        answered(bad)


def test_several_bad_jobs_have_each_its_own_error(bench: Bench) -> None:
    answers = [bench.send(float(-number)) for number in range(4)]
    bench.release()
    assert answered(answers[0]) == [0]
    for number in (1, 2, 3):
        with pytest.raises(ValueError, match=f"-{number} is negative"):
            answered(answers[number])


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_error_holds_nobody_back_who_comes_later(make_bench: MakeBench, lanes: int) -> None:
    bench = make_bench(lanes=lanes)
    bench.release()
    for _ in range(3 * lanes):
        with pytest.raises(ValueError, match="negative"):
            bench.batcher.run(of(-1))
        assert bench.batcher.run(of(4))["twice"].tolist() == [[8]]
