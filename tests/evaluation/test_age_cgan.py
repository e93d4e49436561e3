"""Metrics of Age-cGAN against closed forms: Fréchet distances, judged groups, and the networks that features come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import linalg

from dorian_bundle import load_bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.stored_files import sha256_of
from dorian_evaluation.age_cgan.face_grid import write_face_grid
from dorian_evaluation.age_cgan.feature_distance import frechet_metrics
from dorian_evaluation.age_cgan.generation import (
    confusion_matrix,
    generate_faces,
    generation_metrics,
    random_latents,
    sample_evenly,
)
from dorian_evaluation.graphs import open_graph
from dorian_evaluation.judges import open_age_judge, open_identity_judge, reidentification
from dorian_evaluation.judges.base import crop_for_judge
from dorian_evaluation.judges.feature_networks import ImageInput, open_features
from dorian_training.data.crops import Crops
from dorian_training.errors import DataError
from dorian_training.frechet import Gaussian, fit_gaussian, frechet_distance
from tests.evaluation.grey_server import write_judges
from tests.evaluation.painted_bundle import CROP, GREYS, LATENT, save_pooling, write_bundle

MakeCrops = Callable[..., Crops]
LABELS = [group.label for group in PAPER_GROUPS]
AGES = [5, 20, 30, 40, 50, 60]  # one of each group


def gaussian(mean: Any, deviations: Any) -> Gaussian:
    return Gaussian(np.asarray(mean, dtype=np.float64), np.diag(np.square(deviations).astype(np.float64)))


def test_the_distance_of_gaussians_along_the_axes() -> None:
    one, other = gaussian([0, 1, 5], [1, 2, 3]), gaussian([4, 1, 2], [3, 2, 7])
    # Independent dimensions: the sum over them of (μ₁ - μ₂)² + (σ₁ - σ₂)².
    assert frechet_distance(one, other) == pytest.approx(16 + 0 + 9 + 4 + 0 + 16)
    assert frechet_distance(other, one) == pytest.approx(frechet_distance(one, other))
    assert frechet_distance(gaussian([0], [0]), gaussian([3], [2])) == pytest.approx(9 + 4)


def test_the_distance_of_any_gaussians() -> None:
    """Of covariances that do not commute, by the root of their product itself."""
    random = np.random.default_rng(0)
    one, other = (random.standard_normal((40, 6)) @ random.standard_normal((6, 6)) for _ in range(2))
    a, b = fit_gaussian(one), fit_gaussian(other)
    assert np.allclose(a.covariance, np.cov(one.T))
    root = np.trace(linalg.sqrtm(a.covariance @ b.covariance).real)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected)
    turn = linalg.qr(random.standard_normal((6, 6)))[0]
    assert frechet_distance(fit_gaussian(one @ turn), fit_gaussian(other @ turn)) == pytest.approx(expected)


@pytest.mark.parametrize("faces", [200, 10])  # fewer faces than features leave singular covariances
def test_the_distance_of_the_same_faces_and_of_moved_ones(faces: int) -> None:
    features = np.random.default_rng(0).standard_normal((faces, 30))
    same = fit_gaussian(features)
    assert frechet_distance(same, fit_gaussian(features[::-1])) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(same, fit_gaussian(features + 0.5)) == pytest.approx(30 * 0.25, rel=1e-5)


def test_features_that_have_no_gaussian() -> None:
    with pytest.raises(DataError, match="two faces or more"):
        fit_gaussian(np.ones((1, 4)))
    with pytest.raises(DataError, match="finite"):
        fit_gaussian(np.array([[1.0], [np.nan]]))


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> tuple[AgeCganMethod, Any]:
    """The painted bundle's method and its generator."""
    bundle = load_bundle(write_bundle(tmp_path_factory.mktemp("bundle")))
    (method,) = bundle.manifest.methods
    assert isinstance(method, AgeCganMethod)
    return method, open_graph(bundle, "generator")


def grey(levels: Any) -> NDArray[np.uint8]:
    """Return crops of one grey each."""
    return np.broadcast_to(np.asarray(levels, np.uint8)[:, None, None, None], (len(levels), CROP, CROP, 3)).copy()


def test_judged_groups_of_faces() -> None:
    ages = [np.array([9.0, 18.9, 19.0, -3.0]), np.array([29.9, 30.0]), *[np.array([200.0])] * 4]
    shares = confusion_matrix(ages, PAPER_GROUPS)
    assert shares[0].tolist() == [0.75, 0.25, 0, 0, 0, 0]
    assert shares[1].tolist() == [0, 0.5, 0.5, 0, 0, 0]
    assert shares[2:, 5].tolist() == [1, 1, 1, 1]


def test_real_faces_drawn_evenly(make_crops: MakeCrops) -> None:
    real = make_crops([*AGES, *AGES, 70, None], grey([100] * 14))
    sample = sample_evenly(real, PAPER_GROUPS, 10, seed=0)
    assert [[face.age for face in faces.records] for faces in sample[:5]] == [[age, age] for age in AGES[:5]]
    assert len(sample[5]) == 2  # of three
    assert [len(faces) for faces in sample_evenly(real, PAPER_GROUPS, 1, seed=0)] == [1] * 6
    with pytest.raises(DataError, match=r"age group 30-39, 60\+"):
        sample_evenly(make_crops([5, 20, 40, 50], grey([1] * 4)), PAPER_GROUPS, 10, seed=0)


def test_faces_are_drawn_in_the_groups_asked_for(method: tuple[AgeCganMethod, Any]) -> None:
    latents = np.zeros((70, LATENT), np.float32)  # more than a batch
    latents[:, 0] = np.arange(70) % 3
    groups = np.arange(70) % 6
    faces = generate_faces(method[1], latents, groups, 6)
    assert faces.shape == (70, CROP, CROP, 3)
    expected = np.asarray(GREYS)[groups][:, None] + latents[:, :1] * [1, 0, -1]
    assert (faces == expected[:, None, None].astype(int)).all()
    assert np.array_equal(random_latents(3, LATENT, 1), random_latents(3, LATENT, 1))
    assert not np.array_equal(random_latents(3, LATENT, 1), random_latents(3, LATENT, 2))


def test_metrics_of_generation(method: tuple[AgeCganMethod, Any], judges: Path, make_crops: MakeCrops) -> None:
    # Two real faces of each group, read as they are but those of the last two groups, of whom one each is read as 45.
    read = [5, 20, 30, 40, 50, 60, 5, 20, 30, 40, 45, 45]
    metrics = generation_metrics(
        method[1], method[0], open_age_judge(judges), make_crops([*AGES, *AGES], grey(read)), 125, seed=3
    )
    assert (metrics["faces_per_group"], metrics["real_per_group"], metrics["seed"]) == (20, 2, 3)
    assert metrics["generated"] == pytest.approx(dict(zip(LABELS, GREYS, strict=True)), abs=0.02)
    assert metrics["real"] == dict(zip(LABELS, [5, 20, 30, 40, 47.5, 52.5], strict=True))
    assert (metrics["rising"], metrics["span"]) == (True, pytest.approx(61, abs=0.03))
    assert metrics["judge_error_on_real"] == round((5 + 15) / 12, 2)
    generated, real = 5 / 6, (4 + 0.5 + 0.5) / 6  # the generator's fifth group looks like the fourth
    assert metrics["accuracy"] == {
        "generated": round(generated, 4),
        "real": round(real, 4),
        "difference": 0.0,
        "relative": 0.0,
    }
    assert metrics["confusion"]["generated"]["50-59"] == {label: float(label == "40-49") for label in LABELS}
    assert metrics["confusion"]["real"]["60+"] == {**dict.fromkeys(LABELS, 0.0), "40-49": 0.5, "60+": 0.5}


def test_how_much_lower_the_accuracy_is(method: tuple[AgeCganMethod, Any], judges: Path, make_crops: MakeCrops) -> None:
    def falling(inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        years = inputs["condition"] @ np.float32([9, 24, 24, 9, 9, 9])
        return {"image": np.broadcast_to(years[:, None, None, None] / 255, (len(years), 3, CROP, CROP))}

    metrics = generation_metrics(
        falling, method[0], open_age_judge(judges), make_crops(AGES, grey([5, 20, 30, 40, 50, 9])), 60, seed=0
    )
    assert metrics["accuracy"] == {"generated": 0.3333, "real": 0.8333, "difference": -0.5, "relative": 0.6}
    assert not metrics["rising"]


def test_metrics_of_the_distance(method: tuple[AgeCganMethod, Any], make_crops: MakeCrops) -> None:
    """Faces are their level: the distance is that of two normal distributions of one dimension."""
    levels = np.arange(12)
    real = make_crops([AGES[index % 6] for index in levels], grey(levels * 10))
    recorded: list[NDArray[np.float64]] = []

    def features(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        recorded.append(crops.mean(axis=(1, 2, 3), dtype=np.float64)[:, None])
        return recorded[-1]

    metrics = frechet_metrics(features, method[1], method[0], real, seed=0)
    first, second, generated = recorded
    assert sorted(np.concatenate([first, second]).ravel() / 10) == levels.tolist()  # halves that share no face
    # The generated faces are of the same groups as those of the first half.
    assert np.allclose(generated.ravel(), [GREYS[int(level / 10) % 6] for level in first.ravel()], atol=0.4)

    def apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        return float((one.mean() - other.mean()) ** 2 + (one.std(ddof=1) - other.std(ddof=1)) ** 2)

    assert metrics == {
        "faces": 6,
        "dimensions": 1,
        "distance": pytest.approx(apart(first, generated), abs=1e-3),
        "floor": pytest.approx(apart(first, second), abs=1e-3),
        "seed": 0,
    }
    with pytest.raises(DataError, match="there are 3"):
        frechet_metrics(features, method[1], method[0], real.where(levels < 3), seed=0)


@pytest.mark.parametrize("values", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)])
def test_features_of_a_network_of_pictures(tmp_path: Path, values: tuple[float, float]) -> None:
    path = save_pooling(tmp_path / "network.onnx")
    crops = np.zeros((20, CROP, CROP, 3), np.uint8)  # more than a batch
    crops[:, :, :, 0] = 51
    crops[7, :, :, 2] = 255
    low, high = values
    features = open_features(path, ImageInput(low, high), DEFAULT_TEMPLATE, sha256_of(path).upper())(crops)
    expected = np.full((20, 3), low)
    expected[:, 0] += 0.2 * (high - low)
    expected[7, 2] = high
    assert np.allclose(features, expected, atol=1e-5 * high)
    any_size = save_pooling(tmp_path / "any.onnx", "side")
    assert np.allclose(open_features(any_size, ImageInput(low, high, 32), DEFAULT_TEMPLATE)(crops), features)


def test_features_of_a_recogniser(judges: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, CROP, CROP, 3), dtype=np.uint8)
    features = open_features(judges / reidentification.FILE_NAME, ImageInput(), DEFAULT_TEMPLATE)(crops)
    judge = open_identity_judge(judges)
    views = np.stack([crop_for_judge(judge, crop, DEFAULT_TEMPLATE.points(CROP)) for crop in crops])
    assert np.allclose(features, judge.embeddings(views))
    assert np.allclose(np.linalg.norm(features, axis=1), 1)


def test_networks_that_have_no_features(tmp_path: Path) -> None:
    def refused(path: Path, message: str, sha256: str | None = None) -> None:
        with pytest.raises(DataError, match=message):
            open_features(path, ImageInput(), DEFAULT_TEMPLATE, sha256)

    refused(tmp_path / "none.onnx", "is not there")
    refused(save_pooling(tmp_path / "network.onnx"), r"SHA-256 .*, not ab12", "ab12")
    refused(save_pooling(tmp_path / "any.onnx", "side"), "--features-side")
    for name, message in (("text.onnx", "cannot be opened as a network of images"), ("text.pt", "is no network")):
        (tmp_path / name).write_text("text")
        refused(tmp_path / name, message)


def test_a_picture_has_a_column_for_each_name(tmp_path: Path) -> None:
    rows = [[np.full((size, size, 3), (200, level, 0), np.uint8) for level in (10, 90)] for size in (CROP, 300)]
    write_face_grid(tmp_path / "picture.png", ["original", "60+"], rows)
    sheet = cv2.imread(str(tmp_path / "picture.png"))
    assert sheet is not None
    assert sheet.shape == (20 + 2 * 100, 4 + 2 * 100, 3)
    centres = sheet[[20 + 48, 120 + 48]][:, [4 + 48, 104 + 48], ::-1]
    assert centres.tolist() == [[[200, 10, 0], [200, 90, 0]]] * 2
    assert sheet[:20].min() < 128  # the names
    with pytest.raises(DataError, match="end it in"):
        write_face_grid(tmp_path / "picture.text", ["original", "60+"], rows)
