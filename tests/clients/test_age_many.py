"""Many photos: pace, order, rejections, errors and the end, of both clients."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dorian_client import (
    AgeOutcome,
    AsyncClient,
    Busy,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    NoFaceError,
    PhotoError,
    ServerError,
)
from dorian_client._batch import Batch
from dorian_client._pacing import Pacer
from dorian_client.testing import FakeServer

WAIT = 5  # seconds within which a server must notice the end of a call
Many = Callable[..., list[AgeOutcome]]


def photos(count: int, side: int = 16) -> list[bytes]:
    """Return photos that differ, as PNG files: their colour is their index."""
    files = []
    for index in range(count):
        file = BytesIO()
        Image.new("RGB", (side, side), (index % 256, index // 256, 7)).save(file, "PNG")
        files.append(file.getvalue())
    return files


def index_of(outcome: AgeOutcome) -> int:
    """Return the index of the photo that a result was made of: the fake server inverts it."""
    red, green, _ = 255 - outcome.unwrap().photos[0].picture.to_array()[5, 5]
    return int(red) + 256 * int(green)


@pytest.fixture(params=["threads", "tasks"])
def age_many(request: pytest.FixtureRequest, fake: FakeServer) -> Many:
    """Return a function that ages many photos with either client, and returns all outcomes."""

    def with_threads(photos: Any, to: Any = 60, *, settings: dict[str, Any] | None = None, **options: Any) -> Any:
        with Client(fake.address, **{"timeout": 10, "retries": 0} | (settings or {})) as client:
            return list(client.age_many(photos, to, **options))

    def with_tasks(photos: Any, to: Any = 60, *, settings: dict[str, Any] | None = None, **options: Any) -> Any:
        async def main() -> list[AgeOutcome]:
            async with AsyncClient(fake.address, **{"timeout": 10, "retries": 0} | (settings or {})) as client:
                return [outcome async for outcome in client.age_many(photos, to, **options)]

        return asyncio.run(main())

    return with_threads if request.param == "threads" else with_tasks


# --- the pace ---


def end_round(pacer: Pacer, now: float = 0.0) -> int:
    """Fill the pacer with calls, and let all succeed; returns how many they were."""
    count = 0
    while pacer.seconds_to_next(now) == 0:
        pacer.begin()
        count += 1
    for _ in range(count):
        pacer.succeed()
        pacer.begin()  # the next takes its place, as long as there are photos
    pacer.in_flight -= count
    return count


def test_the_pace_begins_at_the_workers_and_grows_by_one_a_round() -> None:
    pacer = Pacer(3, None)
    assert [end_round(pacer) for _ in range(4)] == [3, 3, 4, 5]
    assert [end_round(pacer) for _ in range(30)][-1] == 12, "four for each worker at most"


@pytest.mark.parametrize(("workers", "most", "limit"), [(0, None, 2), (0, 1, 1), (8, 3, 3), (1, None, 1), (2, 100, 2)])
def test_the_first_round(workers: int, most: int | None, limit: int) -> None:
    assert Pacer(workers, most).limit == limit


def test_a_pace_that_is_not_used_does_not_grow() -> None:
    pacer = Pacer(4, None)
    for _ in range(50):
        pacer.begin()
        pacer.succeed()
    assert pacer.limit == 4


def test_a_rejection_halves_the_pace_once_a_round() -> None:
    pacer = Pacer(8, None)
    began = [pacer.begin() for _ in range(8)]
    for call in began:
        pacer.reject(call, until=2.5, is_full=True)
    assert (pacer.limit, pacer.in_flight) == (4, 0)
    assert (pacer.seconds_to_next(1.0), pacer.seconds_to_next(2.5)) == (1.5, 0)
    for limit in (2, 1, 1, 1):
        pacer.reject(pacer.begin(), until=2.5, is_full=True)
        assert pacer.limit == limit


def test_the_longest_hold_counts() -> None:
    pacer = Pacer(2, None)
    pacer.reject(pacer.begin(), until=5, is_full=False)
    pacer.reject(pacer.begin(), until=3, is_full=False)
    assert pacer.seconds_to_next(0) == 5


def test_a_full_server_that_works_on_other_calls_is_sent_new_ones_when_those_are_done() -> None:
    pacer = Pacer(2, None)
    calls = [pacer.begin() for _ in range(3)]
    pacer.reject(calls[2], until=9, is_full=True)
    assert (pacer.limit, pacer.in_flight, pacer.seconds_to_next(0)) == (1, 2, None)
    pacer.succeed()
    pacer.succeed()
    assert pacer.seconds_to_next(0) == 0


def test_the_pace_grows_slowly_towards_what_was_rejected() -> None:
    pacer = Pacer(2, None)
    while pacer.limit < 4:
        end_round(pacer)
    calls = [pacer.begin() for _ in range(4)]
    pacer.reject(calls[3], until=0, is_full=True)
    pacer.in_flight = 0
    rounds = [end_round(pacer) for _ in range(16)]
    assert rounds[:3] == [2, 2, 3]
    assert rounds.count(3) >= 9
    assert [end_round(pacer) for _ in range(4)][-1] > 5, "and at once beyond, when it is taken"


def test_a_rejected_photo_goes_first_and_is_given_up_at_its_timeout() -> None:
    now = 0.0
    batch = Batch(Pacer(1, 1), in_order=True, timeout=10, clock=lambda: now, random=lambda: 0.0)
    job = batch.begin()
    batch.draw(job, "first")
    for now in (0.0, 4.0, 8.0):
        job.attempts += 1
        batch.fail(job, Busy("full", retry_after=4))
        if now < 8:
            assert batch.seconds_to_next() == 4
            now += 4
            assert batch.begin() is job
    outcome = batch.pop()
    assert outcome is not None
    assert (outcome.photo, outcome.attempts, outcome.seconds, type(outcome.error)) == ("first", 3, 8, Busy)


# --- both clients ---


def test_outcomes_come_in_order(age_many: Many, fake: FakeServer) -> None:
    fake.on_response = lambda response: time.sleep(0.001 * (time.monotonic_ns() % 7)) or response
    files = photos(60)
    outcomes = age_many(files, [60, 8], faces="largest")
    assert [outcome.index for outcome in outcomes] == list(range(60))
    assert [index_of(outcome) for outcome in outcomes] == list(range(60))
    assert all(outcome.photo is file for outcome, file in zip(outcomes, files, strict=True))
    assert {len(outcome.unwrap().photos) for outcome in outcomes} == {2}
    assert {outcome.attempts for outcome in outcomes} == {1}
    assert len(fake.requests[1].faces) == 1
    assert len(fake.requests) == 61


def test_outcomes_may_come_as_they_are_done(age_many: Many) -> None:
    outcomes = age_many([photos(1, side=2500)[0], *photos(8)[1:]], in_order=False)
    assert sorted(outcome.index for outcome in outcomes) == list(range(8))
    assert outcomes[0].index != 0, "the large photo takes longer"
    assert all(index_of(outcome) == outcome.index for outcome in outcomes)


def test_no_photo_is_lost_to_a_full_queue(age_many: Many, fake: FakeServer) -> None:
    fake.workers, fake.capacity, fake.delay = 2, 3, 0.01
    outcomes = age_many(photos(150))
    assert [index_of(outcome) for outcome in outcomes] == list(range(150))
    rejected = len(fake.requests) - 151
    assert 1 <= rejected < 40, "few are rejected, as the pace adapts"
    assert sum(outcome.attempts for outcome in outcomes) == len(fake.requests) - 1


def test_the_server_is_kept_busy(age_many: Many, fake: FakeServer) -> None:
    fake.workers, fake.capacity, fake.delay = 4, 6, 0.25
    open_calls: list[int] = []
    fake.on_response = lambda response: open_calls.append(fake._calls) or response
    age_many(photos(48))
    assert statistics.median(open_calls[1:]) >= 3
    assert 4 <= fake.most_calls <= 8


def test_the_concurrency_is_a_bound(age_many: Many, fake: FakeServer) -> None:
    fake.delay = 0.01
    age_many(photos(40), concurrency=2)
    assert fake.most_calls == 2


def test_nothing_is_sent_before_the_time_that_the_server_names(age_many: Many, fake: FakeServer) -> None:
    begun = 0.0
    times: list[float] = []
    fake.workers = 1

    def source() -> Iterator[bytes]:
        nonlocal begun
        fake.fail("QUEUE_FULL", retry_after=0.6, times=1)
        fake.on_response = lambda response: times.append(time.monotonic()) or response
        begun = time.monotonic()
        yield from photos(3)

    assert [outcome.attempts for outcome in age_many(source())] == [2, 1, 1]
    assert 0.6 <= min(times) - begun < 1.2


def test_a_photo_that_fails_stops_no_other(age_many: Many, fake: FakeServer, tmp_path: Path) -> None:
    files: list[Any] = photos(12)
    files[3], files[5], files[7] = b"no image", tmp_path / "missing.jpg", 5
    outcomes = age_many(files)
    assert [outcome.index for outcome in outcomes if outcome.error is None] == [0, 1, 2, 4, 6, 8, 9, 10, 11]
    assert [type(outcomes[index].error) for index in (3, 5, 7)] == [InvalidRequest, PhotoError, PhotoError]
    assert outcomes[3].result is None
    with pytest.raises(InvalidRequest):
        outcomes[3].unwrap()
    assert [outcomes[index].attempts for index in (3, 5)] == [1, 0]


def test_errors_of_a_server_are_outcomes(age_many: Many, fake: FakeServer) -> None:
    def source() -> Iterator[bytes]:
        fake.fail("NO_FACE")
        yield from photos(3)

    assert [type(outcome.error) for outcome in age_many(source())] == [NoFaceError] * 3


def test_the_timeout_ends_the_retries_of_a_photo(age_many: Many, fake: FakeServer) -> None:
    def source() -> Iterator[bytes]:
        fake.fail("QUEUE_FULL", retry_after=0.1)
        yield photos(1)[0]

    begun = time.monotonic()
    (outcome,) = age_many(source(), settings={"timeout": 0.5})
    assert isinstance(outcome.error, Busy | DeadlineExceeded)
    assert outcome.attempts >= 3
    assert time.monotonic() - begun < 2


def test_a_server_that_is_away_for_a_while(age_many: Many, fake: FakeServer) -> None:
    def source() -> Iterator[bytes]:
        fake.fail("STOPPING", times=5)
        yield from photos(10)

    outcomes = age_many(source())
    assert [index_of(outcome) for outcome in outcomes] == list(range(10))


def test_a_server_that_is_not_there() -> None:
    with Client("127.0.0.1:1", timeout=0.5) as client, pytest.raises(ConnectionFailed, match="cannot reach a server"):
        next(client.age_many(photos(2), 60))


def test_no_photos(age_many: Many) -> None:
    assert age_many([]) == []


def test_wrong_arguments(age_many: Many, fake: FakeServer) -> None:
    with pytest.raises(TypeError, match="give age_many several photos"):
        age_many("portrait.jpg")
    with pytest.raises(TypeError, match="a concurrency cannot be str"):
        age_many([], concurrency="4")
    with pytest.raises(ValueError, match="a concurrency cannot be 0"):
        age_many([], concurrency=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'shade'"):
        age_many([], shade=1)
    with pytest.raises(ValueError, match="a blend cannot be 'x'"):
        age_many([], blend="x")
    assert fake.requests == []


def test_an_error_of_the_photos_is_raised(age_many: Many) -> None:
    def source() -> Iterator[bytes]:
        yield from photos(2)
        raise KeyError("folder")

    with pytest.raises(KeyError, match="folder"):
        age_many(source())


def test_photos_are_drawn_as_they_are_needed(fake: FakeServer) -> None:
    drawn = itertools.count()
    count = 0

    def source() -> Iterator[bytes]:
        nonlocal count
        for file in itertools.cycle(photos(2)):
            count = next(drawn)
            yield file

    with Client(fake.address, timeout=10) as client, closing(client.age_many(source(), 60)) as outcomes:
        for _ in range(5):
            next(outcomes)
        time.sleep(0.3)
        assert count < 5 + 16 + 16 + 1  # asked for, ahead, in flight


def test_results_come_while_the_next_photo_is_awaited(fake: FakeServer) -> None:
    goes_on = threading.Event()

    def source() -> Iterator[bytes]:
        yield from photos(3)
        assert goes_on.wait(WAIT)

    with Client(fake.address, timeout=10) as client:
        outcomes = client.age_many(source(), 60)
        assert [next(outcomes).index for _ in range(3)] == [0, 1, 2]
        goes_on.set()
        assert list(outcomes) == []


def test_photos_from_an_asynchronous_iterator(fake: FakeServer) -> None:
    async def source() -> AsyncIterator[bytes]:
        for file in photos(5):
            await asyncio.sleep(0.01)
            yield file

    async def main() -> list[int]:
        async with AsyncClient(fake.address) as client:
            return [index_of(outcome) async for outcome in client.age_many(source(), 60)]

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


# --- the end ---


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_leaving_early_ends_the_calls_on_the_server(fake: FakeServer) -> None:
    with Client(fake.address, timeout=60) as client:
        with closing(client.age_many(photos(40), 60)) as outcomes:
            next(outcomes)
            fake.delay = 60
            until(lambda: fake._calls >= 4)
            begun = time.monotonic()
        assert time.monotonic() - begun < 2
        until(lambda: fake._calls == 0)
        assert not [thread for thread in threading.enumerate() if "age_many" in thread.name]
        fake.delay = 0
        assert client.methods()


def test_leaving_a_task_early_ends_the_calls_on_the_server(fake: FakeServer) -> None:
    async def main() -> None:
        async with AsyncClient(fake.address, timeout=60) as client:
            async with aclosing(client.age_many(photos(40), 60)) as outcomes:
                await anext(outcomes)
                fake.delay = 60
                await asyncio.to_thread(until, lambda: fake._calls >= 4)
            await asyncio.to_thread(until, lambda: fake._calls == 0)

    asyncio.run(main())


def test_closing_the_client_ends_the_batch(fake: FakeServer) -> None:
    client, errors = Client(fake.address, timeout=60), list[Exception]()
    outcomes = client.age_many(itertools.cycle(photos(2)), 60)
    next(outcomes)
    client.close()
    with pytest.raises(ValueError, match="closed"):
        errors.extend(outcome.error for outcome in outcomes if outcome.error is not None)
    assert all(isinstance(error, ServerError) for error in errors)


# Tests in the background inherit an ignored SIGINT.
SCRIPT = """
import itertools, signal, sys, threading
from dorian_client import Client
signal.signal(signal.SIGINT, signal.default_int_handler)
client = Client(sys.argv[1], timeout=60)
outcomes = client.age_many(itertools.repeat(open(sys.argv[2], "rb").read()), 60)
next(outcomes)
print("begun", flush=True)
if sys.argv[3] == "waiting":
    for _ in outcomes: pass
threading.Event().wait()
"""


@pytest.mark.parametrize("where", ["waiting", "elsewhere"])
def test_ctrl_c_stops_cleanly(where: str, fake: FakeServer, photo: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, fake.address, str(photo), where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        fake.delay = 60
        until(lambda: fake._calls >= 4 or where == "elsewhere")
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert time.monotonic() - begun < 3
    assert process.returncode in (1, -signal.SIGINT)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "Fatal" not in errors
    until(lambda: fake._calls == 0)
