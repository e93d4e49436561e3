"""What holds for every request: how many are worked on, how fast responses must be received, and what browsers may do."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dorian_gateway.errors import GatewayFull
from dorian_gateway.problems import respond_with_problem
from dorian_gateway.settings import Settings

_CHUNK_BYTES = 64 * 2**10
_WORK = "/v1/"

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class Limits:
    """Rejects requests for work beyond ``max_requests``, and ends responses that nobody receives.

    Args:
        app: The application.
        settings: The limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_work = scope["path"].startswith(_WORK)
        if is_work and self._running >= self._settings.max_requests:
            full = GatewayFull(f"{self._running} requests are being worked on; retry in a second")
            response = await respond_with_problem(Request(scope), full)
            await response(scope, receive, self._in_chunks(send))
            return
        self._running += is_work
        try:
            await self._app(scope, receive, self._in_chunks(send))
        finally:
            self._running -= is_work

    def _in_chunks(self, send: Send) -> Send:
        """Return ``send`` with a limit on the seconds of each 64 KiB."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._settings.send_timeout):
                await send(message)

        async def send_chunks(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] == "http.response.body" and len(body) > _CHUNK_BYTES:
                for start in range(0, len(body), _CHUNK_BYTES):
                    end = start + _CHUNK_BYTES
                    more = message.get("more_body", False) or end < len(body)
                    await send_in_time({**message, "body": body[start:end], "more_body": more})
            else:
                await send_in_time(message)

        return send_chunks


class SecurityHeaders:
    """Adds the headers that tell browsers what pages may do, and caches that results are not kept.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *_HEADERS]
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers)
