"""A latent search on the server, for asyncio: its steps as they come, and its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import grpc

from dorian_client._results import SearchResult, SearchStep
from dorian_client._search import SearchState, Start
from dorian_client._status import raise_if_closed
from dorian_client.errors import ServerError


class AsyncSearch(AsyncIterator[SearchStep]):
    """A latent search, as `AsyncClient.optimize` returns it: an asynchronous iterator over its steps.

    It starts when its first step or its result is waited for. Leaving the `async with` statement, calling `cancel` from
    another task, or cancelling the task that waits ends an unfinished search, on the server too. Iteration and `result`
    raise PhotoError and the `ServerError` classes of `dorian_client.errors`.

    Example:
        >>> async with client.optimize("portrait.jpg") as search:
        ...     async for step in search:
        ...         print(step.step, step.best_loss)
        ...     result = await search.result()
    """

    def __init__(
        self,
        prepare: Callable[[], Awaitable[Start]],
        state: SearchState,
        error_from_rpc: Callable[[grpc.RpcError], ServerError],
    ) -> None:
        """Prepare a search that has yet to start.

        Args:
            prepare: Reads the photo, and returns what makes the call.
            state: What comes of it.
            error_from_rpc: Turns gRPC's errors into this package's.
        """
        self._prepare = prepare
        self._state = state
        self._error_from_rpc = error_from_rpc
        self._cancelled = asyncio.Event()
        self._start: Start | None = None
        self._call: Any = None

    async def __anext__(self) -> SearchStep:
        if self._start is None:
            self._start = await self._prepare()
            self._call = self._start(self._state.seconds_left())
        while not self._cancelled.is_set():
            try:
                while (response := await self._call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
                    step = self._state.take(response)
                    if step is not None:
                        return step
                break
            except grpc.RpcError as error:
                self._call = await self._retry(self._start, error)
            except asyncio.CancelledError:
                if not self._cancelled.is_set():
                    raise_if_closed()
                    self.cancel()
                    raise
        raise StopAsyncIteration

    async def result(self) -> SearchResult:
        """Wait for the end of the search and return its result; steps until then are skipped.

        Raises:
            Cancelled: The search was cancelled before it had a result.
            PhotoError: The photo cannot be sent.
            ServerError: The search failed.
        """
        async for _ in self:
            pass
        return self._state.result(is_cancelled=self._cancelled.is_set())

    def cancel(self) -> None:
        """End the search, on the server too; no step follows. Has no effect on a finished search."""
        if self._call is None or not self._state.is_final or not self._call.done():
            self._cancelled.set()
            if self._call is not None:
                self._call.cancel()

    async def _retry(self, start: Start, error: grpc.RpcError) -> Any:
        """Return the next call if no response has come and attempts are left; otherwise raise the error."""
        failure = self._error_from_rpc(error)
        delay = self._state.delay_after(failure)
        if delay is None:
            raise failure from error
        with suppress(TimeoutError):
            await asyncio.wait_for(self._cancelled.wait(), delay)
        return self._call if self._cancelled.is_set() else start(self._state.seconds_left())

    async def __aenter__(self) -> AsyncSearch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
