"""The age translator and CycleGAN behind the pipeline: which drawing belongs to which face and target, in how many batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.calibration import Calibration
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.face_shape import FaceShape
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.families.cyclegan import CycleGanMethod
from dorian_bundle.graphs import Signature
from dorian_bundle.mesh import INNER_LIPS, POINTS, mean_mesh
from dorian_bundle.skin_detail import SkinDetail
from dorian_bundle.tensors import luma
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.methods.age_translator import AgeTranslator
from dorian_server.methods.cyclegan import CycleGan
from dorian_server.methods.method import EncodingMethod
from dorian_server.pipeline.pipeline import Pipeline
from tests.server import tiny_methods

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
BuildPipeline = Callable[..., tuple[Pipeline, Any]]
FaceAt = Callable[[float, float, float], DetectedFace]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

SIZE = tiny_methods.SIZE
RAMP = np.linspace(0, 1, SIZE, dtype=np.float32)  # from left to right
REDDER = np.array([1, 0, 0], np.float32)[:, None, None]
YOUNG, OLD = Age(filter="young"), Age(filter="old")
MIDDLE = np.s_[28:36, 24:40]  # of a face at 0, 0


class Painter:
    """Deltas by a rule on image and years, of which it notes the ages it was told."""

    signature: Signature

    def __init__(self, rule: Callable[[Floats, Floats], Floats]) -> None:
        self.ages: list[list[tuple[float, float]]] = []
        self._rule = rule

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        own, drawn = inputs["source_age"], inputs["target_age"]
        assert len(own) == len(drawn) == len(inputs["image"])
        assert {value.dtype for value in inputs.values()} == {np.dtype(np.float32)}
        self.ages.append(list(zip(own.tolist(), drawn.tolist(), strict=True)))
        return {"delta": self._rule(inputs["image"], ((drawn - own) / 100)[:, None, None, None])}


class Shift:
    """Adds a number to each picture, and notes the batches' sizes."""

    signature: Signature

    def __init__(self, change: float) -> None:
        self.batches: list[int] = []
        self._change = np.float32(change)

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        self.batches.append(len(inputs["image"]))
        return {"translated": inputs["image"] + self._change}


def of_the_image(image: Floats, years: Floats) -> Floats:
    """What a mirrored image's delta mirrors."""
    return image * years


def of_the_place(image: Floats, years: Floats) -> Floats:
    """What it does not: more to the right."""
    return np.broadcast_to(RAMP * years, image.shape)


@pytest.fixture(scope="module")
def entries(several_bundle: Bundle) -> tuple[AgeTranslatorMethod, CycleGanMethod]:
    translator, _, filters = several_bundle.manifest.methods
    assert isinstance(translator, AgeTranslatorMethod)
    assert isinstance(filters, CycleGanMethod)
    return translator, filters


@pytest.fixture
def translate(entries: tuple[AgeTranslatorMethod, CycleGanMethod]) -> Callable[..., tuple[AgeTranslator, Painter]]:
    """An age translator that draws by a rule, calibrated or not, and its session."""

    def build(
        rule: Callable[[Floats, Floats], Floats] = of_the_image,
        calibration: Calibration | None = None,
        mirrored: bool = True,
        detail: SkinDetail | None = None,
        shape: FaceShape | None = None,
    ) -> tuple[AgeTranslator, Painter]:
        painter = Painter(rule)
        entry = entries[0].model_copy(update={"calibration": calibration or Calibration(), "mirrored": mirrored})
        return AgeTranslator(entry, lambda _: painter, detail, shape), painter

    return build


@pytest.fixture
def aged(flat_pipeline: BuildPipeline, large_face: DetectedFace, write: Write, read: Read) -> Callable[..., Floats]:
    """The pixels of a photo of ``large_face``, who is 20 unless said otherwise, at 80."""

    def age(translator: AgeTranslator, photo: Pixels, source: float = 20, target: float = 80, **options: Any) -> Floats:
        pipeline, _ = flat_pipeline(large_face, methods=[translator])
        request = AgeRequest(write(photo), years(target), Age(years=source), **options)
        (picture,) = pipeline.age(request, translator, Clock()).images
        return read(picture.image.data).astype(np.float32)

    return age


@pytest.fixture
def large_face(face_at: FaceAt) -> DetectedFace:
    """A face whose crop is four times as large as the networks'."""
    return face_at(0, 0, 4 * SIZE)


def crop(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def years(*ages: float) -> list[Age]:
    return [Age(years=age) for age in ages]


def told(painter: Painter) -> list[tuple[float, float]]:
    """The ages told in the one batch, once where crop and mirror image were told the same."""
    (batch,) = painter.ages
    assert batch[::2] == batch[1::2]
    return batch[::2]


# --- the age translator ---


def test_each_delta_is_of_its_own_face_and_ages(translate: Callable[..., tuple[AgeTranslator, Painter]]) -> None:
    translator, painter = translate()
    crops, sources = [crop(0), crop(1), crop(2)], years(20, 50, 30)
    targets = [years(70, 10, 40), years(30), [Age(group="60+"), Age(group="0-18")]]
    clock = Clock()
    drawings = translator.draw(crops, sources, targets, clock)
    assert list(clock.seconds) == ["generate"]
    assert told(painter) == [(20, 70), (20, 10), (20, 40), (50, 30), (30, 70), (30, 9)]
    for face, source, aims, drawn in zip(crops, (20, 50, 30), ((70, 10, 40), (30,), (70, 9)), drawings, strict=True):
        for aim, drawing in zip(aims, drawn, strict=True):
            pixels = face.astype(np.float32) / 255
            assert np.allclose(drawing.before, pixels, atol=1e-6)
            assert np.allclose(drawing.delta, pixels * (aim - source) / 100, atol=1e-6)
            assert np.allclose(drawing.image, np.clip(pixels * (1 + (aim - source) / 100), 0, 1), atol=1e-6)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_delta_is_the_mean_of_the_crops_and_its_mirror_images(
    translate: Callable[..., tuple[AgeTranslator, Painter]], mirrored: bool
) -> None:
    translator, painter = translate(of_the_place, mirrored=mirrored)
    ((drawing, other),) = translator.draw([crop(0)], years(20), [years(60, 10)], Clock())
    assert [len(batch) for batch in painter.ages] == [4 if mirrored else 2]
    shape = np.full(SIZE, 0.5) if mirrored else RAMP
    for drawn, change in ((drawing, 0.4), (other, -0.1)):
        assert np.allclose(drawn.delta, (shape * change)[None, :, None], atol=1e-6)


@pytest.mark.parametrize(("faces", "targets", "batches"), [(1, 1, [2]), (1, 6, [12]), (2, 8, [32]), (3, 7, [32, 10])])
def test_all_faces_and_targets_are_drawn_together_but_not_too_many(
    translate: Callable[..., tuple[AgeTranslator, Painter]], faces: int, targets: int, batches: list[int]
) -> None:
    translator, painter = translate()
    crops, aims = [crop(seed) for seed in range(faces)], range(10, 10 + targets)
    drawings = translator.draw(crops, years(*range(20, 20 + faces)), [years(*aims)] * faces, Clock())
    assert [len(batch) for batch in painter.ages] == batches
    for index, drawn in enumerate(drawings):
        for aim, drawing in zip(aims, drawn, strict=True):
            assert np.allclose(drawing.delta, crops[index] / 255 * (aim - 20 - index) / 100, atol=1e-6)


def test_ages_that_the_network_does_not_know_are_drawn_as_the_nearest(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
) -> None:
    translator, painter = translate()
    ((drawing, _, beyond),) = translator.draw([crop(0)], years(110), [years(0, 60, 120)], Clock())
    assert told(painter) == [(90, 5), (90, 60), (90, 90)]
    assert np.allclose(drawing.delta, crop(0) / 255 * -0.85, atol=1e-6)
    assert not beyond.delta.any()


def test_calibration_says_what_is_drawn_and_how_much_of_it(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
) -> None:
    translator, painter = translate(calibration=tiny_methods.CALIBRATION)
    requested = years(70, 60, 50, 40, 90, 32)
    (drawn,) = translator.draw([crop(0)], years(30), [requested], Clock())
    assert told(painter) == [(30, 76), (30, 63), (30, 50), (30, 40), (30, 90), (30, 32)]
    expected = [1.25 * 0.46, 1.125 * 0.33, 0.2, 0.1, 1.25 * 0.6, 0.02]
    for drawing, change in zip(drawn, expected, strict=True):
        assert np.allclose(drawing.delta, crop(0) / 255 * change, atol=1e-6)


@pytest.mark.parametrize("age", [Age(years=66.6), Age(group="60+"), Age(years=0), Age(years=110)])
def test_the_age_that_a_face_has_is_drawn_without_a_change(
    translate: Callable[..., tuple[AgeTranslator, Painter]], age: Age
) -> None:
    translator, _ = translate(calibration=tiny_methods.CALIBRATION)
    ((drawing,),) = translator.draw([crop(0)], [age], [[age]], Clock())
    assert not drawing.delta.any()


def test_a_grey_photo_stays_grey(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
    flat_pipeline: BuildPipeline,
    face_at: FaceAt,
    write: Write,
    read: Read,
) -> None:
    """What would be red is as much lighter; in a photo with colour it is red."""
    translator, _ = translate(lambda image, change: np.broadcast_to(REDDER * change, image.shape))
    pipeline, _ = flat_pipeline(face_at(0, 0, SIZE), methods=[translator])
    for colour, change in [((90, 90, 90), (15, 15, 15)), ((90, 60, 40), (51, 0, 0))]:
        photo = np.full((100, 120, 3), colour, np.uint8)
        request = AgeRequest(write(photo), years(60), Age(years=40))
        (picture,) = pipeline.age(request, translator, Clock()).images
        pixels = read(picture.image.data).astype(int)
        assert (pixels[MIDDLE] - colour == change).all()
        assert (pixels[SIZE:] == colour).all()


@pytest.mark.parametrize(("strength", "blend"), [(1.0, "delta"), (0.0, "delta"), (1.0, "replace")])
def test_the_photos_own_skin_gains_detail_with_age(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
    aged: Callable[..., Floats],
    strength: float,
    blend: Literal["delta", "replace"],
) -> None:
    """A network that changes nothing leaves detail alone to change: finer than its crop, and not where a drawing replaces it."""
    energy = np.zeros((2, 3, 4, 4), np.float32)
    energy[1] = 0.4
    table = SkinDetail(np.array([20, 80], np.float32), energy)
    translator, _ = translate(lambda image, _: np.zeros_like(image), detail=table)
    grain = np.random.default_rng(0).normal(128, 10, (4 * SIZE + 20, 4 * SIZE, 1))
    photo = np.repeat(np.clip(grain, 0, 255).astype(np.uint8), 3, axis=2)
    pixels = aged(translator, photo, strength=strength, blend=blend)
    cheek = np.s_[int(2.3 * SIZE) : int(2.6 * SIZE), int(0.9 * SIZE) : int(1.2 * SIZE)]
    gain = pixels[cheek].std() / photo[cheek].astype(float).std()
    if blend == "replace":
        assert gain < 0.7
    else:
        assert gain == pytest.approx(np.exp(0.2 * 2) if strength else 1.0, rel=0.12)
        assert (pixels[4 * SIZE :] == photo[4 * SIZE :]).all()


@pytest.mark.parametrize(
    ("source", "target", "strength", "dark", "light"),
    [(20.0, 80.0, 1.0, 23, 23), (20.0, 80.0, 1.5, 23, 23), (20.0, 80.0, 0.5, 12, 12), (80.0, 20.0, 1.0, 23, 77)],
    ids=["older", "more", "less", "younger"],
)
def test_what_is_drawn_makes_no_spot(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
    aged: Callable[..., Floats],
    large_face: DetectedFace,
    source: float,
    target: float,
    strength: float,
    dark: int,
    light: int,
) -> None:
    """A network that draws dark and light spots of 77 grey levels on both cheeks: they stand out by 23, but wrinkles may go."""
    mesh = mean_mesh(large_face.landmarks)
    between, y = mesh[72, 0] - mesh[71, 0], round(mesh[67, 1])
    cheeks = [round(mesh[67, 0] + side * 0.4 * between) for side in (-1, 1)]

    def spots(image: Floats, _: Floats) -> Floats:
        delta = np.zeros_like(image)
        for row, level in ((y, -0.3), (y + 0.3 * between, 0.3)):
            for x in cheeks:
                delta[..., round(row / 4) : round(row / 4) + 2, x // 4 : x // 4 + 2] = level
        return delta

    table = SkinDetail(np.array([20, 80], np.float32), np.zeros((2, 3, 4, 4), np.float32))
    translator, _ = translate(spots, detail=table)
    photo = np.full((4 * SIZE, 4 * SIZE, 3), 120, np.uint8)
    change = luma(aged(translator, photo, source=source, target=target, strength=strength)) - 120
    assert -dark - 6 < change.min() < -0.6 * dark
    assert 0.6 * light < change.max() < light + 12  # which is interpolated


def test_less_stands_out_on_dark_skin(
    translate: Callable[..., tuple[AgeTranslator, Painter]], aged: Callable[..., Floats], large_face: DetectedFace
) -> None:
    """Of a spot of 40 grey levels 23 are left on a luma of .5, and two thirds of that on one of .235."""
    x, y = (round(float(place) / 4) for place in large_face.landmarks[2])

    def spot(image: Floats, _: Floats) -> Floats:
        delta = np.zeros_like(image)
        delta[..., y : y + 2, x : x + 2] = 0.6
        return delta

    table = SkinDetail(np.array([20, 80], np.float32), np.zeros((2, 3, 4, 4), np.float32))
    translator, _ = translate(spot, detail=table)
    peaks = []
    for level in (128, 60):
        photo = np.full((4 * SIZE, 4 * SIZE, 3), level, np.uint8)
        peaks.append(float((luma(aged(translator, photo)) - level).max()))
    assert peaks[1] / peaks[0] == pytest.approx(60 / 255 / 0.35, abs=0.12)


def test_what_skin_gets_of_detail_has_the_colours_of_shadows(
    translate: Callable[..., tuple[AgeTranslator, Painter]], aged: Callable[..., Floats]
) -> None:
    deeper = np.stack([np.zeros((3, 4, 4)), np.full((3, 4, 4), 0.5)]).astype(np.float32)
    translator, _ = translate(lambda image, _: np.zeros_like(image), detail=SkinDetail(np.float32([20, 80]), deeper))
    texture = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 30, (4 * SIZE, 4 * SIZE)), (0, 0), 1.5)
    colours = np.array([180.0, 120.0, 90.0])
    photo = (colours + texture[..., None]).clip(0, 255).astype(np.uint8)
    red, green, blue = (aged(translator, photo, source=20.0, target=80.0) - photo).reshape(-1, 3).T
    assert np.abs(green).max() > 4
    for change, share, level in ((red, 0.92, 180), (blue, 1.12, 90)):
        slope = (change * green).sum() / (green * green).sum()
        assert slope == pytest.approx(share * level / (1.05 * 120), rel=0.06)


@pytest.mark.parametrize(("strength", "least"), [(1.0, 0.7), (1.5, 0.7), (0.5, 0.85)])
def test_what_is_drawn_leaves_dark_hair_most_of_its_light(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
    aged: Callable[..., Floats],
    large_face: DetectedFace,
    strength: float,
    least: float,
) -> None:
    """A network that takes 51 grey levels from a beard of 30 leaves seven tenths of them."""
    table = SkinDetail(np.array([20, 80], np.float32), np.zeros((2, 3, 4, 4), np.float32))
    translator, _ = translate(lambda image, _: np.full_like(image, -0.2), detail=table)
    photo = np.full((4 * SIZE, 4 * SIZE, 3), 30, np.uint8)
    row, column = (round(float(place)) for place in large_face.landmarks[2][::-1])
    left = luma(aged(translator, photo, strength=strength))[row, column] / 30
    assert left == pytest.approx(least, abs=0.04)


@pytest.mark.parametrize(
    ("strength", "blend", "fall"), [(1.0, "delta", 7.0), (0.5, "delta", 3.5), (1.0, "replace", 0.0)]
)
def test_the_faces_shape_changes_with_age(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
    aged: Callable[..., Floats],
    large_face: DetectedFace,
    strength: float,
    blend: Literal["delta", "replace"],
    fall: float,
) -> None:
    """A network that changes nothing leaves the shape alone to change: the face's middle falls, but not where a drawing replaces it."""
    offsets = np.zeros((2, POINTS, 2), np.float32)
    offsets[1, :, 1] = 0.1  # distances between the eyes
    table = FaceShape(np.array([20, 80], np.float32), offsets)
    translator, _ = translate(lambda image, _: np.zeros_like(image), shape=table)
    between = float(np.hypot(*(large_face.landmarks[1] - large_face.landmarks[0])))
    photo = np.full((4 * SIZE + 20, 4 * SIZE, 3), 90, np.uint8)
    row, column = (round(float(place)) for place in large_face.landmarks[2][::-1])  # the tip of the nose
    photo[row - 3 : row + 4, column - 3 : column + 4] = 200
    rows, columns = np.nonzero(aged(translator, photo, strength=strength, blend=blend)[..., 0] > 130)
    assert columns.mean() == pytest.approx(column, abs=0.6)
    assert rows.mean() == pytest.approx(row + 0.1 * between * fall / 7, abs=0.8)


def test_teeth_are_spared_most_of_a_change(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
    aged: Callable[..., Floats],
    large_face: DetectedFace,
) -> None:
    """A network that darkens all alike darkens what shows between the lips by three tenths of it."""
    table = SkinDetail(np.array([20, 80], np.float32), np.zeros((2, 3, 4, 4), np.float32))
    translator, _ = translate(lambda image, _: np.full_like(image, -0.2), detail=table)
    photo = np.full((4 * SIZE, 4 * SIZE, 3), 180, np.uint8)
    darker = 180 - aged(translator, photo)[..., 0]
    mesh = mean_mesh(large_face.landmarks)
    x, y = np.rint(mesh[INNER_LIPS].mean(axis=0)).astype(int)
    cheek = round(mesh[67, 0] + 0.4 * (mesh[72, 0] - mesh[71, 0]))
    assert darker[y, x] == pytest.approx(0.3 * 0.2 * 255, abs=5)
    assert darker[round(mesh[67, 1]), cheek] == pytest.approx(0.2 * 255, abs=3)


def test_rims_of_spectacles_stay_as_they_are(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
    aged: Callable[..., Floats],
    large_face: DetectedFace,
) -> None:
    """A network that lightens all alike lightens skin and a line under the mouth, but no line between eyes and nose."""
    table = SkinDetail(np.array([20, 80], np.float32), np.zeros((2, 3, 4, 4), np.float32))
    translator, _ = translate(lambda image, _: np.full_like(image, 0.2), detail=table)
    mesh = mean_mesh(large_face.landmarks)
    between = mesh[72, 0] - mesh[71, 0]
    x, eyes = round(mesh[67, 0] + 0.4 * between), mesh[71:, 1].mean()
    rim, skin, beard = (round(eyes + share * between) for share in (0.3, 0.5, 1.0))
    photo = np.full((4 * SIZE, 4 * SIZE, 3), 180, np.uint8)
    thick = max(2, round(0.03 * between))
    for row in (rim, beard):
        photo[row - thick : row + thick] = 20
    lighter = aged(translator, photo)[..., 0] - photo[..., 0]
    assert lighter[rim, x] == pytest.approx(0, abs=3)
    assert lighter[skin, x] > 0.15 * 255
    assert lighter[beard, x] > 0.15 * 255


# --- CycleGAN ---


def test_each_filter_runs_once_for_the_faces_that_it_is_wished_for(
    entries: tuple[AgeTranslatorMethod, CycleGanMethod],
) -> None:
    sessions = {"tiny_young": Shift(0.25), "tiny_old": Shift(-0.5)}
    filters = CycleGan(entries[1], sessions.__getitem__)
    crops, clock = [crop(seed) for seed in range(3)], Clock()
    drawings = filters.draw(crops, years(1, 2, 3), [[YOUNG, OLD, YOUNG], [YOUNG], [YOUNG, YOUNG]], clock)
    assert list(clock.seconds) == ["generate"]
    assert (sessions["tiny_young"].batches, sessions["tiny_old"].batches) == ([3], [1])
    for face, changes, drawn in zip(crops, ((0.25, -0.5, 0.25), (0.25,), (0.25, 0.25)), drawings, strict=True):
        for change, drawing in zip(changes, drawn, strict=True):
            assert np.allclose(drawing.before, face / 255, atol=1e-6)
            assert np.allclose(drawing.delta, change, atol=1e-6)
            assert np.allclose(drawing.image, np.clip(face / 255 + change, 0, 1), atol=1e-6)


def test_a_filter_that_nobody_asks_for_does_not_run(entries: tuple[AgeTranslatorMethod, CycleGanMethod]) -> None:
    sessions = {"tiny_young": Shift(0.25), "tiny_old": Shift(-0.5)}
    CycleGan(entries[1], sessions.__getitem__).draw([crop(0)] * 40, years(*range(40)), [[OLD]] * 40, Clock())
    assert (sessions["tiny_young"].batches, sessions["tiny_old"].batches) == ([], [40])


# --- all of them ---


def test_methods_that_have_an_encoder(
    translate: Callable[..., tuple[AgeTranslator, Painter]],
    entries: tuple[AgeTranslatorMethod, CycleGanMethod],
    flat_networks: AgeCgan,
) -> None:
    translator, _ = translate()
    methods = [flat_networks, translator, CycleGan(entries[1], lambda _: Shift(0))]
    assert [isinstance(method, EncodingMethod) for method in methods] == [True, False, False]


def test_a_bundle_without_an_encoder_or_filters_says_so(
    translate: Callable[..., tuple[AgeTranslator, Painter]], flat_pipeline: BuildPipeline
) -> None:
    translator, _ = translate()
    pipeline, _ = flat_pipeline(methods=[translator])
    with pytest.raises(
        RequestError, match=r"^age_translator has no encoder, so it cannot reconstruct or optimise; no method can$"
    ):
        pipeline.encoding_method("")
    with pytest.raises(RequestError, match=r"^age_translator has no filter 'young'; the bundle has no filters$"):
        pipeline.age(AgeRequest(b"", [YOUNG]), translator, Clock())
