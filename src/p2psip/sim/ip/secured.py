"""Secured connections of a machine: handshakes over its streams and its datagrams, dialled and accepted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.address import Address
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.handshake import Handshake, HandshakeFailed, hello_random, verify_request
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.packet import SocketRefused
from p2psip.sim.ip.streams import TIMED_OUT, Stream

HANDSHAKE_MAX_S = 10.0
STALL_S = 4.0
"""A handshake over a stream in which nothing has come for so long, after this end had spoken, stands still."""

WIDE_FLIGHTS_MAX = 2
"""How often a flight is repeated before it goes out in smaller pieces (RFC 6347 section 4.1.1.1)."""

FLIGHT_S = 1.0
"""RFC 6347 section 4.2.4.1: "an initial timer value of 1 second", which doubles."""
PATH_MTU = 1280
NARROW_BYTES = 576
IP_UDP_BYTES = 48
IP_TCP_BYTES = 60


class ConnectionUser(Protocol):
    """Who connections report to. One is up at most once, and down exactly once."""

    def connection_answered(self, connection: Connection) -> None:
        """The other end of one that was dialled has answered at all; `secure` lets the handshake go on."""

    def connection_up(self, connection: Connection, certificates: tuple[bytes, ...]) -> None:
        """The handshake is done."""

    def connection_data(self, connection: Connection, data: bytes) -> None:
        """Some bytes of a stream, or all of a datagram."""

    def connection_down(self, connection: Connection, reason: str) -> None:
        """It is gone."""


class Connection(Protocol):
    """What both kinds can do."""

    local: Address
    remote: Address
    is_server: bool
    is_stalled: bool
    """True of one that is down because nothing went on any more, though the other end had answered."""

    @property
    def datagram_bytes(self) -> int | None:
        """What one datagram carries; None of a stream."""

    def secure(self) -> None:
        """A client whose other end has answered: go on."""

    def write(self, data: bytes) -> None:
        """Send, once it is up."""

    def close(self, reason: str) -> None:
        """Say goodbye, and report it down."""

    def abort(self, reason: str) -> None:
        """Cut it, and report it down."""


@dataclass(frozen=True)
class Credentials:
    """What a machine's program shows to others, and the chance that it has."""

    certificates: Sequence[bytes]
    rng: random.Random


class SecuredStream:
    """A connection over a stream (a `StreamUser`)."""

    def __init__(
        self, machine: Machine, stream: Stream, own: Credentials, user: ConnectionUser, *, is_server: bool
    ) -> None:
        self.local, self.remote, self.is_server = stream.local, stream.remote, is_server
        self._machine = machine
        self._stream = stream
        self._session = Handshake(own.certificates, own.rng, is_server=is_server)
        self._user = user
        self._is_over = False
        self.is_stalled = False
        self._progress = 0
        stream.user = self
        if is_server:
            self._be_patient()

    @property
    def datagram_bytes(self) -> None:
        """It has no datagrams."""
        return None

    def secure(self) -> None:
        """Begin the handshake."""
        self._be_patient()
        self._session.begin()
        self._flush()
        self._await_progress()

    def write(self, data: bytes) -> None:
        """Send, once it is up."""
        if self._session.is_up and not self._is_over:
            self._session.write(data)
            self._flush()

    def cut_if_silent(self, silent_s: float) -> None:
        """Give it up, as one that is stalled, when what was sent is not acknowledged for so long."""
        self._stream.user_timeout_s = silent_s

    def close(self, reason: str) -> None:
        """Say goodbye; the stream ends once all is out."""
        if self._session.is_up and not self._is_over:
            self._session.close()
            self._flush()
        self._stream.close()
        self._down(reason)

    def abort(self, reason: str) -> None:
        """Reset the stream."""
        self._stream.abort(reason)
        self._down(reason)

    # StreamUser

    def stream_connected(self, stream: Stream) -> None:
        """The other end has answered."""
        if not self.is_server:
            self._user.connection_answered(self)

    def stream_data(self, stream: Stream, data: bytes) -> None:
        """Bytes have come."""
        if self._is_over:
            return
        was_up = self._session.is_up
        try:
            written = self._session.receive(data)
        except HandshakeFailed as error:
            self.close(str(error))
            return
        self._flush()
        self._await_progress()
        if self._session.is_up and not was_up:
            self._user.connection_up(self, self._session.certificates)
        for each in written:
            if not self._is_over:
                self._user.connection_data(self, each)

    def stream_ended(self, stream: Stream) -> None:
        """The other end sends no more."""
        self.close("closed by the other end")

    def stream_lost(self, stream: Stream, reason: str) -> None:
        """The stream is over."""
        self.is_stalled = self.is_stalled or reason == TIMED_OUT
        self._down(reason)

    # Inside

    def _flush(self) -> None:
        for data in self._session.drain():
            self._stream.write(data)

    def _be_patient(self) -> None:
        self._machine.at(self._machine.now + HANDSHAKE_MAX_S, self._overdue)

    def _overdue(self) -> None:
        if not self._session.is_up:
            self.abort("TLS handshake timed out")

    def _await_progress(self) -> None:
        if self._session.is_up:
            return
        self._progress = progress = self._progress + 1

        def due() -> None:
            if not (self._session.is_up or self._is_over) and progress == self._progress:
                self.is_stalled = True
                self.abort("TLS handshake stalled")

        self._machine.at(self._machine.now + STALL_S, due)

    def _down(self, reason: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._user.connection_down(self, reason)


class Association:
    """A connection over datagrams: the client's has a socket of its own, all of a server's share one."""

    def __init__(
        self,
        machine: Machine,
        socket: UdpSocket,
        remote: Address,
        session: Handshake,
        user: ConnectionUser,
        forget: Callable[[Association], None],
    ) -> None:
        self.local = Address(machine.local_towards(remote.host), socket.local.port)
        self.remote, self.is_server = remote, session.is_server
        self._machine = machine
        self._socket = socket
        self._session = session
        self._user = user
        self._forget = forget
        self._has_answered = session.is_server
        self._held: list[bytes] | None = None if session.is_server else []
        self._is_over = False
        self.is_stalled = False
        self._flights = 0
        self._repeated = 0
        machine.at(machine.now + HANDSHAKE_MAX_S, self._overdue)

    @property
    def datagram_bytes(self) -> int | None:
        """What one datagram carries."""
        return self._session.datagram_bytes

    def was_begun_by(self, said: bytes) -> bool:
        """True if that is the random of its ClientHello."""
        return self._session.client_random == said

    def begin(self) -> None:
        """A client: say hello, as nothing else shows whether anybody is there."""
        self._session.begin()
        self._flush()
        self._repeat_later()

    def secure(self) -> None:
        """Take what has come meanwhile."""
        held, self._held = self._held or [], None
        for data in held:
            self.take(data)

    def write(self, data: bytes) -> None:
        """Send one datagram, once it is up."""
        if self._session.is_up and not self._is_over:
            self._session.write(data)
            self._flush()

    def close(self, reason: str) -> None:
        """Say goodbye, once and without knowing whether it arrives."""
        if self._session.is_up and not self._is_over:
            self._session.close()
            self._flush()
        self.abort(reason)

    def abort(self, reason: str) -> None:
        """Forget it."""
        if not self._is_over:
            self._is_over = True
            self._forget(self)
            self._user.connection_down(self, reason)

    def take(self, data: bytes) -> None:
        """A datagram of the other end."""
        if self._is_over:
            return
        if self._held is not None:
            self._held.append(data)
            if not self._has_answered:
                self._has_answered = True
                self._user.connection_answered(self)
            return
        was_up, before = self._session.is_up, self._flights
        try:
            written = self._session.receive(data)
        except HandshakeFailed as error:
            self.abort(str(error))
            return
        self._flush()
        if self._session.is_up and not was_up:
            self._user.connection_up(self, self._session.certificates)
        elif self._flights == before:
            self._flights += 1
            self._repeat_later()
        for each in written:
            if not self._is_over:
                self._user.connection_data(self, each)

    def _repeat_later(self) -> None:
        flight = self._flights

        def due(delay_s: float) -> None:
            if not self._is_over and not self._session.is_up and flight == self._flights:
                self._repeated += 1
                if self._repeated == WIDE_FLIGHTS_MAX:
                    self._session.narrow(NARROW_BYTES - IP_UDP_BYTES)
                self._session.repeat()
                self._flush()
                self._machine.at(self._machine.now + 2 * delay_s, lambda: due(2 * delay_s))

        self._machine.at(self._machine.now + FLIGHT_S, lambda: due(FLIGHT_S))

    def _flush(self) -> None:
        for data in self._session.drain():
            try:
                self._socket.send(self.remote, data)
            except SocketRefused:
                # As good as lost.
                return

    def _overdue(self) -> None:
        if not self._session.is_up:
            self.is_stalled = self._has_answered
            self.abort("DTLS handshake timed out")


class DatagramListener:
    """One port for all associations that others begin."""

    def __init__(
        self,
        machine: Machine,
        local: Address,
        own: Credentials,
        user: ConnectionUser,
        accept: Callable[[Association], None],
        datagram_bytes: Callable[[], int],
    ) -> None:
        """`accept` is told of each association that begins; raises SocketRefused if the port cannot be had."""
        self._machine = machine
        self._own = own
        self._user = user
        self._accept = accept
        self._datagram_bytes = datagram_bytes
        self._secret = own.rng.randbytes(32)
        self._associations: dict[Address, Association] = {}
        self._socket = machine.udp(local, self._received)

    def _received(self, socket: UdpSocket, remote: Address, data: bytes) -> None:
        known = self._associations.get(remote)
        said = hello_random(data)
        if said is not None and (known is None or not known.was_begun_by(said)):
            if (answer := verify_request(self._secret, str(remote), data)) is not None:
                socket.send(remote, answer)
                return
            session = Handshake(
                self._own.certificates, self._own.rng, is_server=True, datagram_bytes=self._datagram_bytes()
            )
            if known is not None:
                known.abort("the other end has begun anew")
            known = self._associations[remote] = Association(
                self._machine, socket, remote, session, self._user, self._forget
            )
            self._accept(known)
        if known is not None:
            known.take(data)

    def _forget(self, association: Association) -> None:
        if self._associations.get(association.remote) is association:
            del self._associations[association.remote]


def dial_stream(
    machine: Machine, remote: Address, own: Credentials, user: ConnectionUser, path_mtu: int
) -> SecuredStream:
    """A connection that is being made. Raises SocketRefused."""
    stream = machine.connect(remote, mss_bytes=path_mtu - IP_TCP_BYTES)
    return SecuredStream(machine, stream, own, user, is_server=False)


def dial_datagrams(
    machine: Machine, remote: Address, own: Credentials, user: ConnectionUser, datagram_bytes: int
) -> Association:
    """The same, over UDP."""
    session = Handshake(own.certificates, own.rng, is_server=False, datagram_bytes=datagram_bytes)
    socket = machine.udp(Address(machine.local_towards(remote.host), 0), lambda _, source, data: _taken(source, data))
    made = Association(machine, socket, remote, session, user, lambda _: socket.close())
    socket.refused = lambda _, reason: made.abort(reason)

    def _taken(source: Address, data: bytes) -> None:
        if source == remote:
            made.take(data)

    made.begin()
    return made
