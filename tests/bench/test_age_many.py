"""The comparison of `age_many` with plain threads: both ways do the whole work, and count what fails."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from bench import age_many
from dorian_client import Client
from dorian_client.testing import FakeServer


def test_both_ways_do_the_same(tmp_path: Path) -> None:
    photo, broken = tmp_path / "photo.png", tmp_path / "broken.png"
    Image.new("RGB", (16, 16)).save(photo)
    broken.write_bytes(b"no image")
    photos = [photo] * 7 + [broken]
    with FakeServer() as server, Client(server.address) as client:
        assert age_many.by_threads(client, photos, 2) == 1
        assert age_many.by_age_many(client, photos) == 1
        assert len([request for request in server.requests if hasattr(request, "targets")]) == 16


def test_photos_that_plain_threads_lose_to_a_full_queue(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (16, 16)).save(photo)
    with FakeServer(capacity=2, delay=0.05) as server, Client(server.address, retries=0) as client:
        assert age_many.by_threads(client, [photo] * 24, 8) > 0
        assert age_many.by_age_many(client, [photo] * 24) == 0


def test_the_ways_have_names() -> None:
    assert list(age_many.ways_of([], [2, 3])) == ["age_many", "2 threads", "3 threads"]
