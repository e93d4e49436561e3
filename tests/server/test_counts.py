"""Requests with very many entries, and health checks with very long names, over a real socket: rejected at once, in few words."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_server.domain.errors import RequestError
from dorian_server.rpc import health_service
from dorian_server.serving.counts import check_counts
from dorian_server.settings import Limits
from tests.server.rejections import expect, rejected

MANY = 1_000_000
SECONDS = 0.1  # of one processor, whatever the count
LONG_NAME = "x" * 2_000_000


@pytest.mark.parametrize(
    ("field", "entry", "reason"),
    [
        ("targets", pb.Age(), "TARGET_TOO_MANY"),
        ("faces", pb.FaceSelector(), "FACE_TOO_MANY"),
        ("face_targets", pb.FaceTarget(), "FACE_TOO_MANY"),
        ("latents", pb.FaceLatent(), "FACE_TOO_MANY"),
        ("latents", pb.FaceLatent(latent=[0.0] * MANY), "LATENT_UNSUITABLE"),
    ],
)
def test_entries_are_counted_before_they_are_read(field: str, entry: Any, reason: str) -> None:
    count = 1 if reason == "LATENT_UNSUITABLE" else MANY
    request = pb.AgeTransformRequest(**{field: [entry] * count})
    start = time.process_time()
    with pytest.raises(RequestError) as caught:
        check_counts(request, Limits())
    assert time.process_time() - start < SECONDS
    assert caught.value.reason == reason
    assert caught.value.field.startswith(field)


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (pb.MixStylesRequest(references=[pb.StyleReference()] * MANY), "REFERENCE_TOO_MANY", "references"),
        (pb.MixStylesRequest(levels=[9] * MANY), "LEVELS_UNSUITABLE", "levels"),
        (
            pb.MixStylesRequest(references=[pb.StyleReference(levels=[9] * MANY)]),
            "LEVELS_UNSUITABLE",
            "references[0].levels",
        ),
        (pb.MixStylesRequest(faces=[pb.FaceSelector()] * MANY), "FACE_TOO_MANY", "faces"),
    ],
)
def test_references_and_levels_are_counted_before_they_are_read(
    request_: pb.MixStylesRequest, reason: str, field: str
) -> None:
    start = time.process_time()
    with pytest.raises(RequestError) as caught:
        check_counts(request_, Limits())
    assert time.process_time() - start < SECONDS
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_very_many_entries_over_a_socket(stub: FaceAgingStub) -> None:
    for field, entry in (("latents", pb.FaceLatent()), ("face_targets", pb.FaceTarget())):
        request = pb.AgeTransformRequest(targets=[pb.Age(years=40)], **{field: [entry] * 100_000})
        expect(rejected(stub.AgeTransform, request), "FACE_TOO_MANY", field, "at most 32 are allowed")


def test_the_health_service_repeats_no_name(address: str) -> None:
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=LONG_NAME), timeout=60)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "known: liveness" in caught.value.details()
    assert len(caught.value.details()) < 200


def test_watches_are_limited(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_service, "MAX_WATCHES", 0)
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        next(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
