"""AE-StyleGAN as graphs: its code, its generator and its filters, the styles that a bundle keeps, and both presets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.graphs import Array
from dorian_bundle.style_library import load_style_library
from dorian_export.errors import ExportError
from dorian_export.exporters import EXPORTERS
from dorian_export.exporters import ae_stylegan as exporter
from dorian_export.faces import Faces
from dorian_export.method_exporter import ExportJob, MethodExport
from dorian_training.checkpoint import save_weights
from dorian_training.data.crops import Crops
from dorian_training.data.records import FaceRecord
from dorian_training.networks.ae_stylegan import (
    AeStyleGanShape,
    StyleGenerator,
    StyleMaps,
    StyleReader,
    build_encoder,
    linear_faces,
)
from dorian_training.networks.age_estimator import DlibAgeEstimator, DlibAgeEstimatorShape
from dorian_training.networks.eigen_pyramid import EigenPyramid
from tests.small_styles import LEAN

PAPER = AeStyleGanShape(sides=(4, 8, 16, 32), widths=(4, 4, 4, 4), style=4)
SIZE = 96
CLOSE = 0.02  # of weights that are rounded to 8 bits
Make = Callable[..., tuple[MethodExport, Path]]
Networks = dict[str, Any]


@pytest.fixture(scope="module")
def networks() -> Networks:
    """An AE-StyleGAN and the pairs of its filters, with random weights, and the age estimator that reads its styles."""
    torch.manual_seed(0)
    made: Networks = {"estimator": DlibAgeEstimator(DlibAgeEstimatorShape()).eval()}
    for suffix in ("", "_old", "_young"):
        maps, generator = StyleMaps(LEAN), StyleGenerator(LEAN)
        torch.nn.init.normal_(maps.offsets)
        maps.maps.data += 0.1 * torch.randn_like(maps.maps)
        for layer in generator.convolutions:
            torch.nn.init.normal_(layer.shift.weight, std=0.1)  # type: ignore[union-attr]
        made |= {f"encoder{suffix}": maps.eval(), f"generator{suffix}": generator.eval()}
    noise = torch.randn(20, 3, 96, 96)
    pooled = StyleReader(made["estimator"])(noise).detach()
    whitening = 1 / pooled.std(dim=0).clamp(min=1e-3)
    for suffix in ("", "_old", "_young"):
        maps = made[f"encoder{suffix}"]
        maps.whitening_mean.copy_(pooled.mean(dim=0))
        maps.whitening.copy_(torch.diag(whitening)[:, :4])
    pyramid = EigenPyramid(LEAN.structure_sides, LEAN.structure_counts)
    for side, count in zip(LEAN.structure_sides, LEAN.structure_counts, strict=True):
        basis = torch.linalg.qr(torch.randn(3 * side * side, count))[0].T
        getattr(pyramid, f"basis_{side}").copy_(basis)
    return made | {"pyramid": pyramid}


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Sixteen faces of noise of known age, half of them women, and four of a bracket."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (20, SIZE, SIZE, 3), dtype=np.uint8)
    records = [
        FaceRecord(
            "fairface" if index % 4 else "utkface",
            Path("faces.zip"),
            str(index),
            "val",
            age_low=10 + 4 * index,
            age_high=10 + 4 * index + (9 if index >= 16 else 0),
            gender="Female" if index % 2 else "Male",
        )
        for index in range(20)
    ]
    crops = Crops(pixels, tuple(records))
    return Faces(crops, crops, crops)


@pytest.fixture(scope="module")
def make(networks: Networks, faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Make:
    def make(
        preset: str = "lean", filters: bool = False, other_filters: bool = False, estimators: Sequence[str] = ()
    ) -> tuple[MethodExport, Path]:
        folder = tmp_path_factory.mktemp("bundle")
        about: dict[str, Any] = {"data": {"fairface": 9}, "seed": 0, "steps": 5, "earlier": [], "settings": {}}
        shape = LEAN if preset == "lean" else PAPER
        if preset == "lean":
            weights = {f"{name}_ema": networks[name].state_dict() for name in ("encoder", "generator")}
            weights |= {"pyramid": networks["pyramid"].state_dict()}
            weights["age_means"] = {"features": torch.linspace(-1, 1, 91)[:, None].expand(91, 4).contiguous()}
        else:
            torch.manual_seed(0)
            weights = {"encoder_ema": build_encoder(shape).state_dict()}
            weights["generator_ema"] = StyleGenerator(shape).state_dict()
        paths = {name: folder / f"{name}.safetensors" for name in ("ae_stylegan", "age_estimator", "cycle_stylegan")}
        metadata = {**about, "shape": shape.as_dict(), "stage": "ae_stylegan", "family": "ae_stylegan"}
        save_weights(paths["ae_stylegan"], weights, metadata)
        estimator = {"age_estimator_ema": networks["estimator"].state_dict()}
        estimator_shape = DlibAgeEstimatorShape().as_dict()
        save_weights(paths["age_estimator"], estimator, {"family": "age_estimator", "shape": estimator_shape})
        names = ("encoder_old", "generator_old", "encoder_young", "generator_young")
        of_filters = {f"{name}_ema": networks[name].state_dict() for name in names}
        cycle = {**metadata, "stage": "cycle_stylegan", "family": "cycle_stylegan"}
        save_weights(paths["cycle_stylegan"], of_filters, cycle | ({"shape": PAPER.as_dict()} if other_filters else {}))
        if not filters:
            del paths["cycle_stylegan"]
        for name in estimators:
            paths[name] = Path(shutil.copy(paths["age_estimator"], folder / f"{name}.safetensors"))
        job = ExportJob(paths, faces, folder, ("fp16",), {"ae_stylegan": {"mixing": 7}, "cycle_stylegan": {"table": 1}})
        return EXPORTERS["ae_stylegan"].export(job), folder

    return make


@pytest.fixture(scope="module")
def exported(make: Make) -> tuple[MethodExport, Path]:
    return make(filters=True)


def test_styles_and_calibration_have_estimators_of_their_own_if_these_are_given(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    load = exporter.averaged_age_estimator
    monkeypatch.setattr(exporter, "averaged_age_estimator", lambda path: (used.append(path.stem), load(path))[1])
    make()
    make(estimators=["style_reader", "calibrator"])
    assert used == ["age_estimator", "age_estimator", "style_reader", "calibrator"]  # the first of each reads styles


def run(exported: tuple[MethodExport, Path], name: str, **feed: torch.Tensor) -> dict[str, Array]:
    method, folder = exported
    graph = method.graphs[name]
    session = ort.InferenceSession(str(folder / graph.file().path), providers=["CPUExecutionProvider"])
    names = [spec.name for spec in graph.signature.outputs]
    return dict(zip(names, session.run(names, {key: value.numpy() for key, value in feed.items()}), strict=True))


@torch.no_grad()
def test_the_code_and_the_picture_are_those_of_the_networks(
    exported: tuple[MethodExport, Path], networks: Networks
) -> None:
    image = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    code = run(exported, "ae_stylegan_encoder", image=image)
    structure = networks["pyramid"].encode(2 * image - 1)
    styles = networks["encoder"](StyleReader(networks["estimator"])(2 * image - 1))
    assert code["structure"] == pytest.approx(structure.numpy(), abs=CLOSE * float(structure.abs().max()))
    assert code["styles"] == pytest.approx(styles.numpy(), abs=5 * CLOSE * float(styles.abs().max()))
    given = {name: torch.from_numpy(value) for name, value in code.items()}
    drawn = run(exported, "ae_stylegan_generator", **given)["image"]
    linear = linear_faces(networks["pyramid"], given["structure"], LEAN.sides)
    expected = networks["generator"](given["styles"], linear) / 2 + 0.5
    assert drawn == pytest.approx(expected.numpy(), abs=CLOSE)
    for filter in ("old", "young"):
        features = _features(networks["encoder"], given["styles"])
        of_pair = networks[f"generator_{filter}"](networks[f"encoder_{filter}"].styles_of(features), linear)
        result = run(exported, f"stylegan_{filter}", **given)["image"]
        assert result == pytest.approx((of_pair / 2 + 0.5).numpy(), abs=2 * CLOSE)
        assert np.abs(result - drawn).max() > 5 * CLOSE


def _features(maps: StyleMaps, styles: torch.Tensor) -> torch.Tensor:
    """The features (batch, style) of ``styles``, by the first level's map."""
    return (styles[:, 0] - maps.offsets[0]) @ torch.linalg.inv(maps.maps[0])


def test_the_entry_says_what_the_networks_are(exported: tuple[MethodExport, Path]) -> None:
    entry = exported[0].entry
    assert isinstance(entry, AeStyleGanMethod)
    assert (entry.levels, entry.style, entry.structure, entry.crop_size) == (12, 4, 11, 96)
    assert entry.age_levels == tuple(range(5, 13))
    assert [filter.name for filter in entry.filters] == ["stylegan_old", "stylegan_young"]
    assert entry.provenance.commercial_use is True
    assert entry.provenance.metrics["mixing"] == 7
    assert entry.filters_provenance is not None
    assert entry.filters_provenance.metrics == {"table": 1}
    entry.check_graphs(exported[0].graphs)
    assert all(difference < 1e-4 for difference in exported[0].differences.values())


def test_the_library_holds_means_and_fairfaces_references(
    exported: tuple[MethodExport, Path], networks: Networks, faces: Faces
) -> None:
    method, folder = exported
    entry = method.entry
    assert isinstance(entry, AeStyleGanMethod)
    entry.library.verify(folder)
    library = load_style_library(folder / entry.library.path, entry.levels, entry.style, entry.structure)
    expected = networks["encoder"].styles_of(torch.linspace(-1, 1, 91)[:, None].expand(91, 4)).detach().numpy()
    assert library.age_means == pytest.approx(expected, abs=0.02)
    kept = [record for record in faces.crops.records if record.source == "fairface"]
    assert sorted(library.age_low) == sorted(float(record.age_low or 0) for record in kept)
    assert library.woman.sum() == sum(record.gender == "Female" for record in kept)


def test_the_papers_preset_is_exported_too(make: Make) -> None:
    method, folder = make("paper")
    entry = method.entry
    assert isinstance(entry, AeStyleGanMethod)
    assert (entry.structure, entry.levels, entry.age_levels) == (0, 8, (5, 6, 7, 8))
    image = torch.rand(2, 3, 32, 32)
    code = run((method, folder), "ae_stylegan_encoder", image=image)
    assert list(code) == ["styles"]
    drawn = run((method, folder), "ae_stylegan_generator", styles=torch.from_numpy(code["styles"]))
    assert drawn["image"].shape == (2, 3, 32, 32)
    assert load_style_library(folder / entry.library.path, 8, 4, 0).age_means.shape == (91, 8, 4)


def test_filters_of_other_networks_are_refused(make: Make) -> None:
    with pytest.raises(ExportError, match="--cycle-stylegan needs networks of the same shape as --ae-stylegan"):
        make(filters=True, other_filters=True)
