"""How a client reaches its server: with TLS or without, and with a key."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import grpc

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


def open_channel(
    address: str, options: list[tuple[str, int | str]], tls: Tls | None, credentials: grpc.ChannelCredentials | None
) -> grpc.Channel:
    """Returns a channel to address; raises ValueError for what TLS cannot be made of, OSError for unreadable files."""
    if tls is not None and credentials is not None:
        raise ValueError("give tls or credentials, not both")
    if tls is not None:
        credentials = _read_credentials(tls)
        if tls.server_name is not None:
            options = [*options, ("grpc.ssl_target_name_override", tls.server_name)]
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)


def key_metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """Returns what goes with every call, so that the server knows the key."""
    if api_key is None:
        return ()
    if not _KEY.fullmatch(api_key):
        raise ValueError(
            "an API key is one word of ASCII; the one given is empty, or has spaces or other characters in it"
        )
    return (("authorization", f"Bearer {api_key}"),)


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
