"""A latent search on the server: its steps as they come, and its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeAlias

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import _responses
from dorian_client._results import SearchResult, SearchStep
from dorian_client._retries import Attempts
from dorian_client.errors import Cancelled, InternalError, ServerError

_Call: TypeAlias = "grpc.CallIterator[pb.OptimizeResponse]"


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
        self,
        start: Callable[[float | None], _Call],
        attempts: Attempts,
        error_from_rpc: Callable[[grpc.RpcError], ServerError],
    ) -> None:
        """Start the search.

        Args:
            start: Makes the call, given the seconds that it may take.
            attempts: The attempts that the call has.
            error_from_rpc: Turns gRPC's errors into this package's.
        """
        self._start = start
        self._attempts = attempts
        self._error_from_rpc = error_from_rpc
        self._lock = threading.Lock()  # between a retry and cancel()
        self._cancelled = threading.Event()
        self._is_final = False  # whether the call is the last: a response has come, or it has failed
        self._result: SearchResult | None = None
        self._call = start(attempts.seconds_left())

    def __next__(self) -> SearchStep:
        while not self._cancelled.is_set():
            try:
                for response in self._call:
                    self._is_final = True
                    match response.WhichOneof("kind"):
                        case "progress":
                            return _responses.read_search_step(response.progress)
                        case "result":
                            self._result = _responses.read_search_result(response.result)
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
        if self._result is not None:
            return self._result
        if self._cancelled.is_set():
            raise Cancelled("the search was cancelled before it had a result")
        raise InternalError("the server ended the search without a result", code="INTERNAL")

    def cancel(self) -> None:
        """End the search, on the server too; no step follows. Has no effect on a finished search."""
        with self._lock:
            if not self._is_final or self._call.is_active():
                self._cancelled.set()
                self._call.cancel()  # type: ignore[no-untyped-call]

    def _retry(self, error: grpc.RpcError) -> None:
        """Retry a failed call if no response has come and attempts are left; otherwise raise its error."""
        failure = self._error_from_rpc(error)
        delay = None if self._is_final else self._attempts.delay_after(failure)
        if delay is None:
            self._is_final = True
            raise failure from error
        self._cancelled.wait(delay)
        with self._lock:
            if not self._cancelled.is_set():
                self._call = self._start(self._attempts.seconds_left())

    def __enter__(self) -> Search:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
