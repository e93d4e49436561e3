"""Reconstruction: the latents of faces, by the encoder or by a search, and the images that are drawn from them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.graphs import Array
from dorian_bundle.tensors import floats_to_pixels
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import (
    DEFAULT_STEPS,
    SEARCH_BUDGETS,
    AgeRequest,
    OptimizeRequest,
    ReconstructRequest,
    SearchSettings,
)
from dorian_server.domain.results import FailedFace, ReconstructedFace, SearchProgress
from dorian_server.faces.reader import cosine_similarity
from dorian_server.images import Photo
from dorian_server.methods.method import EncodingMethod, Subject
from dorian_server.pipeline.face_selection import SelectedFace, UnmatchedSelector, find_face, select_faces
from dorian_server.pipeline.latent_search import WEIGHTS, Search, Step
from dorian_server.pipeline.method_selection import check_source
from dorian_server.pipeline.outputs import encode_crop
from dorian_server.pipeline.preparation import IMAGE_FIELD, Preparation, PreparedFace

_MAX_PARALLEL_SEARCHES = 8  # of one request; their steps share batches
# Encoders and searches stay within some tens; half precision fails far beyond them.
_MAX_LATENT_VALUE = 100


class Reconstruction:
    """Serves what needs the latents of an encoding method; safe to call from several threads."""

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation

    def reconstruct(
        self, request: ReconstructRequest, method: EncodingMethod, clock: Clock, cancelled: threading.Event
    ) -> list[ReconstructedFace | FailedFace]:
        """Return reconstructions of the faces in the request's photo.

        Args:
            request: The request.
            method: What encodes and draws the faces.
            clock: Times the stages.
            cancelled: Ends latent searches, once set.

        Returns:
            The faces by index, then those of selectors that matched none.

        Raises:
            RequestError: No face can be reconstructed.
            CallCancelledError: The call was cancelled during a latent search.
        """
        self.check(request, method)
        photo, faces = self._preparation.detect_some(request.data, IMAGE_FIELD, clock)
        max_faces = self._preparation.limits.max_faces
        selected_faces, unmatched = select_faces(faces, True, request.source, request.faces, (), max_faces)
        prepared, failed = self._preparation.prepare(photo, faces, selected_faces, method, clock)
        missing = [FailedFace(None, selector.error()) for selector in unmatched]
        if not prepared:
            raise (failed or missing)[0].error
        with clock.stage("encode"):
            latents = method.encode([face.crop for face in prepared])  # (faces, latent)
        steps = [0] * len(prepared)
        if request.search is not None:
            settings = self._with_steps(request.search)
            with clock.stage("optimise"):
                latents, steps = self._search_latents(prepared, latents, method, settings, cancelled)
        reconstructed = self._draw(photo, prepared, latents, steps, method, request, clock)
        results: list[ReconstructedFace | FailedFace] = [*failed, *reconstructed]
        return [*sorted(results, key=lambda result: result.face.index if result.face else 0), *missing]

    def optimize(
        self,
        request: OptimizeRequest,
        method: EncodingMethod,
        clock: Clock,
        cancelled: threading.Event,
        on_progress: Callable[[SearchProgress], None],
    ) -> ReconstructedFace:
        """Return the reconstruction of the request's face from the best latent of a search.

        Args:
            request: The request.
            method: What encodes and draws the face.
            clock: Times the stages.
            cancelled: Ends the search, once set.
            on_progress: Called after every step.

        Raises:
            RequestError: The photo has no such face.
            CallCancelledError: The call was cancelled during the search.
        """
        self.check(request, method)
        settings = self._with_steps(request.search)
        photo, faces = self._preparation.detect_some(request.data, IMAGE_FIELD, clock)
        index = find_face(request.face, faces)
        if index is None:
            raise UnmatchedSelector("face", request.face, None, len(faces)).error()
        selected = SelectedFace(index, None, request.source)
        prepared, failed = self._preparation.prepare(photo, faces, [selected], method, clock)
        if failed:
            raise failed[0].error
        (face,) = prepared
        with clock.stage("encode"):
            start = method.encode([face.crop])[0] if request.start is None else request.start  # (latent,)
        best: Step | None = None

        def report_step(step: Step) -> None:
            nonlocal best
            if best is None or step.loss < best.loss:
                best = step
            preview = None
            if request.preview_every and step.number and step.number % request.preview_every == 0:
                preview = encode_crop(_draw_pixels(best.latent[None], [face], method)[0], photo, request.output)
            on_progress(SearchProgress(step.number, step.loss, best.loss, step.similarity, step.pixel_error, preview))

        with clock.stage("optimise"):
            search = _new_search(face, start, method, settings, cancelled, report_step)
            step = search.run()
        return self._draw(photo, prepared, step.latent[None], [search.steps], method, request, clock)[0]

    def latents(
        self,
        prepared: Sequence[PreparedFace],
        faces: Sequence[DetectedFace],
        request: AgeRequest,
        method: EncodingMethod,
        clock: Clock,
        cancelled: threading.Event,
    ) -> Array:
        """Return the latents (faces, latent) to age the prepared faces from: the request's, or else encoded and searched.

        Args:
            prepared: The faces that change.
            faces: All faces of the photo.
            request: The request, which has latents of faces, and a budget for searches.
            method: What encodes the faces.
            clock: Times the stages.
            cancelled: Ends latent searches, once set.

        Raises:
            RequestError: A latent of the request is not one of the method, or its face is not in the photo.
            CallCancelledError: The call was cancelled during a latent search.
        """
        latents = _requested_latents(request, faces, method)
        remaining = [face for face in prepared if face.face.index not in latents]
        if remaining:
            with clock.stage("encode"):
                encoded = method.encode([face.crop for face in remaining])  # (remaining, latent)
            budget = SEARCH_BUDGETS[request.optimisation]
            if budget is not None:
                settings = replace(budget, steps=min(budget.steps, self._preparation.limits.max_steps))
                with clock.stage("optimise"):
                    encoded, _ = self._search_latents(remaining, encoded, method, settings, cancelled)
            latents |= {face.face.index: latent for face, latent in zip(remaining, encoded, strict=True)}
        return np.stack([latents[face.face.index] for face in prepared])

    def check(self, request: ReconstructRequest | OptimizeRequest, method: EncodingMethod) -> None:
        """Raise ``RequestError`` for what is wrong with ``request`` whatever its photo is."""
        if request.source is not None:
            check_source(request.source, method, "source")
        max_steps = self._preparation.limits.max_steps
        if request.search is not None and not 0 <= request.search.steps <= max_steps:
            limits = f"they must be between 1 and {max_steps}, or 0 for the usual number"
            message = f"{request.search.steps} steps are out of range; {limits}"
            raise RequestError(Reason.SETTING_OUT_OF_RANGE, "search.max_steps", message)
        match request:
            case ReconstructRequest():
                self._preparation.check_face_count(len(request.faces), "faces")
            case OptimizeRequest() if request.start is not None:
                _check_latent(request.start, method, "latent")

    def _with_steps(self, settings: SearchSettings) -> SearchSettings:
        """Return ``settings`` with the default number of steps in place of 0."""
        return replace(settings, steps=settings.steps or min(DEFAULT_STEPS, self._preparation.limits.max_steps))

    def _search_latents(
        self,
        prepared: Sequence[PreparedFace],
        starts: Array,
        method: EncodingMethod,
        settings: SearchSettings,
        cancelled: threading.Event,
    ) -> tuple[Array, list[int]]:
        """Return the best latents (faces, latent) from ``starts`` (faces, latent), and the steps that each search took."""
        searches = [
            _new_search(face, start, method, settings, cancelled) for face, start in zip(prepared, starts, strict=True)
        ]
        with ThreadPoolExecutor(min(len(searches), _MAX_PARALLEL_SEARCHES), thread_name_prefix="search") as pool:
            # Each in a copy of this thread's context, so that its graphs run for the same caller.
            results = [pool.submit(copy_context().run, search.run) for search in searches]
            latents = np.stack([result.result().latent for result in results])
        return latents, [search.steps for search in searches]

    def _draw(
        self,
        photo: Photo,
        prepared: Sequence[PreparedFace],
        latents: Array,
        steps: Sequence[int],
        method: EncodingMethod,
        request: ReconstructRequest | OptimizeRequest,
        clock: Clock,
    ) -> list[ReconstructedFace]:
        """Return the prepared faces drawn from ``latents`` (faces, latent), and how close the drawings come."""
        with clock.stage("generate"):
            images = _draw_pixels(latents, prepared, method)
        embedder = self._preparation.face_reader.embedder
        size = embedder.crop_size
        with clock.stage("reread"):
            resized = [np.asarray(cv2.resize(image, (size, size)), dtype=np.uint8) for image in images]
            embeddings = embedder.embed(resized)  # (faces, embedding)
        results = []
        with clock.stage("write"):
            for face, latent, count, image, embedding in zip(prepared, latents, steps, images, embeddings, strict=True):
                difference = (image.astype(np.float32) - face.crop) / 255
                results.append(
                    ReconstructedFace(
                        face=face.face,
                        source=face.source,
                        source_given=face.selected.source is not None,
                        crop=encode_crop(face.crop, photo, request.output),
                        image=encode_crop(image, photo, request.output),
                        latent=latent,
                        steps=count,
                        pixel_error=float(np.sqrt(np.square(difference).mean())),
                        similarity=cosine_similarity(face.before.embedding, embedding),
                    )
                )
        return results


def _new_search(
    face: PreparedFace,
    start: Array,
    method: EncodingMethod,
    settings: SearchSettings,
    cancelled: threading.Event,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Search:
    subject, weights = Subject(face.crop, face.before.embedding, face.source), WEIGHTS[settings.objective]
    return Search(
        lambda latent: method.loss_and_gradient(latent, subject, weights), start, settings, on_step, cancelled
    )


def _draw_pixels(latents: Array, prepared: Sequence[PreparedFace], method: EncodingMethod) -> list[NDArray[np.uint8]]:
    """Return the prepared faces at their source ages, drawn from ``latents`` (faces, latent): RGB uint8 (size, size, 3)."""
    return list(floats_to_pixels(method.generate(latents, [face.source for face in prepared])))


def _requested_latents(request: AgeRequest, faces: Sequence[DetectedFace], method: EncodingMethod) -> dict[int, Array]:
    """Return the latents (latent,) in ``request`` by the index of their face; ``RequestError`` for an invalid one."""
    latents = {}
    for position, entry in enumerate(request.latents):
        _check_latent(entry.latent, method, f"latents[{position}].latent")
        index = find_face(entry.face, faces)
        if index is None:
            raise UnmatchedSelector(f"latents[{position}].face", entry.face, None, len(faces)).error()
        latents[index] = entry.latent
    return latents


def _check_latent(latent: Array, method: EncodingMethod, field: str) -> None:
    """Raise ``RequestError`` for ``field`` unless ``latent`` is one that ``method`` can draw."""
    size = method.latent_size
    if latent.shape != (size,) or not (np.abs(latent) <= _MAX_LATENT_VALUE).all():  # false for NaN, too
        limits = f"latents of {size}, all from -{_MAX_LATENT_VALUE} to {_MAX_LATENT_VALUE}"
        message = f"{field} has {len(latent)} numbers; {method.manifest.name} has {limits}"
        raise RequestError(Reason.LATENT_UNSUITABLE, field, message)
