"""Defaults that commands without the server's settings have too: those take a second to import, a health check has few."""

from __future__ import annotations

from typing import Final

PORT: Final = 50051
