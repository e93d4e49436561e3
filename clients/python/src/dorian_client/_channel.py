"""How a client reaches its server: with TLS or without, and what it says of itself with every call."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import grpc

# How urgent calls are: batch waits for interactive.
Priority: TypeAlias = Literal["interactive", "batch"]

_MAX_MESSAGE_BYTES = 64 * 2**20
_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),  # by gRPC's own, 1000, no retry would find a server that has come since
]
_LOCAL_SCHEMES = ("unix:", "unix-abstract:")
_TARGET = re.compile(r"(?:dns:///|ipv4:|ipv6:)?(?P<host>\[[^\]]*\]|[^:/]*)(?::[0-9]+)?")
_KEY = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Tls:
    """How to speak TLS. Each of ca, certificate and key is PEM: the path of a file, or the bytes themselves.

    ca: the authorities whose word on the server is taken; None for the public ones that gRPC comes with.
    certificate, key: who the client is, for servers that ask for it.
    server_name: the name in the server's certificate; None for the host in the address.
    """

    ca: str | os.PathLike[str] | bytes | None = None
    certificate: str | os.PathLike[str] | bytes | None = None
    key: str | os.PathLike[str] | bytes | None = field(default=None, repr=False)
    server_name: str | None = None


def open_channel(address: str, tls: Tls | None, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """Returns a channel to address; raises ValueError for what TLS cannot be made of, OSError for unreadable files."""
    if tls is not None and credentials is not None:
        raise ValueError("give tls or credentials, not both")
    options = _OPTIONS
    if tls is not None:
        credentials = _read_credentials(tls)
        if tls.server_name is not None:
            options = [*options, ("grpc.ssl_target_name_override", tls.server_name)]
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)


def call_metadata(api_key: str | None, priority: Priority) -> tuple[tuple[str, str], ...]:
    """Returns what goes with every call: the key, by which the server knows the caller, and a priority that is not usual."""
    if priority not in get_args(Priority):
        raise ValueError(f"a priority cannot be {priority!r}; give one of {', '.join(get_args(Priority))}")
    metadata: list[tuple[str, str]] = []
    if api_key is not None:
        if not _KEY.fullmatch(api_key):
            raise ValueError(
                "an API key is one word of ASCII; the one given is empty, or has spaces or other characters in it"
            )
        metadata.append(("authorization", f"Bearer {api_key}"))
    if priority != "interactive":
        metadata.append(("dorian-priority", priority))
    return tuple(metadata)


def forbid_key_in_clear(address: str) -> None:
    """Raises ValueError if an API key would leave this machine on its way to address, over a plain connection."""
    if not is_loopback(address):
        raise ValueError(
            f"an API key is not sent to {address} without TLS, as others could read it on the way; "
            "only Client's key_in_clear allows it"
        )


def is_loopback(address: str) -> bool:
    """Tells whether what is sent to address stays on this machine; of an address that it cannot read it says no."""
    if address.startswith(_LOCAL_SCHEMES):
        return True
    target = _TARGET.fullmatch(address)
    host = target["host"].strip("[]") if target else ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
