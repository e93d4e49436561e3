"""Graphs that are opened twice: which, and which of the two runs."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dorian_bundle import Bundle
from dorian_bundle.graphs import Array, Signature, TensorSpec
from dorian_server.runtimes.elastic import ElasticSession, RunCounter
from dorian_server.runtimes.factory import open_session
from dorian_server.runtimes.options import Runtime, SessionOptions
from dorian_server.runtimes.session import Session
from dorian_server.serving import bundles
from dorian_server.settings import Settings

SECONDS = 10
TENSOR = TensorSpec(name="which", shape=("batch",))
IN_EVERY_PHOTO = {"detector", "landmark_refiner", "age_estimator", "facenet", "age_translator"} | {
    "hair_segmenter",
    "person_segmenter",
}


class Held:
    """A session whose runs wait until they are released."""

    signature = Signature(inputs=(TENSOR,), outputs=(TENSOR,))

    def __init__(self) -> None:
        self.begun, self.released = threading.Semaphore(0), threading.Event()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.begun.release()
        assert self.released.wait(SECONDS)
        return {"which": np.array(id(self))}


def test_a_run_is_wide_when_it_begins_alone_whatever_the_graph() -> None:
    counter, wide, narrow, other = RunCounter(), Held(), Held(), Held()
    session, second = ElasticSession(wide, narrow, counter), ElasticSession(other, other, counter)
    with ThreadPoolExecutor(2) as pool:
        for first, alone in ((second, other), (session, wide)):
            run = pool.submit(first.run, {})
            assert alone.begun.acquire(timeout=SECONDS)
            narrow.released.set()
            assert session.run({})["which"] == id(narrow), "in company"
            alone.released.set()
            assert run.result()["which"] == id(alone)
    assert session.run({})["which"] == id(wide), "alone again"


def test_what_every_photo_passes_is_opened_twice_and_the_rest_once(
    default_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, list[int]] = defaultdict(list)

    def note(runtime: Runtime, path: Path, expected: Signature, options: SessionOptions) -> Session:
        threads[path.name.partition(".")[0]].append(options.threads)
        return open_session(runtime, path, expected, options)

    monkeypatch.setattr(bundles, "open_session", note)
    monkeypatch.setattr(bundles, "share_of_cores", lambda processes: 2)
    bundles.build_pipeline(Settings(default_bundle.folder))
    assert set(threads) == set(default_bundle.manifest.graphs)
    assert {name for name, opened in threads.items() if opened == [2, 1]} == IN_EVERY_PHOTO
    assert {tuple(opened) for name, opened in threads.items() if name not in IN_EVERY_PHOTO} == {(2,)}
