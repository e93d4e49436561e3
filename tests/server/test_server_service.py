"""The service over a real socket: what each RPC answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_bundle.alignment import crop_matrix, warp_crop
from dorian_server import __version__
from dorian_server.detection import CascadeDetector, DetectedFace
from dorian_server.service import FaceAgingService

Pixels = NDArray[np.uint8]
Read = Callable[[bytes], Pixels]

SECONDS = 120
STAGES = ["decode", "detect", "align", "encode", "generate"]
FORMATS = {pb.IMAGE_FORMAT_JPEG: b"\xff\xd8", pb.IMAGE_FORMAT_PNG: b"\x89PNG", pb.IMAGE_FORMAT_WEBP: b"RIFF"}


def at(*targets: str | float) -> list[pb.Age]:
    """Ages by label or by years."""
    return [pb.Age(group=age) if isinstance(age, str) else pb.Age(years=age) for age in targets]


@pytest.fixture(scope="module")
def age(stub: FaceAgingStub, portrait_file: bytes) -> Callable[..., pb.AgeTransformResponse]:
    """Calls AgeTransform with the portrait in a PNG."""

    def call(*targets: str | float, **fields: object) -> pb.AgeTransformResponse:
        request = pb.AgeTransformRequest(image=pb.Image(data=portrait_file), targets=at(*targets), **fields)
        return stub.AgeTransform(request, timeout=SECONDS)

    return call


@pytest.fixture(scope="module")
def reconstruct(stub: FaceAgingStub, portrait_file: bytes) -> Callable[..., pb.ReconstructResponse]:
    """Calls Reconstruct with the portrait in a PNG."""

    def call(**fields: object) -> pb.ReconstructResponse:
        request = pb.ReconstructRequest(image=pb.Image(data=portrait_file), **fields)
        return stub.Reconstruct(request, timeout=SECONDS)

    return call


def expect_provenance(provenance: pb.Provenance, bundle: Bundle) -> None:
    """It names the bundle that is on disk."""
    manifest = bundle.manifest
    assert provenance == pb.Provenance(
        method=manifest.methods[0].name,
        bundle=manifest.name,
        bundle_version=manifest.version,
        bundle_sha256=hashlib.sha256((bundle.folder / "manifest.json").read_bytes()).hexdigest(),
    )


# --- AgeTransform ---


def test_a_picture_and_a_report_for_each_target_in_order(
    age: Callable[..., pb.AgeTransformResponse], portrait: Pixels, read: Read
) -> None:
    response = age("60+", 5.0, "0–18")
    assert len(response.results) == 3
    for result, target in zip(response.results, at("60+", 5.0, "0–18"), strict=True):
        assert (result.image.width, result.image.height) == (224, 208)
        assert read(result.image.data).shape == portrait.shape
        (report,) = result.faces
        assert report.target == target
        assert not report.source_given
        assert report.source.group in {"0-18", "19-29", "30-39", "40-49", "50-59", "60+"}


def test_the_face_is_where_the_detector_finds_it(age: Callable[..., pb.AgeTransformResponse], portrait: Pixels) -> None:
    (found,) = CascadeDetector().detect(portrait)
    (report,) = age("60+").results[0].faces
    box = report.face.box
    assert (box.x, box.y, box.width, box.height) == pytest.approx(found.box)
    assert report.face.score == pytest.approx(found.score)


@pytest.mark.parametrize("source", at("30-39", 47.25))
def test_a_source_that_was_given_is_told_and_the_same_target_changes_nothing(
    age: Callable[..., pb.AgeTransformResponse], portrait: Pixels, read: Read, source: pb.Age
) -> None:
    (result,) = age(source.group or source.years, source=source).results
    assert result.faces[0].source == result.faces[0].target == source
    assert result.faces[0].source_given
    assert np.array_equal(read(result.image.data), portrait)


@pytest.mark.parametrize("kind", FORMATS)
def test_formats(age: Callable[..., pb.AgeTransformResponse], kind: pb.ImageFormat) -> None:
    image = age("60+", output=pb.OutputOptions(format=kind)).results[0].image
    assert image.format == kind
    assert image.data.startswith(FORMATS[kind])


def test_the_format_is_the_photos_by_default(
    age: Callable[..., pb.AgeTransformResponse], stub: FaceAgingStub, astronaut_file: bytes
) -> None:
    assert age("60+").results[0].image.format == pb.IMAGE_FORMAT_PNG
    request = pb.AgeTransformRequest(image=pb.Image(data=astronaut_file), targets=at("60+"))
    assert stub.AgeTransform(request, timeout=SECONDS).results[0].image.format == pb.IMAGE_FORMAT_JPEG


def test_quality_0_stands_for_92(age: Callable[..., pb.AgeTransformResponse]) -> None:
    jpeg = [
        age("60+", output=pb.OutputOptions(format=pb.IMAGE_FORMAT_JPEG, quality=quality)).results[0].image.data
        for quality in (0, 92, 20)
    ]
    assert jpeg[0] == jpeg[1]
    assert len(jpeg[2]) < len(jpeg[1])


def test_what_the_request_says_of_its_image_is_ignored(stub: FaceAgingStub, portrait_file: bytes) -> None:
    image = pb.Image(data=portrait_file, format=pb.IMAGE_FORMAT_JPEG, width=1, height=30_000)
    response = stub.AgeTransform(pb.AgeTransformRequest(image=image, targets=at("60+")), timeout=SECONDS)
    assert response.results[0].image.format == pb.IMAGE_FORMAT_PNG
    assert response.results[0].image.height == 208


def test_provenance_and_times_of_ageing(age: Callable[..., pb.AgeTransformResponse], default_bundle: Bundle) -> None:
    response = age("60+", "0-18", method="age_cgan")
    expect_provenance(response.provenance, default_bundle)
    assert [time.stage for time in response.times] == [*STAGES, "paste", "write"]
    assert all(0 < time.seconds < SECONDS for time in response.times)


def test_the_same_request_has_the_same_answer(age: Callable[..., pb.AgeTransformResponse]) -> None:
    assert age("60+", "0-18").results == age("60+", "0-18").results


# --- Reconstruct ---


@pytest.mark.parametrize("mode", [pb.RECONSTRUCTION_MODE_UNSPECIFIED, pb.RECONSTRUCTION_MODE_INITIAL])
def test_a_reconstruction(
    reconstruct: Callable[..., pb.ReconstructResponse], default_bundle: Bundle, read: Read, mode: int
) -> None:
    (face,) = reconstruct(mode=mode).faces
    method = default_bundle.manifest.methods[0]
    size = method.crop_size
    for image in (face.crop, face.reconstruction):
        assert (image.width, image.height, image.format) == (size, size, pb.IMAGE_FORMAT_PNG)
        assert read(image.data).shape == (size, size, 3)
    assert len(face.latent) == method.latent_size
    assert np.isfinite(face.latent).all()
    assert face.source.group in {group.label for group in method.age_groups}
    assert not face.source_given


def test_the_crop_is_the_aligned_face(
    reconstruct: Callable[..., pb.ReconstructResponse], default_bundle: Bundle, portrait: Pixels, read: Read
) -> None:
    (found,) = CascadeDetector().detect(portrait)
    size = default_bundle.manifest.methods[0].crop_size
    expected = warp_crop(portrait, crop_matrix(found.landmarks, default_bundle.manifest.alignment, size), size)
    assert np.array_equal(read(reconstruct().faces[0].crop.data), expected)


def test_the_pixel_error_is_that_of_the_pictures(
    reconstruct: Callable[..., pb.ReconstructResponse], read: Read
) -> None:
    (face,) = reconstruct().faces
    crop, drawn = (read(image.data).astype(np.float64) / 255 for image in (face.crop, face.reconstruction))
    assert face.pixel_error == pytest.approx(np.sqrt(np.square(crop - drawn).mean()), abs=1 / 255)
    assert face.pixel_error > 0


def test_an_estimated_source_reconstructs_best(reconstruct: Callable[..., pb.ReconstructResponse]) -> None:
    (estimated,) = reconstruct().faces
    errors = {}
    for label in ("0-18", "19-29", "30-39", "40-49", "50-59", "60+"):
        (face,) = reconstruct(source=pb.Age(group=label)).faces
        assert face.source_given
        assert face.source.group == label
        assert face.latent == estimated.latent
        errors[label] = face.pixel_error
    least = pytest.approx(min(errors.values()), abs=1e-5)
    assert errors[estimated.source.group] == least
    assert estimated.pixel_error == least


def test_provenance_and_times_of_reconstruction(
    reconstruct: Callable[..., pb.ReconstructResponse], default_bundle: Bundle
) -> None:
    response = reconstruct()
    expect_provenance(response.provenance, default_bundle)
    assert [time.stage for time in response.times] == [*STAGES, "write"]


def test_a_reconstruction_of_known_networks(
    flat_pipeline: Callable[..., Any], face_at: Callable[..., DetectedFace], write: Callable[..., bytes], read: Read
) -> None:
    """They draw the crop's own red, the group's green and half blue, so that the error is known too."""
    pipeline, _ = flat_pipeline(face_at(10, 10, 80))
    photo = np.full((100, 120, 3), (250, 140, 30), np.uint8)
    request = pb.ReconstructRequest(image=pb.Image(data=write(photo)), source=pb.Age(group="30-39"))
    (face,) = FaceAgingService(pipeline).Reconstruct(request, None).faces
    assert (read(face.crop.data) == (250, 140, 30)).all()
    assert (read(face.reconstruction.data) == (250, 90, 128)).all()
    assert face.pixel_error == pytest.approx(np.sqrt((50**2 + (127.5 - 30) ** 2) / 3) / 255, abs=1e-5)


# --- ListMethods ---


def test_methods_are_those_of_the_manifest(stub: FaceAgingStub, default_bundle: Bundle) -> None:
    manifest = default_bundle.manifest
    response = stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)
    assert (response.bundle, response.bundle_version) == (manifest.name, manifest.version)
    assert response.bundle_sha256 == default_bundle.sha256
    assert response.server_version == __version__
    assert response.weights_licence == manifest.methods[0].provenance.licence
    assert [method.is_default for method in response.methods] == [True] + [False] * (len(manifest.methods) - 1)
    for told, method in zip(response.methods, manifest.methods, strict=True):
        assert (told.name, told.family, told.description) == (method.name, method.family, method.description)
        assert told.crop_size == method.crop_size
        assert [
            (group.label, group.low, group.high if group.HasField("high") else None, group.centre)
            for group in told.age_groups
        ] == [(group.label, group.low, group.high, group.centre) for group in method.age_groups]
