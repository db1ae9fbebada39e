"""SIP over WebSocket (RFC 7118): one message in each message of WebSocket, after a handshake of HTTP (RFC 6455).

The protocol itself is wsproto's. What is decided here is whose connections are taken: of who asks for SIP, and of web
pages only of those that may. A browser says in Origin which page it is that connects (RFC 6455 section 10.2); who is no
browser says what he likes, or nothing, and proves himself by a password like everybody else.
"""

from __future__ import annotations

from http import HTTPStatus

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError as HandshakeError

from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.transports.framing import refuse_what_is_no_text
from p2psip.sip.transports.web_origins import WebOrigins

SUBPROTOCOL = "sip"

HANDSHAKE_BYTES = 8192
"""The head of the one request that opens a connection, cookies included."""

REASON_BYTES = 123
"""RFC 6455 section 5.5: a control frame has 125 bytes, of which the code takes two."""

_END_OF_HEAD = b"\r\n\r\n"


class _HandshakeRefused(BadMessage):
    """A connection does not become one of SIP over WebSocket; `status` is HTTP's."""


class WebSocketFraming:
    """One connection of a WebSocket client."""

    is_pinged = True

    def __init__(self, origins: WebOrigins) -> None:
        self.error: BadMessage | None = None
        self.ended = self.refusal = ""
        self._origins = origins
        self._connection = WSConnection(ConnectionType.SERVER)
        self._head = bytearray()
        self._message = bytearray()
        self._has_begun = False
        self._replies: list[bytes] = []

    @property
    def is_between_messages(self) -> bool:
        """True if no message has begun; the handshake counts as one."""
        return self._is_open and not self._has_begun

    @property
    def _is_open(self) -> bool:
        return self._connection.state is ConnectionState.OPEN

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        messages: list[bytes] = []
        try:
            if self._is_open:
                self._read(data, messages)
            elif self.error is None and not self.ended:
                self._shake_hands(data)
        except _HandshakeRefused as error:
            self.error, self.refusal = error, error.what
            self._replies.append(_refusal(error))
        except BadMessage as error:
            self.error = error
        return messages

    def take_replies(self) -> list[bytes]:
        """The answer to the handshake, and to what keeps the connection alive or ends it."""
        replies, self._replies = self._replies, []
        return replies

    def wrap(self, message: bytes) -> bytes:
        """A SIP message as it goes out; nothing where none may go any more."""
        if not self._is_open:
            return b""
        try:
            return self._connection.send(TextMessage(message.decode()))
        except UnicodeDecodeError:
            # 4.2: "If there is at least one non-UTF-8 symbol in the whole SIP message (including headers and the body),
            # then the whole message MUST be sent within a WebSocket binary message."
            return self._connection.send(BytesMessage(message))

    def ping(self) -> bytes:
        """Section 6: "by sending periodic WebSocket "Ping" frames", which no page can, and every browser answers."""
        return self._connection.send(Ping()) if self._is_open else b""

    def goodbye(self, reason: str) -> bytes:
        """What to say before the connection is closed by us."""
        return self._close(CloseReason.GOING_AWAY, reason) if self._is_open else b""

    # The handshake

    def _shake_hands(self, data: bytes) -> None:
        self._head += data
        try:
            refuse_what_is_no_text(self._head)
        except BadMessage as error:
            raise _HandshakeRefused(error.what) from None
        if len(self._head) > HANDSHAKE_BYTES:
            raise _HandshakeRefused("its handshake is too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        head, end, rest = self._head.partition(_END_OF_HEAD)
        if not end:
            return
        # RFC 6455 4.2.1: "An HTTP/1.1 or higher GET request", of which there is one; 4.1: "the client MUST wait for a
        # response from the server before sending any further data."
        if rest or not head.isascii() or not head.partition(b"\r\n")[0].endswith(b" HTTP/1.1"):
            raise _HandshakeRefused("what it sends is no handshake of WebSocket")
        self._head.clear()
        self._answer(self._request(bytes(head + end)))

    def _request(self, head: bytes) -> Request:
        try:
            self._connection.receive_data(head)
        except HandshakeError as error:
            raise _HandshakeRefused(f"no handshake of WebSocket: {error}", _status_of(error)) from None
        except UnicodeError:
            raise _HandshakeRefused("its Host is no name") from None
        for event in self._connection.events():
            assert isinstance(event, Request), f"a handshake begins with a request, not with {event}"
            return event
        raise _HandshakeRefused("what it sends is no handshake of WebSocket")

    def _answer(self, request: Request) -> None:
        # 4.1: "The client MUST include the value "sip" in the Sec-WebSocket-Protocol header in its handshake request.
        # The 101 reply from the server MUST contain "sip"".
        if SUBPROTOCOL not in request.subprotocols:
            raise _HandshakeRefused('it does not ask for the subprotocol "sip"')
        if not self._origins.is_own(request.host):
            what = f"it takes this peer for {request.host[:80]}, which is no name of it"
            raise _HandshakeRefused(what, HTTPStatus.FORBIDDEN)
        for name, value in request.extra_headers:
            if name == b"origin" and not self._origins.may_connect(value.decode()):
                what = f"pages from {value.decode()[:80]} may not connect"
                raise _HandshakeRefused(what, HTTPStatus.FORBIDDEN)
        # No extensions: what is compressed may be a thousand times as long.
        self._replies.append(self._connection.send(AcceptConnection(subprotocol=SUBPROTOCOL)))

    # Frames

    def _read(self, data: bytes, messages: list[bytes]) -> None:
        self._connection.receive_data(data)
        for event in self._connection.events():
            match event:
                case TextMessage(data=str(text)):
                    self._add(text.encode(), event.message_finished, messages)
                case BytesMessage(data=part):
                    self._add(part, event.message_finished, messages)
                case Ping():
                    self._replies.append(self._connection.send(event.response()))
                case CloseConnection():
                    self._on_close(event)
                case Pong():
                    pass

    def _add(self, part: bytes | bytearray, is_last: bool, messages: list[bytes]) -> None:
        """Some of a message: 4.2: servers "MUST accept both text and binary frames"."""
        self._message += part
        if len(self._message) > limits.MESSAGE_BYTES:
            self._fail("message too long", CloseReason.MESSAGE_TOO_BIG)
        self._has_begun = not is_last
        if not is_last:
            return
        message = bytes(self._message)
        self._message.clear()
        if message.strip(b"\r\n"):
            messages.append(message)
        elif message == _END_OF_HEAD:
            # Section 6: "the CRLF NAT keep-alive mechanism" of RFC 5626 is "usable over the transport".
            self._replies.append(self.wrap(b"\r\n"))

    def _on_close(self, close: CloseConnection) -> None:
        if self._connection.state is not ConnectionState.REMOTE_CLOSING:
            self._fail(f"no frame of WebSocket: {close.reason}", CloseReason(close.code))
        self._replies.append(self._connection.send(close.response()))
        self.ended = "closed by the other side"

    def _fail(self, what: str, code: CloseReason) -> None:
        self._replies.append(self._close(code, what))
        raise BadMessage(what)

    def _close(self, code: CloseReason, reason: str) -> bytes:
        said = reason.encode()[:REASON_BYTES].decode(errors="ignore")
        return self._connection.send(CloseConnection(code, said))


def _status_of(error: HandshakeError) -> int:
    """What wsproto would have answered: 426 tells which version there is (RFC 6455 section 4.4)."""
    hint = error.event_hint
    return getattr(hint, "status_code", HTTPStatus.BAD_REQUEST)


def _refusal(error: _HandshakeRefused) -> bytes:
    """In words for whoever looks there with a browser."""
    status = HTTPStatus(error.status)
    body = f"This is SIP over WebSocket (RFC 7118), and you are not let in: {error}.\n".encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}", "Sec-WebSocket-Version: 13", "Connection: close"
    about = "Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}"
    return "\r\n".join((*head, *about, "", "")).encode() + body
