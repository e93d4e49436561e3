"""The settings of a gateway: each field is its flag, environment variable, default, range and help text.

``cli.py`` makes the flags of ``dorian-gateway`` from this class. The text below a field is its help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class Settings:
    """All settings of a gateway."""

    server: str = "localhost:50051"
    """The Dorian server, as host:port."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: for other machines."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one."""
    server_tls: bool = False
    """Encrypt the connection to the server; its certificate must come from a public authority, or from --server-ca."""
    server_ca: Path | None = None
    """PEM of the authorities that the server's certificate must come from; implies --server-tls."""
    key_in_clear: bool = False
    """Pass API keys on to a server on another machine without encryption, for instance inside a private network."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds that a call of the server may take at most."""
    retries: Annotated[int, Field(ge=0, le=20)] = 0
    """How often a call that the server rejects as busy is sent again; unless given, the caller is told to retry."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 24 * 2**20
    """Largest body of a request, in bytes; larger ones are rejected before they are read."""
    max_requests: Annotated[int, Field(ge=1)] = 32
    """Requests that are worked on at once, each holding up to five times its body; more are told to retry before their bodies are read."""
    max_connections: Annotated[int, Field(ge=1)] = 1024
    """Connections at once; more are closed."""
    header_timeout: Annotated[float, Field(gt=0)] = 15.0
    """Seconds within which the head of a request must arrive."""
    body_timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds within which the body of a request must arrive."""
    send_timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that a caller may take to receive 64 KiB of a response."""
    grace: Annotated[float, Field(ge=0)] = 10.0
    """Seconds that running requests have to finish after SIGTERM."""
    page: bool = True
    """Serve the web page at /."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity to log; nothing of a photo is ever logged."""
