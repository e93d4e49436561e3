"""The server whose ageing is measured, called over the stubs: its methods, and a face's picture at several aims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_evaluation.ageing.seams import Pixels
from dorian_evaluation.ageing.targets import Aim, chosen_face
from dorian_evaluation.image_files import decoded, encoded
from dorian_training.errors import DataError

ELSEWHERE = "ANOTHER_FACE"  # the reason where the server saw faces in the picture, but not the one that was meant
_OF_PICTURES = ("NO_FACE", "FACE_", "IMAGE_")  # how reasons begin that are a picture's fault
_MAX_MESSAGE_BYTES = 64 * 2**20

Optimisation = Literal["none", "fast", "full"]  # how long a latent is searched before its face is aged
_BUDGETS: Mapping[Optimisation, pb.OptimisationBudget] = {
    "none": pb.OPTIMISATION_BUDGET_NONE,
    "fast": pb.OPTIMISATION_BUDGET_FAST,
    "full": pb.OPTIMISATION_BUDGET_FULL,
}


@dataclass(frozen=True)
class OfferedMethod:
    """A method of the server, and the side of its crops in pixels; ``draws_ages`` unless it has ``filters`` alone."""

    name: str
    crop_size: int
    is_default: bool
    draws_ages: bool
    filters: tuple[str, ...]


@dataclass(frozen=True)
class ServedBundle:
    """What the server has loaded; ``sha256`` is of the bundle's manifest."""

    name: str
    version: str
    sha256: str
    methods: tuple[OfferedMethod, ...]

    def figures(self) -> dict[str, str]:
        """Which bundle it is, for JSON."""
        return {"name": self.name, "version": self.version}

    def method(self, name: str | None) -> OfferedMethod:
        """The method ``name``, or the default; ``DataError`` if there is none."""
        for method in self.methods:
            if method.name == name or (name is None and method.is_default):
                return method
        raise DataError(f"the server has no method {name!r}; it has {', '.join(m.name for m in self.methods)}")


@dataclass(frozen=True)
class AgedFace:
    """A face: its ``landmarks`` (5, 2) and ``box`` (x, y, width, height) as the server saw them, and a picture per aim."""

    landmarks: NDArray[np.float64]
    box: NDArray[np.float64]
    pictures: tuple[Pixels, ...]


@dataclass(frozen=True)
class LeftOut:
    """Why a face was not aged: the server's reason, or ``ELSEWHERE``."""

    reason: str


def is_of_picture(reason: str) -> bool:
    """Whether a picture, and not what was asked of it, is to blame for what the server refused for this ``reason``."""
    return reason.startswith(_OF_PICTURES)


class AgeingService:
    """The server at ``address``, host:port. Threads may share it; close it, or use it in a ``with`` statement.

    Its calls raise ``DataError`` for all that is not a picture's fault.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        options = [(f"grpc.max_{way}_message_length", _MAX_MESSAGE_BYTES) for way in ("send", "receive")]
        self._channel = grpc.insecure_channel(address, options)
        self._stub = FaceAgingStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> AgeingService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def bundle(self) -> ServedBundle:
        """What the server has loaded."""
        try:
            found = self._stub.ListMethods(pb.ListMethodsRequest())
        except grpc.RpcError as error:
            raise self._failure(error) from error
        methods = [
            OfferedMethod(
                method.name,
                method.crop_size,
                method.is_default,
                bool(method.age_groups) or not method.filters,
                tuple(each.name for each in method.filters),
            )
            for method in found.methods
        ]
        return ServedBundle(found.bundle, found.bundle_version, found.bundle_sha256, tuple(methods))

    def aged(
        self,
        picture: Pixels,
        landmarks: NDArray[np.float64],
        aims: Sequence[Aim],
        method: str,
        strength: float,
        source: float | None = None,
        optimisation: Optimisation = "none",
    ) -> AgedFace | LeftOut:
        """The face of ``picture`` that has about these ``landmarks`` (5, 2), at all ``aims``, in one request.

        ``source``: its age in years; by default the server estimates it. The picture travels both ways without loss.
        """
        request = pb.AgeTransformRequest(
            image=pb.Image(data=encoded(picture)),
            targets=[_asked(aim) for aim in aims],
            source=None if source is None else pb.Age(years=source),
            method=method,
            output=pb.OutputOptions(format=pb.IMAGE_FORMAT_PNG),
            strength=strength,
            optimisation=_BUDGETS[optimisation],
        )
        try:
            results = self._stub.AgeTransform(request).results
        except grpc.RpcError as error:
            reason = _reason(error)
            if reason is None or not is_of_picture(reason):
                raise self._failure(error) from error
            return LeftOut(reason)
        if len(results) != len(aims):
            raise DataError(f"the server at {self._address} sent {len(results)} pictures for {len(aims)} aims")
        return _read(results, picture, landmarks)

    def _failure(self, error: grpc.RpcError) -> DataError:
        call: object = error  # in truth always a grpc.Call too, which the types do not tell
        words = call.details() if isinstance(call, grpc.Call) else None
        return DataError(f"the server at {self._address}: {words or error}")


def _asked(aim: Aim) -> pb.Age:
    if aim.is_group:
        return pb.Age(group=aim.label)
    return pb.Age(filter=aim.label) if aim.years is None else pb.Age(years=aim.years)


def _read(results: Sequence[pb.AgedImage], picture: Pixels, landmarks: NDArray[np.float64]) -> AgedFace | LeftOut:
    faces = [report.face for report in results[0].faces]
    boxes = np.asarray([_box(face) for face in faces], dtype=np.float64).reshape(-1, 4)
    index = chosen_face(boxes, landmarks)
    if index is None:
        return LeftOut(ELSEWHERE)
    for result in results:
        if result.faces[index].HasField("error"):
            return LeftOut(result.faces[index].error.reason)
    pictures = tuple(decoded(result.image.data, "what the server sent") for result in results)
    for aged in pictures:
        if aged.shape != picture.shape:
            raise DataError(f"a picture of shape {picture.shape} came back as {aged.shape}")
    points = np.asarray([(point.x, point.y) for point in faces[index].landmarks], dtype=np.float64)
    return AgedFace(points, boxes[index], pictures)


def _box(face: pb.Face) -> tuple[float, float, float, float]:
    return face.box.x, face.box.y, face.box.width, face.box.height


def _reason(error: grpc.RpcError) -> str | None:
    """The reason that the server gives, if it does."""
    call: object = error
    status = rpc_status.from_call(call) if isinstance(call, grpc.Call) else None
    info = error_details_pb2.ErrorInfo()
    for packed in status.details if status is not None else ():
        if packed.Unpack(info):
            return str(info.reason)
    return None
