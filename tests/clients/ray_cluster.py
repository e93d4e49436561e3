"""Programs of the tests of `dorian batch --engine ray`, each in a process of its own: Ray's warnings and threads are not the tests'."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dorian_client._batch import AgeOutcome
from dorian_client.cli.batches.folders import open_folder
from dorian_client.cli.batches.inputs import find_photos
from dorian_client.cli.batches.plan import PlannedPhoto
from dorian_client.cli.batches.ray_engine import RayEngine, WorkerSettings, _cluster
from dorian_client.cli.batches.results import PhotoResult, ResultWriter
from dorian_client.cli.connection import Connection
from dorian_client.errors import InvalidRequest

DEADLY = "deadly"


class DeadlyEngine:
    """Rejects all photos, and dies with one."""

    def age(self, photos: Mapping[int, PlannedPhoto]) -> Generator[PhotoResult, None, None]:
        """Yield what comes of photos until one is deadly."""
        for index, planned in photos.items():
            if DEADLY in planned.photo.source:
                os._exit(1)
            outcome = AgeOutcome(index, planned.photo, None, InvalidRequest("no", reason="NO_FACE"), 1, 0.1)
            yield ResultWriter(open_folder("unused"), "key", None).write(index, planned, outcome)


@dataclass(frozen=True)
class DeadlySettings(WorkerSettings):
    """Opens the deadly engine."""

    def open(self) -> Any:
        """Return it."""
        return DeadlyEngine()


def keep_cluster() -> None:
    """Start a cluster as the engine does, print what is known of it, and keep it until the input ends."""
    with _cluster(None, 2) as count:
        import ray
        from ray._common.usage import usage_lib

        facts = {
            "workers": count,
            "address": ray.get_runtime_context().gcs_address,
            "dashboard": ray._private.worker.global_worker.node.webui_url,
            "usage": usage_lib.usage_stats_enabled(),
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


def hand_out_deadly(address: str) -> None:
    """Have workers age a folder in which a photo is deadly; print what comes of each."""
    folder = open_folder("unused")
    settings: Any = DeadlySettings(None, ResultWriter(folder, "key", None), None, Connection(), None)  # type: ignore[arg-type]
    planned = {
        index: PlannedPhoto(photo, (PurePosixPath("x.png"),))
        for index, photo in enumerate(find_photos(["photos"], folder))
    }
    results = RayEngine(settings, address, 2).age(planned)
    reasons = {planned[result.index].photo.source: result.record["reason"] for result in results}
    sys.stdout.write(json.dumps(reasons) + "\n")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
