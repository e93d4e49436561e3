"""What the synchronous and the asynchronous client share: their settings, and how calls are prepared and errors read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_client._calls import Call
from dorian_client._channel import (
    DEFAULT_ADDRESS,
    DEFAULT_PRIORITY,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    Priority,
    Tls,
    call_metadata,
    channel_settings,
    check_settings,
    describe_route,
    forbid_unencrypted_key,
)
from dorian_client._retries import Attempts, Retries
from dorian_client._status import error_from_rpc
from dorian_client.errors import ServerError


class BaseClient:
    """Settings of a client, and what follows from them for its calls."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        bundle: str = "",
        priority: Priority = DEFAULT_PRIORITY,
        timeout: float | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        wait_for_ready: bool = False,
        tls: Tls | None = None,
        api_key: str | None = None,
        key_in_clear: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        check_settings(address, timeout, retries)
        self._metadata = call_metadata(api_key, priority)
        if api_key is not None and tls is None and credentials is None and not key_in_clear:
            forbid_unencrypted_key(address)
        self.address = address
        self.timeout = timeout
        self.wait_for_ready = wait_for_ready
        self._bundle = bundle
        self._retries = Retries(retries)
        self._channel_settings = channel_settings(address, tls, credentials)
        self._prepare()

    def _prepare(self) -> None:
        """Do what a client does beside keeping its settings."""

    def _attempts_of(self, call: Call[Any]) -> Attempts:
        """Set the bundle of a call for faces, and return the attempts that the call has from now on."""
        if call.stub is FaceAgingStub:
            call.request.bundle = self._bundle
        return (self._retries if call.is_retried else Retries(0)).begin(self.timeout)

    def _send(self, rpc: Callable[..., Any], request: Any, seconds_left: float | None) -> Any:
        """Send a request to an RPC of a stub, which may take so many seconds."""
        return rpc(request, timeout=seconds_left, wait_for_ready=self.wait_for_ready, metadata=self._metadata)

    def _error_from_rpc(self, error: grpc.RpcError) -> ServerError:
        return error_from_rpc(
            error, address=describe_route(self.address), timeout=self.timeout, is_connected=self._is_connected
        )

    def _is_connected(self) -> bool:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"
