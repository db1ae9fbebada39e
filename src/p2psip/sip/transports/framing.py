"""Messages in a stream (RFC 3261 section 18.3) and keep-alives between them (RFC 5626 section 4.4.1)."""

from __future__ import annotations

from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.parser import content_length

_END_OF_HEAD = b"\r\n\r\n"


class Framer:
    """Cuts one connection's bytes into messages. An error is final: the rest of the stream has no meaning."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._needed = 0
        self.pings = 0
        """Double-CRLF keep-alives that wait for their pong."""

    @property
    def is_between_messages(self) -> bool:
        """True if no message has begun, only perhaps the first half of a ping."""
        return _END_OF_HEAD.startswith(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        self._buffer += data
        messages: list[bytes] = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def take_pings(self) -> int:
        """How many pings came in since the last call."""
        pings, self.pings = self.pings, 0
        return pings

    def _next(self) -> bytes | None:
        if not self._needed and not self._read_head():
            return None
        if len(self._buffer) < self._needed:
            return None
        message = bytes(self._buffer[: self._needed])
        del self._buffer[: self._needed]
        self._needed = self._searched = 0
        return message

    def _read_head(self) -> bool:
        """Find where the message ends; True if its head is complete."""
        self._skip_line_ends()
        end = self._buffer.find(_END_OF_HEAD, max(0, self._searched - 3))
        if end < 0:
            self._searched = len(self._buffer)
            if len(self._buffer) > limits.HEAD_BYTES:
                raise BadMessage("head too long", 513)
            return False
        if end > limits.HEAD_BYTES:
            raise BadMessage("head too long", 513)
        # 18.3: "The Content-Length header field MUST be used with stream oriented transports."
        length = content_length(bytes(self._buffer[:end]))
        if length is None:
            raise BadMessage("no Content-Length on a stream")
        self._needed = end + len(_END_OF_HEAD) + length
        return True

    def _skip_line_ends(self) -> None:
        """7.5: CRLF before a start line means nothing; RFC 5626 4.4.1: two of them ask for an answer."""
        skip = 0
        while self._buffer.startswith(_END_OF_HEAD, skip):
            skip += len(_END_OF_HEAD)
            self.pings += 1
        rest = bytes(self._buffer[skip : skip + len(_END_OF_HEAD)])
        # A lone CRLF is a pong, unless it is the first half of a ping of which the rest is still under way.
        if rest.startswith(b"\r\n") and not _END_OF_HEAD.startswith(rest):
            skip += 2
        if skip:
            del self._buffer[:skip]
            self._searched = 0
