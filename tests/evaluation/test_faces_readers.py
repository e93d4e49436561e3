"""Ages and identities read from faces: errors by group, verification in closed form, and the judge of identity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dorian_bundle.face_readers import AcceptThreshold
from dorian_evaluation.faces.age_errors import age_metrics, decade
from dorian_evaluation.faces.identities import (
    EmbeddedFaces,
    accept_metrics,
    group_metrics,
    number_identities,
    select_identified,
    verification_metrics,
)
from dorian_evaluation.faces.people_bias import people_bias
from dorian_evaluation.judges.reidentification import ReidentificationJudge
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError
from dorian_training.verification import (
    all_pairs,
    balanced_accuracy,
    best_threshold,
    false_accepts,
    similarities,
    threshold_at,
    true_accepts,
)

SIMILARITY = np.array([0.9, 0.8, 0.7, 0.6, 0.2], dtype=np.float32)
SAME = np.array([True, True, False, True, False])


def record(low: int = 30, high: int = 30, gender: str = "Male", identity: str = "", ethnicity: str = "") -> FaceRecord:
    return FaceRecord("set", Path("set.zip"), "a", "test", low, high, gender, ethnicity, identity)


def test_errors_of_ages_by_group() -> None:
    records = [record(5, 5), record(7, 7, "Female"), record(90, 90, ethnicity="Asian"), record(20, 29, "Female")]
    read = {"bundle": np.array([7.0, 7, 80, 31]), "judge": np.array([5.0, 4, 100, 25])}
    metrics = age_metrics(read, records)
    exact = metrics["exact"]
    assert exact["all"] == {"faces": 3, "bundle": 4.0, "judge": 4.33}
    assert list(exact["decade"]) == ["0-9", "80+"]
    assert exact["decade"]["0-9"] == {"faces": 2, "bundle": 1.0, "judge": 1.5}
    assert exact["gender"]["Female"] == {"faces": 1, "bundle": 0.0, "judge": 3.0}
    assert exact["ethnicity"] == {
        "Asian": {"faces": 1, "bundle": 10.0, "judge": 10.0},
        "unknown": {"faces": 2, "bundle": 1.0, "judge": 1.5},
    }
    assert metrics["bracket"]["all"] == {"faces": 1, "bundle": 2.0, "judge": 0.0}  # beyond 29, and inside
    assert list(metrics["bracket"]["decade"]) == ["20-29"]
    assert set(age_metrics({"bundle": np.array([30.0])}, [record()])) == {"exact"}


def test_decades() -> None:
    assert [decade(age) for age in (0, 9.5, 10, 79.9, 80, 116)] == ["0-9", "0-9", "10-19", "70-79", "80+", "80+"]
    ages = [100, 95, 15, 5]
    table = age_metrics({"bundle": np.zeros(4)}, [record(age, age) for age in ages])["exact"]
    assert list(table["decade"]) == ["0-9", "10-19", "80+"]


def test_bias_is_against_others_of_the_same_decade() -> None:
    """Asian women are read 4 years older than their age in their thirties, white men 2, and both 1 in their forties."""
    asian = [record(32, 32, "Female", ethnicity="East Asian")] * 5 + [record(40, 49, "Female", ethnicity="Asian")] * 5
    white = [record(38, 38, ethnicity="White")] * 5 + [record(41, 41, ethnicity="White")] * 5
    few = [record(33, 33, ethnicity="Black")] * 4 + [record(5, 5, ethnicity="White")] * 5 + [record(35, 35)] * 5
    read = np.repeat([36, 45.5, 40, 42, 80, 30, 60], [5, 5, 5, 5, 4, 5, 5]).astype(np.float64)
    assert people_bias({"bundle": read, "judge": read * 0}, [*asian, *white, *few]) == {
        "Asian Female": {"faces": 10, "bundle": 0.5, "judge": 0.62},
        "White Male": {"faces": 10, "bundle": -0.5, "judge": -0.62},
    }


def test_thresholds_in_closed_form() -> None:
    assert best_threshold(SIMILARITY, SAME) == pytest.approx(0.8)
    assert balanced_accuracy(SIMILARITY, SAME, 0.8) == pytest.approx((2 / 3 + 1) / 2)
    few = np.array([True, False, False, False, False])  # however few pairs are of one person
    assert best_threshold(SIMILARITY, few) == pytest.approx(0.9)
    assert balanced_accuracy(SIMILARITY, few, 0.7) == pytest.approx((1 + 1 / 2) / 2)
    half = threshold_at(SIMILARITY, SAME, 0.5)
    assert half == pytest.approx(0.2)
    assert (false_accepts(SIMILARITY, SAME, half), true_accepts(SIMILARITY, SAME, half)) == (0.5, 1.0)
    none = threshold_at(SIMILARITY, SAME, 1e-3)
    assert none == pytest.approx(0.7)
    assert (false_accepts(SIMILARITY, SAME, none), true_accepts(SIMILARITY, SAME, none)) == (0.0, pytest.approx(2 / 3))


def test_pairs() -> None:
    identities = np.array([0, 0, 1, 1, 1, 2])
    every = all_pairs(identities)
    assert len(every.same) == 15
    assert int(every.same.sum()) == 1 + 3
    embeddings = np.eye(3, dtype=np.float32)[identities]
    assert (similarities(embeddings, every) == every.same).all()


def faces(*angles: float) -> EmbeddedFaces:
    """Two people with two faces each, at ``angles`` in degrees."""
    turned = np.radians(angles)
    return EmbeddedFaces(
        np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32), np.array([0, 0, 1, 1], dtype=np.int64)
    )


def test_verification() -> None:
    apart, mixed = faces(0, 10, 90, 100), faces(0, 60, 90, 100)
    metrics = verification_metrics(apart, mixed)
    assert metrics["threshold"] == pytest.approx(np.cos(np.radians(10)), abs=1e-3)
    assert metrics["accuracy"] == pytest.approx(
        0.75
    )  # of one person's two pairs, that 60° apart is taken for two people's
    of_val, of_test = metrics["at_0.001_of"]["val"], metrics["at_0.001_of"]["test"]
    assert of_val == {"threshold": pytest.approx(np.cos(np.radians(80)), abs=1e-3), "true_accepts": 1.0} | {
        "false_accepts": 0.5  # those 30° and 40° apart, of four
    }
    assert of_test == {
        "threshold": pytest.approx(np.cos(np.radians(30)), abs=1e-3),
        "true_accepts": 0.5,
        "false_accepts": 0,
    }
    stated = AcceptThreshold(false_accept_rate=0.01, similarity=0.8)  # 37°
    assert accept_metrics(mixed, [stated]) == [
        {"stated": 0.01, "threshold": 0.8, "true_accepts": 0.5, "false_accepts": 0.25}
    ]
    assert metrics["at_0.0001_of"]["test"]["false_accepts"] == 0
    groups = group_metrics(mixed.embeddings, ["a", "b", "a", "a"], [stated])  # at 0, 90 and 100 degrees, and at 60
    assert groups == {"a": {"faces": 3, "false_accepts": {"0.01": 0.333}}}


def test_people_are_numbered_and_taken_whole() -> None:
    records = [record(identity=name) for name in ("a", "b", "", "a", "b", "c")]
    assert [r.identity for r in select_identified(records)] == ["a", "a", "b", "b", "c"]
    assert [r.identity for r in select_identified(records, 3)] == ["a", "a", "b", "b"]
    assert number_identities(select_identified(records)).tolist() == [0, 0, 1, 1, 2]
    for few in (["a", "a"], ["a", "b"], []):
        with pytest.raises(DataError, match="two people or more"):
            number_identities([record(identity=name) for name in few])


def test_a_judge_of_identity_sees_bgr_and_the_mirror_image(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    left_means = helper.make_graph(
        [
            helper.make_node("Slice", ["image", "start", "end", "axis"], ["left"]),
            helper.make_node("ReduceMean", ["left"], ["embedding"], axes=[2, 3]),
        ],
        "left half",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 128, 128])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3, 1, 1])],
        [
            helper.make_tensor(name, TensorProto.INT64, [1], [value])
            for name, value in (("start", 0), ("end", 64), ("axis", 3))
        ],
    )
    model = helper.make_model(left_means, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "judge.onnx"))
    openvino.save_model(openvino.Core().read_model(str(tmp_path / "judge.onnx")), str(tmp_path / "judge.xml"))
    crops = np.zeros((20, 128, 128, 3), dtype=np.uint8)
    crops[:, :, :64, 0], crops[:, :, 64:, 2] = 240, 180  # red to the left, blue to the right
    embeddings = ReidentificationJudge(tmp_path / "judge.xml").embeddings(crops)
    assert embeddings.shape == (20, 3)
    assert embeddings[19] == pytest.approx([0.6, 0, 0.8], abs=1e-3)
    (tmp_path / "text.xml").write_text("text")
    with pytest.raises(DataError, match=r"text\.xml cannot be opened as a recogniser"):
        ReidentificationJudge(tmp_path / "text.xml")
