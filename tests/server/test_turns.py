"""Turns and deadlines over a real socket: what a server learns from its first call, and plain calls beside searches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.security.keys import make_key, write_keys
from dorian_server.settings import Limits, Load, Security
from tests.server.rejections import SECONDS, Rejection
from tests.server.tiny_searches import photo_of
from tests.server.waiting import wait_until

SCALE = 40  # of a large photo
STEP = 0.05  # seconds
NEVER = 10**9
GREEDY, AT_ONCE, DURATION = 10, 3, 5.0

Serve = Callable[..., FaceAgingStub]


@pytest.fixture(scope="module")
def small(write: Callable[..., bytes]) -> pb.AgeTransformRequest:
    return request_of(write(photo_of((220, 160, 60))))


@pytest.fixture(scope="module")
def large(write: Callable[..., bytes]) -> pb.AgeTransformRequest:
    """The same faces on so many more pixels that decoding takes nearly all of the time."""
    pixels = photo_of((220, 160, 60))
    return request_of(write(np.kron(pixels, np.ones((SCALE, SCALE, 1), np.uint8)), compress_level=1))


def request_of(photo: bytes) -> pb.AgeTransformRequest:
    return pb.AgeTransformRequest(image=pb.Image(data=photo), targets=[pb.Age(years=60)])


def test_after_one_large_photo_calls_with_short_deadlines_are_served(
    searching_bundle: Bundle, serve: Serve, large: pb.AgeTransformRequest, small: pb.AgeTransformRequest
) -> None:
    stub = serve(searching_bundle, load=Load(workers=1))
    begin = time.monotonic()
    stub.AgeTransform(large, timeout=SECONDS)
    taken = time.monotonic() - begin
    for _ in range(20):
        stub.AgeTransform(small, timeout=0.6 * taken)
    with pytest.raises(grpc.RpcError) as caught:
        stub.AgeTransform(large, timeout=0.02 * taken)
    assert Rejection(caught.value).code == "DEADLINE_EXCEEDED"


def test_two_watched_searches_do_not_starve_plain_ageing(
    searching_bundle: Bundle, serve: Serve, small: pb.AgeTransformRequest, evaluations: Any
) -> None:
    """On a single worker, which each of three calls has in turn: an ageing waits for a step or two, not for a search."""
    stub = serve(searching_bundle, load=Load(workers=1, max_wait=5.0), limits=Limits(max_steps=NEVER))
    evaluations.before = lambda number: time.sleep(STEP)
    search = pb.SearchOptions(optimizer=pb.OPTIMIZER_ADAM, max_steps=NEVER)
    searches = [stub.Optimize(pb.OptimizeRequest(image=small.image, search=search), timeout=SECONDS) for _ in range(2)]
    steps = [0, 0]
    for index, call in enumerate(searches):
        next(call)
        steps[index] += 1
    seconds = []
    for _ in range(20):
        begin = time.monotonic()
        assert stub.AgeTransform(small, timeout=SECONDS).results
        seconds.append(time.monotonic() - begin)
    assert np.median(seconds) < 10 * STEP, "a search alone would have taken for ever"
    for call in searches:
        assert next(call).progress.step > 0, "searches go on, too"
        call.cancel()


def test_searches_of_one_request_give_way_together(
    searching_bundle: Bundle, serve: Serve, evaluations: Any, write: Callable[..., bytes]
) -> None:
    """The faces of a photo are searched by several threads, all of which wait for the request's turn."""
    stub = serve(searching_bundle, load=Load(workers=1, max_wait=5.0))
    evaluations.before = lambda number: time.sleep(STEP)
    photo = write(photo_of((220, 160, 60), (60, 160, 220)))
    request = pb.ReconstructRequest(
        image=pb.Image(data=photo),
        mode=pb.RECONSTRUCTION_MODE_IDENTITY,
        search=pb.SearchOptions(optimizer=pb.OPTIMIZER_ADAM, max_steps=30),
    )
    call = stub.Reconstruct.future(request, timeout=SECONDS)
    assert wait_until(lambda: len(evaluations.rows) > 2)
    before = len(evaluations.rows)
    assert stub.AgeTransform(request_of(photo), timeout=SECONDS).results
    assert len(evaluations.rows) < before + 20, "it went first"
    faces = call.result().faces
    assert [face.steps for face in faces] == [30, 30]


def test_a_polite_caller_among_greedy_ones_gets_its_share(
    searching_bundle: Bundle,
    serve: Serve,
    small: pb.AgeTransformRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It has one call at a time and waits as it is told; each of the others has three, and asks again at once."""
    age = Pipeline.age

    def slow_age(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.03)  # so that it is the server that is busy, and not its callers
        return age(*arguments, **options)

    monkeypatch.setattr(Pipeline, "age", slow_age)
    keys = [
        make_key(name, frozenset({"age"}), None, None)
        for name in ("polite", *(f"greedy-{index}" for index in range(GREEDY)))
    ]
    write_keys(tmp_path / "keys.json", [entry for _, entry in keys])
    stub = serve(searching_bundle, load=Load(workers=2), security=Security(api_keys=tmp_path / "keys.json"))
    served = [0] * len(keys)
    end = time.monotonic() + DURATION

    def call(index: int, is_polite: bool) -> None:
        metadata = (("authorization", f"Bearer {keys[index][0]}"),)
        while time.monotonic() < end:
            try:
                stub.AgeTransform(small, metadata=metadata, timeout=SECONDS)
                served[index] += 1
            except grpc.RpcError as error:
                rejection = Rejection(error)
                assert rejection.info.reason == "QUEUE_FULL"
                time.sleep(rejection.seconds_to_wait if is_polite else 0.01)

    threads = [threading.Thread(target=call, args=(0, True))]
    threads += [threading.Thread(target=call, args=(1 + index % GREEDY, False)) for index in range(GREEDY * AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    fair_share = sum(served) / len(keys)
    assert fair_share > 3, "the server was busy"
    assert served[0] >= fair_share / 2, served
