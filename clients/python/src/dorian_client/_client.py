"""The synchronous client: it keeps a channel of gRPC, makes the calls of `_calls` on it, and waits for them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, Unpack

import grpc

from dorian.v1.admin_pb2_grpc import AdminStub
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_client import _calls
from dorian_client._age_many import ThreadedBatch
from dorian_client._base import BaseClient
from dorian_client._batch import AHEAD, AgeOutcome, Batch, check_many
from dorian_client._bundles import BundleInfo, Method, ServedBundle
from dorian_client._calls import Call, ManyAges
from dorian_client._faces import FaceLike
from dorian_client._options import (
    AgeOptions,
    MixOptions,
    OptimizeOptions,
    ReconstructOptions,
    References,
    Targets,
    check_options,
)
from dorian_client._pacing import Pacer
from dorian_client._photos import PhotoLike, read_photo
from dorian_client._requests import read_references
from dorian_client._results import AgeResult, CompareResult, DetectResult, MixResult, ReconstructResult
from dorian_client._search import Search, SearchState

_PROBE_SECONDS = 0.2  # how long a channel may take to report its state

T = TypeVar("T")


class Client(BaseClient):
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
        return self._call(_calls.age(read_photo(photo), to, options))

    def age_many(
        self,
        photos: Iterable[PhotoLike],
        to: Targets = None,
        *,
        in_order: bool = True,
        concurrency: int | None = None,
        **options: Unpack[AgeOptions],
    ) -> Generator[AgeOutcome, None, None]:
        """Age many photos alike, and yield what comes of each; one that fails stops no other.

        As many calls are in flight as keep the server busy: as many as it works on at once to begin with, one more a round
        while it takes them, half as many when it rejects one. A photo that a busy server rejects, or that does not reach
        it, is sent again when the server says, until the client's timeout, which each photo has from when it is taken up;
        `retries` does not count. Photos are drawn one at a time, no more than a few before their outcomes are asked for.

        Leaving the loop early, with Ctrl-C for instance, ends the calls in flight, on the server too.

        Args:
            photos: The photos, from any iterable.
            to: The target, or several.
            in_order: Whether outcomes come in the order of the photos, or else as they come.
            concurrency: Calls in flight at most; None for four for each of the server's workers.
            **options: As for `age`: see `AgeOptions`.

        Raises:
            ServerError: The server could not be asked how many calls it works on at once; raised by the iterator.
            TypeError, ValueError: An argument has the wrong type or value.

        Example:
            >>> for outcome in client.age_many(sorted(Path("photos").glob("*.jpg")), "60+"):
            ...     if outcome.error is None:
            ...         outcome.result.photos[0].picture.save(Path("aged") / outcome.photo.name)
        """
        check_many(photos, concurrency)
        return self._age_many(photos, ManyAges(to, options, self._bundle), in_order=in_order, concurrency=concurrency)

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
        check_options(options, AgeOptions)
        data = read_photo(photo)
        targets, options = _calls.sweep(self.bundle(), options)
        return self._call(_calls.age(data, targets, options))

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
        return self._call(_calls.detect(read_photo(photo)))

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
        photos = read_photo(first), read_photo(second)
        return self._call(_calls.compare(*photos, first_face, second_face, false_accept_rate))

    def mix(self, photo: PhotoLike, references: References = None, **options: Unpack[MixOptions]) -> MixResult:
        """Return the photo with some styles of its faces exchanged for those of references.

        References are photos, or of an age, `to`, at which the server chooses them by itself: of a span of years, and like the
        face in pose, tone and light. A face that cannot be processed has an error in its report; the others are changed all the
        same.

        Args:
            photo: The photo.
            references: A photo or a `Reference`, or a list of up to 8; None with `to`.
            **options: Age, levels, faces, strength, format and more: see `MixOptions`.

        Returns:
            The photo, a report per face, and which references gave which levels.

        Raises:
            PhotoError: A photo cannot be sent.
            ServerError: The call failed.
            TypeError, ValueError: An argument has the wrong type or value.

        Example:
            >>> client.mix("portrait.jpg", "grandmother.jpg", preset="alternating-3").picture.save("older.jpg")
            >>> client.mix("portrait.jpg", to=70, strength=0.5)
            >>> client.mix("portrait.jpg", [Reference("a.jpg", levels=[9, 11]), Reference("b.jpg", levels=[10, 12])])
        """
        return self._call(_calls.mix(read_photo(photo), read_references(references), options))

    def reconstruct(self, photo: PhotoLike, **options: Unpack[ReconstructOptions]) -> ReconstructResult:
        """Return, for each face, the crop that the networks see, its latent and what the generator draws from it.

        Args:
            photo: The photo.
            **options: Faces, mode, format and more: see `ReconstructOptions`.

        Raises:
            PhotoError: The photo cannot be sent.
            ServerError: The call failed.
            TypeError, ValueError: An argument has the wrong type or value.

        Example:
            >>> client.reconstruct("portrait.jpg", faces="largest", mode="identity").faces[0].latent
        """
        return self._call(_calls.reconstruct(read_photo(photo), options))

    def optimize(self, photo: PhotoLike, **options: Unpack[OptimizeOptions]) -> Search:
        """Start a search for the latent that draws one face best, and return it: an iterator over its steps.

        The timeout holds for the whole search. Errors of the server are raised by the search, not here; the call is
        retried only while no step has come.

        Args:
            photo: The photo.
            **options: Face, mode, previews, format and more: see `OptimizeOptions`.

        Raises:
            PhotoError: The photo cannot be sent.
            TypeError, ValueError: An argument has the wrong type or value.

        Example:
            >>> with client.optimize("portrait.jpg", preview_every=10) as search:
            ...     for step in search:
            ...         print(step.step, step.best_loss)
            ...     result = search.result()
        """
        call = _calls.optimize(read_photo(photo), options)
        start = partial(self._send, self._rpc(call), call.request)
        return Search(start, SearchState(partial(self._attempts_of, call), call.read), self._error_from_rpc)

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
        return self._call(_calls.bundle())

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
        return self._call(_calls.reload_bundles(bundle))

    def close(self) -> None:
        """End the connection and any call in progress; closing twice does no harm."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        self._channel = self._channel_settings.open()
        self._stubs: dict[type, Any] = {
            FaceAgingStub: FaceAgingStub(self._channel),  # type: ignore[no-untyped-call]
            AdminStub: AdminStub(self._channel),  # type: ignore[no-untyped-call]
        }

    def _rpc(self, call: Call[Any] | ManyAges) -> Any:
        return getattr(self._stubs[call.stub], call.rpc)

    def _call(self, call: Call[T]) -> T:
        attempts = self._attempts_of(call)
        while True:
            try:
                return call.read(self._send(self._rpc(call), call.request, attempts.seconds_left()))
            except grpc.RpcError as error:
                failure = self._error_from_rpc(error)
                delay = attempts.delay_after(failure)
                if delay is None:
                    raise failure from error
            self._retries.sleep(delay)

    def _age_many(
        self,
        photos: Iterable[Any],
        calls: ManyAges,
        *,
        in_order: bool,
        concurrency: int | None,
        workers: int | None = None,
        ahead: int = AHEAD,
    ) -> Generator[AgeOutcome, None, None]:
        """Yield what comes of each photo; the server is asked for its workers unless they are known."""
        pacer = Pacer(self.bundle().workers if workers is None else workers, concurrency)
        batch = Batch(pacer, in_order=in_order, timeout=self.timeout, ahead=ahead)
        send = partial(self._send, self._rpc(calls).future)
        yield from ThreadedBatch(photos, batch, calls, send, self._error_from_rpc).outcomes()

    def _is_connected(self) -> bool:
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=_PROBE_SECONDS)
        except grpc.FutureTimeoutError:
            return False
        finally:
            ready.cancel()
        return True
