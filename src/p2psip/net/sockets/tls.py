"""TLS over TCP for overlay links and for SIP between peers: pyOpenSSL's memory BIO under an asyncio.BufferedProtocol.

The standard ssl module cannot accept a client's certificate without checking it against a list of authorities of
its own; here whoever has a certificate is let through the handshake, and the core decides with the overlay's trust
anchors, its `bad-node` list and the date, before it takes one byte from the connection (RFC 6940 section 6.5.1.11).
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL, crypto

from p2psip.net.sockets.addresses import address_of, words
from p2psip.net.sockets.psk import require_shared_secret
from p2psip.reload.paths.values import CALL_RECORDS
from p2psip.turn.methods import is_of_stream
from p2psip.turn.values import STUN_TURN

PROTOCOLS = (STUN_TURN, CALL_RECORDS)
"""What a stream may be for that is no link."""

HANDSHAKE_MAX_S = 10.0
STALL_S = 4.0
"""A handshake in which nothing has come for so long, after we had said something, stands still."""

GOODBYE_MAX_S = 5.0
"""How long a closed stream may take to get rid of what was written to it."""

WRITE_BUFFER_MAX = 4 * 1024 * 1024
"""A remote that reads more slowly than this many bytes pile up is cut off."""

READ_BYTES = 65536

FRESH_BYTES = 32 * 1024
"""What the system may hold of a stream that carries datagrams: half a second of three calls with G.711."""

DTLS1_2_VERSION = 0xFEFD
"""RFC 6347 section 4.1; pyOpenSSL has no name for it."""


class SocketStream(Protocol):
    """A secured connection, of TLS or (p2psip.net.sockets.dtls) of DTLS."""

    remote: tuple[str, int]
    local: tuple[str, int]
    is_server: bool
    is_stalled: bool
    """True of one that is down because nothing went on any more, though the other end had answered."""
    protocol: bytes
    """What the client has come for (ALPN, RFC 7301), once it is up; nothing for a link."""

    @property
    def datagram_bytes(self) -> int | None:
        """How much one datagram carries, each of which arrives whole or not at all; None of a stream of bytes."""

    @property
    def backlog_bytes(self) -> int:
        """What was written and the system has not taken, as the other end does not read it."""

    @property
    def is_connected(self) -> bool:
        """True from when the other end has answered at all to when the connection is down."""

    def begin(self) -> None:
        """Start the handshake: a server does by itself, a client when its user has chosen this connection."""

    def write(self, data: bytes) -> None:
        """Send; after the stream is down it is dropped."""

    def close(self, reason: str) -> None:
        """Say goodbye and close; `stream_down` follows."""

    def abort(self, reason: str) -> None:
        """Cut the connection; `stream_down` follows."""


TURN_BYTES = 8192
"""What is taken from one connection before it is the turn of the next: whoever floods keeps nobody waiting for long."""


class _Turn(threading.local):
    """Where a loop puts what it has read, until the connection has taken it, which is at once; each thread's loop."""

    def __init__(self) -> None:
        self.buffer = bytearray(TURN_BYTES)


_turn = _Turn()


class StreamUser(Protocol):
    """Who a stream reports to. The stream is up at most once, and down exactly once."""

    def stream_accepted(self, stream: SocketStream) -> None:
        """A connection was accepted, and its handshake is about to begin, unless it is aborted now."""

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        """The handshake is done; the remote's certificates in DER, its own first."""

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        """Bytes came: some of a stream, or all of a datagram."""

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        """The stream is gone, for this reason."""


def make_context(
    certificates: Sequence[bytes],
    key: PrivateKeyTypes,
    *,
    is_datagram: bool = False,
    shared_secret: str | None = None,
    keylog: Callable[[bytes], None] | None = None,
) -> SSL.Context:
    """A context for both roles, of TLS or DTLS. `certificates` are DER, our own first; `keylog` takes lines for tshark.

    With `shared_secret` only who knows it as well gets through the handshake (13.4).
    """
    context = SSL.Context(SSL.DTLS_METHOD if is_datagram else SSL.TLS_METHOD)
    context.set_min_proto_version(DTLS1_2_VERSION if is_datagram else SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _let_the_core_decide)
    own, *others = (x509.load_der_x509_certificate(der) for der in certificates)
    context.use_certificate(own)
    for other in others:
        context.add_extra_chain_cert(other)
    context.use_privatekey(key)  # type: ignore[arg-type]  # the overlay's keys are EC or RSA, both of which it takes
    # Links live long and there are few: no session tickets, which would only be more state to protect.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_alpn_select_callback(_choose_protocol)
    if is_datagram:
        # The MTU is what we say: a memory BIO that is asked for it knows nothing, and 256 bytes are assumed.
        context.set_options(SSL.OP_NO_QUERY_MTU)
    if shared_secret is not None:
        require_shared_secret(context, shared_secret, is_datagram=is_datagram)
    if keylog is not None:
        context.set_keylog_callback(lambda _, line: keylog(line))
    return context


def _let_the_core_decide(*_: object) -> bool:
    return True


def _choose_protocol(_: SSL.Connection, offered: list[bytes]) -> bytes:
    """RFC 7301 section 3.2. Who offers nothing but what we do not know has none of it, and may want a link."""
    # The type stubs know NO_OVERLAPPING_PROTOCOLS by a name of its own.
    none = cast(bytes, SSL.NO_OVERLAPPING_PROTOCOLS)
    return next((each for each in PROTOCOLS if each in offered), none)


class TlsStream(asyncio.BufferedProtocol):
    """One TLS connection. Create it as the protocol of `create_connection` or of a server."""

    def __init__(
        self,
        context: SSL.Context,
        user: StreamUser,
        *,
        is_server: bool,
        is_dialled: bool = False,
        protocol: bytes = b"",
        takes_turn_in_clear: bool = False,
        asks_for: str = "",
    ) -> None:
        """A client that has come for a `protocol` is up only if the server takes it. A client of TURN does without TLS
        where that is permitted: what is relayed is secured by itself, and requests prove who makes them. A server that
        `is_dialled` has not accepted the connection: both ends have opened it. A client `asks_for` the certificate of
        that name, of several that the server may have (RFC 6066 section 3).
        """
        self.remote: tuple[str, int] = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        self.is_server = is_server
        self._is_accepted = is_server and not is_dialled
        self.is_stalled = False
        self.protocol = protocol
        self._takes_turn_in_clear = takes_turn_in_clear
        self._is_clear = False
        self._user = user
        self._tls = SSL.Connection(context)
        if is_server:
            self._tls.set_accept_state()
        else:
            self._tls.set_connect_state()
            if protocol:
                self._tls.set_alpn_protos([protocol])
            if asks_for:
                self._tls.set_tlsext_host_name(asks_for.encode("idna"))
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket
        self._is_up = False
        self._has_spoken = False
        self._is_closing = False
        self._reason = ""
        self._patience: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        remote, local, self._socket = map(transport.get_extra_info, ("peername", "sockname", "socket"))
        if remote is None or local is None:
            # A connection that was reset before we could look at it.
            self.abort("closed by the other end")
            return
        self.remote, self.local = address_of(remote), address_of(local)
        if self._is_accepted:
            self._user.stream_accepted(self)
            if self.is_connected:
                self.begin()

    def get_buffer(self, sizehint: int) -> bytearray:
        return _turn.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_closing:
            return
        data = bytes(memoryview(_turn.buffer)[:nbytes])
        if self._takes_turn_in_clear and not self._has_spoken and not self._is_up and is_of_stream(data[0]):
            self._is_clear = True
            self.protocol = STUN_TURN
            self._come_up(())
        if self._is_clear:
            self._user.stream_data(self, data)
            return
        self._tls.bio_write(data)
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._may_write.set()
        if self._patience is not None:
            self._patience.cancel()
        self._stall_at(None)
        self.is_stalled = self.is_stalled or isinstance(exc, TimeoutError)
        # It is down once, and has nobody to tell anything any more: a user that has it does not wait for the collector.
        user = self._user
        del self._user
        user.stream_down(self, self._reason or (words(exc) if exc else "closed by the other end"))

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()
        if self._is_closing:
            # Not from in here: the transport would close what has failed a second time.
            asyncio.get_running_loop().call_soon(self._end_if_written)

    # For the user

    @property
    def is_connected(self) -> bool:
        """True from when the TCP connection is up to when it is down."""
        return self._transport is not None and not self._is_closing and not self._transport.is_closing()

    @property
    def datagram_bytes(self) -> None:
        """It has no datagrams."""
        return None

    @property
    def is_up(self) -> bool:
        """True once the handshake is done."""
        return self._is_up

    @property
    def backlog_bytes(self) -> int:
        """What was written and the system has not taken, as the other end does not read it."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def begin(self) -> None:
        """Start the handshake: of a connection that was accepted it does by itself, of another when its user has chosen
        it.
        """
        if self._transport is not None:
            self._be_patient(HANDSHAKE_MAX_S, "TLS handshake timed out")
            self._advance()

    def write(self, data: bytes) -> None:
        """Send bytes; after the stream is down they are dropped."""
        if self._transport is None or not self.is_connected or not self._is_up:
            return
        if self._is_clear:
            self._transport.write(data)
            return
        try:
            self._tls.sendall(data)
        except SSL.Error as error:
            self.abort(describe(error))
            return
        self._flush()

    async def drain(self) -> None:
        """Wait until the other end has taken most of what was written; at once if the stream is down."""
        await self._may_write.wait()

    def pause_reading(self) -> None:
        """Take no more bytes for now: TCP tells the other end."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self, reason: str) -> None:
        """Say goodbye and close; `stream_down` follows."""
        if self._transport is None or self._is_closing:
            return
        self._reason = self._reason or reason
        if self._is_up and not self._is_clear:
            try:
                self._tls.shutdown()
            except SSL.Error as error:
                self.abort(describe(error))
                return
            self._flush()
        if self._transport is not None:
            # Not closed outright: what the other end has sent meanwhile would make it a reset, and our last words lost.
            self._is_closing = True
            self._be_patient(GOODBYE_MAX_S, reason)
            # From now on `resume_writing` comes when all is out.
            self._transport.set_write_buffer_limits(high=0)
            self._end_if_written()

    def keep_fresh(self) -> None:
        """Let the system hold no more than a moment's worth of what the other end has not taken."""
        if self.is_connected:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FRESH_BYTES)

    def cut_if_silent(self, silent_s: float) -> None:
        """Cut the connection, as one that is stalled, when what was sent is not acknowledged for so long."""
        if self.is_connected:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(silent_s * 1000))

    def abort(self, reason: str) -> None:
        """Cut the connection; `stream_down` follows."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    # Inside

    def _end_if_written(self) -> None:
        """The end of what we send. asyncio's `write_eof` would do it later by itself, where nobody hears it fail."""
        if self._is_closing and self._transport is not None and not self._transport.get_write_buffer_size():
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                # The other end is gone, and says no more.
                self.abort(self._reason)

    def _be_patient(self, delay_s: float, reason: str) -> None:
        """Cut the connection after this time."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = asyncio.get_running_loop().call_later(delay_s, self.abort, reason)

    def _stall_at(self, delay_s: float | None) -> None:
        """Take the handshake for stalled then, unless something comes."""
        if self._stall is not None:
            self._stall.cancel()
        self._stall = None if delay_s is None else asyncio.get_running_loop().call_later(delay_s, self._give_up)

    def _give_up(self) -> None:
        self.is_stalled = True
        self.abort("TLS handshake stalled")

    def _advance(self) -> None:
        """Let the handshake go on, or take what was decrypted; then write what TLS has to say, once."""
        try:
            if not self._is_up:
                self._handshake()
            data = self._read() if self._is_up else b""
        except SSL.ZeroReturnError:
            self.close("closed by the other end")
            return
        except SSL.Error as error:
            self._flush()
            self.abort(describe(error))
            return
        self._flush()
        if not self._is_up and self._has_spoken:
            self._stall_at(STALL_S)
        if data:
            self._user.stream_data(self, data)

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return
        self._flush()
        agreed = self._tls.get_alpn_proto_negotiated()
        if not self.is_server and agreed != self.protocol:
            self.abort(f"the other end does not take {self.protocol.decode()}")
            return
        self.protocol = agreed
        self._come_up(certificates_of(self._tls))

    def _come_up(self, certificates: tuple[bytes, ...]) -> None:
        assert self._patience is not None, "begin() started it"
        self._patience.cancel()
        self._stall_at(None)
        self._is_up = True
        self._user.stream_up(self, certificates)

    def _read(self) -> bytes:
        chunks: list[bytes] = []
        while True:
            try:
                chunks.append(self._tls.recv(READ_BYTES))
            except SSL.WantReadError:
                return b"".join(chunks)
            except SSL.ZeroReturnError:
                if not chunks:
                    raise
                return b"".join(chunks)

    def _flush(self) -> None:
        # A transport whose socket has failed is closing before it says so.
        while self._transport is not None and not self._transport.is_closing():
            try:
                self._transport.write(self._tls.bio_read(READ_BYTES))
            except SSL.WantReadError:
                break
            self._has_spoken = True
        if self.backlog_bytes > WRITE_BUFFER_MAX:
            self.abort("the other end does not read")


def certificates_of(connection: SSL.Connection) -> tuple[bytes, ...]:
    """As the bytes that came: what they mean, if anything, is for the core to say, which expects anything.

    None of an end that had to show none, as a phone has.
    """
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return ()
    own = _der(leaf)
    # A server's chain leaves the client's own certificate out, a client's has the server's.
    chain = (_der(certificate) for certificate in connection.get_peer_cert_chain() or [])
    return (own, *(certificate for certificate in chain if certificate != own))


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def describe(error: SSL.Error) -> str:
    """What OpenSSL says, in words."""
    if error.args and isinstance(error.args[0], list) and error.args[0]:
        return "TLS: " + "; ".join(str(entry[-1]) for entry in error.args[0])
    return "TLS: " + (str(error) or type(error).__name__)
