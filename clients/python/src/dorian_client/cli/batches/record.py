"""What is kept of each photo of a batch: plain values for the ledger and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dorian_client._batch import AgeOutcome
from dorian_client._results import AgeResult, FaceReport
from dorian_client.cli.batches.ledger import Status
from dorian_client.cli.batches.plan import PlannedPhoto
from dorian_client.cli.reporting import format_target
from dorian_client.errors import DorianError, InvalidRequest, PhotoError, Reason, ServerError

# Reasons that lie in a photo; other rejections would meet all photos of a batch.
_OF_ONE_PHOTO = frozenset(
    [reason for reason in Reason if reason.startswith(("IMAGE_", "FACE_"))]
    + [
        Reason.NO_FACE,
        Reason.TARGET_TOO_MANY,
        None,
    ]  # too many for one that is large; None for one that is too large to send
)
_OF_THE_SERVER = ("RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL")


def concerns_all(error: DorianError) -> bool:
    """Tell whether an error would meet every photo of a batch, so that there is no use in going on."""
    if isinstance(error, InvalidRequest):
        return error.reason not in _OF_ONE_PHOTO
    return isinstance(error, ServerError) and error.code not in _OF_THE_SERVER


def status_of(outcome: AgeOutcome) -> tuple[Status, DorianError | None]:
    """Return what came of a photo, and why it was not aged."""
    error = outcome.error or (None if outcome.result is None else _error_of_all_faces(outcome.result))
    if error is None:
        return "done", None
    return ("rejected" if isinstance(error, InvalidRequest) else "failed"), error


def make_record(
    planned: PlannedPhoto, outcome: AgeOutcome, status: Status, error: DorianError | None
) -> dict[str, Any]:
    """Return what is known of a photo.

    Args:
        planned: The photo and the places of its pictures.
        outcome: What came of it.
        status: The same in a word.
        error: Why it was not aged.
    """
    record: dict[str, Any] = {
        "photo": planned.photo.source,
        "status": status,
        "attempts": outcome.attempts,
        "seconds": round(outcome.seconds, 3),
    }
    if error is not None:
        kind = "PHOTO_UNREADABLE" if isinstance(error, PhotoError) else None
        record |= {"reason": getattr(error, "reason", None) or kind, "error": str(error)}
    if error is None and outcome.result is not None:
        result = outcome.result
        record |= {
            "method": result.provenance.method,
            "bundle": result.provenance.bundle,
            "bundle_sha256": result.provenance.bundle_sha256,
            "faces_found": result.faces_found,
            "pictures": [
                {
                    "target": format_target(aged.target),
                    "path": str(place),
                    "faces": [_describe_face(face) for face in aged.faces],
                }
                for aged, place in zip(result.photos, planned.places, strict=True)
            ],
        }
    return record


def _error_of_all_faces(result: AgeResult) -> InvalidRequest | None:
    errors = [face.error for aged in result.photos for face in aged.faces]
    failures = [error for error in errors if error is not None]
    if not failures or len(failures) < len(errors):
        return None
    messages = "; ".join(dict.fromkeys(error.message for error in failures))
    return InvalidRequest(messages, code="INVALID_ARGUMENT", reason=failures[0].reason)


def _describe_face(report: FaceReport) -> dict[str, Any]:
    described: dict[str, Any] = {
        "face": None if report.face is None else report.face.index,
        "source": report.source if isinstance(report.source, str) else _rounded(report.source, 1),
        "source_given": report.source_given,
        "estimated_age_after": _rounded(report.estimated_age_after, 1),
        "similarity": _rounded(report.identity_similarity, 3),
        "same_person": None if report.match is None else report.match.same_person,
        "warnings": _words([warning.message for warning in report.warnings]),
    }
    if report.error is not None:
        described["error"] = report.error.message
    return described


def _rounded(number: float | None, digits: int) -> float | None:
    return None if number is None else round(number, digits)


def _words(messages: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(messages))
