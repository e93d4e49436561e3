"""Metrics of ageing against closed forms: the sample of faces, errors against ages and real faces, identity, groups, and the chart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from dorian_evaluation.ageing.chart import chart_points, draw_chart
from dorian_evaluation.ageing.measurements import Measurements, RealFaces, mean_change
from dorian_evaluation.ageing.metrics import (
    ageing_metrics,
    error_metrics,
    group_metrics,
    identity_metrics,
    target_metrics,
)
from dorian_evaluation.ageing.people import people_metrics
from dorian_evaluation.ageing.targets import Target, age_targets, find_faces_of_age, sample_faces
from dorian_evaluation.faces.identities import KnownPeople
from dorian_evaluation.faces.people_bias import people_label
from dorian_evaluation.server_calls import select_face
from dorian_training.data.records import FaceRecord
from dorian_training.errors import DataError


def record(low: int | None, high: int | None = None, gender: str = "Male", ethnicity: str = "Asian") -> FaceRecord:
    return FaceRecord("set", Path("set.zip"), "a", "test", low, low if high is None else high, gender, ethnicity)


def test_faces_are_drawn_flat_over_decades_and_people() -> None:
    many = [record(age, gender=gender) for age in (25, 45) for gender in ("Male", "Female") for _ in range(50)]
    sample = sample_faces([*many, *[record(65)] * 3, record(17), record(71), record(None)], 23, seed=0)
    assert Counter(face.age for face in sample) == {25: 10, 45: 10, 65: 3}
    assert Counter((face.age, face.gender) for face in sample if face.age == 25) == {(25, "Male"): 5, (25, "Female"): 5}
    assert sample == sample_faces([*many, *[record(65)] * 3], 23, seed=0)
    assert len({face.age for face in sample[:3]}) == 3  # decades take turns
    assert len(sample_faces(many, 1000, seed=0)) == 200
    assert sample_faces([record(60, 69)], 1, seed=0)[0].age == 64.5
    with pytest.raises(DataError, match="18 to 70 years"):
        sample_faces([record(17)], 1, seed=0)


def test_real_faces_of_an_age() -> None:
    exact = [record(age) for age in range(20, 41) for _ in range(5)]
    indices, window = find_faces_of_age(exact, 30)
    assert (len(indices), window) == (35, 3)
    assert {exact[index].age for index in indices} == set(range(27, 34))
    few = [record(age) for age in range(20, 41) for _ in range(3)]
    assert [len(find_faces_of_age(few, 30)[0]), find_faces_of_age(few, 30)[1]] == [33, 5]
    brackets = [record(30, 39)] * 40
    indices, window = find_faces_of_age([record(35), *brackets], 35)
    assert (len(indices), window) == (41, 3)
    assert (
        len(find_faces_of_age([*exact, record(28, 32)], 30)[0]) == 35
    )  # brackets count only where exact ages are lacking
    assert len(find_faces_of_age([*exact, record(28, 32)], 30, prefer_exact=False)[0]) == 36
    assert [len(find_faces_of_age(brackets, 70)[0]), find_faces_of_age(brackets, 70)[1]] == [0, 6]
    assert [len(find_faces_of_age([record(35)], 40)[0]), find_faces_of_age([record(35)], 40)[1]] == [1, 6]


def test_the_face_that_holds_the_landmarks_is_meant() -> None:
    landmarks = np.array([[4.0, 4], [6, 4], [5, 5], [4, 6], [6, 6]])
    boxes = np.array([[20.0, 20, 10, 10], [0, 0, 100, 100], [1, 1, 8, 8], [4, 4, 2, 1]])
    assert select_face(boxes, landmarks) == 2  # of two that hold all, the nearer
    assert select_face(boxes[3:], landmarks) == 0  # three of five
    assert select_face(np.array([[4.0, 4, 2, 0.5]]), landmarks) is None
    assert select_face(boxes[:1], landmarks) is None
    assert select_face(np.zeros((0, 4)), landmarks) is None


REAL = RealFaces(np.array([24.0, 26, 25, 25]), np.array([26.0, 30, 27, 21]), 3)  # 2, 4, 2 and -4 years beyond


def test_errors_against_an_age_and_against_real_faces() -> None:
    assert target_metrics(Target("25", 25.0), np.array([20.0, 40]), REAL) == {
        "judged": 30.0,
        "error": 10.0,
        "off": 4.0,
        "judged_real": 26.0,
        "bias": 1.0,
        "error_real": 3.0,
        "real_faces": 4,
        "window": 3,
    }
    assert target_metrics(Target("25", 25.0), np.array([20.0, 40]), None) == {"judged": 30.0, "error": 10.0}
    assert target_metrics(Target("old"), np.array([20.0, 40]), None) == {"judged": 30.0}
    errors = np.array([[1.0, 5], [3, 9]])
    assert error_metrics(errors, [REAL, REAL]) == {"error": 4.5, "error_real": 3.0, "error_ratio": 1.5}
    assert error_metrics(errors, [REAL, None]) == {"error": 4.5, "error_real": None, "error_ratio": None}


def test_identity() -> None:
    similarity = np.array([[0.2, 0.4], [0.6, 0.8]])
    assert identity_metrics(similarity, 0.4) == {"similarity": 0.5, "accepted": 0.75}
    assert identity_metrics(similarity, None) == {"similarity": 0.5, "accepted": None}


def test_groups_beside_the_best_of_them() -> None:
    records = [record(25)] * 20 + [record(35, gender="Female")] * 20 + [record(45, gender="Female", ethnicity="")] * 2
    errors = np.array([4.0] * 20 + [6.0] * 20 + [1.0] * 2)
    similarity = np.array([0.5] * 20 + [0.4] * 20 + [0.9] * 2)
    groups = group_metrics(records, errors, similarity)
    assert list(groups) == ["decade", "gender", "ethnicity"]
    assert groups["decade"]["20-29"] == {
        "faces": 20,
        "few": False,
        "error": 4.0,
        "error_ratio": 1.0,
        "similarity": 0.5,
        "similarity_ratio": 1.0,
    }
    assert (groups["decade"]["30-39"]["error_ratio"], groups["decade"]["30-39"]["similarity_ratio"]) == (1.5, 0.8)
    assert groups["decade"]["40-49"]["few"]
    assert groups["decade"]["40-49"]["error_ratio"] == 0.25  # better than the best of those with enough faces
    assert groups["gender"]["Female"]["error"] == round((6 * 20 + 2) / 22, 2)
    assert groups["ethnicity"]["unknown"]["faces"] == 2
    few = group_metrics(records[40:], None, similarity[40:])["gender"]["Female"]
    assert (few["error"], few["error_ratio"], few["similarity_ratio"]) == (None, None, 1.0)


def test_change_over_a_box_and_over_the_picture() -> None:
    before = np.full((10, 20, 3), 100, dtype=np.uint8)
    after = before.copy()
    after[2:6, 3:8] -= 6
    after[0, 0, 0] = 160
    assert mean_change(before, after, np.array([3.0, 2, 5, 4])) == (6.0, pytest.approx((20 * 6 * 3 + 60) / 600))
    assert mean_change(before, after, np.array([-5.0, -5, 100, 100])) == (pytest.approx(0.7), pytest.approx(0.7))


def measurements(targets: int, method_unchanged: bool = True) -> Measurements:
    faces = 3
    return Measurements(
        records=[record(30)] * faces,
        skipped=["NO_FACE", "ANOTHER_FACE", "NO_FACE"],
        before=[29.0, 30, 31],
        after=[np.linspace(20, 60, targets)] * faces,
        similarity=[np.full(targets, 0.5)] * faces,
        unchanged=[(2.0, 1.0), (4.0, 3.0), (6.0, 5.0)] if method_unchanged else [],
        power=np.ones((16, 16)),
        delta_count=1,
    )


def test_all_metrics_of_ages() -> None:
    real = dict.fromkeys((25.0, 70.0), REAL)
    metrics = ageing_metrics(measurements(3), age_targets([10, 25, 70]), real, KnownPeople(2, 4, 0.4, 0.6))
    assert metrics["faces"] == {"asked": 6, "measured": 3, "left_out": {"NO_FACE": 2, "ANOTHER_FACE": 1}}
    assert metrics["judged_before"] == 30
    assert [values["judged"] for values in metrics["targets"].values()] == [20, 40, 60]
    assert [values["error"] for values in metrics["targets"].values()] == [10, 15, 10]
    assert "off" not in metrics["targets"]["10"]
    # A child's age is no part of the mean error.
    assert (metrics["error"], metrics["error_real"], metrics["error_ratio"]) == (
        12.5,
        3.0,
        pytest.approx(12.5 / 3, abs=1e-3),
    )
    assert metrics["identity"] == {"similarity": 0.5, "accepted": 1.0}
    assert metrics["similarity"] == 0.5
    assert metrics["unchanged"] == {"faces": 3, "face": 4.0, "picture": 3.0}
    assert metrics["groups"]["decade"]["30-39"]["error"] == 12.5
    assert metrics["grid"] == {"every_2": 1.0, "every_4": 1.0}


def test_all_metrics_of_filters() -> None:
    metrics = ageing_metrics(measurements(2, False), (Target("young"), Target("old")), {}, None)
    assert metrics["targets"]["old"] == {"judged": 60.0, "similarity": 0.5, "accepted": None}
    assert not {"error", "similarity", "unchanged"} & set(metrics)
    assert metrics["groups"]["gender"]["Male"]["error"] is None


def test_a_chart_of_error_against_similarity(tmp_path: Path) -> None:
    strong, weak = ({"similarity": s, "error": e, "error_real": 5.0} for s, e in ((0.5, 6.0), (0.8, 9.0)))
    metrics = {
        "ages": {"ageing": {"strengths": {"1": strong, "0.5": weak}}},
        "filters": {"ageing": {"strengths": {"1": {"identity": {"similarity": 0.9}}}}},
    }
    assert chart_points(metrics) == {"ages": [(0.8, 9.0, "0.5"), (0.5, 6.0, "1")]}
    draw_chart(tmp_path / "chart.png", metrics)
    assert cv2.imread(str(tmp_path / "chart.png")) is not None
    with pytest.raises(DataError, match="no method was measured at ages"):
        draw_chart(tmp_path / "chart.png", {"filters": metrics["filters"]})
    with pytest.raises(DataError, match="cannot be drawn"):
        draw_chart(tmp_path / "chart.text", metrics)


def test_people_of_each_ethnicity_and_gender_against_real_faces_of_the_same() -> None:
    asian = [record(30, gender="Female", ethnicity=name) for name in ("Asian", "East Asian", "Southeast Asian")] * 8
    records = [*asian, *[record(30, ethnicity="White")] * 20, record(30, ethnicity=""), record(30, gender="")]
    measured = Measurements(
        records=records,
        after=[np.array([30.0, 75.0])] * 24 + [np.array([20.0, 60.0])] * 22,
        similarity=[np.array([0.6, 0.4])] * 24 + [np.array([0.9, 0.7])] * 22,
    )
    table = people_metrics(measured, [Target("25", 25.0), Target("70", 70.0)], {"Asian Female": {25.0: REAL}})
    assert list(table) == ["Asian Female", "White Male"]
    women = table["Asian Female"]
    assert (women["faces"], women["few"]) == (24, False)
    assert women["targets"]["25"]["off"] == 4.0  # judged 30, where real faces of 25 are judged 1 year too old
    assert "off" not in women["targets"]["70"]
    assert (women["similarity"], women["similarity_ratio"]) == (0.5, 0.625)
    assert table["White Male"]["similarity_ratio"] == 1.0
    assert {people_label(face) for face in records[-2:]} == {None}
