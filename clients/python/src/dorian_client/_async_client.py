"""The client for asyncio: it makes the calls of `_calls` on a channel of `grpc.aio`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, Unpack

import grpc

from dorian.v1.admin_pb2_grpc import AdminStub
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_client import _calls
from dorian_client._async_age_many import AsyncBatch
from dorian_client._async_search import AsyncSearch
from dorian_client._base import BaseClient
from dorian_client._batch import AgeOutcome, Batch, check_many
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
from dorian_client._search import SearchState, Start
from dorian_client._status import raise_if_closed

T = TypeVar("T")


class AsyncClient(BaseClient):
    """A connection to a Dorian server for asyncio: `Client`, with methods that are awaited.

    Arguments, methods, results and errors are those of `Client`; `optimize` returns an `AsyncSearch`. Tasks may share a
    client. It belongs to the event loop of its first call; close it there, or use it in an `async with` statement. Photos
    are read and encoded in a thread, so that the loop goes on meanwhile.

    Cancelling a task cancels its call, on the server too.

    Raises:
        ValueError: An argument cannot be used.
        OSError: A file of `tls` cannot be read.

    Example:
        >>> async with AsyncClient("localhost:50051") as client:
        ...     older, younger = await asyncio.gather(client.age("portrait.jpg", "60+"), client.age("portrait.jpg", 8))
    """

    async def age(self, photo: PhotoLike, to: Targets = None, **options: Unpack[AgeOptions]) -> AgeResult:
        """Return the photo with its faces changed to a target, or to each of several in one request, as `Client.age`."""
        return await self._call(_calls.age(await _read(photo), to, options))

    def age_many(
        self,
        photos: Iterable[PhotoLike] | AsyncIterable[PhotoLike],
        to: Targets = None,
        *,
        in_order: bool = True,
        concurrency: int | None = None,
        **options: Unpack[AgeOptions],
    ) -> AsyncGenerator[AgeOutcome, None]:
        """Age many photos alike, as `Client.age_many`; the photos may come from an asynchronous iterator, too.

        Example:
            >>> async for outcome in client.age_many(sorted(Path("photos").glob("*.jpg")), "60+"):
            ...     print(outcome.photo, outcome.error or "aged")
        """
        check_many(photos, concurrency)
        return self._age_many(photos, ManyAges(to, options, self._bundle), in_order, concurrency)

    async def sweep(self, photo: PhotoLike, **options: Unpack[AgeOptions]) -> AgeResult:
        """Return the photo at every age group of a method, youngest first, as `Client.sweep`."""
        check_options(options, AgeOptions)
        data = await _read(photo)
        targets, options = _calls.sweep(await self.bundle(), options)
        return await self._call(_calls.age(data, targets, options))

    async def detect(self, photo: PhotoLike) -> DetectResult:
        """Return where the faces of a photo are, and their estimated ages, as `Client.detect`."""
        return await self._call(_calls.detect(await _read(photo)))

    async def compare(
        self,
        first: PhotoLike,
        second: PhotoLike,
        *,
        first_face: FaceLike | None = None,
        second_face: FaceLike | None = None,
        false_accept_rate: float | None = None,
    ) -> CompareResult:
        """Tell whether a face of one photo and a face of another belong to the same person, as `Client.compare`."""
        photos = await _read(first), await _read(second)
        return await self._call(_calls.compare(*photos, first_face, second_face, false_accept_rate))

    async def mix(self, photo: PhotoLike, references: References = None, **options: Unpack[MixOptions]) -> MixResult:
        """Return the photo with some styles of its faces exchanged for those of references, as `Client.mix`."""
        data, read = await _read(photo), await asyncio.to_thread(read_references, references)
        return await self._call(_calls.mix(data, read, options))

    async def reconstruct(self, photo: PhotoLike, **options: Unpack[ReconstructOptions]) -> ReconstructResult:
        """Return each face's crop, its latent and what the generator draws from it, as `Client.reconstruct`."""
        return await self._call(_calls.reconstruct(await _read(photo), options))

    def optimize(self, photo: PhotoLike, **options: Unpack[OptimizeOptions]) -> AsyncSearch:
        """Return a search for the latent that draws one face best, as `Client.optimize`.

        It starts when its first step or its result is waited for.

        Raises:
            TypeError, ValueError: An argument has the wrong type or value.
        """
        call = _calls.optimize(b"", options)

        async def prepare() -> Start:
            call.request.image.data = await _read(photo)
            return partial(self._send, self._rpc(call), call.request)

        return AsyncSearch(prepare, SearchState(partial(self._attempts_of, call), call.read), self._error_from_rpc)

    async def methods(self) -> list[Method]:
        """Return the methods of the bundle, the default first."""
        return list((await self.bundle()).methods)

    async def bundle(self) -> BundleInfo:
        """Return what the server has loaded, as `Client.bundle`."""
        return await self._call(_calls.bundle())

    async def reload_bundles(self, bundle: str = "") -> list[ServedBundle]:
        """Make the server reload a bundle from disk, or all of them, as `Client.reload_bundles`."""
        return await self._call(_calls.reload_bundles(bundle))

    async def close(self) -> None:
        """End the connection and any call in progress; closing twice does no harm."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close(None)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _prepare(self) -> None:
        self._is_closed = False
        self._channel: grpc.aio.Channel | None = None  # opened by the first call, in its event loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stubs: dict[type, Any] = {}

    def _rpc(self, call: Call[Any] | ManyAges) -> Any:
        if self._is_closed:
            raise ValueError("the client is closed; make a new one")
        loop = asyncio.get_running_loop()
        if self._channel is None:
            self._loop, self._channel = loop, self._channel_settings.open_async()
            self._stubs = {stub: stub(self._channel) for stub in (FaceAgingStub, AdminStub)}
        if loop is not self._loop:
            raise RuntimeError("the client belongs to the event loop of its first call; make one for each loop")
        return getattr(self._stubs[call.stub], call.rpc)

    async def _call(self, call: Call[T]) -> T:
        attempts = self._attempts_of(call)
        while True:
            try:
                return call.read(await self._send(self._rpc(call), call.request, attempts.seconds_left()))
            except grpc.RpcError as error:
                failure = self._error_from_rpc(error)
                delay = attempts.delay_after(failure)
                if delay is None:
                    raise failure from error
            except asyncio.CancelledError:
                raise_if_closed()
                raise
            await self._sleep(delay)

    async def _age_many(
        self,
        photos: Iterable[Any] | AsyncIterable[Any],
        calls: ManyAges,
        in_order: bool,
        concurrency: int | None,
    ) -> AsyncGenerator[AgeOutcome, None]:
        pacer = Pacer((await self.bundle()).workers, concurrency)
        batch = Batch(pacer, in_order=in_order, timeout=self.timeout)
        send = partial(self._send, self._rpc(calls))
        async with aclosing(AsyncBatch(photos, batch, calls, send, self._error_from_rpc).outcomes()) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _is_connected(self) -> bool:
        return self._channel is not None and self._channel.get_state() is grpc.ChannelConnectivity.READY


async def _read(photo: PhotoLike) -> bytes:
    return photo if isinstance(photo, bytes) else await asyncio.to_thread(read_photo, photo)
