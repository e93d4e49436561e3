"""The client for asyncio: the same calls, results and errors as the synchronous one, and what only tasks can do."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from dorian_client import (
    AsyncClient,
    AsyncSearch,
    Busy,
    Cancelled,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    PhotoError,
    Search,
    ServerError,
    Tls,
)
from dorian_client._retries import Retries
from dorian_client.testing import FakeServer
from tests.certificates import Authority

Pixels = npt.NDArray[np.uint8]
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
AWAY = grpc.StatusCode.UNAVAILABLE
WAIT = 5  # seconds within which a server must notice the end of a call

CALLS: dict[str, Callable[[Any, Pixels], Any]] = {
    "age": lambda client, photo: client.age(photo, ["60+", 8], faces="largest", with_delta=True),
    "sweep": lambda client, photo: client.sweep(photo, strength=0.5),
    "detect": lambda client, photo: client.detect(photo),
    "compare": lambda client, photo: client.compare(photo, photo, second_face=1),
    "mix": lambda client, photo: client.mix(photo, [photo, photo], preset="alternating-3", with_delta=True),
    "reconstruct": lambda client, photo: client.reconstruct(photo, mode="identity", max_steps=9),
    "methods": lambda client, photo: client.methods(),
    "bundle": lambda client, photo: client.bundle(),
    "reload_bundles": lambda client, photo: client.reload_bundles(),
}


def run(fake: FakeServer, use: Callable[[AsyncClient], Awaitable[Any]], **settings: Any) -> Any:
    """Return what a function makes of a client of the server, in an event loop of its own."""

    async def main() -> Any:
        async with AsyncClient(fake.address, **({"timeout": 10, "retries": 0} | settings)) as client:
            return await use(client)

    return asyncio.run(main())


def members_of(kind: type) -> dict[str, list[tuple[str, Any]]]:
    """Return the public methods of a class, with the names and defaults of their arguments."""
    return {
        name: [(argument.name, argument.default) for argument in inspect.signature(method).parameters.values()]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
    }


@pytest.mark.parametrize(("kind", "twin"), [(Client, AsyncClient), (Search, AsyncSearch)])
def test_both_clients_have_the_same_methods(kind: type, twin: type) -> None:
    methods, twins = members_of(kind), members_of(twin)
    if kind is Search:  # both are made by their clients
        methods.pop("__init__"), twins.pop("__init__")
    assert methods == twins


@pytest.mark.parametrize("name", CALLS)
def test_both_clients_send_the_same_and_read_the_same(name: str, client: Client, fake: Any, pixels: Pixels) -> None:
    expected = CALLS[name](client, pixels)
    sent = list(fake.requests)
    fake.requests.clear()
    assert run(fake, lambda client: CALLS[name](client, pixels)) == expected
    assert fake.requests == sent


def test_the_settings_reach_the_server(start_server: Callable[..., Any]) -> None:
    fake = start_server(bundles=["one", "two"])
    settings = {"bundle": "two", "priority": "batch", "api_key": "secret"}
    assert run(fake, lambda client: client.bundle(), **settings).name == "two"
    (metadata,) = fake.metadata
    assert (metadata["authorization"], metadata["dorian-priority"]) == ("Bearer secret", "batch")
    assert fake.seconds_left == pytest.approx([10], abs=1)


def test_tls(start_server: Callable[..., Any]) -> None:
    authority = Authority("one")
    own = authority.issue()
    fake = start_server(credentials=grpc.ssl_server_credentials([(own.key, own.certificate)]))
    tls = Tls(ca=authority.pem, server_name="localhost")
    assert run(fake, lambda client: client.bundle(), tls=tls).name == "fake-bundle"


def test_errors_are_those_of_the_synchronous_client(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.fail("IMAGE_TOO_LARGE", "too large", field="image", metadata={"limit": "9"}, retry_after=2)
    errors = []
    with pytest.raises(ServerError) as caught:
        client.age(pixels, 60)
    errors.append(caught.value)
    with pytest.raises(ServerError) as caught:
        run(fake, lambda client: client.age(pixels, 60))
    errors.append(caught.value)
    one, two = ({"type": type(error), "text": str(error), **vars(error)} for error in errors)
    assert one == two
    assert isinstance(errors[1].__cause__, grpc.RpcError)


def test_wrong_arguments(fake: Any, pixels: Pixels) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'shade'"):
        run(fake, lambda client: client.age(pixels, 60, shade=1))
    with pytest.raises(PhotoError, match="no photo at"):
        run(fake, lambda client: client.age("missing.jpg", 60))
    with pytest.raises(ValueError, match="a timeout cannot be -1"):
        AsyncClient(fake.address, timeout=-1)
    assert fake.requests == []


def test_tasks_share_a_connection(fake: Any, pixels: Pixels) -> None:
    fake.delay = 0.3
    begun = time.monotonic()

    async def use(client: AsyncClient) -> list[Any]:
        return await asyncio.gather(*(client.age(pixels, age) for age in (10, 20, 30, 40)))

    results = run(fake, use)
    assert [result.photos[0].target for result in results] == [10, 20, 30, 40]
    assert time.monotonic() - begun < 0.9, "four calls at once take no longer than one"


# --- retries ---


@pytest.mark.parametrize("name", [name for name in CALLS if name != "reload_bundles"])
def test_a_busy_server_is_retried_after_the_time_that_it_names(
    name: str, fake: Any, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fail_with_status(FULL, "full", reason="QUEUE_FULL", retry_after=2, times=2)
    slept = []

    async def sleep(self: AsyncClient, seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(AsyncClient, "_sleep", sleep)

    async def use(client: AsyncClient) -> Any:
        client._retries = Retries(3, random=lambda: 0.5)
        return await CALLS[name](client, pixels)

    assert run(fake, use)
    assert slept == [pytest.approx(2.2)] * 2
    assert fake.requests[0] == fake.requests[1] == fake.requests[2]


def test_a_reload_is_not_retried(fake: Any) -> None:
    fake.fail_with_status(FULL, "full", retry_after=0.01)
    with pytest.raises(Busy):
        run(fake, lambda client: client.reload_bundles(), retries=5)
    assert len(fake.requests) == 1


def test_the_timeout_holds_for_all_attempts(fake: Any) -> None:
    fake.fail_with_status(FULL, "full", retry_after=0.05)
    begun = time.monotonic()
    with pytest.raises((Busy, DeadlineExceeded)):
        run(fake, lambda client: client.methods(), timeout=0.6, retries=1000)
    assert time.monotonic() - begun < 2
    assert 2 <= len(fake.requests) <= 12


def test_a_slow_server_and_a_missing_one_are_told_apart(fake: Any) -> None:
    fake.delay = 60
    with pytest.raises(DeadlineExceeded, match=r"no answer from the server at 127\.0\.0\.1:\d+ within 0\.5 s"):
        run(fake, lambda client: client.methods(), timeout=0.5)

    async def call_nobody() -> None:
        async with AsyncClient("127.0.0.1:1", timeout=0.5, wait_for_ready=True) as client:
            await client.methods()

    with pytest.raises(ConnectionFailed, match=r"cannot reach a server at 127\.0\.0\.1:1"):
        asyncio.run(call_nobody())


# --- the ends of calls ---


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.01)


def test_cancelling_a_task_cancels_its_call(fake: Any, pixels: Pixels) -> None:
    fake.delay = 60

    async def use(client: AsyncClient) -> None:
        task = asyncio.create_task(client.age(pixels, 60))
        await until(lambda: fake.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fake.delay = 0
        await asyncio.gather(*(client.methods() for _ in range(40)))  # more than the server's threads: none is held

    run(fake, use)


def test_closing_the_client_ends_its_calls(fake: Any) -> None:
    fake.delay = 60

    async def use(client: AsyncClient) -> None:
        task = asyncio.create_task(client.methods())
        await until(lambda: fake.requests)
        await client.close()
        await client.close()
        with pytest.raises(ServerError, match="closed") as caught:
            await task
        assert caught.value.code == "CANCELLED"
        with pytest.raises(ValueError, match="closed"):
            await client.methods()

    run(fake, use)


def test_a_client_belongs_to_one_event_loop(fake: Any) -> None:
    client = AsyncClient(fake.address, timeout=10)  # outside of any loop

    async def use() -> None:
        await client.methods()
        with pytest.raises(RuntimeError, match="event loop of its first call"):
            await asyncio.to_thread(asyncio.run, client.methods())
        await client.close()

    asyncio.run(use())
    assert repr(client) == f"AsyncClient('{fake.address}')"


# --- searches ---


def search(fake: FakeServer, use: Callable[[AsyncSearch], Awaitable[Any]], pixels: Any, **settings: Any) -> Any:
    """Return what a function makes of a search."""
    return run(fake, lambda client: use(client.optimize(pixels, preview_every=2, max_steps=40)), **settings)


async def steps_and_result(search: AsyncSearch) -> Any:
    async with search:
        return [step async for step in search], await search.result()


def test_a_search_is_the_same(client: Client, fake: Any, pixels: Pixels) -> None:
    with client.optimize(pixels, preview_every=2, max_steps=40) as expected:
        steps = list(expected)
    assert search(fake, steps_and_result, pixels) == (steps, expected.result())
    assert fake.requests[0] == fake.requests[1]
    assert not fake.search_cancelled.is_set()


def test_a_search_that_is_rejected_before_its_first_step_is_retried(fake: Any, pixels: Pixels) -> None:
    fake.fail_with_status(FULL, "full", retry_after=0.15, times=2)
    begun = time.monotonic()
    steps, _ = search(fake, steps_and_result, pixels, retries=5)
    assert [step.step for step in steps] == [0, 1, 2, 3]
    assert time.monotonic() - begun >= 0.3
    assert len(fake.requests) == 3


def test_a_search_is_not_retried_after_its_first_step(fake: Any, pixels: Pixels) -> None:
    fake.fail_with_status(AWAY, "stopping", reason="STOPPING", after=0)

    async def use(search: AsyncSearch) -> None:
        assert (await anext(search)).step == 0
        for _ in range(2):
            with pytest.raises(ConnectionFailed, match="stopping"):
                await anext(search)

    search(fake, use, pixels, retries=5)
    assert len(fake.requests) == 1


@asynccontextmanager
async def _cancelling(search: AsyncSearch) -> AsyncIterator[None]:
    yield
    search.cancel()


@asynccontextmanager
async def _cancelling_later(search: AsyncSearch) -> AsyncIterator[None]:
    yield
    asyncio.get_running_loop().call_later(0.1, search.cancel)


@pytest.mark.parametrize("leave", [lambda search: search, _cancelling, _cancelling_later])
def test_leaving_early_ends_the_search_on_the_server(leave: Callable[..., Any], fake: Any, pixels: Pixels) -> None:
    fake.pause_after = 0

    async def use(search: AsyncSearch) -> None:
        async with leave(search):
            await anext(search)
        with pytest.raises(Cancelled, match="cancelled before it had a result"):
            await search.result()
        await until(fake.search_cancelled.is_set)

    search(fake, use, pixels)


def test_cancelling_the_task_ends_its_search(fake: Any, pixels: Pixels) -> None:
    fake.pause_after = 0

    async def use(search: AsyncSearch) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(search.result(), 0.5)
        await until(fake.search_cancelled.is_set)

    search(fake, use, pixels)


def test_a_search_that_waits_can_be_cancelled(fake: Any, pixels: Pixels) -> None:
    fake.fail_with_status(FULL, "full", retry_after=30)

    async def use(search: AsyncSearch) -> None:
        asyncio.get_running_loop().call_later(0.3, search.cancel)
        assert [step async for step in search] == []

    begun = time.monotonic()
    search(fake, use, pixels, timeout=60, retries=5)
    assert time.monotonic() - begun < 10
    assert len(fake.requests) == 1


def test_closing_the_client_ends_its_searches(fake: Any, pixels: Pixels) -> None:
    fake.pause_after = 0

    async def use(client: AsyncClient) -> None:
        search = client.optimize(pixels)
        await anext(search)
        await client.close()
        with pytest.raises(ServerError, match="closed"):
            await search.result()

    run(fake, use)
    assert fake.search_cancelled.wait(WAIT)


def test_a_search_of_no_photo(fake: Any) -> None:
    with pytest.raises(PhotoError, match="no photo at"):
        search(fake, steps_and_result, "missing.jpg")
    with pytest.raises(InvalidRequest):
        search(fake, steps_and_result, b"no image")
    with pytest.raises(TypeError, match="unexpected keyword argument 'shade'"):
        AsyncClient(fake.address).optimize(b"", shade=1)  # type: ignore[call-arg]
