"""HTTP connections with limits that uvicorn lacks; the application answers the requests that they reject."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aff_shared.errors import AffError, ConnectionLimitError, HeadTimeoutError, HeadTooLargeError, RequestError
from aff_shared.web.middleware import reject_request

_RETRY_AFTER_S = 1
_UNREAD = "-"


class HeaderLimitProtocol(HttpToolsProtocol):
    """A connection with limits on heads, trailers, and the number of connections, which uvicorn lacks.

    A request that is malformed or over a limit is passed to the application, which answers with the error, so that
    it has an id, a log line, a metric, and the usual headers; then the connection is closed. A
    connection that never starts a request is closed silently. Uvicorn creates the connections, so the limits belong
    to the class.

    Attributes:
        head_timeout_s: From the connection, or from the first byte of a further request, to the end of the head.
        max_head_bytes: Maximum size of a head, and of a trailer.
        max_connections: Maximum number of open connections; requests on further ones are rejected.
    """

    head_timeout_s: ClassVar[float]
    max_head_bytes: ClassVar[int]
    max_connections: ClassVar[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_begun = False
        self._head_bytes = 0
        self._ended = False
        self._is_further = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._is_further = self._are_too_many()
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Parse received data; nothing is read after a rejected request."""
        if self._ended:
            return
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_as_it_is(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._reject(cause if isinstance(cause, AffError) else RequestError(f"not well-formed HTTP: {error}"))
        else:
            if self._head_bytes > self.max_head_bytes and (self._head_timer is not None or self._awaits_body()):
                self._reject(self._too_large())

    def on_message_begin(self) -> None:
        """Begin to wait for the head of a further request."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        if self._head_timer is None:
            self._await_head()
        self._head_begun = True

    def on_headers_complete(self) -> None:
        """Process a complete head.

        Raises:
            HeadTooLargeError: It is larger than the limit.
            ConnectionLimitError: There are too many connections.
        """
        self._unset_keepalive_if_required()
        size = len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        if size > self.max_head_bytes:
            raise self._too_large()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RequestError("this is not a proxy: CONNECT is not supported")
            return
        if self._is_further and self._are_too_many():
            reason = f"{self.max_connections} connections are open, which is the limit"
            raise ConnectionLimitError(reason, retry_after_s=_RETRY_AFTER_S)
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request, unless it is parsed again."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Process a part of the body; data without one counts as a trailer."""
        self._head_bytes = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._end_head()
        self._ended = True
        super().connection_lost(exc)

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _parse_as_it_is(self, rest: bytes) -> None:
        """Parse a request with an `Upgrade` header as plain HTTP; the parser would skip its body."""
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            kept = value
            if name == b"connection":
                kept = b", ".join(one for one in value.split(b",") if one.strip().lower() != b"upgrade")
            if name != b"upgrade":
                head += [name, b": ", kept, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*head, b"\r\n", rest]))

    def _are_too_many(self) -> bool:
        return len(self.connections) > self.max_connections

    def _awaits_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._on_late_head)

    def _end_head(self) -> None:
        self._head_bytes = 0
        self._head_begun = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_late_head(self) -> None:
        if self._head_begun:
            self._reject(HeadTimeoutError(f"the head did not arrive within {self.head_timeout_s:g} s"))
        else:
            self.transport.close()

    def _too_large(self) -> HeadTooLargeError:
        return HeadTooLargeError(f"the head, or a trailer, is larger than the limit of {self.max_head_bytes} bytes")

    def _reject(self, error: AffError) -> None:
        """Answer with an error, after the answers that are due before, and close the connection."""
        self._ended = True
        if not self._awaits_body():
            self._begin_unread_request()
        self.cycle.keep_alive = False
        reject_request(self.cycle.scope, error)
        self.cycle.message_event.set()
        if self.cycle.response_complete:  # before its body had ended
            self.transport.close()

    def _begin_unread_request(self) -> None:
        """Start a request in uvicorn from the parts that were received."""
        if not self._head_begun:
            super().on_message_begin()
        self._end_head()
        method_is_known = bool(self.url)
        path_is_known = _is_path(self.url)
        self.url = self.url if path_is_known else b"/"
        super().on_headers_complete()
        if not method_is_known:
            self.scope["method"] = _UNREAD
        if not path_is_known:
            self.scope["path"] = _UNREAD


def limited_http(head_timeout_s: float, max_head_bytes: int, max_connections: int) -> type[HeaderLimitProtocol]:
    """Return the protocol class for a server with these limits."""
    limits = {"head_timeout_s": head_timeout_s, "max_head_bytes": max_head_bytes, "max_connections": max_connections}
    return type("HeaderLimitProtocol", (HeaderLimitProtocol,), limits)


def _is_path(url: bytes) -> bool:
    try:
        return bool(httptools.parse_url(url).path) and url.isascii()
    except httptools.HttpParserInvalidURLError:
        return False
