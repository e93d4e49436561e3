"""The connection to a server: its settings and their defaults, TLS, and the metadata of every call."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import grpc

# How urgent calls are: interactive calls go before batch calls.
Priority: TypeAlias = Literal["interactive", "batch"]

# Defaults of Client, and of the flags of the command.
DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_PRIORITY: Priority = "interactive"
DEFAULT_TIMEOUT = 60.0  # seconds
DEFAULT_RETRIES = 5

_MAX_TIMEOUT = 1e9  # seconds; gRPC's clock overflows somewhere above
MAX_MESSAGE_BYTES = 64 * 2**20
_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),  # gRPC's 1000 would outlast all retries
    # While a call waits, a connection that something on the way has dropped silently is found within 28 s; servers permit a ping every 10 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 8_000),
    ("grpc.http2.ping_timeout_ms", 8_000),  # gRPC's minute counts otherwise, whatever the keepalive's timeout
    ("grpc.http2.max_pings_without_data", 0),
]
# The variables that gRPC reads, the first that is set.
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXY_VARIABLES = ("no_grpc_proxy", "no_proxy")
_LOCAL_SCHEMES = ("unix:", "unix-abstract:")
_TARGET = re.compile(r"(?:dns:///|ipv4:|ipv6:)?(?P<host>\[[^\]]*\]|[^:/]*)(?::[0-9]+)?")
_KEY = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Tls:
    """How to encrypt a connection. Certificates and keys are PEM: the path of a file, or the bytes themselves.

    Attributes:
        ca: Authorities that the server's certificate must come from; None for the public ones.
        certificate: The client's certificate, for servers that require one.
        key: The key of the client's certificate.
        server_name: The name in the server's certificate; None for the host of the address.
    """

    ca: str | os.PathLike[str] | bytes | None = None
    certificate: str | os.PathLike[str] | bytes | None = None
    key: str | os.PathLike[str] | bytes | None = field(default=None, repr=False)
    server_name: str | None = None


class ChannelSettings(NamedTuple):
    """What opens a channel."""

    address: str
    credentials: grpc.ChannelCredentials | None
    options: list[tuple[str, int | str]]

    def open(self) -> grpc.Channel:
        """Return a channel for threads."""
        if self.credentials is None:
            return grpc.insecure_channel(self.address, self.options)
        return grpc.secure_channel(self.address, self.credentials, self.options)

    def open_async(self) -> grpc.aio.Channel:
        """Return a channel for the running event loop."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.address, self.options)
        return grpc.aio.secure_channel(self.address, self.credentials, self.options)


def check_settings(address: str, timeout: float | None, retries: int) -> None:
    """Raise ValueError for settings that no client can have."""
    if not address:
        raise ValueError("the server's address is empty; give host:port")
    if timeout is not None and not 0 < timeout <= _MAX_TIMEOUT:
        raise ValueError(f"a timeout cannot be {timeout} s; give 0 to {_MAX_TIMEOUT:g} s, or None for no limit")
    if retries < 0:
        raise ValueError(f"retries cannot be {retries}; give 0 for none, or more")


def channel_settings(address: str, tls: Tls | None, credentials: grpc.ChannelCredentials | None) -> ChannelSettings:
    """Return what opens a channel to an address.

    Raises:
        ValueError: TLS is not possible with these settings.
        OSError: A file of `tls` cannot be read.
    """
    if tls is not None and credentials is not None:
        raise ValueError("give tls or credentials, not both")
    options = list(_OPTIONS)
    if is_loopback(address):
        options.append(("grpc.enable_http_proxy", 0))
    if tls is not None:
        credentials = _read_credentials(tls)
        if tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
    return ChannelSettings(address, credentials, options)


def call_metadata(api_key: str | None, priority: Priority) -> tuple[tuple[str, str], ...]:
    """Return the metadata of every call: the API key, and the priority unless it is the default; raises ValueError."""
    if priority not in get_args(Priority):
        raise ValueError(f"a priority cannot be {priority!r}; give one of {', '.join(get_args(Priority))}")
    metadata: list[tuple[str, str]] = []
    if api_key is not None:
        if not _KEY.fullmatch(api_key):
            raise ValueError(
                "an API key is one word of ASCII; the one given is empty, or contains spaces or other characters"
            )
        metadata.append(("authorization", f"Bearer {api_key}"))
    if priority != DEFAULT_PRIORITY:
        metadata.append(("dorian-priority", priority))
    return tuple(metadata)


def forbid_unencrypted_key(address: str) -> None:
    """Raise ValueError if an API key would leave this machine unencrypted on its way to an address."""
    if not is_loopback(address):
        raise ValueError(
            f"an API key is not sent to {address} without TLS, because others could read it on the way; "
            "to allow it, give Client key_in_clear=True"
        )


def is_loopback(address: str) -> bool:
    """Tell whether what is sent to an address stays on this machine; False if the address cannot be parsed."""
    if address.startswith(_LOCAL_SCHEMES):
        return True
    host = _host_of(address)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def describe_route(address: str) -> str:
    """Return the address for messages, with the proxy on the way to it if the environment names one."""
    proxy = next(filter(None, map(os.environ.get, _PROXY_VARIABLES)), None)
    exceptions = next(filter(None, map(os.environ.get, _NO_PROXY_VARIABLES)), "")
    host = _host_of(address)
    is_exception = any(host.endswith(name.strip()) for name in exceptions.split(",") if name.strip())
    if proxy is None or is_loopback(address) or is_exception:
        return address
    return f"{address} through the proxy {proxy.rpartition('@')[2].removeprefix('http://')}"


def _host_of(address: str) -> str:
    target = _TARGET.fullmatch(address)
    return target["host"].strip("[]") if target else ""


def _read_credentials(tls: Tls) -> grpc.ChannelCredentials:
    if (tls.certificate is None) != (tls.key is None):
        raise ValueError("a client's certificate and its key go together; give Tls both or neither")
    return grpc.ssl_channel_credentials(
        _read_pem(tls.ca, "ca"), _read_pem(tls.key, "key"), _read_pem(tls.certificate, "certificate")
    )


def _read_pem(source: str | os.PathLike[str] | bytes | None, name: str) -> bytes | None:
    if source is None:
        return None
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    if b"-----BEGIN " not in data:
        raise ValueError(f"the {name} of Tls is not PEM{'' if isinstance(source, bytes) else f': {source}'}")
    return data
