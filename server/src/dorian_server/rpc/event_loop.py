"""The event loop that all servers of this process receive calls on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

Result = TypeVar("Result")


@cache
def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, which a thread of its own runs until the process ends. One for all, as gRPC wakes every loop that it knows."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="event loop", daemon=True).start()
    return loop


def run_on_loop(coroutine: Coroutine[Any, Any, Result], timeout: float | None = None) -> Result:
    """Return the result of ``coroutine``, which runs on the loop; for other threads than the loop's.

    Args:
        coroutine: What to run.
        timeout: Seconds to wait; without it, for as long as it takes.

    Raises:
        TimeoutError: It takes longer; it goes on.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, event_loop()).result(timeout)
