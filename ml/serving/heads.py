"""The head of a request, read within limits as its body is: uvicorn's parser has none of its own."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 10.0


class LimitedHeads(HttpToolsProtocol):
    """A connection that is closed if the head of a request is too large, or does not arrive in time.

    Between two requests it may be idle as long as uvicorn's ``timeout_keep_alive`` says.
    """

    _in_body = _begun = False
    _only_head, _head_bytes = True, 0
    _until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; what is nothing but a head, and no whole one yet, counts."""
        self._only_head = not self._in_body
        super().data_received(data)
        if self._only_head:
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")
        elif self._begun and self._until is None:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Begin with a head."""
        super().on_message_begin()
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of a head; of those that may follow a body nobody asks, and they have no limit."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._wait_no_more()
        self._in_body, self._begun, self._only_head, self._head_bytes = True, False, False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Go on to the next head."""
        super().on_message_complete()
        self._in_body = False

    def _wait_for_head(self) -> None:
        self._until = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def _wait_no_more(self) -> None:
        if self._until is not None:
            self._until.cancel()
            self._until = None

    def _refuse(self, status: bytes) -> None:
        self._wait_no_more()
        if self.transport.is_closing():
            return
        if self.cycle and not self.cycle.response_complete:  # the answer to the request before comes first
            self._wait_for_head()
            return
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()
