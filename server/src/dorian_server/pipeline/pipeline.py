"""The way of a photo through the server: decode, detect, align, read, encode, generate, paste, reread, write. It only orders."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle import Bundle
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.graphs import Array
from dorian_bundle.masks import face_mask
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import MAX_STRENGTH, Age, AgeRequest, CompareRequest
from dorian_server.domain.results import (
    AgedImage,
    AgeResult,
    ComparisonResult,
    DetectionResult,
    EncodedImage,
    Face,
    FaceReading,
    FaceReport,
)
from dorian_server.faces.reader import FaceReader, cosine_similarity, unusable_face_error
from dorian_server.images import encode
from dorian_server.methods.method import Drawing, EncodingMethod, Method
from dorian_server.pipeline import compositing
from dorian_server.pipeline import method_selection as choice
from dorian_server.pipeline.face_selection import Missing, find, wishes
from dorian_server.pipeline.outputs import store
from dorian_server.pipeline.preparation import FOUND_FIELD, Preparation, Work
from dorian_server.pipeline.reconstruction import Reconstruction
from dorian_server.settings import Limits


class Pipeline:
    """A bundle's methods, the networks that see faces, and limits; safe to call from several threads."""

    def __init__(self, bundle: Bundle, methods: Sequence[Method], face_reader: FaceReader, limits: Limits) -> None:
        self.bundle = bundle
        self.methods = list(methods)
        self.face_reader = face_reader
        self._limits = limits
        self._preparation = Preparation(face_reader, limits)
        self.reconstruction = Reconstruction(self._preparation)

    def method(self, name: str) -> Method:
        """The method called ``name``, or the default one for an empty name; ``RequestError`` if there is none."""
        for method in self.methods:
            if name in ("", method.manifest.name):
                return method
        names = ", ".join(method.manifest.name for method in self.methods)
        raise RequestError(Reason.METHOD_UNKNOWN, "method", f"the bundle has no method {name!r}; it has {names}")

    def method_for(self, request: AgeRequest, name: str) -> Method:
        """The method called ``name``, or for an empty name the first that can draw all targets of ``request``, if any can."""
        return self.method(name) if name else choice.method_for(self.methods, request)

    def encoding_method(self, name: str, searches: bool = False) -> EncodingMethod:
        """The method called ``name``, or the first with an encoder for an empty name; ``RequestError`` if it has none.

        With ``searches`` its latents can be searched.
        """
        able = (method for method in self.methods if choice.encodes(method, searches))
        chosen = self.method(name) if name else next(able, self.methods[0])
        return choice.require_encoder(chosen, self.methods, searches)

    def detect(self, data: bytes, clock: Clock) -> DetectionResult:
        """The faces of ``data``'s photo, each with what is read from it; none is no error."""
        photo, found = self._preparation.find(data, FOUND_FIELD, clock)
        height, width = photo.pixels.shape[:2]
        return DetectionResult(width, height, self.face_reader.inspect(photo.pixels, list(enumerate(found)), clock))

    def compare(self, request: CompareRequest, clock: Clock) -> ComparisonResult:
        """Whether a face of one photo and a face of another are one person's."""
        rate, threshold = self.face_reader.embedder.threshold(request.false_accept_rate)
        seen: list[tuple[Face, FaceReading]] = []
        sides = (("first", request.first, request.first_face), ("second", request.second, request.second_face))
        for name, data, selector in sides:
            photo, found = self._preparation.find_some(data, f"{name}.data", clock, f"the {name} photo: ")
            index = find(selector, found)
            if index is None:
                missing = Missing(f"{name}_face", selector, None, len(found)).error()
                raise RequestError(missing.reason, missing.field, f"the {name} photo: {missing}")
            (face,) = self.face_reader.inspect(photo.pixels, [(index, found[index])], clock)
            if face.reading is None:
                raise unusable_face_error(face, f"{name}_face")
            seen.append((face, face.reading))
        (first, one), (second, other) = seen
        return ComparisonResult(first, second, cosine_similarity(one.embedding, other.embedding), threshold, rate)

    def age(
        self, request: AgeRequest, method: Method, clock: Clock, cancelled: threading.Event | None = None
    ) -> AgeResult:
        """The request's photo at each of the ages asked for. ``RequestError`` says what about it cannot be done.

        ``CallCancelledError`` if ``cancelled`` is set while latents are searched.
        """
        self.check(request, method)
        photo, found = self._preparation.find_some(request.data, FOUND_FIELD, clock)
        wished, missing = wishes(
            found,
            bool(request.targets),
            request.source,
            request.faces,
            request.face_targets,
            self._limits.max_faces,
        )
        work, failed = self._preparation.prepare(photo, found, wished, method, clock)
        if not work:
            raise failed[0].error if failed else missing[0].error()
        drawings = self._drawings(request, found, work, method, clock, cancelled or threading.Event())
        lost = [FaceReport(target=each.target, error=each.error()) for each in missing]
        left = [FaceReport(each.face, error=each.error) for each in failed]
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
                after = self.face_reader.read(pixels, [each.face.detected for each in work])
            results = [_result(*each) for each in zip(work, aims, after, strict=True)] + left
            results.sort(key=lambda result: result.face.index if result.face else 0)
            with clock.stage("write"):
                delta = _delta(photo.pixels, pixels, patches) if request.with_delta else None
                pictures.append(AgedImage(store(pixels, photo, request.output), results + lost, delta))
        return AgeResult(pictures, len(found))

    def _drawings(
        self,
        request: AgeRequest,
        found: Sequence[DetectedFace],
        work: Sequence[Work],
        method: Method,
        clock: Clock,
        cancelled: threading.Event,
    ) -> list[list[Drawing]]:
        """Each face of ``work`` at each of its targets."""
        sources = [each.source for each in work]
        targets = [[each.wish.target] if each.wish.target else request.targets for each in work]
        if not request.needs_latents:
            return method.draw([each.crop for each in work], sources, targets, clock)
        encoding = choice.require_encoder(method, self.methods)
        latents = self.reconstruction.latents(work, found, request, encoding, clock, cancelled)
        return encoding.draw_latents(latents, sources, targets, clock)

    def check(self, request: AgeRequest, method: Method) -> None:
        """``RequestError`` for what can be seen to be wrong with ``request`` without a look at its photo."""
        if not request.targets and not request.face_targets:
            words = "no target age is given; give an age group, a number of years or a filter"
            raise RequestError(Reason.TARGET_MISSING, "targets", words)
        if request.faces and not request.targets:
            words = "faces are named, but no target age is given for them; give one, or name them in face_targets alone"
            raise RequestError(Reason.TARGET_MISSING, "targets", words)
        if len(request.targets) > self._limits.max_targets:
            words = f"{len(request.targets)} target ages are given; at most {self._limits.max_targets} are allowed"
            raise RequestError(Reason.TARGET_TOO_MANY, "targets", words)
        field = "faces" if request.faces else "face_targets"
        self._preparation.check_count(len(request.faces) + len(request.face_targets), field)
        choice.require_known(request, method, self.methods)
        most = 1.0 if request.blend == "replace" else MAX_STRENGTH
        if not 0 <= request.strength <= most:
            words = f"strength {request.strength:g} is out of range; it must be between 0 and {most:g} for this blend"
            raise RequestError(Reason.SETTING_OUT_OF_RANGE, "strength", words)


def _mask(work: Work) -> Array:
    landmarks = cv2.transform(work.face.detected.landmarks[None], work.matrix)[0]
    return face_mask(landmarks, len(work.crop))


def _patch(work: Work, mask: Array, drawing: Drawing, method: Method, request: AgeRequest) -> compositing.Patch:
    if request.blend == "replace":
        return compositing.replacement_patch(work.matrix, mask, work.crop, drawing.picture)
    patch = compositing.learned_patch if method.learned_under_mask else compositing.delta_patch
    return patch(work.matrix, mask, drawing.delta, compositing.colourfulness(work.crop))


def _delta(before: NDArray[np.uint8], after: NDArray[np.uint8], patches: Sequence[compositing.Patch]) -> EncodedImage:
    """What was added to the photo ``before``, as a PNG; its alpha is the masks', and above 0 wherever a pixel has changed."""
    change = compositing.difference(before, after)
    alpha = np.maximum(compositing.coverage(before, patches), (change != 128).any(axis=2).astype(np.uint8))
    height, width = alpha.shape
    return EncodedImage(encode(change, "PNG", alpha=alpha), "PNG", width, height)


def _result(work: Work, target: Age, after: FaceReading) -> FaceReport:
    likeness = cosine_similarity(work.before.embedding, after.embedding)
    return FaceReport(work.face, work.source, work.wish.source is not None, target, after, likeness)
