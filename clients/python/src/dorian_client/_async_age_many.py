"""Many photos aged by tasks, as many as calls may be in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import grpc

from dorian_client._batch import AgeOutcome, Batch, Job
from dorian_client._calls import ManyAges
from dorian_client._status import raise_if_closed
from dorian_client.errors import DorianError, ServerError


class AsyncBatch:
    """A batch in progress.

    Args:
        photos: The photos; drawn one at a time, as they are needed.
        batch: Its state.
        calls: Makes requests of photos, and results of responses.
        send: Sends a request, which may take so many seconds, and waits for its response.
        error_from_rpc: Turns gRPC's errors into this package's.
    """

    def __init__(
        self,
        photos: Iterable[Any] | AsyncIterable[Any],
        batch: Batch,
        calls: ManyAges,
        send: Callable[[Any, float | None], Awaitable[Any]],
        error_from_rpc: Callable[[grpc.RpcError], ServerError],
    ) -> None:
        self._photos = aiter(photos) if isinstance(photos, AsyncIterable) else _as_async(photos)
        self._batch, self._calls = batch, calls
        self._send, self._error_from_rpc = send, error_from_rpc
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None

    async def outcomes(self) -> AsyncGenerator[AgeOutcome, None]:
        """Yield what comes of the photos; the end of the iterator, however it comes, is that of the batch."""
        try:
            self._grow()
            while (outcome := await self._wait_for_outcome()) is not None:
                yield outcome
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait_for_outcome(self) -> AgeOutcome | None:
        async with self._changed:
            while True:
                outcome = self._batch.pop()
                if outcome is not None:
                    self._changed.notify_all()  # there is room for another
                    return outcome
                if self._failure is not None:
                    raise self._failure
                if self._batch.is_done:
                    return None
                await self._changed.wait()

    def _grow(self) -> None:
        """Start tasks up to the calls that may be in flight."""
        while len(self._tasks) < self._batch.pacer.limit:
            self._tasks.append(asyncio.create_task(self._work(), name="dorian age_many"))

    async def _work(self) -> None:
        try:
            while (job := await self._begin_next()) is not None:
                if job.index < 0 and not await self._draw(job):
                    continue
                await self._attempt(job)
        except Exception as error:  # of the caller's iterator, or of a client that was closed
            self._failure = error
            async with self._changed:
                self._changed.notify_all()

    async def _begin_next(self) -> Job | None:
        """Wait until a photo may be sent, and return its job; None if there are no more."""
        async with self._changed:
            while self._batch.has_work and self._failure is None:
                seconds = self._batch.seconds_to_next()
                if seconds == 0:
                    return self._batch.begin()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._changed.wait()
            return None

    async def _draw(self, job: Job) -> bool:
        has_photo = True
        try:
            self._batch.draw(job, await anext(self._photos))
        except StopAsyncIteration:
            self._batch.exhaust()
            has_photo = False
        async with self._changed:
            self._changed.notify_all()
        return has_photo

    async def _attempt(self, job: Job) -> None:
        try:
            if job.request is None:
                job.request = await asyncio.to_thread(self._calls.request, job.photo)
            job.attempts += 1
            self._batch.succeed(job, self._calls.read(await self._call(job)))
            self._grow()
        except DorianError as error:
            self._batch.fail(job, error)
        async with self._changed:
            self._changed.notify_all()

    async def _call(self, job: Job) -> Any:
        try:
            return await self._send(job.request, self._batch.seconds_left(job))
        except grpc.RpcError as error:
            raise self._error_from_rpc(error) from error
        except asyncio.CancelledError:
            raise_if_closed()
            raise


async def _as_async(photos: Iterable[Any]) -> AsyncIterator[Any]:
    for photo in photos:
        yield photo
