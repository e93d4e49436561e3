"""The limit: the pipeline, or its default method alone, called by threads of the process that it runs in.

``python -m bench.serving.in_process PART AT_ONCE THREADS``, where ``AT_ONCE`` threads take the calls in the order in which they come.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from bench.serving.load import Call, obey
from bench.serving.task import PHOTO, TARGET
from bench.serving.work import open_pipeline, open_work
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age
from dorian_server.images import decode
from dorian_server.settings import Limits


def whole(threads: int) -> Call:
    """All that is done for a request."""
    age = open_work(threads)
    return lambda: age(PHOTO)


def networks(threads: int) -> Call:
    """One face without its photo: the default method's drawing of it; no picture comes back."""
    pipeline = open_pipeline(threads)
    method = pipeline.method("")
    pixels = decode(PHOTO, Limits()).pixels
    (face, *_) = pipeline.face_reader.detector.detect(pixels)
    (crop,) = pipeline.face_reader.crop(pixels, [face], method.manifest.crop_size)
    source, target = Age(group="30-39"), Age(group=TARGET)

    def draw() -> bytes:
        method.draw([crop], [source], [[target]], Clock())
        return b""

    return draw


PARTS = {"whole": whole, "networks": networks}


def main() -> None:
    part, at_once, threads = sys.argv[1:]
    call = PARTS[part](int(threads))
    call()
    with ThreadPoolExecutor(int(at_once)) as pool:
        obey(lambda: lambda: pool.submit(call).result())


if __name__ == "__main__":
    main()
