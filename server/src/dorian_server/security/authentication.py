"""Who calls, and whether they may: API keys in the metadata ``authorization: Bearer KEY``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, TypeAlias, cast

import grpc

from dorian.v1 import face_aging_pb2 as pb
from dorian_server.errors import CredentialError, RequestError, ScopeError
from dorian_server.security.keys import ApiKey, KeyFile, Scope
from dorian_server.security.quotas import Quotas
from dorian_server.settings import Settings
from dorian_server.statuses import abort

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_OPEN_SERVICES = ("grpc.health.v1.Health",)
_ADMIN_SERVICE = "dorian.v1.Admin"
_OPTIMIZE = "/dorian.v1.FaceAging/Optimize"
_SCHEME = "bearer"
_PLAIN_MODES = (pb.RECONSTRUCTION_MODE_UNSPECIFIED, pb.RECONSTRUCTION_MODE_INITIAL)
_PLAIN_BUDGETS = (pb.OPTIMISATION_BUDGET_UNSPECIFIED, pb.OPTIMISATION_BUDGET_NONE)


class Authentication(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Lets calls through whose key is known, has the scope and is within its limits; health checks always.

    ``refused`` hears the reason of each call that was not let through. A key itself is neither logged nor kept.
    """

    def __init__(self, keys: KeyFile, refused: Callable[[str], None]) -> None:
        self._keys = keys
        self._refused = refused
        self._quotas = Quotas()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None or _service(method) in _OPEN_SERVICES:
            return handler
        key = None
        try:
            key = self._identify(handler_call_details)
            _check_scopes(key, method, _scopes_of(method))
        except RequestError as error:
            return self._refuser(error, method, key)
        return self._guard(handler, method, key)

    def _identify(self, details: grpc.HandlerCallDetails) -> ApiKey:
        sent = dict(details.invocation_metadata or ()).get("authorization", "")
        scheme, _, key = str(sent).partition(" ")
        if scheme.lower() != _SCHEME or not key.strip():
            words = "the call has no API key; send the metadata authorization: Bearer KEY"
            raise CredentialError("API_KEY_MISSING", words)
        known = self._keys.find(key.strip())
        if known is None:
            raise CredentialError("API_KEY_UNKNOWN", "the API key is not known here, or no longer")
        return known

    def _refuser(self, error: RequestError, method: str, key: ApiKey | None) -> Handler:
        """Ends the call with ``error``. As it takes a stream, the photo of one who may not call is never read."""

        def refuse(requests: object, context: grpc.ServicerContext) -> None:
            self._note(error, method, key)
            abort(context, error)

        return grpc.stream_unary_rpc_method_handler(refuse)

    def _guard(self, handler: Handler, method: str, key: ApiKey) -> Handler:
        """``handler``, behind what is left to check once the request can be read, and counted while it is at work."""
        takes, gives = (
            "stream" if streams else "unary" for streams in (handler.request_streaming, handler.response_streaming)
        )
        behaviour = getattr(handler, f"{takes}_{gives}")

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with self._admitted(request, context, method, key):
                return behaviour(request, context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._admitted(request, context, method, key):
                yield from behaviour(request, context)

        make = getattr(grpc, f"{takes}_{gives}_rpc_method_handler")
        guarded = stream if handler.response_streaming else answer
        return cast(Handler, make(guarded, handler.request_deserializer, handler.response_serializer))

    @contextmanager
    def _admitted(self, request: object, context: grpc.ServicerContext, method: str, key: ApiKey) -> Iterator[None]:
        try:
            if _searches(request):
                _check_scopes(key, method, ("optimize",))
            self._quotas.begin(key)
        except RequestError as error:
            self._note(error, method, key)
            abort(context, error)
        # Not a callback of the context: that comes after the answer, when the caller's next call may be here already.
        try:
            yield
        finally:
            self._quotas.end(key)

    def _note(self, error: RequestError, method: str, key: ApiKey | None) -> None:
        self._refused(error.reason)
        log.warning("refused %s: %s%s", method, error.reason, "" if key is None else f", key {key.id}")


def load_authentication(settings: Settings, refused: Callable[[str], None]) -> list[Authentication]:
    """What calls go through first: nothing if ``settings`` ask for no keys. Warns of keys that others can read on the way."""
    security = settings.security
    if security.api_keys is None:
        return []
    if security.tls_certificate is None and not _is_loopback(settings.host):
        log.warning("API keys without TLS on %s: whoever sees the traffic can use them", settings.host)
    return [Authentication(KeyFile(security.api_keys), refused)]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _service(method: str) -> str:
    return method.removeprefix("/").rpartition("/")[0]


def _scopes_of(method: str) -> tuple[Scope, ...]:
    """What every call of ``method`` needs; ``_searches`` tells what a request needs beside it."""
    if _service(method) == _ADMIN_SERVICE:
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
            raise ScopeError("SCOPE_MISSING", words)
