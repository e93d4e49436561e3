"""FaceNet's thresholds as measured at export, and the false accepts of groups."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from dorian_bundle import Bundle
from dorian_bundle.face_readers import AcceptThreshold
from dorian_export.accept_rates import measure_group_rates, measure_thresholds
from dorian_export.errors import ExportError
from dorian_export.face_readers import FaceNetGraph, averaged_facenet
from dorian_training.data.archives import load_archives
from dorian_training.data.crops import Crops, cut_crops, with_margin
from dorian_training.data.records import FaceRecord
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.verification import all_pairs, false_accepts, similarities


def test_its_thresholds_are_of_crops_at_its_side(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dorian_export.accept_rates.RATES", (0.5,))
    monkeypatch.setattr("dorian_export.accept_rates._MIN_IMPOSTOR_PAIRS", 2)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 180, 180, 3), dtype=np.uint8)
    records = [FaceRecord("celeba", Path("celeba.zip"), name, "val", identity=name[0]) for name in ("a1", "a2", "b")]
    with torch.no_grad():
        images = torch.from_numpy(pixels[:, 10:170, 10:170]).permute(0, 3, 1, 2).float() / 255
        actual = FaceNetGraph(averaged_facenet(published))(images).numpy()
    (threshold,) = measure_thresholds(averaged_facenet(published), Crops(pixels, tuple(records)))
    reached = sorted(actual[:2] @ actual[2])
    assert threshold.similarity == pytest.approx(reached[0], abs=1e-4)  # half of them may pass


def people_of(names: Sequence[str], sets: Sequence[str] = ()) -> Crops:
    """Faces of these people."""
    pixels = np.zeros((len(names), 72, 72, 3), np.uint8)
    records = [
        FaceRecord(sets[index] if sets else "celeba", Path("celeba.zip"), str(index), "val", identity=name)
        for index, name in enumerate(names)
    ]
    return Crops(pixels, tuple(records))


def planted(angles: Sequence[float]) -> Callable[..., np.ndarray]:
    """Embeddings in the plane, of face 3 at the angle number 3."""

    def embed(network: nn.Module, crops: Crops) -> np.ndarray:
        assert not network.training
        own = np.deg2rad([angles[int(record.name)] for record in crops.records])
        return np.stack([np.cos(own), np.sin(own)], axis=1).astype(np.float32)

    return embed


def test_thresholds_are_what_pairs_of_different_people_reach(
    facenet: DlibResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    angles = [0, 11, 25, 30, 52, 64, 91, 115, 2, 3]
    names = ["a", "b", "c", "d", "e", "f", "g", "h", "a", "a"]
    others = sorted(
        (np.cos(np.deg2rad(angles[i] - angles[j])) for i, j in combinations(range(10), 2) if names[i] != names[j]),
        reverse=True,
    )
    assert len(others) == 45 - 3
    monkeypatch.setattr("dorian_export.accept_rates.embed", planted(angles))
    monkeypatch.setattr("dorian_export.accept_rates.RATES", (0.5, 0.25, 1 / 42))
    monkeypatch.setattr("dorian_export.accept_rates._MIN_IMPOSTOR_PAIRS", 42)
    actual = measure_thresholds(facenet, people_of(names))
    assert [item.false_accept_rate for item in actual] == [0.5, 0.25, 1 / 42]
    # The first pair that may not pass is just below the threshold.
    assert [item.similarity for item in actual] == pytest.approx([others[21], others[10], others[1]], abs=1e-4)


def test_people_are_their_sets_own_and_nobody_is_left_out_of_the_count(
    facenet: DlibResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, sets = ["1", "1", "1", "Ada", "", ""], ["celeba", "celeba", "cacd", "cacd", "celeba", "celeba"]
    monkeypatch.setattr("dorian_export.accept_rates.embed", planted([0, 0, 30, 60, 0, 0]))
    monkeypatch.setattr("dorian_export.accept_rates.RATES", (0.1,))
    monkeypatch.setattr("dorian_export.accept_rates._MIN_IMPOSTOR_PAIRS", 5)
    (actual,) = measure_thresholds(facenet, people_of(names, sets))
    assert actual.similarity == pytest.approx(np.cos(np.deg2rad(30)), abs=1e-4)
    monkeypatch.setattr("dorian_export.accept_rates._MIN_IMPOSTOR_PAIRS", 6)
    with pytest.raises(ExportError, match="need 6 pairs of different people in the validation split; there are 5"):
        measure_thresholds(facenet, people_of(names, sets))


@pytest.mark.parametrize(
    ("names", "pairs"), [(["a"] * 9, "0"), ([""] * 9, "0"), (list(map(str, range(447))), "99,681")]
)
def test_too_few_people_for_thresholds(facenet: DlibResNet, names: list[str], pairs: str) -> None:
    message = f"need 100,000 pairs of different people in the validation split; there are {pairs}$"
    with pytest.raises(ExportError, match=message):
        measure_thresholds(facenet, people_of(names))


@pytest.fixture(scope="module")
def watched(faces: Path, people: Path) -> list[FaceRecord]:
    """Whom the bundle's thresholds were measured on."""
    return [record for folder in (faces, people) for record in load_archives(folder) if record.split == "val"]


def test_a_bundles_thresholds_are_those_of_its_graph(bundle: Bundle, watched: list[FaceRecord]) -> None:
    """The graph, run on the middles of crops, takes as many of the people for one another as the manifest says."""
    thresholds = bundle.manifest.readers.facenet.thresholds
    assert [item.false_accept_rate for item in thresholds] == [1e-2, 1e-3, 1e-4]
    values = [item.similarity for item in thresholds]
    assert values == sorted(values)
    side, template = with_margin(64)
    middle = slice((side - 64) // 2, (side + 64) // 2)
    pixels = cut_crops(watched, side, template=template).pixels[:, middle, middle]
    session = ort.InferenceSession(str(bundle.graph_path("facenet")), providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(None, {"image": np.float32(pixels.transpose(0, 3, 1, 2)) / 255})
    pairs = all_pairs(np.arange(len(pixels)))
    similarity = similarities(embeddings, pairs)
    for item in thresholds:  # a random network has all faces near each other: the fourth digit moves some pairs across
        found = false_accepts(similarity, pairs.same, item.similarity)
        assert 0.4 * item.false_accept_rate - 8e-5 <= found <= 2.5 * item.false_accept_rate + 8e-5


def test_another_facenet_has_other_thresholds(facenet: DlibResNet, watched: list[FaceRecord], bundle: Bundle) -> None:
    changed = copy.deepcopy(facenet)
    changed.whitening_mean -= 3.0  # all embeddings draw near to each other
    side, template = with_margin(64)
    crops = cut_crops(watched, side, template=template)
    stated = bundle.manifest.readers.facenet.thresholds
    assert measure_thresholds(facenet, crops) == stated
    for near, far in zip(measure_thresholds(changed, crops), stated, strict=True):
        assert near.similarity > far.similarity


# --- groups ---


def test_groups_are_measured_at_one_threshold(facenet: DlibResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dorian_export.accept_rates.embed", planted([0, 5, 60, 0, 20, 0]))
    names = ["Black", "Black", "Black", "White", "White", "Indian"]
    pixels = np.zeros((6, 8, 8, 3), np.uint8)
    records = [
        FaceRecord("fairface", Path("fairface.zip"), str(index), "test", gender="Male", ethnicity=name)
        for index, name in enumerate(names)
    ]
    thresholds = [
        AcceptThreshold(false_accept_rate=rate, similarity=similarity)
        for rate, similarity in ((1e-2, 0.0), (1e-3, 0.9), (1e-4, 1.0))
    ]
    strangers = Crops(pixels, tuple(records))
    assert measure_group_rates(facenet, strangers, thresholds) == {
        "group_false_accepts": {
            "Black Male": {"faces": 3, "false_accepts": 0.333},
            "White Male": {"faces": 2, "false_accepts": 1.0},
        }
    }
    assert measure_group_rates(facenet, None, thresholds) == {}
    assert measure_group_rates(facenet, strangers, thresholds[:1]) == {}
