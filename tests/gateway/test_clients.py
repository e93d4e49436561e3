"""The gateway keeps connections of the latest callers, and only so many."""

from __future__ import annotations

import asyncio

from dorian_client.testing import FakeServer
from dorian_gateway.calls import Caller, Server
from dorian_gateway.settings import Settings

KEPT = 64


def test_a_caller_who_comes_again_has_the_same_connection(fake: FakeServer) -> None:
    async def run() -> None:
        server = Server(Settings(server=fake.address))
        clients = []
        for key in ("Bearer a", "Bearer b", "Bearer a"):
            async with server.open_client(Caller(key)) as client:
                await client.bundle()
                clients.append(client)
        assert clients[0] is clients[2]
        assert clients[0] is not clients[1]

    asyncio.run(run())
    assert [metadata["authorization"] for metadata in fake.metadata] == ["Bearer a", "Bearer b", "Bearer a"]


def test_the_oldest_are_closed_but_not_while_they_are_used(fake: FakeServer) -> None:
    async def run() -> None:
        server = Server(Settings(server=fake.address))
        async with server.open_client(Caller("Bearer used")) as used:
            async with server.open_client(Caller("Bearer first")) as first:
                await first.bundle()
            for index in range(KEPT):
                async with server.open_client(Caller(f"Bearer {index}")) as client:
                    await client.bundle()
            await used.bundle()  # is the oldest, and open
        async with server.open_client(Caller("Bearer used")) as again:
            assert again is used
        async with server.open_client(Caller("Bearer first")) as again:
            assert again is not first
            await again.bundle()

    asyncio.run(run())
