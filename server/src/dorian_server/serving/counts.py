"""How much of each repeated field a request may hold; checked before anything of it is copied."""

from __future__ import annotations

from dorian.v1 import face_aging_pb2 as pb
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.settings import Limits

Counted = pb.AgeTransformRequest | pb.ReconstructRequest | pb.OptimizeRequest | pb.MixStylesRequest


def check_counts(message: Counted, limits: Limits) -> None:
    """Raise ``RequestError`` for a repeated field of ``message`` with more entries than ``limits`` allow."""
    if isinstance(message, pb.OptimizeRequest):
        _check_latent(len(message.latent), "latent", limits)
        return
    if isinstance(message, pb.AgeTransformRequest):
        _check_count(
            len(message.targets), limits.max_targets, "targets", "target ages are given", Reason.TARGET_TOO_MANY
        )
        face_count = len(message.face_targets)
        _check_count(face_count, limits.max_faces, "face_targets", "faces are named", Reason.FACE_TOO_MANY)
        _check_count(len(message.latents), limits.max_faces, "latents", "latents are given", Reason.FACE_TOO_MANY)
        for index, entry in enumerate(message.latents):
            _check_latent(len(entry.latent), f"latents[{index}].latent", limits)
    if isinstance(message, pb.MixStylesRequest):
        what, most = "references are given", limits.max_references
        _check_count(len(message.references), most, "references", what, Reason.REFERENCE_TOO_MANY)
        _check_levels(len(message.levels), "levels", limits)
        for index, reference in enumerate(message.references):
            _check_levels(len(reference.levels), f"references[{index}].levels", limits)
    _check_count(len(message.faces), limits.max_faces, "faces", "faces are named", Reason.FACE_TOO_MANY)


def _check_count(count: int, limit: int, field: str, what: str, reason: Reason) -> None:
    if count > limit:
        raise RequestError(reason, field, f"{count} {what}; at most {limit} are allowed")


def _check_levels(count: int, field: str, limits: Limits) -> None:
    _check_count(count, limits.max_levels, field, f"levels are given in {field}", Reason.LEVELS_UNSUITABLE)


def _check_latent(size: int, field: str, limits: Limits) -> None:
    if size > limits.max_latent_size:
        message = f"{field} has {size} numbers; no latent has more than {limits.max_latent_size}"
        raise RequestError(Reason.LATENT_UNSUITABLE, field, message)
