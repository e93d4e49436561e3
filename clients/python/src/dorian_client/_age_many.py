"""Many photos aged by threads, as many as calls may be in flight."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from dorian_client._batch import AgeOutcome, Batch, Job
from dorian_client._calls import ManyAges
from dorian_client.errors import DorianError, ServerError

_JOIN_SECONDS = 5.0  # that a thread may take to notice the end


class ThreadedBatch:
    """A batch in progress.

    Its threads are daemons: at the end of the process they end with their calls, and keep it from nothing.

    Args:
        photos: The photos; drawn one at a time, as they are needed.
        batch: Its state.
        calls: Makes requests of photos, and results of responses.
        send: Sends a request, which may take so many seconds; returns its future.
        error_from_rpc: Turns gRPC's errors into this package's.
    """

    def __init__(
        self,
        photos: Iterable[Any],
        batch: Batch,
        calls: ManyAges,
        send: Callable[[Any, float | None], Any],
        error_from_rpc: Callable[[grpc.RpcError], ServerError],
    ) -> None:
        self._photos, self._batch, self._calls = iter(photos), batch, calls
        self._send, self._error_from_rpc = send, error_from_rpc
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._in_flight: set[Any] = set()
        self._is_stopped = False
        self._failure: BaseException | None = None

    def outcomes(self) -> Iterator[AgeOutcome]:
        """Yield what comes of the photos; the end of the iterator, however it comes, is that of the batch."""
        atexit.register(self.stop)
        try:
            with self._changed:
                self._grow()
            while (outcome := self._wait_for_outcome()) is not None:
                yield outcome
        finally:
            self.stop()
            atexit.unregister(self.stop)

    def stop(self) -> None:
        """End the calls in flight, on the server too, and the threads."""
        with self._changed:
            self._is_stopped = True
            in_flight = list(self._in_flight)
            self._changed.notify_all()
        for call in in_flight:
            call.cancel()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _wait_for_outcome(self) -> AgeOutcome | None:
        with self._changed:
            while True:
                outcome = self._batch.pop()
                if outcome is not None:
                    self._changed.notify_all()  # there is room for another
                    return outcome
                if self._failure is not None:
                    raise self._failure
                if self._batch.is_done:
                    return None
                self._changed.wait()

    def _grow(self) -> None:
        """Start threads up to the calls that may be in flight."""
        while len(self._threads) < self._batch.pacer.limit and not self._is_stopped:
            thread = threading.Thread(target=self._work, name="dorian age_many", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        try:
            while (job := self._begin_next()) is not None:
                if job.index < 0 and not self._draw(job):
                    continue
                self._attempt(job)
        except BaseException as error:  # of the caller's iterator, or of a client that was closed
            with self._changed:
                self._failure = error
                self._is_stopped = True
                self._changed.notify_all()

    def _begin_next(self) -> Job | None:
        """Wait until a photo may be sent, and return its job; None if there are no more."""
        with self._changed:
            while self._batch.has_work and not self._is_stopped:
                seconds = self._batch.seconds_to_next()
                if seconds == 0:
                    return self._batch.begin()
                self._changed.wait(seconds)
            return None

    def _draw(self, job: Job) -> bool:
        try:
            photo = next(self._photos)
        except StopIteration:
            with self._changed:
                self._batch.exhaust()
                self._changed.notify_all()
            return False
        with self._changed:
            self._batch.draw(job, photo)
            self._changed.notify_all()
        return True

    def _attempt(self, job: Job) -> None:
        try:
            if job.request is None:
                job.request = self._calls.request(job.photo)
            job.attempts += 1
            result = self._calls.read(self._call(job))
        except DorianError as error:
            with self._changed:
                self._batch.fail(job, error)
                self._changed.notify_all()
            return
        with self._changed:
            self._batch.succeed(job, result)
            self._grow()
            self._changed.notify_all()

    def _call(self, job: Job) -> Any:
        call = self._send(job.request, self._batch.seconds_left(job))
        with self._changed:
            self._in_flight.add(call)
            is_stopped = self._is_stopped
        try:
            if is_stopped:
                call.cancel()
            return call.result()
        except grpc.RpcError as error:
            raise self._error_from_rpc(error) from error
        except grpc.FutureCancelledError as error:
            raise ServerError("the client was closed during the call", code="CANCELLED") from error
        finally:
            with self._changed:
                self._in_flight.discard(call)
