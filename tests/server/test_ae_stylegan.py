"""AE-StyleGAN over a real socket: ages by calibrated shifts of styles, filters and latents; and libraries that do not belong to a bundle."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle, write_manifest
from dorian_bundle.errors import GraphFileError
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.manifest import MANIFEST_FILE, Manifest
from dorian_bundle.stored_files import describe_file
from dorian_bundle.style_library import LIBRARY_FILE
from dorian_server.domain.clock import Clock
from dorian_server.methods.ae_stylegan import AeStyleGan, MixedStyles
from dorian_server.runtimes.session import Session
from dorian_server.serving.bundles import build_method
from dorian_server.serving.server import start
from dorian_server.settings import Settings
from tests.server.rejections import expect, rejected
from tests.server.tiny_styles import (
    AGE_LEVELS,
    FILTER_CHANGE,
    LEVELS,
    STRUCTURE,
    STYLE,
    level_weight,
    tiny_library,
    write_style_bundle,
)

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

SECONDS = 120
MIDDLE = np.s_[96:112, 104:120]  # of the portrait, where the mask of its face is whole
METHOD = "ae_stylegan"
AT_40 = pb.Age(years=40)


@pytest.fixture(scope="module")
def photo(portrait: Pixels) -> Pixels:
    """The portrait, its values from 20 to 197, in full colour."""
    return (portrait // 2 + np.array([70, 45, 20], np.uint8)).astype(np.uint8)


@pytest.fixture(scope="module")
def service(default_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceAgingStub]:
    bundle = write_style_bundle(default_bundle, tmp_path_factory.mktemp("styles") / "bundle")
    server = start(Settings(bundle.folder, host="127.0.0.1", port=0, threads=1))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield FaceAgingStub(channel)
    server.stop()


@pytest.fixture(scope="module")
def age(service: FaceAgingStub, photo: Pixels, write: Write) -> Callable[..., pb.AgeTransformResponse]:
    data = write(photo)

    def call(*targets: pb.Age, **fields: Any) -> pb.AgeTransformResponse:
        parts = {"image": pb.Image(data=data), "source": AT_40, "method": METHOD} | fields
        return service.AgeTransform(pb.AgeTransformRequest(targets=targets, **parts), timeout=SECONDS)

    return call


def require_red(image: pb.Image, photo: Pixels, read: Read, change: float) -> None:
    pixels = read(image.data)[MIDDLE].astype(int)
    assert np.abs(pixels - (photo[MIDDLE] + np.multiply(255 * change, (1, 0, 0))).clip(0, 255)).max() <= 0.51


# --- ages and filters ---


def test_what_is_drawn_is_bounded_where_the_manifest_says_so(default_bundle: Bundle, tmp_path: Path) -> None:
    bundle = write_style_bundle(default_bundle, tmp_path / "bundle")
    (entry,) = (method for method in bundle.manifest.methods if isinstance(method, AeStyleGanMethod))
    own, drawn = 0.3, {"small": 0.302, "large": 0.9, "negative": -0.5}

    class Painted:
        def run(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
            values = inputs["styles"][:, 0, 0]
            return {"image": np.broadcast_to(values[:, None, None, None], (len(values), 3, 4, 4)).astype(np.float32)}

    bounded = entry.model_copy(update={"max_change": 0.1})
    method = AeStyleGan(bounded, lambda name: Painted(), tiny_library())  # type: ignore[arg-type,return-value]
    latent = np.full(method.latent_size, own, np.float32)
    mixes = [MixedStyles(np.full((LEVELS, STYLE), value, np.float32), (1,), 2.0) for value in drawn.values()]
    (drawings,) = method.draw_changes(latent[None], [mixes], Clock())
    changes = dict(zip(drawn, (float(drawing.delta.mean()) for drawing in drawings), strict=True))
    assert changes["small"] == pytest.approx(2 * 0.002, rel=1e-3)  # as it is
    assert changes["large"] == pytest.approx(2 * 0.1 * math.tanh(6), rel=1e-4)
    assert changes["negative"] == pytest.approx(-2 * 0.1 * math.tanh(8), rel=1e-4)


def test_years_shift_the_styles_as_they_are_calibrated(
    age: Callable[..., pb.AgeTransformResponse], photo: Pixels, read: Read
) -> None:
    """At the levels of ages by so much red: from 40 to 76, a quarter as much again, where 70 is asked for."""
    expected = {70: 1.25 * 36, 20: -20, 48: 8, 60: 1.125 * 23, 120: 1.25 * 50}
    response = age(*(pb.Age(years=years) for years in expected))
    assert response.provenance.method == METHOD
    assert {time.stage for time in response.times} >= {"encode", "generate"}
    for result, change in zip(response.results, expected.values(), strict=True):
        require_red(result.image, photo, read, level_weight(AGE_LEVELS) * change / 100)
        (report,) = result.faces
        assert report.estimated_age_after > 0
        assert report.identity_similarity > 0.5


def test_the_age_that_a_face_has_gives_the_photo_back_bit_for_bit(
    age: Callable[..., pb.AgeTransformResponse], photo: Pixels, read: Read
) -> None:
    assert np.array_equal(read(age(AT_40).results[0].image.data), photo)


def test_a_filter_is_a_generator_beside_the_own_one(
    age: Callable[..., pb.AgeTransformResponse], photo: Pixels, read: Read
) -> None:
    redder, older = age(pb.Age(filter="redder"), pb.Age(years=48)).results
    require_red(redder.image, photo, read, FILTER_CHANGE)
    require_red(older.image, photo, read, level_weight(AGE_LEVELS) * 0.08)
    unnamed = age(pb.Age(filter="redder"), method="")
    assert unnamed.provenance.method == METHOD, "the first that has the filter"


# --- latents ---


@pytest.fixture(scope="module")
def reconstruction(service: FaceAgingStub, photo: Pixels, write: Write) -> pb.Reconstruction:
    request = pb.ReconstructRequest(image=pb.Image(data=write(photo)), method=METHOD)
    (face,) = service.Reconstruct(request, timeout=SECONDS).faces
    return face


def test_a_reconstruction_is_drawn_from_structure_and_styles(reconstruction: pb.Reconstruction, read: Read) -> None:
    crop, drawn = read(reconstruction.crop.data), read(reconstruction.reconstruction.data)
    red, green, blue = crop.reshape(-1, 3).mean(axis=0) / 255
    latent = np.array(reconstruction.latent)
    assert latent[:STRUCTURE] == pytest.approx([red, green, blue], abs=1e-5)
    assert latent[STRUCTURE:].reshape(LEVELS, STYLE) == pytest.approx(np.tile([red, blue], (LEVELS, 1)), abs=1e-5)
    assert np.abs(drawn - 255 * np.array([red, blue, blue])).max() <= 0.51
    assert reconstruction.steps == 0


def test_a_latent_is_drawn_in_place_of_the_encoders(
    age: Callable[..., pb.AgeTransformResponse], reconstruction: pb.Reconstruction
) -> None:
    """With the encoder's own it is as without any; with other styles, it is another."""

    def results(*latent: float) -> Any:
        latents = [pb.FaceLatent(face=pb.FaceSelector(largest=True), latent=latent)] if latent else []
        return age(pb.Age(years=70), latents=latents, blend=pb.BLEND_REPLACE, strength=0.5).results

    own = list(reconstruction.latent)
    assert results(*own) == results()
    assert results(*own[:STRUCTURE], *[0.0] * (LEVELS * STYLE)) != results()


def test_its_latents_cannot_be_searched(service: FaceAgingStub, portrait_file: bytes) -> None:
    image = pb.Image(data=portrait_file)
    search = pb.ReconstructRequest(image=image, method=METHOD, mode=pb.RECONSTRUCTION_MODE_IDENTITY)
    expect(rejected(service.Reconstruct, search), "METHOD_UNSUITABLE", "method", "ae_stylegan cannot be searched")
    wrong = pb.FaceLatent(face=pb.FaceSelector(largest=True), latent=[0.5] * 4)
    request = pb.AgeTransformRequest(image=image, targets=[AT_40], method=METHOD, latents=[wrong])
    size = STRUCTURE + LEVELS * STYLE
    expect(rejected(service.AgeTransform, request), "LATENT_UNSUITABLE", "latents[0].latent", f"latents of {size}")


# --- libraries ---


def change_library(folder: Path) -> None:
    path = folder / LIBRARY_FILE
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def link_library(folder: Path) -> None:
    path = folder / LIBRARY_FILE
    path.rename(folder.parent / "elsewhere.npz")
    path.symlink_to(folder.parent / "elsewhere.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_library, r"file styles.npz has SHA-256 \w+; the manifest says"),
        (link_library, "file styles.npz is a link to outside of the bundle"),
        (lambda folder: (folder / LIBRARY_FILE).unlink(), "file styles.npz is missing"),
        (lambda folder: (folder / LIBRARY_FILE).write_bytes(b""), "file styles.npz has 0 bytes; the manifest says"),
    ],
)
def test_a_library_is_the_one_that_the_manifest_describes(
    default_bundle: Bundle, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    with pytest.raises(GraphFileError, match=message):
        write_style_bundle(default_bundle, tmp_path / "bundle", change)


def opened_never(name: str) -> Session:
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"styles": np.zeros((8, LEVELS, 5), np.float32)},
            r"has styles of shape \(8, 12, 5\); \(2 or more, 12, 2\) is",
        ),
        ({"age_means": np.zeros((1, LEVELS, STYLE), np.float32)}, "has age_means of shape"),
        ({"structure": np.zeros((8, 4), np.float32)}, "has structures of 4 numbers; the method's have 3"),
        ({"woman": np.zeros(7, np.float32)}, "has 8 references, but 7 rows of woman"),
    ],
)
def test_a_library_that_does_not_fit_its_method_is_not_opened(
    default_bundle: Bundle, tmp_path: Path, parts: dict[str, Any], message: str
) -> None:
    """Though its hash is the manifest's."""

    def replace(folder: Path) -> None:
        dataclasses.replace(tiny_library(), **parts).save(folder / LIBRARY_FILE)
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        *others, method = manifest.methods
        assert isinstance(method, AeStyleGanMethod)
        entry = method.model_copy(update={"library": describe_file(folder, LIBRARY_FILE)})
        write_manifest(folder, manifest.model_copy(update={"methods": (*others, entry)}))

    bundle = write_style_bundle(default_bundle, tmp_path / "bundle", replace)
    with pytest.raises(GraphFileError, match=message):
        build_method(bundle.manifest.methods[-1], opened_never, bundle.file_path)
