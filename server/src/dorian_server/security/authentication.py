"""Who calls, and whether they may: API keys in the metadata ``authorization: Bearer KEY``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_address
from typing import NoReturn

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.rpc.call_details import ADMIN_SERVICE, FACE_AGING_SERVICE, OPEN_SERVICES, service_of
from dorian_server.rpc.interceptors import Continuation, Handler, behaviour_of, rejecting_handler, wrap_handler
from dorian_server.rpc.statuses import abort
from dorian_server.security.keys import ApiKey, KeyFile, Scope
from dorian_server.security.quotas import CallerLimits, Quotas
from dorian_server.settings import Load, Settings

log = logging.getLogger(__name__)

_OPTIMIZE = f"/{FACE_AGING_SERVICE}/Optimize"
_METRICS = "/metrics"
_HEADER = "authorization"
_SCHEME = "bearer"
_MODES_WITHOUT_SEARCH = (pb.RECONSTRUCTION_MODE_UNSPECIFIED, pb.RECONSTRUCTION_MODE_INITIAL)
_BUDGETS_WITHOUT_SEARCH = (pb.OPTIMISATION_BUDGET_UNSPECIFIED, pb.OPTIMISATION_BUDGET_NONE)


class Authentication(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Lets calls through whose key exists, has the scope and is within its limits; health checks always.

    A key itself is neither logged nor kept.

    Args:
        keys: The keys that exist.
        on_reject: Called with the reason of each call that is not let through.
        load: Has the limits of keys without their own.
    """

    def __init__(
        self,
        keys: KeyFile,
        on_reject: Callable[[Reason], None],
        load: Load = Load(),  # noqa: B008 - frozen
    ) -> None:
        self._keys, self._load = keys, load
        self._on_reject = on_reject
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
            headers = [value for name, value in handler_call_details.invocation_metadata or () if name == _HEADER]
            key = _identify(self._keys, headers, "metadata")
            _check_scopes(key, method, _scopes_of(method))
        except RequestError as error:
            return self._reject(handler, error, method, key)
        admitted = wrap_handler(handler, partial(self._admit, method=method, key=key))
        behaviour_of(admitted).api_key_id = key.id  # type: ignore[attr-defined]  # for those who ask who calls
        return admitted

    def _reject(self, handler: Handler, error: RequestError, method: str, key: ApiKey | None) -> Handler:
        def reject(context: grpc.ServicerContext) -> NoReturn:
            self._report(error, method, key)
            abort(context, error)

        return rejecting_handler(handler, reject)

    @contextmanager
    def _admit(self, request: object, context: grpc.ServicerContext, method: str, key: ApiKey) -> Iterator[None]:
        """Check what only the request tells, and count the call for the time of the context."""
        # Not until the callback of gRPC's context: that comes after the answer, when the caller's next call may be here already.
        with ExitStack() as stack:
            try:
                if _searches(request):
                    _check_scopes(key, method, ("optimize",))
                stack.enter_context(self._quotas.count(key.id, *self._limits(key)))
            except RequestError as error:
                self._report(error, method, key)
                abort(context, error)
            yield

    def _limits(self, key: ApiKey) -> tuple[int | None, int | None]:
        at_once = self._load.calls_at_once if key.calls_at_once is None else key.calls_at_once
        return at_once, self._load.calls_per_minute if key.calls_per_minute is None else key.calls_per_minute

    def _report(self, error: RequestError, method: str, key: ApiKey | None) -> None:
        self._on_reject(error.reason)
        log.warning("rejected %s: %s%s", method, error.reason, "" if key is None else f", key {key.id}")


def load_authentication(settings: Settings, on_reject: Callable[[Reason], None]) -> list[Authentication | CallerLimits]:
    """Return the interceptors that calls pass first: none if ``settings`` ask for neither keys nor limits.

    Warns of API keys that are sent unencrypted.

    Args:
        settings: Which keys and limits there are.
        on_reject: Called with the reason of each call that is rejected.

    Raises:
        StartupError: The file of API keys cannot be used.
    """
    security, load = settings.security, settings.load
    if security.api_keys is None:
        has_limits = load.calls_at_once is not None or load.calls_per_minute is not None
        return [CallerLimits(load.calls_at_once, load.calls_per_minute, on_reject)] if has_limits else []
    if security.tls_certificate is None and not _is_loopback(settings.host):
        log.warning("API keys without TLS on %s: whoever sees the traffic can use them", settings.host)
    return [Authentication(KeyFile(security.api_keys), on_reject, load)]


def load_metrics_check(settings: Settings) -> Callable[[Sequence[str]], None] | None:
    """Return what requests for metrics pass: it raises ``RequestError`` unless the values of their header ``authorization`` are one key
    of the scope "metrics". ``None`` if calls need no keys.

    Raises:
        StartupError: The file of API keys cannot be used.
    """
    security, host = settings.security, settings.observability.metrics_host
    if security.api_keys is None:
        return None
    if security.tls_certificate is None and not _is_loopback(host):
        log.warning("API keys for metrics without TLS on %s: whoever sees the traffic can use them", host)
    keys = KeyFile(security.api_keys)
    return lambda headers: _check_scopes(_identify(keys, headers, "header"), _METRICS, ("metrics",))


def _identify(keys: KeyFile, headers: Sequence[str | bytes], place: str) -> ApiKey:
    """Return the entry of the key in the values ``headers`` of the authorization entries in the ``place`` where they are.

    Raises:
        RequestError: There is none, or another number than one, or it is not known.
    """
    if len(headers) > 1:
        raise RequestError(
            Reason.API_KEY_UNKNOWN, "", f"the call has several authorization entries in its {place}; send one"
        )
    scheme, _, secret = str(headers[0] if headers else "").partition(" ")
    if scheme.lower() != _SCHEME or not secret.strip():
        raise RequestError(
            Reason.API_KEY_MISSING, "", f"the call has no API key; send the {place} authorization: Bearer KEY"
        )
    key = keys.find(secret.strip())
    if key is None:
        raise RequestError(Reason.API_KEY_UNKNOWN, "", "the API key is not known here, or no longer")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _scopes_of(method: str) -> tuple[Scope, ...]:
    """Return the scopes that every call of ``method`` needs; those of its request come on top."""
    if service_of(method) == ADMIN_SERVICE:
        return ("admin",)
    return ("age", "optimize") if method == _OPTIMIZE else ("age",)


def _searches(request: object) -> bool:
    match request:
        case pb.ReconstructRequest():
            return request.mode not in _MODES_WITHOUT_SEARCH
        case pb.AgeTransformRequest():
            return request.optimisation not in _BUDGETS_WITHOUT_SEARCH
    return False


def _check_scopes(key: ApiKey, method: str, scopes: tuple[Scope, ...]) -> None:
    for scope in scopes:
        if scope not in key.scopes:
            rpc = method.rpartition("/")[2]
            message = (
                f"the API key lacks the scope {scope!r}, which {rpc} needs here; it has {', '.join(sorted(key.scopes))}"
            )
            raise RequestError(Reason.SCOPE_MISSING, "", message)
