"""The work of all contenders on a photo, by the server's own pipeline."""

from __future__ import annotations

from collections.abc import Callable

from bench.serving.task import BUNDLE, TARGET
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.serving.bundles import build_pipeline
from dorian_server.settings import Settings


def open_pipeline(threads: int) -> Pipeline:
    """The server's pipeline, on graphs of ``threads`` threads each."""
    return build_pipeline(Settings(BUNDLE, threads=threads))


def open_work(threads: int) -> Callable[[bytes], bytes]:
    """What ages the face of a photo's file by such a pipeline; safe to call from several threads."""
    pipeline = open_pipeline(threads)
    method = pipeline.method("")

    def age(photo: bytes) -> bytes:
        request = AgeRequest(photo, [Age(group=TARGET)])
        return pipeline.age(request, method, Clock()).images[0].image.data

    return age
