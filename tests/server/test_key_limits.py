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
from tests.server.doors import SECONDS, Door, rejects
from tests.server.waits import until


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with ExitStack() as stack:
        yield Door(tmp_path / "keys.json", stack)


def test_calls_at_once_are_counted_while_they_run(door: Door) -> None:
    door.add("two", ["age"], calls_at_once=2)
    door.write()
    door.servicer.held.add("AgeTransform")
    running = [door.send("two", "AgeTransform", pb.AgeTransformRequest()) for _ in range(2)]
    assert until(lambda: door.servicer.calls["AgeTransform"] == 2)
    rejection = rejects(lambda: door.call("two"))
    assert (rejection.code, rejection.info.reason) == ("RESOURCE_EXHAUSTED", "CALLS_AT_ONCE")
    assert rejection.seconds_to_wait == 1
    assert "2 calls under way" in rejection.message
    assert door.rejected == ["CALLS_AT_ONCE"]
    door.call("age")  # has no part in it
    door.servicer.release.set()
    assert all(call.result() is not None for call in running)
    for _ in range(5):
        door.call("two")


def test_one_call_after_the_other_is_never_too_many(door: Door) -> None:
    door.add("one", ["age", "optimize"], calls_at_once=1)
    door.write()
    for _ in range(30):
        door.call("one")
        assert len(door.call("one", "Optimize", pb.OptimizeRequest())) == 1


@pytest.mark.parametrize("how", ["cancelled", "past its deadline", "failed"])
def test_a_call_that_ends_badly_gives_its_place_back(door: Door, how: str) -> None:
    door.add("one", ["age", "optimize"], calls_at_once=1)
    door.write()
    if how == "failed":
        failed = door.send("one", "DetectFaces", pb.DetectFacesRequest(image=pb.Image(data=b"bad")))
        assert failed.code() == grpc.StatusCode.INVALID_ARGUMENT
    else:
        door.servicer.held.add("steps")
        stream = door.send("one", "Optimize", pb.OptimizeRequest(), timeout=SECONDS if how == "cancelled" else 5)
        next(stream)
        assert rejects(lambda: door.call("one")).info.reason == "CALLS_AT_ONCE"
        if how == "cancelled":
            stream.cancel()
        else:
            with pytest.raises(grpc.RpcError):
                next(stream)

    def let_in() -> bool:
        call = door.send("one", "ListMethods", pb.ListMethodsRequest())
        return call.exception() is None

    assert until(let_in)


def test_calls_of_a_minute(door: Door) -> None:
    door.add("two", ["age"], calls_per_minute=2)
    door.write()
    for _ in range(2):
        door.call("two")
    rejection = rejects(lambda: door.call("two"))
    assert (rejection.code, rejection.info.reason) == ("RESOURCE_EXHAUSTED", "CALLS_PER_MINUTE")
    assert 0 < rejection.seconds_to_wait <= 60
    assert door.rejected == ["CALLS_PER_MINUTE"]
    assert door.servicer.calls == {"ListMethods": 2}


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
