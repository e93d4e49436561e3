"""The queue before the pipeline: who begins, who waits, who is rejected and for how long, and what work is reckoned to be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from dorian_server.admission import queue
from dorian_server.admission.cost import Cost
from dorian_server.admission.estimates import Estimates
from dorian_server.admission.queue import Admission
from dorian_server.domain.caller import Caller, Priority
from dorian_server.domain.errors import CallCancelledError, OverloadError, RequestError

SECONDS = 60
KIND = "age"


class Clock:
    """Time that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watch:
    """The last that was heard of the queue."""

    def __init__(self) -> None:
        self.requests, self.seconds, self.at_work = 0, 0.0, 0
        self.waits: list[float] = []
        self.changed = threading.Condition()

    def waiting(self, requests: int, seconds: float) -> None:
        with self.changed:
            self.requests, self.seconds = requests, seconds
            self.changed.notify_all()

    def working(self, requests: int) -> None:
        self.at_work = requests

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def await_waiting(self, requests: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.requests == requests, SECONDS)


class AdmissionBench:
    """An admission on a clock of its own, and its visitors, each on a thread."""

    def __init__(self, stack: ExitStack, workers: int, max_wait: float | None) -> None:
        self.clock, self.watch = Clock(), Watch()
        self.admission = Admission(workers, max_wait, self.watch, self.clock)
        self.begun: list[str] = []
        self._pool = stack.enter_context(ThreadPoolExecutor(32))
        self._ends: dict[str, threading.Event] = {}
        self._visits: dict[str, Future[None]] = {}
        self._at_work: dict[str, threading.Event] = {}
        stack.callback(lambda: [end.set() for end in self._ends.values()])

    def teach(self, seconds: float, units: float = 1) -> None:
        """Have one of the kind done in so many seconds."""
        with self.admission.admit(Cost({KIND: units}), Caller()):
            self.clock.now += seconds

    def send(self, name: str, units: float = 1, caller: Caller | None = None) -> Future[None]:
        """A visitor, who stays until ``end`` is told."""
        self._ends[name], self._at_work[name] = threading.Event(), threading.Event()

        def visit() -> None:
            with self.admission.admit(Cost({KIND: units}), caller or Caller()):
                self.begun.append(name)
                self._at_work[name].set()
                assert self._ends[name].wait(SECONDS)

        self._visits[name] = self._pool.submit(visit)
        return self._visits[name]

    def begin(self, name: str, units: float = 1, caller: Caller | None = None) -> None:
        """A visitor who begins at once."""
        self.send(name, units, caller)
        assert self._at_work[name].wait(SECONDS)

    def queue(self, name: str, units: float = 1, caller: Caller | None = None) -> Future[None]:
        """A visitor who has to wait."""
        before = self.watch.requests
        visit = self.send(name, units, caller)
        self.watch.await_waiting(before + 1)
        return visit

    def end(self, name: str, then: str | None = None) -> None:
        """A visitor is done; ``then`` is who begins."""
        self._ends[name].set()
        self._visits[name].result(SECONDS)
        if then is not None:
            assert self._at_work[then].wait(SECONDS)

    def rejected(self, units: float = 1, caller: Caller | None = None) -> OverloadError:
        with pytest.raises(OverloadError) as caught, self.admission.admit(Cost({KIND: units}), caller or Caller()):
            pytest.fail("it was let in")
        assert caught.value.reason == "QUEUE_FULL"
        return caught.value


OpenAdmission = Callable[..., AdmissionBench]


@pytest.fixture
def open_admission() -> Iterator[OpenAdmission]:
    with ExitStack() as stack:
        yield lambda workers=1, max_wait=10.0: AdmissionBench(stack, workers, max_wait)


def test_as_many_as_there_are_workers_begin_and_the_others_in_their_order(open_admission: OpenAdmission) -> None:
    at = open_admission(workers=2)
    at.begin("a")
    at.begin("b")
    for name in "cde":
        at.queue(name)
    assert (at.watch.at_work, at.watch.requests) == (2, 3)
    at.end("b", then="c")
    at.end("a", then="d")
    at.end("c", then="e")
    assert at.begun == list("abcde")
    at.end("d")
    at.end("e")
    assert (at.watch.at_work, at.watch.requests, at.watch.seconds) == (0, 0, 0)


def test_interactive_callers_go_before_batch_callers(open_admission: OpenAdmission) -> None:
    at = open_admission()
    at.begin("first")
    kinds: list[Priority] = ["batch", "interactive", "batch", "interactive"]
    for number, priority in enumerate(kinds):
        at.queue(f"{priority} {number}", caller=Caller(priority))
    order = ["interactive 1", "interactive 3", "batch 0", "batch 2"]
    for ending, then in zip(["first", *order], order, strict=False):
        at.end(ending, then=then)
    assert at.begun == ["first", *order]


def test_what_may_wait_is_work_and_not_requests(open_admission: OpenAdmission) -> None:
    at = open_admission(max_wait=10)
    at.teach(1.0)
    at.begin("at work")
    for number in range(4):
        at.queue(f"small {number}", units=0.5)
    at.queue("large", units=7)  # 9 seconds wait
    assert at.watch.seconds == pytest.approx(9)
    assert at.rejected(units=1.5).retry_after == pytest.approx(0.5)
    at.queue("fits", units=1)
    assert at.rejected(units=0.5).retry_after == pytest.approx(0.5)


def test_half_as_much_as_the_workers_have_may_wait_unless_told_otherwise(open_admission: OpenAdmission) -> None:
    at = open_admission(workers=4, max_wait=None)
    at.teach(3.0)
    for name in "abcd":
        at.begin(name)
    for name in "ef":
        at.queue(name)
    assert "lets 6 s wait" in str(at.rejected())


def test_one_may_wait_however_large_it_is(open_admission: OpenAdmission) -> None:
    at = open_admission(max_wait=2)
    at.teach(1.0)
    at.begin("at work")
    at.queue("huge", units=100)
    assert at.rejected(units=0.1).retry_after == pytest.approx(98.1)
    assert at.admission.retry_after(Caller()) == pytest.approx(98)


def test_interactive_callers_have_room_where_batch_callers_have_none(open_admission: OpenAdmission) -> None:
    at = open_admission(max_wait=2)
    at.teach(1.0)
    at.begin("at work")
    at.queue("batch", units=2, caller=Caller("batch"))
    at.rejected(caller=Caller("batch"))
    assert at.admission.retry_after(Caller("batch")) is not None
    assert at.admission.retry_after(Caller()) is None
    at.queue("interactive", units=2)
    assert at.admission.retry_after(Caller()) is not None
    at.end("at work", then="interactive")


def test_there_is_room_again_once_one_has_begun(open_admission: OpenAdmission) -> None:
    at = open_admission(max_wait=2)
    at.teach(1.0)
    at.begin("at work")
    at.queue("next", units=2)
    assert at.admission.retry_after(Caller()) == pytest.approx(0.1), "the soonest"
    at.end("at work", then="next")
    assert at.admission.retry_after(Caller()) is None
    at.queue("another", units=2)


def test_no_more_than_so_many_wait_however_small(
    open_admission: OpenAdmission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING", 3)
    at = open_admission()
    at.teach(0.001)
    at.begin("at work")
    for number in range(3):
        at.queue(f"small {number}")
    at.rejected()


def test_one_who_leaves_while_he_waits_makes_room(open_admission: OpenAdmission) -> None:
    at = open_admission(max_wait=2)
    at.teach(1.0)
    at.begin("at work")
    caller = Caller()
    visit = at.queue("leaves", units=2, caller=caller)
    at.rejected()
    caller.cancel()
    with pytest.raises(CallCancelledError):
        visit.result(SECONDS)
    assert (at.watch.requests, at.watch.seconds) == (0, 0)
    at.queue("comes", units=2)
    at.end("at work", then="comes")
    assert at.begun == ["at work", "comes"]


def test_one_who_has_left_already_never_begins_to_wait(open_admission: OpenAdmission) -> None:
    at = open_admission()
    at.begin("at work")
    caller = Caller()
    caller.cancel()
    with pytest.raises(CallCancelledError):
        at.send("late", caller=caller).result(SECONDS)
    assert at.watch.requests == 0


def test_a_place_is_not_lost_when_work_fails(open_admission: OpenAdmission) -> None:
    at = open_admission()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), at.admission.admit(Cost({KIND: 1}), Caller()):
            raise ZeroDivisionError
    assert at.watch.at_work == 0
    at.begin("after")


def test_no_place_is_lost_whenever_callers_leave(open_admission: OpenAdmission) -> None:
    """As they enter, as they wait, as they are called, as they work."""
    at = open_admission(workers=3, max_wait=1e9)

    def visit(number: int) -> None:
        caller = Caller()
        leaves = threading.Thread(target=caller.cancel)
        if number % 2:
            leaves.start()
        try:
            with at.admission.admit(Cost({KIND: 1}), caller):
                pass
        except CallCancelledError:
            assert number % 2
        if number % 2:
            leaves.join(SECONDS)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(visit, range(800), timeout=SECONDS))
    assert (at.watch.at_work, at.watch.requests, at.watch.seconds) == (0, 0, 0)
    for name in "abc":
        at.begin(name)


def test_a_deadline_that_is_too_short_even_without_a_wait_is_rejected_at_once(open_admission: OpenAdmission) -> None:
    at = open_admission()
    hurried = Caller(deadline=at.clock.now + 0.5)
    with at.admission.admit(Cost({KIND: 1}), hurried):
        pass  # nothing is known of the kind yet
    at = open_admission()
    at.teach(1.0)
    at.teach(3.0)
    for left, fits in ((0.9, False), (1.1, True)):
        caller = Caller(deadline=at.clock.now + left)
        if fits:
            with at.admission.admit(Cost({KIND: 1}), caller):
                pass
        else:
            with (
                pytest.raises(RequestError, match=r"leaves 0\.90 s, but .* 1\.00 s at least"),
                at.admission.admit(Cost({KIND: 1}), caller),
            ):
                pytest.fail("it was let in")


def test_a_deadline_that_the_wait_takes_up_is_rejected_with_the_time_to_retry(open_admission: OpenAdmission) -> None:
    at = open_admission()
    at.teach(1.0)
    at.begin("at work")
    at.queue("before", units=3)
    at.clock.now += 0.25  # 0.75 s are left of the first, then 3 s, then the newcomer's own
    error = at.rejected(caller=Caller(deadline=at.clock.now + 4.6))
    assert "deadline of 4.6 s" in str(error)
    at.queue("in time", caller=Caller(deadline=at.clock.now + 4.9))


def test_a_search_that_ends_with_its_deadline_is_not_too_long_for_it(open_admission: OpenAdmission) -> None:
    at = open_admission()
    with at.admission.admit(Cost({"optimise": 10}, is_endless=True), Caller()):
        at.clock.now += 10
    with at.admission.admit(Cost({"optimise": 10}, is_endless=True), Caller(deadline=at.clock.now + 1)):
        pass


def test_side_by_side_each_has_half_of_the_time(open_admission: OpenAdmission) -> None:
    """Two at work for two seconds are one second of work each, so that a third one is expected to take one."""
    at = open_admission(workers=2, max_wait=100)
    at.begin("a")
    at.begin("b")
    at.clock.now += 2
    at.end("a")
    at.end("b")
    at.begin("c")
    at.begin("d")
    at.queue("e", units=3)
    assert at.watch.seconds == pytest.approx(3)


def test_the_wait_is_told(open_admission: OpenAdmission) -> None:
    at = open_admission()
    at.begin("a")
    at.queue("b")
    at.clock.now += 1.5
    at.end("a", then="b")
    assert at.watch.waits == [0, 1.5]


def test_what_fails_or_is_left_tells_nothing_of_its_kind(open_admission: OpenAdmission) -> None:
    at = open_admission(max_wait=100)
    at.teach(2.0)
    with pytest.raises(ZeroDivisionError), at.admission.admit(Cost({KIND: 1}), Caller()):
        raise ZeroDivisionError  # after no time at all
    at.begin("a")
    at.queue("b")
    assert at.watch.seconds == pytest.approx(2)


def test_estimates_follow_the_newest_and_remember_the_fastest() -> None:
    estimates = Estimates(Clock())
    assert (estimates.expected(Cost({"new": 3})), estimates.fastest(Cost({"new": 3}))) == (pytest.approx(0.3), 0)
    estimates.record(Cost({"new": 2}), 4.0)
    assert estimates.expected(Cost({"new": 3})) == pytest.approx(6)
    estimates.record(Cost({"new": 1}), 1.0)
    assert estimates.expected(Cost({"new": 1})) == pytest.approx(3.4 / 1.8), "a fifth of the newer, of work as of time"
    assert estimates.fastest(Cost({"new": 10})) == pytest.approx(10)
    for _ in range(50):
        estimates.record(Cost({"new": 1}), 5.0)
    assert estimates.expected(Cost({"new": 1})) == pytest.approx(5, abs=0.01)
    assert estimates.fastest(Cost({"new": 1})) == 5, "what was long ago is forgotten"
    assert estimates.expected(Cost({"another": 1})) == pytest.approx(0.1)
