"""Style mixing: faces are drawn with some styles exchanged for those of references in photos, or of those that the bundle keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dorian_bundle.alignment import warp_crop
from dorian_bundle.graphs import Array
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import MixRequest, ReferenceChoice, StyleReference
from dorian_server.domain.results import Face, KeptReference, MixResult, UsedReference
from dorian_server.faces.reader import unusable_face_error
from dorian_server.methods.mixing import MixingMethod
from dorian_server.pipeline.composition import Composition, check_strength
from dorian_server.pipeline.face_selection import UnmatchedSelector, find_face, select_faces
from dorian_server.pipeline.mixing_plan import MixingPlan, plan_mixing, stack_styles
from dorian_server.pipeline.preparation import IMAGE_FIELD, Preparation


class StyleMixing:
    """Serves requests to mix styles; safe to call from several threads.

    Args:
        preparation: The first steps.
    """

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation

    def check(self, request: MixRequest, method: MixingMethod) -> MixingPlan:
        """Return what ``request`` means; ``RequestError`` for what is wrong with it whatever its photos are."""
        check_strength(request)
        self._preparation.check_face_count(len(request.faces), "faces")
        return plan_mixing(request, method, self._preparation.limits.max_references)

    def mix(self, request: MixRequest, method: MixingMethod, clock: Clock) -> MixResult:
        """Return the request's photo with mixed styles.

        Args:
            request: The request.
            method: What draws the faces.
            clock: Times the stages.

        Raises:
            RequestError: A reference has no such face, or no face of the photo can be changed.
        """
        plan, preparation = self.check(request, method), self._preparation
        size = method.manifest.crop_size
        references = [
            self._read_reference(reference, f"references[{index}]", size, clock)
            for index, reference in enumerate(request.references)
        ]
        photo, faces = preparation.detect_some(request.data, IMAGE_FIELD, clock, output_format=request.output.format)
        selected, unmatched = select_faces(faces, True, None, request.faces, (), preparation.limits.max_faces)
        prepared, failed = preparation.prepare(photo, faces, selected, method, clock)
        if not prepared:
            raise failed[0].error if failed else unmatched[0].error()
        clock.faces = len(selected) + len(references)
        with clock.stage("encode"):
            crops = [face.crop for face in prepared] + [crop for _, crop in references]
            latents, of_references = np.split(method.encode(crops), [len(prepared)])
        if request.choice is None:
            styles = [stack_styles(method, of_references)] * len(prepared)
            used = [UsedReference(index, plan.levels_of(index), face) for index, (face, _) in enumerate(references)]
        else:
            chosen = [_choose(request.choice, latent, method, plan.count) for latent in latents]
            styles = [method.library.styles[indices] for indices in chosen]
            used = [
                _used(method, plan, position, int(index), face.face.index)
                for face, indices in zip(prepared, chosen, strict=True)
                for position, index in enumerate(indices)
            ]
        drawings = method.draw_changes(latents, [[plan.mix(of_face)] for of_face in styles], clock)
        composition = Composition(preparation.face_reader, request, photo, prepared, failed, unmatched, method, clock)
        target = request.choice.age if request.choice else None
        image = composition.compose([target] * len(prepared), [drawing for (drawing,) in drawings])
        return MixResult(image, used, len(faces))

    def _read_reference(
        self, reference: StyleReference, field: str, size: int, clock: Clock
    ) -> tuple[Face, NDArray[np.uint8]]:
        """Return the face of a reference, and its crop; of its photo nothing is kept."""
        preparation, prefix = self._preparation, f"{field}: "
        photo, faces = preparation.detect_some(reference.data, f"{field}.image.data", clock, prefix)
        index = find_face(reference.face, faces)
        if index is None:
            error = UnmatchedSelector(f"{field}.face", reference.face, None, len(faces)).error()
            raise RequestError(error.reason, error.field, f"{prefix}{error}")
        reader = preparation.face_reader
        (face,) = reader.inspect(photo.pixels, [(index, faces[index])], clock)
        if face.reading is None:
            error = unusable_face_error(face, f"{field}.face")
            raise RequestError(error.reason, error.field, f"{prefix}{error}")
        with clock.stage("align"):
            return face, warp_crop(photo.pixels, reader.crop_matrix(face.detected, size), size)


def _choose(choice: ReferenceChoice, latent: Array, method: MixingMethod, count: int) -> NDArray[np.intp]:
    """Return the indices of the references in the method's library for the face of ``latent`` (latent,)."""
    years = choice.age.years_in(method.groups)
    return method.library.nearest(years, method.structure_of(latent), choice.woman, count)


def _used(method: MixingMethod, plan: MixingPlan, position: int, index: int, face: int) -> UsedReference:
    """Return the ``position``-th reference of ``face``, the one at ``index`` of the library."""
    library = method.library
    kept = KeptReference(
        float(library.age_low[index]), float(library.age_high[index]), bool(library.woman[index] > 0.5)
    )
    return UsedReference(index, plan.levels_of(position), kept=kept, chosen_for=face)
