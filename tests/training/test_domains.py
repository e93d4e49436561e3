"""Domains of faces: told apart by age, by attribute, by folder; drawn evenly, and streamed in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dorian_training.data.augmentation import Augmentation
from dorian_training.data.crops import Crops, with_margin
from dorian_training.data.domains import (
    DomainBatches,
    domains_by_age,
    domains_by_attribute,
    domains_by_folder,
    evenly,
)
from dorian_training.data.records import FaceRecord, split_of
from dorian_training.errors import DataError

SIZE = 16
STILL = Augmentation(
    shift=0, scale=0, turn=0, light=0, contrast=0, saturation=0, grey=0, coarse=0, erase=0
)  # but mirrored at random


def face(name: str, low: int | None = None, high: int | None = None, young: bool | None = None) -> FaceRecord:
    return FaceRecord("mine", Path("mine.zip"), name, "train", low, low if high is None else high, young=young)


def names(domain: list[FaceRecord]) -> list[str]:
    return [record.name for record in domain]


def test_a_bracket_lies_whole_in_a_domain_or_not_at_all() -> None:
    brackets = [(0, 2), (20, 29), (25, 30), (30, 39), (40, 49), (49, 50), (50, 59), (60, 69), (70, 80)]
    records = [face(f"{low}-{high}", low, high) for low, high in brackets]
    records += [face(str(age), age) for age in (3, 30, 31, 49, 50, 116)] + [face("unknown")]
    young, old = domains_by_age(records, 30, 50)
    assert names(young) == ["0-2", "20-29", "25-30", "3", "30"]
    assert names(old) == ["50-59", "60-69", "70-80", "50", "116"]
    grown, old_too = domains_by_age(records, 30, 50, young_from=20)
    assert (names(grown), old_too) == (["20-29", "25-30", "30"], old)
    with pytest.raises(DataError, match="the young begin at 31 years and end at 30"):
        domains_by_age(records, 30, 50, young_from=31)


@pytest.mark.parametrize(("until", "since"), [(50, 50), (60, 40)])
def test_domains_of_ages_lie_apart(until: int, since: int) -> None:
    message = f"the young end at {until} years, the old begin at {since}; they must lie apart"
    with pytest.raises(DataError, match=message):
        domains_by_age([face("1", 1), face("99", 99)], until, since)
    assert names(domains_by_age([face("1", 1), face("99", 99)], 50, 51)[1]) == ["99"]


def test_an_attribute_that_nobody_stated_puts_a_face_in_neither_domain() -> None:
    records = [face("a", young=True), face("b", young=False), face("c", 20), face("d", young=True), face("e", 70)]
    young, old = domains_by_attribute(records)
    assert (names(young), names(old)) == (["a", "d"], ["b"])


def test_folders_are_searched_to_their_ends(tmp_path: Path) -> None:
    pictures = ["b.jpg", "a.PNG", "more/c.jpeg", "more/still/d.webp"]
    for name in [*pictures, "notes.txt", "more/e.gif"]:
        path = tmp_path / "young" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old/z.jpg").touch()
    young, old = domains_by_folder(tmp_path / "young", tmp_path / "old")
    assert sorted(names(young)) == sorted(pictures)
    assert names(old) == ["z.jpg"]
    assert {record.container for record in young} == {tmp_path / "young"}
    assert {record.container for record in old} == {tmp_path / "old"}
    assert all(record.split == split_of(record.name) for record in [*young, *old])
    assert {(record.source, record.age, record.young) for record in [*young, *old]} == {("own pictures", None, None)}


def test_a_domain_without_faces(tmp_path: Path) -> None:
    some = [face("a", 20, young=True)]
    (tmp_path / "a.jpg").touch()
    (tmp_path / "empty").mkdir()
    for domains in (domains_by_age(some, 30, 50), domains_by_attribute(some)):
        with pytest.raises(DataError, match="the domain of the old has no faces"):
            evenly(domains, 0, seed=0)
    for domains in (domains_by_age([face("b", 80)], 30, 50), domains_by_folder(tmp_path / "empty", tmp_path)):
        with pytest.raises(DataError, match="the domain of the young has no faces"):
            evenly(domains, 0, seed=0)


def test_as_many_of_both_are_drawn_from_all_over() -> None:
    domains = [face(f"y{index}") for index in range(200)], [face(f"o{index}") for index in range(50)]
    young, old = evenly(domains, 0, seed=3)
    assert (len(young), len(set(names(young)))) == (50, 50)
    assert set(names(young)) <= set(names(domains[0]))
    assert sorted(names(old)) == sorted(names(domains[1]))
    assert 70 < np.mean([int(name[1:]) for name in names(young)]) < 130
    fewer = evenly(domains, 20, seed=3)
    assert [len(domain) for domain in fewer] == [20, 20]
    assert [len(domain) for domain in evenly(domains, 999, seed=3)] == [50, 50]


def test_what_is_drawn_follows_the_seed() -> None:
    domains = [face(f"y{index}") for index in range(99)], [face(f"o{index}") for index in range(99)]
    assert evenly(domains, 20, seed=3) == evenly(domains, 20, seed=3)
    assert evenly(domains, 20, seed=4)[0] != evenly(domains, 20, seed=3)[0]


# --- batches ---


def grey(count: int, brightness: int) -> Crops:
    """Faces of one brightness each, from ``brightness`` on; with the margin of training."""
    side, _ = with_margin(SIZE)
    values = np.arange(brightness, brightness + count, dtype=np.uint8)
    pixels = np.broadcast_to(values[:, None, None, None], (count, side, side, 3)).copy()
    return Crops(pixels, tuple(face(str(index)) for index in range(count)))


def stream(seed: int = 0, batch_size: int = 6) -> DomainBatches:
    return DomainBatches((grey(40, 0), grey(30, 128)), batch_size, seed, SIZE, STILL)


def brightness(images: torch.Tensor) -> list[int]:
    return [round((float(image.mean()) + 1) * 127.5) for image in images]


def test_a_batch_has_faces_of_both_domains() -> None:
    batches = stream()
    drawn = [batches.next() for _ in range(40)]
    first = drawn[0]
    for images in (first.young, first.old):
        assert images.shape == (6, 3, SIZE, SIZE)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
    young = [value for batch in drawn for value in brightness(batch.young)]
    old = [value for batch in drawn for value in brightness(batch.old)]
    assert set(young) == set(range(40))  # all of them, of 240 draws
    assert set(old) == set(range(128, 158))


def test_faces_are_not_paired() -> None:
    """Domains alike are drawn from unlike each other."""
    batch = DomainBatches((grey(40, 0), grey(40, 0)), 32, 0, SIZE, STILL).next()
    assert sum(a == b for a, b in zip(brightness(batch.young), brightness(batch.old), strict=True)) < 8


def test_streams_follow_their_seed_and_go_on_where_their_state_was_taken() -> None:
    one, two, other = stream(), stream(), stream(seed=1)
    first, same, unlike = one.next(), two.next(), other.next()
    assert torch.equal(first.young, same.young)
    assert torch.equal(first.old, same.old)
    assert brightness(first.young) != brightness(unlike.young)
    assert brightness(first.old) != brightness(unlike.old)
    state = one.state_dict()
    following = [one.next() for _ in range(3)]
    other.load_state_dict(state)
    for batch in following:
        again = other.next()
        assert torch.equal(batch.young, again.young)
        assert torch.equal(batch.old, again.old)
