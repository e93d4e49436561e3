"""The settings of a server: each field is its flag, environment variable, default, range and help text.

``cli/options.py`` makes the flags of ``dorian-server`` from these classes, ``cli/reference.py`` their page in the documentation.
The text below a field is its help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from dorian_bundle.face_detection import MAX_SIDE, MIN_SIDE
from dorian_server.domain.defaults import PORT
from dorian_server.runtimes.options import Arithmetic, Runtime

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
Licences = Literal["all", "commercial"]

_CONFIG = ConfigDict(use_attribute_docstrings=True, extra="forbid")
_Port = Annotated[int, Field(ge=0, le=65535)]


@plain_dataclass(frozen=True)
class Flag:
    """How a field differs from the flag that its name and type make of it.

    Args:
        name: The flag's name without dashes, if it is not the field's.
        metavar: What stands for the value in the help.
        former_name: The name before it was renamed, which still works, with a warning.
        is_folder: Whether the path must not be a file.
        is_offered: Whether there is a flag at all.
    """

    name: str | None = None
    metavar: str | None = None
    former_name: str | None = None
    is_folder: bool = False
    is_offered: bool = True


_NO_FLAG = Flag(is_offered=False)
_FOLDER = Flag(is_folder=True)


@dataclass(frozen=True, config=_CONFIG)
class Load:
    """How much work is done at once, and how much waits; for each process where there are several."""

    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Requests that are worked on at once, in each process; 0: one per core that it has."""
    processes: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that serve the port together; one that dies is restarted."""
    max_wait: Annotated[float | None, Field(ge=0)] = None
    """Seconds of work that may wait, in each process; calls beyond are told to retry. Unless given: half as much as the workers have."""
    memory: Annotated[int | None, Flag(metavar="MIB"), Field(ge=256)] = None
    """MiB of memory that all processes together may take; photos that need more wait, or are rejected. Unless given: what the cgroup allows, or all."""
    batch_delay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Seconds that a batch which is not full waits for more rows."""
    calls_at_once: Annotated[int | None, Field(ge=1)] = None
    """Calls that each caller may have in progress, unless its API key has a limit; no limit unless given."""
    calls_per_minute: Annotated[int | None, Field(ge=1)] = None
    """Calls that each caller may begin in a minute, unless its API key has a limit; no limit unless given."""


@dataclass(frozen=True, config=_CONFIG)
class Limits:
    """How large photos and requests may be."""

    max_message_bytes: Annotated[int, Field(ge=1024)] = 16 * 2**20
    """Largest request, in bytes, with everything in it."""
    # Smaller than a message, so that a photo that is slightly too large gets our message, not gRPC's.
    max_image_bytes: Annotated[int, Field(ge=1)] = 15 * 2**20
    """Largest photo, in bytes of its file."""
    max_pixels: Annotated[int, Field(ge=1)] = 64_000_000
    """Largest photo, in pixels; rejected before it is decoded."""
    max_receiving: Annotated[int, Field(ge=8, le=4096)] = 128
    """Requests that are received at once, each of them up to the largest; others wait, and the slowest are given up."""
    request_timeout: Annotated[float, Field(ge=0.1)] = 60.0
    """Seconds within which a request must arrive once its call has begun."""
    max_response_bytes: Annotated[int, Field(ge=1024, le=2**31 - 2**20)] = 512 * 2**20
    """Largest response, in bytes, as pixels, targets and format bound it; rejected before any work is done."""
    decode_timeout: Annotated[float, Field(ge=1)] = 60.0
    """Seconds that the decoding of a photo may take; a process in which one takes longer is replaced."""
    max_steps: Annotated[int, Field(ge=1)] = 500
    """Most steps of the search for one face's latent."""
    min_side: Annotated[int, _NO_FLAG] = 32
    """Shortest side of a photo, in pixels."""
    max_targets: Annotated[int, _NO_FLAG] = 32
    """Most target ages of a request."""
    max_faces: Annotated[int, _NO_FLAG] = 32
    """Most faces that a request may name."""
    max_references: Annotated[int, _NO_FLAG] = 8
    """Most references of a request."""
    max_levels: Annotated[int, _NO_FLAG] = 18
    """Most levels of styles that a request may name."""
    max_latent_size: Annotated[int, _NO_FLAG] = 24_576
    """Most numbers of a latent in a request."""
    max_detections: Annotated[int, _NO_FLAG] = 256
    """Most faces of a photo that are processed, the largest first."""


@dataclass(frozen=True, config=_CONFIG)
class Security:
    """Who may call, and whether calls are encrypted."""

    tls_certificate: Path | None = None
    """PEM of the server's certificate and its chain; with it, only TLS is accepted. Reloaded when it changes."""
    tls_key: Path | None = None
    """PEM of the certificate's key."""
    tls_client_ca: Path | None = None
    """PEM of authorities; callers then need a certificate from one of them."""
    api_keys: Path | None = None
    """File of dorian-server-keys; callers then need one of its keys. Reloaded when it changes."""
    reflection: bool = False
    """Tell callers which services and messages there are, as grpcurl asks."""


@dataclass(frozen=True, config=_CONFIG)
class Observability:
    """What the server reports of itself."""

    log_level: LogLevel = "info"
    """Least severity to log; nothing of a photo is ever logged."""
    log_format: LogFormat = "text"
    """Lines of text, or JSON objects."""
    metrics_port: Annotated[int | None, Field(ge=1, le=65535)] = None
    """Port for Prometheus; with several processes, process n, from 0 on, answers on this port + n; none unless given."""
    metrics_host: str = "127.0.0.1"
    """Address that Prometheus reaches that port at, with TLS and an API key where calls have them; 0.0.0.0: from other machines."""
    otlp_endpoint: Annotated[str | None, Flag(metavar="URL")] = None
    """OpenTelemetry collector to send traces to, as http://collector:4317; none unless given."""


@dataclass(frozen=True, config=_CONFIG)
class Settings:
    """All settings of a server; safe to share between threads."""

    bundle: Annotated[Path, _FOLDER] = Path("models/default")
    """Folder of the bundle to serve."""
    extra_bundles: Annotated[Mapping[str, Path], Flag("extra-bundle", "NAME=FOLDER", former_name="further")] = field(
        default_factory=dict
    )
    """Another bundle to serve, and the name that requests give to use it; may be repeated. In the variable, spaces separate them."""
    licences: Licences = "all"
    """Which methods of bundles to serve: all, or only those that are free for commercial use by the terms of all that they and the face readers stem from."""
    host: str = "0.0.0.0"
    """Address to listen on."""
    port: _Port = PORT
    """Port to listen on; 0 takes a free one."""
    grace: Annotated[float, Field(ge=0)] = 10.0
    """Seconds that running requests have to finish after SIGTERM."""
    runtime: Runtime = "onnxruntime"
    """What runs the graphs; one that is not installed is an error."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads for each graph; 0: one per core for a run that is alone, else 1."""
    precision: Literal["auto", "fp32", "fp16"] = "auto"
    """Which file of a graph to run, where the bundle has several; auto: the most precise."""
    arithmetic: Arithmetic = "auto"
    """Arithmetic of the runtime openvino; auto: bf16 where the processor has it."""
    look: Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)] = MAX_SIDE
    """Longest side, in pixels, at which faces are looked for; larger photos are reduced to it. The less, the quicker, and the more small faces are missed."""
    engine_cache: Annotated[Path | None, _FOLDER] = None
    """Folder of TensorRT's engines, as dorian-export tensorrt fills it; the user's cache unless given."""
    load: Load = Load()
    """Load"""
    limits: Limits = Limits()
    """Limits"""
    security: Security = Security()
    """Security"""
    observability: Observability = Observability()
    """Logs, metrics and traces"""
