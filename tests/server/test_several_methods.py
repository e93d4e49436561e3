"""A bundle of several methods over a real socket: which one serves, what it does to a photo, what comes back of the change."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import crop_matrix
from dorian_bundle.masks import face_mask
from dorian_bundle.mesh import mean_mesh
from dorian_server.pipeline.compositing import MEAN_LUMA_KEPT
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession
from tests.server.tiny_methods import FILTER_CHANGE

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]
Call = Callable[..., pb.AgeTransformResponse]

SECONDS = 120
YOUNG, OLD = pb.Age(filter="young"), pb.Age(filter="old")
AT_40 = pb.Age(years=40)
LARGEST = pb.FaceSelector(largest=True)


@pytest.fixture(scope="module")
def photo(portrait: Pixels) -> Pixels:
    """The portrait, its values from 20 to 197, in full colour."""
    return (portrait // 2 + np.array([70, 45, 20], np.uint8)).astype(np.uint8)


@pytest.fixture(scope="module")
def middle(photo: Pixels, embedded: Pipeline) -> tuple[slice, slice]:
    """A place of ``photo`` where the face's mask is whole: about the nose."""
    (face,) = embedded.face_reader.detector.detect(photo)
    size = 64
    matrix = crop_matrix(face.landmarks, embedded.face_reader.template, size)
    nose = matrix[:, :2] @ face.landmarks[2] + matrix[:, 2]
    landmarks = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    u, v = np.rint(nose).astype(int)
    assert face_mask(mean_mesh(landmarks), size)[v - 6 : v + 7, u - 6 : u + 7].min() == 1
    x, y = np.rint(face.landmarks[2]).astype(int)
    return np.s_[y - 4 : y + 5, x - 4 : x + 5]


@pytest.fixture(scope="module")
def age(several: FaceAgingStub, photo: Pixels, write: Write) -> Call:
    """Calls AgeTransform with the photo in a PNG; its faces are 40 years old."""
    data = write(photo)

    def call(*targets: pb.Age, **fields: Any) -> pb.AgeTransformResponse:
        parts = {"image": pb.Image(data=data), "source": AT_40} | fields
        return several.AgeTransform(pb.AgeTransformRequest(targets=targets, **parts), timeout=SECONDS)

    return call


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What each run of a graph gave, and how many rows of it, as it happens."""
    noted: list[tuple[str, int]] = []
    run = OnnxRuntimeSession.run

    def noting(session: OnnxRuntimeSession, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        outputs = run(session, inputs)
        noted.extend((name, len(values)) for name, values in outputs.items())
        return outputs

    monkeypatch.setattr(OnnxRuntimeSession, "run", noting)
    return noted


def at(*years: float) -> list[pb.Age]:
    return [pb.Age(years=item) for item in years]


def layer(delta: pb.Image) -> Pixels:
    """The layer's pixels (height, width, 4)."""
    assert delta.format == pb.IMAGE_FORMAT_PNG
    image = Image.open(io.BytesIO(delta.data))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (delta.width, delta.height))
    return np.asarray(image)


# --- which method ---


@pytest.mark.parametrize(
    ("targets", "method"),
    [(at(60), "age_translator"), ([pb.Age(group="60+"), *at(3)], "age_translator"), ([YOUNG, OLD], "cyclegan")],
)
def test_the_first_method_that_can_draw_all_targets_serves(age: Call, targets: list[pb.Age], method: str) -> None:
    response = age(*targets)
    assert response.provenance.method == method
    assert [result.faces[0].target for result in response.results] == targets
    assert [result.faces[0].source for result in response.results] == [AT_40] * len(targets)
    assert {time.stage for time in response.times} >= {"generate", "paste"}
    assert "encode" not in {time.stage for time in response.times}


@pytest.mark.parametrize(("target", "method"), [(at(60)[0], "age_translator"), (OLD, "cyclegan")])
def test_targets_of_single_faces_count_for_the_choice(age: Call, target: pb.Age, method: str) -> None:
    response = age(face_targets=[pb.FaceTarget(face=LARGEST, target=target)])
    assert response.provenance.method == method
    (result,) = response.results
    assert result.faces[0].target == target


def test_age_cgan_serves_by_name_as_it_does_alone(age: Call, stub: FaceAgingStub, photo: Pixels, write: Write) -> None:
    targets = [pb.Age(group="60+"), *at(12)]
    response = age(*targets, method="age_cgan")
    assert response.provenance.method == "age_cgan"
    request = pb.AgeTransformRequest(
        image=pb.Image(data=write(photo)), targets=targets, source=AT_40, method="age_cgan"
    )
    assert response.results == stub.AgeTransform(request, timeout=SECONDS).results
    assert response.results[0].image.data != age(targets[0]).results[0].image.data


def test_reconstruct_takes_the_method_that_has_an_encoder(several: FaceAgingStub, photo: Pixels, write: Write) -> None:
    image = pb.Image(data=write(photo))
    unnamed, named = (
        several.Reconstruct(pb.ReconstructRequest(image=image, method=method), timeout=SECONDS)
        for method in ("", "age_cgan")
    )
    assert unnamed.provenance.method == named.provenance.method == "age_cgan"
    assert unnamed.faces == named.faces


def test_methods_are_listed_with_families_groups_and_filters(several: FaceAgingStub, several_bundle: Bundle) -> None:
    response = several.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)
    methods = response.methods
    assert [(item.name, item.family, item.is_default) for item in methods] == [
        ("age_translator", "age_translator", True),
        ("age_cgan", "age_cgan", False),
        ("cyclegan", "cyclegan", False),
    ]
    labels = [group.label for group in PAPER_GROUPS]
    assert [[group.label for group in item.age_groups] for item in methods] == [labels, labels, []]
    assert [[(item.name, item.description) for item in method.filters] for method in methods] == [
        [],
        [],
        [("young", "Lighter."), ("old", "Darker.")],
    ]
    assert [item.crop_size for item in methods] == [64] * 3
    assert response.bundle_sha256 == several_bundle.sha256


# --- what it does ---


def test_years_change_the_photo_as_they_are_calibrated(
    age: Call, photo: Pixels, middle: tuple[slice, slice], read: Read
) -> None:
    """By so much red: from 40 to 76, a quarter as much again, where 70 is asked for; what is asked for below 50 as it is."""
    expected = {70: 1.25 * 36, 20: -20, 48: 8, 60: 1.125 * 23, 120: 1.25 * 50}
    response = age(*at(*expected))
    for result, change in zip(response.results, expected.values(), strict=True):
        pixels = read(result.image.data)[middle].astype(int)
        wished = photo[middle] + np.multiply(255 * change / 100, (1, 0, 0))
        assert np.abs(pixels - wished.clip(0, 255)).max() <= 0.51


@pytest.mark.parametrize(("filter_", "change"), [(YOUNG, FILTER_CHANGE), (OLD, -FILTER_CHANGE)])
def test_a_filter_changes_the_photo(
    age: Call, photo: Pixels, middle: tuple[slice, slice], read: Read, filter_: pb.Age, change: float
) -> None:
    (result,) = age(filter_).results
    pixels = read(result.image.data)[middle].astype(int)
    assert np.abs(pixels - photo[middle] - 255 * MEAN_LUMA_KEPT * change).max() <= 0.51


@pytest.mark.parametrize("own", [pb.Age(years=61.7), pb.Age(group="60+"), None])
def test_the_age_that_a_face_has_gives_the_photo_back_bit_for_bit(
    age: Call, photo: Pixels, read: Read, own: pb.Age | None
) -> None:
    """Given, or as the server itself has read it."""
    target = own or pb.Age(years=age(*at(60), source=None).results[0].faces[0].source.years)
    same, other = age(target, *at(20), source=own).results
    assert np.array_equal(read(same.image.data), photo)
    assert not np.array_equal(read(other.image.data), photo)


def test_a_sweep_is_one_batch_of_each_graph(age: Call, runs: list[tuple[str, int]]) -> None:
    age(*at(5, 15, 25, 45, 60, 75))
    assert [rows for name, rows in runs if name == "delta"] == [12], "each with its mirror image"
    runs.clear()
    age(*at(5, 15, 25, 45, 60, 75), method="age_cgan")
    assert [(name, rows) for name, rows in runs if name in ("latent", "image")] == [("latent", 1), ("image", 7)]
    runs.clear()
    age(YOUNG, OLD, YOUNG)
    assert [rows for name, rows in runs if name == "translated"] == [1, 1]


@pytest.mark.parametrize("target", [*at(20), OLD], ids=["years", "filter"])
def test_a_grey_photo_stays_grey(age: Call, photo: Pixels, write: Write, read: Read, target: pb.Age) -> None:
    grey = np.repeat(photo.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    for blend in (pb.BLEND_DELTA, pb.BLEND_REPLACE):
        (result,) = age(target, image=pb.Image(data=write(grey)), blend=blend).results
        pixels = read(result.image.data).astype(int)
        assert (pixels != grey).any()
        assert np.ptp(pixels, axis=2).max() <= 1


@pytest.mark.parametrize("target", [*at(20), OLD], ids=["years", "filter"])
def test_a_drawing_replaces_the_face(
    age: Call, photo: Pixels, middle: tuple[slice, slice], read: Read, target: pb.Age
) -> None:
    """These drawings are the crop in another tint, so that in its own colours they are the crop, as sharp as that is."""
    (result,) = age(target, blend=pb.BLEND_REPLACE).results
    pixels = read(result.image.data).astype(int)
    assert (pixels != photo).any()
    assert np.abs(pixels[middle] - photo[middle]).mean() < 4
    assert np.array_equal(pixels[:8], photo[:8])


# --- the layer ---


@pytest.mark.parametrize(
    ("targets", "method"),
    [(at(70, 20), ""), ([YOUNG, OLD], ""), (at(75, 9), "age_cgan")],
    ids=["years", "filters", "gan"],
)
@pytest.mark.parametrize("blend", [pb.BLEND_DELTA, pb.BLEND_REPLACE])
def test_the_photo_and_the_layer_are_the_picture(
    age: Call, photo: Pixels, read: Read, targets: list[pb.Age], method: str, blend: pb.Blend
) -> None:
    for result in age(*targets, method=method, blend=blend, with_delta=True).results:
        delta, picture = layer(result.delta), read(result.image.data)
        assert delta.shape == (*photo.shape[:2], 4)
        assert np.array_equal(photo + delta[..., :3].astype(int) - 128, picture)
        alpha = delta[..., 3]
        assert (alpha > 0)[(picture != photo).any(axis=2)].all()
        assert (delta[alpha == 0][:, :3] == 128).all()
        assert alpha.max() == 255
        assert 0.1 < (alpha == 0).mean() < 0.9


def test_the_layer_is_that_of_the_picture_before_it_is_compressed(age: Call) -> None:
    output = pb.OutputOptions(format=pb.IMAGE_FORMAT_JPEG, quality=40)
    (rough,), (exact,) = (age(*at(70), with_delta=True, **fields).results for fields in ({"output": output}, {}))
    assert rough.image.format == pb.IMAGE_FORMAT_JPEG
    assert rough.delta == exact.delta


def test_the_layers_alpha_is_the_mask_and_does_not_depend_on_the_age(age: Call) -> None:
    results = age(*at(70, 40, 20), with_delta=True).results
    alphas = [layer(result.delta)[..., 3] for result in results]
    assert (layer(results[1].delta)[..., :3] == 128).all(), "nothing was added at the face's own age"
    assert np.array_equal(alphas[0], alphas[1])
    assert np.array_equal(alphas[1], alphas[2])
    assert set(np.unique(alphas[0])) > {0, 255}, "it is soft"


def test_each_face_has_its_place_in_the_layer(several: FaceAgingStub, collage: Pixels, write: Write) -> None:
    own = pb.FaceTarget(face=pb.FaceSelector(index=1), target=at(9)[0])
    request = pb.AgeTransformRequest(
        image=pb.Image(data=write(collage)), targets=at(70), face_targets=[own], source=AT_40, with_delta=True
    )
    (result,) = several.AgeTransform(request, timeout=SECONDS).results
    delta = layer(result.delta)
    assert delta[:, 144:, 3].max() == delta[:, :136, 3].max() == 255
    assert delta[:, 144:, 0].max() > 128
    assert delta[:, :136, 0].min() < 128


def test_a_photo_stored_lying_has_its_layer_upright(age: Call, photo: Pixels, write: Write, read: Read) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    lying = write(np.ascontiguousarray(np.rot90(photo, -1)), exif=exif)
    (result,) = age(*at(70), image=pb.Image(data=lying), with_delta=True).results
    (upright,) = age(*at(70), with_delta=True).results
    assert (result.delta.width, result.delta.height) == (result.image.width, result.image.height) == (224, 208)
    assert np.array_equal(read(result.image.data), read(upright.image.data))
    assert result.delta == upright.delta


def test_no_layer_comes_unless_it_is_asked_for(age: Call) -> None:
    assert not age(*at(70)).results[0].HasField("delta")
