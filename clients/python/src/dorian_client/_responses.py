"""Response messages: pure functions that read them into this package's types."""

from __future__ import annotations

from collections.abc import Iterable

from dorian.v1 import admin_pb2
from dorian.v1 import face_aging_pb2 as pb
from dorian_client._bundles import AgeGroup, BundleInfo, Method, ServedBundle, StylePreset
from dorian_client._faces import (
    Age,
    AgeInterval,
    Box,
    Face,
    FaceError,
    FaceWarning,
    Filter,
    Landmarks,
    Pose,
    Target,
)
from dorian_client._files import FORMATS_BY_NUMBER
from dorian_client._matches import IdentityMatch, YearsApart, YearsBound
from dorian_client._pictures import Picture
from dorian_client._results import (
    AgedPhoto,
    AgeResult,
    CompareResult,
    DetectResult,
    FaceReport,
    MixResult,
    Provenance,
    ReachedTarget,
    Reconstruction,
    ReconstructResult,
    SearchResult,
    SearchStep,
    UsedReference,
)
from dorian_client.errors import InternalError

_NUM_LANDMARKS = 5
_BOUNDS: dict[int, YearsBound] = {
    pb.YEARS_BOUND_ABOUT: "about",
    pb.YEARS_BOUND_AT_MOST: "at_most",
    pb.YEARS_BOUND_AT_LEAST: "at_least",
}
_WARNING_PREFIX = "WARNING_CODE_"
_GENDERS: dict[int, str] = {pb.GENDER_WOMAN: "woman", pb.GENDER_MAN: "man"}


def read_age_response(response: pb.AgeTransformResponse, request: pb.AgeTransformRequest) -> AgeResult:
    """Read the aged photos.

    Args:
        response: The response.
        request: The request that it answers.

    Raises:
        InternalError: Photos or deltas are missing.
    """
    targets = [_read_target(target) for target in request.targets] or [None]
    if len(response.results) != len(targets):
        raise InternalError(
            f"the server sent {len(response.results)} photos for {len(targets)} targets", code="INTERNAL"
        )
    if request.with_delta and not all(result.HasField("delta") for result in response.results):
        raise InternalError("the server sent no delta; it may be too old to support with_delta", code="INTERNAL")
    return AgeResult(
        photos=tuple(_read_photo(result, target) for result, target in zip(response.results, targets, strict=True)),
        faces_found=response.faces_found,
        provenance=_read_provenance(response.provenance),
        times=_read_times(response.times),
    )


def read_mix_response(response: pb.MixStylesResponse, request: pb.MixStylesRequest) -> MixResult:
    """Read the photo with mixed styles.

    Args:
        response: The response.
        request: The request that it answers.

    Raises:
        InternalError: The delta is missing.
    """
    result = response.result
    if request.with_delta and not result.HasField("delta"):
        raise InternalError("the server sent no delta, though with_delta was set", code="INTERNAL")
    return MixResult(
        picture=_read_picture(result.image),
        faces=tuple(map(_read_report, result.faces)),
        references=tuple(map(_read_reference, response.references)),
        faces_found=response.faces_found,
        delta=_read_picture(result.delta) if result.HasField("delta") else None,
        provenance=_read_provenance(response.provenance),
        times=_read_times(response.times),
    )


def _read_reference(reference: pb.UsedReference) -> UsedReference:
    return UsedReference(
        index=reference.index,
        levels=tuple(reference.levels),
        face=_read_face(reference.face) if reference.HasField("face") else None,
        chosen_for=reference.chosen_for if reference.HasField("chosen_for") else None,
        age_low=reference.age_low if reference.HasField("age_low") else None,
        age_high=reference.age_high if reference.HasField("age_high") else None,
        gender=_GENDERS.get(reference.gender),
    )


def read_detect_response(response: pb.DetectFacesResponse) -> DetectResult:
    """Read the faces of a photo."""
    return DetectResult(
        faces=tuple(map(_read_face, response.faces)),
        width=response.width,
        height=response.height,
        provenance=_read_provenance(response.provenance),
        times=_read_times(response.times),
    )


def read_compare_response(response: pb.CompareFacesResponse) -> CompareResult:
    """Read the comparison of two faces."""
    return CompareResult(
        first=_read_face(response.first),
        second=_read_face(response.second),
        first_embedding=tuple(response.first_embedding),
        second_embedding=tuple(response.second_embedding),
        similarity=response.similarity,
        distance=response.distance,
        same_person=response.same_person,
        threshold=response.threshold,
        false_accept_rate=response.false_accept_rate,
        match=_read_match(response),
        provenance=_read_provenance(response.provenance),
        times=_read_times(response.times),
    )


def read_reconstruct_response(response: pb.ReconstructResponse) -> ReconstructResult:
    """Read the reconstruction of each face."""
    return ReconstructResult(
        faces=tuple(map(_read_reconstruction, response.faces)),
        provenance=_read_provenance(response.provenance),
        times=_read_times(response.times),
    )


def read_search_response(response: pb.OptimizeResponse) -> SearchStep | SearchResult | None:
    """Read a step or the result of a latent search; None for what this version does not know."""
    match response.WhichOneof("kind"):
        case "progress":
            return _read_search_step(response.progress)
        case "result":
            return _read_search_result(response.result)
    return None


def _read_search_step(progress: pb.OptimizeProgress) -> SearchStep:
    return SearchStep(
        step=progress.step,
        loss=progress.loss,
        best_loss=progress.best_loss,
        identity_similarity=progress.identity_similarity,
        pixel_error=progress.pixel_error,
        preview=_read_picture(progress.preview) if progress.HasField("preview") else None,
        match=_read_match(progress),
    )


def _read_search_result(result: pb.OptimizeResult) -> SearchResult:
    return SearchResult(
        reconstruction=_read_reconstruction(result.reconstruction),
        provenance=_read_provenance(result.provenance),
        times=_read_times(result.times),
    )


def read_list_response(response: pb.ListMethodsResponse) -> BundleInfo:
    """Read what the server has loaded."""
    return BundleInfo(
        name=response.bundle,
        version=response.bundle_version,
        sha256=response.bundle_sha256,
        weights_licence=response.weights_licence,
        server_version=response.server_version,
        methods=tuple(map(_read_method, response.methods)),
        false_accept_rates=tuple(response.false_accept_rates),
        bundles=tuple(response.bundles),
        workers=response.workers,
    )


def read_reload_response(response: admin_pb2.ReloadBundlesResponse) -> list[ServedBundle]:
    """Read which bundles the server has reloaded."""
    return [ServedBundle(served.name, served.version, served.sha256, served.changed) for served in response.bundles]


def _read_picture(image: pb.Image) -> Picture:
    format = FORMATS_BY_NUMBER.get(image.format)
    return Picture(image.data, format.name if format else "", image.width, image.height)


def _read_photo(result: pb.AgedImage, target: Target | None) -> AgedPhoto:
    return AgedPhoto(
        picture=_read_picture(result.image),
        faces=tuple(map(_read_report, result.faces)),
        target=target,
        delta=_read_picture(result.delta) if result.HasField("delta") else None,
    )


def _read_target(target: pb.Age) -> Target | None:
    return Filter(target.filter) if target.WhichOneof("kind") == "filter" else _read_age(target)


def _read_age(age: pb.Age) -> Age | None:
    match age.WhichOneof("kind"):
        case "group":
            return age.group
        case "years":
            return age.years
        case _:
            return None


def _read_face(face: pb.Face) -> Face:
    box, points = face.box, [(point.x, point.y) for point in face.landmarks]
    return Face(
        index=face.index,
        box=Box(box.x, box.y, box.width, box.height),
        score=face.score,
        landmarks=Landmarks(*points) if len(points) == _NUM_LANDMARKS else None,
        estimated_age=face.estimated_age if face.HasField("estimated_age") else None,
        interval=_read_interval(face.estimated_age_interval) if face.HasField("estimated_age_interval") else None,
        pose=Pose(face.pose.yaw, face.pose.pitch, face.pose.roll) if face.HasField("pose") else None,
        visibility=face.visibility if face.HasField("visibility") else None,
    )


def _read_interval(interval: pb.AgeInterval) -> AgeInterval:
    return AgeInterval(interval.low, interval.high, interval.coverage)


def _read_match(
    result: pb.FaceReport | pb.CompareFacesResponse | pb.Reconstruction | pb.OptimizeProgress,
) -> IdentityMatch | None:
    if not result.HasField("identity_match"):
        return None
    match, apart = result.identity_match, result.identity_match.years_apart
    bound = _BOUNDS.get(apart.bound)  # None where there are no years, or a newer server means them otherwise
    years_apart = None if bound is None else YearsApart(apart.years, bound)
    return IdentityMatch(match.same_person, match.threshold, match.false_accept_rate, years_apart)


def _read_warning(warning: pb.FaceWarning) -> FaceWarning:
    """Read a warning; one of a newer server has the number of its code for a name."""
    is_known = warning.code in pb.WarningCode.values()
    code = pb.WarningCode.Name(warning.code).removeprefix(_WARNING_PREFIX) if is_known else str(warning.code)
    return FaceWarning(code, warning.message)


def _read_error(error: pb.FaceError) -> FaceError:
    return FaceError(error.reason, error.message)


def _read_report(report: pb.FaceReport) -> FaceReport:
    return FaceReport(
        face=_read_face(report.face) if report.HasField("face") else None,
        source=_read_age(report.source),
        source_given=report.source_given,
        target=_read_target(report.target),
        estimated_age_after=report.estimated_age_after if report.HasField("estimated_age_after") else None,
        identity_similarity=report.identity_similarity if report.HasField("identity_similarity") else None,
        match=_read_match(report),
        interval_after=(
            _read_interval(report.estimated_age_after_interval)
            if report.HasField("estimated_age_after_interval")
            else None
        ),
        warnings=tuple(map(_read_warning, report.warnings)),
        reached=_read_reached(report.reached) if report.HasField("reached") else None,
        error=_read_error(report.error) if report.HasField("error") else None,
    )


def _read_reached(reached: pb.ReachedTarget) -> ReachedTarget:
    return ReachedTarget(reached.share, reached.years if reached.HasField("years") else None)


def _read_reconstruction(result: pb.Reconstruction) -> Reconstruction:
    failed = result.HasField("error")
    return Reconstruction(
        face=_read_face(result.face) if result.HasField("face") else None,
        crop=None if failed else _read_picture(result.crop),
        picture=None if failed else _read_picture(result.reconstruction),
        latent=tuple(result.latent),
        source=_read_age(result.source),
        source_given=result.source_given,
        pixel_error=None if failed else result.pixel_error,
        identity_similarity=result.identity_similarity if result.HasField("identity_similarity") else None,
        steps=result.steps,
        match=_read_match(result),
        error=_read_error(result.error) if failed else None,
    )


def _read_method(method: pb.Method) -> Method:
    return Method(
        name=method.name,
        family=method.family,
        description=method.description,
        age_groups=tuple(map(_read_group, method.age_groups)),
        crop_size=method.crop_size,
        is_default=method.is_default,
        filters=tuple(Filter(filter.name, filter.description) for filter in method.filters),
        reconstructs=method.reconstructs,
        optimises=method.optimises,
        commercial_use=method.commercial_use if method.HasField("commercial_use") else None,
        licence_obstacles=tuple(method.licence_obstacles),
        style_levels=method.style_levels,
        style_presets=tuple(
            StylePreset(preset.name, tuple(tuple(group.levels) for group in preset.groups))
            for preset in method.style_presets
        ),
        changes_hair=method.changes_hair,
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
