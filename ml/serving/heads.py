"""The head of a request, read within limits as its body is: uvicorn's parser has none of its own."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 10.0


class LimitedHeads(HttpToolsProtocol):
    """A connection that is closed if the head of a request is too large, or does not arrive in time.

    An idle one is left to uvicorn's ``timeout_keep_alive`` once it was used.
    """

    _in_head, _head_bytes = True, 0
    _until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._until = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; what is no whole head yet counts."""
        began_in_head = self._in_head
        super().data_received(data)
        if not self._in_head:
            return
        if began_in_head:
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")
        elif self._until is None and self._head_bytes:
            self._until = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._head_is_there()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Go on to the next head."""
        super().on_message_complete()
        self._in_head = True

    def _head_is_there(self) -> None:
        self._in_head, self._head_bytes = False, 0
        if self._until is not None:
            self._until.cancel()
            self._until = None

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()
