"""Logging of a service: one JSON object per line, with the id of its request."""

from __future__ import annotations

import io
import logging
import logging.handlers
import queue
import sys
import threading
import time
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

from aff_shared.schemas.service import current_request_id
from aff_shared.web.settings import ObserveSettings

_FIELDS = ("timestamp", "levelname", "name", "message", "request_id")
_GATHERED_S = 0.02
_LAST_S = 2.0

_logger = logging.getLogger(__name__)


class _RequestIdFilter(logging.Filter):
    """Adds the request's id to every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = current_request_id.get()
        return True


class _GatheringListener(logging.handlers.QueueListener):
    """Waits a moment after a record for more: each time its thread wakes up, it takes the interpreter from requests."""

    def dequeue(self, block: bool) -> logging.LogRecord:
        try:
            return super().dequeue(False)
        except queue.Empty:
            record = super().dequeue(block)
            time.sleep(_GATHERED_S)
            return record

    def handle(self, record: logging.LogRecord | threading.Event) -> None:
        """Write a record; an event is set, since all records before it have been written."""
        if isinstance(record, threading.Event):
            record.set()
        else:
            super().handle(record)

    def catch_up(self) -> None:
        """Wait until the queue is written, for at most `_LAST_S`."""
        if self._thread is not None:
            written = threading.Event()
            self.queue.put_nowait(written)
            written.wait(_LAST_S)

    def stop(self) -> None:
        """End the thread after it has written the queue; waits like `catch_up`."""
        self.catch_up()
        self._thread = None
        self.enqueue_sentinel()


class _OneWriter(logging.StreamHandler[TextIO]):
    """Handler without a lock, for one thread: a write that hangs with a lock would block the end of the process."""

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Set no lock."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; records after the stream was closed are dropped."""
        if not self.stream.closed:
            super().emit(record)


class _InBackground(logging.handlers.QueueHandler):
    """Passes records to a thread that formats and writes them: requests do not wait for the reader of the log.

    Args:
        handler: Handler that writes the records.
        max_queued: Maximum number of queued records; further ones are dropped, and their number is logged.
    """

    def __init__(self, handler: logging.Handler, max_queued: int) -> None:
        self._waiting: queue.SimpleQueue[logging.LogRecord | threading.Event | None] = queue.SimpleQueue()
        super().__init__(self._waiting)
        self._max_queued = max_queued
        self._lost = 0
        self._writer = _GatheringListener(self.queue, handler)
        self._writer.start()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record unchanged; it stays in this process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the record into the queue if it has room; the handler's lock is held."""
        if self._waiting.qsize() >= self._max_queued:
            self._lost += 1
            return
        if self._lost:
            lost = "%d log lines were dropped because the reader of the log was slow (AFF_LOG_MAX_QUEUED)"
            self.queue.put_nowait(_logger.makeRecord(__name__, logging.WARNING, __file__, 0, lost, (self._lost,), None))
            self._lost = 0
        self.queue.put_nowait(record)

    def flush(self) -> None:
        """Write the queue, for at most two seconds."""
        self._writer.catch_up()

    def close(self) -> None:
        """Write the queue, for at most two seconds, and end the thread; the interpreter calls this at its end."""
        self._writer.stop()
        super().close()


def configure_logging(settings: ObserveSettings) -> None:
    """Log to standard error, for this whole process."""
    stream = _OneWriter(_unbuffered(sys.stderr))
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    stream.setFormatter(_text() if as_text else _json())
    handler = _InBackground(stream, settings.log_max_queued)
    handler.addFilter(_RequestIdFilter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "qdrant_client"):  # they log every call
        logging.getLogger(name).setLevel(logging.WARNING)


def _unbuffered(stream: TextIO) -> TextIO:
    """Return a stream to the same file without a buffer, whose lock could block the end of the interpreter."""
    try:
        file = io.FileIO(stream.fileno(), "w", closefd=False)
    except OSError:  # it has no file
        return stream
    return io.TextIOWrapper(file, stream.encoding, "backslashreplace", write_through=True)


def _text() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)-7s %(message)s [%(request_id)s]", datefmt="%H:%M:%S")


def _json() -> logging.Formatter:
    renamed = {"levelname": "level", "name": "logger"}
    return JsonFormatter(_FIELDS, style="%", timestamp=True, rename_fields=renamed)
