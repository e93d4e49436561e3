"""Turns of callers: who has had less goes first, who is idle gains little, and searches give way between their steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from dorian_server.admission.cost import Cost
from dorian_server.admission.fairness import FairShares
from dorian_server.admission.queue import Admission
from dorian_server.domain.caller import Caller, Priority
from dorian_server.domain.errors import CallCancelledError, OverloadError
from tests.server.test_admission import KIND, SECONDS, AdmissionBench, Clock
from tests.server.waiting import wait_until


@pytest.fixture
def at() -> Iterator[AdmissionBench]:
    """One worker, a second for each unit of work, and room for four seconds."""
    with ExitStack() as stack:
        bench = AdmissionBench(stack, workers=1, max_wait=4.0)
        bench.teach(1.0)
        yield bench


def by(name: str, priority: Priority = "interactive") -> Caller:
    return Caller(priority, name=name)


# --- shares ---


def test_work_is_shared_equally_whatever_each_sends() -> None:
    """Two always send, one of them ten times as much; each gets half of the work."""
    shares, had = FairShares(), {"greedy": 0.0, "polite": 0.0}
    sizes = {"greedy": 0.1, "polite": 1.0}
    for _ in range(1100):
        name = min(sizes, key=lambda name: shares.tag(name, 0.0))
        tag = shares.tag(name, 0.0)
        shares.charge(name, tag + sizes[name])
        had[name] += sizes[name]
        shares.advance([shares.tag(other, 0.0) for other in sizes], 0.0)
    assert had["greedy"] == pytest.approx(had["polite"], abs=1.0)


def test_who_was_idle_begins_at_the_present_but_for_a_little_credit() -> None:
    shares = FairShares()
    shares.charge("busy", 100.0)
    shares.advance([100.0], credit=2.0)
    assert shares.tag("new", credit=2.0) == 98.0
    assert shares.tag("busy", credit=2.0) == 100.0


def test_callers_who_have_had_no_more_than_others_are_forgotten() -> None:
    shares = FairShares()
    for number in range(1000):
        shares.charge(f"caller {number}", number + 1.0)
        shares.advance([number + 1.0], credit=2.0)
    assert len(shares._ends) <= 3


# --- turns in the queue ---


def test_who_has_had_less_goes_first(at: AdmissionBench) -> None:
    at.begin("greedy 0", caller=by("greedy"))
    at.queue("greedy 1", caller=by("greedy"))
    at.queue("greedy 2", caller=by("greedy"))
    at.queue("polite", caller=by("polite"))
    for ending, then in (("greedy 0", "polite"), ("polite", "greedy 1"), ("greedy 1", "greedy 2")):
        at.end(ending, then=then)


def test_interactive_calls_of_the_greedy_go_before_batch_calls_of_the_polite(at: AdmissionBench) -> None:
    at.begin("greedy 0", caller=by("greedy"))
    at.queue("greedy 1", caller=by("greedy"))
    at.queue("polite", caller=by("polite", "batch"))
    at.end("greedy 0", then="greedy 1")
    at.end("greedy 1", then="polite")


def test_who_has_had_less_finds_room_where_others_find_none(at: AdmissionBench) -> None:
    at.begin("greedy 0", caller=by("greedy"))
    visits = [at.queue(f"greedy {number}", caller=by("greedy")) for number in range(1, 5)]
    at.rejected(caller=by("greedy"))
    assert at.admission.retry_after(by("greedy")) is not None
    assert at.admission.retry_after(by("polite")) is None
    at.send("polite", caller=by("polite"))
    with pytest.raises(OverloadError, match="who have had less") as caught:
        visits[-1].result(SECONDS)
    assert (caught.value.reason, caught.value.retry_after) == ("QUEUE_FULL", pytest.approx(1.0))
    assert (at.watch.requests, at.watch.seconds) == (4, pytest.approx(4.0))
    at.end("greedy 0", then="polite")


def test_who_is_rejected_is_not_charged(at: AdmissionBench) -> None:
    at.begin("a 0", caller=by("a"))
    for number in range(1, 5):
        at.queue(f"a {number}", caller=by("a"))
    before = at.admission._tag(by("a"))
    for _ in range(50):
        at.rejected(caller=by("a"))
    assert at.admission._tag(by("a")) == pytest.approx(before)


def test_a_large_call_of_who_has_had_less_goes_before_many_small_ones(at: AdmissionBench) -> None:
    """Or small calls would keep it out for ever."""
    at.begin("small 0", caller=by("small"))
    visits = [at.queue(f"small {number}", caller=by("small")) for number in range(1, 5)]
    at.send("large", units=5, caller=by("large"))
    for visit in visits:
        with pytest.raises(OverloadError):
            visit.result(SECONDS)
    at.rejected(units=5, caller=by("large"))
    at.end("small 0", then="large")


def test_who_sends_after_a_pause_does_not_get_all_that_was_missed(at: AdmissionBench) -> None:
    """An hour of work for one caller gives the other ten usual calls before it, and no hour."""
    for _ in range(40):
        with at.admission.admit(Cost({KIND: 1}), by("busy")):
            at.clock.now += 100
    credit = at.admission._credit()
    assert credit == pytest.approx(1000, rel=0.01)
    shares = at.admission._shares
    assert shares.tag("busy", credit) - shares.tag("new", credit) == pytest.approx(credit)


# --- searches ---


class Search:
    """A search of one caller, whose steps take a second each and which ends when it is told."""

    def __init__(self, admission: Admission, clock: Clock, pool: ThreadPoolExecutor, name: str) -> None:
        self.steps, self.caller = 0, by(name)
        self._admission, self._clock = admission, clock
        self._go, self._is_over, self.idle = threading.Semaphore(0), False, threading.Event()
        self.visit = pool.submit(self._run)

    def _run(self) -> None:
        with self._admission.admit(Cost({"optimise": 1000}, is_search=True, is_endless=True), self.caller):
            while True:
                self.caller.give_way()
                if self.caller.cancelled.is_set():
                    raise CallCancelledError
                self.steps += 1
                self.idle.set()
                self._go.acquire()
                if self._is_over:
                    return
                self._clock.now += 1.0

    def step(self) -> None:
        self._go.release()

    def end(self) -> None:
        self._is_over = True
        self._go.release()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_a_search_lets_another_call_go_first_between_its_steps(at: AdmissionBench, pool: ThreadPoolExecutor) -> None:
    search = Search(at.admission, at.clock, pool, "searches")
    assert wait_until(lambda: search.steps == 1)
    at.queue("plain", caller=by("plain"))
    search.step()
    assert at._at_work["plain"].wait(SECONDS)
    assert (search.steps, at.watch.at_work) == (1, 1)
    at.end("plain")
    assert wait_until(lambda: search.steps == 2)
    search.step()
    assert wait_until(lambda: search.steps == 3), "nobody waits"
    search.end()
    search.visit.result(SECONDS)
    assert at.watch.at_work == 0


def test_two_searches_take_turns_on_one_worker(at: AdmissionBench, pool: ThreadPoolExecutor) -> None:
    searches = [Search(at.admission, at.clock, pool, name) for name in ("one", "other")]
    assert wait_until(lambda: searches[0].steps + searches[1].steps == 1)
    for number in range(1, 21):
        for search in searches:
            search.step()  # only the one that is at work takes it, sooner or later
        assert wait_until(lambda number=number: searches[0].steps + searches[1].steps >= number)  # type: ignore[misc]
    assert wait_until(lambda: abs(searches[0].steps - searches[1].steps) <= 2)
    for search in searches:
        search.end()
        search.caller.cancel()
    assert wait_until(lambda: all(search.visit.done() for search in searches))
    assert at.watch.at_work == 0


def test_a_search_that_is_cancelled_in_a_pause_ends_and_takes_no_place(
    at: AdmissionBench, pool: ThreadPoolExecutor
) -> None:
    search = Search(at.admission, at.clock, pool, "searches")
    assert wait_until(lambda: search.steps == 1)
    at.queue("plain", caller=by("plain"))
    search.step()
    assert at._at_work["plain"].wait(SECONDS)
    search.caller.cancel()
    with pytest.raises(CallCancelledError):
        search.visit.result(SECONDS)
    assert at.watch.at_work == 1
    at.end("plain")
    at.begin("next")
    assert at.watch.at_work == 1


def test_no_more_searches_are_begun_than_may_take_turns(at: AdmissionBench, pool: ThreadPoolExecutor) -> None:
    searches = [Search(at.admission, at.clock, pool, f"caller {number}") for number in range(2)]
    assert wait_until(lambda: sum(search.steps for search in searches) >= 1)
    tickets = [*at.admission._working, *at.admission._paused, *at.admission._waiting]
    assert len(tickets) == 2
    for search in searches:
        search.end()
        search.caller.cancel()
    assert wait_until(lambda: all(search.visit.done() for search in searches))
