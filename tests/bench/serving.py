"""Threads against asyncio, beside the pipeline alone and the networks that age one face: the same work, in one run.

Prints requests per second and median latency; this is what docs/decisions/0005-threads-not-asyncio.md rests on.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2_grpc
from dorian_client import Client
from dorian_server.clock import Clock
from dorian_server.methods.method import Method
from dorian_server.pictures import decode
from dorian_server.pipeline import Pipeline
from dorian_server.requests import Age, AgeRequest
from dorian_server.service import FaceAgingService
from dorian_server.serving import build_pipeline, start
from dorian_server.settings import Limits, Settings

ROOT = Path(__file__).resolve().parents[2]
PHOTO = (ROOT / "examples" / "astronaut.jpg").read_bytes()
WORKERS = 4
SECONDS = 8.0
ROUNDS = 3
CONCURRENCY = (1, 8)
NETWORKS = "one face: networks' part"  # no photo, no detector: the default method's drawing at one target
WIDTH = len(NETWORKS)

Call = Callable[[], object]


@contextmanager
def threaded(settings: Settings) -> Iterator[str]:
    """The server as it ships: a pool of threads."""
    server, port = start(settings)
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@contextmanager
def on_asyncio(settings: Settings) -> Iterator[str]:
    """The same handlers under grpc.aio, which hands them to a pool of as many threads."""
    loop = asyncio.new_event_loop()
    ready, address = threading.Event(), []

    async def serve() -> None:
        server = grpc.aio.server(migration_thread_pool=ThreadPoolExecutor(settings.workers))
        face_aging_pb2_grpc.add_FaceAgingServicer_to_server(FaceAgingService(build_pipeline(settings)), server)
        address.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        ready.set()
        await stop.wait()
        await server.stop(None)

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    yield address[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def load(call: Call, concurrency: int) -> tuple[float, float]:
    """Requests per second and median seconds of ``call`` from ``concurrency`` callers at once."""
    end = time.perf_counter() + SECONDS

    def caller(_: int) -> list[float]:
        taken = []
        while (start_at := time.perf_counter()) < end:
            call()
            taken.append(time.perf_counter() - start_at)
        return taken

    begin = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as callers:
        taken = [seconds for one in callers.map(caller, range(concurrency)) for seconds in one]
    return len(taken) / (time.perf_counter() - begin), statistics.median(taken)


def one_face(pipeline: Pipeline, method: Method) -> NDArray[np.uint8]:
    """The aligned crop of the photo's largest face, as ``method`` takes it."""
    pixels = decode(PHOTO, Limits()).pixels
    (face, *_) = pipeline.viewer.detector.detect(pixels)
    (crop,) = pipeline.viewer.crops(pixels, [face], method.manifest.crop_size)
    return crop


def main() -> None:
    settings = Settings(ROOT / "models" / "default", host="127.0.0.1", port=0, workers=WORKERS)
    pipeline = build_pipeline(settings)
    method = pipeline.method("")
    crop, source, target = one_face(pipeline, method), Age(group="30-39"), Age(group="60+")

    def networks() -> object:
        return method.draw([crop], [source], [[target]], Clock())

    def in_process() -> object:
        return pipeline.age(AgeRequest(PHOTO, [target]), method, Clock())

    with threaded(settings) as one, on_asyncio(settings) as other, Client(one) as first, Client(other) as second:
        calls: dict[str, Call] = {
            NETWORKS: networks,
            "in process": in_process,
            "threads": lambda: first.age(PHOTO, "60+"),
            "asyncio": lambda: second.age(PHOTO, "60+"),
        }
        same = {name: calls[name]() for name in ("threads", "asyncio")}
        pictures = {result.photos[0].picture.data for result in same.values()}
        if len(pictures) != 1:
            sys.exit("threads and asyncio gave different pictures")
        print(f"{'':>{WIDTH}} {'callers':>8} {'requests/s':>11} {'median ms':>10}")
        for concurrency in CONCURRENCY:
            rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
            for _ in range(ROUNDS):  # interleaved, so that a slow minute of the machine meets all alike
                for name, call in calls.items():
                    rounds[name].append(load(call, concurrency))
            for name, figures in rounds.items():
                rate, latency = (statistics.median(column) for column in zip(*figures, strict=True))
                print(f"{name:>{WIDTH}} {concurrency:>8} {rate:>11.1f} {latency * 1000:>10.1f}")


if __name__ == "__main__":
    main()
