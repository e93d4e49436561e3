"""What a fake server has, how it fails, and what it has received."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from dorian_client._bundles import AgeGroup, Method, StylePreset
from dorian_client._faces import Box, Face, FaceWarning, Filter, Landmarks
from dorian_client._matches import YearsApart
from dorian_client._status import DOMAIN
from dorian_client.errors import Reason

_RETRY_AFTER = 0.05  # seconds, of calls beyond the capacity
_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_STATUSES: dict[Reason, grpc.StatusCode] = {
    Reason.METHOD_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Reason.METHOD_WITHHELD: grpc.StatusCode.NOT_FOUND,
    Reason.BUNDLE_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Reason.BUNDLE_BROKEN: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.API_KEY_MISSING: grpc.StatusCode.UNAUTHENTICATED,
    Reason.API_KEY_UNKNOWN: grpc.StatusCode.UNAUTHENTICATED,
    Reason.SCOPE_MISSING: grpc.StatusCode.PERMISSION_DENIED,
    Reason.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.CALLS_AT_ONCE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.CALLS_PER_MINUTE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DEADLINE_TOO_SHORT: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.NOT_READY: grpc.StatusCode.UNAVAILABLE,
    Reason.STOPPING: grpc.StatusCode.UNAVAILABLE,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}
# The status that the contract gives each reason.
STATUS_BY_REASON: dict[Reason, grpc.StatusCode] = {reason: _STATUSES.get(reason, _INVALID) for reason in Reason}

_AGE_GROUPS = (
    AgeGroup("0-18", 0, 18, 0.0),
    AgeGroup("19-29", 19, 29, 19.0),
    AgeGroup("30-39", 30, 39, 30.0),
    AgeGroup("60+", 60, None, 60.0),
)
_PRESETS = (
    StylePreset("mid", ((5, 6, 7, 8, 9, 10, 11, 12),)),
    StylePreset("alternating-3", ((9, 11),)),
    StylePreset("two-styles", ((9, 11), (10, 12))),
)
_METHODS = (
    Method(
        "inverter",
        "fake",
        "Inverts.",
        _AGE_GROUPS,
        64,
        is_default=True,
        reconstructs=True,
        optimises=True,
        changes_hair=True,
    ),
    Method(
        "other",
        "fake",
        "Inverts too.",
        _AGE_GROUPS[:2],
        32,
        is_default=False,
        reconstructs=True,
        style_levels=12,
        style_presets=_PRESETS,
    ),
    Method("painter", "fake", "Has no ages.", (), 32, False, (Filter("young", "Younger."), Filter("old", "Older."))),
)
_FACES = (
    Face(
        index=0,
        box=Box(8, 4, 32, 40),
        score=0.75,
        landmarks=Landmarks((18, 20), (30, 20.5), (24, 28), (19, 34), (29, 35)),
        estimated_age=34.25,
    ),
    Face(
        index=1,
        box=Box(50, 6, 12, 14),
        score=0.5,
        landmarks=Landmarks((53, 10), (59, 10.25), (56, 14), (53.5, 17), (58.5, 17.5)),
        estimated_age=7.75,
    ),
)


@dataclass
class Failure:
    """A status that calls end with.

    Attributes:
        status: The status, with its details.
        times: How many more calls fail; None for all.
        after: The step of a latent search after which it fails; None if calls fail at once.
    """

    status: status_pb2.Status
    times: int | None = None
    after: int | None = None


@dataclass(kw_only=True, eq=False)
class Behaviour:
    """What a fake server has, how it fails, and what it has received. See `FakeServer`."""

    faces: list[Face] = field(default_factory=lambda: list(_FACES))
    methods: list[Method] = field(default_factory=lambda: list(_METHODS))
    bundles: list[str] = field(default_factory=lambda: ["fake-bundle"])
    changed_bundles: set[str] = field(default_factory=set)
    unusable_faces: set[int] = field(default_factory=set)
    similarity: float = 0.75
    years_apart: YearsApart | None = None
    warnings: dict[int, list[FaceWarning]] = field(default_factory=dict)
    workers: int = 4
    capacity: int | None = None
    delay: float = 0.0
    pause_after: int | None = None
    on_response: Callable[[Any], Any] | None = None

    requests: list[Any] = field(default_factory=list, init=False)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list, init=False)
    seconds_left: list[float | None] = field(default_factory=list, init=False)
    search_cancelled: threading.Event = field(default_factory=threading.Event, init=False)
    most_calls: int = field(default=0, init=False)
    _failure: Failure | None = field(default=None, init=False, repr=False)
    _calls: int = field(default=0, init=False, repr=False)
    _counting: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def fail(
        self,
        reason: Reason | str,
        message: str = "the fake server was told to fail",
        *,
        field: str = "",
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
        times: int | None = None,
        after: int | None = None,
    ) -> None:
        """Make calls fail with an error of the contract, until `recover`.

        Args:
            reason: The error's reason; the status follows from it.
            message: The error's message.
            field: The field of the request at fault.
            retry_after: Seconds after which the client may retry.
            metadata: Further details.
            times: How many calls fail; None for all.
            after: The step of a latent search after which it fails; None to fail at once.

        Raises:
            ValueError: The contract has no such reason.

        Example:
            >>> server.fail("QUEUE_FULL", retry_after=0.1, times=2)
            >>> server.fail("NO_FACE", "the photo has no face", field="image")
        """
        contract_reason = Reason(reason)
        self.fail_with_status(
            STATUS_BY_REASON[contract_reason], message, reason=contract_reason, field=field, retry_after=retry_after, metadata=metadata,
            times=times, after=after,
        )  # fmt: skip

    def fail_with_status(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
        domain: str = DOMAIN,
        times: int | None = None,
        after: int | None = None,
    ) -> None:
        """Make calls fail with any gRPC status, as proxies and other servers do, until `recover`.

        Args:
            code: The status code.
            message: The error's message.
            reason: Reason of the error info; empty for no error info.
            field: The field of the request at fault.
            retry_after: Seconds after which the client may retry.
            metadata: Metadata of the error info.
            domain: Domain of the error info.
            times: How many calls fail; None for all.
            after: The step of a latent search after which it fails; None to fail at once.
        """
        status = make_status(
            code, message, reason=reason, field=field, retry_after=retry_after, metadata=metadata, domain=domain
        )
        self._failure = Failure(status, times, after)

    def recover(self) -> None:
        """Let calls succeed again after `fail`."""
        self._failure = None

    def enter(self) -> status_pb2.Status | None:
        """Count a call; return the status with which it is rejected if there are too many at once."""
        with self._counting:
            self._calls += 1
            self.most_calls = max(self.most_calls, self._calls)
            if self.capacity is None or self._calls <= self.capacity:
                return None
        code = STATUS_BY_REASON[Reason.QUEUE_FULL]
        return make_status(code, "the queue is full", reason=Reason.QUEUE_FULL, retry_after=_RETRY_AFTER)

    def leave(self) -> None:
        """Count a call no more."""
        with self._counting:
            self._calls -= 1

    def next_failure(self, step: int | None = None) -> status_pb2.Status | None:
        """Return the status with which a call fails now, or a latent search after a step; None if it succeeds."""
        failure = self._failure
        if failure is None or failure.times == 0 or failure.after != step:
            return None
        if failure.times is not None:
            failure.times -= 1
        return failure.status


def make_status(
    code: grpc.StatusCode,
    message: str,
    *,
    reason: str = "",
    field: str = "",
    retry_after: float | None = None,
    metadata: Mapping[str, str] | None = None,
    domain: str = DOMAIN,
) -> status_pb2.Status:
    """Return a status with details, as the contract describes it."""
    details: list[Any] = []
    if reason:
        details.append(error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata))
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
