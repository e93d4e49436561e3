"""The networks that read faces as graphs: what they take and give at every size, and FaceNet's thresholds as measured."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from torch import Tensor, nn

from dorian_bundle import Bundle
from dorian_bundle.face_readers import facenet_signature
from dorian_bundle.graphs import Precision
from dorian_export import face_readers, verified_export
from dorian_export.errors import ExportError, ParityError
from dorian_export.face_readers import (
    AgeEstimatorGraph,
    FaceNetGraph,
    LandmarkRefinerGraph,
    averaged_facenet,
    export_age_estimator,
    export_facenet,
    export_landmark_refiner,
)
from dorian_export.faces import Faces
from dorian_export.onnx_writer import in_precision
from dorian_export.verified_export import TOLERANCE, require_faces, require_family, require_parity
from dorian_export.weight_storage import round_to_bytes
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights
from dorian_training.cli.train import main as train
from dorian_training.errors import CheckpointError
from dorian_training.networks.age_estimator import age_spread, expected_age
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

Pixels = NDArray[np.uint8]
Export = Callable[..., Any]
EXPORTS: dict[str, Export] = {
    "age_estimator": export_age_estimator,
    "facenet": export_facenet,
    "landmark_refiner": export_landmark_refiner,
}


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "age_estimator": AgeEstimatorGraph,
    "facenet": FaceNetGraph,
    "landmark_refiner": LandmarkRefinerGraph,
}


# Sides of their images here; the published age estimator and FaceNet take larger ones.
SIDES = {"age_estimator": 64, "facenet": 64, "landmark_refiner": 96}


def export(name: str, checkpoint: Path, crops: Pixels, folder: Path) -> Any:
    """Export a reader in its only precision."""
    precisions = [] if name == "age_estimator" else [["fp16"]]
    return EXPORTS[name](checkpoint, crops, folder, *precisions)


@pytest.fixture
def crops(name: str, seen: Faces) -> Pixels:
    return seen.resized(SIDES[name])[:8]


@pytest.fixture(params=list(EXPORTS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(bundle: Bundle) -> Callable[..., list[np.ndarray]]:
    """Runs a graph of the bundle on images, RGB in [0, 1]."""

    def run(name: str, images: Tensor, precision: Precision = "fp16") -> list[np.ndarray]:
        session = ort.InferenceSession(str(bundle.graph_path(name, precision)), providers=["CPUExecutionProvider"])
        actual: list[np.ndarray] = session.run(None, {"image": images.numpy()})
        return actual

    return run


def noise(batch: int = 5, size: tuple[int, int] = (64, 64), seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


# --- networks as graphs ---


@torch.no_grad()
def test_an_age_estimator_gives_years(readers: dict[str, nn.Module]) -> None:
    network, images = readers["age_estimator"], noise()
    age, spread = AgeEstimatorGraph(network)(images)
    logits = network(images * 2 - 1)
    assert torch.allclose(age, expected_age(logits), atol=1e-4)
    assert torch.allclose(spread, age_spread(logits), atol=1e-4)
    assert age.shape == spread.shape == (5,)
    assert float((age - expected_age(network(images))).abs().max()) > 1  # pixels run from 0 to 1


@torch.no_grad()
def test_a_facenet_sees_one_view(readers: dict[str, nn.Module]) -> None:
    network, images = readers["facenet"], noise()
    actual = FaceNetGraph(network)(images)
    assert torch.equal(actual, network(images * 2 - 1))
    assert torch.allclose(actual.norm(dim=1), torch.ones(5), atol=1e-6)
    assert float((actual - network(images)).abs().max()) > 0.01  # pixels run from 0 to 1


@torch.no_grad()
def test_a_landmark_refiner_gives_fractions_of_its_view(readers: dict[str, nn.Module]) -> None:
    network, images = readers["landmark_refiner"], noise(size=(96, 96))
    landmarks, visibility = LandmarkRefinerGraph(network)(images)
    points, logits = network(images * 2 - 1)
    assert torch.equal(landmarks, points)
    assert torch.equal(visibility, logits.sigmoid())
    assert (landmarks.shape, visibility.shape) == ((5, 73, 2), (5,))
    assert float((landmarks - network(images)[0]).abs().max()) > 1e-3  # pixels run from 0 to 1


@torch.no_grad()
def test_what_leaves_a_graph_is_single_precision(readers: dict[str, nn.Module]) -> None:
    for name, wrap in WRAPPED.items():
        graph = in_precision(wrap(readers[name]), "fp16")
        answer = graph(noise(size=(SIDES[name], SIDES[name])))
        outputs = [answer] if isinstance(answer, Tensor) else answer
        assert {output.dtype for output in outputs} == {torch.float32}
        assert {parameter.dtype for parameter in readers[name].parameters()} == {torch.float32}


# --- graphs on disk ---


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3, 5])
def test_crops_are_read_in_any_number(
    run: Callable[..., list[np.ndarray]], readers: dict[str, nn.Module], batch: int
) -> None:
    images, views = noise(batch), noise(batch, (96, 96))
    (ages, spreads), (embeddings,) = run("age_estimator", images, "fp32"), run("facenet", images)
    places, visibility = run("landmark_refiner", views)
    assert (ages.shape, spreads.shape, embeddings.shape) == ((batch,), (batch,), (batch, 12))
    assert (places.shape, visibility.shape) == ((batch, 73, 2), (batch,))
    landmarks, shares = LandmarkRefinerGraph(readers["landmark_refiner"])(views)
    assert np.abs(places - landmarks.numpy()).max() <= TOLERANCE["fp16"]
    assert np.abs(visibility - shares.numpy()).max() <= TOLERANCE["fp16"]
    rounded = copy.deepcopy(readers["age_estimator"])
    round_to_bytes(rounded)
    for read, wanted in zip((ages, spreads), AgeEstimatorGraph(rounded)(images), strict=True):
        assert np.abs(read - wanted.numpy()).max() <= TOLERANCE["fp32"] * float(wanted.max())
    assert np.abs(embeddings - FaceNetGraph(readers["facenet"])(images).numpy()).max() <= TOLERANCE["fp16"]
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(batch), abs=1e-3)


@pytest.fixture
def written(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes the bundle's files where a graph would be written; their names."""
    names: list[str] = []

    def copy_file(graph: nn.Module, signature: Any, path: Path) -> None:
        names.append(path.name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((bundle.folder / "graphs" / path.name).read_bytes())

    monkeypatch.setattr(verified_export, "write_onnx", copy_file)
    monkeypatch.setattr(face_readers, "store_weights", lambda path: None)  # they are stored already
    return names


def test_graphs_are_proven_on_random_and_on_real_pictures(
    name: str,
    reader_runs: dict[str, Path],
    crops: Pixels,
    bundle: Bundle,
    tmp_path: Path,
    written: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Sequence[Mapping[str, np.ndarray]]] = []

    def note(graph: nn.Module, path: Path, signature: Any, precision: str, inputs: Any) -> float:
        seen.append(inputs)
        return 0.125

    monkeypatch.setattr(verified_export, "require_parity", note)
    files = bundle.manifest.graphs[name].files
    graphs, differences = export(name, reader_runs[name], crops, tmp_path)
    assert graphs == {name: bundle.manifest.graphs[name]}
    assert differences == {file.path: 0.125 for file in files}
    assert len(seen) == len(files)
    random, real = seen[0]
    assert random["image"].shape == real["image"].shape == (8, 3, crops.shape[1], crops.shape[1])
    assert 0 <= random["image"].min() < 0.01 < 0.99 < random["image"].max() <= 1
    assert np.array_equal(real["image"], crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    assert written == [Path(file.path).name for file in files]


def test_it_is_the_average_that_is_exported(
    name: str, reader_runs: dict[str, Path], crops: Pixels, tmp_path: Path, written: list[Any]
) -> None:
    export(name, reader_runs[name], crops, tmp_path)
    weights, about = load_weights(reader_runs[name])
    save_weights(tmp_path / WEIGHTS_FILE, {f"{name}_ema": weights[name]}, about)
    with pytest.raises(ParityError, match=rf"^{name}\.fp(16|32)\.onnx differs from its network by"):
        export(name, tmp_path, crops, tmp_path)


def test_checkpoints_that_do_not_fit(name: str, reader_runs: dict[str, Path], crops: Pixels, tmp_path: Path) -> None:
    other = list(EXPORTS)[list(EXPORTS).index(name) - 1]
    with pytest.raises(ExportError, match=f"of the family '{other}', not {name}"):
        export(name, reader_runs[other], crops, tmp_path)
    with pytest.raises(ExportError, match="8 real faces are needed to prove the graphs on, got 7"):
        export(name, reader_runs[name], crops[:7], tmp_path)
    with pytest.raises(CheckpointError, match="not a checkpoint that can be read"):
        export(name, tmp_path, crops, tmp_path)
    weights, about = load_weights(reader_runs[name])
    save_weights(tmp_path / WEIGHTS_FILE, {name: weights[name]}, about)
    with pytest.raises(CheckpointError, match=f"no '{name}_ema'"):
        export(name, tmp_path, crops, tmp_path)
    assert not (tmp_path / "graphs").exists()


def test_families_and_faces_that_are_needed() -> None:
    require_family({"family": "facenet"}, "facenet")
    with pytest.raises(ExportError, match="of the family None, not facenet"):
        require_family({}, "facenet")
    require_faces(np.zeros((8, 4, 4, 3), np.uint8))
    with pytest.raises(ExportError, match="got 0"):
        require_faces(np.zeros((0, 4, 4, 3), np.uint8))


# --- a FaceNet of another layout ---


def test_its_graph_takes_and_gives_what_the_layout_says(
    published: Path, seen: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[Any]()

    def note(graph: nn.Module, path: Path, signature: Any, precision: str, inputs: Any) -> float:
        given.extend((graph, inputs))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x08\x08")
        return 0.125

    monkeypatch.setattr(verified_export, "write_onnx", lambda *_: None)
    monkeypatch.setattr(verified_export, "require_parity", note)
    graphs, _ = export_facenet(published, seen.resized(160), tmp_path, ["fp16"])
    assert graphs["facenet"].signature == facenet_signature(160, 16)
    graph, inputs = given
    assert [item["image"].shape for item in inputs] == [(8, 3, 160, 160)] * 2
    one = torch.from_numpy(inputs[1]["image"][:1])
    with torch.no_grad():
        assert torch.equal(graph(one), FaceNetGraph(averaged_facenet(published))(one))


@pytest.mark.slow
def test_published_weights_become_a_graph_that_agrees_with_torch(
    randomised: Callable[..., nn.Module], seen: Faces, tmp_path: Path
) -> None:
    """The whole way: a file as it is published, the checkpoint that the command makes of it, the graph, ONNX Runtime."""
    network = randomised(InceptionResNetV1(InceptionResNetShape()), 62)
    torch.save({**network.state_dict(), "logits.weight": torch.zeros(8631, 512)}, tmp_path / "published.pt")
    message = ["--weights", tmp_path / "published.pt", "--licence", "MIT", "--out", tmp_path / "facenet"]
    result = CliRunner().invoke(train, ["facenet-published", *map(str, message)])
    assert result.exit_code == 0, result.output
    graphs, differences = export_facenet(tmp_path / "facenet", seen.resized(160), tmp_path, ["fp16"])
    assert graphs["facenet"].signature == facenet_signature(160, 512)
    assert 0 < differences["graphs/facenet.fp16.onnx"] <= TOLERANCE["fp16"]
    session = ort.InferenceSession(str(tmp_path / "graphs" / "facenet.fp16.onnx"), providers=["CPUExecutionProvider"])
    images = noise(2, (160, 160))
    with torch.no_grad():
        expected = FaceNetGraph(network)(images).numpy()
    assert session.run(None, {"image": images.numpy()})[0] == pytest.approx(expected, abs=TOLERANCE["fp16"])


# --- parity of large outputs ---


@torch.no_grad()
def test_large_values_are_compared_in_proportion(bundle: Bundle, readers: dict[str, nn.Module]) -> None:
    """Half a year in forty is little, in an embedding it would be all."""

    class Later(nn.Module):
        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            age, spread = AgeEstimatorGraph(rounded)(image)
            return age * (1 + self.share), spread

    signature, path = bundle.manifest.graphs["age_estimator"].signature, bundle.graph_path("age_estimator")
    inputs = [{"image": noise(8).numpy()}]
    rounded = copy.deepcopy(readers["age_estimator"])
    round_to_bytes(rounded)
    assert float(Later(0)(noise(8))[0].max()) > 10
    assert require_parity(Later(0.006), path, signature, "fp16", inputs) == pytest.approx(0.006, abs=2e-3)
    with pytest.raises(ParityError, match=r"by 0\.0[12]"):
        require_parity(Later(0.02), path, signature, "fp16", inputs)
