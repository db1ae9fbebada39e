"""A cheap stand-in for TLS 1.3 and DTLS 1.2: the same records, messages and round trips, and nothing secret.

Theory of operation. Records and handshake messages are laid out as RFC 8446 and RFC 6347 have them, so that whoever
tells datagrams apart by their bytes does so here. The key is a hash of both randoms, which anybody could make; what it
is good for is that a record of another association is not taken. Over a stream the client speaks, the server answers
with everything, the client has the last word: one round trip. Over datagrams the server first sends a cookie and
forgets; then come two round trips, of which each flight is repeated until it is answered. Certificates are believed as
shown: what they are worth is the core's to say.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

VERSION = b"\xfe\xfd"
ALERT, HANDSHAKE, DATA = 21, 22, 23
HELLO, SERVER_HELLO, VERIFY, CERTIFICATE, DONE, FINISHED = 1, 2, 3, 11, 14, 20
RANDOM_BYTES = 32
TAG_BYTES = 16
RECORD_MAX = 16384
DATAGRAM_RECORD_BYTES = 13
STREAM_RECORD_BYTES = 5
MESSAGE_BYTES = 12
COOKIE_BYTES = 20


class HandshakeFailed(Exception):
    """What came is none of this protocol, or ends it."""


class Handshake:
    """One end of a session. Bytes in, with `receive`; bytes out, with `drain`: of a stream, or one datagram each."""

    def __init__(
        self,
        certificates: Sequence[bytes],
        rng: random.Random,
        *,
        is_server: bool,
        datagram_bytes: int | None = None,
        protocol: bytes = b"",
    ) -> None:
        self.is_server = is_server
        self.protocol = protocol
        """What the client has come for (ALPN); a server knows it from the hello."""
        self.is_up = False
        self.certificates: tuple[bytes, ...] = ()
        """The other end's."""
        self._own = certificates
        self._random = rng.randbytes(RANDOM_BYTES)
        self.client_random = b"" if is_server else self._random
        """By which a server knows a repeated hello."""
        self._datagram_bytes = datagram_bytes
        self._key = b""
        self._cookie = b""
        self._sequence = 0
        self._next_sent = self._next_received = int(is_server and datagram_bytes is not None)
        self._pieces: dict[int, dict[int, bytes]] = {}
        self._input = bytearray()
        self._flight: list[tuple[int, int, bytes]] = []
        self._output: list[bytes] = []

    @property
    def datagram_bytes(self) -> int | None:
        """What one datagram carries beside our own words; None of a stream."""
        return None if self._datagram_bytes is None else self._datagram_bytes - DATAGRAM_RECORD_BYTES - 8 - TAG_BYTES

    def begin(self) -> None:
        """A client: say hello."""
        self._say((HELLO, self._hello()))

    def receive(self, data: bytes) -> list[bytes]:
        """What the other end has written, by records. Raises HandshakeFailed when it ends the session."""
        self._input += data
        written: list[bytes] = []
        while (record := self._next_record()) is not None:
            kind, epoch, body = record
            content = self._opened(kind, body) if epoch else body
            if content is None:
                continue
            if kind == ALERT:
                raise HandshakeFailed("closed by the other end")
            if kind == DATA and self.is_up:
                written.append(content)
            elif kind == HANDSHAKE:
                self._take(content)
        if self._datagram_bytes is not None:
            self._input.clear()
        return written

    def write(self, data: bytes) -> None:
        """Send what the user has to say."""
        step = RECORD_MAX if self._datagram_bytes is None else max(1, len(data))
        for at in range(0, len(data), step):
            self._output.append(self._record(DATA, self._sealed(DATA, data[at : at + step]), epoch=1))

    def close(self) -> None:
        """Say that this is the end."""
        self._output.append(self._record(ALERT, self._sealed(ALERT, b"\x01\x00"), epoch=1))

    def repeat(self) -> None:
        """Datagrams: the last flight again, as nobody has answered it."""
        self._send_flight()

    def narrow(self, datagram_bytes: int) -> None:
        """Send no datagrams that are longer than this any more."""
        assert self._datagram_bytes is not None, "a stream has none"
        self._datagram_bytes = min(self._datagram_bytes, datagram_bytes)

    def drain(self) -> list[bytes]:
        """What is to be sent since the last call."""
        output, self._output = self._output, []
        return output

    # Messages

    def _hello(self) -> bytes:
        return VERSION + self._random + bytes([len(self._cookie)]) + self._cookie + self.protocol

    def _take(self, content: bytes) -> None:
        """Part of a message, or all of it; messages are heeded in their order."""
        if len(content) < MESSAGE_BYTES:
            raise HandshakeFailed("a message without a header")
        length, number = int.from_bytes(content[1:4]), int.from_bytes(content[4:6])
        offset = int.from_bytes(content[6:9])
        if number < self._next_received:
            if content[0] in (HELLO, FINISHED, DONE) and (self.is_server or not self.is_up):
                # The other end has not heard our answer. A client that is up has heard the last word: were it to speak
                # again, the server would, and so on for ever (RFC 6347 section 4.2.4: only who sends the last flight
                # repeats it for a repeated one).
                self._send_flight()
            return
        self._pieces.setdefault(number, {})[offset] = content
        while (message := self._whole(self._next_received)) is not None:
            del self._pieces[self._next_received]
            self._next_received += 1
            self._heed(*message)
        if length > RECORD_MAX:
            raise HandshakeFailed("a message that is too long")

    def _whole(self, number: int) -> tuple[int, bytes] | None:
        body = b""
        pieces = self._pieces.get(number, {})
        for offset in sorted(pieces):
            if offset > len(body):
                return None
            body = body[:offset] + pieces[offset][MESSAGE_BYTES:]
        if not pieces or len(body) < int.from_bytes(pieces[min(pieces)][1:4]):
            return None
        return pieces[min(pieces)][0], body

    def _heed(self, kind: int, body: bytes) -> None:
        match kind, self.is_server:
            case 1, True:
                self.client_random = body[2 : 2 + RANDOM_BYTES]
                self.protocol = body[3 + RANDOM_BYTES + body[2 + RANDOM_BYTES] :]
                self._derive(body[2 : 2 + RANDOM_BYTES], self._random)
                last = [(FINISHED, bytes(12))] if self._datagram_bytes is None else [(DONE, b"")]
                self._say((SERVER_HELLO, VERSION + self._random), (CERTIFICATE, _vector(self._own)), *last)
            case 3, False:
                self._cookie = body
                self._say((HELLO, self._hello()))
            case 2, False:
                self._derive(self._random, body[2 : 2 + RANDOM_BYTES])
            case 11, _:
                self.certificates = _items(body)
            case (14, False) | (20, False) if not self.is_up:
                if kind == DONE or self._datagram_bytes is None:
                    self._say((CERTIFICATE, _vector(self._own)), (FINISHED, bytes(12)))
                self.is_up = kind == FINISHED
            case 20, True:
                if self._datagram_bytes is not None:
                    self._say((FINISHED, bytes(12)))
                self.is_up = True
            case _:
                raise HandshakeFailed(f"message {kind} is not expected")

    def _say(self, *messages: tuple[int, bytes]) -> None:
        """The next flight."""
        self._flight = [(self._next_sent + rank, *message) for rank, message in enumerate(messages)]
        self._next_sent += len(messages)
        self._send_flight()

    def _send_flight(self) -> None:
        """As many messages go into a datagram as it holds; long ones in pieces."""
        datagram = b""
        for number, kind, body in self._flight:
            room = RECORD_MAX
            if self._datagram_bytes is not None:
                room = self._datagram_bytes - DATAGRAM_RECORD_BYTES - MESSAGE_BYTES - 8 - TAG_BYTES
            for at in range(0, max(1, len(body)), room):
                piece = body[at : at + room]
                header = bytes([kind]) + len(body).to_bytes(3) + number.to_bytes(2) + at.to_bytes(3)
                content = header + len(piece).to_bytes(3) + piece
                is_sealed = kind == FINISHED
                sealed = self._sealed(HANDSHAKE, content) if is_sealed else content
                record = self._record(HANDSHAKE, sealed, epoch=int(is_sealed))
                if datagram and len(datagram) + len(record) > (self._datagram_bytes or RECORD_MAX):
                    self._output.append(datagram)
                    datagram = b""
                datagram += record
        if datagram:
            self._output.append(datagram)

    # Records

    def _derive(self, client: bytes, server: bytes) -> None:
        self._key = hashlib.blake2b(client + server, digest_size=32).digest()

    def _sealed(self, kind: int, content: bytes) -> bytes:
        self._sequence += 1
        nonce = self._sequence.to_bytes(8)
        return nonce + content + self._tag(kind, nonce, content)

    def _opened(self, kind: int, body: bytes) -> bytes | None:
        """RFC 6347 section 4.1.2.7: "In general, invalid records SHOULD be silently discarded"."""
        nonce, content, tag = body[:8], body[8:-TAG_BYTES], body[-TAG_BYTES:]
        return content if self._key and tag == self._tag(kind, nonce, content) else None

    def _tag(self, kind: int, nonce: bytes, content: bytes) -> bytes:
        return hashlib.blake2b(bytes([kind]) + nonce + content, key=self._key, digest_size=TAG_BYTES).digest()

    def _record(self, kind: int, body: bytes, *, epoch: int) -> bytes:
        length = len(body).to_bytes(2) if len(body) < 1 << 16 else b"\xff\xff"
        if self._datagram_bytes is None:
            # A stream's record has no epoch: the first byte of the version says whether it is sealed.
            return bytes([kind, 3 + epoch, 3]) + length + body
        return bytes([kind]) + VERSION + epoch.to_bytes(2) + self._sequence.to_bytes(6) + length + body

    def _next_record(self) -> tuple[int, int, bytes] | None:
        header = STREAM_RECORD_BYTES if self._datagram_bytes is None else DATAGRAM_RECORD_BYTES
        if len(self._input) < header:
            return None
        kind, length = self._input[0], int.from_bytes(self._input[header - 2 : header])
        epoch = self._input[1] - 3 if self._datagram_bytes is None else int.from_bytes(self._input[3:5])
        if kind not in (ALERT, HANDSHAKE, DATA) or epoch not in (0, 1):
            raise HandshakeFailed("wrong version number")
        if len(self._input) < header + length:
            return None
        body = bytes(self._input[header : header + length])
        del self._input[: header + length]
        return kind, epoch, body


def verify_request(secret: bytes, remote: str, datagram: bytes) -> bytes | None:
    """What a server answers to who says hello without its cookie; None to who has it (RFC 6347 section 4.2.1)."""
    body = datagram[DATAGRAM_RECORD_BYTES + MESSAGE_BYTES :]
    cookie = hashlib.blake2b(remote.encode(), key=secret, digest_size=COOKIE_BYTES).digest()
    if body[2 + RANDOM_BYTES + 1 :] == cookie:
        return None
    header = bytes([VERIFY]) + len(cookie).to_bytes(3) + bytes(2) + bytes(3) + len(cookie).to_bytes(3)
    message = header + cookie
    return bytes([HANDSHAKE]) + VERSION + bytes(8) + len(message).to_bytes(2) + message


def _vector(items: Sequence[bytes]) -> bytes:
    return b"".join(len(item).to_bytes(3) + item for item in items)


def _items(data: bytes) -> tuple[bytes, ...]:
    found: list[bytes] = []
    while data:
        length = int.from_bytes(data[:3])
        if len(data) < 3 + length:
            raise HandshakeFailed("certificates that are not whole")
        found.append(data[3 : 3 + length])
        data = data[3 + length :]
    return tuple(found)
