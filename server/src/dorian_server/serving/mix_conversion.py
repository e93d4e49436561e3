"""Conversion of what mixes styles between protobuf messages and domain types."""

from __future__ import annotations

from collections.abc import Mapping

from dorian.v1 import face_aging_pb2 as pb
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import FaceSelector, MixRequest, ReferenceChoice, StyleReference
from dorian_server.domain.results import MixResult, UsedReference
from dorian_server.faces.reader import FaceReader
from dorian_server.methods.method import Method
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.serving.conversion import (
    out_of_range,
    read_age,
    read_blend,
    read_output,
    read_selector,
    read_selectors,
    write_aged_image,
    write_provenance,
    write_times,
)
from dorian_server.serving.face_conversion import write_face

_WOMAN: Mapping[pb.Gender, bool | None] = {
    pb.GENDER_UNSPECIFIED: None,
    pb.GENDER_WOMAN: True,
    pb.GENDER_MAN: False,
}


def read_mix_request(message: pb.MixStylesRequest) -> MixRequest:
    """Return all of ``message`` but its method; ``RequestError`` for what is invalid by itself."""
    return MixRequest(
        data=message.image.data,
        references=[
            _read_reference(reference, f"references[{index}]") for index, reference in enumerate(message.references)
        ],
        choice=_read_choice(message.chosen) if message.HasField("chosen") else None,
        preset=message.preset,
        levels=tuple(message.levels),
        faces=read_selectors(message),
        strength=message.strength if message.HasField("strength") else 1.0,
        blend=read_blend(message.blend),
        output=read_output(message.output),
        with_delta=message.with_delta,
    )


def _read_reference(message: pb.StyleReference, field: str) -> StyleReference:
    face = read_selector(message.face, f"{field}.face") if message.HasField("face") else FaceSelector()
    return StyleReference(message.image.data, face, tuple(message.levels))


def _read_choice(message: pb.ReferenceChoice) -> ReferenceChoice:
    if message.gender not in _WOMAN:
        raise out_of_range("chosen.gender", f"gender {message.gender} is unknown; known: WOMAN, MAN")
    if message.count < 0:
        raise out_of_range("chosen.count", f"count {message.count} is out of range; give how many references to choose")
    return ReferenceChoice(read_age(message.age, "chosen.age"), message.count, _WOMAN[message.gender])


def write_mix_result(result: MixResult, pipeline: Pipeline, method: Method, clock: Clock) -> pb.MixStylesResponse:
    """Return the response of ``MixStyles``: the photo, a report per face, and the references."""
    return pb.MixStylesResponse(
        result=write_aged_image(result.image, pipeline.face_reader),
        references=[_write_reference(reference, pipeline.face_reader) for reference in result.references],
        provenance=write_provenance(pipeline, method),
        times=write_times(clock),
        faces_found=result.face_count,
    )


def _write_reference(reference: UsedReference, reader: FaceReader) -> pb.UsedReference:
    message = pb.UsedReference(
        index=reference.index,
        levels=reference.levels,
        face=write_face(reference.face, reader) if reference.face else None,
        chosen_for=reference.chosen_for,
    )
    if reference.kept is not None:
        message.age_low, message.age_high = reference.kept.age_low, reference.kept.age_high
        message.gender = pb.GENDER_WOMAN if reference.kept.woman else pb.GENDER_MAN
    return message
