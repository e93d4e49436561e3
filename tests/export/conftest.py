"""Small networks with random weights, packed and exported once by the command, as its users do."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from dorian_bundle import Bundle, load_bundle
from dorian_export import latent_gradient, verified_export
from dorian_export.cli import main
from dorian_export.faces import Faces
from dorian_export.yunet import FILE
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights
from dorian_training.data.archives import load_archives
from dorian_training.data.crops import cut_crops, with_margin
from dorian_training.networks.age_cgan import (
    AgeCganShape,
    DiscriminatorShape,
    EncoderShape,
    GeneratorShape,
    build_discriminator,
    build_encoder,
    build_generator,
)
from dorian_training.networks.age_discriminator import AgeDiscriminator, AgeDiscriminatorShape
from dorian_training.networks.age_estimator import COMPACT_SIZE, CompactAgeEstimator, CompactAgeEstimatorShape
from dorian_training.networks.age_translator import AgeTranslator, AgeTranslatorShape, TranslatorShape
from dorian_training.networks.cyclegan import CycleGanShape, build_translator
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1
from dorian_training.networks.landmark_refiner import LandmarkRefiner, LandmarkRefinerShape

Weights = dict[str, dict[str, Tensor]]
YUNET = Path(__file__).parents[2] / "models" / "checkpoints" / "detector" / FILE
LABELS = ("0-18", "19-29", "30-39", "40-49", "50-59", "60+")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _collect_seldom() -> Iterator[None]:
    """Look for garbage less often: among the many objects of an exporter's graphs it takes an eighth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(20_000, 20, 20)
    yield
    gc.set_threshold(*before)


@pytest.fixture(scope="session")
def randomised() -> Callable[[nn.Module, int], nn.Module]:
    """Gives a network weights and batch statistics from a seed, none of which an export can drop unnoticed."""

    def randomise(network: nn.Module, seed: int) -> nn.Module:
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    assert layer.running_mean is not None
                    assert layer.running_var is not None
                    layer.weight.uniform_(0.5, 1.5, generator=random)
                    layer.running_var.uniform_(0.3, 1.2, generator=random)
                    for values in (layer.bias, layer.running_mean):
                        values.normal_(0, 0.3, generator=random)
                elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                    layer.weight.normal_(0, 1.4 * layer.weight[0].numel() ** -0.5, generator=random)
                    if layer.bias is not None:
                        layer.bias.normal_(0, 0.2, generator=random)
        return network.eval().requires_grad_(False)

    return randomise


@pytest.fixture(scope="session")
def shape() -> AgeCganShape:
    """An encoder with a hidden layer as in ``paper``, a generator with ReLUs and a refinement as in ``dcgan``."""
    return AgeCganShape(
        latent=16,
        encoder=EncoderShape((8, 16, 24, 32, 40), kernel=3, hidden=48),
        generator=GeneratorShape((40, 24, 16, 8), kernel=3, hidden=0, refine=1, dropout=0.1, leak=0.0),
        discriminator=DiscriminatorShape((4, 8), kernel=4, batch_norm=False, condition="outputs"),
    )


@pytest.fixture(scope="session")
def about(shape: AgeCganShape) -> dict[str, Any]:
    """What training says of its weights."""
    return {
        "family": "age_cgan",
        "preset": "dcgan",
        "shape": shape.as_dict(),
        "stage": "latent",
        "steps": 3400,
        "earlier": [{"stage": "adversarial", "steps": 12_000}],
        "data": {"fairface": 20_123, "utkface": 17_045},
        "group_counts": [9_001, 11_002, 8_003, 4_004, 3_005, 2_153],
        "seed": 11,
        "batch_size": 48,
        "settings": {"learning_rate": 0.0005},
    }


@pytest.fixture(scope="session")
def runs(
    shape: AgeCganShape, about: dict[str, Any], randomised: Callable[..., nn.Module], tmp_path_factory: Any
) -> tuple[Path, Path]:
    """Run folders of the adversarial and of the latent stage; the averages differ from the networks themselves."""
    adversarial, latent = (tmp_path_factory.mktemp("runs") / stage for stage in ("adversarial", "latent"))
    first: Weights = {
        "generator": randomised(build_generator(shape), 1).state_dict(),
        # of this seed, half precision is near, and the rows that prove the gradient stand clear of rectifiers' kinks
        "generator_ema": randomised(build_generator(shape), 73).state_dict(),
        "discriminator": randomised(build_discriminator(shape), 3).state_dict(),
    }
    second: Weights = {
        "encoder": randomised(build_encoder(shape), 4).state_dict(),
        "encoder_ema": randomised(build_encoder(shape), 5).state_dict(),
    }
    curves = {adversarial: ("d/real", "g/adversarial"), latent: ("e/pairs",)}
    for folder, names in curves.items():
        with SummaryWriter(folder) as writer:
            for step in (50, 100, 150):
                for name in names:
                    writer.add_scalar(name, len(name) / step, step)
    earlier = {**about, "stage": "adversarial", "steps": 12_000, "earlier": []}
    save_weights(adversarial / WEIGHTS_FILE, first, earlier)
    save_weights(latent / WEIGHTS_FILE, first | second, about)
    return adversarial, latent


@pytest.fixture(scope="session")
def translator_run(randomised: Callable[..., nn.Module], tmp_path_factory: Any) -> Path:
    """A run folder of an age translator whose deltas are of the size of images; the average differs from the network itself."""
    small = TranslatorShape(
        size=48,
        widths=(8, 12, 16),
        middle=1,
        fine=4,
        style=8,
        fine_bound=0.2,
        light_bound=0,
        fold_gain=0,
        photo_blur=0,
        delta_blur=0,
    )
    shape = AgeTranslatorShape(small, AgeDiscriminatorShape(widths=(4,), strides=(2,)))
    weights: Weights = {
        "translator": randomised(AgeTranslator(shape.translator), 41).state_dict(),
        "translator_ema": randomised(AgeTranslator(shape.translator), 42).state_dict(),
        "discriminator": randomised(AgeDiscriminator(shape.discriminator), 43).state_dict(),
    }
    for name in ("translator", "translator_ema"):
        weights[name]["head.weight"] *= 0.05
    told = {"data": {"fairface": 41_007, "utkface": 17_002}, "seed": 41, "batch_size": 24, "settings": {"age": 1.5}}
    return _run_folder(tmp_path_factory, "age_translator", shape.as_dict(), weights, {**told, "steps": 4100})


@pytest.fixture(scope="session")
def cyclegan_run(randomised: Callable[..., nn.Module], tmp_path_factory: Any) -> Path:
    """A run folder of a CycleGAN; the averages differ from the networks themselves, and the two ways from each other."""
    shape = CycleGanShape(size=32, width=4, depth=1, outer=5, residual=True, patches=(4, 8))
    names = ("to_old", "to_old_ema", "to_young", "to_young_ema")
    weights: Weights = {
        name: randomised(build_translator(shape), seed).state_dict() for seed, name in enumerate(names, 51)
    }
    told: dict[str, Any] = {"data": {"fairface": 15_001}, "seed": 51, "batch_size": 3, "settings": {"pool": 9}}
    told["domains"] = {"by": "ages", "young_until": 29, "old_from": 52}
    return _run_folder(tmp_path_factory, "cyclegan", shape.as_dict(), weights, {**told, "steps": 5100})


def _run_folder(factory: Any, family: str, shape: dict[str, Any], weights: Weights, told: dict[str, Any]) -> Path:
    folder: Path = factory.mktemp("translators") / family
    folder.mkdir()
    with SummaryWriter(folder) as writer:
        for step in (50, 100):
            writer.add_scalar("g/adversarial", 1 / step, step)
    save_weights(
        folder / WEIGHTS_FILE, weights, {"family": family, "shape": shape, "stage": family, "earlier": [], **told}
    )
    return folder


@pytest.fixture(scope="session")
def reader_shapes() -> dict[str, Any]:
    return {
        "age_estimator": CompactAgeEstimatorShape(widths=(4, 8), strides=(2, 2)),
        "facenet": DlibResNetShape(embedding=12, size=64, blocks=(1, 1, 1), widths=(8, 16, 16)),
        "landmark_refiner": LandmarkRefinerShape(fine=(4, 8), middle=8, coarse=8, depth=1),
    }


@pytest.fixture(scope="session")
def readers(reader_shapes: dict[str, Any], randomised: Callable[..., nn.Module]) -> dict[str, nn.Module]:
    """The networks of ours that read faces as torch runs them: RGB in [-1, 1]."""
    kinds = (CompactAgeEstimator, DlibResNet, LandmarkRefiner)
    built = {name: kind(shape) for kind, (name, shape) in zip(kinds, reader_shapes.items(), strict=True)}
    networks = {name: randomised(network, seed) for seed, (name, network) in enumerate(built.items(), 21)}
    with torch.no_grad():
        networks["age_estimator"].head[-1].bias += torch.linspace(-2, 0, 101)  # type: ignore[index,union-attr,operator]
    return networks


@pytest.fixture(scope="session")
def facenet(readers: dict[str, nn.Module]) -> DlibResNet:
    network = readers["facenet"]
    assert isinstance(network, DlibResNet)
    return network


@pytest.fixture(scope="session")
def reader_runs(reader_shapes: dict[str, Any], readers: dict[str, nn.Module], tmp_path_factory: Any) -> dict[str, Path]:
    """Run folders of the networks of ours that read faces; what counts are the averages."""
    data = {
        "age_estimator": {"fairface": 21_003},
        "facenet": {"celeba": 37_001},
        "landmark_refiner": {"celeba": 37_001},
    }
    told: dict[str, Any] = {"facenet": {"identities": 4004}}
    folders = {}
    for seed, (name, network) in enumerate(readers.items(), 32):
        folders[name] = tmp_path_factory.mktemp("readers") / name
        folders[name].mkdir()
        averaged = network.state_dict()
        raw = {key: tensor + 1 for key, tensor in averaged.items()}
        about = {
            "family": name,
            "shape": reader_shapes[name].as_dict(),
            "stage": name,
            "steps": 100 * seed,
            "earlier": [],
        }
        about |= {"data": data[name], "seed": seed, "batch_size": 4 * seed, "settings": {"warm_up": 0.05}}
        save_weights(folders[name] / WEIGHTS_FILE, {name: raw, f"{name}_ema": averaged}, about | told.get(name, {}))
    return folders


@pytest.fixture(scope="session")
def export() -> Callable[..., Result]:
    """Runs ``dorian-export`` with these words."""

    def export(*message: object) -> Result:
        return CliRunner().invoke(main, list(map(str, message)))

    return export


@pytest.fixture(scope="session")
def checkpoint(runs: tuple[Path, Path], export: Callable[..., Result], tmp_path_factory: Any) -> Path:
    """The runs, packed by ``dorian-export checkpoint``."""
    folder: Path = tmp_path_factory.mktemp("checkpoints") / "age_cgan"
    result = export("checkpoint", *runs, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def checkpoints(
    checkpoint: Path, translator_run: Path, cyclegan_run: Path, reader_runs: dict[str, Path]
) -> dict[str, Path]:
    """All that a bundle may be made of."""
    return {
        "detector": YUNET,
        **reader_runs,
        "age_translator": translator_run,
        "age_cgan": checkpoint,
        "cyclegan": cyclegan_run,
    }


@pytest.fixture(scope="session")
def export_onto(export: Callable[..., Result], checkpoints: dict[str, Path], faces: Path) -> Callable[..., Result]:
    """Makes a bundle of the checkpoints, or of others (``None``: none) in their place, in a folder."""

    def export_onto(folder: Path, *options: object, data: Path = faces, **others: Path | None) -> Result:
        given = {name.replace("_", "-"): path for name, path in {**checkpoints, **others}.items() if path}
        message = [word for name, path in given.items() for word in (f"--{name}", path)]
        return export("onnx", *message, "--out", folder, "--data", data, *options)

    return export_onto


@pytest.fixture(scope="session")
def weights(checkpoint: Path) -> Weights:
    return load_weights(checkpoint)[0]


@pytest.fixture(scope="session")
def networks(shape: AgeCganShape, weights: Weights) -> dict[str, nn.Module]:
    """The checkpoint's averaged encoder and generator as torch runs them: RGB in [-1, 1]."""
    built: dict[str, nn.Module] = {"encoder": build_encoder(shape), "generator": build_generator(shape)}
    for name, network in built.items():
        network.load_state_dict(weights[f"{name}_ema"])
        network.eval().requires_grad_(False)
    return built


@pytest.fixture(scope="session")
def faces(write_archives: Callable[..., Path], tmp_path_factory: Any) -> Path:
    """A folder with ten faces to watch, among others; of one of them a bracket of ages is known, of the others the age."""
    splits = ("train", "val", "test", "val", "train") * 5
    rows = [{"split": split, "age_low": 4 + 3 * i, "age_high": 4 + 3 * i} for i, split in enumerate(splits)]
    rows[3] |= {"age_high": 22}
    return write_archives(tmp_path_factory.mktemp("data") / "faces", rows)


@pytest.fixture(scope="session")
def people(write_archives: Callable[..., Path], tmp_path_factory: Any) -> Path:
    """A folder with as many people to watch as the strictest threshold needs, of no known age."""
    row = {"archive": "celeba.zip", "split": "val", "age_low": "", "age_high": ""}
    return write_archives(tmp_path_factory.mktemp("data") / "people", [row] * 450)


@pytest.fixture(scope="session")
def crops(faces: Path) -> NDArray[np.uint8]:
    return cut_crops(load_archives(faces)[:8], 64).pixels


@pytest.fixture(scope="session")
def seen(faces: Path) -> Faces:
    """Faces as the command gives them to the exporters, 96 pixels wide."""
    records = [record for record in load_archives(faces) if record.split == "val"]
    watched, (side, template) = cut_crops(records, 96), with_margin(COMPACT_SIZE)
    aged = [record for record in records if record.age is not None and record.age_low == record.age_high]
    return Faces(watched, watched, cut_crops(aged, side, template=template))


@pytest.fixture
def published(randomised: Callable[..., nn.Module], tmp_path: Path) -> Path:
    """A checkpoint of an Inception-ResNet-v1 of few blocks."""
    shape = InceptionResNetShape(repeats=(1, 1, 1), embedding=16)
    state = randomised(InceptionResNetV1(shape), 61).state_dict()
    (tmp_path / "published").mkdir()
    about = {"family": "facenet", "shape": shape.as_dict()}
    save_weights(tmp_path / "published" / WEIGHTS_FILE, {"facenet_ema": state}, about)
    return tmp_path / "published"


@pytest.fixture(scope="session")
def measurements(tmp_path_factory: Any) -> tuple[Path, Path]:
    """What ``dorian-evaluate`` writes of age groups, and of faces and their ageing by two of the methods."""
    folder: Path = tmp_path_factory.mktemp("measurements")
    generated = {label: 10.25 + 10 * index for index, label in enumerate(LABELS)}
    judged = {"faces_per_group": 1500, "generated": generated, "real": dict.fromkeys(LABELS, 33.3)}
    faces: dict[str, Any] = {"age_estimator": {"error": 6.25}, "facenet": {"accuracy": 0.875}, "ageing": {"faces": 5}}
    years = {"judged": 27.126, "error": 5.5, "similarity": 0.708, "accepted": 0.9375}
    faces["age_translator"] = {
        "ageing": {"strengths": {"1": {"targets": {"25": years, "75": years | {"judged": 71.004}}}}}
    }
    old = {"judged": 61.26, "similarity": 0.654, "accepted": 0.75}
    faces["cyclegan"] = {"ageing": {"strengths": {"0.5": {"targets": {}}, "1": {"targets": {"old": old}}}}}
    (folder / "ages.json").write_text(json.dumps({"age_cgan": {"judged_age": judged}}))
    (folder / "faces.json").write_text(json.dumps(faces))
    return folder / "ages.json", folder / "faces.json"


@pytest.fixture(scope="session")
def bundle(
    people: Path, measurements: tuple[Path, Path], export_onto: Callable[..., Result], tmp_path_factory: Any
) -> Bundle:
    """The checkpoints' bundle, made by ``dorian-export onnx``; tests copy its folder before they change anything."""
    folder = tmp_path_factory.mktemp("bundles") / "small"
    measured = ("--metrics", measurements[0], "--metrics", measurements[1])
    result = export_onto(folder, "--data", people, "--name", "small", "--version", "3.2.1", *measured)
    assert result.exit_code == 0, result.output
    return load_bundle(folder)


@pytest.fixture
def graphs_from_before(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the bundle's files where a graph would be written; what is traced for one is left alone."""

    def copy(graph: nn.Module, signature: Any, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((bundle.folder / "graphs" / path.name).read_bytes())

    monkeypatch.setattr(verified_export, "write_onnx", copy)
    monkeypatch.setattr(latent_gradient, "write_onnx", copy)
    monkeypatch.setattr(latent_gradient, "_trace", lambda objective, _: objective)
