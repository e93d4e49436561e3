"""Latent searches as server-sent events: "step" for each step, then one "result", or "problem" where the search fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from fastapi import Request
from starlette.responses import StreamingResponse

from dorian_client import ServerError
from dorian_gateway.calls import Caller, Server, unless_gone
from dorian_gateway.errors import RequestInvalid
from dorian_gateway.problems import describe_problem
from dorian_gateway.requests import OptimizeBody
from dorian_gateway.responses import SearchResultOut, SearchStepOut, render


class EventStream(StreamingResponse):
    """A response of server-sent events."""

    media_type = "text/event-stream"


async def open_search(request: Request, server: Server, caller: Caller, body: OptimizeBody) -> EventStream:
    """Begin a search, and return its events once the first step is there; the caller's leaving ends the search.

    Args:
        request: The request, whose body has been read.
        server: The server.
        caller: What the request says about its call.
        body: What to search for.

    Raises:
        ServerError: The search failed before its first step.
        CallerGone: The caller left before the first step.
        RequestInvalid: An argument of the search has the wrong type or value.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.open_client(caller))
        try:
            search = await stack.enter_async_context(client.optimize(body.photo, **body.to_arguments()))
        except (TypeError, ValueError) as error:  # the SDK rejects what the wire cannot carry
            raise RequestInvalid(str(error)) from error
        first = await unless_gone(request, anext(search, None))
        held = stack.pop_all()

    async def events() -> AsyncIterator[bytes]:
        async with held:
            try:
                if first is not None:
                    yield await _write_event("step", SearchStepOut, first)
                async for step in search:
                    yield await _write_event("step", SearchStepOut, step)
                yield await _write_event("result", SearchResultOut, await search.result())
            except ServerError as error:
                yield _frame("problem", describe_problem(error).model_dump_json(exclude_none=True).encode())

    return EventStream(events(), headers={"X-Accel-Buffering": "no"})


async def _write_event(name: str, model: type[SearchStepOut | SearchResultOut], value: object) -> bytes:
    return _frame(name, await asyncio.to_thread(render, model, value))


def _frame(name: str, data: bytes) -> bytes:
    """Return an event; JSON has no line breaks, so its data is one line."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
