"""Storage that fsspec opens: s3://, gs://, https:// and the like."""

from __future__ import annotations

import re
from typing import Any

import click

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+(?:::[a-z][a-z0-9+.-]+)*://.*", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Tell whether an input or an output is a URL, and not a path of this machine."""
    return _SCHEME.fullmatch(text) is not None


def open_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Raises:
        click.UsageError: fsspec, or what it needs for the URL's scheme, is not installed, or there is no such scheme.
    """
    try:
        import fsspec
    except ImportError:
        raise click.UsageError(f"{url!r} is a URL, which needs fsspec: install dorian-client[remote]") from None
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise click.UsageError(f"cannot open {url!r}: {error}") from None
    return system, path.rstrip("/")
