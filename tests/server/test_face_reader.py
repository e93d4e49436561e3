"""What is read from faces: ages, embeddings, who is one person; and what is measured of a face before and after."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.face_readers import AcceptThreshold
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import Age, AgeRequest, CompareRequest, FaceSelector, ReconstructRequest
from dorian_server.domain.results import ReconstructedFace
from dorian_server.faces.reader import DEFAULT_FALSE_ACCEPT_RATE, AgeEstimator, FaceEmbedder, cosine_similarity
from dorian_server.pipeline.pipeline import Pipeline

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
FaceAt = Callable[[float, float, float], DetectedFace]
BuildPipeline = Callable[..., tuple[Pipeline, Any]]
Years = Callable[[float], float]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

SKIN, OTHER = (200, 150, 80), (60, 150, 120)


def cosine(one: Any, other: Any) -> float:
    return float(np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


def painted(*colours: tuple[int, int, int]) -> Pixels:
    """A photo with a square of 64 pixels of each colour, side by side."""
    return np.concatenate([np.full((64, 64, 3), colour, np.uint8) for colour in colours], axis=1)


# --- readers ---


def numbers(reading: Any) -> NDArray[np.float64]:
    """An embedding, or an estimated age, without its interval, as an array."""
    return np.asarray(reading[0] if isinstance(reading, tuple) else reading, dtype=np.float64)


def test_the_embedded_readers_read_each_face_by_itself(embedded: Pipeline) -> None:
    ages, identities = embedded.face_reader.age_estimator, embedded.face_reader.embedder
    for reader, read in [(ages, ages.estimate), (identities, identities.embed)]:
        size = reader.crop_size
        crops = list(np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8))
        together = read(crops)
        for crop, expected in zip(crops, together, strict=True):
            assert np.abs(numbers(read([crop])[0]) - numbers(expected)).max() < 1e-3


def test_embeddings_have_a_length_of_1(embedded: Pipeline, default_bundle: Bundle) -> None:
    size = embedded.face_reader.embedder.crop_size
    crops = list(np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8))
    embeddings = embedded.face_reader.embedder.embed(crops)
    assert embeddings.shape == (4, default_bundle.manifest.readers.facenet.embedding_size)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-3)


def test_the_astronaut_looks_like_an_adult(embedded: Pipeline, astronaut_file: bytes) -> None:
    (face,) = embedded.detect(astronaut_file, Clock()).faces
    assert face.reading is not None
    assert 15 < face.reading.estimated_age < 65


def test_a_similarity_stays_between_minus_1_and_1() -> None:
    """However rounding falls: clients take roots of what is computed from it."""
    vectors = np.random.default_rng(0).normal(size=(500, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert max(float(vector @ vector) for vector in vectors) > 1
    for vector in vectors:
        assert 1 - 1e-6 < cosine_similarity(vector, vector) <= 1
        assert -1 <= cosine_similarity(vector, -vector) < -1 + 1e-6
    assert cosine_similarity(vectors[0], vectors[1]) == pytest.approx(cosine(vectors[0], vectors[1]), abs=1e-6)


# --- thresholds ---


class Unused:
    """A session that nobody runs."""

    signature: Any = None

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        raise AssertionError("it is run")


def reader_with(bundle: Bundle, **thresholds: float) -> FaceEmbedder:
    """A reader with similarities by false-accept rate."""
    pairs = [AcceptThreshold(false_accept_rate=float(rate), similarity=level) for rate, level in thresholds.items()]
    return FaceEmbedder(bundle.manifest.readers.facenet.model_copy(update={"thresholds": tuple(pairs)}), Unused())


def test_a_threshold_is_that_of_its_rate(default_bundle: Bundle) -> None:
    reader = reader_with(default_bundle, **{"1e-2": 0.3, "1e-3": 0.5, "1e-4": 0.7})
    assert reader.threshold(0.01) == (0.01, 0.3)
    assert reader.threshold(0.0001) == (0.0001, 0.7)
    assert reader.threshold(np.float32(0.01)) == (0.01, 0.3)
    assert reader.threshold(0) == (DEFAULT_FALSE_ACCEPT_RATE, 0.5)


def test_without_the_usual_rate_the_lowest_stands_for_0(default_bundle: Bundle) -> None:
    assert reader_with(default_bundle, **{"1e-2": 0.3, "5e-4": 0.5}).threshold(0) == (0.0005, 0.5)


@pytest.mark.parametrize("rate", [0.002, 1.0, -0.01, float("nan"), 1e-300])
def test_a_rate_that_was_not_measured(default_bundle: Bundle, rate: float) -> None:
    with pytest.raises(RequestError, match=r"known: 0\.001, 0\.01$") as caught:
        reader_with(default_bundle, **{"1e-2": 0.3, "1e-3": 0.5}).threshold(rate)
    assert (caught.value.reason, caught.value.field) == ("SETTING_OUT_OF_RANGE", "false_accept_rate")


def test_what_a_similarity_means(default_bundle: Bundle) -> None:
    reader = reader_with(default_bundle, **{"1e-2": 0.3, "1e-3": 0.5})
    assert reader.match(0.4, 0.01).same_person
    assert not reader.match(0.4).same_person
    assert (reader.match(0.4).threshold, reader.match(0.4).false_accept_rate) == (0.5, 0.001)


# --- finding ---


def test_each_face_is_found_with_its_own_age(
    flat_pipeline: BuildPipeline, face_at: FaceAt, face_in_a_point: DetectedFace, years_of: Years, write: Write
) -> None:
    pipeline, _ = flat_pipeline(face_at(64, 0, 64), face_in_a_point, face_at(0, 0, 64))
    clock = Clock()
    detected = pipeline.detect(write(painted(SKIN, OTHER)), clock)
    assert (detected.width, detected.height) == (128, 64)
    assert [face.index for face in detected.faces] == [0, 1, 2]
    first, broken, last = detected.faces
    assert first.reading.estimated_age == pytest.approx(years_of(120), abs=0.1)  # the crop's rim blends with the other
    assert last.reading.estimated_age == pytest.approx(years_of(80), abs=0.1)
    assert broken.reading is None
    assert list(clock.seconds) == ["decode", "detect", "align", "read"]


def test_a_photo_without_a_face_is_no_error(flat_pipeline: BuildPipeline, write: Write) -> None:
    assert flat_pipeline()[0].detect(write(painted(SKIN)), Clock()).faces == []


# --- comparing ---


def test_two_faces_are_as_similar_as_their_embeddings(
    flat_pipeline: BuildPipeline, face_at: FaceAt, write: Write
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, 64), face_at(64, 0, 64))
    first, second = write(painted(SKIN, OTHER)), write(painted(SKIN, SKIN))
    clock = Clock()
    compared = pipeline.compare(CompareRequest(first, second, second_face=FaceSelector(index=1)), clock)
    assert compared.similarity == pytest.approx(1, abs=1e-6)
    assert (compared.first.index, compared.second.index) == (0, 1)
    assert list(clock.seconds) == ["decode", "detect", "align", "read"]
    others = pipeline.compare(CompareRequest(first, second, FaceSelector(index=1)), Clock())
    assert others.similarity == pytest.approx(
        cosine(OTHER, SKIN), abs=1e-3
    )  # a crop of 150 px mixes the colours where they meet


@pytest.mark.parametrize(
    ("fields", "reason", "field", "words"),
    [
        ({"first": b""}, "IMAGE_EMPTY", "first.data", "the first photo: the image is empty"),
        ({"second": b"text"}, "IMAGE_UNREADABLE", "second.data", "the second photo: the image cannot be decoded"),
        ({"first_face": FaceSelector(index=4)}, "FACE_NOT_FOUND", "first_face", "the first photo: no face is at index 4"),
        ({"second_face": FaceSelector(box=(0, 0, 1, 1))}, "FACE_NOT_FOUND", "second_face", "the second photo: no face"),
        ({"second_face": FaceSelector(index=1)}, "FACE_UNUSABLE", "second_face", "face 1 cannot be aligned"),
        ({"false_accept_rate": 0.5}, "SETTING_OUT_OF_RANGE", "false_accept_rate", "no threshold is known"),
    ],
)  # fmt: skip
def test_what_of_a_comparison_is_at_fault(
    flat_pipeline: BuildPipeline,
    face_at: FaceAt,
    face_in_a_point: DetectedFace,
    write: Write,
    fields: dict[str, Any],
    reason: str,
    field: str,
    words: str,
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, 64), face_in_a_point)
    photo = write(painted(SKIN))
    with pytest.raises(RequestError) as caught:
        pipeline.compare(CompareRequest(**{"first": photo, "second": photo} | fields), Clock())
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert str(caught.value).startswith(words)


# --- before and after ---


def test_the_report_says_how_the_face_looks_before_and_after(
    flat_pipeline: BuildPipeline, face_at: FaceAt, years_of: Years, write: Write, read: Read
) -> None:
    """The known readers tell age and person by the mean colour of the crop, which is the photo's own square."""
    photo = np.full((100, 120, 3), (40, 90, 70), np.uint8)
    pipeline, _ = flat_pipeline(face_at(20, 20, 64))
    targets = [Age(group="60+"), Age(group="0-18")]
    for picture in pipeline.age(AgeRequest(write(photo), targets), pipeline.method(""), Clock()).images:
        (report,) = picture.faces
        colour = read(picture.image.data)[20:84, 20:84].mean(axis=(0, 1))
        assert report.face.reading.estimated_age == pytest.approx(years_of(70), abs=1e-3)
        assert report.after.estimated_age == pytest.approx(years_of(colour[2]), abs=0.01)
        assert abs(report.after.estimated_age - report.face.reading.estimated_age) > 1
        assert report.similarity == pytest.approx(cosine(colour, (40, 90, 70)), abs=1e-5)
        assert report.similarity < 0.9999


def test_a_reconstruction_of_known_networks(
    flat_pipeline: BuildPipeline, face_at: FaceAt, write: Write, read: Read
) -> None:
    """They draw the crop's own red, the group's green and half blue, so that all that is measured is known."""
    pipeline, _ = flat_pipeline(face_at(10, 10, 80))
    data = write(np.full((100, 120, 3), (250, 140, 30), np.uint8))
    clock = Clock()
    request = ReconstructRequest(data, Age(group="30-39"))
    (face,) = pipeline.reconstruction.reconstruct(request, pipeline.encoding_method(""), clock, threading.Event())
    assert isinstance(face, ReconstructedFace)
    assert (read(face.crop.data) == (250, 140, 30)).all()
    assert (read(face.image.data) == (250, 90, 128)).all()
    assert face.latent[0] * 255 == pytest.approx(250, abs=1e-3)
    assert (face.source, face.source_given) == (Age(group="30-39"), True)
    assert face.pixel_error == pytest.approx(np.sqrt((50**2 + (128 - 30) ** 2) / 3) / 255, abs=1e-5)
    assert face.similarity == pytest.approx(cosine((250, 140, 30), (250, 90, 128)), abs=1e-5)
    assert list(clock.seconds) == ["decode", "detect", "align", "read", "encode", "generate", "reread", "write"]


def test_a_reconstruction_at_the_age_that_the_face_looks(
    flat_pipeline: BuildPipeline, face_at: FaceAt, years_of: Years, group_levels: Floats, write: Write, read: Read
) -> None:
    pipeline, _ = flat_pipeline(face_at(0, 0, 64))
    request = ReconstructRequest(write(painted((90, 90, 48))))
    (face,) = pipeline.reconstruction.reconstruct(request, pipeline.encoding_method(""), Clock(), threading.Event())
    assert face.source == Age(years=pytest.approx(years_of(48), abs=1e-3))
    assert years_of(48) == 24, "the centre of a group"
    assert not face.source_given
    assert read(face.image.data)[0, 0, 1] == round(float(group_levels[1]) * 255)


def test_readers_are_of_the_manifests_sizes(
    flat_readers: tuple[AgeEstimator, FaceEmbedder], default_bundle: Bundle
) -> None:
    readers = default_bundle.manifest.readers
    ages, identities = flat_readers
    assert (ages.crop_size, identities.crop_size) == (readers.age_estimator.crop_size, readers.facenet.crop_size)
    assert identities.thresholds == {item.false_accept_rate: item.similarity for item in readers.facenet.thresholds}
