"""Options that say what ages the photos of a batch: the server, called from here, or the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import click

from dorian_client._calls import ManyAges
from dorian_client._client import Client
from dorian_client.cli.batches.bundle_engine import BundleIdentity, identify_bundle
from dorian_client.cli.batches.ray_engine import RayEngine, WorkerSettings
from dorian_client.cli.batches.results import ResultWriter
from dorian_client.cli.batches.run import Engine, ServerEngine
from dorian_client.cli.connection import Connection
from dorian_client.cli.options import option

_RAY = "Ray (extra dorian-client[ray])"
_OPTIONS = [
    option(
        _RAY, "--engine", type=click.Choice(["server", "ray"]), default="server", show_default=True,
        help="What ages the photos: the server, called from here, or workers of a Ray cluster.",
    ),
    option(
        _RAY, "--ray-bundle", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
        help="Folder of the bundle that each worker holds itself, on one core [default: workers call --server].",
    ),
    option(
        _RAY, "--ray-workers", type=click.IntRange(min=1), metavar="NUMBER",
        help="How many workers there are [default: one for each core of the cluster].",
    ),
    option(
        _RAY, "--ray-address", metavar="ADDRESS", envvar="RAY_ADDRESS", show_envvar=True,
        help="Address of the cluster's head, or auto on one of its machines [default: a cluster of this machine].",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class EngineOptions:
    """What ages the photos of a batch; the fields are the options.

    Attributes:
        engine: Whether they are sent to the server from here, or handed to the workers of a cluster.
        ray_bundle: Folder of the bundle that each worker holds; None if workers call the server.
        ray_workers: How many workers there are; None for one for each core of the cluster.
        ray_address: Of the cluster's head; None for a cluster of this machine.
    """

    engine: Literal["server", "ray"]
    ray_bundle: Path | None
    ray_workers: int | None
    ray_address: str | None

    @contextmanager
    def connect(self, connection: Connection) -> Iterator[BatchBundle]:
        """Yield the bundle that ages the photos.

        Raises:
            click.UsageError: There is none, or the options contradict each other.
            ServerError: The server cannot be asked.
        """
        if self.engine != "ray" and (self.ray_bundle or self.ray_workers):
            raise click.UsageError("--ray-bundle and --ray-workers need --engine ray")
        if self.ray_bundle is not None:
            yield BatchBundle(self, connection, identify_bundle(self.ray_bundle), None, 0)
            return
        with connection.open() as client:
            info = client.bundle()
            identity = BundleIdentity(info.name, info.version, info.sha256)
            yield BatchBundle(self, connection, identity, client, info.workers)


@dataclass(frozen=True)
class BatchBundle:
    """The bundle that ages the photos of a batch.

    Attributes:
        options: What ages the photos.
        connection: How to call the server.
        identity: Which bundle it is.
        client: Calls the server that has it; None if workers hold it.
        workers: Calls that the server works on at once.
    """

    options: EngineOptions
    connection: Connection
    identity: BundleIdentity
    client: Client | None
    workers: int

    @property
    def name(self) -> str:
        """What requests call the bundle; empty for the only one, or the default."""
        return "" if self.client is None else self.connection.bundle

    def engine(self, calls: ManyAges, writer: ResultWriter, concurrency: int | None) -> Engine:
        """Return what ages the photos.

        Args:
            calls: Makes the requests.
            writer: Writes the pictures.
            concurrency: Calls in flight at most, of each worker where there are some.
        """
        options = self.options
        if options.engine == "server":
            assert self.client is not None
            return ServerEngine(self.client, calls, writer, concurrency, self.workers)
        held = None if options.ray_bundle is None else (options.ray_bundle.resolve(), self.identity.sha256)
        settings = WorkerSettings(calls, writer, held, self.connection, concurrency)
        return RayEngine(settings, options.ray_address, options.ray_workers)


def with_engine(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of an engine, and pass their values on as one argument, `engine`."""

    @wraps(command)
    def with_options(**options: Any) -> None:
        names = [field.name for field in fields(EngineOptions)]
        command(engine=EngineOptions(**{name: options.pop(name) for name in names}), **options)

    decorated: Callable[..., None] = with_options
    for add in reversed(_OPTIONS):
        decorated = add(decorated)
    return decorated
