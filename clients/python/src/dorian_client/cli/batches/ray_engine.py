"""The engine of many machines: Ray Data hands photos to workers, which write the pictures; what came of each comes back here.

A worker is a process that holds a bundle, or that calls a server. It gets a few photos at a time. If it dies with one of them, which may
be one that no library survives, Ray starts another, and its photos are handed out once more, one at a time.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dorian_client._batch import AgeOutcome
from dorian_client._calls import ManyAges
from dorian_client.cli.batches.bundle_engine import NEEDS_EXTRA, BundleEngine
from dorian_client.cli.batches.folders import LocalFolder
from dorian_client.cli.batches.plan import PlannedPhoto
from dorian_client.cli.batches.results import PhotoResult, ResultWriter
from dorian_client.cli.batches.run import Engine, ServerEngine
from dorian_client.cli.connection import Connection
from dorian_client.errors import DorianError, InternalError

WORKER_LOST = "WORKER_LOST"  # the reason in the report of a photo with which workers died
_MOST_IN_TASK = 16  # photos that are handed to a worker at once; their results come back together
_TASKS_OF_WORKER = 4  # as few as that would leave workers without work at the end
_OBJECT_STORE = 256 * 2**20  # bytes; no photo passes through it
_PHOTO, _RESULT = "photo", "result"  # columns


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is to do.

    Attributes:
        calls: Makes the requests.
        writer: Writes the pictures.
        bundle: The folder of the bundle that it holds, and its hash; None to call a server.
        connection: How to call the server.
        concurrency: Calls in flight at most, of each worker.
    """

    calls: ManyAges
    writer: ResultWriter
    bundle: tuple[Path, str] | None
    connection: Connection
    concurrency: int | None

    def open(self) -> Engine:
        """Return the engine of a worker; raises click.ClickException."""
        if self.bundle is not None:
            return BundleEngine(*self.bundle, self.calls, self.writer)
        return ServerEngine(self.connection.open(), self.calls, self.writer, self.concurrency, workers=1)


class Worker:
    """An actor of Ray Data. What it yields is a pickled `PhotoResult`, or the error that ends the batch."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._engine: Engine | None = None
        try:
            self._engine = settings.open()
        except click.ClickException as error:
            self._failure = error
        except Exception as error:  # here it could only be logged
            self._failure = click.ClickException(f"a worker cannot begin: {type(error).__name__}: {error}")

    def __call__(self, table: Any) -> Iterator[Any]:
        """Yield a table of one row for each photo of a table of photos."""
        if self._engine is None:
            yield _table_like(table, self._failure)
            return
        try:
            for result in self._engine.age(dict(map(pickle.loads, table.column(_PHOTO).to_pylist()))):
                yield _table_like(table, result)
        except (DorianError, OSError) as error:
            yield _table_like(table, error)


@dataclass(frozen=True)
class RayEngine:
    """Ages photos by workers of a Ray cluster.

    Args:
        settings: What a worker is to do.
        address: Address of the cluster's head, or "auto"; None for a cluster of this machine, which ends with the batch.
        workers: How many there are; None for one for each core of the cluster.
    """

    settings: WorkerSettings
    address: str | None
    workers: int | None

    def age(self, photos: Mapping[int, PlannedPhoto]) -> Generator[PhotoResult, None, None]:
        """Yield what comes of each photo, as it comes.

        Raises:
            click.UsageError: Ray is not installed, or no cluster is at the address.
            click.ClickException: Workers cannot begin, or write to where nothing of it is seen here.
            DorianError: The server cannot be asked at all.
            OSError: A picture cannot be written.
        """
        left = dict(photos)
        if not left:
            return
        with _cluster(self.address, self.workers) as count:
            for is_second in (False, True):
                with closing(self._hand_out(dict(left), count, is_second=is_second)) as results:
                    for result in results:
                        if left.pop(result.index, None) is not None:  # a task that was lost may be run again
                            yield result
                if not left:
                    return
        for index, planned in left.items():
            error = InternalError(
                "workers died with the photo; Ray's logs say of what", code="INTERNAL", reason=WORKER_LOST
            )
            yield self.settings.writer.write(index, planned, AgeOutcome(index, planned.photo, None, error, 2, 0.0))

    def _hand_out(
        self, photos: Mapping[int, PlannedPhoto], count: int, *, is_second: bool
    ) -> Generator[PhotoResult, None, None]:
        """Yield what comes of photos; nothing comes of those with which a worker dies."""
        import ray.data

        most = 1 if is_second else _MOST_IN_TASK
        in_task = max(1, min(most, len(photos) // (_TASKS_OF_WORKER * count)))
        rows = [{_PHOTO: pickle.dumps(photo)} for photo in photos.items()]
        # A queued task dies with its worker, so there are none where photos are suspects.
        pool = ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1 if is_second else 2)
        results = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // in_task)).map_batches(
            Worker,
            fn_constructor_args=(self.settings,),
            compute=pool,
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=0,
        )
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in table.column(_RESULT).to_pylist():
                yield self._check(pickle.loads(row), photos)

    def _check(self, result: PhotoResult | Exception, photos: Mapping[int, PlannedPhoto]) -> PhotoResult:
        if isinstance(result, Exception):
            raise result
        writer = self.settings.writer
        if result.status == "done" and isinstance(writer.folder, LocalFolder):
            places = photos[result.index].places
            if not writer.folder.has(places, writer.key):
                path = writer.folder.path_of(places[0])
                raise click.ClickException(
                    f"a worker has written {path!r} on another machine; give a folder that all share, or a URL"
                )
        return result


def _table_like(table: Any, result: PhotoResult | Exception) -> Any:
    """Return a table of one row, of the kind that another is."""
    return type(table).from_pydict({_RESULT: [pickle.dumps(result)]})


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[int]:
    """Join a cluster, or start one on this machine, and yield how many workers there are to be.

    Nothing is told to Ray's makers, and no dashboard is started.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray reads it when it is imported
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise click.UsageError(f"--engine ray needs Ray ({error}): {NEEDS_EXTRA}") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        _join(ray, address, workers)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1
        yield workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


def _join(ray: Any, address: str | None, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
        else:
            ray.init(address, **quiet)
    except Exception as error:  # Ray raises plain ones, too
        where = "on this machine" if address is None else f"at {address}"
        raise click.UsageError(f"no Ray cluster {where}: {error}") from None
