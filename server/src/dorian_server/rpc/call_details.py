"""The services and methods of this server, and what a call says of its caller."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast

import grpc
from grpc_health.v1 import health_pb2

from dorian.v1 import admin_pb2, face_aging_pb2
from dorian_server.domain.caller import PRIORITIES, Caller, Priority

_CERTIFICATE_NAME = "x509_common_name"
PRIORITY_KEY = "dorian-priority"

_FACE_AGING = face_aging_pb2.DESCRIPTOR.services_by_name["FaceAging"]
_ADMIN = admin_pb2.DESCRIPTOR.services_by_name["Admin"]
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
FACE_AGING_SERVICE: str = _FACE_AGING.full_name
ADMIN_SERVICE: str = _ADMIN.full_name
# Whoever may connect may call these.
OPEN_SERVICES: frozenset[str] = frozenset({_HEALTH.full_name})
METHODS = tuple(
    f"/{service.full_name}/{method.name}" for service in (_HEALTH, _FACE_AGING, _ADMIN) for method in service.methods
)
# Methods whose requests wait in the queue of admission.
QUEUED_METHODS = frozenset(
    f"/{FACE_AGING_SERVICE}/{method.name}" for method in _FACE_AGING.methods if method.name != "ListMethods"
)


def service_of(method: str) -> str:
    """Return the service of a full method name: "dorian.v1.FaceAging" of "/dorian.v1.FaceAging/AgeTransform"."""
    return method.removeprefix("/").rpartition("/")[0]


def read_caller(context: grpc.ServicerContext) -> Caller:
    """Return the caller of ``context``, which is cancelled when the call is over."""
    remaining = context.time_remaining()
    deadline = None if remaining is None else time.monotonic() + remaining
    caller = Caller(read_priority(context.invocation_metadata()), deadline, caller_name(context))
    if not context.add_callback(caller.cancel):
        caller.cancel()
    return caller


def caller_name(context: grpc.ServicerContext) -> str:
    """Return the id of a caller's API key, or else the name in its certificate, or else its address without the port."""
    key_id: str | None = getattr(context, "api_key_id", None)
    if key_id is not None:
        return f"key {key_id}"
    names = cast(Mapping[str, Sequence[bytes]], context.auth_context()).get(_CERTIFICATE_NAME)
    if names:
        return names[0].decode(errors="replace")
    address, _, port = context.peer().rpartition(":")
    return address if port.isdigit() else context.peer()


def read_priority(metadata: object) -> Priority:
    """Return the priority in a call's ``metadata``; interactive if it names none that exists."""
    value = dict(metadata or ()).get(PRIORITY_KEY)  # type: ignore[call-overload]
    return next((priority for priority in PRIORITIES if priority == value), "interactive")
