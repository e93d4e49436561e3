"""The server's settings: one typed field each, a flag and an environment variable of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dorian_server.runtimes.factory import Arithmetic, Runtime


@dataclass(frozen=True)
class Limits:
    """What a photo may be, and be asked for. ``max_message_bytes``: of a request with all that is in it. ``min_side`` in pixels; ``max_targets`` and ``max_faces`` per request.

    ``max_detections``: faces of a photo that are looked at, the largest first. ``max_steps``: of the search for one face's latent.
    """

    max_message_bytes: int = 16 * 2**20
    # Less than a message, so that a photo that is a little too large gets words, not gRPC's refusal of its message.
    max_image_bytes: int = 15 * 2**20
    max_pixels: int = 50_000_000
    min_side: int = 32
    max_targets: int = 32
    max_faces: int = 32
    max_detections: int = 256
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
class Load:
    """How much is done at once. ``workers`` requests are worked on in each of ``processes``; 0: one per core that it has.

    ``max_wait``: seconds of work that may wait in each, ``None`` for what ``Admission`` takes; more is refused. ``batch_delay``: seconds that a batch which is not full
    waits for company. ``calls_at_once`` and ``calls_per_minute`` are for each caller, without limit where they are ``None``; an API
    key's own go before them.
    """

    workers: int = 0
    processes: int = 1
    max_wait: float | None = None
    batch_delay: float = 0.0
    calls_at_once: int | None = None
    calls_per_minute: int | None = None


@dataclass(frozen=True)
class Settings:
    """How to serve ``bundle``, and ``further`` ones by name. ``port`` 0 takes any free one; each graph runs on ``threads`` threads."""

    bundle: Path
    further: Mapping[str, Path] = field(default_factory=dict)
    host: str = "0.0.0.0"
    port: int = 50051
    threads: int = 0
    precision: Literal["auto", "fp32", "fp16"] = "auto"
    runtime: Runtime = "onnxruntime"
    arithmetic: Arithmetic = "auto"
    engine_cache: Path | None = None
    grace: float = 10.0
    limits: Limits = Limits()
    load: Load = Load()
    security: Security = Security()
