"""How much an API key may ask for: calls at once, and calls in a minute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian_server.domain.errors import OverloadError
from dorian_server.security.quotas import Quotas
from tests.server.keyed_server import SECONDS, KeyedServer, rejects
from tests.server.waiting import wait_until


@pytest.fixture
def keyed_server(tmp_path: Path) -> Iterator[KeyedServer]:
    with ExitStack() as stack:
        yield KeyedServer(tmp_path / "keys.json", stack)


def test_calls_at_once_are_counted_while_they_run(keyed_server: KeyedServer) -> None:
    keyed_server.add("two", ["age"], calls_at_once=2)
    keyed_server.write()
    keyed_server.servicer.held.add("AgeTransform")
    running = [keyed_server.send("two", "AgeTransform", pb.AgeTransformRequest()) for _ in range(2)]
    assert wait_until(lambda: keyed_server.servicer.calls["AgeTransform"] == 2)
    rejection = rejects(lambda: keyed_server.call("two"))
    assert (rejection.code, rejection.info.reason) == ("RESOURCE_EXHAUSTED", "CALLS_AT_ONCE")
    assert rejection.seconds_to_wait == 1
    assert "2 calls under way" in rejection.message
    assert keyed_server.rejected == ["CALLS_AT_ONCE"]
    keyed_server.call("age")  # has no part in it
    keyed_server.servicer.release.set()
    assert all(call.result() is not None for call in running)
    for _ in range(5):
        keyed_server.call("two")


def test_one_call_after_the_other_is_never_too_many(keyed_server: KeyedServer) -> None:
    keyed_server.add("one", ["age", "optimize"], calls_at_once=1)
    keyed_server.write()
    for _ in range(30):
        keyed_server.call("one")
        assert len(keyed_server.call("one", "Optimize", pb.OptimizeRequest())) == 1


@pytest.mark.parametrize("how", ["cancelled", "past its deadline", "failed"])
def test_a_call_that_ends_badly_gives_its_place_back(keyed_server: KeyedServer, how: str) -> None:
    keyed_server.add("one", ["age", "optimize"], calls_at_once=1)
    keyed_server.write()
    if how == "failed":
        failed = keyed_server.send("one", "DetectFaces", pb.DetectFacesRequest(image=pb.Image(data=b"bad")))
        assert failed.code() == grpc.StatusCode.INVALID_ARGUMENT
    else:
        keyed_server.servicer.held.add("steps")
        stream = keyed_server.send(
            "one", "Optimize", pb.OptimizeRequest(), timeout=SECONDS if how == "cancelled" else 5
        )
        next(stream)
        assert rejects(lambda: keyed_server.call("one")).info.reason == "CALLS_AT_ONCE"
        if how == "cancelled":
            stream.cancel()
        else:
            with pytest.raises(grpc.RpcError):
                next(stream)

    def let_in() -> bool:
        call = keyed_server.send("one", "ListMethods", pb.ListMethodsRequest())
        return call.exception() is None

    assert wait_until(let_in)


def test_calls_of_a_minute(keyed_server: KeyedServer) -> None:
    keyed_server.add("two", ["age"], calls_per_minute=2)
    keyed_server.write()
    for _ in range(2):
        keyed_server.call("two")
    rejection = rejects(lambda: keyed_server.call("two"))
    assert (rejection.code, rejection.info.reason) == ("RESOURCE_EXHAUSTED", "CALLS_PER_MINUTE")
    assert 0 < rejection.seconds_to_wait <= 60
    assert keyed_server.rejected == ["CALLS_PER_MINUTE"]
    assert keyed_server.servicer.calls == {"ListMethods": 2}


def test_the_minute_moves_on_call_by_call() -> None:
    now = [1000.0]
    quotas = Quotas(lambda: now[0])

    def begin(at: float, limit: int = 3) -> float:
        """How long to wait; 0 where there is room."""
        now[0] = 1000 + at
        try:
            with quotas.count("a", None, limit):
                return 0.0
        except OverloadError as error:
            return error.retry_after

    assert [begin(at) for at in (0, 10, 20)] == [0, 0, 0]
    assert [begin(at) for at in (20, 59, 60)] == [40, 1, 0], "the rejected ones do not count"
    assert [begin(at) for at in (61, 70, 71)] == [9, 0, 9]
    assert begin(71, limit=1) == 59, "the three of 20, 60 and 70 must pass"
