"""Work that is stuck: the process is not ready while all workers are, and is replaced where a photo cannot be decoded."""

from __future__ import annotations

from contextlib import ExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian_bundle import Bundle
from dorian_server.domain.clock import Clock
from dorian_server.rpc.health_service import READINESS
from dorian_server.serving.server import Server, start
from dorian_server.serving.work_watch import WorkWatch
from dorian_server.settings import Settings

SECONDS = 60
LONG = 31  # looks, after which a stage is stuck


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def watch(told: list[str]) -> WorkWatch:
    return WorkWatch(2, 60.0, lambda stuck: told.append(f"stuck {stuck}"), lambda: told.append("overdue"))


def look(watch: WorkWatch, times: int) -> None:
    for _ in range(times):
        watch.look()


def test_all_workers_in_one_stage_for_long_are_stuck_until_one_goes_on(watch: WorkWatch, told: list[str]) -> None:
    first, second = Clock(), Clock()
    with watch.watching(first), watch.watching(second), ExitStack() as stack:
        stack.enter_context(first.stage("encode"))
        with second.stage("generate"):
            look(watch, LONG - 1)
            assert told == []
            look(watch, 1)
            assert told == ["stuck True"]
        look(watch, 1)
        assert told == ["stuck True", "stuck False"]


def test_one_worker_that_goes_on_is_enough(watch: WorkWatch, told: list[str]) -> None:
    first, second = Clock(), Clock()
    with watch.watching(first), watch.watching(second), first.stage("decode"):
        for _ in range(LONG + 10):
            with second.stage("generate"):
                look(watch, 1)
    assert told == []


@pytest.mark.parametrize("stage", ["optimise", ""])
def test_searches_and_calls_that_wait_are_not_stuck(watch: WorkWatch, told: list[str], stage: str) -> None:
    clocks = [Clock() for _ in range(3)]
    with ExitStack() as stack:
        for clock in clocks:
            stack.enter_context(watch.watching(clock))
            if stage:
                stack.enter_context(clock.stage(stage))
        look(watch, 10 * LONG)
    assert told == []


@pytest.mark.parametrize(("stage", "overdue"), [("decode", ["overdue"]), ("encode", [])])
def test_one_photo_that_cannot_be_decoded_is_told_once(
    watch: WorkWatch, told: list[str], stage: str, overdue: list[str]
) -> None:
    clock = Clock()
    with watch.watching(clock), clock.stage(stage):
        look(watch, 60)
        assert told == []
        look(watch, 60)
    assert told == overdue


def readiness(server: Server) -> list[int]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        requests = [health_pb2.HealthCheckRequest(service=name) for name in (*READINESS, "liveness")]
        return [check(request, timeout=SECONDS).status for request in requests]


def test_readiness_falls_while_all_workers_are_stuck(searching_bundle: Bundle) -> None:
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=1))
    try:
        server._watch.close()  # this test looks itself
        clocks = [Clock() for _ in range(server._watch._workers)]
        with ExitStack() as stack:
            for clock in clocks:
                stack.enter_context(server._watch.watching(clock))
                stack.enter_context(clock.stage("encode"))
            look(server._watch, LONG)
            assert readiness(server) == [health_pb2.HealthCheckResponse.NOT_SERVING] * 3 + [1]
        look(server._watch, 1)
        assert readiness(server) == [health_pb2.HealthCheckResponse.SERVING] * 4
    finally:
        server.stop()
