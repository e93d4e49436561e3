"""The way of a photo through the server: decode, detect, align, read, encode, generate, paste, reread, write. It only orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.ages import MAX_AGE, MIN_AGE
from dorian_bundle.alignment import warp_crop
from dorian_bundle.detection import DetectedFace
from dorian_bundle.masks import face_mask
from dorian_server import choice, compositing
from dorian_server.clock import Clock
from dorian_server.errors import RequestError, UnknownMethodError
from dorian_server.methods.method import Drawing, EncodingMethod, Method
from dorian_server.pictures import Photo, decode, encode
from dorian_server.reading import similarity
from dorian_server.requests import (
    MAX_STRENGTH,
    Age,
    AgeRequest,
    CompareRequest,
    Output,
    ReconstructRequest,
)
from dorian_server.results import (
    Aged,
    AgedPicture,
    Compared,
    Detected,
    FaceResult,
    FailedFace,
    Reading,
    ReconstructedFace,
    SeenFace,
    StoredPicture,
)
from dorian_server.seeing import FaceViewer, unusable
from dorian_server.selection import Missing, Wish, find, wishes
from dorian_server.sessions.session import Array
from dorian_server.settings import Limits

_FOUND_FIELD = "image.data"


@dataclass(frozen=True)
class _Work:
    """A face on its way: what is wished for it, what was read from it, the age it is taken to have, and its aligned crop."""

    wish: Wish
    face: SeenFace
    before: Reading
    source: Age
    matrix: NDArray[np.float64]
    crop: NDArray[np.uint8]


class Pipeline:
    """A bundle's methods, the networks that see faces, and limits; safe to call from several threads."""

    def __init__(self, bundle: Bundle, methods: Sequence[Method], viewer: FaceViewer, limits: Limits) -> None:
        self.bundle = bundle
        self.methods = list(methods)
        self.viewer = viewer
        self._limits = limits

    def method(self, name: str) -> Method:
        """The method called ``name``, or the default one for an empty name; ``UnknownMethodError`` if there is none."""
        for method in self.methods:
            if name in ("", method.manifest.name):
                return method
        raise UnknownMethodError(name, [method.manifest.name for method in self.methods])

    def method_for(self, request: AgeRequest, name: str) -> Method:
        """The method called ``name``, or for an empty name the first that can draw all targets of ``request``, if any can."""
        return self.method(name) if name else choice.method_for(self.methods, request)

    def encoding_method(self, name: str) -> EncodingMethod:
        """The method called ``name``, or the first with an encoder for an empty name; ``RequestError`` if it has none."""
        able = (method for method in self.methods if isinstance(method, EncodingMethod))
        return choice.require_encoder(self.method(name) if name else next(able, self.methods[0]), self.methods)

    def detect(self, data: bytes, clock: Clock) -> Detected:
        """The faces of ``data``'s photo, each with what is read from it; none is no error."""
        photo, found = self._find(data, _FOUND_FIELD, clock)
        height, width = photo.pixels.shape[:2]
        return Detected(width, height, self.viewer.see(photo.pixels, list(enumerate(found)), clock))

    def compare(self, request: CompareRequest, clock: Clock) -> Compared:
        """Whether a face of one photo and a face of another are one person's."""
        rate, threshold = self.viewer.identities.threshold(request.false_accept_rate)
        seen: list[tuple[SeenFace, Reading]] = []
        sides = (("first", request.first, request.first_face), ("second", request.second, request.second_face))
        for name, data, selector in sides:
            photo, found = self._find_some(data, f"{name}.data", clock, f"the {name} photo: ")
            index = find(selector, found)
            if index is None:
                missing = Missing(f"{name}_face", selector, None, len(found)).error()
                raise RequestError(missing.reason, missing.field, f"the {name} photo: {missing}")
            (face,) = self.viewer.see(photo.pixels, [(index, found[index])], clock)
            if face.reading is None:
                raise unusable(face, f"{name}_face")
            seen.append((face, face.reading))
        (first, one), (second, other) = seen
        return Compared(first, second, similarity(one.embedding, other.embedding), threshold, rate)

    def age(self, request: AgeRequest, method: Method, clock: Clock) -> Aged:
        """The request's photo at each of the ages asked for. ``RequestError`` says what about it cannot be done."""
        self._check(request, method)
        photo, found = self._find_some(request.data, _FOUND_FIELD, clock)
        wished, missing = wishes(
            found,
            bool(request.targets),
            request.source,
            request.faces,
            request.face_targets,
            self._limits.max_faces,
        )
        work, failed = self._prepare(photo, found, wished, method, clock)
        if not work:
            raise failed[0].error if failed else missing[0].error()
        drawings = method.draw(
            [each.crop for each in work],
            [each.source for each in work],
            [[each.wish.target] if each.wish.target else request.targets for each in work],
            clock,
        )
        lost = [FaceResult(target=each.target, error=each.error()) for each in missing]
        left = [FaceResult(each.face, error=each.error) for each in failed]
        with clock.stage("paste"):
            masks = [_mask(each) for each in work]
        pictures = []
        for place in range(max(1, len(request.targets))):
            aims = [each.wish.target or request.targets[place] for each in work]
            drawn = [ages[0 if each.wish.target else place] for each, ages in zip(work, drawings, strict=True)]
            with clock.stage("paste"):
                pixels = photo.pixels.copy()
                patches = [
                    _patch(each, mask, drawing, method, request)
                    for each, mask, drawing in zip(work, masks, drawn, strict=True)
                ]
                compositing.apply(pixels, patches, request.strength)
            with clock.stage("reread"):
                after = self.viewer.read(pixels, [each.face.found for each in work])
            results = [_result(*each) for each in zip(work, aims, after, strict=True)] + left
            results.sort(key=lambda result: result.face.index if result.face else 0)
            with clock.stage("write"):
                delta = _delta(photo.pixels, pixels, patches) if request.with_delta else None
                pictures.append(AgedPicture(store(pixels, photo, request.output), results + lost, delta))
        return Aged(pictures, len(found))

    def reconstruct(
        self, request: ReconstructRequest, method: EncodingMethod, clock: Clock
    ) -> list[ReconstructedFace | FailedFace]:
        """What ``method``'s networks make of the faces in the request's photo; errors as ``age``."""
        if request.source is not None:
            choice.require_source(request.source, method, "source")
        self._check_count(len(request.faces), "faces")
        photo, found = self._find_some(request.data, _FOUND_FIELD, clock)
        wished, missing = wishes(found, True, request.source, request.faces, (), self._limits.max_faces)
        work, failed = self._prepare(photo, found, wished, method, clock)
        lost = [FailedFace(None, each.error()) for each in missing]
        if not work:
            raise (failed or lost)[0].error
        with clock.stage("encode"):
            latents = method.encode([each.crop for each in work])
        with clock.stage("generate"):
            drawn = method.generate(latents, [each.source for each in work])
        shown = [np.rint(picture * 255).clip(0, 255).astype(np.uint8) for picture in drawn]
        size = self.viewer.identities.crop_size
        with clock.stage("reread"):
            after = self.viewer.identities.embeddings([cv2.resize(picture, (size, size)) for picture in shown])
        results: list[ReconstructedFace | FailedFace] = list(failed)
        with clock.stage("write"):
            for each, latent, picture, embedding in zip(work, latents, shown, after, strict=True):
                difference = (picture.astype(np.float32) - each.crop) / 255
                results.append(
                    ReconstructedFace(
                        face=each.face,
                        source=each.source,
                        source_given=each.wish.source is not None,
                        crop=store(each.crop, Photo(each.crop, photo.format), request.output),
                        picture=store(picture, Photo(picture, photo.format), request.output),
                        latent=latent,
                        pixel_error=float(np.sqrt(np.square(difference).mean())),
                        similarity=similarity(each.before.embedding, embedding),
                    )
                )
        return [*sorted(results, key=lambda result: result.face.index if result.face else 0), *lost]

    def _check(self, request: AgeRequest, method: Method) -> None:
        if not request.targets and not request.face_targets:
            words = "no target age is given; give an age group, a number of years or a filter"
            raise RequestError("TARGET_MISSING", "targets", words)
        if request.faces and not request.targets:
            words = "faces are named, but no target age is given for them; give one, or name them in face_targets alone"
            raise RequestError("TARGET_MISSING", "targets", words)
        if len(request.targets) > self._limits.max_targets:
            words = f"{len(request.targets)} target ages are given; at most {self._limits.max_targets} are allowed"
            raise RequestError("TARGET_TOO_MANY", "targets", words)
        field = "faces" if request.faces else "face_targets"
        self._check_count(len(request.faces) + len(request.face_targets), field)
        choice.require_known(request, method, self.methods)
        most = 1.0 if request.blend == "replace" else MAX_STRENGTH
        if not 0 <= request.strength <= most:
            words = f"strength {request.strength:g} is out of range; it must be between 0 and {most:g} for this blend"
            raise RequestError("SETTING_OUT_OF_RANGE", "strength", words)

    def _check_count(self, named: int, field: str) -> None:
        if named > self._limits.max_faces:
            words = f"{named} faces are named; at most {self._limits.max_faces} are allowed"
            raise RequestError("FACE_TOO_MANY", field, words)

    def _find(self, data: bytes, field: str, clock: Clock, which: str = "") -> tuple[Photo, list[DetectedFace]]:
        with clock.stage("decode"):
            try:
                photo = decode(data, self._limits)
            except RequestError as error:
                raise RequestError(error.reason, field, f"{which}{error}") from error
        with clock.stage("detect"):
            return photo, self.viewer.detector.detect(photo.pixels)[: self._limits.max_found]

    def _find_some(self, data: bytes, field: str, clock: Clock, which: str = "") -> tuple[Photo, list[DetectedFace]]:
        """As ``_find``, but a photo without a face is an error; ``which`` tells one of several photos from the others."""
        photo, found = self._find(data, field, clock, which)
        if not found:
            words = "no face was found; send a photo in which a face is seen from the front, at least 20 pixels wide"
            raise RequestError("NO_FACE", field, f"{which}{words}")
        return photo, found

    def _prepare(
        self, photo: Photo, found: Sequence[DetectedFace], wished: Sequence[Wish], method: Method, clock: Clock
    ) -> tuple[list[_Work], list[FailedFace]]:
        """The faces of ``wished``, read and cut out for ``method``, and those that cannot be."""
        work: list[_Work] = []
        failed: list[FailedFace] = []
        seen = self.viewer.see(photo.pixels, [(wish.index, found[wish.index]) for wish in wished], clock)
        with clock.stage("align"):
            for wish, face in zip(wished, seen, strict=True):
                if face.reading is None:
                    failed.append(FailedFace(face, unusable(face, _FOUND_FIELD)))
                    continue
                matrix = self.viewer.matrix(face.found, method.manifest.crop_size)
                crop = warp_crop(photo.pixels, matrix, method.manifest.crop_size)
                source = wish.source or Age(years=float(np.clip(face.reading.age, MIN_AGE, MAX_AGE)))
                work.append(_Work(wish, face, face.reading, source, matrix, crop))
        return work, failed


def _mask(work: _Work) -> Array:
    landmarks = cv2.transform(work.face.found.landmarks[None], work.matrix)[0]
    return face_mask(landmarks, len(work.crop))


def _patch(work: _Work, mask: Array, drawing: Drawing, method: Method, request: AgeRequest) -> compositing.Patch:
    if request.blend == "replace":
        return compositing.replacement_patch(work.matrix, mask, work.crop, drawing.picture)
    patch = compositing.learned_patch if method.learned_under_mask else compositing.delta_patch
    return patch(work.matrix, mask, drawing.delta, compositing.colourfulness(work.crop))


def _delta(before: NDArray[np.uint8], after: NDArray[np.uint8], patches: Sequence[compositing.Patch]) -> StoredPicture:
    """What was added to the photo ``before``, as a PNG; its alpha is the masks', and above 0 wherever a pixel has changed."""
    change = compositing.difference(before, after)
    alpha = np.maximum(compositing.coverage(before, patches), (change != 128).any(axis=2).astype(np.uint8))
    height, width = alpha.shape
    return StoredPicture(encode(change, "PNG", alpha=alpha), "PNG", width, height)


def _result(work: _Work, target: Age, after: Reading) -> FaceResult:
    likeness = similarity(work.before.embedding, after.embedding)
    return FaceResult(work.face, work.source, work.wish.source is not None, target, after, likeness)


def store(pixels: NDArray[np.uint8], photo: Photo, output: Output) -> StoredPicture:
    """``pixels`` RGB uint8 as ``output`` asks, or else in the format of ``photo``, with its alpha and perhaps its metadata."""
    kind = output.format or photo.format
    height, width = pixels.shape[:2]
    metadata = photo.metadata if output.keep_metadata else None
    return StoredPicture(encode(pixels, kind, output.quality, photo.alpha, metadata), kind, width, height)
