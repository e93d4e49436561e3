"""Builds requests and reads responses: pure functions between this package's types and the messages on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeVar

from dorian.v1 import face_aging_pb2 as pb
from dorian_client._pictures import Picture
from dorian_client._results import (
    Age,
    AgedPhoto,
    AgeGroup,
    AgeResult,
    Box,
    BundleInfo,
    FaceReport,
    Method,
    Provenance,
    Reconstruction,
    ReconstructResult,
)
from dorian_client.errors import InternalError, NotFound

_FORMATS: dict[str, pb.ImageFormat] = {
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "png": pb.IMAGE_FORMAT_PNG,
    "webp": pb.IMAGE_FORMAT_WEBP,
}
_FORMAT_NAMES = {number: name for name, number in _FORMATS.items()}
_INT32_MAX = 2**31 - 1

_Request = TypeVar("_Request", pb.AgeTransformRequest, pb.ReconstructRequest)


def age_request(
    photo: bytes,
    to: Age | Iterable[Age],
    *,
    source: Age | None,
    method: str | None,
    format: str | None,
    quality: int | None,
) -> pb.AgeTransformRequest:
    """Returns the request for a photo, in a file's bytes, at one age or several. Raises TypeError and ValueError."""
    ages: Iterable[Any] = to if isinstance(to, Iterable) and not isinstance(to, str | bytes) else [to]
    request = pb.AgeTransformRequest(targets=[_write_age(age) for age in ages])
    return _fill(request, photo, source, method, format, quality)


def reconstruct_request(
    photo: bytes, *, source: Age | None, method: str | None, format: str | None, quality: int | None
) -> pb.ReconstructRequest:
    """Returns the request for what the networks see in a photo. Raises TypeError and ValueError."""
    return _fill(pb.ReconstructRequest(), photo, source, method, format, quality)


def _fill(
    request: _Request, photo: bytes, source: Age | None, method: str | None, format: str | None, quality: int | None
) -> _Request:
    request.image.data = photo
    if source is not None:
        request.source.CopyFrom(_write_age(source))
    request.method = method or ""
    if format is not None:
        if format not in _FORMATS:
            raise ValueError(f"a format cannot be {format!r}; give one of {', '.join(_FORMATS)}")
        request.output.format = _FORMATS[format]
    if quality is not None:
        if not -_INT32_MAX <= quality <= _INT32_MAX:
            raise ValueError(f"a quality cannot be {quality}; give 1 to 100")
        request.output.quality = quality
    return request


def _write_age(age: object) -> pb.Age:
    if isinstance(age, str):
        return pb.Age(group=age)
    if isinstance(age, bool) or not isinstance(age, Real):
        raise TypeError(f"an age cannot be {type(age).__name__}; give a group's label (a str) or years (a number)")
    return pb.Age(years=float(age))


def pick_method(bundle: BundleInfo, name: str | None) -> Method:
    """Returns the method of that name, or the default; raises NotFound as the server would."""
    for method in bundle.methods:
        if method.name == name or (not name and method.is_default):
            return method
    known = ", ".join(method.name for method in bundle.methods) or "none"
    wanted = f"no method is called {name!r}" if name else "no method is the default"
    raise NotFound(f"{wanted}; the server has {known}", code="NOT_FOUND", reason="METHOD_UNKNOWN", field="method")


def read_age_response(response: pb.AgeTransformResponse, targets: int) -> AgeResult:
    """Reads the answer to a request with that many targets; raises InternalError if it has another number."""
    if len(response.results) != targets:
        raise InternalError(f"the server sent {len(response.results)} photos for {targets} ages", code="INTERNAL")
    return AgeResult(
        photos=tuple(
            AgedPhoto(_read_picture(result.image), tuple(map(_read_report, result.faces)))
            for result in response.results
        ),
        provenance=_read_provenance(response.provenance),
        times=_read_times(response.times),
    )


def read_reconstruct_response(response: pb.ReconstructResponse) -> ReconstructResult:
    """Reads what the networks make of each face."""
    return ReconstructResult(
        faces=tuple(map(_read_reconstruction, response.faces)),
        provenance=_read_provenance(response.provenance),
        times=_read_times(response.times),
    )


def read_list_response(response: pb.ListMethodsResponse) -> BundleInfo:
    """Reads what the server has loaded."""
    return BundleInfo(
        name=response.bundle,
        version=response.bundle_version,
        sha256=response.bundle_sha256,
        weights_licence=response.weights_licence,
        server_version=response.server_version,
        methods=tuple(map(_read_method, response.methods)),
    )


def _read_picture(image: pb.Image) -> Picture:
    return Picture(image.data, _FORMAT_NAMES.get(image.format, ""), image.width, image.height)


def _read_box(box: pb.Box) -> Box:
    return Box(box.x, box.y, box.width, box.height)


def _read_age(age: pb.Age) -> Age | None:
    match age.WhichOneof("kind"):
        case "group":
            return age.group
        case "years":
            return age.years
        case _:
            return None


def _read_report(report: pb.FaceReport) -> FaceReport:
    return FaceReport(
        box=_read_box(report.face.box),
        score=report.face.score,
        source=_read_age(report.source),
        source_given=report.source_given,
        target=_read_age(report.target),
    )


def _read_reconstruction(face: pb.Reconstruction) -> Reconstruction:
    return Reconstruction(
        box=_read_box(face.face.box),
        score=face.face.score,
        crop=_read_picture(face.crop),
        picture=_read_picture(face.reconstruction),
        latent=tuple(face.latent),
        source=_read_age(face.source),
        source_given=face.source_given,
        pixel_error=face.pixel_error,
    )


def _read_method(method: pb.Method) -> Method:
    return Method(
        name=method.name,
        family=method.family,
        description=method.description,
        age_groups=tuple(map(_read_group, method.age_groups)),
        crop_size=method.crop_size,
        is_default=method.is_default,
    )


def _read_group(group: pb.AgeGroup) -> AgeGroup:
    return AgeGroup(group.label, group.low, group.high if group.HasField("high") else None, group.centre)


def _read_provenance(provenance: pb.Provenance) -> Provenance:
    return Provenance(provenance.method, provenance.bundle, provenance.bundle_version, provenance.bundle_sha256)


def _read_times(times: Iterable[pb.StageTime]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for time in times:
        seconds[time.stage] = seconds.get(time.stage, 0.0) + time.seconds
    return seconds
