"""Age-cGAN's third graph behind a method: whether there is one, what it is given, and that loss, gradient and terms are its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.ages import PAPER_GROUPS, age_condition
from dorian_bundle.families.age_cgan import AgeCganMethod, latent_gradient_signature
from dorian_bundle.graphs import Signature
from dorian_server.domain.requests import Age, Objective
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.methods.method import EncodingMethod, Subject
from dorian_server.pipeline.latent_search import WEIGHTS
from dorian_server.pipeline.method_selection import can_encode
from dorian_server.runtimes.session import Session
from dorian_server.serving.bundles import build_pipeline
from dorian_server.settings import Settings
from tests.server.tiny_searches import EMBEDDING, LATENT, SIZE, level_of, loss_of, start_of, terms_of

Floats = NDArray[np.float32]
FACE = (220, 160, 60)
YEARS = 47.0
# Far from any minimum, and no two numbers alike.
LATENT_AT = np.array([0.3, -0.7, 1.1, 0.4], np.float32)


class Recorder:
    """Notes what it is given; its answers have nothing to do with it, but the gradient."""

    signature: Signature = latent_gradient_signature(SIZE, LATENT, len(PAPER_GROUPS), EMBEDDING)

    def __init__(self) -> None:
        self.given: list[dict[str, Floats]] = []

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        self.given.append(dict(inputs))
        rows = len(inputs["latent"])
        return {
            "loss": np.full(rows, 2.5, np.float32),
            "gradient": -inputs["latent"],
            "terms": np.tile(np.array([1, 2, 3], np.float32), (rows, 1)),
        }


@pytest.fixture(scope="module")
def methods(searching_bundle: Bundle) -> dict[str, Any]:
    """The methods of ``searching_bundle`` by their names."""
    pipeline = build_pipeline(Settings(searching_bundle.folder, threads=1))
    return {method.manifest.name: method for method in pipeline.methods}


@pytest.fixture
def open_with(searching_bundle: Bundle) -> Callable[[str, Session], tuple[AgeCgan, list[str]]]:
    """A method whose graphs are all one session, and the names of the graphs that it opened."""

    def build(name: str, session: Session) -> tuple[AgeCgan, list[str]]:
        (entry,) = (method for method in searching_bundle.manifest.methods if method.name == name)
        assert isinstance(entry, AgeCganMethod)
        opened: list[str] = []

        def open_session(graph: str) -> Session:
            opened.append(graph)
            return session

        return AgeCgan(entry, open_session), opened

    return build


def subject_of(colour: Sequence[int] = FACE, years: float = YEARS) -> Subject:
    """A face that is ``colour`` all over; its embedding is the FaceNet's."""
    crop = np.full((SIZE, SIZE, 3), colour, np.uint8)
    turned = 2 * colour[0] / 255
    return Subject(crop, np.array([np.cos(turned), np.sin(turned)], np.float32), Age(years=years))


# --- whether there is one ---


def test_methods_with_the_graph_search_and_others_do_not(methods: dict[str, Any]) -> None:
    assert (methods["searching"].is_searchable, methods["encoding"].is_searchable) == (True, False)
    assert [isinstance(method, EncodingMethod) for method in methods.values()] == [False, True, True]
    assert [can_encode(method, searchable=False) for method in methods.values()] == [False, True, True]
    assert [can_encode(method, searchable=True) for method in methods.values()] == [False, False, True]


def test_the_graphs_that_there_are_are_opened(open_with: Callable[..., tuple[AgeCgan, list[str]]]) -> None:
    for name, graphs in (("encoding", ["encoder", "generator"]), ("searching", ["encoder", "generator", "gradient"])):
        method, opened = open_with(name, Recorder())
        assert opened == graphs
        assert method.latent_size == LATENT


# --- what it is given ---


def test_each_input_is_what_its_name_says(open_with: Callable[..., tuple[AgeCgan, list[str]]]) -> None:
    recorder, random = Recorder(), np.random.default_rng(0)
    method, _ = open_with("searching", recorder)
    crop = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    embedding = random.normal(size=EMBEDDING).astype(np.float32)
    method.loss_and_gradient(LATENT_AT, Subject(crop, embedding, Age(years=YEARS)), (30.0, 1.0, 0.1))
    (given,) = recorder.given
    for spec in recorder.signature.inputs:
        assert given[spec.name].shape == (1, *spec.shape[1:])
        assert given[spec.name].dtype == np.float32
    assert set(given) == {spec.name for spec in recorder.signature.inputs}
    assert np.array_equal(given["latent"][0], LATENT_AT)
    assert np.array_equal(given["condition"][0], age_condition(PAPER_GROUPS, YEARS))
    assert np.array_equal(np.rint(given["image"][0] * 255).transpose(1, 2, 0), crop)
    assert np.array_equal(given["embedding"][0], embedding)
    assert np.allclose(given["weights"][0], (30, 1, 0.1))


def test_a_group_has_its_own_condition(open_with: Callable[..., tuple[AgeCgan, list[str]]]) -> None:
    recorder = Recorder()
    method, _ = open_with("searching", recorder)
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    for index, group in enumerate(PAPER_GROUPS):
        subject = Subject(crop, np.zeros(EMBEDDING, np.float32), Age(group=group.label))
        method.loss_and_gradient(LATENT_AT, subject, WEIGHTS["identity"])
        assert recorder.given[-1]["condition"][0].tolist() == np.eye(len(PAPER_GROUPS))[index].tolist()


def test_what_it_gives_is_handed_on(open_with: Callable[..., tuple[AgeCgan, list[str]]]) -> None:
    method, _ = open_with("searching", Recorder())
    loss, gradient, terms = method.loss_and_gradient(LATENT_AT, subject_of(), WEIGHTS["identity"])
    assert (type(loss), loss) == (float, 2.5)
    assert np.array_equal(gradient, -LATENT_AT)
    assert terms.tolist() == [1, 2, 3]


# --- what it gives ---


@pytest.mark.parametrize("aim", WEIGHTS)
@pytest.mark.parametrize("years", [5.0, 47.0, 80.0])
def test_loss_and_terms_are_those_of_what_is_drawn(methods: dict[str, Any], aim: Objective, years: float) -> None:
    level = level_of(years)
    loss, _, terms = methods["searching"].loss_and_gradient(LATENT_AT, subject_of(years=years), WEIGHTS[aim])
    assert terms == pytest.approx(terms_of(LATENT_AT, FACE, level), abs=1e-5)
    assert loss == pytest.approx(loss_of(aim, LATENT_AT, FACE, level), abs=1e-4)


@pytest.mark.parametrize("aim", WEIGHTS)
def test_the_gradient_is_that_of_the_loss(methods: dict[str, Any], aim: Objective) -> None:
    _, gradient, _ = methods["searching"].loss_and_gradient(LATENT_AT, subject_of(), WEIGHTS[aim])
    level, step = level_of(YEARS), 1e-4
    for index, slope in enumerate(gradient):
        beside = np.eye(LATENT)[index] * step
        rise = loss_of(aim, LATENT_AT + beside, FACE, level) - loss_of(aim, LATENT_AT - beside, FACE, level)
        assert slope == pytest.approx(rise / (2 * step), abs=1e-4)


def test_the_terms_fit_the_networks_beside_it(methods: dict[str, Any]) -> None:
    """What encoder and generator do, and what the gradient says of it, are one."""
    method, subject = methods["searching"], subject_of()
    (latent,) = method.encode([subject.crop])
    assert latent == pytest.approx(start_of(FACE), abs=1e-5)
    (picture,) = method.generate(latent[None], [subject.age])
    _, _, terms = method.loss_and_gradient(latent, subject, WEIGHTS["blended"])
    assert terms[0] == pytest.approx(np.square(picture - subject.crop / 255).mean(), abs=1e-5)


def test_concurrent_calls_do_not_mix(methods: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    latents = random.normal(size=(40, LATENT)).astype(np.float32)
    faces = [tuple(map(int, colour)) for colour in random.integers(30, 230, (40, 3))]
    years = random.uniform(0, 90, 40)

    def call(index: int) -> float:
        subject = subject_of(faces[index], float(years[index]))
        loss, _, _ = methods["searching"].loss_and_gradient(latents[index], subject, WEIGHTS["blended"])
        return float(loss)

    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(call, range(40)))
    expected = [
        loss_of("blended", latent, face, level_of(float(age)))
        for latent, face, age in zip(latents, faces, years, strict=True)
    ]
    assert result == pytest.approx(expected, abs=1e-4)
