"""Composition: the drawings of faces become a photo, and the networks read what became of them."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.hair_ageing import keeps_hair
from dorian_bundle.masks import change_mask
from dorian_bundle.mesh import mean_mesh
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import MAX_STRENGTH, Age, AgeRequest, MixRequest
from dorian_server.domain.results import AgedImage, FaceReading, FaceReport, FailedFace, ReachedTarget
from dorian_server.faces.hair import FoundHair
from dorian_server.faces.reader import FaceReader, cosine_similarity
from dorian_server.images import Photo
from dorian_server.methods.method import Drawing, Method
from dorian_server.pipeline import compositing
from dorian_server.pipeline.face_selection import UnmatchedSelector
from dorian_server.pipeline.face_warnings import warn_of_face
from dorian_server.pipeline.fine_detail import FineCrop, cut_finely, detailed_patch
from dorian_server.pipeline.hair_patches import HairPatches, hair_patches
from dorian_server.pipeline.outputs import encode_delta, encode_photo
from dorian_server.pipeline.preparation import PreparedFace
from dorian_server.pipeline.reshaping import Move, reshape_faces

_Pasted = tuple[NDArray[np.uint8], list[compositing.Patch]]


def check_strength(request: AgeRequest | MixRequest) -> None:
    """Raise ``RequestError`` if the strength of ``request`` is none that its blend takes."""
    max_strength = 1.0 if request.blend == "replace" else MAX_STRENGTH
    if not 0 <= request.strength <= max_strength:
        limit = f"it must be between 0 and {max_strength:g} for this blend"
        message = f"strength {request.strength:g} is out of range; {limit}"
        raise RequestError(Reason.SETTING_OUT_OF_RANGE, "strength", message)


class Composition:
    """A photo, its prepared faces and what to report of the others; makes images of drawings.

    Args:
        face_reader: Reads faces.
        request: How to put drawings into the photo.
        photo: The photo.
        prepared: The faces that change.
        failed: Faces that cannot.
        unmatched: Selectors that matched no face.
        method: What drew the faces.
        clock: Times the stages "paste", "reread" and "write".
    """

    def __init__(
        self,
        face_reader: FaceReader,
        request: AgeRequest | MixRequest,
        photo: Photo,
        prepared: Sequence[PreparedFace],
        failed: Sequence[FailedFace],
        unmatched: Sequence[UnmatchedSelector],
        method: Method,
        clock: Clock,
    ) -> None:
        self._face_reader, self._request, self._photo = face_reader, request, photo
        self._prepared, self._method, self._clock = prepared, method, clock
        self._failed = [FaceReport(failure.face, error=failure.error) for failure in failed]
        self._unmatched = [FaceReport(target=selector.target, error=selector.error()) for selector in unmatched]
        self._fine_crops: dict[int, FineCrop] = {}
        self._hair: dict[int, FoundHair] = {}  # of those whose was looked for
        # What was made last, as a face that is read back is mostly put into the photo with another drawing of the same target.
        self._hair_changes: dict[int, tuple[tuple[float, float], HairPatches]] = {}
        self._pasted: tuple[Sequence[Drawing | None], _Pasted] | None = None
        with clock.stage("paste"):
            self._meshes = [_mesh(face) for face in prepared]  # (73, 2) each, in pixels of the photo
            self._masks = [
                change_mask(cv2.transform(mesh[None], face.matrix)[0], face_reader.template, len(face.crop))
                for face, mesh in zip(prepared, self._meshes, strict=True)
            ]

    def compose(
        self,
        targets: Sequence[Age | None],
        drawings: Sequence[Drawing | None],
        reached: Sequence[ReachedTarget] | None = None,
    ) -> AgedImage:
        """Return the photo with a drawing of each prepared face, and the reports of all faces.

        Args:
            targets: What each prepared face is to become.
            drawings: Of each; ``None`` for one that stays as it is.
            reached: How far each was changed, where there is an identity budget.
        """
        request, photo, clock = self._request, self._photo, self._clock
        with clock.stage("paste"):
            pixels, patches = self._paste(drawings)
        with clock.stage("reread"):
            readings = self._face_reader.read(pixels, [face.face.detected for face in self._prepared])
        needs_source = isinstance(request, AgeRequest)
        ways: Sequence[ReachedTarget | None] = reached or [None] * len(self._prepared)
        reports = [_report(*parts, needs_source) for parts in zip(self._prepared, targets, readings, ways, strict=True)]
        reports = sorted(reports + self._failed, key=lambda report: report.face.index if report.face else 0)
        with clock.stage("write"):
            delta = encode_delta(photo.pixels, pixels, patches) if request.with_delta else None
            return AgedImage(encode_photo(pixels, photo, request.output), reports + self._unmatched, delta)

    def read_ages(self, drawings: Sequence[Drawing]) -> list[float]:
        """Return how old each prepared face is read with its drawing in the photo, in years."""
        with self._clock.stage("paste"):
            pasted = self._paste(drawings)
            self._pasted = drawings, pasted
        with self._clock.stage("reread"):
            return self._face_reader.ages(pasted[0], [face.face.detected for face in self._prepared])

    def similarities(self, drawings: Sequence[Drawing | None]) -> list[float]:
        """Return how similar each prepared face stays with ``drawings``, which are as for ``compose``; no stage is timed."""
        pixels, _ = self._paste(drawings)
        embeddings = [face.before.embedding for face in self._prepared]
        return self._face_reader.similarities(pixels, [face.face.detected for face in self._prepared], embeddings)

    def _paste(self, drawings: Sequence[Drawing | None]) -> _Pasted:
        """Return the photo's pixels with ``drawings``, and the patches that were put into it."""
        if self._pasted is not None:
            (drawn, pasted), self._pasted = self._pasted, None
            if all(map(operator.is_, drawn, drawings)):
                return pasted
            del pasted  # before another picture is made
        pixels, strength = self._photo.pixels.copy(), self._request.strength
        shown = [(index, drawing) for index, drawing in enumerate(drawings) if drawing is not None]
        hair = [self._hair_patches(*part) for part in shown]
        patches = [of_hair.spared(self._patch(*part)) for of_hair, part in zip(hair, shown, strict=True)]
        compositing.apply(pixels, patches, strength)
        if self._request.blend == "delta":
            recoloured = [patch for of_hair in hair for patch in of_hair.patches]
            compositing.apply(pixels, recoloured, min(strength, 1.0))  # it is grey at most
            moves = [move for move in (self._move(*part) for part in shown) if move is not None]
            reshape_faces(pixels, moves, strength)
            patches += recoloured
        return pixels, patches

    def _patch(self, index: int, drawing: Drawing) -> compositing.Patch:
        """Return the change of the prepared face ``index``."""
        face, mask = self._prepared[index], self._masks[index]
        if self._request.blend == "replace":
            return compositing.replacement_patch(face.matrix, mask, face.crop, drawing.image)
        make = compositing.learned_patch if self._method.learned_under_mask else compositing.delta_patch
        patch = make(face.matrix, mask, drawing.delta, compositing.colourfulness(face.crop))
        change = drawing.photo
        if change is None or change.detail is None:
            return patch
        crop, strength = self._fine_crop(index), self._request.strength
        return detailed_patch(patch, crop, change.detail, change.source, change.face_target, strength)

    def _hair_patches(self, index: int, drawing: Drawing) -> HairPatches:
        """Return how the hair of the prepared face ``index`` changes."""
        change, request, face = drawing.photo, self._request, self._prepared[index]
        keeps = request.blend != "delta" or (isinstance(request, AgeRequest) and request.keep_hair)
        if keeps or change is None or change.hair is None or keeps_hair(change.source, change.target):
            return HairPatches()
        mesh, landmarks = self._meshes[index], face.face.detected.landmarks
        if index not in self._hair:
            self._hair[index] = change.hair.find(self._photo.pixels, landmarks, mesh, self._face_reader.template)
        ages = change.source, change.target
        if index not in self._hair_changes or self._hair_changes[index][0] != ages:
            colour = compositing.colourfulness(face.crop)
            self._hair_changes[index] = ages, hair_patches(self._hair[index], mesh, *ages, colour)
        return self._hair_changes[index][1]

    def _move(self, index: int, drawing: Drawing) -> Move | None:
        """Return how the prepared face ``index`` changes its shape."""
        change = drawing.photo
        if change is None or change.shape is None:
            return None
        mesh = self._meshes[index]
        return Move(mesh, change.shape.moves(mesh, change.source, change.face_target))

    def _fine_crop(self, index: int) -> FineCrop:
        if index not in self._fine_crops:
            face = self._prepared[index]
            self._fine_crops[index] = cut_finely(
                self._photo.pixels, face.matrix, self._meshes[index], len(face.crop), self._face_reader.template
            )
        return self._fine_crops[index]


def _mesh(face: PreparedFace) -> NDArray[np.float64]:
    detected = face.face.detected
    return mean_mesh(detected.landmarks) if detected.mesh is None else detected.mesh


def _report(
    face: PreparedFace, target: Age | None, after: FaceReading, reached: ReachedTarget | None, needs_source: bool
) -> FaceReport:
    """Return the report of a face; ``needs_source``: whether what was drawn depends on its source age."""
    similarity = cosine_similarity(face.before.embedding, after.embedding)
    source_given = face.selected.source is not None
    warnings = warn_of_face(face.face, source_given or not needs_source)
    return FaceReport(face.face, face.source, source_given, target, after, similarity, warnings, reached=reached)
