"""The way of a photo through the server: decode, detect, align, encode, generate, paste, write. It only orders."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dorian_bundle import AgeError, Bundle
from dorian_bundle.alignment import crop_matrix, warp_crop
from dorian_server import compositing
from dorian_server.detection import DetectedFace, Detector
from dorian_server.errors import RequestError, UnknownMethodError
from dorian_server.methods.age_cgan import Age, AgeCgan
from dorian_server.pictures import DEFAULT_QUALITY, FORMATS, Format, Photo, decode, encode
from dorian_server.sessions.session import Array
from dorian_server.settings import Limits


@dataclass(frozen=True)
class Output:
    """How to store pictures: ``format`` (none: the photo's own) and ``quality`` from 1 to 100."""

    format: Format | None = None
    quality: int = DEFAULT_QUALITY


@dataclass(frozen=True)
class StoredPicture:
    """A picture in a file's bytes, with its size in pixels."""

    data: bytes
    format: Format
    width: int
    height: int


@dataclass(frozen=True)
class ReadFace:
    """A face that the networks have read: where it is, its crop, its latent, and the age that it is taken to have."""

    found: DetectedFace
    matrix: NDArray[np.float64]
    crop: NDArray[np.uint8]
    latent: Array
    source: Age
    drawn: Array  # at the source age; float32 RGB in [0, 1], (size, size, 3)


@dataclass
class Clock:
    """Seconds spent, by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Aged:
    """The photo at each of the ages asked for, and the faces, largest first, that were changed in it."""

    pictures: list[StoredPicture]
    faces: list[ReadFace]


class Pipeline:
    """A bundle's methods, a detector and limits; safe to call from several threads."""

    def __init__(self, bundle: Bundle, methods: Sequence[AgeCgan], detector: Detector, limits: Limits) -> None:
        self.bundle = bundle
        self.methods = list(methods)
        self._detector = detector
        self._limits = limits

    def method(self, name: str) -> AgeCgan:
        """The method called ``name``, or the default one for an empty name; ``UnknownMethodError`` if there is none."""
        for method in self.methods:
            if name in ("", method.manifest.name):
                return method
        raise UnknownMethodError(name, [method.manifest.name for method in self.methods])

    def age(
        self, data: bytes, targets: Sequence[Age], source: Age | None, method: AgeCgan, output: Output, clock: Clock
    ) -> Aged:
        """``data``'s photo at each of ``targets``. ``RequestError`` says what about the request cannot be done."""
        conditions = self._conditions(targets, method)
        photo, faces = self.reconstruct(data, source, method, clock)
        with clock.stage("generate"):
            latents = np.stack([face.latent for face in faces])
            drawn = method.generate(latents, conditions)
        mask = compositing.oval_mask(method.crop_size)
        pictures = []
        for index in range(len(targets)):
            with clock.stage("paste"):
                pixels = photo.pixels.copy()
                for face, ages in zip(faces, drawn, strict=True):
                    compositing.add_delta(pixels, ages[index] - face.drawn, face.matrix, mask)
            with clock.stage("write"):
                pictures.append(store(pixels, photo, output))
        return Aged(pictures, faces)

    def _conditions(self, targets: Sequence[Age], method: AgeCgan) -> Array:
        if not targets:
            raise RequestError(
                "TARGET_MISSING", "targets", "no target age is given; give an age group or a number of years"
            )
        if len(targets) > self._limits.max_targets:
            words = f"{len(targets)} target ages are given; at most {self._limits.max_targets} are allowed"
            raise RequestError("TARGET_TOO_MANY", "targets", words)
        return np.stack([_condition(age, method, f"targets[{index}]") for index, age in enumerate(targets)])

    def reconstruct(
        self, data: bytes, source: Age | None, method: AgeCgan, clock: Clock
    ) -> tuple[Photo, list[ReadFace]]:
        """What the networks make of the faces in ``data``'s photo; errors as ``age``."""
        given = None if source is None else _condition(source, method, "source")
        with clock.stage("decode"):
            photo = decode(data, self._limits)
        with clock.stage("detect"):
            found = self._detector.detect(photo.pixels)[: self._limits.max_faces]
        if not found:
            words = "no face was found; send a photo with at least one upright face seen from the front"
            raise RequestError("NO_FACE", "image.data", words)
        template, size = self.bundle.manifest.alignment, method.crop_size
        with clock.stage("align"):
            matrices = [crop_matrix(face.landmarks, template, size) for face in found]
            crops = [warp_crop(photo.pixels, matrix, size) for matrix in matrices]
        with clock.stage("encode"):
            latents = method.encode(crops)
        every = np.eye(len(method.groups), dtype=np.float32) if given is None else given[None]
        with clock.stage("generate"):
            drawn = method.generate(latents, every)
        faces = []
        for face, matrix, crop, latent, ages in zip(found, matrices, crops, latents, drawn, strict=True):
            nearest = 0 if given is not None else method.nearest_group(crop, ages)
            own = source if source is not None else Age(group=method.groups[nearest].label)
            faces.append(ReadFace(face, matrix, crop, latent, own, ages[nearest]))
        return photo, faces


def _condition(age: Age, method: AgeCgan, field_name: str) -> Array:
    try:
        return age.condition(method.groups)
    except AgeError as error:
        known = age.group is None
        raise RequestError("AGE_OUT_OF_RANGE" if known else "AGE_GROUP_UNKNOWN", field_name, str(error)) from error


def store(pixels: NDArray[np.uint8], photo: Photo, output: Output) -> StoredPicture:
    """``pixels`` RGB uint8 as ``output`` asks, or else in the format that ``photo`` came in."""
    kind = output.format or photo.format
    if not 1 <= output.quality <= 100:
        raise RequestError("SETTING_OUT_OF_RANGE", "output.quality", f"quality {output.quality} is not from 1 to 100")
    assert kind in FORMATS
    height, width = pixels.shape[:2]
    return StoredPicture(encode(pixels, kind, output.quality), kind, width, height)
