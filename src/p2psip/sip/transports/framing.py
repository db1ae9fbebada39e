"""How each transport carries messages (RFC 3261 section 18.3), and keep-alives beside them (RFC 5626 section 4.4).

A transport has a strategy of its own: one message a datagram, messages one after the other in a stream, or one in each
message of WebSocket (websocket.py). What is above takes messages and sends replies, whatever they came by.
"""

from __future__ import annotations

import re
from typing import Protocol

from p2psip.base.address import Address
from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.parser import content_length_on_stream
from p2psip.sip.transports.hops import Transport
from p2psip.sip.transports.web_origins import WebOrigins
from p2psip.stun.binding import answer_binding
from p2psip.stun.message import may_be_stun

_END_OF_HEAD = b"\r\n\r\n"
_TLS_HANDSHAKE = 0x16
_NO_BEGINNING = re.compile(rb"[^\t\r\n -~]")
"""What no start line begins with, as a TLS handshake does (0x16)."""


class Framing(Protocol):
    """What makes messages of the bytes from one place."""

    error: BadMessage | None
    """Why what comes has no meaning any more, if so; what came before it has been given out."""

    @property
    def ended(self) -> str:
        """Why no more comes, where the other end has said so; else nothing."""

    @property
    def refusal(self) -> str:
        """Why the other end was not let in, before anything of SIP came; else nothing."""

    @property
    def is_between_messages(self) -> bool:
        """True if no message has begun."""

    @property
    def is_pinged(self) -> bool:
        """True if the other end answers pings, so that one knows whether it is there."""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""

    def take_replies(self) -> list[bytes]:
        """What keep-alives and the like since the last call are answered with."""

    def wrap(self, message: bytes) -> bytes:
        """A message as it goes out; nothing where none may go any more."""

    def ping(self) -> bytes:
        """What the other end will answer; nothing where that cannot be."""

    def goodbye(self, reason: str) -> bytes:
        """What is said before the connection is closed by us, if anything."""


class _Unwrapped:
    """Where a message goes out as it is, and the end of a connection is all that is said of it."""

    __slots__ = ()

    ended = refusal = ""
    is_pinged = False

    def wrap(self, message: bytes) -> bytes:
        """As it is."""
        return message

    def ping(self) -> bytes:
        """Nothing: CRLF and STUN are sent by phones (RFC 5626 section 4.4)."""
        return b""

    def goodbye(self, reason: str) -> bytes:
        """Nothing."""
        return b""


class DatagramFraming(_Unwrapped):
    """A datagram from `remote` is a message, or a keep-alive: line ends, zeros, or STUN."""

    __slots__ = ("_remote", "_reply", "error")

    is_between_messages = True

    def __init__(self, remote: Address) -> None:
        self.error: BadMessage | None = None
        self._remote = remote
        self._reply: bytes | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The message, if it is one."""
        if not data.strip(b"\r\n\0"):
            return []
        if may_be_stun(data):
            # RFC 5626 section 8: who "receives SIP requests on a given interface and UDP port, [...] MUST also provide
            # a limited version of a STUN server on the same interface and UDP port".
            self._reply = answer_binding(data, self._remote)
            return []
        return [data]

    def take_replies(self) -> list[bytes]:
        """The answer of the STUN server."""
        reply, self._reply = self._reply, None
        return [] if reply is None else [reply]


class StreamFraming(_Unwrapped):
    """Cuts one connection's bytes into messages, the same however they come in pieces."""

    def __init__(self) -> None:
        self.error: BadMessage | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._needed = 0
        self._pings = 0
        """Double-CRLF keep-alives that wait for their pong."""

    @property
    def is_between_messages(self) -> bool:
        """True if no message has begun, only perhaps the first half of a ping."""
        return _END_OF_HEAD.startswith(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        messages: list[bytes] = []
        if self.error is None:
            self._buffer += data
            try:
                while (message := self._next()) is not None:
                    messages.append(message)
            except BadMessage as error:
                self.error = error
                self._buffer.clear()
        return messages

    def take_replies(self) -> list[bytes]:
        """RFC 5626 4.4.1: "the server MUST respond with a single CRLF ("pong")", to each ping."""
        pings, self._pings = self._pings, 0
        return [b"\r\n"] * pings

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
        refuse_what_is_no_text(self._buffer)
        end = self._buffer.find(_END_OF_HEAD, max(0, self._searched - 3))
        if (end if end >= 0 else len(self._buffer) - 3) > limits.HEAD_BYTES:
            raise BadMessage("head too long", 513)
        if end < 0:
            self._searched = len(self._buffer)
            return False
        self._needed = end + len(_END_OF_HEAD) + content_length_on_stream(bytes(self._buffer[:end]))
        return True

    def _skip_line_ends(self) -> None:
        """7.5: CRLF before a start line means nothing; RFC 5626 4.4.1: two of them ask for an answer."""
        skip = 0
        while self._buffer.startswith(_END_OF_HEAD, skip):
            skip += len(_END_OF_HEAD)
            self._pings += 1
        rest = bytes(self._buffer[skip : skip + len(_END_OF_HEAD)])
        # A lone CRLF is a pong, unless it is the first half of a ping of which the rest is still under way.
        if rest.startswith(b"\r\n") and not _END_OF_HEAD.startswith(rest):
            skip += 2
        if skip:
            del self._buffer[:skip]
            self._searched = 0


def refuse_what_is_no_text(beginning: bytes | bytearray) -> None:
    """Raises BadMessage for what no start line begins with."""
    if _NO_BEGINNING.match(beginning):
        what = " (is it TLS?)" if beginning[0] == _TLS_HANDSHAKE else ""
        raise BadMessage(f"no message begins with byte 0x{beginning[0]:02x}{what}")


def framing_of(transport: Transport, remote: Address, origins: WebOrigins) -> Framing:
    """For a new connection, or for one datagram."""
    match transport:
        case "UDP" | "DTLS-UDP":
            return DatagramFraming(remote)
        case "TCP" | "TLS":
            return StreamFraming()
        case "WS" | "WSS":
            # Who serves no browsers does without wsproto.
            from p2psip.sip.transports.websocket import WebSocketFraming

            return WebSocketFraming(origins)
