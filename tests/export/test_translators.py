"""The age translator and CycleGAN as graphs: what they take and give, which weights they are of, and when they are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from dorian_bundle import Bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.calibration import Calibration
from dorian_bundle.face_shape import FaceShape, load_face_shape
from dorian_bundle.families.age_translator import AgeTranslatorMethod, age_translator_signature
from dorian_bundle.families.cyclegan import CycleGanMethod, cyclegan_signature
from dorian_bundle.masks import face_mask
from dorian_bundle.mesh import mean_mesh
from dorian_bundle.skin_detail import DETAIL_SIZE, SkinDetail, SkinStructure, load_skin_detail
from dorian_export import calibration_faces, verified_export
from dorian_export.errors import ExportError, ParityError
from dorian_export.exporters import EXPORTERS, age_translator
from dorian_export.exporters.age_translator import AgeTranslatorGraph
from dorian_export.exporters.cyclegan import FilterGraph
from dorian_export.faces import Faces
from dorian_export.method_exporter import ExportJob, MethodExport
from dorian_export.onnx_writer import in_precision
from dorian_export.verified_export import TOLERANCE
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights, save_weights
from dorian_training.data.batches import run_on_centres
from dorian_training.data.crops import Crops
from dorian_training.errors import CheckpointError
from dorian_training.networks import age_estimator
from dorian_training.networks.age_translator import AgeTranslator, AgeTranslatorShape
from dorian_training.networks.cyclegan import CycleGanShape, build_translator
from dorian_training.networks.layers import at_side

Make = Callable[..., MethodExport]
FAMILIES = ["age_translator", "cyclegan"]
SIZES = {"age_translator": 48, "cyclegan": 32}
CLOSE = 1e-2  # of half precision, which is all that a bundle has of them


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folders(translator_run: Path, cyclegan_run: Path) -> dict[str, Path]:
    """The run folder of each family."""
    return {"age_translator": translator_run, "cyclegan": cyclegan_run}


@pytest.fixture(scope="module")
def translator(translator_run: Path) -> nn.Module:
    """The averaged age translator as torch runs it: RGB in [-1, 1]."""
    weights, about = load_weights(translator_run)
    network = AgeTranslator(AgeTranslatorShape.from_dict(about["shape"]).translator)
    network.load_state_dict(weights["translator_ema"])
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def filters(cyclegan_run: Path) -> dict[str, nn.Module]:
    """CycleGAN's averaged translators as torch runs them, by the domain that they lead to."""
    weights, about = load_weights(cyclegan_run)
    result = {}
    for domain in ("old", "young"):
        network = build_translator(CycleGanShape.from_dict(about["shape"]))
        network.load_state_dict(weights[f"to_{domain}_ema"])
        result[domain] = network.eval().requires_grad_(False)
    return result


@pytest.fixture
def run(bundle: Bundle) -> Callable[..., np.ndarray]:
    """Runs a graph of the bundle."""

    def run(name: str, **feed: torch.Tensor) -> np.ndarray:
        session = ort.InferenceSession(str(bundle.graph_path(name, "fp16")), providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {name: tensor.numpy() for name, tensor in feed.items()})
        assert result.dtype == np.float32
        return np.asarray(result)

    return run


@pytest.fixture
def make(bundle: Bundle, reader_runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a family's method of a checkpoint; the bundle's files come where a graph would be written."""

    def copy(graph: nn.Module, signature: Any, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((bundle.folder / "graphs" / path.name).read_bytes())

    monkeypatch.setattr(verified_export, "write_onnx", copy)

    def make(family: str, checkpoint: Path, faces: Faces, **further: Path) -> MethodExport:
        checkpoints = {family: checkpoint, "age_estimator": reader_runs["age_estimator"], **further}
        return EXPORTERS[family].export(ExportJob(checkpoints, faces, tmp_path, ["fp16"], {family: {"ageing": 7}}))

    return make


def noise(batch: int, size: int) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(batch))


# --- graphs ---


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 5])
def test_a_delta_is_of_pixels_from_0_to_1(run: Callable[..., np.ndarray], translator: nn.Module, batch: int) -> None:
    image = noise(batch, 48)
    source, target = torch.linspace(20, 60, batch), torch.linspace(75, 5, batch)
    result = run("age_translator", image=image, source_age=source, target_age=target)
    raw = translator(2 * image - 1, source, target)
    assert result.shape == (batch, 3, 48, 48)
    assert np.abs(result - raw.numpy() / 2).max() <= CLOSE
    for wrong in (raw, translator(image, source, target) / 2, translator(2 * image - 1, target, source) / 2):
        assert np.abs(result - wrong.numpy()).max() > 5 * CLOSE


def test_a_face_at_its_own_age_is_left_alone_bit_by_bit(run: Callable[..., np.ndarray]) -> None:
    ages = torch.tensor([1.0, 33.3, 90.0, 40.0])
    result = run("age_translator", image=noise(4, 48), source_age=ages, target_age=ages + torch.tensor([0, 0, 0, 9.0]))
    assert not result[:3].any()
    assert np.abs(result[3]).max() > 0.01


def test_ages_stay_in_full_precision(run: Callable[..., np.ndarray]) -> None:
    """A quarter of a sixteenth of a year, of which halves know nothing at 90, still makes a difference."""
    image, source = noise(1, 48).repeat(2, 1, 1, 1), torch.full((2,), 90.0)
    target = source - torch.tensor([0.0, 1 / 64])
    result = run("age_translator", image=image, source_age=source, target_age=target)
    assert not result[0].any()
    assert result[1].any()


@torch.no_grad()
@pytest.mark.parametrize("domain", ["old", "young"])
def test_a_filter_is_the_translator_to_its_domain(
    run: Callable[..., np.ndarray], filters: dict[str, nn.Module], domain: str
) -> None:
    image = noise(5, 32)
    result = run(f"cyclegan_{domain}", image=image)
    assert result.shape == (5, 3, 32, 32)
    assert np.abs(result - (filters[domain](2 * image - 1).numpy() + 1) / 2).max() <= CLOSE
    other = filters["young" if domain == "old" else "old"]
    for wrong in (filters[domain](image), other(2 * image - 1)):
        assert np.abs(result - (wrong.numpy() + 1) / 2).max() > 5 * CLOSE


@torch.no_grad()
def test_images_run_from_0_to_1_outside_and_from_minus_1_inside() -> None:
    """Normalised maps may hide what comes in wrong; a network that gives its image back hides nothing."""
    same = nn.Conv2d(3, 3, 1, bias=False)
    nn.init.dirac_(same.weight)
    image = noise(2, 8)
    assert torch.allclose(FilterGraph(same)(image), image, atol=1e-6)
    nn.init.zeros_(same.weight)
    assert torch.equal(FilterGraph(same)(image), torch.full_like(image, 0.5))


@torch.no_grad()
def test_what_leaves_a_graph_is_single_precision(translator: nn.Module, filters: dict[str, nn.Module]) -> None:
    image, ages = noise(2, 48), torch.tensor([20.0, 50.0])
    delta = in_precision(AgeTranslatorGraph(translator), "fp16")(image, ages, ages.flip(0))
    filtered = in_precision(FilterGraph(filters["old"]), "fp16")(noise(2, 32))
    assert {delta.dtype, filtered.dtype} == {torch.float32}
    for network in (translator, *filters.values()):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_unet_exports_too(randomised: Callable[..., nn.Module], seen: Faces, tmp_path: Path) -> None:
    shape = CycleGanShape(size=32, layout="unet", width=4, depth=3)
    weights = {
        f"to_{domain}_ema": randomised(build_translator(shape), seed).state_dict()
        for seed, domain in enumerate(("old", "young"), 61)
    }
    about = {"family": "cyclegan", "shape": shape.as_dict(), "stage": "cyclegan", "steps": 1, "earlier": []}
    save_weights(tmp_path / WEIGHTS_FILE, weights, {**about, "data": {"mine": 3}, "seed": 0})
    made = EXPORTERS["cyclegan"].export(ExportJob({"cyclegan": tmp_path}, seen, tmp_path, ["fp32"]))
    assert made.differences.keys() == {f"graphs/cyclegan_{domain}.fp32.onnx" for domain in ("old", "young")}
    assert all(0 < difference <= TOLERANCE["fp32"] for difference in made.differences.values())


# --- what is made of a checkpoint ---


@pytest.mark.parametrize(
    ("field", "family", "array", "size", "load"),
    [
        ("detail", "skin_detail", "log_energy", (2, 3, 4, 4), load_skin_detail),
        ("shape", "face_shape", "offsets", (2, 73, 2), load_face_shape),
    ],
)
def test_a_translator_is_given_tables_by_age(
    translator_run: Path,
    make: Make,
    seen: Faces,
    tmp_path: Path,
    field: str,
    family: str,
    array: str,
    size: tuple[int, ...],
    load: Callable[[Path], SkinDetail | FaceShape],
) -> None:
    table = {"ages": torch.tensor([20.0, 80.0]), array: torch.rand(size) / 10}
    about = {"family": family, "stage": family, "steps": 1, "earlier": [], "seed": 0, "data": {"mine": 3}}
    (tmp_path / "table").mkdir()
    save_weights(tmp_path / "table" / WEIGHTS_FILE, {family: table}, about | {"settings": {"faces": 3}})
    entry = make("age_translator", translator_run, seen, **{family: tmp_path / "table"}).entry
    assert isinstance(entry, AgeTranslatorMethod)
    stored = getattr(entry, field)
    assert stored is not None
    assert entry.stored_files() == (stored,)
    stored.verify(tmp_path)
    assert np.allclose(getattr(load(tmp_path / stored.path), array), table[array].numpy(), atol=1e-3)
    assert list(entry.further_provenances()) == [f"{family.replace('_', ' ')} of age_translator"]
    provenance = getattr(entry, f"{field}_provenance")
    assert [(data.name, data.faces) for data in provenance.data] == [("mine", 3)]
    with pytest.raises(ExportError, match=f"family 'age_translator', not {family}"):
        make("age_translator", translator_run, seen, **{family: translator_run})


def test_they_are_proven_on_random_and_on_real_inputs(
    family: str, folders: dict[str, Path], make: Make, seen: Faces, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Sequence[Mapping[str, np.ndarray]]] = []

    def note(graph: nn.Module, path: Path, signature: Any, precision: str, inputs: Any) -> float:
        shown.append(inputs)
        return 0.125

    monkeypatch.setattr(verified_export, "require_parity", note)
    made = make(family, folders[family], seen)
    ours = {name: graph for name, graph in bundle.manifest.graphs.items() if name.startswith(family)}
    assert made.graphs == ours
    assert made.differences == {file.path: 0.125 for graph in ours.values() for file in graph.files}
    assert made.entry.provenance.metrics == {"ageing": 7, "onnx_difference": made.differences}
    assert len(shown) == len(ours)
    pictures = seen.resized(SIZES[family])[:8].transpose(0, 3, 1, 2).astype(np.float32) / 255
    for random, real in shown:
        assert np.array_equal(real["image"], pictures)
        assert 0 <= random["image"].min() < 0.01 < 0.99 < random["image"].max() <= 1
        for rows in (random, real):
            assert {len(values) for values in rows.values()} == {8}
            assert {values.dtype for values in rows.values()} == {np.dtype(np.float32)}
            if family == "age_translator":
                change = rows["target_age"] - rows["source_age"]
                assert change[0] == 0  # none, up and down
                assert change.min() < -10
                assert change.max() > 10


def test_it_is_the_averages_that_are_exported(
    family: str, folders: dict[str, Path], make: Make, seen: Faces, tmp_path: Path
) -> None:
    make(family, folders[family], seen)
    weights, about = load_weights(folders[family])
    names = {"age_translator": "translator", "cyclegan": "to_young"}
    raw = {name: tensor.clone() for name, tensor in weights[names[family]].items()}
    save_weights(tmp_path / WEIGHTS_FILE, weights | {f"{names[family]}_ema": raw}, about)
    file = {"age_translator": "age_translator", "cyclegan": "cyclegan_young"}[family]
    with pytest.raises(ParityError, match=rf"^{file}\.fp16\.onnx differs from its network by"):
        make(family, tmp_path, seen)


def test_checkpoints_that_do_not_fit(
    family: str, folders: dict[str, Path], make: Make, seen: Faces, tmp_path: Path
) -> None:
    other = FAMILIES[FAMILIES.index(family) - 1]
    with pytest.raises(ExportError, match=f"of the family '{other}', not {family}"):
        make(family, folders[other], seen)
    few = replace(seen, crops=Crops(seen.crops.pixels[:7], seen.crops.records[:7]))
    with pytest.raises(ExportError, match="8 real faces are needed to prove the graphs on, got 7"):
        make(family, folders[family], few)
    weights, about = load_weights(folders[family])
    name = {"age_translator": "translator_ema", "cyclegan": "to_old_ema"}[family]
    save_weights(tmp_path / WEIGHTS_FILE, {key: state for key, state in weights.items() if key != name}, about)
    with pytest.raises(CheckpointError, match=f"no '{name}'"):
        make(family, tmp_path, seen)
    assert not (tmp_path / "graphs").exists()


def test_what_the_manifest_says_of_the_translator(bundle: Bundle) -> None:
    method = bundle.manifest.methods[0]
    assert isinstance(method, AgeTranslatorMethod)
    assert (method.name, method.family, method.graph) == ("age_translator", "age_translator", "age_translator")
    assert (method.crop_size, method.min_years, method.max_years) == (48, 1, 90)
    assert method.age_groups == PAPER_GROUPS
    assert [point.asked for point in method.calibration.points] == [5, 15, 25, 35, 45, 55, 65, 75, 85]
    graph = bundle.manifest.graphs["age_translator"]
    assert graph.signature == age_translator_signature(48)
    assert [file.precision for file in graph.files] == ["fp16"]


def test_a_translator_that_learnt_mirror_images_alike_sees_one(
    translator_run: Path, make: Make, seen: Faces, tmp_path: Path
) -> None:
    made = make("age_translator", translator_run, seen).entry
    weights, about = load_weights(translator_run)
    alike = about | {"settings": about.get("settings", {}) | {"flip_weight": 0.5}}
    (tmp_path / "alike").mkdir()
    save_weights(tmp_path / "alike" / WEIGHTS_FILE, weights, alike)
    beside = make("age_translator", tmp_path / "alike", seen).entry
    assert isinstance(made, AgeTranslatorMethod)
    assert isinstance(beside, AgeTranslatorMethod)
    assert (made.mirrored, beside.mirrored) == (True, False)


def test_what_the_manifest_says_of_the_filters(bundle: Bundle) -> None:
    method = bundle.manifest.methods[-1]
    assert isinstance(method, CycleGanMethod)
    assert (method.name, method.family, method.crop_size) == ("cyclegan", "cyclegan", 32)
    assert {item.name: item.graph for item in method.filters} == {"old": "cyclegan_old", "young": "cyclegan_young"}
    assert all(item.name in item.description for item in method.filters)
    for item in method.filters:
        graph = bundle.manifest.graphs[item.graph]
        assert graph.signature == cyclegan_signature(32)
        assert [file.precision for file in graph.files] == ["fp16"]


# --- what the calibration is measured on ---


@torch.no_grad()
def test_a_translator_is_calibrated_on_faces_under_the_mask_by_the_bundles_estimator(
    translator_run: Path,
    translator: nn.Module,
    readers: dict[str, nn.Module],
    make: Make,
    seen: Faces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Any] = []

    def years(logits: torch.Tensor) -> torch.Tensor:
        return 200 * logits[:, 3]  # in which nothing that changes a face is lost

    def note(read: Any, sources: Any, ages: Any, readings: Any, youngest: float, oldest: float, effect: Any) -> Any:
        assert effect is None  # without a table of skin's detail
        given.extend([sources, ages, readings, (youngest, oldest), read(70.0, 1.0), read(70.0, 1.15)])
        return Calibration()

    monkeypatch.setattr(age_translator, "calibrate_by_source", note)
    monkeypatch.setattr(age_estimator, "expected_age", years)
    monkeypatch.setattr(age_translator, "expected_age", years)
    aged = Crops(seen.aged.pixels[:-1], seen.aged.records[:-1])  # these are read as real faces
    make("age_translator", translator_run, replace(seen, aged=aged))
    sources, ages, readings, span, plain, stronger = given
    records = seen.crops.records
    exact = [record.age_low == record.age_high for record in records]
    assert exact.count(False) == 1
    assert ages.tolist() == [record.age for record in aged.records]
    assert span == (1.0, 90.0)

    def image(size: int, keep: Sequence[bool]) -> torch.Tensor:
        return 2 * torch.from_numpy(seen.resized(size)[np.asarray(keep)]).permute(0, 3, 1, 2).float() / 255 - 1

    def read(images: torch.Tensor) -> torch.Tensor:
        return years(readers["age_estimator"](at_side(images, 64)))

    real = run_on_centres(readers["age_estimator"], aged, 64)
    assert readings == pytest.approx(years(real).numpy(), abs=0.1)
    grown = [known and 3 <= record.age <= 70 for record, known in zip(records, exact, strict=True)]
    assert 0 < sum(grown) < sum(exact)
    faces, source = image(48, grown), torch.tensor([r.age for r, kept in zip(records, grown, strict=True) if kept])
    assert sources.tolist() == source.tolist()
    mask = torch.from_numpy(face_mask(mean_mesh(DEFAULT_TEMPLATE.points(48)), 48))
    target = torch.full_like(source, 70.0)
    once = translator(faces, source, target)
    delta = (once + translator(faces.flip(3), source, target).flip(3)) / 2
    for factor, result in ((1.0, plain), (1.15, stronger)):
        assert result == pytest.approx(read((faces + factor * mask * delta).clamp(-1, 1)).numpy(), abs=0.4)
        for wrong in (delta, mask * once):
            assert np.abs(result - read((faces + factor * wrong).clamp(-1, 1)).numpy()).max() > 0.6
    assert np.abs(plain - stronger).max() > 0.1


def test_what_the_photos_own_skin_changes_is_read_on_top_of_what_is_drawn(
    translator_run: Path, make: Make, seen: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skin that gets lighter by a tenth of the range of images, where faces are read as old as what is added to them is light."""
    lighter: list[tuple[float, float]] = []

    def change(table: SkinDetail, skin: SkinStructure, source: float, target: float) -> np.ndarray:
        assert skin.weight.shape == (DETAIL_SIZE, DETAIL_SIZE)
        lighter.append((source, target))
        return np.full(skin.weight.shape, 0.1, np.float32)

    def note(read: Any, sources: Any, ages: Any, readings: Any, youngest: float, oldest: float, effect: Any) -> Any:
        mask = face_mask(mean_mesh(DEFAULT_TEMPLATE.points(48)), 48)
        assert effect(70.0) == pytest.approx(np.full(len(sources), 0.2 * mask.mean()), rel=1e-4)
        assert lighter == [(source, 70.0) for source in sources.tolist()]
        return Calibration()

    monkeypatch.setattr(SkinDetail, "change", change)
    monkeypatch.setattr(
        calibration_faces.CalibrationFaces,
        "read",
        lambda _, deltas: torch.cat([delta.mean(dim=(1, 2, 3)) for delta in deltas]).numpy(),
    )
    monkeypatch.setattr(age_translator, "calibrate_by_source", note)
    table = {"ages": torch.tensor([20.0, 80.0]), "log_energy": torch.zeros(2, 3, 4, 4)}
    about = {"family": "skin_detail", "stage": "skin_detail", "steps": 1, "earlier": [], "seed": 0, "data": {"mine": 3}}
    save_weights(tmp_path / WEIGHTS_FILE, {"skin_detail": table}, about | {"settings": {"faces": 3}})
    make("age_translator", translator_run, seen, skin_detail=tmp_path)
    assert lighter


def test_without_a_face_of_known_age_there_is_no_calibration(translator_run: Path, make: Make, seen: Faces) -> None:
    brackets = tuple(replace(record, age_low=20, age_high=29) for record in seen.crops.records)
    with pytest.raises(ExportError, match="faces from 3 to 70 years whose age is known exactly"):
        make("age_translator", translator_run, replace(seen, crops=Crops(seen.crops.pixels, brackets)))
