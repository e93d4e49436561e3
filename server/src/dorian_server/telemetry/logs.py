"""The log: lines of text or JSON, each with the id of the call that it belongs to."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

from dorian_server.settings import LogFormat, LogLevel

# The id of the call that this thread works on; empty outside of calls.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


def configure(level: LogLevel, log_format: LogFormat) -> None:
    """Log to standard error.

    Args:
        level: Least severity.
        log_format: Lines of text, or JSON objects.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """Time, level, logger and message, then the id of the call."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        message, request_id = super().formatMessage(record), REQUEST_ID.get()
        return f"{message} [{request_id}]" if request_id else message


class JsonFormatter(BaseJsonFormatter):
    """A JSON object per line: ``time`` (UTC), ``level``, ``logger``, ``message``, ``request_id``, ``exception``, and the ``extra`` fields."""

    def __init__(self) -> None:
        super().__init__(rename_fields={"exc_info": "exception"}, rename_fields_keep_missing=False)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        super().add_fields(log_data, record, message_dict)
        if request_id := REQUEST_ID.get():
            log_data["request_id"] = request_id
