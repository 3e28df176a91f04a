"""HTTP of a connection, with limits on the head of a request; what uvicorn reads it with has none."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class LimitedHttp(HttpToolsProtocol):
    """A connection that is closed where it sends the head of a request a byte a minute, sends none, or never ends it.

    It would be held for as long as its client likes. Uvicorn makes it, so the limits belong to the class.

    Attributes:
        head_timeout_s: From the connection, or from the first byte of a further request, to the end of the head.
        max_head_bytes: A head that has not ended after so many is refused.
    """

    head_timeout_s: ClassVar[float]
    max_head_bytes: ClassVar[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self._end_head()
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to wait for the head of a further request."""
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Go on with a head that came in time."""
        self._end_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._end_head()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def limited_http(head_timeout_s: float, max_head_bytes: int) -> type[LimitedHttp]:
    """Return the protocol class for a server with these limits."""
    return type("LimitedHttp", (LimitedHttp,), {"head_timeout_s": head_timeout_s, "max_head_bytes": max_head_bytes})
