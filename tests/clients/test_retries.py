"""Retries: of which calls, after which delays, how often, and until when."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from dorian_client import (
    Busy,
    Cancelled,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ServerError,
    Unauthenticated,
)
from dorian_client._retries import Retries

Pixels = npt.NDArray[np.uint8]
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
AWAY = grpc.StatusCode.UNAVAILABLE


@dataclass
class Clock:
    """A clock that only sleeping advances."""

    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def retries(self, limit: int = 3, *, random: float = 0.0) -> Retries:
        return Retries(limit, clock=lambda: self.now, sleep=self.sleep, random=lambda: random)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(client: Client, clock: Clock) -> Callable[..., Client]:
    """Return a function that gives a client with a timeout of 10 s, timed by the clock."""

    def give(limit: int = 3, *, random: float = 0.0) -> Client:
        client._retries = clock.retries(limit, random=random)
        return client

    return give


def _away(retry_after: float | None = None) -> ConnectionFailed:
    return ConnectionFailed("away", code="UNAVAILABLE", retry_after=retry_after)


# --- the rule ---


@pytest.mark.parametrize(("random", "delay"), [(0.0, 2.0), (0.5, 2.2), (1.0, 2.4)])
def test_a_fifth_is_added_at_most(random: float, delay: float, clock: Clock) -> None:
    tries = clock.retries(random=random).begin(60)
    assert tries.delay_after(Busy("full", retry_after=2)) == pytest.approx(delay)
    assert clock.retries(random=random).begin(60).delay_after(_away()) == pytest.approx(delay / 20)


def test_calls_rejected_together_are_not_retried_together() -> None:
    delays = {Retries(1).begin(None).delay_after(Busy("full", retry_after=2)) for _ in range(100)}
    assert len(delays) > 90
    assert all(delay is not None and 2 <= delay <= 2.4 for delay in delays)


def test_retries_of_an_unreachable_server_have_growing_delays(clock: Clock) -> None:
    tries = clock.retries(4).begin(60)
    delays = [tries.delay_after(_away()) for _ in range(5)]
    assert delays == [pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.4), pytest.approx(0.8), None]


def test_delays_stop_growing(clock: Clock) -> None:
    tries = clock.retries(2000).begin(None)
    delays = [tries.delay_after(_away()) for _ in range(2000)]
    assert delays[5:] == [pytest.approx(3.2)] + [5] * 1994


def test_a_delay_that_the_server_names_is_followed_however_often(clock: Clock) -> None:
    tries = clock.retries(50).begin(None)
    assert [tries.delay_after(Busy("full", retry_after=0.15)) for _ in range(50)] == [0.15] * 50


def test_an_unreachable_server_may_name_a_delay(clock: Clock) -> None:
    assert clock.retries().begin(60).delay_after(_away(retry_after=3)) == 3


@pytest.mark.parametrize("seconds", [0, -1])
def test_delays_grow_even_if_the_server_says_at_once(seconds: float, clock: Clock) -> None:
    tries = clock.retries().begin(60)
    assert [tries.delay_after(Busy("full", retry_after=seconds)) for _ in range(3)] == [0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    "error",
    [
        *(
            kind("no", retry_after=0)
            for kind in (InvalidRequest, NotFound, Unauthenticated, PermissionDenied, FailedPrecondition)
        ),
        InternalError("fault", retry_after=0),
        DeadlineExceeded("late", code="DEADLINE_EXCEEDED", retry_after=0),
        ServerError("cancelled", code="CANCELLED"),
        Busy("full", code="RESOURCE_EXHAUSTED"),
        ConnectionFailed("nobody spoke", code="DEADLINE_EXCEEDED"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_final_errors(error: ServerError, clock: Clock) -> None:
    assert clock.retries().begin(60).delay_after(error) is None


def test_a_delay_that_does_not_fit_into_the_time_left(clock: Clock) -> None:
    tries = clock.retries(9).begin(10)
    assert tries.delay_after(Busy("full", retry_after=10)) is None
    assert tries.delay_after(Busy("full", retry_after=6)) == 6
    clock.sleep(6)
    assert tries.seconds_left() == 4
    assert tries.delay_after(Busy("full", retry_after=4)) is None
    assert tries.delay_after(Busy("full", retry_after=3.9)) == 3.9
    assert clock.retries(random=1).begin(10).delay_after(Busy("full", retry_after=9)) is None
    clock.sleep(5)
    assert tries.seconds_left() == 0


def test_without_a_timeout_every_delay_fits(clock: Clock) -> None:
    tries = clock.retries().begin(None)
    assert tries.delay_after(Busy("full", retry_after=1e6)) == 1e6
    assert tries.seconds_left() is None


# --- calls ---


@pytest.mark.parametrize("reason", ["QUEUE_FULL", "CALLS_AT_ONCE", "CALLS_PER_MINUTE"])
def test_a_busy_server_is_retried_after_the_time_that_it_names(
    reason: str, timed: Callable[..., Client], fake: Any, clock: Clock
) -> None:
    fake.fail_with_status(FULL, "full", reason=reason, retry_after=2, times=2)
    assert timed(random=0.5).methods()
    assert clock.slept == [pytest.approx(2.2)] * 2
    assert len(fake.requests) == 3
    assert fake.seconds_left == pytest.approx([10, 7.8, 5.6], abs=1), "the timeout counts for all tries together"


@pytest.mark.parametrize("reason", ["NOT_READY", "STOPPING", ""])
def test_a_server_that_takes_no_calls_is_retried(
    reason: str, timed: Callable[..., Client], fake: Any, clock: Clock
) -> None:
    fake.fail_with_status(AWAY, "not now", reason=reason, times=3)
    assert timed().methods()
    assert clock.slept == pytest.approx([0.1, 0.2, 0.4])


@pytest.mark.parametrize("call", ["age", "sweep", "detect", "compare", "reconstruct", "methods", "bundle"])
def test_every_call_is_retried_unchanged(
    call: str, timed: Callable[..., Client], fake: Any, clock: Clock, pixels: Pixels
) -> None:
    fake.fail_with_status(FULL, "full", retry_after=1, times=1)
    photos = {"methods": 0, "bundle": 0, "compare": 2}.get(call, 1)
    assert getattr(timed(), call)(*[pixels] * photos, *([30] if call == "age" else []))
    assert fake.requests[0] == fake.requests[1]
    assert clock.slept == [1]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_last_error_is_raised(limit: int, timed: Callable[..., Client], fake: Any, clock: Clock) -> None:
    fake.fail_with_status(FULL, "full", reason="QUEUE_FULL", retry_after=2)
    with pytest.raises(Busy, match="full") as caught:
        timed(limit).methods()
    assert (caught.value.retry_after, caught.value.reason) == (2, "QUEUE_FULL")
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert clock.slept == [2] * limit
    assert len(fake.requests) == limit + 1


def test_five_retries_by_default(fake: Any) -> None:
    fake.fail_with_status(FULL, "full", retry_after=0.01)
    with Client(fake.address, timeout=60) as client, pytest.raises(Busy):
        client.methods()
    assert len(fake.requests) == 6


@pytest.mark.parametrize(("seconds", "slept"), [(10, []), (4, [4, 4]), (0.5, [0.5] * 19)])
def test_no_retry_exceeds_the_timeout(
    seconds: float, slept: list[float], timed: Callable[..., Client], fake: Any, clock: Clock
) -> None:
    fake.fail_with_status(FULL, "full", retry_after=seconds)
    with pytest.raises(Busy):
        timed(1000).methods()
    assert clock.slept == slept
    assert len(fake.requests) == len(slept) + 1


def test_the_timeout_holds_by_the_clock_on_the_wall(fake: Any) -> None:
    fake.fail_with_status(FULL, "full", retry_after=0.05)
    with Client(fake.address, timeout=0.6, retries=1000) as client:
        begun = time.monotonic()
        with pytest.raises((Busy, DeadlineExceeded)):
            client.methods()
        assert time.monotonic() - begun < 2
    assert 2 <= len(fake.requests) <= 12


def test_an_attempt_without_a_response_ends_with_the_timeout(
    timed: Callable[..., Client], fake: Any, clock: Clock
) -> None:
    fake.fail_with_status(FULL, "full", retry_after=9.5, times=1)
    client = timed()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        fake.delay = 60

    client._retries = dataclasses.replace(client._retries, sleep=sleep)
    with pytest.raises(DeadlineExceeded, match="within 10 s"):
        client.methods()
    assert fake.seconds_left[1] < 1


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        ("INVALID_ARGUMENT", "NO_FACE", InvalidRequest),
        ("NOT_FOUND", "BUNDLE_UNKNOWN", NotFound),
        ("FAILED_PRECONDITION", "BUNDLE_BROKEN", FailedPrecondition),
        ("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT", DeadlineExceeded),
        ("INTERNAL", "INTERNAL", InternalError),
        ("RESOURCE_EXHAUSTED", "QUEUE_FULL", Busy),
    ],
)
def test_errors_that_are_not_retried(
    code: str, reason: str, kind: type[ServerError], timed: Callable[..., Client], fake: Any, clock: Clock
) -> None:
    fake.fail_with_status(grpc.StatusCode[code], "no", reason=reason)
    with pytest.raises(kind):
        timed().methods()
    assert (len(fake.requests), clock.slept) == (1, [])


@pytest.mark.parametrize("code", [FULL, AWAY])
def test_a_reload_is_not_retried(code: grpc.StatusCode, timed: Callable[..., Client], fake: Any, clock: Clock) -> None:
    fake.fail_with_status(code, "not now", retry_after=1)
    with pytest.raises(ServerError, match="not now"):
        timed().reload_bundles()
    assert (len(fake.requests), clock.slept) == (1, [])


def test_a_client_that_is_closed_while_it_waits(timed: Callable[..., Client], fake: Any) -> None:
    fake.fail_with_status(FULL, "full", retry_after=1)
    client = timed()
    client._retries = Retries(3, sleep=lambda seconds: client.close())
    with pytest.raises(ValueError, match="closed"):
        client.methods()
    assert len(fake.requests) == 1


@pytest.fixture
def port() -> Iterator[int]:
    """Yield a port on which nobody listens, and which only this test's servers can take."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_server_that_is_not_there(port: int, clock: Clock) -> None:
    with Client(f"127.0.0.1:{port}", timeout=10) as client:
        client._retries = clock.retries(2)
        with pytest.raises(ConnectionFailed, match="cannot reach a server"):
            client.methods()
    assert clock.slept == pytest.approx([0.1, 0.2])


def test_a_server_that_starts_between_two_attempts(port: int, start_server: Callable[..., Any]) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            start_server(port=port)
        time.sleep(seconds)

    with Client(f"127.0.0.1:{port}", timeout=30) as client:
        client._retries = Retries(6, sleep=sleep)
        assert client.methods()[0].name == "inverter"
    assert 1 <= len(waits) <= 3, "the connection is dialled anew within the delays"


# --- searches ---


@pytest.mark.parametrize(("code", "delay"), [(FULL, 0.15), (AWAY, None)])
def test_a_search_that_is_rejected_before_its_first_step_is_retried(
    code: grpc.StatusCode, delay: float | None, fake: Any, pixels: Pixels
) -> None:
    fake.fail_with_status(code, "not now", retry_after=delay, times=2)
    with Client(fake.address, timeout=5) as client:
        begun = time.monotonic()
        search = client.optimize(pixels, max_steps=7)
        assert [step.step for step in search] == [0, 1, 2, 3]
        assert search.result().reconstruction.steps == 7
    assert time.monotonic() - begun >= 0.3
    assert len(fake.requests) == 3
    assert fake.requests[0] == fake.requests[2]
    first, _, last = fake.seconds_left
    assert last < first - 0.1, "the timeout counts for all tries together"


def test_a_search_is_not_retried_after_its_first_step(fake: Any, pixels: Pixels) -> None:
    fake.fail_with_status(AWAY, "stopping", reason="STOPPING", after=0)
    with Client(fake.address, timeout=60) as client:
        search = client.optimize(pixels)
        assert next(search).step == 0
        with pytest.raises(ConnectionFailed, match="stopping"):
            next(search)
        with pytest.raises(ConnectionFailed):
            search.result()
    assert len(fake.requests) == 1


def test_the_last_error_of_a_search_is_raised_and_stays(fake: Any, pixels: Pixels) -> None:
    fake.fail_with_status(FULL, "full", retry_after=0.01)
    with Client(fake.address, timeout=60, retries=2) as client:
        search = client.optimize(pixels)
        for _ in range(2):
            with pytest.raises(Busy, match="full"):
                search.result()
        search.cancel()
        with pytest.raises(Busy, match="full"):
            search.result()
    assert len(fake.requests) == 3


def test_a_search_is_not_retried_beyond_the_timeout(fake: Any, pixels: Pixels) -> None:
    fake.fail_with_status(FULL, "full", retry_after=30)
    with Client(fake.address, timeout=20) as client, pytest.raises(Busy):
        next(client.optimize(pixels))
    assert len(fake.requests) == 1


def test_a_search_that_waits_can_be_cancelled(fake: Any, pixels: Pixels) -> None:
    fake.fail_with_status(FULL, "full", retry_after=30)
    with Client(fake.address, timeout=60) as client:
        search = client.optimize(pixels)
        later = threading.Timer(0.3, search.cancel)
        later.start()
        begun = time.monotonic()
        assert list(search) == []
        assert time.monotonic() - begun < 10
        later.join()
        with pytest.raises(Cancelled):
            search.result()
    assert len(fake.requests) == 1


def test_leaving_a_search_that_was_rejected(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.fail_with_status(FULL, "full", retry_after=0.01)
    client._retries = Retries(3)
    with client.optimize(pixels) as search:
        while not fake.requests:
            time.sleep(0.01)
    assert list(search) == []
    assert len(fake.requests) == 1
