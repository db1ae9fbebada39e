"""Secured connections of a machine: handshakes over its streams and its datagrams, dialled and accepted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.address import Address
from p2psip.reload.paths.demux import Associations, DatagramKind, Pair, hello_random, kind_of
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.handshake import Handshake, HandshakeFailed, verify_request
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.packet import ANY_HOSTS, SocketRefused
from p2psip.sim.ip.virtual_streams import TIMED_OUT, VirtualStream

HANDSHAKE_MAX_S = 10.0
STALL_S = 4.0
"""A handshake over a stream in which nothing has come for so long, after this end had spoken, stands still."""

WIDE_FLIGHTS_MAX = 2
"""How often a flight is repeated before it goes out in smaller pieces (RFC 6347 section 4.1.1.1)."""

EARLY_S = 0.4
"""After how long a flight that nothing has answered goes once more, whatever OpenSSL's clock says."""

FLIGHT_S = 1.0
"""RFC 6347 section 4.2.4.1: "an initial timer value of 1 second", which doubles."""
PATH_MTU = 1280
NARROW_BYTES = 576
IP_UDP_BYTES = 48
IP_TCP_BYTES = 60


class ConnectionUser(Protocol):
    """Who connections report to. One is up at most once, and down exactly once."""

    def connection_answered(self, connection: SecuredConnection) -> None:
        """The other end of one that was dialled has answered at all; `secure` lets the handshake go on."""

    def connection_up(self, connection: SecuredConnection, certificates: tuple[bytes, ...]) -> None:
        """The handshake is done."""

    def connection_data(self, connection: SecuredConnection, data: bytes) -> None:
        """Some bytes of a stream, or all of a datagram."""

    def connection_down(self, connection: SecuredConnection, reason: str) -> None:
        """It is gone."""


class SecuredConnection(Protocol):
    """What both kinds can do."""

    local: Address
    remote: Address
    is_server: bool
    is_stalled: bool
    """True of one that is down because nothing went on any more, though the other end had answered."""

    @property
    def datagram_bytes(self) -> int | None:
        """What one datagram carries; None of a stream."""

    @property
    def protocol(self) -> bytes:
        """What a stream is for, if it is no link."""

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
        self,
        machine: Machine,
        stream: VirtualStream,
        own: Credentials,
        user: ConnectionUser,
        *,
        is_server: bool,
        is_dialled: bool = False,
        protocol: bytes = b"",
    ) -> None:
        """A server that `is_dialled` has not accepted the stream: both ends have opened it."""
        self.local, self.remote, self.is_server = stream.local, stream.remote, is_server
        self._machine = machine
        self._stream = stream
        self._session = Handshake(own.certificates, own.rng, is_server=is_server, protocol=protocol)
        self._user = user
        self._is_over = False
        self.is_stalled = False
        self._progress = 0
        self._is_accepted = is_server and not is_dialled
        stream.user = self
        if self._is_accepted:
            self._be_patient()

    @property
    def datagram_bytes(self) -> None:
        """It has no datagrams."""
        return None

    @property
    def protocol(self) -> bytes:
        """What the client has come for; nothing for a link."""
        return self._session.protocol

    def secure(self) -> None:
        """Begin the handshake, or wait for the other end's beginning."""
        self._be_patient()
        if not self.is_server:
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

    def stream_connected(self, stream: VirtualStream) -> None:
        """The other end has answered."""
        if not self._is_accepted:
            self._user.connection_answered(self)

    def stream_data(self, stream: VirtualStream, data: bytes) -> None:
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

    def stream_ended(self, stream: VirtualStream) -> None:
        """The other end sends no more."""
        self.close("closed by the other end")

    def stream_lost(self, stream: VirtualStream, reason: str) -> None:
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
    """A connection over datagrams, at a `DatagramPort` that it shares with others."""

    def __init__(
        self, machine: Machine, pair: Pair, session: Handshake, user: ConnectionUser, port: DatagramPort
    ) -> None:
        self.pair = pair
        self.local, self.remote = pair
        self.is_server = session.is_server
        self._machine = machine
        self._session = session
        self._user = user
        self._port = port
        self._has_answered = session.is_server
        self._held: list[bytes] | None = None if session.is_server else []
        self._is_over = False
        self.is_stalled = False
        self._flights = 0
        self._repeated = 0
        machine.at(machine.now + HANDSHAKE_MAX_S, self._overdue)

    @property
    def protocol(self) -> bytes:
        """It is always a link."""
        return b""

    @property
    def datagram_bytes(self) -> int | None:
        """What one datagram carries."""
        return self._session.datagram_bytes

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
            self._port.forget(self)
            self._user.connection_down(self, reason)

    def give_way(self) -> None:
        """The other end has begun one at the same time, which goes on instead; nobody hears of this one any more."""
        self._is_over = True
        self._port.forget(self)

    def move(self, port: DatagramPort, pair: Pair) -> None:
        """Its datagrams go between these two from now on, by this port."""
        if port is not self._port:
            self._port.forget(self)
        self._port, self.pair = port, pair
        self.local, self.remote = pair

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
            self._port.up(self)
            self._user.connection_up(self, self._session.certificates)
        elif self._flights == before:
            self._flights += 1
            self._repeat_later()
        for each in written:
            if not self._is_over:
                self._user.connection_data(self, each)

    def _repeat_later(self) -> None:
        flight = self._flights

        def is_unanswered() -> bool:
            return not self._is_over and not self._session.is_up and flight == self._flights

        def early() -> None:
            if is_unanswered():
                self._session.repeat()
                self._flush()

        def due(delay_s: float) -> None:
            if is_unanswered():
                self._repeated += 1
                if self._repeated == WIDE_FLIGHTS_MAX:
                    self._session.narrow(NARROW_BYTES - IP_UDP_BYTES)
                self._session.repeat()
                self._flush()
                self._machine.at(self._machine.now + 2 * delay_s, lambda: due(2 * delay_s))

        self._machine.at(self._machine.now + EARLY_S, early)
        self._machine.at(self._machine.now + FLIGHT_S, lambda: due(FLIGHT_S))

    def _flush(self) -> None:
        for data in self._session.drain():
            self._port.send(self.remote, data, self.local)

    def _overdue(self) -> None:
        if not self._session.is_up:
            self.is_stalled = self._has_answered
            self.abort("DTLS handshake timed out")


class DatagramPort:
    """One UDP port for all associations, those that others begin and our own; whose a datagram is the core of
    `p2psip.reload.paths.demux` says.
    """

    def __init__(
        self,
        machine: Machine,
        local: Address,
        own: Credentials,
        user: ConnectionUser,
        accept: Callable[[Association, Association | None], None],
        stun: Callable[[Address, Address, bytes], None],
        datagram_bytes: Callable[[], int],
    ) -> None:
        """`accept` is told of each association that others begin, with ours if it takes the place of one that we have
        begun, as both ends do at once. `stun` has local address, remote and what came. Raises SocketRefused if the port
        cannot be had.
        """
        self._machine = machine
        self._own = own
        self._user = user
        self._accept = accept
        self._stun = stun
        self._datagram_bytes = datagram_bytes
        self._secret = own.rng.randbytes(32)
        self._associations: Associations[Association] = Associations()
        self._relayed: dict[Address, Callable[[Address, bytes], None]] = {}
        self._socket = machine.udp(local, self._received)
        self.local = self._socket.local
        self._socket.refused = self._refused

    def dial(self, remote: Address, datagram_bytes: int, local: Address | None = None) -> Association:
        """An association that is being made; the other end's, if it is just making one. `local` may be a relayed
        address. Raises SocketRefused.
        """
        pair = Pair(local if local in self._relayed and local is not None else self._local(remote), remote)
        if (theirs := self._associations.newcomer(pair)) is not None and theirs.is_server:
            self._machine.at(self._machine.now, lambda: self._user.connection_answered(theirs))
            return theirs
        made = self._begin(pair, is_server=False, datagram_bytes=datagram_bytes)
        made.begin()
        return made

    def use_relayed(self, relayed: Address, send: Callable[[Address, bytes], None]) -> None:
        """An address at a relay is one of ours: what goes from there is `send`'s to do."""
        self._relayed[relayed] = send

    def drop_relayed(self, relayed: Address) -> None:
        """It is ours no more; no matter if it was not."""
        self._relayed.pop(relayed, None)

    def has(self, local: Address) -> bool:
        """True for an address from which datagrams go by this port."""
        return local == self.local or local in self._relayed

    def send(self, remote: Address, data: bytes, local: Address | None = None) -> None:
        """What the machine refuses is as good as lost. `local` may be a relayed address."""
        if local is not None and (relayed := self._relayed.get(local)) is not None:
            relayed(remote, data)
            return
        try:
            self._socket.send(remote, data)
        except SocketRefused:
            return

    def up(self, association: Association) -> None:
        """A handshake is done: whoever was there before is over."""
        self._replace(self._associations.up(association.pair, association))

    def _replace(self, before: Association | None) -> None:
        if before is not None:
            # After its user has heard of the new one.
            self._machine.at(self._machine.now, lambda: before.abort("the other end has begun anew"))

    def move(self, association: Association, pair: Pair) -> None:
        """Its datagrams go between these two from now on."""
        here = association.pair
        association.move(self, pair)
        self._replace(self._associations.move(association, here, pair))

    def forget(self, association: Association) -> None:
        """It is over."""
        self._associations.forget(association.pair, association)

    def _begin(self, pair: Pair, *, is_server: bool, datagram_bytes: int, said: bytes = b"") -> Association:
        session = Handshake(self._own.certificates, self._own.rng, is_server=is_server, datagram_bytes=datagram_bytes)
        made = Association(self._machine, pair, session, self._user, self)
        before = self._associations.begin(pair, made, said or session.client_random, is_client=not is_server)
        ours = before if is_server and before is not None and not before.is_server else None
        if is_server:
            self._accept(made, ours)
        if ours is not None:
            ours.give_way()
        elif before is not None:
            before.abort("begun anew")
        return made

    def _received(self, socket: UdpSocket, remote: Address, data: bytes) -> None:
        self.came(Pair(self._local(remote), remote), data)

    def came(self, pair: Pair, data: bytes) -> None:
        """A datagram has come, to this port or to a relayed address."""
        kind, remote = kind_of(data), pair.remote
        if kind in (DatagramKind.STUN, DatagramKind.CHANNEL):
            self._stun(*pair, data)
        if kind is not DatagramKind.DTLS:
            return
        takers, begins = self._associations.route(pair, data)
        if begins:
            said = hello_random(data)
            assert said is not None, "only a ClientHello begins"
            if (answer := verify_request(self._secret, str(remote), data)) is not None:
                self.send(remote, answer, pair.local)
                return
            takers = (self._begin(pair, is_server=True, datagram_bytes=self._datagram_bytes(), said=said),)
        for association in takers:
            association.take(data)

    def _local(self, remote: Address) -> Address:
        local = self._socket.local
        return local if local.host not in ANY_HOSTS else local._replace(host=self._machine.local_towards(remote.host))

    def _refused(self, remote: Address, reason: str) -> None:
        """ICMP: nobody is there. Who is up has proved the contrary."""
        for association in self._associations.towards(remote):
            if not association.is_server:
                association.abort(reason)


def dial_stream(
    machine: Machine,
    remote: Address,
    own: Credentials,
    user: ConnectionUser,
    path_mtu: int,
    protocol: bytes = b"",
    *,
    local: Address | None = None,
    is_server: bool = False,
) -> SecuredStream:
    """A connection that is being made, from a `local` port if it matters which. Raises SocketRefused."""
    stream = machine.connect(remote, mss_bytes=path_mtu - IP_TCP_BYTES, local=local)
    return SecuredStream(machine, stream, own, user, is_server=is_server, is_dialled=True, protocol=protocol)
