"""Latents: what the encoder says of a face, the search for a better one, and the picture that is drawn of it."""

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
from dorian_server.pipeline import method_selection as choice
from dorian_server.pipeline.face_selection import Missing, Wish, find, wishes
from dorian_server.pipeline.latent_search import WEIGHTS, Search, Step
from dorian_server.pipeline.outputs import store_crop
from dorian_server.pipeline.preparation import FOUND_FIELD, Preparation, Work

_SEARCHED_AT_ONCE = 8  # faces of one request; their steps share batches
_LARGEST_LATENT = (
    100  # of any one number: encoders and searches stay within some tens, and far beyond them half precision ends
)


class Reconstruction:
    """What an encoding method makes of faces; safe to call from several threads. Errors are as ``Pipeline.age``'s.

    ``cancelled``, of the callers: set when they do not wait any longer; what is under way then ends with ``CallCancelledError``.
    """

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation

    def reconstruct(
        self, request: ReconstructRequest, method: EncodingMethod, clock: Clock, cancelled: threading.Event
    ) -> list[ReconstructedFace | FailedFace]:
        """What ``method``'s networks make of the faces in the request's photo."""
        self.check(request, method)
        search = self._whole(request.search) if request.search is not None else None
        photo, found = self._preparation.find_some(request.data, FOUND_FIELD, clock)
        most = self._preparation.limits.max_faces
        wished, missing = wishes(found, True, request.source, request.faces, (), most)
        work, failed = self._preparation.prepare(photo, found, wished, method, clock)
        lost = [FailedFace(None, each.error()) for each in missing]
        if not work:
            raise (failed or lost)[0].error
        with clock.stage("encode"):
            latents = method.encode([each.crop for each in work])
        steps = [0] * len(work)
        if search is not None:
            with clock.stage("optimise"):
                best = self._searched(work, latents, method, search, cancelled)
            latents, steps = np.stack([step.latent for step, _ in best]), [taken for _, taken in best]
        drawn = self._drawn(photo, work, latents, steps, method, request, clock)
        results: list[ReconstructedFace | FailedFace] = [*failed, *drawn]
        return [*sorted(results, key=lambda result: result.face.index if result.face else 0), *lost]

    def optimize(
        self,
        request: OptimizeRequest,
        method: EncodingMethod,
        clock: Clock,
        cancelled: threading.Event,
        tell: Callable[[SearchProgress], None],
    ) -> ReconstructedFace:
        """The best latent of the request's face; ``tell`` hears of each step on the way."""
        self.check(request, method)
        settings = self._whole(request.search)
        photo, found = self._preparation.find_some(request.data, FOUND_FIELD, clock)
        index = find(request.face, found)
        if index is None:
            raise Missing("face", request.face, None, len(found)).error()
        work, failed = self._preparation.prepare(photo, found, [Wish(index, None, request.source)], method, clock)
        if failed:
            raise failed[0].error
        with clock.stage("encode"):
            start = method.encode([work[0].crop])[0] if request.start is None else request.start
        best: list[Step] = []

        def told(step: Step) -> None:
            if not best or step.loss < best[0].loss:
                best[:] = [step]
            due = request.preview_every and step.number and step.number % request.preview_every == 0
            shown = _pictures(best[0].latent[None], work, method)[0] if due else None
            preview = store_crop(shown, photo, request.output) if shown is not None else None
            tell(SearchProgress(step.number, step.loss, best[0].loss, step.similarity, step.pixel_error, preview))

        with clock.stage("optimise"):
            search = _search(work[0], start, method, settings, cancelled, told)
            step = search.run()
        return self._drawn(photo, work, step.latent[None], [search.steps], method, request, clock)[0]

    def latents(
        self,
        work: Sequence[Work],
        found: Sequence[DetectedFace],
        request: AgeRequest,
        method: EncodingMethod,
        clock: Clock,
        cancelled: threading.Event,
    ) -> Array:
        """The latents (faces, latent) to age the faces of ``work`` from: those that were given, the others searched as asked."""
        known = _given(request, found, method)
        unknown = [each for each in work if each.face.index not in known]
        if unknown:
            with clock.stage("encode"):
                latents = method.encode([each.crop for each in unknown])
            search = SEARCH_BUDGETS[request.optimisation]
            if search is not None:
                search = replace(search, steps=min(search.steps, self._preparation.limits.max_steps))
                with clock.stage("optimise"):
                    best = self._searched(unknown, latents, method, search, cancelled)
                latents = np.stack([step.latent for step, _ in best])
            known |= {each.face.index: latent for each, latent in zip(unknown, latents, strict=True)}
        return np.stack([known[each.face.index] for each in work])

    def check(self, request: ReconstructRequest | OptimizeRequest, method: EncodingMethod) -> None:
        """``RequestError`` for what can be seen to be wrong with ``request`` without a look at its photo."""
        if request.source is not None:
            choice.require_source(request.source, method, "source")
        most = self._preparation.limits.max_steps
        if request.search is not None and not 0 <= request.search.steps <= most:
            words = f"{request.search.steps} steps are out of range; they must be between 1 and {most}, or 0 for the usual number"
            raise RequestError(Reason.SETTING_OUT_OF_RANGE, "search.max_steps", words)
        match request:
            case ReconstructRequest():
                self._preparation.check_count(len(request.faces), "faces")
            case OptimizeRequest() if request.start is not None:
                _require_latent(request.start, method, "latent")

    def _whole(self, search: SearchSettings) -> SearchSettings:
        """``search`` with its number of steps."""
        return replace(search, steps=search.steps or min(DEFAULT_STEPS, self._preparation.limits.max_steps))

    def _searched(
        self,
        work: Sequence[Work],
        starts: Array,
        method: EncodingMethod,
        settings: SearchSettings,
        cancelled: threading.Event,
    ) -> list[tuple[Step, int]]:
        """The best step for each face of ``work`` from its row of ``starts``, and how many were taken."""
        searches = [_search(each, start, method, settings, cancelled) for each, start in zip(work, starts, strict=True)]
        with ThreadPoolExecutor(min(len(searches), _SEARCHED_AT_ONCE), thread_name_prefix="search") as pool:
            # Each in a copy of this thread's context, so that what it runs is for the same caller.
            steps = [pool.submit(copy_context().run, search.run) for search in searches]
            return [(step.result(), search.steps) for step, search in zip(steps, searches, strict=True)]

    def _drawn(
        self,
        photo: Photo,
        work: Sequence[Work],
        latents: Array,
        steps: Sequence[int],
        method: EncodingMethod,
        request: ReconstructRequest | OptimizeRequest,
        clock: Clock,
    ) -> list[ReconstructedFace]:
        """The faces of ``work`` drawn from ``latents`` (faces, latent), and how near that comes."""
        with clock.stage("generate"):
            shown = _pictures(latents, work, method)
        embedder = self._preparation.face_reader.embedder
        size = embedder.crop_size
        with clock.stage("reread"):
            resized = [np.asarray(cv2.resize(picture, (size, size)), dtype=np.uint8) for picture in shown]
            after = embedder.embed(resized)
        results = []
        with clock.stage("write"):
            for each, latent, taken, picture, embedding in zip(work, latents, steps, shown, after, strict=True):
                difference = (picture.astype(np.float32) - each.crop) / 255
                results.append(
                    ReconstructedFace(
                        face=each.face,
                        source=each.source,
                        source_given=each.wish.source is not None,
                        crop=store_crop(each.crop, photo, request.output),
                        image=store_crop(picture, photo, request.output),
                        latent=latent,
                        steps=taken,
                        pixel_error=float(np.sqrt(np.square(difference).mean())),
                        similarity=cosine_similarity(each.before.embedding, embedding),
                    )
                )
        return results


def _search(
    work: Work,
    start: Array,
    method: EncodingMethod,
    settings: SearchSettings,
    cancelled: threading.Event,
    tell: Callable[[Step], None] = lambda step: None,
) -> Search:
    subject, weights = Subject(work.crop, work.before.embedding, work.source), WEIGHTS[settings.objective]
    return Search(lambda latent: method.loss_and_gradient(latent, subject, weights), start, settings, tell, cancelled)


def _pictures(latents: Array, work: Sequence[Work], method: EncodingMethod) -> list[NDArray[np.uint8]]:
    drawn = method.generate(latents, [each.source for each in work])
    return list(floats_to_pixels(drawn))


def _given(request: AgeRequest, found: Sequence[DetectedFace], method: EncodingMethod) -> dict[int, Array]:
    """The latents that came with the request, by the index of their face. ``RequestError`` for one that cannot be."""
    given = {}
    for place, each in enumerate(request.latents):
        _require_latent(each.latent, method, f"latents[{place}].latent")
        index = find(each.face, found)
        if index is None:
            raise Missing(f"latents[{place}].face", each.face, None, len(found)).error()
        given[index] = each.latent
    return given


def _require_latent(latent: Array, method: EncodingMethod, field: str) -> None:
    size = method.latent_size
    if latent.shape != (size,) or not (np.abs(latent) <= _LARGEST_LATENT).all():  # NaN is not, either
        words = f"{field} has {len(latent)} numbers; {method.manifest.name} has latents of {size}, all from -{_LARGEST_LATENT} to {_LARGEST_LATENT}"
        raise RequestError(Reason.LATENT_UNSUITABLE, field, words)
