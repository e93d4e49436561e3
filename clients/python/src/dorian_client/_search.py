"""A latent search on the server: its steps as they come, and its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from types import TracebackType
from typing import Any, TypeAlias

import grpc

from dorian_client._results import SearchResult, SearchStep
from dorian_client._retries import Attempts
from dorian_client.errors import Cancelled, InternalError, ServerError

Read: TypeAlias = Callable[[Any], SearchStep | SearchResult | None]
Start: TypeAlias = Callable[[float | None], Any]  # makes the call, given the seconds that it may take


class SearchState:
    """What has come of a search, whichever client made it.

    Attributes:
        is_final: Whether its call is the last: a response has come, or it has failed.
    """

    def __init__(self, begin: Callable[[], Attempts], read: Read) -> None:
        """Prepare for the responses of a search.

        Args:
            begin: Returns the attempts of the call, once it begins.
            read: Reads a response.
        """
        self.is_final = False
        self._begin = begin
        self._read = read
        self._result: SearchResult | None = None

    @cached_property
    def _attempts(self) -> Attempts:
        return self._begin()

    def seconds_left(self) -> float | None:
        """Return how long the next call may take; None for no limit."""
        return self._attempts.seconds_left()

    def take(self, response: Any) -> SearchStep | None:
        """Read a response; return the step, if it is one."""
        self.is_final = True
        event = self._read(response)
        if isinstance(event, SearchResult):
            self._result = event
            return None
        return event

    def delay_after(self, failure: ServerError) -> float | None:
        """Return the seconds to wait before the call is made again; None if it is not."""
        delay = None if self.is_final else self._attempts.delay_after(failure)
        self.is_final = delay is None
        return delay

    def result(self, *, is_cancelled: bool) -> SearchResult:
        """Return the result of a search that has ended; raises Cancelled, and InternalError if there is none."""
        if self._result is not None:
            return self._result
        if is_cancelled:
            raise Cancelled("the search was cancelled before it had a result")
        raise InternalError("the server ended the search without a result", code="INTERNAL")


class Search(Iterator[SearchStep]):
    """A latent search in progress, as `Client.optimize` returns it: an iterator over its steps, which ends with the search.

    Leaving the `with` statement or calling `cancel`, from any thread, ends an unfinished search, on the server too.
    Iteration and `result` raise the `ServerError` classes of `dorian_client.errors`.

    Example:
        >>> with client.optimize("portrait.jpg") as search:
        ...     for step in search:
        ...         print(step.step, step.best_loss)
        ...     result = search.result()
    """

    def __init__(
        self, start: Start, state: SearchState, error_from_rpc: Callable[[grpc.RpcError], ServerError]
    ) -> None:
        """Start the search.

        Args:
            start: Makes the call, given the seconds that it may take.
            state: What comes of it.
            error_from_rpc: Turns gRPC's errors into this package's.
        """
        self._start = start
        self._state = state
        self._error_from_rpc = error_from_rpc
        self._lock = threading.Lock()  # between a retry and cancel()
        self._cancelled = threading.Event()
        self._call = start(state.seconds_left())

    def __next__(self) -> SearchStep:
        while not self._cancelled.is_set():
            try:
                for response in self._call:
                    step = self._state.take(response)
                    if step is not None:
                        return step
                break
            except grpc.RpcError as error:
                if not self._cancelled.is_set():
                    self._retry(error)
        raise StopIteration

    def result(self) -> SearchResult:
        """Wait for the end of the search and return its result; steps until then are skipped.

        Raises:
            Cancelled: The search was cancelled before it had a result.
            ServerError: The search failed.
        """
        for _ in self:
            pass
        return self._state.result(is_cancelled=self._cancelled.is_set())

    def cancel(self) -> None:
        """End the search, on the server too; no step follows. Has no effect on a finished search."""
        with self._lock:
            if not self._state.is_final or self._call.is_active():
                self._cancelled.set()
                self._call.cancel()

    def _retry(self, error: grpc.RpcError) -> None:
        """Retry a failed call if no response has come and attempts are left; otherwise raise its error."""
        failure = self._error_from_rpc(error)
        delay = self._state.delay_after(failure)
        if delay is None:
            raise failure from error
        self._cancelled.wait(delay)
        with self._lock:
            if not self._cancelled.is_set():
                self._call = self._start(self._state.seconds_left())

    def __enter__(self) -> Search:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
