"""Hair behind the pipeline: found by the networks' answers around one face, and recoloured with its age."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.calibration import Calibration
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.graphs import Signature
from dorian_bundle.hair import HAIR_SIZE
from dorian_bundle.hair_networks import HairNetworks
from dorian_bundle.mesh import OUTER_LIPS, OUTLINE, mean_mesh
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.faces.hair import HairFinder
from dorian_server.methods.age_translator import AgeTranslator
from dorian_server.pipeline.pipeline import Pipeline

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
BuildPipeline = Callable[..., tuple[Pipeline, Any]]
SIDE = 400
SKIN, BROWN, WALL = (205, 160, 135), (60, 42, 35), (70, 110, 170)
LANDMARKS = DEFAULT_TEMPLATE.points(150) + np.array([125.0, 150.0])


class Answer:
    """A network that says of each picture what a rule makes of it, and notes the pictures' shapes."""

    signature: Signature

    def __init__(self, name: str, rule: Callable[[Floats], Floats]) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._name, self._rule = name, rule

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        self.shapes.append(inputs["image"].shape)
        return {self._name: self._rule(inputs["image"]).astype(np.float32)}


def dark(image: Floats) -> Floats:
    """What is dark is hair, and nothing a beard."""
    hair = image.mean(axis=1, keepdims=True) < 0.3
    return np.concatenate([hair, np.zeros_like(hair)], axis=1)


def dark_below(image: Floats) -> Floats:
    """What is dark is a beard in the middle of the view's lower half, and hair elsewhere."""
    rows, columns = np.mgrid[: image.shape[2], : image.shape[3]]
    is_dark, below = image.mean(axis=1, keepdims=True) < 0.3, (rows > 55) & (np.abs(columns - 48) < 22)
    return np.concatenate([is_dark & ~below, is_dark & below], axis=1)


def not_blue(image: Floats) -> Floats:
    return np.asarray(image[:, 2:] < image[:, :1] + 0.1)


def nothing(image: Floats) -> Floats:
    return np.zeros_like(image[:, :2])


def bearded() -> tuple[Pixels, NDArray[np.bool_]]:
    """A photo of a painted head with a dark chin, and where that is."""
    photo, _ = head()
    outline, lips = mean_mesh(LANDMARKS)[OUTLINE], mean_mesh(LANDMARKS)[OUTER_LIPS]
    face = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(face, [outline.round().astype(np.int32)], 1)
    chin = (face > 0) & (np.arange(SIDE)[:, None] > lips[:, 1].max() + 4)
    photo[chin] = BROWN
    return photo, chin


def head() -> tuple[Pixels, NDArray[np.bool_]]:
    """A photo of a painted head, and where its hair is."""
    skull, face = (np.zeros((SIDE, SIDE), np.uint8) for _ in range(2))
    outline = mean_mesh(LANDMARKS)[OUTLINE]
    middle = outline.mean(axis=0).round().astype(int)
    cv2.ellipse(skull, (int(middle[0]), int(middle[1]) - 24), (88, 116), 0, 0, 360, 1, -1)
    cv2.fillPoly(face, [outline.round().astype(np.int32)], 1)
    hair = (skull > 0) & (face == 0) & (np.arange(SIDE)[:, None] < middle[1] + 40)
    photo = np.full((SIDE, SIDE, 3), WALL, np.uint8)
    photo[face > 0], photo[hair] = SKIN, BROWN
    noise = np.random.default_rng(0).normal(0, 4, photo.shape)
    return (photo + noise).clip(0, 255).astype(np.uint8), hair


@pytest.fixture
def hair_networks(several_bundle: Bundle) -> HairNetworks:
    provenance = several_bundle.manifest.methods[0].provenance
    return HairNetworks(hair_segmenter="hair", person_segmenter="people", provenance=provenance)


def test_hair_is_found_in_pixels_of_the_photo(hair_networks: HairNetworks) -> None:
    answers = {"hair": Answer("hair", dark), "people": Answer("people", not_blue)}
    photo, hair = head()
    found = HairFinder(hair_networks, answers.__getitem__).find(
        photo, LANDMARKS, mean_mesh(LANDMARKS), DEFAULT_TEMPLATE
    )
    matrix, cut = found.matrix, found.hair
    assert cut is not None
    assert found.beard is None
    assert answers["hair"].shapes == [(1, 3, 96, 96)]
    assert answers["people"].shapes == [(1, 3, 256, 256)]
    assert cut.view.shape == (HAIR_SIZE, HAIR_SIZE, 3)
    back = cv2.warpAffine(cut.matte, cv2.invertAffineTransform(matrix), (SIDE, SIDE))
    assert back[cv2.erode(hair.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0].mean() > 0.85
    assert back[cv2.dilate(hair.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0].mean() < 0.02


@pytest.mark.parametrize(
    ("hair", "people"), [(nothing, not_blue), (dark, lambda image: np.zeros_like(image[:, :1]))], ids=["bald", "nobody"]
)
def test_no_hair_is_none(
    hair_networks: HairNetworks, hair: Callable[..., Floats], people: Callable[..., Floats]
) -> None:
    answers = {"hair": Answer("hair", hair), "people": Answer("people", people)}
    finder = HairFinder(hair_networks, answers.__getitem__)
    found = finder.find(head()[0], LANDMARKS, mean_mesh(LANDMARKS), DEFAULT_TEMPLATE)
    assert found.hair is found.beard is None


@pytest.fixture
def translator(translator_that_finds: Callable[..., AgeTranslator]) -> AgeTranslator:
    """A translator that draws nothing, and finds hair."""
    return translator_that_finds(dark)


@pytest.fixture
def translator_that_finds(hair_networks: HairNetworks, several_bundle: Bundle) -> Callable[..., AgeTranslator]:
    """Makes a translator that draws ``delta`` everywhere, and finds hair by a rule."""
    entry = several_bundle.manifest.methods[0]
    assert isinstance(entry, AgeTranslatorMethod)
    entry = entry.model_copy(update={"hair": hair_networks, "calibration": Calibration(), "mirrored": False})

    def make(rule: Callable[[Floats], Floats], delta: float = 0.0) -> AgeTranslator:
        answers = {
            "hair": Answer("hair", rule),
            "people": Answer("people", not_blue),
            entry.graph: Answer("delta", lambda image: np.full_like(image, delta)),
        }
        return AgeTranslator(entry, answers.__getitem__, None, None)

    return make


@pytest.fixture
def face() -> DetectedFace:
    return DetectedFace((125.0, 150.0, 150.0, 150.0), np.asarray(LANDMARKS), 0.99)


@pytest.fixture
def aged(
    translator: AgeTranslator,
    face: DetectedFace,
    flat_pipeline: BuildPipeline,
    write: Callable[..., bytes],
    read: Callable[[bytes], Pixels],
) -> Callable[..., Floats]:
    """How the photo of the painted head, who is 25, changes: float32 (height, width, 3)."""

    def age(target: float, **options: Any) -> Floats:
        photo, _ = head()
        pipeline, _ = flat_pipeline(face, methods=[translator])
        request = AgeRequest(write(photo), [Age(years=target)], Age(years=25), **options)
        (picture,) = pipeline.age(request, translator, Clock()).images
        return read(picture.image.data).astype(np.float32) - photo

    return age


def test_hair_goes_grey_with_age(aged: Callable[..., Floats]) -> None:
    _, hair = head()
    inside = cv2.erode(hair.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    changes = [aged(target)[inside].mean() for target in (25, 50, 75)]
    assert changes[0] == 0
    assert 5 < changes[1] < changes[2] - 20
    assert np.abs(aged(75)[0:40]).max() == 0  # the wall


@pytest.mark.parametrize("options", [{"keep_hair": True}, {"strength": 0.0}, {"blend": "replace"}], ids=str)
def test_hair_may_keep_its_colour(aged: Callable[..., Floats], options: dict[str, Any]) -> None:
    _, hair = head()
    beyond = hair & (np.arange(SIDE)[:, None] < LANDMARKS[0, 1] - 70)  # of the face's own region
    assert beyond.sum() > 500
    assert np.abs(aged(75, **options)[beyond]).max() <= 1


def test_hair_is_grey_at_most(aged: Callable[..., Floats]) -> None:
    assert np.abs(aged(75, strength=1.5) - aged(75)).max() <= 1


def test_the_layer_has_what_hair_changes(
    aged: Callable[..., Floats],
    translator: AgeTranslator,
    face: DetectedFace,
    flat_pipeline: BuildPipeline,
    write: Callable[..., bytes],
) -> None:
    pipeline, _ = flat_pipeline(face, methods=[translator])
    request = AgeRequest(write(head()[0]), [Age(years=75)], Age(years=25), with_delta=True)
    delta = pipeline.age(request, translator, Clock()).images[0].delta
    assert delta is not None
    layer = cv2.imdecode(np.frombuffer(delta.data, np.uint8), cv2.IMREAD_UNCHANGED)  # BGRA
    change = layer[..., 2::-1].astype(np.float32) - 128
    inside = cv2.erode(head()[1].astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert (layer[..., 3][inside] > 200).mean() > 0.8
    assert change[inside].mean() == pytest.approx(aged(75)[inside].mean(), abs=2)


@pytest.mark.parametrize(
    ("target", "lighter"), [(75, (40, 200)), (8, (60, 160)), (28, (-1, 1))], ids=["old", "child", "adult"]
)
def test_a_beard_goes_grey_and_is_gone_on_a_child(
    target: float,
    lighter: tuple[float, float],
    translator_that_finds: Callable[..., AgeTranslator],
    face: DetectedFace,
    flat_pipeline: BuildPipeline,
    write: Callable[..., bytes],
    read: Callable[[bytes], Pixels],
) -> None:
    photo, chin = bearded()
    inside = cv2.erode(chin.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    method = translator_that_finds(
        dark_below, delta=-0.2 if target == 8 else 0.0
    )  # what is drawn on a beard goes with it
    pipeline, _ = flat_pipeline(face, methods=[method])
    request = AgeRequest(write(photo), [Age(years=target)], Age(years=25))
    (picture,) = pipeline.age(request, method, Clock()).images
    change = (read(picture.image.data).astype(np.float32) - photo)[inside].mean()
    assert lighter[0] <= change <= lighter[1]
