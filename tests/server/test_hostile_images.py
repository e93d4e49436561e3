"""Hundreds of hostile and odd files: each is decoded or refused in words, and nothing of it stays behind."""

from __future__ import annotations

import gc
import resource
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dorian_server.domain.errors import RequestError
from dorian_server.images import FORMATS, Photo, decode, encode
from dorian_server.settings import Limits
from tests.hostile_images import MEGABYTE, hostile_images

LIMITS = Limits()
REASONS = {
    "IMAGE_EMPTY": "send the bytes of a JPEG, PNG or WebP file",
    "IMAGE_UNREADABLE": "send a whole JPEG, PNG or WebP file",
    "IMAGE_TOO_SMALL": "each side must be at least 32",
    "IMAGE_TOO_LARGE": "at most 64,000,000 pixels are allowed",
}
SECONDS = 10  # of one processor, for all files, which take about half a second
LEAK = 4 * MEGABYTE  # a round has 25 MB of photos, from 50 MB of files
STATM = Path("/proc/self/statm")
DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return hostile_images()


def outcome(data: bytes) -> str:
    """``whole`` or the reason of the refusal, both checked for what they promise."""
    try:
        photo = decode(data, LIMITS)
    except RequestError as error:
        return checked_reason(error)
    check_photo(photo)
    return "whole"


def checked_reason(error: RequestError) -> str:
    assert error.field == "image.data"
    assert REASONS[error.reason] in str(error)
    return error.reason


def check_photo(photo: Photo) -> None:
    height, width, _ = photo.pixels.shape
    assert photo.pixels.shape == (height, width, 3)
    assert photo.pixels.dtype == np.uint8
    assert min(height, width) >= LIMITS.min_side
    assert height * width <= LIMITS.max_pixels
    assert photo.format in FORMATS
    if photo.alpha is not None:
        assert photo.alpha.shape == (height, width)
        assert photo.alpha.dtype == np.uint8
        assert photo.alpha.min() < 255


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def test_the_files_are_many_and_always_the_same(files: dict[str, bytes]) -> None:
    assert len(files) >= 300
    assert max(map(len, files.values())) <= LIMITS.max_image_bytes
    assert hostile_images() == files


def test_each_file_gives_a_photo_or_a_refusal_in_words(files: dict[str, bytes]) -> None:
    start = time.process_time()
    result = {name: outcome(data) for name, data in files.items()}
    assert time.process_time() - start < SECONDS
    wrong = [
        (name, became)
        for name, became in result.items()
        if not name.startswith("either/") and name.startswith("whole/") != (became == "whole")
    ]
    assert not wrong
    assert set(Counter(result.values())) == {"whole", *REASONS}


def test_what_is_decoded_can_be_written(files: dict[str, bytes]) -> None:
    for name, data in files.items():
        if name.startswith("whole/base"):
            photo = decode(data, LIMITS)
            for kind in FORMATS:
                again = decode(encode(photo.pixels, kind, 100, photo.alpha, photo.metadata), LIMITS)
                assert again.pixels.shape == photo.pixels.shape
                assert again.metadata == photo.metadata


@pytest.mark.skipif(not STATM.exists(), reason="tells a leak from what Linux says of a process")
def test_nothing_is_left_behind(files: dict[str, bytes]) -> None:
    for data in files.values():  # first, all that is taken once only
        outcome(data)
    opened = len(list(DESCRIPTORS.iterdir()))
    growths = []
    for _ in range(4):
        before = resident()
        for data in files.values():
            outcome(data)
        growths.append(resident() - before)
    assert min(growths) < LEAK, "a leak grows in every round; the process's other memory does not"
    assert len(list(DESCRIPTORS.iterdir())) == opened
