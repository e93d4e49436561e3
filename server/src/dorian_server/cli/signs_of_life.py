"""Signs of life of several processes, in memory that they share with the one that watches them."""

from __future__ import annotations

import mmap
import struct
import time

SIGN_PERIOD = 1.0  # seconds
_TIME = struct.Struct("d")


class SignsOfLife:
    """When each process gave its last sign of life. Made before they are forked.

    Args:
        count: How many processes there are.
        max_silence: Seconds after which a process that gives none is silent.
    """

    def __init__(self, count: int, max_silence: float) -> None:
        self._count, self._max_silence = count, max_silence
        self._times = mmap.mmap(-1, count * _TIME.size)
        self._looked = self._resumed = time.monotonic()

    def give(self, number: int) -> None:
        """Give a sign of life for process ``number``."""
        _TIME.pack_into(self._times, number * _TIME.size, time.monotonic())

    def keep_giving(self, number: int) -> None:
        """Give signs of life for ever."""
        while True:
            self.give(number)
            time.sleep(SIGN_PERIOD)

    def silent(self) -> set[int]:
        """Return the numbers of the processes that are silent; to be asked every ``SIGN_PERIOD``.

        While whoever asks was stopped itself, with all the processes perhaps, no silence counts.
        """
        now = time.monotonic()
        if now > self._looked + 3 * SIGN_PERIOD:
            self._resumed = now
        self._looked = now
        lasts = (_TIME.unpack_from(self._times, number * _TIME.size)[0] for number in range(self._count))
        return {number for number, last in enumerate(lasts) if now > max(last, self._resumed) + self._max_silence}
