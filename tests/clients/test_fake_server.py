"""The public fake server: its results, its records, and its errors, which are those of the contract."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import AgeGroup, Busy, Client, ConnectionFailed, Filter, Method, NoFaceError, NotFound, Reason
from dorian_client.testing import FakeServer
from dorian_client.testing._behaviour import STATUS_BY_REASON
from tests.contract import documented_statuses

Pixels = npt.NDArray[np.uint8]


def test_it_serves_while_it_is_entered(pixels: Pixels) -> None:
    with FakeServer() as server, Client(server.address, retries=0) as client:
        assert client.age(pixels, 30).photos[0].picture.width == 64
        server.stop()
        with pytest.raises(ConnectionFailed):
            client.age(pixels, 30)
    server.stop()


def test_it_starts_once() -> None:
    with FakeServer() as server, pytest.raises(RuntimeError, match="has started already"):
        server.start()


def test_several_serve_at_once(pixels: Pixels) -> None:
    with FakeServer() as first, FakeServer(bundles=["a", "b"]) as second:
        assert first.address != second.address
        with Client(second.address, bundle="b") as client:
            client.detect(pixels)
    assert (len(first.requests), len(second.requests)) == (0, 1)


def test_its_results_are_the_same_every_time(pixels: Pixels) -> None:
    results = []
    for _ in range(2):
        with FakeServer() as server, Client(server.address) as client:
            results.append((client.age(pixels, [20, "60+"]), client.optimize(pixels, preview_every=1).result()))
    assert results[0] == results[1]


def test_requests_are_recorded(pixels: Pixels) -> None:
    with FakeServer() as server, Client(server.address, api_key="dorian_key", timeout=30) as client:
        client.age(pixels, 30, faces="largest")
        client.methods()
    ageing, listing = server.requests
    assert (list(ageing.targets), ageing.faces[0].largest) == ([pb.Age(years=30)], True)
    assert isinstance(listing, pb.ListMethodsRequest)
    assert [metadata["authorization"] for metadata in server.metadata] == ["Bearer dorian_key"] * 2
    assert all(seconds is not None and 0 < seconds < 31 for seconds in server.seconds_left)


def test_methods_of_ones_own(pixels: Pixels) -> None:
    groups = (AgeGroup("40-49", 40, 49, 45.0),)
    method = Method(
        "mine", "age_translator", "My own.", groups, 256, is_default=True, filters=(Filter("bald", "Bald."),)
    )
    with FakeServer(methods=[method]) as server, Client(server.address, retries=0) as client:
        assert client.methods() == [method]
        result = client.sweep(pixels)
        assert ([photo.target for photo in result.photos], result.provenance.method) == (["40-49"], "mine")
        assert client.age(pixels, Filter("bald")).photos[0].target == Filter("bald")
        with pytest.raises(NotFound):
            client.age(pixels, 30, method="inverter")


@pytest.mark.parametrize("reason", Reason)
def test_every_error_of_the_contract(reason: Reason, pixels: Pixels) -> None:
    with FakeServer() as server, Client(server.address, retries=0) as client:
        server.fail(reason, "as told", field="image", metadata={"limit": "16"})
        for call in (lambda: client.age(pixels, 30), lambda: client.optimize(pixels).result()):
            with pytest.raises(Exception, match="as told") as caught:
                call()
            assert caught.value.reason is not None  # type: ignore[attr-defined]
            assert vars(caught.value) == {
                "code": STATUS_BY_REASON[reason].name,
                "reason": reason,
                "field": "image",
                "metadata": {"limit": "16"},
                "retry_after": None,
            }


def test_failing_a_number_of_times(pixels: Pixels) -> None:
    with FakeServer() as server, Client(server.address, retries=2) as client:
        server.fail("QUEUE_FULL", retry_after=0.01, times=2)
        client.detect(pixels)
        assert len(server.requests) == 3
        server.fail(Reason.QUEUE_FULL, retry_after=0.01)
        with pytest.raises(Busy):
            client.detect(pixels)
        server.fail("NO_FACE")
        with pytest.raises(NoFaceError):
            client.detect(pixels)
        server.recover()
        client.detect(pixels)


def test_reasons_that_the_contract_does_not_have() -> None:
    with pytest.raises(ValueError, match="NO_FEET"):
        FakeServer().fail("NO_FEET")


def test_a_call_that_the_client_ends_takes_no_longer(pixels: Pixels) -> None:
    with FakeServer(delay=600) as server, Client(server.address, timeout=0.2) as client:
        with pytest.raises(Exception, match=r"within 0\.2 s"):
            client.detect(pixels)
        server.delay = 0
        client.timeout = 30
        for _ in range(8):  # more than it has threads
            client.detect(pixels)


def test_a_search_that_waits_for_its_end(pixels: Pixels) -> None:
    with FakeServer(pause_after=1) as server, Client(server.address) as client:
        search = client.optimize(pixels)
        assert [next(search).step, next(search).step] == [0, 1]
        timer = threading.Timer(0.1, search.cancel)
        timer.start()
        assert list(search) == []
        assert server.search_cancelled.wait(5)
        timer.join()


def test_a_search_that_is_refused_is_not_ended_by_the_client(pixels: Pixels) -> None:
    with FakeServer() as server, Client(server.address, retries=1) as client:
        server.fail("QUEUE_FULL", retry_after=0.01, times=1)
        client.optimize(pixels).result()
        assert len(server.requests) == 2
        assert not server.search_cancelled.is_set()


def test_responses_of_ones_own(pixels: Pixels) -> None:
    with (
        FakeServer(on_response=lambda response: pb.DetectFacesResponse(width=7)) as server,
        Client(server.address) as client,
    ):
        assert client.detect(pixels).width == 7


def test_reasons_and_statuses_are_those_of_the_contract() -> None:
    assert {str(reason): status.name for reason, status in STATUS_BY_REASON.items()} == documented_statuses()
    assert set(STATUS_BY_REASON) == set(Reason)
