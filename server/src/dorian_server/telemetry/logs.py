"""The log: lines for people, or JSON for machines, each with the id of the call that it belongs to."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from dorian_server.settings import LogFormat, LogLevel

# Of the call that this thread works on; empty outside of calls.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


def configure(level: LogLevel, form: LogFormat) -> None:
    """Log to standard error from ``level`` on, as ``form`` says."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """Time, level, logger and words, then the id of the call."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        words, number = super().formatMessage(record), REQUEST_ID.get()
        return f"{words} [{number}]" if number else words


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, ``request_id``, and what the line has ``fields`` of."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if number := REQUEST_ID.get():
            entry["request_id"] = number
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)
