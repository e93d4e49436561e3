"""The embedded bundle, and the checkpoints beside it that it was made from."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dorian_bundle import Bundle
from dorian_bundle.alignment import crop_matrix, warp_crop
from dorian_bundle.face_detection import find_faces
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.families.cyclegan import CycleGanMethod
from dorian_bundle.graphs import RunGraph
from dorian_bundle.landmark_refinement import refine_landmarks
from dorian_bundle.masks import face_mask
from dorian_bundle.mesh import mean_mesh
from dorian_export.check import check_bundle
from dorian_export.exporters import EXPORTERS
from dorian_export.exporters.age_translator import AgeTranslatorGraph
from dorian_export.exporters.cyclegan import FilterGraph
from dorian_export.face_readers import AgeEstimatorGraph, FaceNetGraph, LandmarkRefinerGraph
from dorian_export.verified_export import TOLERANCE, require_parity
from dorian_export.weight_storage import round_to_bytes
from dorian_export.yunet import FILE, describe_yunet, export_yunet
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.losses.latent import LatentObjective, embedding_of, loss_and_gradient
from dorian_training.networks.age_cgan import (
    PRESETS,
    AgeCganShape,
    build_discriminator,
    build_encoder,
    build_generator,
)
from dorian_training.networks.age_estimator import DlibAgeEstimator, DlibAgeEstimatorShape
from dorian_training.networks.age_translator import AgeTranslator, AgeTranslatorShape
from dorian_training.networks.cyclegan import CycleGanShape, build_translator
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.facenet import facenet_of
from dorian_training.networks.landmark_refiner import LandmarkRefiner, LandmarkRefinerShape
from dorian_training.networks.layers import at_side

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "models" / "checkpoints"
CHECKPOINT = CHECKPOINTS / "age_cgan"
BUNDLE = ROOT / "models" / "default"
READERS: dict[str, tuple[Any, Any, Callable[[nn.Module], nn.Module]]] = {
    "landmark_refiner": (LandmarkRefiner, LandmarkRefinerShape, LandmarkRefinerGraph),
    "age_estimator": (DlibAgeEstimator, DlibAgeEstimatorShape, AgeEstimatorGraph),
    "facenet": (DlibResNet, DlibResNetShape, FaceNetGraph),
}
SIDES = {"landmark_refiner": 96, "age_estimator": 150, "facenet": 150}  # of their images
# Right eye, left eye, nose, right and left corner of the mouth in examples/astronaut.jpg.
ASTRONAUT = ((200.2, 101.7), (246.8, 102.4), (220.1, 124.2), (198.9, 142.4), (239.6, 143.4))

pytestmark = pytest.mark.skipif(not CHECKPOINT.is_dir(), reason="models/checkpoints/age_cgan is not here")


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@pytest.fixture(scope="module")
def embedded() -> Bundle:
    return check_bundle(BUNDLE)


@pytest.fixture(scope="module")
def loaded() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    return load_weights(CHECKPOINT)


@pytest.fixture(scope="module")
def trained(loaded: tuple[dict[str, dict[str, Tensor]], dict[str, Any]]) -> tuple[nn.Module, nn.Module]:
    """The averaged encoder and generator of the checkpoint."""
    weights, about = loaded
    shape = AgeCganShape.from_dict(about["shape"])
    encoder, generator = build_encoder(shape), build_generator(shape)
    load_network(encoder, weights, "encoder_ema")
    load_network(generator, weights, "generator_ema")
    return encoder.eval().requires_grad_(False), generator.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    """The astronaut's, RGB."""
    read = cv2.imread(str(ROOT / "examples" / "astronaut.jpg"))
    assert read is not None
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def method_of(bundle: Bundle, name: str) -> Any:
    """The method called so; skips the test where the bundle has none yet."""
    result = [method for method in bundle.manifest.methods if method.name == name]
    if not result:
        pytest.skip(f"models/default has no {name}")
    return result[0]


def weights_of(name: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """A checkpoint; skips the test where it is not there."""
    if not (CHECKPOINTS / name).is_dir():
        pytest.skip(f"models/checkpoints/{name} is not here")
    return load_weights(CHECKPOINTS / name)


@pytest.fixture(scope="module")
def pictures(embedded: Bundle, photo: NDArray[np.uint8]) -> Callable[[int], Tensor]:
    """The astronaut's face, and four pictures of noise, of any size: RGB in [0, 1]."""

    def pictures(size: int) -> Tensor:
        crop = warp_crop(photo, crop_matrix(ASTRONAUT, embedded.manifest.alignment, size), size)
        noise = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
        return torch.cat([torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255, noise])

    return pictures


@pytest.fixture(scope="module")
def images(pictures: Callable[[int], Tensor]) -> Tensor:
    return pictures(64)


def test_the_graphs_are_the_checkpoints_networks(
    embedded: Bundle, trained: tuple[nn.Module, nn.Module], images: Tensor
) -> None:
    method: AgeCganMethod = method_of(embedded, "age_cgan")

    def run(role: str, **feed: Tensor) -> np.ndarray:
        path = str(embedded.graph_path(method.graphs[role]))
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        output: np.ndarray = session.run(None, {name: tensor.numpy() for name, tensor in feed.items()})[0]
        return output

    encoder, generator = trained
    latent = encoder(2 * images - 1)
    assert np.abs(run("encoder", image=images) - latent.numpy()).max() <= TOLERANCE["fp16"]
    random = torch.randn(3, latent.shape[1], generator=torch.Generator().manual_seed(1))
    latents = torch.cat([latent[:1].expand(6, -1), random])
    conditions = torch.cat([torch.eye(6), torch.full((3, 6), 1 / 6)])
    drawn = (generator(latents, conditions) + 1) / 2
    assert np.abs(run("generator", latent=latents, condition=conditions) - drawn.numpy()).max() <= TOLERANCE["fp16"]
    assert float((drawn[0] - drawn[5]).abs().max()) > 0.1  # the youngest and the oldest of one person


def test_age_cgan_can_be_searched(
    embedded: Bundle, trained: tuple[nn.Module, nn.Module], images: Tensor, read: Callable[[str], RunGraph]
) -> None:
    """Its third graph is what autograd says of the checkpoints' networks, for embeddings that the bundle's FaceNet gives.

    Autograd in double precision: in single, rounding turns over rectifiers, and with them slopes.
    """
    method: AgeCganMethod = method_of(embedded, "age_cgan")
    assert method.graphs.keys() == {"encoder", "generator", "latent_gradient"}
    facenet = facenet_of(*weights_of("facenet")).requires_grad_(False)
    assert method.embedding_size == facenet.embedding == embedded.manifest.readers.facenet.embedding_size
    encoder, generator = trained
    image = 2 * images - 1
    embedding = embedding_of(facenet, image)
    recorded = read("facenet")({"image": at_side(images, facenet.size).numpy()})["embedding"]
    assert np.abs(recorded - embedding.numpy()).max() <= TOLERANCE["fp16"]
    weights = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [30, 0, 0.1], [15, 1, 0.1]])
    given = (encoder(image), torch.eye(6)[:5], images, embedding.roll(1, dims=0), weights)
    objective = copy.deepcopy(LatentObjective(generator, facenet)).double()
    round_to_bytes(objective.facenet)
    wanted = loss_and_gradient(objective, *(item.double() for item in (*given[:2], image, *given[3:])))
    path = embedded.graph_path(method.graphs["latent_gradient"])
    names = [spec.name for spec in embedded.manifest.graphs[method.graphs["latent_gradient"]].signature.inputs]
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for rows in (slice(5), slice(1, 2), slice(3, 5)):
        feed = {name: np.ascontiguousarray(values[rows].numpy()) for name, values in zip(names, given, strict=True)}
        for result, values in zip(session.run(["loss", "gradient", "terms"], feed), wanted, strict=True):
            expected = values[rows].numpy()
            assert result.shape == expected.shape
            assert np.abs(result - expected).max() <= 1e-3 * np.abs(expected).max()


def test_training_can_be_carried_on(loaded: tuple[dict[str, dict[str, Tensor]], dict[str, Any]]) -> None:
    weights, about = loaded
    shape = AgeCganShape.from_dict(about["shape"])
    assert shape == PRESETS[about["preset"]]
    builders = {"encoder": build_encoder, "generator": build_generator, "discriminator": build_discriminator}
    for name in ("encoder", "encoder_ema", "generator", "generator_ema", "discriminator"):
        load_network(builders[name.removesuffix("_ema")](shape), weights, name)
        assert all(bool(tensor.isfinite().all()) for tensor in weights[name].values())


def test_the_bundle_says_where_its_age_cgan_comes_from(
    embedded: Bundle, loaded: tuple[dict[str, dict[str, Tensor]], dict[str, Any]]
) -> None:
    _, about = loaded
    origin = method_of(embedded, "age_cgan").provenance
    assert origin.steps[about["stage"]] == about["steps"]
    assert origin.seed == about["seed"]
    assert {entry.name for entry in origin.data} == {"UTKFace", "FairFace"}
    assert sorted(entry.faces for entry in origin.data) == sorted(about["data"].values())
    card = (BUNDLE / "README.md").read_text(encoding="utf-8")
    assert all(f"{count:,}" in card for count in about["group_counts"])


def test_its_cards_pictures_are_beside_it(embedded: Bundle) -> None:
    shown = set(re.findall(r"!\[[^]]*\]\(([^)]*)\)", (BUNDLE / "README.md").read_text(encoding="utf-8")))
    assert shown == {path.name for path in BUNDLE.iterdir() if path.suffix in (".jpg", ".png")}
    curves = [name for name in shown if name.startswith("curves")]
    assert len(curves) == len(embedded.manifest.methods)
    assert "samples.jpg" in shown


def test_judged_ages_rise_from_group_to_group(embedded: Bundle) -> None:
    method: AgeCganMethod = method_of(embedded, "age_cgan")
    generated = method.provenance.metrics["judged_age"]["generated"]
    ages = [generated[group.label] for group in method.age_groups]
    assert ages == sorted(ages)
    assert ages[-1] - ages[0] >= 25


def test_the_translator_comes_first_where_there_is_one(embedded: Bundle) -> None:
    names = [method.name for method in embedded.manifest.methods]
    assert names == [name for name in EXPORTERS if name in names]
    assert names[0] == "age_translator"
    assert "age_cgan" in names


def parity_of(embedded: Bundle, graph: str, network: nn.Module, feed: Mapping[str, Tensor]) -> None:
    """Every file of ``graph`` gives what ``network`` gives for 8 rows of ``feed``."""
    rows = {name: values.repeat(2, *[1] * (values.ndim - 1))[:8].numpy() for name, values in feed.items()}
    described = embedded.manifest.graphs[graph]
    for file in described.files:
        require_parity(network, BUNDLE / file.path, described.signature, file.precision, [rows])


def comes_from(embedded: Bundle, name: str, about: dict[str, Any]) -> None:
    """The bundle says of the method what its checkpoint does."""
    origin = method_of(embedded, name).provenance
    assert sum(origin.steps.values()) == about["steps"] + sum(stage["steps"] for stage in about["earlier"])
    assert origin.seed == about["seed"]
    assert {source.faces for source in origin.data} == set(about["data"].values())
    entry = method_of(embedded, name)
    hair = entry.hair if isinstance(entry, AgeTranslatorMethod) else None
    names = set(entry.graph_names()) - set(hair.graph_names() if hair else ())
    for part, graphs in [(origin, names)] + ([(hair.provenance, set(hair.graph_names()))] if hair else []):
        files = [file for key in graphs for file in embedded.manifest.graphs[key].files]
        differences = part.metrics["onnx_difference"]
        assert differences.keys() == {file.path for file in files}
        assert all(differences[file.path] <= TOLERANCE[file.precision] for file in files)


@pytest.mark.parametrize("name", ["age_translator", "age_translator_research"])
def test_a_translator_is_its_checkpoints_average(
    embedded: Bundle, pictures: Callable[[int], Tensor], name: str
) -> None:
    method: AgeTranslatorMethod = method_of(embedded, name)
    weights, about = weights_of(name)
    network = AgeTranslator(AgeTranslatorShape.from_dict(about["shape"]).translator).eval().requires_grad_(False)
    load_network(network, weights, "translator_ema")
    graph, image = AgeTranslatorGraph(network), pictures(method.crop_size)
    source, target = torch.full((5,), 40.0), torch.tensor([75.0, 10.0, 40.0, 41.0, 90.0])
    parity_of(embedded, method.graph, graph, {"image": image, "source_age": source, "target_age": target})
    older, younger, same = (graph(image[:1], source[:1], torch.tensor([age])) for age in (75.0, 10.0, 40.0))
    assert not same.any()
    assert min(float(older.std()), float(younger.std()), float((older - younger).std())) > 0.01
    (half,) = (file for file in embedded.manifest.graphs[method.graph].files if file.precision == "fp16")
    assert half.bytes <= 6e6
    comes_from(embedded, name, about)


def test_the_translators_calibration_asks_for_more_with_every_age(embedded: Bundle) -> None:
    method: AgeTranslatorMethod = method_of(embedded, "age_translator")
    points = method.calibration.points
    assert len(points) >= 5
    drawn_at = [point.asked + point.offset for point in points]
    assert drawn_at == sorted(drawn_at)
    assert all(method.min_years <= age <= method.max_years for age in drawn_at)


def test_the_filters_are_their_checkpoints_averages(embedded: Bundle, pictures: Callable[[int], Tensor]) -> None:
    method: CycleGanMethod = method_of(embedded, "cyclegan")
    weights, about = weights_of("cyclegan")
    assert {item.name for item in method.filters} == {"old", "young"}
    image = pictures(method.crop_size)
    for item in method.filters:
        network = build_translator(CycleGanShape.from_dict(about["shape"])).eval().requires_grad_(False)
        load_network(network, weights, f"to_{item.name}_ema")
        landmarks = embedded.manifest.alignment.points(method.crop_size)
        network.register_buffer("mask", torch.from_numpy(face_mask(mean_mesh(landmarks), method.crop_size)))
        parity_of(embedded, item.graph, FilterGraph(network), {"image": image})
        change = (FilterGraph(network)(image[:1]) - image[:1]).abs()
        assert 0.005 < float(change.mean()) < 0.25  # a change, and still the face
    comes_from(embedded, "cyclegan", about)


@pytest.fixture(scope="module")
def read(embedded: Bundle) -> Callable[[str], RunGraph]:
    """The graph of one of the networks that read faces: inputs to outputs by name."""

    def read(name: str) -> RunGraph:
        graph = getattr(embedded.manifest.readers, name).graph
        session = ort.InferenceSession(str(embedded.graph_path(graph)), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda feed: dict(zip(names, session.run(names, dict(feed)), strict=True))

    return read


@pytest.mark.parametrize("name", READERS)
def test_graphs_that_read_faces_are_their_checkpoints_networks(
    embedded: Bundle, name: str, pictures: Callable[[int], Tensor]
) -> None:
    if not (CHECKPOINTS / name).is_dir():
        pytest.skip(f"models/checkpoints/{name} is not here")
    build, shape, wrap = READERS[name]
    weights, about = load_weights(CHECKPOINTS / name)
    network = build(shape.from_dict(about["shape"])).eval()
    load_network(network, weights, f"{name}_ema")
    if name == "age_estimator":
        round_to_bytes(network)
    entry = getattr(embedded.manifest.readers, name)
    faces = pictures(SIDES[name]).repeat(2, 1, 1, 1)[:8].numpy()
    for file in embedded.manifest.graphs[entry.graph].files:
        inputs = [{"image": faces}]
        assert require_parity(wrap(network), BUNDLE / file.path, entry.signature(), file.precision, inputs) >= 0
    behind = sum(stage["steps"] for stage in about["earlier"])
    assert sum(entry.provenance.steps.values()) == about["steps"] + behind
    assert {source.faces for source in entry.provenance.data} == set(about["data"].values())


def test_the_detector_is_the_published_one(embedded: Bundle, images: Tensor, tmp_path: Path) -> None:
    faces = (255 * images.repeat(2, 1, 1, 1)[:8].permute(0, 2, 3, 1)).round().byte().numpy()
    graphs, _ = export_yunet(CHECKPOINTS / "detector" / FILE, faces, tmp_path)
    assert graphs["detector"] == embedded.manifest.graphs["detector"]
    differences = embedded.manifest.readers.detector.provenance.metrics["onnx_difference"]
    assert embedded.manifest.readers.detector.provenance == describe_yunet({"onnx_difference": differences})


@pytest.mark.parametrize("name", ["detector", *READERS])
def test_what_reads_faces_says_where_it_comes_from(embedded: Bundle, name: str) -> None:
    entry = getattr(embedded.manifest.readers, name)
    assert embedded.manifest.graphs[entry.graph].signature == entry.signature()
    assert entry.provenance.steps
    differences = entry.provenance.metrics["onnx_difference"]
    files = {file.path: file.precision for file in embedded.manifest.graphs[entry.graph].files}
    assert differences.keys() == files.keys()
    assert all(differences[path] <= TOLERANCE[precision] for path, precision in files.items())


def test_rarer_false_accepts_need_more_similarity(embedded: Bundle) -> None:
    thresholds = embedded.manifest.readers.facenet.thresholds
    rates, similarities = zip(*((item.false_accept_rate, item.similarity) for item in thresholds), strict=True)
    assert rates == (1e-2, 1e-3, 1e-4)
    assert list(similarities) == sorted(set(similarities))
    assert 0 < similarities[0] < similarities[-1] < 1


def test_the_astronauts_face_is_found(
    embedded: Bundle, photo: NDArray[np.uint8], read: Callable[[str], RunGraph]
) -> None:
    readers = embedded.manifest.readers
    (face,) = find_faces(read("detector"), photo, readers.detector.min_score)
    template = embedded.manifest.alignment.zoomed(readers.landmark_refiner.zoom)
    (refined,) = refine_landmarks(read("landmark_refiner"), photo, [face], template, readers.landmark_refiner.view_size)
    between = ASTRONAUT[1][0] - ASTRONAUT[0][0]
    x, y, width, height = face.box
    assert all(x < across < x + width and y < down < y + height for across, down in ASTRONAUT)
    assert width * height < 16 * between**2
    off = np.linalg.norm(refined.landmarks - np.asarray(ASTRONAUT), axis=1).mean()
    assert off < 0.12 * between


def test_the_astronauts_face_is_read(
    embedded: Bundle, pictures: Callable[[int], Tensor], read: Callable[[str], RunGraph]
) -> None:
    readers = embedded.manifest.readers
    (age,) = read("age_estimator")({"image": pictures(readers.age_estimator.crop_size)[:1].numpy()})["age"]
    assert 20 < age < 60
    images = pictures(readers.facenet.crop_size).numpy()
    face = images[:1]
    darker = 0.8 * face
    turned = np.ascontiguousarray(face[..., ::-1])
    feed = np.concatenate([face, darker, turned, images[1:2]])
    own, dark, mirrored, noise = read("facenet")({"image": feed})["embedding"]
    strictest = embedded.manifest.readers.facenet.thresholds[-1].similarity
    assert float(own @ own) == pytest.approx(1, abs=1e-3)
    assert min(own @ dark, own @ mirrored) > strictest > own @ noise


def test_sizes() -> None:
    assert all(megabytes(folder) <= 25 for folder in CHECKPOINTS.iterdir())
    assert megabytes(BUNDLE) <= 75
