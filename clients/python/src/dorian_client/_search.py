"""A search that a server runs: its steps, as they come, and its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeAlias

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import _responses
from dorian_client._results import SearchResult, SearchStep
from dorian_client._retries import Tries
from dorian_client.errors import Cancelled, InternalError, ServerError

_Call: TypeAlias = "grpc.CallIterator[pb.OptimizeResponse]"


class Search(Iterator[SearchStep]):
    """A search under way, as Client.optimize() returns it: an iterator over its steps, which ends with the search.

        with client.optimize("portrait.jpg") as search:
            for step in search:
                print(step.step, step.best_loss)
            result = search.result()

    Leaving the `with` statement or calling cancel(), from any thread, ends a search that is not done, on the server too.
    Iteration and result() raise the ServerErrors of dorian_client.errors.
    """

    def __init__(
        self,
        start: Callable[[float | None], _Call],
        tries: Tries,
        error_from_rpc: Callable[[grpc.RpcError], ServerError],
    ) -> None:
        """start: makes the call, given the seconds that it may take."""
        self._start = start
        self._tries = tries
        self._error_from_rpc = error_from_rpc
        self._lock = threading.Lock()  # between a new try and cancel()
        self._cancelled = threading.Event()
        self._settled = False  # whether the call is the last: something came of it, or it failed for good
        self._result: SearchResult | None = None
        self._call = start(tries.seconds_left())

    def __next__(self) -> SearchStep:
        while not self._cancelled.is_set():
            try:
                for response in self._call:
                    self._settled = True
                    match response.WhichOneof("kind"):
                        case "progress":
                            return _responses.read_search_step(response.progress)
                        case "result":
                            self._result = _responses.read_search_result(response.result)
                break
            except grpc.RpcError as error:
                if not self._cancelled.is_set():
                    self._try_again(error)
        raise StopIteration

    def result(self) -> SearchResult:
        """Waits for the end, passing over the steps until then, and returns what the search ended with.

        Raises Cancelled if the search was cancelled before it had a result.
        """
        for _ in self:
            pass
        if self._result is not None:
            return self._result
        if self._cancelled.is_set():
            raise Cancelled("the search was cancelled before it had a result")
        raise InternalError("the server ended the search without a result", code="INTERNAL")

    def cancel(self) -> None:
        """Ends the search, on the server too; no step follows. Has no effect on a search that is done."""
        with self._lock:
            if not self._settled or self._call.is_active():
                self._cancelled.set()
                self._call.cancel()  # type: ignore[no-untyped-call]

    def _try_again(self, error: grpc.RpcError) -> None:
        """Sends a call that failed again, if that is to be and nothing had come of it; or else raises what it failed with."""
        failure = self._error_from_rpc(error)
        delay = None if self._settled else self._tries.delay_after(failure)
        if delay is None:
            self._settled = True
            raise failure from error
        self._cancelled.wait(delay)
        with self._lock:
            if not self._cancelled.is_set():
                self._call = self._start(self._tries.seconds_left())

    def __enter__(self) -> Search:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
