"""DTLS 1.2 over UDP for overlay links (RFC 6347, RFC 6940 section 6.6.6): pyOpenSSL's memory BIO, a datagram at a time.

Theory of operation. `DtlsListener` has one UDP port for everybody and tells remotes apart by their address. Who is not
known and says ClientHello gets a cookie and is forgotten; only who comes back with it, and so is where it says it is,
costs memory. The number of handshakes at a time is its user's to bound. A remote that has an association and begins
another (it was started anew) has both until the new one is up: RFC 6347 section 4.2.8: "the server MUST NOT destroy the
existing association until the client has demonstrated reachability". A client's association has a socket of its own, so
that two nodes that dial each other at once are not in each other's way, and so that the network's refusals are heard.

OpenSSL repeats lost flights of the handshake as its clock says; what is lost later is for the core of the link.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable

from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.net.sockets.addresses import words
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.tcp import NARROW_BYTES, REFUSALS
from p2psip.net.sockets.tls import HANDSHAKE_MAX_S, READ_BYTES, StreamUser, certificates_of, describe

PATH_MTU = 1280
"""What every IPv6 path carries (RFC 8200 section 5), and nearly every IPv4 path."""

IP_UDP_BYTES = 48
RECORD_HEADER_BYTES = 13
HANDSHAKE = 22
CLIENT_HELLO = 1
EPOCH_ZERO = bytes(2)
HELD_MAX = 4
"""Datagrams kept of an association that has answered and was not chosen yet."""

WIDE_FLIGHTS_MAX = 2
"""How often a flight of the handshake is repeated before it goes out in smaller pieces."""

RECEIVE_BYTES = 1 << 20
"""How much may wait to be read at the port of all associations."""

Accept = Callable[["DtlsAssociation"], None]


def require_cookies(context: SSL.Context) -> None:
    """Have servers of this context talk only to who answers from the address that it came from (RFC 6347 4.2.1)."""
    secret = secrets.token_bytes(32)

    def cookie_of(connection: SSL.Connection) -> bytes:
        return hmac.digest(secret, str(connection.get_app_data()).encode(), hashlib.sha256)

    context.set_cookie_generate_callback(cookie_of)
    context.set_cookie_verify_callback(lambda connection, cookie: hmac.compare_digest(cookie, cookie_of(connection)))


class DtlsAssociation:
    """One association, of a client or of a server. Its user hears of it as of a TLS stream."""

    def __init__(
        self,
        tls: SSL.Connection,
        user: StreamUser,
        local: Address,
        remote: Address,
        send: Callable[[bytes], None],
        forget: Callable[[DtlsAssociation], None],
        datagram_bytes: int,
        *,
        is_server: bool,
    ) -> None:
        self.remote: tuple[str, int] = remote
        self.local: tuple[str, int] = local
        self.is_server = is_server
        self.is_up = False
        self.is_stalled = False
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tls = tls
        self._user = user
        self._send = send
        self._forget = forget
        self._datagram_bytes = datagram_bytes
        self._has_begun = is_server
        self._is_over = False
        self._held: list[bytes] = []
        self._repeated = 0
        self._retransmission: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Say ClientHello, or answer it; unless nobody wants it any more."""
        if not self._is_over:
            self._be_patient()
            self._advance()

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
        """Say goodbye, once and without knowing whether it arrives; `stream_down` follows."""
        if self._is_over:
            return
        if self.is_up:
            try:
                self._tls.shutdown()
            except SSL.Error as error:
                reason = describe(error)
            self._flush()
        self.abort(reason)

    def abort(self, reason: str) -> None:
        """Forget the association; `stream_down` follows."""
        if self._is_over:
            return
        self._is_over = True
        for timer in (self._retransmission, self._patience):
            if timer is not None:
                timer.cancel()
        if not self.answered.done():
            self.answered.set_exception(ConnectionError(reason))
            # Whoever waits for it hears it; often nobody does.
            self.answered.exception()
        self._forget(self)
        asyncio.get_running_loop().call_soon(self._user.stream_down, self, reason)

    # For the socket

    def take(self, data: bytes) -> None:
        """A datagram from the other end, or from who pretends to be it."""
        if self._is_over:
            return
        if not self.answered.done():
            self.answered.set_result(None)
        if not self._has_begun:
            if len(self._held) < HELD_MAX:
                self._held.append(data)
            return
        self._tls.bio_write(data)
        self._advance()

    # Inside

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = asyncio.get_running_loop().call_later(HANDSHAKE_MAX_S, self._give_up)

    def _give_up(self) -> None:
        self.is_stalled = self.answered.done()
        self.abort("DTLS handshake timed out")

    def _advance(self) -> None:
        """Let the handshake go on, or take what was decrypted; then send what DTLS has to say."""
        try:
            if not self.is_up:
                self._handshake()
            # Also where there is nothing to be read: a last flight that was lost is repeated from in here.
            messages = self._read() if self.is_up else []
        except SSL.ZeroReturnError:
            self.close("closed by the other end")
            return
        except SSL.Error as error:
            self._flush()
            self.abort(describe(error))
            return
        self._flush()
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
        self._flush()
        self._user.stream_up(self, certificates_of(self._tls))

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

    def _flush(self) -> None:
        for datagram in _take_datagrams(self._tls, self._datagram_bytes):
            self._send(datagram)

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
            self._datagram_bytes = min(self._datagram_bytes, NARROW_BYTES - IP_UDP_BYTES)
            self._tls.set_ciphertext_mtu(self._datagram_bytes)
        try:
            self._tls.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self.abort(describe(error))
            return
        self._flush()
        self._await_flight()


class DtlsListener:
    """One UDP port, for the associations of all who dial us."""

    def __init__(
        self, context: Callable[[], SSL.Context], user: StreamUser, accept: Accept, datagram_bytes: int
    ) -> None:
        """`context` is asked whenever one is wanted; `accept` is told of each association that begins."""
        self._context = context
        self._user = user
        self._accept = accept
        self._datagram_bytes = datagram_bytes
        self._socket: DatagramSocket | None = None
        self._listening: SSL.Connection | None = None
        self._handshaking: dict[Address, DtlsAssociation] = {}
        self._up: dict[Address, DtlsAssociation] = {}

    async def bind(self, address: Address) -> Address:
        """Listen; the address that it is. Raises LocalMisuse if it is taken."""
        self._socket = await DatagramSocket.bind(*address, self._arrived, receive_bytes=RECEIVE_BYTES)
        return self._socket.local

    def close(self) -> None:
        """Give the port back; the associations are their user's to close before."""
        if self._socket is not None:
            self._socket.close()

    def _arrived(self, local: Address, remote: Address, data: bytes) -> None:
        newcomer, known = self._handshaking.get(remote), self._up.get(remote)
        if newcomer is not None:
            newcomer.take(data)
            if newcomer.is_up and self._handshaking.pop(remote, None) is not None:
                self._up[remote] = newcomer
                if known is not None:
                    known.abort("the other end has begun anew")
                return
        if known is not None:
            # What is not meant for it, it drops.
            known.take(data)
        if newcomer is None and _is_client_hello(data):
            self._listen(local, remote, data)

    def _listen(self, local: Address, remote: Address, data: bytes) -> None:
        """Answer a ClientHello with a cookie; begin if it brings one."""
        context = self._context()
        if self._listening is None or self._listening.get_context() is not context:
            self._listening = SSL.Connection(context)
            self._listening.set_ciphertext_mtu(self._datagram_bytes)
            self._listening.set_accept_state()
        tls = self._listening
        tls.set_app_data(remote)
        tls.bio_write(data)
        try:
            tls.DTLSv1_listen()
        except SSL.WantReadError:
            for datagram in _take_datagrams(tls, self._datagram_bytes):
                self._send(local, remote, datagram)
            return
        except SSL.Error:
            # It is no ClientHello after all; what it did to this connection nobody needs to know.
            self._listening = None
            return
        self._listening = None
        association = DtlsAssociation(
            tls,
            self._user,
            local,
            remote,
            lambda datagram: self._send(local, remote, datagram),
            self._forget,
            self._datagram_bytes,
            is_server=True,
        )
        association.answered.set_result(None)
        self._handshaking[remote] = association
        self._accept(association)
        self._user.stream_accepted(association)
        association.start()

    def _send(self, local: Address, remote: Address, datagram: bytes) -> None:
        if self._socket is not None:
            self._socket.send(remote, datagram, local.host)

    def _forget(self, association: DtlsAssociation) -> None:
        remote = Address(*association.remote)
        for known in (self._handshaking, self._up):
            if known.get(remote) is association:
                del known[remote]


async def connect_dtls(context: SSL.Context, user: StreamUser, remote: Address, datagram_bytes: int) -> DtlsAssociation:
    """Say ClientHello to a remote; the association as soon as anything comes back. Raises ConnectionError if nothing
    can, in the words of the system.
    """
    association: DtlsAssociation

    def refused(error: Exception) -> None:
        association.abort(words(error))

    try:
        socket = await DatagramSocket.connect(remote, lambda _, __, data: association.take(data), refused)
    except REFUSALS as error:
        raise ConnectionError(words(error)) from None
    tls = SSL.Connection(context)
    tls.set_ciphertext_mtu(datagram_bytes)
    tls.set_connect_state()
    association = DtlsAssociation(
        tls,
        user,
        socket.local,
        remote,
        lambda datagram: socket.send(remote, datagram),
        lambda _: socket.close(),
        datagram_bytes,
        is_server=False,
    )
    association.start()
    try:
        await association.answered
    except asyncio.CancelledError:
        association.abort("not wanted any more")
        raise
    return association


def _is_client_hello(data: bytes) -> bool:
    """True for what may begin an association: a handshake record of epoch 0 with a ClientHello."""
    is_first = len(data) > RECORD_HEADER_BYTES and data[0] == HANDSHAKE and data[3:5] == EPOCH_ZERO
    return is_first and data[RECORD_HEADER_BYTES] == CLIENT_HELLO


def _take_datagrams(tls: SSL.Connection, datagram_bytes: int) -> list[bytes]:
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
