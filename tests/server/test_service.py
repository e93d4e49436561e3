"""The service over a real socket: what each RPC answers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_bundle.alignment import crop_matrix, warp_crop
from dorian_server import __version__
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.runtimes.cores import share_of_cores

Pixels = NDArray[np.uint8]
Read = Callable[[bytes], Pixels]
Write = Callable[..., bytes]

SECONDS = 120
STAGES = ["decode", "detect", "align", "read", "encode", "generate"]
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


def expect_provenance(provenance: pb.Provenance, bundle: Bundle, method: str) -> None:
    """It names the bundle that is on disk."""
    manifest = bundle.manifest
    assert provenance == pb.Provenance(
        method=method,
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
        assert report.source.years == pytest.approx(report.face.estimated_age)
        assert report.HasField("estimated_age_after")
        assert 0 <= report.estimated_age_after <= 120
        assert -1 <= report.identity_similarity <= 1
        assert not report.HasField("error")
    assert response.faces_found == 1


def test_the_face_is_where_the_detector_finds_it(
    age: Callable[..., pb.AgeTransformResponse], embedded: Pipeline, portrait: Pixels
) -> None:
    (actual,) = embedded.face_reader.detector.detect(portrait)
    (report,) = age("60+").results[0].faces
    box = report.face.box
    assert (box.x, box.y, box.width, box.height) == pytest.approx(actual.box)
    assert report.face.score == pytest.approx(actual.score)
    assert report.face.index == 0
    assert np.allclose([(point.x, point.y) for point in report.face.landmarks], actual.landmarks, atol=1e-3)


@pytest.mark.parametrize("source", at("30-39", 47.25))
def test_a_source_that_was_given_is_told_and_the_same_target_changes_nothing(
    age: Callable[..., pb.AgeTransformResponse], portrait: Pixels, read: Read, source: pb.Age
) -> None:
    (result,) = age(source.group or source.years, source=source).results
    assert result.faces[0].source == result.faces[0].target == source
    assert result.faces[0].source_given
    assert np.array_equal(read(result.image.data), portrait)


def test_named_faces_and_ages_of_their_own(stub: FaceAgingStub, collage: Pixels, write: Write, read: Read) -> None:
    own = pb.FaceTarget(face=pb.FaceSelector(index=1), target=pb.Age(group="0-18"), source=pb.Age(group="60+"))
    request = pb.AgeTransformRequest(image=pb.Image(data=write(collage)), face_targets=[own])
    (alone,) = stub.AgeTransform(request, timeout=SECONDS).results
    (report,) = alone.faces
    assert (report.face.index, report.target, report.source, report.source_given) == (1, own.target, own.source, True)
    assert np.array_equal(read(alone.image.data)[:, 200:], collage[:, 200:])
    request.targets.extend(at("60+"))
    missing = pb.FaceSelector(box=pb.Box(x=0, y=0, width=5, height=5))
    request.faces.extend([pb.FaceSelector(largest=True), missing])
    response = stub.AgeTransform(request, timeout=SECONDS)
    large, small, lost = response.results[0].faces
    assert [large.face.index, small.face.index] == [0, 1]
    assert [large.target, small.target] == [*at("60+"), own.target]
    assert not lost.HasField("face")
    assert lost.error.reason == "FACE_NOT_FOUND"
    assert lost.error.message == "no face is at the box 0, 0, 5, 5; 2 faces were found"
    assert response.faces_found == 2


@pytest.mark.parametrize("blend", [pb.BLEND_UNSPECIFIED, pb.BLEND_DELTA, pb.BLEND_REPLACE])
def test_a_strength_of_0_changes_nothing_and_none_is_1(
    age: Callable[..., pb.AgeTransformResponse], portrait: Pixels, read: Read, blend: pb.Blend
) -> None:
    (still,) = age("60+", strength=0.0, blend=blend).results
    assert np.array_equal(read(still.image.data), portrait)
    (report,) = still.faces
    assert report.identity_similarity == pytest.approx(1, abs=1e-5)
    assert report.estimated_age_after == pytest.approx(report.face.estimated_age, abs=1e-3)
    whole, unset = age("60+", strength=1.0, blend=blend).results, age("60+", blend=blend).results
    assert whole == unset
    assert not np.array_equal(read(unset[0].image.data), portrait)


def test_blends_differ_and_delta_is_the_usual_one(age: Callable[..., pb.AgeTransformResponse]) -> None:
    usual, delta, replaced = (
        age("60+", blend=blend).results[0].image.data
        for blend in (pb.BLEND_UNSPECIFIED, pb.BLEND_DELTA, pb.BLEND_REPLACE)
    )
    assert usual == delta != replaced


@pytest.mark.parametrize("kept", [False, True])
def test_metadata_stays_if_it_is_asked_for_but_never_the_place(
    stub: FaceAgingStub, portrait: Pixels, write: Write, kept: bool
) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x013B] = "Hasselblad", "NASA"
    exif.get_ifd(0x8769)[0x9003] = "1992:07:01 12:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    data = write(portrait, "JPEG", exif=exif, quality=95)
    output = pb.OutputOptions(keep_metadata=kept)
    request = pb.AgeTransformRequest(image=pb.Image(data=data), targets=at("60+"), output=output)
    (result,) = stub.AgeTransform(request, timeout=SECONDS).results
    actual = Image.open(io.BytesIO(result.image.data)).getexif()
    assert actual.get(0x010F) == ("Hasselblad" if kept else None)
    assert actual.get(0x013B) == ("NASA" if kept else None)
    assert actual.get_ifd(0x8769).get(0x9003) == ("1992:07:01 12:00:00" if kept else None)
    assert not actual.get_ifd(0x8825)
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(0x8825), "or nothing is shown"


def test_transparency_stays_in_a_png_and_is_white_in_a_jpeg(
    stub: FaceAgingStub, portrait: Pixels, write: Write, read: Read
) -> None:
    alpha = np.full(portrait.shape[:2], 255, np.uint8)
    alpha[:, :20], alpha[:10] = 0, 77
    data = write(np.dstack([portrait, alpha]))

    def aged(kind: pb.ImageFormat) -> bytes:
        output = pb.OutputOptions(format=kind)
        request = pb.AgeTransformRequest(image=pb.Image(data=data), targets=at("60+"), output=output, keep_hair=True)
        return stub.AgeTransform(request, timeout=SECONDS).results[0].image.data

    png = np.asarray(Image.open(io.BytesIO(aged(pb.IMAGE_FORMAT_UNSPECIFIED))))
    assert np.array_equal(png[..., 3], alpha)
    assert np.array_equal(png[:, :20, :3], portrait[:, :20])
    assert read(aged(pb.IMAGE_FORMAT_JPEG))[20:, :16].min() > 250


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
    expect_provenance(response.provenance, default_bundle, "age_cgan")
    assert [time.stage for time in response.times] == [*STAGES, "paste", "reread", "write"]
    assert all(0 < time.seconds < SECONDS for time in response.times)


def test_the_same_request_has_the_same_answer(age: Callable[..., pb.AgeTransformResponse]) -> None:
    assert age("60+", "0-18").results == age("60+", "0-18").results


# --- Reconstruct ---


@pytest.mark.parametrize("mode", [pb.RECONSTRUCTION_MODE_UNSPECIFIED, pb.RECONSTRUCTION_MODE_INITIAL])
def test_a_reconstruction(
    reconstruct: Callable[..., pb.ReconstructResponse], networks: AgeCgan, read: Read, mode: int
) -> None:
    (face,) = reconstruct(mode=mode).faces
    size = networks.manifest.crop_size
    for image in (face.crop, face.reconstruction):
        assert (image.width, image.height, image.format) == (size, size, pb.IMAGE_FORMAT_PNG)
        assert read(image.data).shape == (size, size, 3)
    assert len(face.latent) == networks.manifest.latent_size
    assert np.isfinite(face.latent).all()
    assert face.source.years == pytest.approx(face.face.estimated_age)
    assert not face.source_given
    assert -1 <= face.identity_similarity <= 1


def test_the_crop_is_the_aligned_face(
    reconstruct: Callable[..., pb.ReconstructResponse],
    embedded: Pipeline,
    default_bundle: Bundle,
    networks: AgeCgan,
    portrait: Pixels,
    read: Read,
) -> None:
    (actual,) = embedded.face_reader.detector.detect(portrait)
    size = networks.manifest.crop_size
    expected = warp_crop(portrait, crop_matrix(actual.landmarks, default_bundle.manifest.alignment, size), size)
    assert np.array_equal(read(reconstruct().faces[0].crop.data), expected)


def test_the_pixel_error_is_that_of_the_pictures(
    reconstruct: Callable[..., pb.ReconstructResponse], read: Read
) -> None:
    (face,) = reconstruct().faces
    crop, drawn = (read(image.data).astype(np.float64) / 255 for image in (face.crop, face.reconstruction))
    assert face.pixel_error == pytest.approx(np.sqrt(np.square(crop - drawn).mean()), abs=1 / 255)
    assert face.pixel_error > 0


def test_the_age_changes_the_drawing_and_not_the_latent(
    reconstruct: Callable[..., pb.ReconstructResponse], networks: AgeCgan
) -> None:
    (estimated,) = reconstruct().faces
    drawn = set()
    for group in networks.groups:
        (face,) = reconstruct(source=pb.Age(group=group.label)).faces
        assert face.source_given
        assert face.source.group == group.label
        assert face.latent == estimated.latent
        drawn.add(face.reconstruction.data)
    assert len(drawn) == 6
    (again,) = reconstruct(source=pb.Age(years=estimated.face.estimated_age)).faces
    assert again.reconstruction == estimated.reconstruction


def test_reconstructions_of_named_faces(stub: FaceAgingStub, collage: Pixels, write: Write) -> None:
    names = [pb.FaceSelector(index=9), pb.FaceSelector(index=1)]
    request = pb.ReconstructRequest(image=pb.Image(data=write(collage)), faces=names)
    small, lost = stub.Reconstruct(request, timeout=SECONDS).faces
    assert small.face.index == 1
    assert small.latent
    assert lost == pb.Reconstruction(
        error=pb.FaceError(reason="FACE_NOT_FOUND", message="no face is at index 9; 2 faces were found")
    )


def test_provenance_and_times_of_reconstruction(
    reconstruct: Callable[..., pb.ReconstructResponse], default_bundle: Bundle
) -> None:
    response = reconstruct()
    expect_provenance(response.provenance, default_bundle, "age_cgan")
    assert [time.stage for time in response.times] == [*STAGES, "reread", "write"]


# --- ListMethods ---


def test_methods_are_those_of_the_manifest(stub: FaceAgingStub, default_bundle: Bundle) -> None:
    manifest = default_bundle.manifest
    response = stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS)
    assert (response.bundle, response.bundle_version) == (manifest.name, manifest.version)
    assert response.bundle_sha256 == default_bundle.sha256
    assert response.server_version == __version__
    assert response.workers == share_of_cores(1)
    thresholds = manifest.readers.facenet.thresholds
    assert list(response.false_accept_rates) == sorted((item.false_accept_rate for item in thresholds), reverse=True)
    assert set(response.weights_licence.split("; ")) == {method.provenance.licence for method in manifest.methods}
    assert [method.is_default for method in response.methods] == [True] + [False] * (len(manifest.methods) - 1)
    for told, method in zip(response.methods, manifest.methods, strict=True):
        assert (told.name, told.family, told.description) == (method.name, method.family, method.description)
        assert told.crop_size == method.crop_size
        assert [
            (group.label, group.low, group.high if group.HasField("high") else None, group.centre)
            for group in told.age_groups
        ] == [(group.label, group.low, group.high, group.centre) for group in getattr(method, "age_groups", ())]
