"""Who calls, and whether they may: API keys in the metadata ``authorization: Bearer KEY``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_address
from typing import NoReturn

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.rpc.interceptors import Continuation, Handler, refuser, service_of, wrapped
from dorian_server.rpc.statuses import abort
from dorian_server.security.caller_limits import OPEN_SERVICES, CallerLimits
from dorian_server.security.keys import ApiKey, KeyFile, Scope
from dorian_server.security.quotas import Quotas
from dorian_server.serving.admin_service import ADMIN_SERVICE
from dorian_server.settings import Load, Settings

log = logging.getLogger(__name__)

_OPTIMIZE = "/dorian.v1.FaceAging/Optimize"
_SCHEME = "bearer"
_PLAIN_MODES = (pb.RECONSTRUCTION_MODE_UNSPECIFIED, pb.RECONSTRUCTION_MODE_INITIAL)
_PLAIN_BUDGETS = (pb.OPTIMISATION_BUDGET_UNSPECIFIED, pb.OPTIMISATION_BUDGET_NONE)


class Authentication(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Lets calls through whose key is known, has the scope and is within its limits; health checks always.

    ``load`` has the limits of keys that have none of their own. ``refused`` hears the reason of each call that was not let through. A key itself is neither logged nor kept.
    """

    def __init__(self, keys: KeyFile, refused: Callable[[str], None], load: Load = Load()) -> None:  # noqa: B008 - frozen
        self._keys, self._load = keys, load
        self._refused = refused
        self._quotas = Quotas()

    def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None or service_of(method) in OPEN_SERVICES:
            return handler
        key = None
        try:
            key = self._identify(handler_call_details)
            _check_scopes(key, method, _scopes_of(method))
        except RequestError as error:
            return self._refuser(handler, error, method, key)
        return wrapped(handler, partial(self._admitted, method=method, key=key))

    def _identify(self, details: grpc.HandlerCallDetails) -> ApiKey:
        sent = dict(details.invocation_metadata or ()).get("authorization", "")
        scheme, _, key = str(sent).partition(" ")
        if scheme.lower() != _SCHEME or not key.strip():
            words = "the call has no API key; send the metadata authorization: Bearer KEY"
            raise RequestError(Reason.API_KEY_MISSING, "", words)
        known = self._keys.find(key.strip())
        if known is None:
            raise RequestError(Reason.API_KEY_UNKNOWN, "", "the API key is not known here, or no longer")
        return known

    def _refuser(self, handler: Handler, error: RequestError, method: str, key: ApiKey | None) -> Handler:
        def refuse(context: grpc.ServicerContext) -> NoReturn:
            self._note(error, method, key)
            abort(context, error)

        return refuser(handler, refuse)

    @contextmanager
    def _admitted(self, request: object, context: grpc.ServicerContext, method: str, key: ApiKey) -> Iterator[None]:
        """What is left to check once the request can be read; the call is counted for the time of the context."""
        # Not until the callback of gRPC's context: that comes after the answer, when the caller's next call may be here already.
        with ExitStack() as stack:
            try:
                if _searches(request):
                    _check_scopes(key, method, ("optimize",))
                stack.enter_context(self._quotas.counted(key.id, *self._limits(key)))
            except RequestError as error:
                self._note(error, method, key)
                abort(context, error)
            yield

    def _limits(self, key: ApiKey) -> tuple[int | None, int | None]:
        at_once = self._load.calls_at_once if key.calls_at_once is None else key.calls_at_once
        return at_once, self._load.calls_per_minute if key.calls_per_minute is None else key.calls_per_minute

    def _note(self, error: RequestError, method: str, key: ApiKey | None) -> None:
        self._refused(error.reason)
        log.warning("refused %s: %s%s", method, error.reason, "" if key is None else f", key {key.id}")


def load_authentication(settings: Settings, refused: Callable[[str], None]) -> list[Authentication | CallerLimits]:
    """What calls go through first: nothing if ``settings`` ask for neither keys nor limits. Warns of keys that others can read on the way."""
    security, load = settings.security, settings.load
    if security.api_keys is None:
        limited = load.calls_at_once is not None or load.calls_per_minute is not None
        return [CallerLimits(load.calls_at_once, load.calls_per_minute, refused)] if limited else []
    if security.tls_certificate is None and not _is_loopback(settings.host):
        log.warning("API keys without TLS on %s: whoever sees the traffic can use them", settings.host)
    return [Authentication(KeyFile(security.api_keys), refused, load)]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _scopes_of(method: str) -> tuple[Scope, ...]:
    """What every call of ``method`` needs; ``_searches`` tells what a request needs beside it."""
    if service_of(method) == ADMIN_SERVICE:
        return ("admin",)
    return ("age", "optimize") if method == _OPTIMIZE else ("age",)


def _searches(request: object) -> bool:
    match request:
        case pb.ReconstructRequest():
            return request.mode not in _PLAIN_MODES
        case pb.AgeTransformRequest():
            return request.optimisation not in _PLAIN_BUDGETS
    return False


def _check_scopes(key: ApiKey, method: str, needed: tuple[Scope, ...]) -> None:
    for scope in needed:
        if scope not in key.scopes:
            what = method.rpartition("/")[2]
            words = f"the API key lacks the scope {scope!r}, which {what} needs here; it has {', '.join(sorted(key.scopes))}"
            raise RequestError(Reason.SCOPE_MISSING, "", words)
