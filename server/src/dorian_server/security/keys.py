"""API keys: a JSON file of their hashes, scopes and limits; never of the keys themselves.

[{"id": "mobile", "sha256": "9f86d081…", "scopes": ["age", "optimize"], "calls_at_once": 4, "calls_per_minute": 60}]

A plain SHA-256 is enough. Slow, salted hashes protect passwords; these keys are 32 random bytes, which nobody guesses from a hash,
however fast it is to compute.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dorian_bundle.files import write_private
from dorian_server.domain.errors import StartupError
from dorian_server.security.watched_files import WatchedFiles, read_file

Scope = Literal["age", "optimize", "admin", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
# Tells people and scanners for secrets what they have found in a log or a repository.
PREFIX = "dorian_"
_RANDOM_BYTES = 32
_FIELDS = ("id", "sha256", "scopes", "calls_at_once", "calls_per_minute")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ApiKey:
    """The entry of a key.

    Args:
        id: Its name in logs and lists.
        sha256: Its hash, in lower hexadecimal.
        scopes: What it may do.
        calls_at_once: Most calls in progress; ``None`` for no limit.
        calls_per_minute: Most calls that begin within any 60 seconds; ``None`` for no limit.
    """

    id: str
    sha256: str
    scopes: frozenset[Scope]
    calls_at_once: int | None = None
    calls_per_minute: int | None = None


class KeyFile:
    """The keys of a file, reloaded when it changes; while it is broken, the old keys stay in use.

    Raises:
        StartupError: It is broken from the start.
    """

    def __init__(self, path: Path) -> None:
        self._files = WatchedFiles([path], lambda: read_keys(path))

    def find(self, key: str) -> ApiKey | None:
        """Return the entry of ``key``, or ``None``; the time that it takes does not tell how near a wrong key is."""
        digest = _hash(key)
        match = None
        for entry in self._files.value():
            if hmac.compare_digest(entry.sha256, digest):
                match = entry
        return match


def make_key(id: str, scopes: frozenset[Scope], at_once: int | None, per_minute: int | None) -> tuple[str, ApiKey]:
    """Return a new random key, which is stored nowhere, and its entry."""
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return key, ApiKey(id, _hash(key), scopes, at_once, per_minute)


def read_keys(path: Path) -> list[ApiKey]:
    """Return the entries of a file; ``StartupError`` names the one at fault."""
    try:
        entries = json.loads(read_file(path, "the file of API keys"))
    except ValueError as error:
        raise StartupError(f"the file of API keys {path} is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise StartupError(f"the file of API keys {path} holds no list of entries")
    keys: list[ApiKey] = []
    for number, entry in enumerate(entries, 1):
        try:
            key = _read_entry(entry)
            if any(key.id == other.id or key.sha256 == other.sha256 for other in keys):
                raise ValueError("its id or its sha256 is that of an entry before")
        except ValueError as error:
            name = f" ({entry['id']!r})" if isinstance(entry, dict) and isinstance(entry.get("id"), str) else ""
            raise StartupError(f"the file of API keys {path}, entry {number}{name}: {error}") from error
        keys.append(key)
    return keys


def write_keys(path: Path, keys: Sequence[ApiKey]) -> None:
    """Replace what ``path`` holds by ``keys``, atomically; only the file's owner may read it."""
    lines = ",\n".join(json.dumps(_write_entry(key)) for key in keys)
    write_private(path, (f"[\n{lines}\n]\n" if keys else "[]\n").encode())


def check_id(id: str) -> None:
    """Raise ``ValueError`` unless ``id`` can name a key in logs and files."""
    if not _ID.fullmatch(id):
        raise ValueError("an id is 1 to 64 letters, digits and . _ @ -, and begins with a letter or a digit")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read_entry(entry: Any) -> ApiKey:
    if not isinstance(entry, dict):
        raise ValueError("it is no object")
    unknown = sorted(entry.keys() - set(_FIELDS))
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}; there are {', '.join(_FIELDS)}")
    for name in ("id", "sha256"):
        if not isinstance(entry.get(name), str):
            raise ValueError(f"{name} is missing or no text")
    check_id(entry["id"])
    if not _SHA256.fullmatch(entry["sha256"].lower()):
        raise ValueError("sha256 is not 64 hexadecimal digits")
    scopes = entry.get("scopes")
    if not isinstance(scopes, list) or not scopes or any(scope not in SCOPES for scope in scopes):
        raise ValueError(f"scopes is no list of {', '.join(SCOPES)}")
    limits = [_read_limit(entry, name) for name in ("calls_at_once", "calls_per_minute")]
    return ApiKey(entry["id"], entry["sha256"].lower(), frozenset(scopes), *limits)


def _read_limit(entry: dict[str, Any], name: str) -> int | None:
    limit = entry.get(name)
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"{name} is no whole number from 1 on")
    return limit


def _write_entry(key: ApiKey) -> dict[str, Any]:
    entry = {"id": key.id, "sha256": key.sha256, "scopes": [scope for scope in SCOPES if scope in key.scopes]}
    limits = {"calls_at_once": key.calls_at_once, "calls_per_minute": key.calls_per_minute}
    return entry | {name: limit for name, limit in limits.items() if limit is not None}
