"""The calls of a client, without their transport: a request, the RPC that takes it, and how its response is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.admin_pb2_grpc import AdminStub
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_client import _requests, _responses
from dorian_client._bundles import BundleInfo, ServedBundle
from dorian_client._faces import FaceLike, Target
from dorian_client._options import AgeOptions, MixOptions, OptimizeOptions, ReconstructOptions, Reference, Targets
from dorian_client._photos import read_photo
from dorian_client._results import (
    AgeResult,
    CompareResult,
    DetectResult,
    MixResult,
    ReconstructResult,
    SearchResult,
    SearchStep,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call that has one response, or a stream of them.

    Attributes:
        rpc: Name of the RPC.
        request: Its request.
        read: Reads a response into the result.
        stub: The stub that has the RPC.
        is_retried: Whether the call may be sent again.
    """

    rpc: str
    request: Any
    read: Callable[[Any], T]
    stub: type = FaceAgingStub
    is_retried: bool = True


def age(photo: bytes, to: Targets, options: AgeOptions) -> Call[AgeResult]:
    """Return the call that ages a photo; raises TypeError and ValueError."""
    request = _requests.age_request(photo, to, options)
    return Call("AgeTransform", request, lambda response: _responses.read_age_response(response, request))


class ManyAges:
    """The calls that age many photos alike.

    Args:
        to: The targets.
        options: The keyword arguments of `Client.age`.
        bundle: The bundle that the calls are for.
        read_photo: Returns a photo as the bytes of an image file.

    Attributes:
        template: The request, without a photo.

    Raises:
        TypeError, ValueError: An argument has the wrong type or value.
    """

    rpc = "AgeTransform"
    stub = FaceAgingStub

    def __init__(
        self, to: Targets, options: AgeOptions, bundle: str, read_photo: Callable[[Any], bytes] = read_photo
    ) -> None:
        self.template = _requests.age_request(b"", to, options)
        self.template.bundle = bundle
        self._read_photo = read_photo

    def request(self, photo: object) -> pb.AgeTransformRequest:
        """Return the request for a photo; raises PhotoError."""
        request = pb.AgeTransformRequest()
        request.CopyFrom(self.template)
        request.image.data = self._read_photo(photo)
        return request

    def read(self, response: pb.AgeTransformResponse) -> AgeResult:
        """Read a response; raises InternalError."""
        return _responses.read_age_response(response, self.template)


def sweep(bundle: BundleInfo, options: AgeOptions) -> tuple[list[Target], AgeOptions]:
    """Return the targets of a sweep and the options of the call that makes it; raises TypeError, and NotFound."""
    method = _requests.method_to_sweep(bundle, options)
    targets: list[Target] = [group.label for group in method.age_groups] or list(method.filters)
    return targets, {**options, "method": method.name}


def detect(photo: bytes) -> Call[DetectResult]:
    """Return the call for the faces of a photo."""
    return Call("DetectFaces", _requests.detect_request(photo), _responses.read_detect_response)


def compare(
    first: bytes,
    second: bytes,
    first_face: FaceLike | None,
    second_face: FaceLike | None,
    false_accept_rate: float | None,
) -> Call[CompareResult]:
    """Return the call that compares two faces; raises TypeError and ValueError."""
    request = _requests.compare_request(
        first, second, first_face=first_face, second_face=second_face, false_accept_rate=false_accept_rate
    )
    return Call("CompareFaces", request, _responses.read_compare_response)


def mix(photo: bytes, references: Sequence[Reference], options: MixOptions) -> Call[MixResult]:
    """Return the call that mixes styles, of references whose photos have been read; raises TypeError and ValueError."""
    request = _requests.mix_request(photo, references, options)
    return Call("MixStyles", request, lambda response: _responses.read_mix_response(response, request))


def reconstruct(photo: bytes, options: ReconstructOptions) -> Call[ReconstructResult]:
    """Return the call for the reconstructions of a photo's faces; raises TypeError and ValueError."""
    return Call("Reconstruct", _requests.reconstruct_request(photo, options), _responses.read_reconstruct_response)


def optimize(photo: bytes, options: OptimizeOptions) -> Call[SearchStep | SearchResult | None]:
    """Return the call for a latent search, which streams its responses; raises TypeError and ValueError."""
    return Call("Optimize", _requests.optimize_request(photo, options), _responses.read_search_response)


def bundle() -> Call[BundleInfo]:
    """Return the call for what the server has loaded."""
    return Call("ListMethods", _requests.list_request(), _responses.read_list_response)


def reload_bundles(name: str) -> Call[list[ServedBundle]]:
    """Return the call that reloads a bundle, or all if the name is empty.

    It is not retried: a second response could not say what the first call changed.
    """
    return Call(
        "ReloadBundles", _requests.reload_request(name), _responses.read_reload_response, AdminStub, is_retried=False
    )
