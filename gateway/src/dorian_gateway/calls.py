"""Calls of the server: a client for each request, with the caller's key, priority, bundle and time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from fastapi import Header, Query, Request

from dorian_client import AsyncClient, ServerError, Tls, Unauthenticated
from dorian_gateway.errors import CallerGone, KeyNotForwarded, RequestInvalid
from dorian_gateway.settings import Settings

_Value = TypeVar("_Value")
_SCHEME = "bearer "
_PROBE_SECONDS = 2.0
_MAX_CLIENTS = 64  # that are kept open, each with a key, a priority, a bundle and a time
_AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED")  # codes of a server that cannot be reached, or takes no calls


@dataclass(frozen=True)
class Caller:
    """What a request says about its call.

    Args:
        authorization: ``Bearer KEY``, which is passed on.
        priority: "batch" for calls that can wait.
        timeout: Seconds that the caller waits, within the gateway's own limit.
        bundle: The bundle to use; empty for the server's default.
    """

    authorization: str | None = None
    priority: Literal["interactive", "batch"] = "interactive"
    timeout: float | None = None
    bundle: str = ""

    @property
    def api_key(self) -> str | None:
        """The API key; None without one.

        Raises:
            Unauthenticated: The header is not ``Bearer KEY``.
        """
        if self.authorization is None:
            return None
        scheme, key = self.authorization[: len(_SCHEME)], self.authorization[len(_SCHEME) :].strip()
        if scheme.lower() != _SCHEME or not key or not all("\x21" <= letter <= "\x7e" for letter in key):
            raise Unauthenticated(
                "the Authorization header is not 'Bearer KEY'", code="UNAUTHENTICATED", reason="API_KEY_MISSING"
            )
        return key


def read_caller(
    request: Request,
    priority: Annotated[
        Literal["interactive", "batch"],
        Header(alias="Dorian-Priority", description="batch: waits for interactive calls, and is rejected first."),
    ] = "interactive",
    timeout: Annotated[
        float | None, Header(alias="Dorian-Timeout", gt=0, le=3600, description="Seconds that the caller waits.")
    ] = None,
    bundle: Annotated[str, Query(description="The bundle to use; the server's default unless given.")] = "",
) -> Caller:
    """Return what a request's headers and query say about its call."""
    return Caller(request.headers.get("authorization"), priority, timeout, bundle)


@dataclass
class _Held:
    """A client that is open, and how many requests use it."""

    client: AsyncClient
    users: int = 0


class Server:
    """The server behind the gateway; a client, and so a connection, is kept for the latest callers.

    Args:
        settings: Where it is, and how it is called.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        ca = settings.server_ca
        self._tls = Tls(ca=ca.read_bytes() if ca else None) if ca or settings.server_tls else None
        self._held: OrderedDict[Caller, _Held] = OrderedDict()  # the latest last

    @asynccontextmanager
    async def open_client(self, caller: Caller) -> AsyncIterator[AsyncClient]:
        """Return a client that calls the server as a caller wants.

        Raises:
            Unauthenticated: The API key cannot be read.
            KeyNotForwarded: The API key may not leave this machine unencrypted.
        """
        held = self._held.get(caller) or _Held(self._make_client(caller))
        self._held[caller] = held
        self._held.move_to_end(caller)
        held.users += 1
        try:
            yield held.client
        finally:
            held.users -= 1
            await self._close_oldest()

    async def is_ready(self) -> bool:
        """Return whether the server answers; with which status is not asked, as it may want a key."""
        try:
            async with self.open_client(Caller(timeout=_PROBE_SECONDS)) as client:
                await client.bundle()
        except ServerError as error:
            return error.code not in _AWAY
        return True

    def _make_client(self, caller: Caller) -> AsyncClient:
        limit, key = self._settings.timeout, caller.api_key
        try:
            return AsyncClient(
                self._settings.server,
                bundle=caller.bundle,
                priority=caller.priority,
                timeout=limit if caller.timeout is None else min(limit, caller.timeout),
                retries=self._settings.retries,
                tls=self._tls,
                api_key=key,
                key_in_clear=self._settings.key_in_clear,
            )
        except ValueError as error:
            if key is None:
                raise
            raise KeyNotForwarded("the gateway needs --server-tls or --key-in-clear to pass API keys on") from error

    async def _close_oldest(self) -> None:
        """Close clients beyond the number that is kept, the oldest that nobody uses first."""
        idle = [caller for caller, held in self._held.items() if not held.users]
        surplus = [self._held.pop(caller) for caller in idle[: max(0, len(self._held) - _MAX_CLIENTS)]]
        for held in surplus:
            await held.client.close()


async def unless_gone(request: Request, call: Awaitable[_Value]) -> _Value:
    """Wait for a call, and cancel it where the caller closes the connection first.

    Args:
        request: The request, whose body has been read.
        call: The call.

    Raises:
        CallerGone: The caller waits no longer.
        RequestInvalid: An argument of the call has the wrong type or value.
    """
    task = asyncio.ensure_future(call)
    gone = asyncio.ensure_future(_wait_until_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise CallerGone("the caller closed the connection")
        return task.result()
    except (TypeError, ValueError) as error:  # the SDK rejects what the wire cannot carry
        raise RequestInvalid(str(error)) from error
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _wait_until_gone(receive: Callable[[], Awaitable[object]]) -> None:
    while (await receive())["type"] != "http.disconnect":  # type: ignore[index]
        pass
