"""The front of a server: the event loop receives requests and sends answers; handlers work on threads, and get whole requests."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import grpc

from dorian_server.domain.throttle import Throttle
from dorian_server.rpc.call import AbortError, Call
from dorian_server.rpc.interceptors import Handler, behaviour_of
from dorian_server.rpc.receiving import Receiving

log = logging.getLogger(__name__)

_UNREADABLE = Throttle()

Service: TypeAlias = "grpc.GenericRpcHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True)
class _Details(grpc.HandlerCallDetails):
    """What interceptors look at before a call's request is read."""

    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...]


class Front(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Serves the handlers that are added to it, of all four kinds of RPC, as ``grpc.server`` does, but on ``grpc.aio``.

    A call gets a thread once its request is whole; a request of a stream is answered before the next is read. What is marked by
    ``answers_at_once``, and handlers that are asynchronous generators, run on the event loop.

    Args:
        interceptors: What calls pass before their request is read, the first first.
        threads: For the handlers.
        receiving: Receives the requests.
        receiving_checks: Receives those of handlers that answer on the event loop, as health checks, so that they need not wait
            for others.
    """

    def __init__(
        self,
        interceptors: Sequence[grpc.ServerInterceptor[Any, Any]],
        threads: Executor,
        receiving: Receiving,
        receiving_checks: Receiving,
    ) -> None:
        self._services: list[Service] = []
        self._threads, self._receiving, self._receiving_checks = threads, receiving, receiving_checks
        self._find: Callable[[grpc.HandlerCallDetails], Handler | None] = self._find_handler
        for interceptor in reversed(interceptors):
            self._find = partial(interceptor.intercept_service, self._find)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[Service]) -> None:
        """Add services; called by what protoc generates."""
        self._services.extend(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Do nothing: ``register`` does this for the methods of all services."""

    def register(self, server: grpc.aio.Server, methods: Iterable[str]) -> None:
        """Have ``server`` take the calls of each of ``methods`` that is served here one after the other, beside those of others.

        The calls that it takes in one row wait for those before them, so a flood of calls of one method would hold up health checks.
        """
        for method in methods:
            if self._find_handler(_Details(method, ())) is not None:
                service, _, name = method.removeprefix("/").rpartition("/")
                handler = grpc.stream_stream_rpc_method_handler(partial(self._serve_method, method))
                # The stubs of gRPC's types lack it.
                server.add_registered_method_handlers(service, {name: handler})  # type: ignore[attr-defined]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return what serves a call of a method that is not registered on the event loop; ``None`` for an unknown method."""
        handler = self._find(handler_call_details)
        if handler is None:
            return None
        return grpc.stream_stream_rpc_method_handler(partial(self._serve, handler, handler_call_details))

    def _find_handler(self, details: grpc.HandlerCallDetails) -> Handler | None:
        handlers = (service.service(details) for service in self._services)
        return next((handler for handler in handlers if handler is not None), None)

    async def _serve_method(self, method: str, _: object, context: Context) -> None:
        details = _Details(method, tuple(context.invocation_metadata() or ()))
        handler = self._find(details)
        assert handler is not None, "methods are registered by the services that have them"
        await self._serve(handler, details, _, context)

    async def _serve(self, handler: Handler, details: grpc.HandlerCallDetails, _: object, context: Context) -> None:
        call = Call(context, tuple(details.invocation_metadata or ()))
        try:
            with suppress(AbortError):
                await self._answer(handler, details.method, call, context)
            await _end(call, context)
        finally:
            call.close()

    async def _answer(self, handler: Handler, method: str, call: Call, context: Context) -> None:
        behaviour = behaviour_of(handler)
        call.api_key_id = getattr(behaviour, "api_key_id", None)
        decide = getattr(behaviour, "answers_unread_if", None)
        if hasattr(behaviour, "answers_unread") or (decide is not None and decide(call)):
            return await _respond_at_once(handler, None, call, context)
        receiving = self._receiving_checks if _is_on_loop(behaviour) else self._receiving
        while (message := await receiving.receive(context, call)) is not None:
            await self._respond(handler, message, call, context)
            if not handler.request_streaming:
                return None
        if not handler.request_streaming:
            call.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} needs a request; the call has none")
        return None

    async def _respond(self, handler: Handler, message: bytes | None, call: Call, context: Context) -> None:
        behaviour = behaviour_of(handler)
        if hasattr(behaviour, "answers_at_once"):
            return await _respond_at_once(handler, message, call, context)
        if inspect.isasyncgenfunction(behaviour):
            async with aclosing(behaviour(_read(handler, message, call), call)) as responses:
                async for response in responses:
                    await _send(_write(handler, response), call, context)
            return None
        if handler.response_streaming:
            async with aclosing(self._iterate(handler, message, call)) as written:
                async for part in written:
                    await _send(part, call, context)
            return None
        loop = asyncio.get_running_loop()
        return await _send(await loop.run_in_executor(self._threads, _run, handler, message, call), call, context)

    async def _iterate(self, handler: Handler, message: bytes | None, call: Call) -> AsyncGenerator[bytes, None]:
        """Yield the responses of a handler on a thread, which does not wait for those who take them."""
        loop, written = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()

        def put(response: bytes) -> None:
            loop.call_soon_threadsafe(written.put_nowait, response)

        future = loop.run_in_executor(self._threads, _run_stream, handler, message, call, put)
        future.add_done_callback(lambda _: written.put_nowait(None))
        try:
            while (part := await written.get()) is not None:
                yield part
            await future
        finally:
            future.cancel()  # unless it has begun


def _is_on_loop(behaviour: Callable[..., Any]) -> bool:
    return hasattr(behaviour, "answers_at_once") or inspect.isasyncgenfunction(behaviour)


async def _respond_at_once(handler: Handler, message: bytes | None, call: Call, context: Context) -> None:
    response = behaviour_of(handler)(_read(handler, message, call), call)
    for part in response if handler.response_streaming else [response]:
        await _send(_write(handler, part), call, context)


def _run(handler: Handler, message: bytes | None, call: Call) -> bytes:
    return _write(handler, behaviour_of(handler)(_read(handler, message, call), call))


def _run_stream(handler: Handler, message: bytes | None, call: Call, put: Callable[[bytes], None]) -> None:
    request = _read(handler, message, call)
    with closing(behaviour_of(handler)(iter([request]) if handler.request_streaming else request, call)) as responses:
        for response in responses:
            put(_write(handler, response))
            if not call.is_active():
                return


def _read(handler: Handler, message: bytes | None, call: Call) -> Any:
    """Return the request in ``message``; ends the call if there is none."""
    if message is None or handler.request_deserializer is None:
        return message
    try:
        return handler.request_deserializer(message)
    except Exception:  # protobuf's own error
        skipped = _UNREADABLE.skipped()
        if skipped is not None:
            others = f", as {skipped} unlogged before it" if skipped else ""
            log.warning("a request could not be parsed as its method's message%s", others)
        call.abort(
            grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be parsed; send the method's message in protobuf"
        )


def _write(handler: Handler, response: Any) -> bytes:
    written: bytes = response if handler.response_serializer is None else handler.response_serializer(response)
    return written


async def _send(message: bytes, call: Call, context: Context) -> None:
    await _send_metadata(call, context)
    await context.write(message)


async def _send_metadata(call: Call, context: Context) -> None:
    if metadata := call.take_initial_metadata():
        await context.send_initial_metadata(metadata)


async def _end(call: Call, context: Context) -> None:
    """Give the call the status that its handler has set, or OK."""
    await _send_metadata(call, context)
    code = call.code()
    if code not in (None, grpc.StatusCode.OK):
        await context.abort(code, call.details(), call.trailing_metadata())
    context.set_trailing_metadata(call.trailing_metadata())
