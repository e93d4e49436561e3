"""Embeddings of crops by a FaceNet, who the faces are, and groups of different people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dorian_training.data.augmentation import centred
from dorian_training.data.batches import as_images
from dorian_training.data.crops import Crops
from dorian_training.data.fairface import stranger_group
from dorian_training.data.records import FaceRecord
from dorian_training.methods.embedding import embed, identity_labels
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.verification import group_similarities


@pytest.fixture
def faces(make_crops: Callable[..., Crops]) -> Crops:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 72, 72, 3), dtype=np.uint8)
    return make_crops([30] * len(pixels), pixels)


def test_embeddings_are_of_the_middles_of_crops(faces: Crops) -> None:
    torch.manual_seed(0)
    network = DlibResNet(DlibResNetShape(embedding=8, size=64, blocks=(1, 1, 1), widths=(4, 8, 8))).eval()
    result = embed(network, faces)
    assert (result.shape, result.dtype) == ((70, 8), np.float32)
    with torch.no_grad():
        expected = network(centred(as_images(torch.from_numpy(faces.pixels)), 64)).numpy()
    assert np.allclose(result, expected, atol=1e-5)
    network.size = 96
    with pytest.raises(AssertionError):
        embed(network, faces)  # they were cut for another network


def with_people(crops: Crops, people: Sequence[tuple[str, str]]) -> Crops:
    """Faces of these people, by set and name."""
    records = [replace(crops.records[i], source=s, identity=name) for i, (s, name) in enumerate(people)]
    return Crops(crops.pixels[: len(records)], tuple(records))


def test_people_are_numbered_by_their_sets_and_names(faces: Crops) -> None:
    people = [("celeba", "10"), ("celeba", "9"), ("cacd", "9"), ("celeba", "10"), ("imdb-wiki", "Ada"), ("cacd", "9")]
    labels = identity_labels(with_people(faces, people))
    assert (labels.tolist(), labels.dtype) == ([2, 1, 0, 2, 3, 0], torch.int64)


@pytest.mark.parametrize(
    ("source", "ethnicity", "gender", "group"),
    [
        ("fairface", "East Asian", "Female", "East Asian Female"),
        ("fairface", "Latino_Hispanic", "Male", "Latino Hispanic Male"),
        ("fairface", "", "Male", None),
        ("fairface", "Black", "", None),
        ("utkface", "Black", "Male", None),  # whose people recur
    ],
)
def test_groups_are_of_people_who_do_not_recur(source: str, ethnicity: str, gender: str, group: str | None) -> None:
    record = FaceRecord(source, Path("a.zip"), "a", "test", gender=gender, ethnicity=ethnicity)
    assert stranger_group(record) == group


def test_pairs_are_of_one_group() -> None:
    angles = np.deg2rad([0, 60, 90, 10, 100])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    result = group_similarities(embeddings, ["b", "b", "c", "a", "b"])
    assert list(result) == ["b"]  # the others are alone
    expected = np.cos(np.deg2rad([60, 100, 40]))
    assert result["b"] == pytest.approx(expected, abs=1e-6)
