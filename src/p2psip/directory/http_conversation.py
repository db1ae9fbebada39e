"""One connection of a phone that asks for the directory by HTTP/1.1 (RFC 9112), as bytes in and out."""

from __future__ import annotations

import h11

from p2psip.directory.phone_pages import DirectoryPage, PageAsked

HEADERS_MAX = 8192
BODY_MAX = 65536


class HttpConversation:
    """Give it what came; it says what is asked for, one thing at a time, and what to send."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADERS_MAX)
        self._asked: PageAsked | None = None
        self._body_bytes = 0
        self._out = b""
        self.is_over = False
        """True as soon as the connection is to be closed, after what is to be sent."""

    def receive(self, data: bytes) -> list[PageAsked]:
        """Bytes came; b"" is the end of them. What is asked for is to be answered before more is given."""
        try:
            self._connection.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)
            return []

    def _read(self) -> list[PageAsked]:
        while True:
            match self._connection.next_event():
                case h11.Request() as request:
                    host = next((value for name, value in request.headers if name == b"host"), b"")
                    target = request.target.decode("ascii", "replace")
                    self._asked = PageAsked(request.method.decode(), target, host.decode("ascii", "replace"))
                    self._body_bytes = 0
                case h11.Data(data=body):
                    self._body_bytes += len(body)
                    if self._body_bytes > BODY_MAX:
                        self._refuse(413)
                        return []
                case h11.EndOfMessage() if self._asked is not None:
                    return [self._asked]
                case h11.ConnectionClosed():
                    self.is_over = True
                    return []
                case _:
                    return []

    def answer(self, page: DirectoryPage) -> list[PageAsked]:
        """Answer what is asked for; what the phone has asked for already after it."""
        self._send(page.status, page.content_type, page.body)
        if self._connection.our_state is not h11.DONE or self._connection.their_state is not h11.DONE:
            self.is_over = True
            return []
        self._connection.start_next_cycle()
        return self.receive_more()

    def receive_more(self) -> list[PageAsked]:
        """What has come already."""
        try:
            return self._read()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)
            return []

    def take(self) -> bytes:
        """What is to be sent now."""
        out, self._out = self._out, b""
        return out

    def _refuse(self, status: int) -> None:
        self.is_over = True
        if self._connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(status, "text/plain; charset=utf-8", b"this cannot be read\n", closes=True)

    def _send(self, status: int, content_type: str, body: bytes, *, closes: bool = False) -> None:
        fields = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Cache-Control", "no-cache")]
        if closes:
            fields.append(("Connection", "close"))
        events = (h11.Response(status_code=status, headers=fields), h11.Data(data=body), h11.EndOfMessage())
        is_head = self._asked is not None and self._asked.method == "HEAD"
        for event in events:
            if not (is_head and isinstance(event, h11.Data)):
                self._out += self._connection.send(event) or b""
