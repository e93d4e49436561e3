"""The order of a request's steps: decode, detect, align, read, encode, generate, paste, read again, write."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dorian_bundle import Bundle
from dorian_bundle.face_detection import DetectedFace
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import AgeRequest, CompareRequest, FaceSelector
from dorian_server.domain.results import (
    AgeResult,
    ComparisonResult,
    DetectionResult,
    Face,
    FaceReading,
)
from dorian_server.faces.reader import FaceReader, cosine_similarity, unusable_face_error
from dorian_server.methods.method import EncodingMethod, Method
from dorian_server.methods.mixing import MixingMethod
from dorian_server.pipeline import method_selection, withheld_methods
from dorian_server.pipeline.age_correction import calibration_to_correct_by, correct_drawings
from dorian_server.pipeline.composition import Composition, check_strength
from dorian_server.pipeline.face_selection import UnmatchedSelector, find_face, select_faces
from dorian_server.pipeline.identity_budget import DrawFaces, DrawnFaces, IdentityBudget, check_budget
from dorian_server.pipeline.preparation import IMAGE_FIELD, Preparation, PreparedFace
from dorian_server.pipeline.reconstruction import Reconstruction
from dorian_server.pipeline.style_mixing import StyleMixing
from dorian_server.pipeline.withheld_methods import WithheldMethod
from dorian_server.settings import Limits


class Pipeline:
    """A bundle's methods and face readers, and how to serve requests with them; safe to call from several threads.

    Args:
        bundle: The bundle.
        methods: Its methods, the default one first.
        face_reader: Its face readers.
        limits: Limits of photos and requests.
        withheld: Methods of the bundle that are not served.
    """

    def __init__(
        self,
        bundle: Bundle,
        methods: Sequence[Method],
        face_reader: FaceReader,
        limits: Limits,
        withheld: Sequence[WithheldMethod] = (),
    ) -> None:
        self.bundle = bundle
        self.methods = list(methods)
        self.face_reader = face_reader
        self.limits = limits
        self._withheld = withheld
        self._preparation = Preparation(face_reader, limits)
        self.reconstruction = Reconstruction(self._preparation)
        self.mixing = StyleMixing(self._preparation)

    def method(self, name: str) -> Method:
        """Return the method called ``name``, or the default one for an empty name.

        Raises:
            RequestError: There is no such method, or it is withheld.
        """
        withheld_methods.check_name(name, self._withheld)
        for method in self.methods:
            if name in ("", method.manifest.name):
                return method
        names = ", ".join(method.manifest.name for method in self.methods)
        raise RequestError(Reason.METHOD_UNKNOWN, "method", f"the bundle has no method {name!r}; it has {names}")

    def method_for(self, request: AgeRequest, name: str) -> Method:
        """Return the method called ``name``; for an empty name the first that can serve ``request``, or else the default one.

        Raises:
            RequestError: There is no such method, or it is withheld, as that of a filter may be.
        """
        withheld_methods.check_targets(method_selection.list_targets(request), self._withheld)
        return self.method(name) if name else method_selection.select_method(self.methods, request)

    def encoding_method(self, name: str, searchable: bool = False) -> EncodingMethod:
        """Return the method called ``name``, or the first with an encoder for an empty name.

        Args:
            name: A name, or empty.
            searchable: Whether its latents must be searchable.

        Raises:
            RequestError: There is no such method.
        """
        candidates = (method for method in self.methods if method_selection.can_encode(method, searchable))
        method = self.method(name) if name else next(candidates, self.methods[0])
        return method_selection.require_encoder(method, self.methods, searchable)

    def mixing_method(self, name: str) -> MixingMethod:
        """Return the method called ``name``, or the first that mixes styles for an empty name.

        Raises:
            RequestError: There is no such method.
        """
        candidates = (method for method in self.methods if isinstance(method, MixingMethod))
        method = self.method(name) if name else next(candidates, self.methods[0])
        return method_selection.require_mixing(method, self.methods)

    def detect(self, data: bytes, clock: Clock) -> DetectionResult:
        """Return the faces of the photo in ``data``, with their readings; a photo without a face is no error."""
        photo, faces = self._preparation.detect(data, IMAGE_FIELD, clock)
        clock.faces = len(faces)
        height, width = photo.pixels.shape[:2]
        return DetectionResult(width, height, self.face_reader.inspect(photo.pixels, list(enumerate(faces)), clock))

    def compare(self, request: CompareRequest, clock: Clock) -> ComparisonResult:
        """Return how similar a face of one photo is to a face of another.

        Raises:
            RequestError: A photo has no such face, or the false-accept rate was not measured.
        """
        embedder, rate = self.face_reader.embedder, request.false_accept_rate
        embedder.threshold(rate)  # before any work is done
        first, first_reading = self._read_face("first", request.first, request.first_face, clock)
        second, second_reading = self._read_face("second", request.second, request.second_face, clock)
        similarity = cosine_similarity(first_reading.embedding, second_reading.embedding)
        return ComparisonResult(first, second, similarity, embedder.match(similarity, rate))

    def age(
        self, request: AgeRequest, method: Method, clock: Clock, cancelled: threading.Event | None = None
    ) -> AgeResult:
        """Return the request's photo at each of its targets.

        Args:
            request: The request.
            method: What draws the faces.
            clock: Times the stages.
            cancelled: Ends latent searches, once set.

        Raises:
            RequestError: No face can be changed as requested.
            CallCancelledError: The call was cancelled during a latent search.
        """
        self.check(request, method)
        photo, faces = self._preparation.detect_some(
            request.data, IMAGE_FIELD, clock, output_format=request.output.format
        )
        selected_faces, unmatched = select_faces(
            faces, bool(request.targets), request.source, request.faces, request.face_targets, self.limits.max_faces
        )
        prepared, failed = self._preparation.prepare(photo, faces, selected_faces, method, clock)
        if not prepared:
            raise failed[0].error if failed else unmatched[0].error()
        cancelled = cancelled or threading.Event()
        draw = self._drawer(request, faces, prepared, method, clock, cancelled)
        drawings = draw(
            range(len(prepared)),
            [[face.selected.target] if face.selected.target else request.targets for face in prepared],
            clock,
        )
        composition = Composition(self.face_reader, request, photo, prepared, failed, unmatched, method, clock)
        columns = []
        for index in range(max(1, len(request.targets))):
            targets = [face.selected.target or request.targets[index] for face in prepared]
            target_drawings = [
                face_drawings[0 if face.selected.target else index]
                for face, face_drawings in zip(prepared, drawings, strict=True)
            ]
            columns.append(DrawnFaces(targets, target_drawings))
        sources = [face.source for face in prepared]
        if request.keep_identity is None:
            calibration, images = calibration_to_correct_by(request, method), []
            for drawn in columns:
                if calibration is not None:
                    drawn = correct_drawings(drawn, sources, method.groups, calibration, composition.read_ages)
                images.append(composition.compose(drawn.targets, drawn.drawings))
            return AgeResult(images, len(faces))
        search = IdentityBudget(request.keep_identity, sources, method.groups, draw, composition.similarities)
        with clock.stage("identity"):
            kept = search.apply(columns, cancelled)
        return AgeResult([composition.compose(*image) for image in kept], len(faces))

    def check(self, request: AgeRequest, method: Method) -> None:
        """Raise ``RequestError`` for what is wrong with ``request`` whatever its photo is."""
        if not request.targets and not request.face_targets:
            message = "no target age is given; give an age group, a number of years or a filter"
            raise RequestError(Reason.TARGET_MISSING, "targets", message)
        if request.faces and not request.targets:
            message = (
                "faces are named, but no target age is given for them; give one, or name them in face_targets alone"
            )
            raise RequestError(Reason.TARGET_MISSING, "targets", message)
        if len(request.targets) > self.limits.max_targets:
            message = f"{len(request.targets)} target ages are given; at most {self.limits.max_targets} are allowed"
            raise RequestError(Reason.TARGET_TOO_MANY, "targets", message)
        field = "faces" if request.faces else "face_targets"
        self._preparation.check_face_count(len(request.faces) + len(request.face_targets), field)
        method_selection.check_request(request, method, self.methods)
        check_strength(request)
        check_budget(request)

    def _read_face(self, name: str, data: bytes, selector: FaceSelector, clock: Clock) -> tuple[Face, FaceReading]:
        """Return the selected face of the photo ``name`` ("first" or "second") of a comparison, and its reading."""
        photo, faces = self._preparation.detect_some(data, f"{name}.data", clock, f"the {name} photo: ")
        index = find_face(selector, faces)
        if index is None:
            error = UnmatchedSelector(f"{name}_face", selector, None, len(faces)).error()
            raise RequestError(error.reason, error.field, f"the {name} photo: {error}")
        (face,) = self.face_reader.inspect(photo.pixels, [(index, faces[index])], clock)
        if face.reading is None:
            raise unusable_face_error(face, f"{name}_face")
        return face, face.reading

    def _drawer(
        self,
        request: AgeRequest,
        faces: Sequence[DetectedFace],
        prepared: Sequence[PreparedFace],
        method: Method,
        clock: Clock,
        cancelled: threading.Event,
    ) -> DrawFaces:
        """Return what draws prepared faces, by their indices; latents that it needs are found here, once."""
        sources = [face.source for face in prepared]
        if not request.needs_latents:
            return lambda indices, targets, clock: method.draw(
                [prepared[index].crop for index in indices], [sources[index] for index in indices], targets, clock
            )
        encoding_method = method_selection.require_encoder(method, self.methods)
        latents = self.reconstruction.latents(prepared, faces, request, encoding_method, clock, cancelled)
        return lambda indices, targets, clock: encoding_method.draw_latents(
            latents[list(indices)], [sources[index] for index in indices], targets, clock
        )
