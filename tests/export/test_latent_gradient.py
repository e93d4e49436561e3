"""The gradient of the latent optimisation as a graph: that it is the objective's, row by row, and refused where it is another's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_bundle import Bundle
from dorian_bundle.families.age_cgan import latent_gradient_signature
from dorian_bundle.graphs import Graph, Signature
from dorian_export.errors import ParityError
from dorian_export.latent_gradient import TOLERANCE, _trace, export_latent_gradient
from dorian_export.weight_storage import round_to_bytes, round_to_half
from dorian_training.losses.latent import LatentObjective
from dorian_training.methods.latent_optimisation import SearchSettings, search_latents
from dorian_training.networks.age_cgan import AgeCganShape, GeneratorShape, build_generator
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.facenet import FaceNet
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

Array = NDArray[np.float32]
Randomise = Callable[[nn.Module, int], nn.Module]
NAME = "age_cgan_latent_gradient"
FILE = f"graphs/{NAME}.fp16.onnx"
OUTPUTS = ("loss", "gradient", "terms")
LATENT, GROUPS, EMBEDDING = 16, 6, 12


@pytest.fixture(scope="module")
def objective(networks: dict[str, nn.Module], facenet: DlibResNet) -> LatentObjective:
    """What the bundle's graph is of, its weights as the graph holds them."""
    made = copy.deepcopy(LatentObjective(networks["generator"], facenet))
    round_to_half(made.generator)
    round_to_bytes(made.facenet)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def session(bundle: Bundle) -> ort.InferenceSession:
    return ort.InferenceSession(str(bundle.graph_path(NAME)), providers=["CPUExecutionProvider"])


def rows_of(batch: int, seed: int = 3, embedding: int = EMBEDDING) -> dict[str, Array]:
    """Inputs that no export has seen, every row unlike the others."""
    random = np.random.default_rng(seed)
    expected = random.standard_normal((batch, embedding))
    rows = {
        "latent": random.standard_normal((batch, LATENT)),
        "condition": random.dirichlet(np.ones(GROUPS), batch),
        "image": random.random((batch, 3, 64, 64)),
        "embedding": expected / np.linalg.norm(expected, axis=1, keepdims=True),
        "weights": random.uniform(0.2, 2, (batch, 3)),
    }
    return {name: values.astype(np.float32) for name, values in rows.items()}


def steady_rows(objective: LatentObjective, batch: int, seed: int = 3) -> dict[str, Array]:
    """Return rows of ``rows_of`` that stand clear of every rectifier's kink, where rounding decides what the gradient is.

    Those rows: of which the gradient hardly moves as the latent is shaken by far more than rounding does.
    """
    rows = rows_of(4 * batch + 8, seed, objective.facenet.embedding)
    gradient = by_autograd(objective, rows)["gradient"]
    moved = np.zeros(len(gradient))
    for shake in 1e-5 * np.random.default_rng(0).standard_normal((4, *rows["latent"].shape)):
        shaken = by_autograd(objective, rows | {"latent": rows["latent"] + shake})["gradient"]
        moved = np.maximum(moved, np.abs(shaken - gradient).max(axis=1) / np.abs(gradient).max(axis=1))
    steady = np.flatnonzero(moved < 0.3 * TOLERANCE)[:batch]
    assert len(steady) == batch
    return {name: values[steady] for name, values in rows.items()}


def run(session: ort.InferenceSession, rows: Mapping[str, Array]) -> dict[str, Array]:
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), dict(rows)), strict=True))


def by_autograd(objective: LatentObjective, rows: Mapping[str, Array]) -> dict[str, Array]:
    """Loss, gradient and terms as torch has them in double precision, where no rounding turns a rectifier over."""
    latent, condition, image, embedding, weights = (torch.from_numpy(values).double() for values in rows.values())
    latent.requires_grad_(True)
    loss, terms = copy.deepcopy(objective).double()(latent, condition, image * 2 - 1, embedding, weights)
    (gradient,) = torch.autograd.grad(loss.sum(), latent)
    return {"loss": loss.detach().numpy(), "gradient": gradient.numpy(), "terms": terms.detach().numpy()}


def assert_same(result: Mapping[str, Array], expected: Mapping[str, Array], within: float = TOLERANCE) -> None:
    """To a thousandth, or ``within`` a share, of what is largest of each output and of each term."""
    for name, values in expected.items():
        assert result[name].shape == values.shape
        off, largest = np.abs(result[name] - values), np.abs(values)
        assert off.max() <= within * largest.max(), name
        if name == "terms":
            assert (off.max(axis=0) <= within * largest.max(axis=0)).all()


# --- the bundle's graph ---


@pytest.mark.parametrize("batch", [1, 2, 5, 9])
def test_it_is_what_autograd_gives(session: ort.InferenceSession, objective: LatentObjective, batch: int) -> None:
    rows = steady_rows(objective, batch, seed=batch)
    expected = by_autograd(objective, rows)
    assert min(np.abs(values).max() for values in expected.values()) > 0.01
    assert_same(run(session, rows), expected)


def test_the_terms_are_those_of_the_paper_and_a_prior(
    session: ort.InferenceSession, networks: dict[str, nn.Module], facenet: DlibResNet
) -> None:
    """Reckoned from what the networks, whose weights nobody has rounded, make of the latents."""
    rows = rows_of(4)
    with torch.no_grad():
        drawn = networks["generator"](torch.from_numpy(rows["latent"]), torch.from_numpy(rows["condition"]))
        recorded = facenet(drawn).numpy()
    pixelwise = np.square((drawn.numpy() + 1) / 2 - rows["image"]).mean(axis=(1, 2, 3))
    identity = 2 - 2 * np.sum(recorded * rows["embedding"], axis=1)
    prior = np.square(np.square(rows["latent"]).mean(axis=1) - 1)
    result = run(session, rows)
    assert result["terms"] == pytest.approx(np.stack([pixelwise, identity, prior], axis=1), rel=0.02, abs=2e-3)
    assert result["loss"] == pytest.approx(np.sum(result["terms"] * rows["weights"], axis=1), rel=1e-5)


@pytest.mark.parametrize("term", [0, 1, 2])
def test_the_gradient_is_the_slope_of_the_loss(session: ort.InferenceSession, term: int) -> None:
    """Along some directions, by differences of the graph's own loss."""
    rows = rows_of(1) | {"weights": np.eye(3, dtype=np.float32)[[term]]}
    gradient = run(session, rows)["gradient"][0].astype(np.float64)
    step = 4e-3
    for seed in range(4):
        direction = np.random.default_rng(seed).standard_normal(LATENT)
        if seed == 0:
            direction = gradient.copy()  # the steepest
        direction *= step / np.linalg.norm(direction)
        either = [
            run(session, rows | {"latent": (rows["latent"] + way).astype(np.float32)})
            for way in (direction, -direction)
        ]
        slope = float(either[0]["loss"][0] - either[1]["loss"][0]) / 2
        assert slope == pytest.approx(gradient @ direction, abs=0.03 * step * np.linalg.norm(gradient))


def test_rows_of_a_batch_do_not_influence_each_other(session: ort.InferenceSession, objective: LatentObjective) -> None:
    rows, others = steady_rows(objective, 5), rows_of(5, seed=8)
    result = run(session, rows)
    changed = {name: values.copy() for name, values in rows.items()}
    for name, values in others.items():
        changed[name][2] = 3 * values[2]
    again = run(session, changed)
    kept = [0, 1, 3, 4]
    for name, values in result.items():
        assert again[name][kept] == pytest.approx(values[kept], rel=1e-5, abs=1e-6)
        assert not np.allclose(again[name][2], values[2], rtol=0.01)
    for row in range(5):
        alone = run(session, {name: values[[row]] for name, values in rows.items()})
        assert all(alone[name][0] == pytest.approx(result[name][row], rel=1e-4, abs=1e-5) for name in OUTPUTS)


def test_weights_choose_among_the_terms(session: ort.InferenceSession) -> None:
    one = {name: np.repeat(values[:1], 5, axis=0) for name, values in rows_of(1).items()}
    weights = np.array([*np.eye(3), [0, 0, 0], [3, 0.5, 0.25]], dtype=np.float32)
    result = run(session, one | {"weights": weights})
    assert np.ptp(result["terms"], axis=0) == pytest.approx([0, 0, 0], abs=1e-6)
    assert result["loss"][:3] == pytest.approx(result["terms"][0], rel=1e-5)
    item = result["gradient"][:3]
    assert all(np.abs(item[a] - item[b]).max() > 1e-3 for a, b in ((0, 1), (1, 2), (0, 2)))
    assert (result["loss"][3], np.abs(result["gradient"][3]).max()) == (0, 0)
    assert result["gradient"][4] == pytest.approx(weights[4] @ item, rel=1e-4, abs=1e-5)


def test_a_search_on_the_graph_ends_where_torchs_does(
    session: ort.InferenceSession, objective: LatentObjective
) -> None:
    """Of pictures that the generator can draw, from the same start in as many steps.

    From near by, as the networks are random: farther off, rounding alone decides which of many valleys a search ends in.
    """
    rows, subjects = rows_of(3), rows_of(3, seed=5)
    rows["latent"] = subjects["latent"] + 0.3 * rows["latent"]
    condition = torch.from_numpy(rows["condition"])
    with torch.no_grad():
        drawn = objective.generator(torch.from_numpy(subjects["latent"]), condition)
        rows |= {"image": ((drawn + 1) / 2).numpy(), "embedding": objective.facenet(drawn).numpy()}
    settings = SearchSettings(pixelwise_weight=15.0, steps=40)
    start, embedding = torch.from_numpy(rows["latent"]), torch.from_numpy(rows["embedding"])
    expected = search_latents(objective, start, condition, drawn, embedding, settings)
    weights = np.array([settings.weights], dtype=np.float32)
    options = {"maxiter": settings.steps, "maxfun": settings.steps, "ftol": 1e-5, "gtol": 0.0}
    for row in range(3):
        own = {name: values[[row]] for name, values in rows.items()} | {"weights": weights}
        losses: list[float] = []

        def at(latent: NDArray[np.float64], own: dict[str, Array] = own, losses: list[float] = losses) -> Any:
            result = run(session, own | {"latent": latent[None].astype(np.float32)})
            losses.append(float(result["loss"][0]))
            return losses[-1], result["gradient"][0].astype(np.float64)

        minimize(at, own["latent"][0].astype(np.float64), jac=True, method="L-BFGS-B", options=options)
        after = float(expected.after[row] @ weights[0])
        assert min(losses[: settings.steps]) == pytest.approx(after, rel=0.01, abs=1e-5)
        assert after < 0.1 * losses[0]


# --- what is refused ---


class Detached(LatentObjective):
    """Has the right loss and terms, and a gradient that lacks what the identity adds."""

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        _, terms = super().forward(latent, *rest)
        terms = torch.cat([terms[:, :1], terms[:, 1:2].detach(), terms[:, 2:]], dim=1)
        return (terms * rest[-1]).sum(dim=1), terms


class LastRow(LatentObjective):
    """Wrong about the eighth row alone."""

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        loss, terms = super().forward(latent, *rest)
        terms[7:] = terms[7:] + 1
        return loss, terms


class Shifted(LatentObjective):
    """Off by a part of a thousandth more, or less, than is allowed."""

    by = 0.0

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        loss, terms = super().forward(latent, *rest)
        return loss * (1 + self.by), terms


class Lost(LatentObjective):
    """Gives no number."""

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        loss, terms = super().forward(latent, *rest)
        return loss * torch.nan, terms


@pytest.fixture
def export_again(
    graphs_from_before: None, bundle: Bundle, objective: LatentObjective, tmp_path: Path
) -> Callable[[LatentObjective], tuple[Graph, dict[str, float]]]:
    """Exports an objective; the bundle's graph is what it gets."""
    signature = bundle.manifest.graphs[NAME].signature
    rows = [steady_rows(objective, 8), steady_rows(objective, 8, seed=4)]

    def export_again(objective: LatentObjective) -> tuple[Graph, dict[str, float]]:
        return export_latent_gradient(NAME, objective, signature, rows, tmp_path, "fp16")

    return export_again


Export = Callable[[LatentObjective], tuple[Graph, dict[str, float]]]


def test_the_same_objective_passes(
    export_again: Export, networks: dict[str, nn.Module], facenet: DlibResNet, bundle: Bundle
) -> None:
    """With the weights that are rounded as it is exported; they stay as they were."""
    given = LatentObjective(networks["generator"], facenet).train()
    before = copy.deepcopy(given.state_dict())
    graph, differences = export_again(given)
    assert graph == bundle.manifest.graphs[NAME]
    assert differences.keys() == {FILE}
    assert 0 < differences[FILE] < TOLERANCE
    assert given.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.state_dict().items())
    given.eval()


def test_a_graph_of_another_objective_is_refused(
    export_again: Export, networks: dict[str, nn.Module], facenet: DlibResNet, randomised: Randomise
) -> None:
    generator = networks["generator"]
    other = randomised(copy.deepcopy(generator), 61)
    message = rf"^{NAME}\.fp16\.onnx: loss differs from autograd's by [\d.e+-]+ of its largest value at batch 1; 0\.001 is allowed"
    with pytest.raises(ParityError, match=message):
        export_again(LatentObjective(other, facenet))
    with pytest.raises(ParityError, match="loss differs"):
        export_again(LatentObjective(generator, cast(FaceNet, randomised(copy.deepcopy(facenet), 62))))
    with pytest.raises(ParityError, match=r"gradient differs .* at batch 1"):
        export_again(Detached(generator, facenet))
    with pytest.raises(ParityError, match=r"terms differs .* at batch 8"):
        export_again(LastRow(generator, facenet))
    with pytest.raises(ParityError, match="loss differs from autograd's by nan"):
        export_again(Lost(generator, facenet))


def test_autograd_judges_in_double_precision(
    export_again: Export, networks: dict[str, nn.Module], facenet: DlibResNet
) -> None:
    """In single, rounding would turn over a rectifier for some faces, and refuse a graph that is right."""
    dtypes: set[torch.dtype] = set()

    class Noting(LatentObjective):
        def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
            dtypes.update(item.dtype for item in (latent, *rest, *self.parameters()))
            return super().forward(latent, *rest)

    export_again(Noting(networks["generator"], facenet))
    assert dtypes == {torch.float64}


def test_what_is_allowed_ends_at_the_tolerance(
    export_again: Export, networks: dict[str, nn.Module], facenet: DlibResNet
) -> None:
    assert TOLERANCE == 1e-3
    off = Shifted(networks["generator"], facenet)
    off.by = 7e-4
    assert export_again(off)[1][FILE] == pytest.approx(7e-4, rel=0.1)
    off.by = 1.5e-3
    with pytest.raises(ParityError, match=r"differs from autograd's by 0\.001[456] of"):
        export_again(off)


# --- graphs of other networks ---


class WideFaceNet(nn.Module):
    """A FaceNet that sees 80 pixels a side, with maxima among its layers."""

    size, embedding = 80, 10

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, (1, 7), 3, (0, 3)), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 13 * 13, self.embedding))

    def forward(self, image: Tensor) -> Tensor:
        assert image.shape[1:] == (3, self.size, self.size)
        return F.normalize(self.head(self.features(image)), dim=1)


def signature_for(facenet: FaceNet) -> Signature:
    return latent_gradient_signature(64, LATENT, GROUPS, facenet.embedding)


@pytest.fixture(scope="module")
def wide(randomised: Randomise) -> LatentObjective:
    """Of a generator that doubles by transposed convolutions, and of ``WideFaceNet``."""
    shape = AgeCganShape(latent=LATENT, generator=GeneratorShape((6,), 4, "transposed", hidden=0, leak=0.2))
    generator, facenet = randomised(build_generator(shape), 71), randomised(WideFaceNet(), 72)
    return LatentObjective(generator, cast(FaceNet, facenet))


def test_a_facenet_of_another_side_and_a_generator_of_another_layout(wide: LatentObjective) -> None:
    """What is traced, before it is exported."""
    traced = _trace(wide, signature_for(wide.facenet))
    for batch in (1, 4):
        rows = steady_rows(wide, batch, seed=9)
        result = traced(*(torch.from_numpy(values) for values in rows.values()))
        named = {name: values.numpy() for name, values in zip(OUTPUTS, result, strict=True)}
        assert_same(named, by_autograd(wide, rows))


def assert_exported(objective: LatentObjective, folder: Path, within: float = TOLERANCE) -> None:
    """The graph of ``objective``, written anew, is what autograd gives; no more than operators of any runtime are in it."""
    facenet = objective.facenet
    rows = [rows_of(8, embedding=facenet.embedding)]
    graph, _ = export_latent_gradient(NAME, objective, signature_for(facenet), rows, folder, "fp32")
    path = folder / graph.files[0].path
    assert not {node.op_type for node in onnx.load(path).graph.node} & {"Resize", "MaxPool", "ConstantOfShape"}
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 4):
        fed = rows_of(batch, seed=9, embedding=facenet.embedding)
        assert_same(run(session, fed), by_autograd(objective, fed), within)


@pytest.mark.slow
def test_networks_of_another_side_and_layout_export_too(wide: LatentObjective, tmp_path: Path) -> None:
    assert_exported(wide, tmp_path)


@pytest.mark.slow
def test_the_published_layouts(randomised: Randomise, tmp_path: Path) -> None:
    """Of Age-cGAN, and of the FaceNet whose weights are published, by its kinds of blocks.

    So deep a network of random weights has some rectifier that rounding turns over in almost any face.
    """
    generator = randomised(build_generator(AgeCganShape(latent=LATENT)), 73)
    facenet = randomised(InceptionResNetV1(InceptionResNetShape(repeats=(1, 1, 1), embedding=24)), 74)
    assert_exported(LatentObjective(generator, cast(FaceNet, facenet)), tmp_path, within=5e-3)
