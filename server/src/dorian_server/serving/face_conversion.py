"""Conversion of what is known of faces to protobuf messages."""

from __future__ import annotations

from collections.abc import Mapping

from dorian.v1 import face_aging_pb2 as pb
from dorian_bundle.similarity_by_years import YearsBound
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import Age
from dorian_server.domain.results import Face, FaceReading, FaceReport, FaceWarning, IdentityMatch, WarningCode
from dorian_server.faces.reader import FaceReader

_BOUNDS: Mapping[YearsBound, pb.YearsBound] = {
    "about": pb.YEARS_BOUND_ABOUT,
    "at_most": pb.YEARS_BOUND_AT_MOST,
    "at_least": pb.YEARS_BOUND_AT_LEAST,
}
_WARNINGS: Mapping[WarningCode, pb.WarningCode] = {
    WarningCode.AGE_UNCERTAIN: pb.WARNING_CODE_AGE_UNCERTAIN,
    WarningCode.FACE_COVERED: pb.WARNING_CODE_FACE_COVERED,
    WarningCode.FACE_TURNED: pb.WARNING_CODE_FACE_TURNED,
}


def write_age(age: Age) -> pb.Age:
    """Return an age or a filter as in requests."""
    return pb.Age(group=age.group, years=age.years, filter=age.filter)


def write_error(error: RequestError) -> pb.FaceError:
    """Return why a face could not be processed."""
    return pb.FaceError(reason=error.reason, message=str(error))


def write_face(face: Face, reader: FaceReader) -> pb.Face:
    """Return a face with what ``reader`` said of it."""
    x, y, width, height = face.detected.box
    pose = face.detected.pose
    return pb.Face(
        box=pb.Box(x=x, y=y, width=width, height=height),
        score=face.detected.score,
        landmarks=[pb.Point(x=x, y=y) for x, y in face.detected.landmarks.tolist()],
        estimated_age=face.reading.estimated_age if face.reading else None,
        index=face.index,
        estimated_age_interval=_write_interval(face.reading, reader),
        pose=pb.Pose(yaw=pose.yaw, pitch=pose.pitch, roll=pose.roll) if pose else None,
        visibility=face.detected.visibility,
    )


def write_match(match: IdentityMatch) -> pb.IdentityMatch:
    """Return what a similarity means."""
    apart = match.years_apart
    return pb.IdentityMatch(
        same_person=match.same_person,
        threshold=match.threshold,
        false_accept_rate=match.false_accept_rate,
        years_apart=pb.YearsApart(years=apart.years, bound=_BOUNDS[apart.bound]) if apart else None,
    )


def write_report(report: FaceReport, reader: FaceReader) -> pb.FaceReport:
    """Return what became of a face, read by ``reader`` before and after."""
    similarity, reached = report.similarity, report.reached
    return pb.FaceReport(
        face=write_face(report.face, reader) if report.face else None,
        source=write_age(report.source) if report.source else None,
        source_given=report.source_given,
        target=write_age(report.target) if report.target else None,
        estimated_age_after=report.after.estimated_age if report.after else None,
        identity_similarity=similarity,
        error=write_error(report.error) if report.error else None,
        identity_match=None if similarity is None else write_match(reader.embedder.match(similarity)),
        estimated_age_after_interval=_write_interval(report.after, reader),
        warnings=[_write_warning(warning) for warning in report.warnings],
        reached=pb.ReachedTarget(share=reached.share, years=reached.years) if reached else None,
    )


def _write_interval(reading: FaceReading | None, reader: FaceReader) -> pb.AgeInterval | None:
    if reading is None or reading.age_interval is None:
        return None
    low, high = reading.age_interval
    return pb.AgeInterval(low=low, high=high, coverage=reader.age_estimator.coverage)


def _write_warning(warning: FaceWarning) -> pb.FaceWarning:
    return pb.FaceWarning(code=_WARNINGS[warning.code], message=warning.message)
