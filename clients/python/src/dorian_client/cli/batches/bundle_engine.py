"""The engine that holds a bundle in this process: the server's pipeline without a server (extra `dorian-client[ray]`)."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import grpc

from dorian_client._batch import AgeOutcome
from dorian_client._calls import ManyAges
from dorian_client._status import error_from_rpc
from dorian_client.cli.batches.plan import PlannedPhoto
from dorian_client.cli.batches.results import PhotoResult, ResultWriter
from dorian_client.errors import DorianError

NEEDS_EXTRA = "install dorian-client[ray]"
_OVERDUE = 75  # exit status of a process that has to end, as a photo cannot be decoded and the decoding cannot be ended


class BundleIdentity(NamedTuple):
    """Which bundle it is: its name, its version, and the hash of its manifest."""

    name: str
    version: str
    sha256: str


def identify_bundle(folder: Path) -> BundleIdentity:
    """Return which bundle a folder holds.

    Raises:
        click.UsageError: It holds none, or the extra is not installed.
    """
    try:
        from dorian_bundle import BundleError, load_bundle
    except ImportError as error:
        raise click.UsageError(f"--ray-bundle needs the server's package ({error}): {NEEDS_EXTRA}") from None
    try:
        bundle = load_bundle(folder)
    except BundleError as error:
        raise click.UsageError(str(error)) from None
    return BundleIdentity(bundle.manifest.name, bundle.manifest.version, bundle.sha256)


class BundleEngine:
    """Ages one photo after the other on one core. As a server would, byte for byte: the requests and the handlers are the same.

    Args:
        folder: The bundle's folder.
        sha256: Of the bundle that it must hold.
        calls: Makes the requests.
        writer: Writes the pictures.

    Raises:
        click.ClickException: The bundle cannot be used.
    """

    def __init__(self, folder: Path, sha256: str, calls: ManyAges, writer: ResultWriter) -> None:
        found = identify_bundle(folder)
        if found.sha256 != sha256:
            raise click.UsageError(
                f"the bundle in {str(folder)!r} is another on a worker than where the batch was begun"
            )
        self._service, self._calls, self._writer = _open_service(folder), calls, writer

    def age(self, photos: Mapping[int, PlannedPhoto]) -> Generator[PhotoResult, None, None]:
        """Yield what comes of each photo, in their order."""
        for index, planned in photos.items():
            began = time.monotonic()
            result, error = None, None
            try:
                result = self._calls.read(self._answer(self._calls.request(planned.photo)))
            except DorianError as failure:
                error = failure
            outcome = AgeOutcome(index, planned.photo, result, error, 1, time.monotonic() - began)
            yield self._writer.write(index, planned, outcome)

    def _answer(self, request: Any) -> Any:
        try:
            return self._service.age(request)
        except grpc.RpcError as error:
            raise error_from_rpc(error, address="this worker", timeout=None, is_connected=lambda: True) from error


def _open_service(folder: Path) -> Any:
    """Return the service of a bundle on one core, whose process ends when a photo cannot be decoded in time."""
    from dorian_server.domain.errors import StartupError
    from dorian_server.serving.in_process import InProcessService
    from dorian_server.settings import Load, Settings

    settings = Settings(folder, threads=1, load=Load(workers=1))
    try:
        return InProcessService(settings, on_overdue=lambda: os._exit(_OVERDUE))
    except StartupError as error:
        raise click.ClickException(str(error)) from None
