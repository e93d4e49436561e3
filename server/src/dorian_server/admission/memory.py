"""Memory: how much requests take at most, how much there is, and how what is left over is given back to the system."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dorian_bundle.face_detection import MAX_SIDE
from dorian_server.domain.errors import Reason, RequestError, StartupError
from dorian_server.domain.requests import ImageFormat
from dorian_server.images import PhotoHeader

log = logging.getLogger(__name__)

MEBIBYTE = 2**20

# Bytes per pixel, measured on noise, which no format can make smaller (tests/server/test_memory.py holds them to it).
_PIXEL = 3
_DETECTED = 64  # as the detector sees the photo; measured by bench.load memory
_DELTA = 24
_PNG, _PNG_ALPHA = 3.1, 4.1
_WEBP, _WEBP_ALPHA = 1.2, 2.2
_JPEG = ((89, 1.0), (92, 2.1), (95, 2.6), (100, 4.3))  # up to a quality
_ENCODING: dict[ImageFormat, tuple[int, int]] = {
    "JPEG": (4, 9),
    "PNG": (4, 9),
    "WEBP": (28, 40),
}  # without and with alpha
_ENCODING_LOSSLESS_WEBP = 45
# A response is held as results, in a message, as its bytes, and by gRPC as it is sent.
_COPIES = 4
_CALL = 16 * MEBIBYTE  # what a call takes beside its photo

_RESERVED = 0.1  # share of the limit that photos do not get: for messages that arrive, and memory that is not given back at once
_WAITING = 1 / 8  # share of what is left that requests may take while they wait
_MIN_PHOTOS = 64 * MEBIBYTE
_LARGE = (
    64 * MEBIBYTE
)  # a call that takes as much leaves memory worth giving back to the system, once no other is worked on
_TRIMMED = 512 * MEBIBYTE  # that large calls have freed, after which it is given back beside others

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def photo_file_bytes(header: PhotoHeader, image_format: ImageFormat, quality: int, with_delta: bool = False) -> int:
    """Return the bytes that a photo made from the one of ``header`` may have as a file, with its delta if there is one."""
    has_alpha = header.image.has_alpha
    match image_format:
        case "JPEG":
            rate = next(rate for most, rate in _JPEG if quality <= most)
        case "PNG":
            rate = _PNG_ALPHA if has_alpha else _PNG
        case "WEBP" if quality == 100:
            rate = _PNG_ALPHA if has_alpha else _PNG
        case "WEBP":
            rate = _WEBP_ALPHA if has_alpha else _WEBP
    return round((rate + (_PNG_ALPHA if with_delta else 0)) * header.pixels)


def reading_bytes(headers: Sequence[PhotoHeader]) -> int:
    """Return the bytes that it takes to decode photos, one after the other, and to detect and read their faces."""
    held, peak = 0, 0
    for header in headers:
        peak = max(peak, held + header.image.decoding_bytes * header.pixels)
        held += _held_bytes(header)
        longest = max(header.image.width, header.image.height)
        peak = max(peak, held + round(_DETECTED * header.pixels * min(1.0, MAX_SIDE / longest) ** 2))
    return peak + _CALL


def ageing_bytes(
    header: PhotoHeader, output_format: ImageFormat, quality: int, with_delta: bool, response_bytes: int
) -> int:
    """Return the bytes that it takes to age the faces of a photo.

    Args:
        header: The photo's.
        output_format: Format of what is made of it.
        quality: Of that.
        with_delta: Whether the deltas are returned, too.
        response_bytes: Bytes of all that is returned.
    """
    has_alpha = header.image.has_alpha
    encoding = (
        _ENCODING_LOSSLESS_WEBP if (output_format, quality) == ("WEBP", 100) else _ENCODING[output_format][has_alpha]
    )
    writing = (_PIXEL + encoding + (_DELTA if with_delta else 0)) * header.pixels
    writing += photo_file_bytes(header, output_format, quality, with_delta)
    peak = max(_held_bytes(header) + writing + response_bytes, _COPIES * response_bytes)
    return max(reading_bytes([header]), peak + _CALL)


def _held_bytes(header: PhotoHeader) -> int:
    """Return the bytes of a decoded photo."""
    return (_PIXEL + header.image.has_alpha) * header.pixels


class MemoryBudget:
    """The memory that photos may take; for one thread at a time, as its owner sees to.

    What the process takes without photos is measured whenever there are none.

    Args:
        limit: Bytes that the process may take.
        resident: Gives the bytes that it takes now.
        trim: Gives memory that is free back to the system.
    """

    def __init__(
        self, limit: int, resident: Callable[[], int] | None = None, trim: Callable[[], None] | None = None
    ) -> None:
        self.limit, self._resident, self._trim = limit, resident or resident_bytes, trim or trim_memory
        self._idle, self._working, self._waiting, self._freed = 0, 0, 0, 0

    @property
    def for_photos(self) -> int:
        """Bytes that photos which are worked on may take altogether."""
        return round((1 - _WAITING) * self._free)

    @property
    def for_messages(self) -> int:
        """Bytes that requests may take while they arrive."""
        return round(_RESERVED * self.limit)

    @property
    def _free(self) -> int:
        return max(0, round(self.limit * (1 - _RESERVED)) - self._idle)

    def open(self) -> None:
        """Measure what the process takes without photos.

        Raises:
            StartupError: It leaves too little for any photo.
        """
        self._measure()
        if self.for_photos < _MIN_PHOTOS:
            message = f"the server takes {_megabytes(self._idle)} without any photo; --memory must be larger than {_megabytes(self.limit)}"
            raise StartupError(message)
        log.info("memory: %s, of which photos may take %s", _megabytes(self.limit), _megabytes(self.for_photos))

    def check(self, needed: int) -> None:
        """Raise ``RequestError`` if a call that needs so many bytes never fits."""
        if needed > self.for_photos:
            self._measure()
        if needed > self.for_photos:
            message = f"the photo, and what is to be made of it, may take {_megabytes(needed)} of memory; this server has {_megabytes(self.for_photos)} for them"
            hint = "send a smaller photo, ask for fewer targets, or for JPEG"
            raise RequestError(Reason.IMAGE_TOO_LARGE, "image.data", f"{message}; {hint}")

    def fits(self, needed: int) -> bool:
        """Return whether there is room to work on a call now; where no other is worked on, there always is."""
        return not self._working or self._working + needed <= self.for_photos

    @property
    def is_crowded(self) -> bool:
        """Whether the requests that wait are more bytes than there is room for."""
        return self._waiting > _WAITING * self._free

    def begin(self, needed: int) -> None:
        """Note that a call is worked on."""
        self._working += needed

    def end(self, needed: int) -> bool:
        """Note that a call is worked on no more; returns whether so much was freed that ``tidy`` is worth its time."""
        self._working -= needed
        self._freed += needed if needed >= _LARGE else 0
        return self._freed >= (_TRIMMED if self._working else _LARGE)

    def wait(self, message_bytes: int) -> None:
        """Note that a request of so many bytes waits, or with fewer than none, that it waits no more."""
        self._waiting += message_bytes

    def tidy(self) -> None:
        """Give back what calls have freed, and measure again if there are no others."""
        self._freed = 0
        self._trim()
        if not self._working and not self._waiting:
            self._idle = self._resident()

    def _measure(self) -> None:
        if not self._working and not self._waiting:
            self.tidy()


def _megabytes(count: int) -> str:
    return f"{count / MEBIBYTE:,.0f} MiB"


def resident_bytes() -> int:
    """Return the bytes of memory that this process takes; 0 where the system does not tell."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.is_file() else 0


def trim_memory() -> None:
    """Give memory that is free back to the system; glibc alone can, and keeps it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def available_memory(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return the bytes of memory that this process may take: the least of the machine's and the limits of its cgroups.

    Args:
        cgroups: Where cgroups are mounted, version 2 or 1.
        membership: The file that names the cgroups of the process.
    """
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *_limits(cgroups, membership)])


def _limits(cgroups: Path, membership: Path) -> Iterator[int]:
    """Yield the limit of each group that the process is in, and of its parents."""
    lines = membership.read_text().splitlines() if membership.is_file() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers:
            mounts, name = [cgroups, cgroups / "unified"], "memory.max"
        elif "memory" in controllers.split(","):
            mounts, name = [cgroups / controllers, cgroups / "memory"], "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        # In a container the path may be the host's; then the group itself is mounted.
        levels = [group, *group.parents] if ".." not in group.parts else [Path()]
        for file in {mount / level / name for mount in mounts for level in levels}:
            text = file.read_text().strip() if file.is_file() else "max"
            if text != "max":
                yield int(text)
