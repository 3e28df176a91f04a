"""How a service logs: a JSON object a line, each with the request that it belongs to."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from aff_contracts.web.observe_settings import ObserveSettings
from aff_contracts.web.request_id import current_request_id

_FIELDS = ("timestamp", "levelname", "name", "message", "request_id")


class _RequestIdFilter(logging.Filter):
    """Adds the request's id to every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = current_request_id.get()
        return True


def configure_logging(settings: ObserveSettings) -> None:
    """Log to standard error, for this whole process."""
    handler = logging.StreamHandler()
    handler.addFilter(_RequestIdFilter())
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(_text() if as_text else _json())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "qdrant_client"):  # they tell of every call
        logging.getLogger(name).setLevel(logging.WARNING)


def _text() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)-7s %(message)s [%(request_id)s]", datefmt="%H:%M:%S")


def _json() -> logging.Formatter:
    renamed = {"levelname": "level", "name": "logger"}
    return JsonFormatter(_FIELDS, style="%", timestamp=True, rename_fields=renamed)
