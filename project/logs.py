"""The log as one JSON object a line, for programs that read it (LOG_FORMAT=json)."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from tracking import requestids


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, message, request_id and, if there is one, exception.

    What else a record carries stays out: Django hangs whole requests on it, secrets included.
    Everything but ASCII is escaped, so that no client can begin a line of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str | None] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message_of(record),
            "request_id": requestids.current() or None,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def message_of(record: logging.LogRecord) -> str:
    """Return what a record says; one that cannot be put together must not be lost."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - the arguments may be anything
        return f"{record.msg!s:.500} ({type(error).__name__} in the arguments of this message)"
