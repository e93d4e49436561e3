"""The server's settings: one typed field each, a flag and an environment variable of the same name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Limits:
    """What a photo may be, and be asked for. ``min_side`` in pixels; ``max_targets`` and ``max_faces`` per request.

    ``max_found``: faces of a photo that are looked at, the largest first. ``max_steps``: of the search for one face's latent.
    """

    max_image_bytes: int = 16 * 2**20
    max_pixels: int = 50_000_000
    min_side: int = 32
    max_targets: int = 32
    max_faces: int = 32
    max_found: int = 256
    max_steps: int = 500


@dataclass(frozen=True)
class Security:
    """Who may call, and over what. The TLS files hold PEM, ``api_keys`` what ``dorian-server-keys`` writes; ``None`` is without.

    ``tls_client_ca``: callers need a certificate from it. ``reflection``: whether the server tells its services and messages.
    """

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    api_keys: Path | None = None
    reflection: bool = False


@dataclass(frozen=True)
class Settings:
    """How to serve. ``port`` 0 takes any free one; ``workers`` requests run at once, on ``threads`` threads each graph."""

    bundle: Path
    host: str = "0.0.0.0"
    port: int = 50051
    workers: int = 4
    threads: int = 0
    precision: Literal["auto", "fp32", "fp16"] = "auto"
    grace: float = 10.0
    limits: Limits = Limits()
    security: Security = Security()
