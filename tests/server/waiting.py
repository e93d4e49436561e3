"""Waiting for what a server does on its own time: its clients hear of a call's end before it has noted it."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60


def wait_until(true: Callable[[], bool]) -> bool:
    """Whether it becomes true within a while."""
    end = time.monotonic() + SECONDS
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return true()
