"""Between the contract's messages and the pipeline's own types; nothing here computes."""

from __future__ import annotations

from collections.abc import Mapping

from dorian.v1 import face_aging_pb2 as pb
from dorian_server import __version__
from dorian_server.errors import RequestError
from dorian_server.methods.age_cgan import Age, AgeCgan
from dorian_server.pictures import DEFAULT_QUALITY, Format
from dorian_server.pipeline import Aged, Clock, Output, Pipeline, ReadFace, StoredPicture

_FORMATS: Mapping[pb.ImageFormat, Format] = {
    pb.IMAGE_FORMAT_JPEG: "JPEG",
    pb.IMAGE_FORMAT_PNG: "PNG",
    pb.IMAGE_FORMAT_WEBP: "WEBP",
}
_FORMAT_CODES = {name: code for code, name in _FORMATS.items()}


def read_age(message: pb.Age, field: str) -> Age:
    """The age in ``message``; ``RequestError`` if none is set."""
    kind = message.WhichOneof("kind")
    if kind == "group":
        return Age(group=message.group)
    if kind == "years":
        return Age(years=message.years)
    raise RequestError("TARGET_MISSING", field, f"{field} is empty; set an age group or a number of years")


def read_output(message: pb.OutputOptions) -> Output:
    """The output options in ``message``; ``RequestError`` for an unknown format or a quality beyond 100."""
    if message.format != pb.IMAGE_FORMAT_UNSPECIFIED and message.format not in _FORMATS:
        words = f"image format {message.format} is unknown; known: JPEG, PNG, WebP"
        raise RequestError("SETTING_OUT_OF_RANGE", "output.format", words)
    if not 0 <= message.quality <= 100:
        words = f"quality {message.quality} is out of range; it must be between 1 and 100, or 0 for {DEFAULT_QUALITY}"
        raise RequestError("SETTING_OUT_OF_RANGE", "output.quality", words)
    return Output(_FORMATS.get(message.format), message.quality or DEFAULT_QUALITY)


def write_picture(picture: StoredPicture) -> pb.Image:
    return pb.Image(data=picture.data, format=_FORMAT_CODES[picture.format], width=picture.width, height=picture.height)


def write_age(age: Age) -> pb.Age:
    return pb.Age(group=age.group) if age.group is not None else pb.Age(years=age.years)


def write_face(face: ReadFace) -> pb.Face:
    x, y, width, height = face.found.box
    return pb.Face(box=pb.Box(x=x, y=y, width=width, height=height), score=face.found.score)


def write_times(clock: Clock) -> list[pb.StageTime]:
    return [pb.StageTime(stage=stage, seconds=seconds) for stage, seconds in clock.seconds.items()]


def write_provenance(pipeline: Pipeline, method: AgeCgan) -> pb.Provenance:
    bundle = pipeline.bundle
    return pb.Provenance(
        method=method.manifest.name,
        bundle=bundle.manifest.name,
        bundle_version=bundle.manifest.version,
        bundle_sha256=bundle.sha256,
    )


def write_aged(aged: Aged, targets: list[Age], source_given: bool) -> list[pb.AgedImage]:
    """A result per target, each with its report per face."""
    return [
        pb.AgedImage(
            image=write_picture(picture),
            faces=[
                pb.FaceReport(
                    face=write_face(face),
                    source=write_age(face.source),
                    source_given=source_given,
                    target=write_age(target),
                )
                for face in aged.faces
            ],
        )
        for picture, target in zip(aged.pictures, targets, strict=True)
    ]


def write_methods(pipeline: Pipeline) -> pb.ListMethodsResponse:
    """All methods of the bundle, the default first."""
    manifest = pipeline.bundle.manifest
    licences = dict.fromkeys(method.provenance.licence for method in manifest.methods)
    response = pb.ListMethodsResponse(
        bundle=manifest.name,
        bundle_version=manifest.version,
        bundle_sha256=pipeline.bundle.sha256,
        weights_licence="; ".join(licences),
        server_version=__version__,
    )
    for index, method in enumerate(manifest.methods):
        entry = response.methods.add(
            name=method.name,
            family=method.family,
            description=method.description,
            crop_size=method.crop_size,
            is_default=index == 0,
        )
        for group in method.age_groups:
            added = entry.age_groups.add(label=group.label, low=group.low, centre=group.centre)
            if group.high is not None:
                added.high = group.high
    return response
