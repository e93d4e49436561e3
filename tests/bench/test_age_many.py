"""The comparison of `age_many` and `dorian batch` with plain threads: all do the whole work, and all that fails is counted."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from PIL import Image

from bench import age_many
from bench.age_many import Begin, Outcomes, Turn
from bench.photos import add_broken, fill
from dorian_client import Client
from dorian_client.testing import FakeServer


def test_all_ways_do_the_same(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    folder = tmp_path / "folder"
    photos = fill(folder, tmp_path, 7)
    broken = add_broken(photos, 3)
    with FakeServer() as server, Client(server.address) as client:
        ways = age_many.ways_of(client, server.address, folder, photos + broken, [2, 3])
        assert list(ways) == ["age_many", "dorian batch", "2 threads", "3 threads"]
        for way in ways.values():
            server.requests.clear()
            outcomes = way(lambda done: None)
            assert sorted(photo for photo, reason in outcomes if reason is None) == photos
            assert sorted(photo for photo, reason in outcomes if reason is not None) == sorted(broken)
            assert len([request for request in server.requests if hasattr(request, "targets")]) == 10


def test_the_work_of_a_batch_begins_with_its_first_picture(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    fill(tmp_path / "folder", tmp_path, 6)
    begun: list[int] = []
    with FakeServer(delay=0.2) as server:
        age_many.by_batch(server.address, tmp_path / "folder", begun.append)
    assert len(begun) == 1
    assert 1 <= begun[0] < 6


def test_a_batch_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    with FakeServer() as server, pytest.raises(RuntimeError, match="dorian batch failed"):
        age_many.by_batch(server.address, tmp_path / "nowhere", lambda done: None)


def test_photos_that_plain_threads_lose_to_a_full_queue(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (16, 16)).save(photo)
    with FakeServer(capacity=2, delay=0.05) as server, Client(server.address, retries=0) as client:
        by_threads = age_many.by_threads(client, [photo] * 24, 8, lambda done: None)
        assert {reason for _, reason in by_threads} == {None, "QUEUE_FULL"}
        assert age_many.by_age_many(client, [photo] * 24, lambda done: None) == [(photo, None)] * 24


def test_broken_files_are_spread_and_are_no_photos(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / "photo.png")
    photos = fill(tmp_path / "folder", tmp_path, 120)
    broken = add_broken(photos, 4)
    assert [file for file in sorted(photos + broken) if file in broken] == broken
    assert [sorted(photos + broken).index(file) for file in broken] == [15, 46, 77, 108]
    for file in broken:
        with pytest.raises(OSError, match=r"truncated|cannot identify"), Image.open(file) as image:
            image.load()


def test_a_turn_counts_from_where_the_work_began() -> None:
    def way(begin: Begin) -> Outcomes:
        time.sleep(0.2)
        begin(1)
        time.sleep(0.1)
        return [(Path("a"), None), (Path("b"), None), (Path("c"), None)]

    turn = age_many.take_turn(way, itertools.count(5).__next__)
    assert turn.start_up == pytest.approx(0.2, abs=0.05)
    assert turn.seconds == pytest.approx(0.1, abs=0.05)
    assert turn.server_seconds == 1
    assert turn.rate == 2 / turn.seconds
    assert turn.whole_rate == 3 / (turn.start_up + turn.seconds)


def test_what_was_lost_or_not_reported_is_told() -> None:
    a, b, c, bad, worse = map(Path, ("a", "b", "c", "bad", "worse"))
    outcomes: Outcomes = [(a, None), (b, "QUEUE_FULL"), (bad, "IMAGE_UNREADABLE"), (worse, None)]
    described = Turn(outcomes, 0, 0.0, 2.0, 3.0).describe([a, b, c], [bad, worse], cores=2)
    assert "2.00 photos/s" in described
    assert "75% of 2 cores" in described
    assert "2 of 3 lost" in described, "one with an error, one that nothing was heard of"
    assert "1 of 2 broken reported {'IMAGE_UNREADABLE': 1}" in described
