"""The synchronous client: it keeps the channel and makes the calls.

`_requests` builds the messages and `_responses` reads them; both are pure. `_retries` decides when a call is sent again, and
`_search` follows the call that streams its response.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar, Unpack

import grpc

from dorian.v1.admin_pb2_grpc import AdminStub
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_client import _requests, _responses
from dorian_client._bundles import BundleInfo, Method, ServedBundle
from dorian_client._channel import (
    DEFAULT_ADDRESS,
    DEFAULT_PRIORITY,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    Priority,
    Tls,
    call_metadata,
    check_settings,
    describe_route,
    forbid_unencrypted_key,
    open_channel,
)
from dorian_client._faces import Age, FaceLike
from dorian_client._photos import PhotoLike, read_photo
from dorian_client._requests import DEFAULT_MODE, DEFAULT_SEARCH_MODE, AgeOptions, Faces, Latent, Targets
from dorian_client._results import AgeResult, CompareResult, DetectResult, ReconstructResult
from dorian_client._retries import Retries
from dorian_client._search import Search
from dorian_client._status import error_from_rpc
from dorian_client.errors import ServerError

_PROBE_SECONDS = 0.2  # how long a channel may take to report its state


class _BundleRequest(Protocol):
    bundle: str


_Request = TypeVar("_Request", bound=_BundleRequest)
_Response = TypeVar("_Response")


class Client:
    """A connection to a Dorian server. Threads may share one; close it, or use it in a `with` statement.

    A photo may be a path (str or PathLike), the bytes of a JPEG, PNG or WebP file, an array of uint8, either
    (height, width, 3) in RGB order or (height, width) for grey, or a PIL image. Arrays and PIL images are sent as PNG.

    An age is the label of an age group that `methods` returns ("60+"), or years as a number. A target is an age or a
    filter that `methods` returns: `Filter("old")`.

    A face is selected by "largest", by its index as `detect` returns it (0 is the largest), or by a `Box`, which selects
    the face that overlaps it most.

    All calls raise `PhotoError` and the `ServerError` classes of `dorian_client.errors`. Calls of a closed client raise
    ValueError.

    Args:
        address: "host:port". The connection is made at the first call, and again if it was lost.
        bundle: The bundle to use, one of those that `bundle` lists; empty for the server's default.
        priority: "batch" for calls that can wait: interactive calls go first, and batch calls are the first to be rejected.
        timeout: Seconds that a call may take, with all its retries; None for no limit.
        retries: How often a call is retried at most, within the timeout: on a busy server after the time that it names, on
            one that cannot be reached or takes no calls after a short delay. 0 for never.
        wait_for_ready: Whether calls wait, up to the timeout, for a server that is not there yet, instead of failing soon.
        tls: How to encrypt the connection; None for an unencrypted one. `Tls()` trusts the public authorities.
        api_key: Sent with every call, to servers that require one. Without TLS it is sent to this machine only.
        key_in_clear: Whether the API key may be sent unencrypted to other machines, for instance inside a private network.
        credentials: gRPC's own channel credentials, instead of `tls`.

    Raises:
        ValueError: An argument cannot be used.
        OSError: A file of `tls` cannot be read.

    Example:
        >>> with Client("localhost:50051") as client:
        ...     client.age("portrait.jpg", "60+").photos[0].picture.save("older.jpg")
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        bundle: str = "",
        priority: Priority = DEFAULT_PRIORITY,
        timeout: float | None = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        wait_for_ready: bool = False,
        tls: Tls | None = None,
        api_key: str | None = None,
        key_in_clear: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        check_settings(address, timeout, retries)
        self._metadata = call_metadata(api_key, priority)
        if api_key is not None and tls is None and credentials is None and not key_in_clear:
            forbid_unencrypted_key(address)
        self.address = address
        self.timeout = timeout
        self.wait_for_ready = wait_for_ready
        self._bundle = bundle
        self._retries = Retries(retries)
        self._channel = open_channel(address, tls, credentials)
        self._stub = FaceAgingStub(self._channel)  # type: ignore[no-untyped-call]

    def age(self, photo: PhotoLike, to: Targets = None, **options: Unpack[AgeOptions]) -> AgeResult:
        """Return the photo with its faces changed to a target, or to each of several in one request.

        A face that cannot be processed has an error in its report; the others are changed all the same.

        Args:
            photo: The photo.
            to: The target, or several.
            **options: Faces, method, strength, format and more: see `AgeOptions`.

        Returns:
            One photo per target, with a report per face.

        Raises:
            PhotoError: The photo cannot be sent.
            ServerError: The call failed.
            TypeError, ValueError: An argument has the wrong type or value.

        Example:
            >>> client.age("portrait.jpg", "60+").photos[0].picture.save("older.jpg")
            >>> client.age("wedding.jpg", [20, 70], faces="largest", format="png")
            >>> client.age("wedding.jpg", face_ages={0: "60+", 2: 8})
        """
        request = _requests.age_request(read_photo(photo), to, options)
        return _responses.read_age_response(self._send(self._stub.AgeTransform, request), request)

    def sweep(self, photo: PhotoLike, **options: Unpack[AgeOptions]) -> AgeResult:
        """Return the photo at every age group of a method, youngest first, or with each filter if it has no age groups.

        Args:
            photo: The photo.
            **options: As for `age`: see `AgeOptions`. Without a method it is the server's first that can do what is
                requested.

        Returns:
            One photo per age group or filter.

        Raises:
            PhotoError: The photo cannot be sent.
            ServerError: A call failed.
            TypeError, ValueError: An argument has the wrong type or value.

        Example:
            >>> for photo in client.sweep("portrait.jpg").photos:
            ...     photo.picture.save(f"portrait-{photo.target}.jpg")
        """
        _requests.check_age_options(options)
        data = read_photo(photo)
        method = _requests.method_to_sweep(self.bundle(), options)
        targets = [group.label for group in method.age_groups] or method.filters
        options["method"] = method.name
        return self.age(data, targets, **options)

    def detect(self, photo: PhotoLike) -> DetectResult:
        """Return where the faces of a photo are, and their estimated ages. A photo without a face is no error.

        Args:
            photo: The photo.

        Raises:
            PhotoError: The photo cannot be sent.
            ServerError: The call failed.

        Example:
            >>> for face in client.detect("wedding.jpg").faces:
            ...     print(face.index, face.box, face.estimated_age)
        """
        request = _requests.detect_request(read_photo(photo))
        return _responses.read_detect_response(self._send(self._stub.DetectFaces, request))

    def compare(
        self,
        first: PhotoLike,
        second: PhotoLike,
        *,
        first_face: FaceLike | None = None,
        second_face: FaceLike | None = None,
        false_accept_rate: float | None = None,
    ) -> CompareResult:
        """Tell whether a face of one photo and a face of another belong to the same person.

        Args:
            first: The first photo.
            second: The second photo.
            first_face: The face of the first photo; None for the largest.
            second_face: The face of the second photo; None for the largest.
            false_accept_rate: How often two people may be taken for one, a rate that `bundle` lists; None for 0.001.

        Raises:
            PhotoError: A photo cannot be sent.
            ServerError: The call failed.
            TypeError, ValueError: An argument has the wrong type or value.

        Example:
            >>> client.compare("then.jpg", "now.jpg").same_person
            True
        """
        request = _requests.compare_request(
            read_photo(first),
            read_photo(second),
            first_face=first_face,
            second_face=second_face,
            false_accept_rate=false_accept_rate,
        )
        return _responses.read_compare_response(self._send(self._stub.CompareFaces, request))

    def reconstruct(
        self,
        photo: PhotoLike,
        *,
        faces: Faces = None,
        mode: str = DEFAULT_MODE,
        optimizer: str | None = None,
        max_steps: int | None = None,
        source: Age | None = None,
        method: str | None = None,
        format: str | None = None,
        quality: int | None = None,
    ) -> ReconstructResult:
        """Return, for each face, the crop that the networks see, its latent and what the generator draws from it.

        Args:
            photo: The photo.
            faces: The faces; None for all, at most the 32 largest.
            mode: How the latent is found. "initial" takes the encoder's; the others search, with a method that
                optimises, for the drawing whose pixels are nearest to the face's ("pixelwise"), whose embedding is
                ("identity"), or both ("blended").
            optimizer: "l-bfgs-b" or "adam", for a search; None for "l-bfgs-b".
            max_steps: Evaluations of loss and gradient at most, for a search; None or 0 for the server's number.
            source: The age at which to draw the faces; None lets the server estimate it, face by face.
            method: A method's name; None for the first that has an encoder.
            format: Format of the pictures, "jpeg", "png" or "webp"; None for that of the photo.
            quality: 1 to 100, for JPEG and WebP; None for the server's.

        Raises:
            PhotoError: The photo cannot be sent.
            ServerError: The call failed.
            TypeError, ValueError: An argument has the wrong type or value.
        """
        request = _requests.reconstruct_request(
            read_photo(photo),
            faces=faces,
            mode=mode,
            optimizer=optimizer,
            max_steps=max_steps,
            source=source,
            method=method,
            format=format,
            quality=quality,
        )
        return _responses.read_reconstruct_response(self._send(self._stub.Reconstruct, request))

    def optimize(
        self,
        photo: PhotoLike,
        *,
        face: FaceLike | None = None,
        mode: str = DEFAULT_SEARCH_MODE,
        optimizer: str | None = None,
        max_steps: int | None = None,
        preview_every: int | None = None,
        latent: Latent | None = None,
        source: Age | None = None,
        method: str | None = None,
        format: str | None = None,
        quality: int | None = None,
    ) -> Search:
        """Start a search for the latent that draws one face best, and return it: an iterator over its steps.

        The timeout holds for the whole search. Errors of the server are raised by the search, not here; the call is
        retried only while no step has come.

        Args:
            photo: The photo.
            face: The face; None for the largest.
            mode: The objective: "pixelwise", "identity" or "blended", as for `reconstruct`.
            optimizer: "l-bfgs-b" or "adam"; None for "l-bfgs-b".
            max_steps: Evaluations of loss and gradient at most; None or 0 for the server's number.
            preview_every: Steps from one preview to the next; None or 0 for a single preview, at the end.
            latent: Where the search starts, as `reconstruct` or `optimize` returned it; None for the encoder's.
            source: The age at which to draw the face; None lets the server estimate it.
            method: A method's name; None for the first that optimises.
            format: Format of the pictures, "jpeg", "png" or "webp"; None for that of the photo.
            quality: 1 to 100, for JPEG and WebP; None for the server's.

        Raises:
            PhotoError: The photo cannot be sent.
            TypeError, ValueError: An argument has the wrong type or value.

        Example:
            >>> with client.optimize("portrait.jpg", preview_every=10) as search:
            ...     for step in search:
            ...         print(step.step, step.best_loss)
            ...     result = search.result()
        """
        request = _requests.optimize_request(
            read_photo(photo),
            face=face,
            mode=mode,
            optimizer=optimizer,
            max_steps=max_steps,
            preview_every=preview_every,
            latent=latent,
            source=source,
            method=method,
            format=format,
            quality=quality,
        )
        request.bundle = self._bundle
        start = partial(self._stub.Optimize, request, wait_for_ready=self.wait_for_ready, metadata=self._metadata)
        return Search(start, self._retries.begin(self.timeout), self._error_from_rpc)

    def methods(self) -> list[Method]:
        """Return the methods of the bundle, the default first.

        Raises:
            ServerError: The call failed.
        """
        return list(self.bundle().methods)

    def bundle(self) -> BundleInfo:
        """Return what the server has loaded: methods, version, hash and licence, and the names of all its bundles.

        Raises:
            ServerError: The call failed.
        """
        return _responses.read_list_response(self._send(self._stub.ListMethods, _requests.list_request()))

    def reload_bundles(self, bundle: str = "") -> list[ServedBundle]:
        """Make the server reload a bundle from disk, or all of them, and return those that it reloaded.

        For operators: the API key needs the scope "admin". The call ends when the new bundles serve. It is never
        retried: a second response could not say what the first call changed.

        Args:
            bundle: The bundle's name; empty for all.

        Raises:
            FailedPrecondition: A bundle is broken; the server keeps what it served before.
            ServerError: The call failed.
        """
        stub = AdminStub(self._channel)  # type: ignore[no-untyped-call]
        response = self._call(stub.ReloadBundles, _requests.reload_request(bundle), Retries(0))
        return _responses.read_reload_response(response)

    def close(self) -> None:
        """End the connection and any call in progress; closing twice does no harm."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.address!r})"

    def _send(self, rpc: grpc.UnaryUnaryMultiCallable[_Request, _Response], request: _Request) -> _Response:
        request.bundle = self._bundle
        return self._call(rpc, request, self._retries)

    def _call(
        self, rpc: grpc.UnaryUnaryMultiCallable[_Request, _Response], request: _Request, retries: Retries
    ) -> _Response:
        attempts = retries.begin(self.timeout)
        while True:
            try:
                return rpc(
                    request,
                    timeout=attempts.seconds_left(),
                    wait_for_ready=self.wait_for_ready,
                    metadata=self._metadata,
                )
            except grpc.RpcError as error:
                failure = self._error_from_rpc(error)
                delay = attempts.delay_after(failure)
                if delay is None:
                    raise failure from error
            retries.sleep(delay)

    def _error_from_rpc(self, error: grpc.RpcError) -> ServerError:
        return error_from_rpc(
            error, address=describe_route(self.address), timeout=self.timeout, is_connected=self._is_connected
        )

    def _is_connected(self) -> bool:
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=_PROBE_SECONDS)
        except grpc.FutureTimeoutError:
            return False
        finally:
            ready.cancel()
        return True
