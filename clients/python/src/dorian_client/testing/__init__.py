"""A fake server for the tests of programs that use this package.

`FakeServer` speaks real gRPC on a free local port, so that the program under test needs no changes but the address. It has
no networks: its results are made up, in milliseconds, and the same every time.

Example:
    >>> from dorian_client import Client
    >>> from dorian_client.testing import FakeServer
    >>>
    >>> def test_upload_retries_once(portrait):
    ...     with FakeServer() as server:
    ...         server.fail("QUEUE_FULL", retry_after=0.01, times=1)
    ...         with Client(server.address) as client:
    ...             result = client.age(portrait, "60+")
    ...         assert result.photos[0].faces[0].target == "60+"
    ...         assert len(server.requests) == 2

    As a pytest fixture:

    >>> @pytest.fixture
    ... def server():
    ...     with FakeServer() as server:
    ...         yield server
"""

from dorian_client.testing._server import FakeServer

__all__ = ["FakeServer"]
