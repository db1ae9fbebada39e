"""DTLS 1.2 over UDP for overlay links (RFC 6347, RFC 6940 section 6.6.6): pyOpenSSL's memory BIO, a datagram at a time.

OpenSSL repeats lost flights of the handshake as its clock says, and each goes once more before that, as callers wait;
what is lost later is for the core of the link. Where datagrams come from and go to: `p2psip.net.sockets.dtls_ports`.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import hmac
import secrets
from collections import deque
from typing import Protocol

from OpenSSL import SSL

from p2psip.net.sockets.addresses import words
from p2psip.net.sockets.tcp import NARROW_BYTES
from p2psip.net.sockets.tls import HANDSHAKE_MAX_S, READ_BYTES, StreamUser, certificates_of, describe
from p2psip.reload.paths.demux import RECORD_HEADER_BYTES, Pair, farewell

PATH_MTU = 1280
"""What every IPv6 path carries (RFC 8200 section 5), and nearly every IPv4 path."""

IP_UDP_BYTES = 48
NARROW_DATAGRAM_BYTES = NARROW_BYTES - IP_UDP_BYTES
MESSAGE_HEADERS_BYTES = 25
"""Of a record and of a message of the handshake in it (RFC 6347 section 4.2.2)."""

HELD_MAX = 4
"""Datagrams kept of an association that has answered and was not chosen yet."""

EARLY_S = 0.4
"""After how long a flight that nothing has answered goes out once more, byte for byte, as a network may duplicate it.
OpenSSL has the second of RFC 6347 section 4.2.4.1, and then two, and callers wait (docs/decisions/call-paths.md)."""

WIDE_FLIGHTS_MAX = 2
"""How often a flight of the handshake is repeated before it goes out in smaller pieces."""

SENT_SHOWN = 8
SHOWN_BYTES = 64
"""So much of so many datagrams is remembered, to know what the network refuses again. It has to show all of it: anybody
can guess the header of a record, and nobody the random of a ClientHello or what is encrypted."""


def require_cookies(context: SSL.Context) -> None:
    """Have servers of this context talk only to who answers from the address that it came from (RFC 6347 4.2.1)."""
    secret = secrets.token_bytes(32)

    def cookie_of(connection: SSL.Connection) -> bytes:
        return hmac.digest(secret, str(connection.get_app_data()).encode(), hashlib.sha256)

    context.set_cookie_generate_callback(cookie_of)
    context.set_cookie_verify_callback(lambda connection, cookie: hmac.compare_digest(cookie, cookie_of(connection)))


class Port(Protocol):
    """What an association needs of who reads and writes its datagrams."""

    def send(self, association: DtlsAssociation, datagram: bytes) -> None:
        """Send to its remote, from its local address."""

    def came_up(self, association: DtlsAssociation) -> None:
        """Its handshake is done."""

    def forget(self, association: DtlsAssociation) -> None:
        """It is over."""


class DtlsAssociation:
    """One association, of a client or of a server. Its user hears of it as of a TLS stream."""

    def __init__(
        self,
        tls: SSL.Connection,
        user: StreamUser,
        pair: Pair,
        port: Port,
        datagram_bytes: int,
        *,
        is_server: bool,
    ) -> None:
        self.pair = pair
        self.local: tuple[str, int] = pair.local
        self.remote: tuple[str, int] = pair.remote
        self.is_server = is_server
        self.is_up = False
        self.is_stalled = False
        self.protocol = b""
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tls = tls
        self._user = user
        self._port = port
        self._sent: deque[bytes] = deque(maxlen=SENT_SHOWN)
        self._datagram_bytes = datagram_bytes
        self._has_begun = is_server
        self._is_over = False
        self._held: list[bytes] = []
        self._repeated = 0
        self._largest = 0
        """The longest datagram that has come before it was up."""
        self._flight: list[bytes] = []
        """What was sent last, as long as nothing has come since, and it was not repeated."""
        self._early: asyncio.TimerHandle | None = None
        self._retransmission: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Say ClientHello, or answer it; unless nobody wants it any more."""
        if self._is_over:
            return
        if self.is_server:
            # It has come back with a cookie.
            self.answered.set_result(None)
        self._be_patient()
        self._advance()

    @property
    def is_over(self) -> bool:
        """True once it is closed, refused or replaced."""
        return self._is_over

    @property
    def client_random(self) -> bytes:
        """Of the ClientHello that began it."""
        random = self._tls.client_random()
        assert random is not None, "it has been started"
        return random

    # For the user

    @property
    def datagram_bytes(self) -> int | None:
        """How much one datagram carries beside what DTLS adds."""
        return self._tls.get_cleartext_mtu()

    @property
    def backlog_bytes(self) -> int:
        """None: what the system does not take is lost."""
        return 0

    @property
    def is_connected(self) -> bool:
        """True from when the other end has answered to when the association is over."""
        return not self._is_over and self.answered.done()

    def begin(self) -> None:
        """A client: take what has come; the ClientHello is long out."""
        if self._has_begun:
            return
        self._has_begun = True
        held, self._held = self._held, []
        self._be_patient()
        for data in held:
            self.take(data)

    def write(self, data: bytes) -> None:
        """Send one datagram; after the association is over it is dropped."""
        if not self.is_up or self._is_over:
            return
        try:
            self._tls.send(data)
        except SSL.Error as error:
            self.abort(describe(error))
            return
        self._flush()

    def close(self, reason: str) -> None:
        """Say goodbye, once and without knowing whether it arrives; `stream_down` follows.

        Of a handshake as well: the other end would take it for one that is under way, and not dial us meanwhile.
        """
        if self._is_over:
            return
        if self.is_up:
            try:
                self._tls.shutdown()
            except SSL.Error as error:
                reason = describe(error)
            self._flush()
        else:
            self._port.send(self, farewell(self.client_random))
        self.abort(reason)

    def abort(self, reason: str) -> None:
        """Forget the association; `stream_down` follows."""
        if self._is_over:
            return
        self._end()
        if not self.answered.done():
            self.answered.set_exception(ConnectionError(reason))
            # Whoever waits for it hears it; often nobody does.
            self.answered.exception()
        self._port.forget(self)
        asyncio.get_running_loop().call_soon(self._user.stream_down, self, reason)

    def give_way(self) -> None:
        """The other end dialled us at once, and its handshake goes on in the place of this one: nobody hears of it."""
        self._end()
        if not self.answered.done():
            self.answered.set_result(None)

    # For the port

    def refused(self, error: OSError, shown: bytes) -> None:
        """The network says that it cannot pass on a datagram, and shows it: perhaps it is one of ours."""
        if shown[:SHOWN_BYTES] not in self._sent:
            return
        if not self.is_up or error.errno == errno.ECONNREFUSED:
            self.abort(words(error))

    def take(self, data: bytes) -> None:
        """A datagram from the other end, or from who pretends to be it."""
        if self._is_over:
            return
        if self._flight:
            self._flight = []
        if not self.answered.done():
            self.answered.set_result(None)
        if not self._has_begun:
            if len(self._held) < HELD_MAX:
                self._held.append(data)
            return
        if not self.is_up:
            self._largest = max(self._largest, len(data))
        self._tls.bio_write(data)
        self._advance()

    # Inside

    def _end(self) -> None:
        self._is_over = True
        for timer in (self._early, self._retransmission, self._patience):
            if timer is not None:
                timer.cancel()

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = asyncio.get_running_loop().call_later(HANDSHAKE_MAX_S, self._give_up)

    def _give_up(self) -> None:
        self.is_stalled = self.answered.done()
        self.close("DTLS handshake timed out")

    def _advance(self) -> None:
        """Let the handshake go on, or take what was decrypted; then send what DTLS has to say."""
        try:
            if not self.is_up:
                self._handshake()
            # Also where there is nothing to be read: a last flight that was lost is repeated from in here.
            messages = self._read() if self.is_up else []
        except SSL.ZeroReturnError:
            # Goodbye to a handshake is not answered: the other end may have begun another.
            (self.close if self.is_up else self.abort)("closed by the other end")
            return
        except SSL.Error as error:
            self._flush()
            self.abort(describe(error))
            return
        datagrams = self._flush()
        if datagrams and not self.is_up:
            self._flight = datagrams
            if self._early is not None:
                self._early.cancel()
            self._early = asyncio.get_running_loop().call_later(EARLY_S, self._repeat_early)
        self._await_flight()
        for message in messages:
            if not self._is_over:
                self._user.stream_data(self, message)

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return
        assert self._patience is not None, "it runs since the beginning"
        self._patience.cancel()
        self.is_up = True
        certificates = certificates_of(self._tls)
        if self._largest <= NARROW_DATAGRAM_BYTES < MESSAGE_HEADERS_BYTES + sum(map(len, certificates)):
            # The other end had to cut its certificate into such pieces, or knew that it would have to. As of TCP's
            # segments, what either end finds out of the way is good for both.
            self._narrow()
        self._flush()
        self._port.came_up(self)
        self._user.stream_up(self, certificates)

    def _read(self) -> list[bytes]:
        messages: list[bytes] = []
        while not self._is_over:
            try:
                messages.append(self._tls.recv(READ_BYTES))
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                if not messages:
                    raise
                break
        return messages

    def _flush(self) -> list[bytes]:
        datagrams = take_datagrams(self._tls, self._datagram_bytes)
        for datagram in datagrams:
            self._sent.append(datagram[:SHOWN_BYTES])
            self._port.send(self, datagram)
        return datagrams

    def _repeat_early(self) -> None:
        flight, self._flight = self._flight, []
        for datagram in flight:
            self._port.send(self, datagram)

    def _await_flight(self) -> None:
        """OpenSSL's own timer: it says when the other end should have answered our flight of the handshake."""
        if self._retransmission is not None:
            self._retransmission.cancel()
        delay_s = None if self._is_over else self._tls.DTLSv1_get_timeout()
        if delay_s is not None:
            self._retransmission = asyncio.get_running_loop().call_later(delay_s, self._repeat_flight)

    def _repeat_flight(self) -> None:
        self._repeated += 1
        if self._repeated == WIDE_FLIGHTS_MAX:
            # RFC 6347 4.1.1.1: "If repeated retransmissions do not result in a response, and the PMTU is unknown,
            # subsequent retransmissions SHOULD back off to a smaller record size".
            self._narrow()
        try:
            self._tls.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self.abort(describe(error))
            return
        self._flush()
        self._await_flight()

    def _narrow(self) -> None:
        self._datagram_bytes = min(self._datagram_bytes, NARROW_DATAGRAM_BYTES)
        self._tls.set_ciphertext_mtu(self._datagram_bytes)


def take_datagrams(tls: SSL.Connection, datagram_bytes: int) -> list[bytes]:
    """What DTLS wants sent. A memory BIO knows no datagrams: whole records go together as far as one holds them."""
    output = bytearray()
    while True:
        try:
            output += tls.bio_read(READ_BYTES)
        except SSL.WantReadError:
            break
    datagrams: list[bytes] = []
    start = end = 0
    while end < len(output):
        record_end = end + RECORD_HEADER_BYTES + int.from_bytes(output[end + 11 : end + 13], "big")
        if end > start and record_end - start > datagram_bytes:
            datagrams.append(bytes(output[start:end]))
            start = end
        end = record_end
    return [*datagrams, bytes(output[start:])] if output else []
