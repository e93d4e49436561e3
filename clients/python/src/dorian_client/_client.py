"""The synchronous client: it keeps the channel and makes the calls.

`_requests` builds what they carry, `_responses` reads it, `_retries` says when they are sent again, and `_search` follows
the call whose answer comes in steps.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar

import grpc

from dorian.v1 import admin_pb2
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.admin_pb2_grpc import AdminStub
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_client import _requests, _responses
from dorian_client._channel import Priority, Tls, call_metadata, forbid_key_in_clear, open_channel
from dorian_client._photos import PhotoLike, read_photo
from dorian_client._requests import FaceAges, Faces, Latent, Latents, Targets
from dorian_client._results import (
    Age,
    AgeResult,
    BundleInfo,
    CompareResult,
    DetectResult,
    FaceLike,
    Method,
    ReconstructResult,
    ServedBundle,
)
from dorian_client._retries import Retries
from dorian_client._search import Search
from dorian_client._status import error_from_rpc
from dorian_client.errors import ServerError

_MAX_TIMEOUT = 1e9  # seconds; gRPC's clock overflows somewhere above
_PROBE_SECONDS = 0.2  # how long a channel may take to say what state it is in


class _NamesBundle(Protocol):
    bundle: str


_Request = TypeVar("_Request", bound=_NamesBundle)
_Response = TypeVar("_Response")


class Client:
    """A connection to a Dorian server. Threads may share one; close it, or use it in a `with` statement.

    address: "host:port". It is dialled at the first call, and again when the connection was lost.
    bundle: name of the bundle to ask, one of those that bundle() lists; empty for the server's first.
    priority: "batch" for calls that can wait: they come after interactive ones, and are the first to be refused.
    timeout: seconds that a call may take, all its tries together; None for no limit.
    retries: how often a call is sent again at most, within the timeout: where the server is busy, after the time that it
    names; where it cannot be reached or takes no calls now, after a moment. 0 for never.
    wait_for_ready: whether calls wait, up to the timeout, for a server that is not there yet, rather than fail soon.
    tls: how to speak TLS; None for a plain connection. Tls() trusts the public authorities.
    api_key: sent with every call, to servers that ask for one. Without TLS it goes to this machine alone,
    key_in_clear: unless True, as where something else keeps the way to the server private.
    credentials: in the place of tls, what gRPC itself makes, as from grpc.ssl_channel_credentials().

    A photo may be a path (str or PathLike), the bytes of a JPEG, PNG or WebP file, an array of uint8, either
    (height, width, 3) in RGB order or (height, width) for grey, or a PIL image. Arrays and PIL images travel as PNG.

    An age is the label of an age group, as methods() gives it ("60+"), or years as a number. Where an age is to aim at, a
    filter of methods() may stand in its place: Filter("old").

    A face is named by "largest", by its index as detect() gives it (0 is the largest), or by a Box, which stands for the
    face that overlaps it most. faces takes one name or several; None stands for all faces, at most the 32 largest.

    format, quality: how to store the pictures that come back; format "jpeg", "png" or "webp", by default the format of
    the photo that was sent; quality 1 to 100 for JPEG and WebP.

    All calls raise PhotoError and the ServerErrors of dorian_client.errors. Calls on a closed client raise ValueError.
    """

    def __init__(
        self,
        address: str = "localhost:50051",
        *,
        bundle: str = "",
        priority: Priority = "interactive",
        timeout: float | None = 60.0,
        retries: int = 5,
        wait_for_ready: bool = False,
        tls: Tls | None = None,
        api_key: str | None = None,
        key_in_clear: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        if not address:
            raise ValueError("the server's address is empty; give host:port")
        if timeout is not None and not 0 < timeout <= _MAX_TIMEOUT:
            raise ValueError(f"a timeout cannot be {timeout} s; give 0 to {_MAX_TIMEOUT:g} s, or None for no limit")
        if retries < 0:
            raise ValueError(f"calls cannot be sent again {retries} times; give 0 for never, or more")
        self._metadata = call_metadata(api_key, priority)
        if api_key is not None and tls is None and credentials is None and not key_in_clear:
            forbid_key_in_clear(address)
        self.address = address
        self.timeout = timeout
        self.wait_for_ready = wait_for_ready
        self._bundle = bundle
        self._retries = Retries(retries)
        self._channel = open_channel(address, tls, credentials)
        self._stub = FaceAgingStub(self._channel)  # type: ignore[no-untyped-call]

    def age(
        self,
        photo: PhotoLike,
        to: Targets = None,
        *,
        faces: Faces = None,
        face_ages: FaceAges = None,
        source: Age | None = None,
        method: str | None = None,
        strength: float | None = None,
        blend: str | None = None,
        format: str | None = None,
        quality: int | None = None,
        keep_metadata: bool = False,
        with_delta: bool = False,
        optimisation: str | None = None,
        latents: Latents = None,
    ) -> AgeResult:
        """Returns the photo with its faces at the age `to`, or at each of several, asked for in one request.

        faces: the faces to change to the ages in `to`.
        face_ages: ages for single faces, which they have in every picture, as a mapping from faces to ages or as pairs
            ({0: "60+", 2: 8}). Without `to` there is one picture, in which only these faces change.
        source: the age that the faces have now; None lets the server estimate it, face by face.
        method: a method's name; None for the first that can do all that is asked for, the server's default first.
        strength: how much of the change is made, 0 to 1.5; None for 1.
        blend: "delta" adds the difference between the face drawn at the two ages to the photo; "replace" puts the drawn
            face, matched in colour, in its place; None for "delta".
        keep_metadata: whether what the photo's EXIF says of camera, time and author stays; its place never does.
        with_delta: whether what was added to the photo comes back, too, as a layer: AgedPhoto.delta.
        optimisation: how long to search for the latent that keeps the person, before a face is drawn, by a method that
            optimises: "none", "fast" for most of the way, or "full"; None for "none".
        latents: latents that are known, whose faces are drawn from them at once: reconstructions that came back for this
            photo and method (those with an error have none, and are passed over), or a mapping from faces to latents,
            or (face, latent) pairs.

        A face that could not be treated has an error in its report; the others are changed all the same.
        """
        request = _requests.age_request(
            read_photo(photo),
            to,
            faces=faces,
            face_ages=face_ages,
            source=source,
            method=method,
            strength=strength,
            blend=blend,
            output=_requests.output_options(format, quality, keep_metadata=keep_metadata),
            with_delta=with_delta,
            optimisation=optimisation,
            latents=latents,
        )
        return _responses.read_age_response(self._ask(self._stub.AgeTransform, request), request)

    def sweep(
        self,
        photo: PhotoLike,
        *,
        faces: Faces = None,
        face_ages: FaceAges = None,
        source: Age | None = None,
        method: str | None = None,
        strength: float | None = None,
        blend: str | None = None,
        format: str | None = None,
        quality: int | None = None,
        keep_metadata: bool = False,
        with_delta: bool = False,
        optimisation: str | None = None,
        latents: Latents = None,
    ) -> AgeResult:
        """Returns the photo at every age group of the method, youngest first; the arguments are those of age().

        Of a method without age groups, the photo with each of its filters. None for method is the server's first that does
        what is asked: with optimisation or latents, one that has latents.
        """
        data = read_photo(photo)
        searches = optimisation not in (None, "none")
        chosen = _requests.pick_method(
            self.bundle(), method, encodes=searches or latents is not None, searches=searches
        )
        return self.age(
            data,
            [group.label for group in chosen.age_groups] or chosen.filters,
            faces=faces,
            face_ages=face_ages,
            source=source,
            method=chosen.name,
            strength=strength,
            blend=blend,
            format=format,
            quality=quality,
            keep_metadata=keep_metadata,
            with_delta=with_delta,
            optimisation=optimisation,
            latents=latents,
        )

    def detect(self, photo: PhotoLike) -> DetectResult:
        """Returns where the faces of a photo are, and how old they look; a photo without a face gives none."""
        request = _requests.detect_request(read_photo(photo))
        return _responses.read_detect_response(self._ask(self._stub.DetectFaces, request))

    def compare(
        self,
        first: PhotoLike,
        second: PhotoLike,
        *,
        first_face: FaceLike | None = None,
        second_face: FaceLike | None = None,
        false_accept_rate: float | None = None,
    ) -> CompareResult:
        """Tells whether a face of one photo and a face of another are the same person's.

        first_face, second_face: which face of each photo; None for the largest.
        false_accept_rate: how often two people may be taken for one, one of the rates that bundle() names; None for
            0.001.
        """
        request = _requests.compare_request(
            read_photo(first),
            read_photo(second),
            first_face=first_face,
            second_face=second_face,
            false_accept_rate=false_accept_rate,
        )
        return _responses.read_compare_response(self._ask(self._stub.CompareFaces, request))

    def reconstruct(
        self,
        photo: PhotoLike,
        *,
        faces: Faces = None,
        mode: str = "initial",
        optimizer: str | None = None,
        max_steps: int | None = None,
        source: Age | None = None,
        method: str | None = None,
        format: str | None = None,
        quality: int | None = None,
    ) -> ReconstructResult:
        """Returns, for each face, the crop that the networks saw, its latent and what the generator draws from it.

        faces: the faces to reconstruct.
        mode: how the latent is found: "initial" is the encoder's first approximation; then the others search, by a method
            that optimises, for the drawing whose pixels are nearest to the face's ("pixelwise"), whose embedding is
            ("identity"), or both at once ("blended").
        optimizer: what walks down the gradient, "l-bfgs-b" or "adam"; None for "l-bfgs-b".
        max_steps: evaluations of loss and gradient at most; None or 0 for the server's own number. Neither this nor
            optimizer has an effect on "initial".
        source: the age at which to draw the faces; None lets the server estimate it, face by face.
        method: a method's name; None for the first that has an encoder.
        """
        request = _requests.reconstruct_request(
            read_photo(photo),
            faces=faces,
            mode=mode,
            search=_requests.search_options(optimizer, max_steps),
            source=source,
            method=method,
            output=_requests.output_options(format, quality),
        )
        return _responses.read_reconstruct_response(self._ask(self._stub.Reconstruct, request))

    def optimize(
        self,
        photo: PhotoLike,
        *,
        face: FaceLike | None = None,
        mode: str = "identity",
        optimizer: str | None = None,
        max_steps: int | None = None,
        preview_every: int | None = None,
        latent: Latent | None = None,
        source: Age | None = None,
        method: str | None = None,
        format: str | None = None,
        quality: int | None = None,
    ) -> Search:
        """Searches the latent that draws one face best: returns the search, an iterator over its steps, at once.

        face: the face; None for the largest.
        mode, optimizer, max_steps: as in reconstruct(), but the mode is not "initial".
        preview_every: a preview comes with every so many steps; None or 0 for none, but the one at the end.
        latent: where the search starts, as reconstruct() or optimize() returned it; None for the encoder's first
            approximation.
        source: the age at which the face is drawn; None lets the server estimate it.
        method: a method's name; None for the first that optimises.
        format, quality: how to store the previews and what is drawn in the end.

        The timeout holds for the search as a whole. What the server refuses is raised by the search, not here; it is sent
        again only as long as no step has come.
        """
        request = _requests.optimize_request(
            read_photo(photo),
            face=face,
            mode=mode,
            search=_requests.search_options(optimizer, max_steps),
            preview_every=preview_every,
            latent=latent,
            source=source,
            method=method,
            output=_requests.output_options(format, quality),
        )
        request.bundle = self._bundle
        start = partial(self._stub.Optimize, request, wait_for_ready=self.wait_for_ready, metadata=self._metadata)
        return Search(start, self._retries.begin(self.timeout), self._error_from_rpc)

    def methods(self) -> list[Method]:
        """Returns the methods that the server has, the default first."""
        return list(self.bundle().methods)

    def bundle(self) -> BundleInfo:
        """Returns what the server has loaded: methods, version, hash and licence, and the names of all its bundles."""
        return _responses.read_list_response(self._ask(self._stub.ListMethods, pb.ListMethodsRequest()))

    def reload_bundles(self, bundle: str = "") -> list[ServedBundle]:
        """Has the server read a bundle anew from where it lies, or all if none is named, and returns those that it read.

        For operators: the API key needs the scope "admin". The call ends when the new bundles serve. Raises
        FailedPrecondition if one is broken; what is served is then what it was. It is sent once, whatever retries says:
        a second answer could not say what the first has changed.
        """
        stub = AdminStub(self._channel)  # type: ignore[no-untyped-call]
        request = admin_pb2.ReloadBundlesRequest(bundle=bundle)
        return _responses.read_reload_response(self._call(stub.ReloadBundles, request, Retries(0)))

    def close(self) -> None:
        """Ends the connection and any call under way; closing twice does no harm."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.address!r})"

    def _ask(self, rpc: grpc.UnaryUnaryMultiCallable[_Request, _Response], request: _Request) -> _Response:
        request.bundle = self._bundle
        return self._call(rpc, request, self._retries)

    def _call(
        self, rpc: grpc.UnaryUnaryMultiCallable[_Request, _Response], request: _Request, retries: Retries
    ) -> _Response:
        tries = retries.begin(self.timeout)
        while True:
            try:
                return rpc(
                    request,
                    timeout=tries.seconds_left(),
                    wait_for_ready=self.wait_for_ready,
                    metadata=self._metadata,
                )
            except grpc.RpcError as error:
                failure = self._error_from_rpc(error)
                delay = tries.delay_after(failure)
                if delay is None:
                    raise failure from error
            retries.sleep(delay)

    def _error_from_rpc(self, error: grpc.RpcError) -> ServerError:
        return error_from_rpc(error, address=self.address, timeout=self.timeout, is_connected=self._is_connected)

    def _is_connected(self) -> bool:
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=_PROBE_SECONDS)
        except grpc.FutureTimeoutError:
            return False
        finally:
            ready.cancel()
        return True
