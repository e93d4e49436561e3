"""Calls that must fail, and what their statuses say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

SECONDS = 120


class Rejection:
    """A failed call's status and details."""

    def __init__(self, error: grpc.RpcError) -> None:
        status = rpc_status.from_call(error)
        assert status is not None
        self.code = error.code().name
        self.message = error.details()
        self.details = status.details
        self.info = self._detail(error_details_pb2.ErrorInfo)
        self.bad_request = self._detail(error_details_pb2.BadRequest)
        self.seconds_to_wait = float(
            self._detail(error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds()
        )
        assert status.message == self.message

    def _detail(self, kind: type) -> Any:
        """The one detail of a kind, or an empty one."""
        detail = kind()
        assert sum(packed.Unpack(detail) for packed in self.details if packed.Is(kind.DESCRIPTOR)) <= 1
        return detail


def rejected(rpc: Callable[..., object], request: object) -> Rejection:
    with pytest.raises(grpc.RpcError) as caught:
        rpc(request, timeout=SECONDS)
    return Rejection(caught.value)


def rejected_at_once(rpc: Callable[..., Iterable[object]], request: object) -> Rejection:
    """As ``rejected``, of a call that would be answered in several messages, before the first of them."""
    with pytest.raises(grpc.RpcError) as caught:
        next(iter(rpc(request, timeout=SECONDS)))
    return Rejection(caught.value)


def expect(rejection: Rejection, reason: str, field: str, message: str) -> None:
    """``rejection`` is the caller's fault, for ``reason``, and says so in all its parts."""
    assert rejection.code == (
        "NOT_FOUND" if reason in ("METHOD_UNKNOWN", "METHOD_WITHHELD", "BUNDLE_UNKNOWN") else "INVALID_ARGUMENT"
    )
    assert message in rejection.message
    assert (rejection.info.reason, rejection.info.domain) == (reason, "dorian.v1")
    assert dict(rejection.info.metadata) == {"field": field}
    (violation,) = rejection.bad_request.field_violations
    assert (violation.field, violation.description) == (field, rejection.message)
    assert len(rejection.details) == 2
