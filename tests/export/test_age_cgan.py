"""Age-cGAN's export: which weights, proven on what, and when it is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dorian_bundle import Bundle
from dorian_bundle.families.age_cgan import AgeCganMethod, latent_gradient_signature
from dorian_bundle.graphs import Graph, Precision, Signature
from dorian_export import latent_gradient, verified_export
from dorian_export.errors import ExportError, ParityError
from dorian_export.exporters import age_cgan
from dorian_export.exporters.age_cgan import draw_samples, export_age_cgan
from dorian_export.faces import Faces
from dorian_export.method_exporter import ExportJob, MethodExport
from dorian_export.verified_export import TOLERANCE
from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.data.crops import Crops
from dorian_training.errors import CheckpointError
from dorian_training.networks.age_cgan import PRESETS, AgeCganShape, build_encoder, build_generator
from dorian_training.networks.dlib_resnet import DlibResNet

Weights = dict[str, dict[str, Tensor]]
Pack = Callable[..., Path]


@pytest.fixture
def pack(weights: Weights, about: dict[str, Any], tmp_path: Path) -> Pack:
    """Writes the checkpoint with other weights, or with other words about it; returns its folder."""

    def pack(weights: Weights = weights, **others: Any) -> Path:
        save_weights(tmp_path / WEIGHTS_FILE, weights, about | others)
        return tmp_path

    return pack


def make_age_cgan(
    checkpoint: Path, facenet: nn.Module, faces: Faces, folder: Path, precisions: Sequence[Precision], metrics: Any
) -> MethodExport:
    """Exports a checkpoint, whose latents are searched for ``facenet``."""
    checkpoints = {"age_cgan": checkpoint, "facenet": Path("of another checkpoint")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(age_cgan, "averaged_facenet", lambda _: facenet)
        return export_age_cgan(ExportJob(checkpoints, faces, folder, precisions, {"age_cgan": metrics}))


@pytest.mark.usefixtures("graphs_from_before")
def test_it_is_proven_on_random_and_on_real_inputs(
    checkpoint: Path,
    facenet: DlibResNet,
    seen: Faces,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Sequence[Mapping[str, np.ndarray]]] = []
    searched: list[Sequence[Mapping[str, np.ndarray]]] = []

    def note(graph: nn.Module, path: Path, signature: Any, precision: str, inputs: Any) -> float:
        shown.append(inputs)
        return 0.125

    def note_search(objective: nn.Module, path: Path, signature: Any, inputs: Any) -> float:
        searched.append(inputs)
        return 0.125

    monkeypatch.setattr(verified_export, "require_parity", note)
    monkeypatch.setattr(latent_gradient, "_require_parity", note_search)
    made = make_age_cgan(checkpoint, facenet, seen, tmp_path, ["fp16"], {"judged_age": 7})
    ours = {name: graph for name, graph in bundle.manifest.graphs.items() if name.startswith("age_cgan_")}
    assert made.graphs == ours
    assert made.differences == {file.path: 0.125 for graph in ours.values() for file in graph.files}
    assert made.entry.provenance.metrics == {"judged_age": 7, "onnx_difference": made.differences}
    assert made.entry == bundle.manifest.methods[1].model_copy(update={"provenance": made.entry.provenance})
    assert (len(shown), len(searched)) == (2, 1)
    for random, real in (*shown, *searched):
        for rows in (random, real):
            assert {len(values) for values in rows.values()} == {8}
            assert {values.dtype for values in rows.values()} == {np.dtype(np.float32)}
            assert np.allclose(rows["condition"].sum(axis=1), 1)
        pictures = seen.resized(64)[:8]
        assert np.array_equal(real["image"], pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        assert 0 <= random["image"].min() < 0.01 < 0.99 < random["image"].max() <= 1
        assert abs(random["latent"].std() - 1) < 0.2
        assert set(np.argmax(real["condition"], axis=1)) == set(range(6))


@pytest.mark.usefixtures("graphs_from_before")
def test_the_searchs_gradient_is_proven_on_each_term_alone_and_on_all(
    checkpoint: Path, facenet: DlibResNet, seen: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Mapping[str, np.ndarray]] = []

    def note(objective: nn.Module, path: Path, signature: Any, inputs: Any) -> float:
        shown.extend(inputs)
        return 0.0

    monkeypatch.setattr(latent_gradient, "_require_parity", note)
    make_age_cgan(checkpoint, facenet, seen, tmp_path, ["fp16"], {})
    for rows in shown:
        assert rows["weights"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], *[[1, 1, 1]] * 5]
        image = torch.from_numpy(rows["image"]) * 2 - 1
        assert np.allclose(rows["embedding"], facenet(image).numpy(), atol=1e-5)


@pytest.mark.usefixtures("graphs_from_before")
def test_a_graph_that_differs_is_refused(
    checkpoint: Path, weights: Weights, facenet: DlibResNet, pack: Pack, seen: Faces, tmp_path: Path
) -> None:
    make_age_cgan(checkpoint, facenet, seen, tmp_path, ["fp16"], {})
    raw = weights | {"generator_ema": {name: tensor.clone() for name, tensor in weights["generator"].items()}}
    with pytest.raises(
        ParityError, match=r"^age_cgan_generator\.fp16\.onnx differs from its network by [.\d]+ at batch"
    ):
        make_age_cgan(pack(raw), facenet, seen, tmp_path, ["fp16"], {})


@pytest.mark.usefixtures("graphs_from_before")
def test_a_gradient_for_another_facenet_is_refused(
    checkpoint: Path,
    facenet: DlibResNet,
    seen: Faces,
    tmp_path: Path,
    randomised: Callable[[nn.Module, int], nn.Module],
) -> None:
    other = copy.deepcopy(facenet)
    randomised(other, 77)
    with pytest.raises(ParityError, match=r"^age_cgan_latent_gradient\.fp16\.onnx: terms differs from autograd's"):
        make_age_cgan(checkpoint, other, seen, tmp_path, ["fp16"], {})


@pytest.mark.parametrize("family", [None, "cyclegan"])
def test_another_family(pack: Pack, facenet: DlibResNet, seen: Faces, tmp_path: Path, family: str | None) -> None:
    with pytest.raises(ExportError, match=f"of the family {family!r}, not age_cgan"):
        make_age_cgan(pack(family=family), facenet, seen, tmp_path / "bundle", ["fp16"], {})
    assert not (tmp_path / "bundle").exists()


def test_too_few_faces(checkpoint: Path, facenet: DlibResNet, seen: Faces, tmp_path: Path) -> None:
    few = replace(seen, crops=Crops(seen.crops.pixels[:7], seen.crops.records[:7]))
    with pytest.raises(ExportError, match="8 real faces are needed to prove the graphs on, got 7"):
        make_age_cgan(checkpoint, facenet, few, tmp_path, ["fp16"], {})


def test_an_untrained_encoder(weights: Weights, facenet: DlibResNet, pack: Pack, seen: Faces, tmp_path: Path) -> None:
    without = {name: state for name, state in weights.items() if not name.startswith("encoder")}
    with pytest.raises(CheckpointError, match="no 'encoder_ema'; it has discriminator, generator, generator_ema"):
        make_age_cgan(pack(without), facenet, seen, tmp_path, ["fp16"], {})


def test_weights_of_another_shape(
    pack: Pack, shape: AgeCganShape, facenet: DlibResNet, seen: Faces, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="'encoder_ema' does not fit"):
        make_age_cgan(pack(shape=replace(shape, latent=17).as_dict()), facenet, seen, tmp_path, ["fp16"], {})


def test_a_sheet_has_a_latent_per_row_and_a_group_per_column(checkpoint: Path, networks: dict[str, nn.Module]) -> None:
    sheet = draw_samples(checkpoint, rows=3, seed=4)
    assert sheet.shape == (3, 6, 3, 64, 64)
    latent = torch.randn(3, 16, generator=torch.Generator().manual_seed(4))
    for row in range(3):
        expected = networks["generator"](latent[row].expand(6, -1), torch.eye(6))
        assert torch.allclose(sheet[row], expected, atol=1e-5)
    assert not torch.equal(sheet, draw_samples(checkpoint, rows=3, seed=5))


def thinned(shape: AgeCganShape, divisor: int) -> AgeCganShape:
    """Return the layout of ``shape`` with its encoder's and generator's widths divided."""
    encoder, generator = shape.encoder, shape.generator
    return replace(
        shape,
        encoder=replace(
            encoder, widths=tuple(width // divisor for width in encoder.widths), hidden=encoder.hidden // divisor
        ),
        generator=replace(
            generator, widths=tuple(width // divisor for width in generator.widths), hidden=generator.hidden // divisor
        ),
    )


@pytest.mark.parametrize("divisor", [16, pytest.param(1, marks=pytest.mark.slow)], ids=["thin", "as published"])
def test_the_published_layout_exports_too(
    divisor: int,
    pack: Pack,
    facenet: DlibResNet,
    seen: Faces,
    bundle: Bundle,
    randomised: Callable[..., nn.Module],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each kind of layer with a fraction of its width. But for the gradient, which ``test_the_published_layouts`` exports."""
    shape = thinned(PRESETS["paper"], divisor)
    weights = {
        "encoder_ema": randomised(build_encoder(shape), 6).state_dict(),
        "generator_ema": randomised(build_generator(shape), 7).state_dict(),
    }
    requested: list[Signature] = []

    def note(name: str, objective: nn.Module, signature: Signature, *_: Any) -> tuple[Graph, dict[str, float]]:
        requested.append(signature)
        return bundle.manifest.graphs[name], {}

    monkeypatch.setattr(age_cgan, "export_latent_gradient", note)
    made = make_age_cgan(pack(weights, shape=shape.as_dict()), facenet, seen, tmp_path, ["fp32"], {})
    assert set(made.differences) == {f"graphs/age_cgan_{role}.fp32.onnx" for role in ("encoder", "generator")}
    assert all(0 < difference <= TOLERANCE["fp32"] for difference in made.differences.values())
    assert made.graphs["age_cgan_generator"].signature.inputs[0].shape == ("batch", 100)
    assert requested == [latent_gradient_signature(64, 100, 6, 12)]


@pytest.mark.parametrize(
    ("stages", "learned"),
    [
        ({"stage": "latent", "earlier": [{"stage": "adversarial", "steps": 3}]}, False),
        ({"stage": "joint", "earlier": []}, True),
        ({"stage": "latent", "earlier": [{"stage": "joint", "steps": 3}]}, True),
    ],
)
@pytest.mark.usefixtures("graphs_from_before")
def test_a_generator_of_the_joint_stage_learned_under_the_mask(
    stages: dict[str, Any],
    learned: bool,
    pack: Pack,
    facenet: DlibResNet,
    seen: Faces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verified_export, "require_parity", lambda *arguments: 0.125)
    monkeypatch.setattr(latent_gradient, "_require_parity", lambda *arguments: 0.125)
    made = make_age_cgan(pack(**stages), facenet, seen, tmp_path, ["fp16"], {})
    assert isinstance(made.entry, AgeCganMethod)
    assert made.entry.learned_under_mask == learned
