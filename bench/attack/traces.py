"""What a process writes to, and whom it calls, name servers as well: as strace sees it, or from /proc where there is no strace.

strace sees every call of the system. /proc is looked at a hundred times a second, and so misses what is closed again sooner.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

_CALLS = (
    *("open", "openat", "openat2", "creat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat"),
    *(
        "symlink",
        "symlinkat",
        "mknod",
        "mknodat",
        "truncate",
        "unlink",
        "unlinkat",
        "connect",
        "sendto",
        "sendmsg",
        "bind",
    ),
)
_OPENED_TO_WRITE = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_TMPFILE")
_LINE = re.compile(r"^(?:\d+\s+)?(?P<call>\w+)\((?P<arguments>.*?)\)?\s*(?:= (?P<result>\S+).*|<unfinished.*)?$")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PERIOD = 0.01  # seconds
_DEVICES = ("/dev/null", "/dev/tty")


def strace_command(file: Path) -> tuple[str, ...]:
    """Return a command that runs another one, whose process keeps its id, and writes what it does to ``file``; empty without strace."""
    strace = shutil.which("strace")
    if strace is None:
        return ()
    return (
        strace,
        "-D",
        "-f",
        "-qq",
        "-s",
        "256",
        "-o",
        str(file),
        "-e",
        f"trace={','.join(f'?{call}' for call in _CALLS)}",
    )


def read_strace(lines: Iterable[str]) -> list[str]:
    """Return those of strace's ``lines`` that open a file for writing, change a folder, or reach out of the process."""
    return [line for line in lines if _is_odd(line)]


def _is_odd(line: str) -> bool:
    match = _LINE.match(line.strip())
    if match is None or match["result"] == "-1":
        return False
    call, arguments = match["call"], match["arguments"]
    path = _PATH.search(arguments)
    if call in ("connect", "sendto", "sendmsg", "bind"):
        return _reaches_out(call, arguments)
    if call in ("open", "openat", "openat2"):
        return bool(_OPENED_TO_WRITE.search(arguments)) and not (path and path[1] in _DEVICES)
    return True


def _reaches_out(call: str, arguments: str) -> bool:
    """Return whether a call names an address; what is sent on a connection that is there names none."""
    if call == "bind":
        return "127.0.0.1" not in arguments and "::1" not in arguments and "AF_NETLINK" not in arguments
    return call == "connect" or "sin_addr" in arguments or "sin6_addr" in arguments or "sun_path" in arguments


class ProcWatch:
    """Looks at the open files of ``process`` for the time of the context; ``seen`` are files that it writes to, and sockets that call."""

    def __init__(self, process: int) -> None:
        self.seen: set[str] = set()
        self._process, self._over = process, threading.Event()
        self._before = self._written()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> ProcWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_PERIOD):
            try:
                self.seen |= self._written() - self._before
                self.seen |= {f"udp socket {inode}" for inode in self._udp_sockets()}
            except (FileNotFoundError, ProcessLookupError):  # the process has ended
                return

    def _written(self) -> set[str]:
        paths = set()
        for descriptor in Path(f"/proc/{self._process}/fd").iterdir():
            try:
                (flags,) = re.findall(
                    r"flags:\s*(\d+)", (descriptor.parents[1] / "fdinfo" / descriptor.name).read_text()
                )
                if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY and stat.S_ISREG(descriptor.stat().st_mode):
                    paths.add(str(descriptor.readlink()))
            except (FileNotFoundError, ProcessLookupError):  # it is closed again
                continue
        return paths

    def _udp_sockets(self) -> set[str]:
        lines = [
            line.split()
            for name in ("udp", "udp6")
            for line in Path(f"/proc/{self._process}/net/{name}").read_text().splitlines()[1:]
        ]
        inodes = {fields[9] for fields in lines}
        own = set()
        for descriptor in Path(f"/proc/{self._process}/fd").iterdir():
            try:
                own.add(str(descriptor.readlink()))
            except FileNotFoundError:
                continue
        return {inode for inode in inodes if f"socket:[{inode}]" in own}
