"""A search that a server runs: its steps, as they come, and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import _responses
from dorian_client._results import SearchResult, SearchStep
from dorian_client.errors import Cancelled, InternalError, ServerError


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
        self, call: grpc.CallIterator[pb.OptimizeResponse], error_from_rpc: Callable[[grpc.RpcError], ServerError]
    ) -> None:
        self._call = call
        self._error_from_rpc = error_from_rpc
        self._cancelled = False
        self._result: SearchResult | None = None

    def __next__(self) -> SearchStep:
        try:
            for response in self._call:
                match response.WhichOneof("kind"):
                    case "progress":
                        return _responses.read_search_step(response.progress)
                    case "result":
                        self._result = _responses.read_search_result(response.result)
        except grpc.RpcError as error:
            if not self._cancelled:
                raise self._error_from_rpc(error) from error
        raise StopIteration

    def result(self) -> SearchResult:
        """Waits for the end, passing over the steps until then, and returns what the search ended with.

        Raises Cancelled if the search was cancelled before it had a result.
        """
        for _ in self:
            pass
        if self._result is not None:
            return self._result
        if self._cancelled:
            raise Cancelled("the search was cancelled before it had a result")
        raise InternalError("the server ended the search without a result", code="INTERNAL")

    def cancel(self) -> None:
        """Ends the search, on the server too; no step follows. Has no effect on a search that is done."""
        if self._call.is_active():
            self._cancelled = True
            self._call.cancel()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Search:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
