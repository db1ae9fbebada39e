"""A node on a virtual machine: what `p2psip.net.node_host` is on real sockets, in virtual time.

One input, drain the effects, re-arm, next. `now` is the machine's time since boot.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect, Note
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.paths.demux import Pair
from p2psip.reload.paths.relays.relay_values import (
    AtRelayPort,
    DropRelayed,
    OpenRelayPort,
    RelayedCame,
    RelayedGoes,
    RelayPortOpened,
    RelayStreamCame,
    RelayStreamUp,
    UseRelayed,
    WriteStream,
)
from p2psip.reload.paths.values import (
    Accepted,
    AcceptNarrow,
    CloseSpare,
    CutIfSilent,
    HangUp,
    LanArrived,
    Listening,
    MoveLink,
    Open,
    Opened,
    PathEvent,
    Secure,
    SendMulticast,
    SendOnLan,
    SendSpare,
    SendStun,
    SpareArrived,
    SpareOpened,
    Stalled,
    StunArrived,
)
from p2psip.reload.storage.store.records import Commit
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.packet import SocketRefused
from p2psip.sim.ip.secured import (
    IP_TCP_BYTES,
    IP_UDP_BYTES,
    NARROW_BYTES,
    PATH_MTU,
    Association,
    Credentials,
    DatagramPort,
    SecuredConnection,
    SecuredStream,
    dial_stream,
)
from p2psip.sim.ip.virtual_streams import VirtualStream, VirtualStreamListener
from p2psip.sim.sites.disk import Disk
from p2psip.turn.values import STUN_TURN, CloseRelay, TurnRelay

LAN_GROUP = Address("239.255.60.84", 6085)
"""Where questions to all on a link go; over IPv4 alone."""


class Core(Protocol):
    """What is driven: a node with something around it."""

    def start(self, now: float) -> None: ...

    def set_wall_clock(self, wall: WallClock, now: float) -> None: ...

    def handle_path(self, event: PathEvent, now: float) -> None: ...

    def handle_link_up(self, link: LinkUp, now: float) -> None: ...

    def handle_link_data(self, number: int, data: bytes, now: float) -> None: ...

    def handle_link_down(self, number: int, reason: str, now: float) -> None: ...

    def handle_answer(self, token: int, answer: object, now: float) -> None: ...

    def handle_timeout(self, now: float) -> None: ...

    def next_deadline(self) -> Deadline | None: ...

    def drain(self) -> list[Effect]: ...


class NodeDriver:
    """Links, timers and the disk of one node (a `ConnectionUser`). What is for the program around it is in `events`."""

    def __init__(self, machine: Machine, core: Core, own: Credentials, disk: Disk) -> None:
        self.machine = machine
        self.events: list[tuple[float, Effect]] = []
        """(when, what), in seconds of the world."""
        self._core = core
        self._own = own
        self._disk = disk
        self._path_mtu = PATH_MTU
        self._accepted_mtu = PATH_MTU
        self._listeners: list[VirtualStreamListener] = []
        self._ports: list[DatagramPort] = []
        self._relay_ports: dict[Address, UdpSocket] = {}
        self._for_calls: set[Address] = set()
        self._spares: dict[int, UdpSocket] = {}
        self._listening: set[Address] = set()
        self._accepted = itertools.count(1, 2)
        self._numbers: dict[SecuredConnection, int] = {}
        self._connections: dict[int, SecuredConnection] = {}
        self._effects: deque[Effect] = deque()
        self._is_settling = False
        self._armed_at: float | None = None
        self._lan: UdpSocket | None = None

    def listen(self, addresses: Iterable[Address]) -> None:
        """Accept streams there. Raises SocketRefused."""
        for address in addresses:
            self._listeners.append(self.machine.listen(address, self._accept))
            self._listens(address)

    def listen_datagrams(self, addresses: Iterable[Address], *, is_for_calls: bool = False) -> None:
        """Accept associations there; links are not dialled from where calls are. Raises SocketRefused."""
        for address in addresses:
            bound = self._bind(address)
            if is_for_calls:
                self._for_calls.add(bound.local)
            self._listens(address)

    def listen_lan(self) -> None:
        """Ask on the machine's links, and hear there."""
        self.machine.join(LAN_GROUP, lambda _, remote, data: self._tell(LanArrived(remote, data, True)))
        self._lan = self.machine.udp(
            Address("0.0.0.0", 0), lambda _, remote, data: self._tell(LanArrived(remote, data, False))
        )

    def _bind(self, address: Address) -> DatagramPort:
        made = DatagramPort(
            self.machine,
            address,
            self._own,
            self,
            self._begun,
            lambda local, remote, data: self._tell(StunArrived(local, remote, data)),
            lambda: self._accepted_mtu - IP_UDP_BYTES,
        )
        self._ports.append(made)
        return made

    def _listens(self, address: Address) -> None:
        self._listening.add(address)
        self._tell(Listening(frozenset(self._listening)))

    def _tell(self, event: PathEvent) -> None:
        self.call(lambda now: self._core.handle_path(event, now))

    def call(self, run: Callable[[float], object]) -> None:
        """Give the core one input, then do what it wants done; inputs that this causes are taken in turn."""
        run(self.machine.now)
        self._settle()

    def set_date(self, error_s: float, *, is_trusted: bool = True) -> None:
        """The date of this machine is wrong by so much from now on."""
        clock = self.machine.clock
        clock.date_error_s, clock.is_trusted = error_s, is_trusted
        wall = clock.wall(self.machine.internet.now)
        self.call(lambda now: self._core.set_wall_clock(wall, now))

    # The pump

    def _settle(self) -> None:
        if self._is_settling:
            return
        self._is_settling = True
        while self._has_effects():
            self._do(self._effects.popleft())
        self._is_settling = False
        self._arm()

    def _has_effects(self) -> bool:
        if not self._effects:
            self._effects.extend(self._core.drain())
        return bool(self._effects)

    def _arm(self) -> None:
        deadline = self._core.next_deadline()
        if deadline is not None and (self._armed_at is None or deadline.at < self._armed_at):
            at = self._armed_at = deadline.at
            self.machine.at(at, lambda: self._due(at))

    def _due(self, at: float) -> None:
        if self._armed_at == at:
            self._armed_at = None
            self.call(self._core.handle_timeout)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Write(number, data):
                if (connection := self._connections.get(number)) is not None:
                    connection.write(data)
            case WriteStream(number, data):
                if (connection := self._connections.get(number)) is not None:
                    connection.write(data)
            case Open():
                self._open(effect)
            case Secure(path):
                if (connection := self._connections.get(path)) is not None:
                    connection.secure()
            case SendStun(local, remote, data):
                self._send_datagram(local, remote, data)
            case SendMulticast(data):
                if self._lan is not None:
                    self.machine.spread(LAN_GROUP, self._lan.local.port, data)
            case SendOnLan(remote, data):
                if self._lan is not None:
                    self._lan.send(remote, data)
            case SendSpare(spare, remote, data):
                self._send_spare(spare, remote, data)
            case CloseSpare(spare):
                if (opened := self._spares.pop(spare, None)) is not None:
                    opened.close()
            case MoveLink(number, local, remote):
                self._move(number, Pair(local, remote))
            case UseRelayed(relayed, base):
                self._port_towards(relayed, base).use_relayed(
                    relayed, lambda remote, data: self._tell(RelayedGoes(relayed, remote, data))
                )
            case DropRelayed(relayed):
                for port in self._ports:
                    port.drop_relayed(relayed)
            case RelayedCame(relayed, remote, data):
                self._port_towards(remote, relayed).came(Pair(relayed, remote), data)
            case OpenRelayPort() | CloseRelay() | TurnRelay():
                self._relay(effect)
            case HangUp(number, reason):
                self._hang_up(number, reason)
            case CutIfSilent(number, silent_s):
                if isinstance(connection := self._connections.get(number), SecuredStream):
                    connection.cut_if_silent(silent_s)
            case AcceptNarrow(is_narrow):
                self._accepted_mtu = NARROW_BYTES if is_narrow else self._path_mtu
                for listener in self._listeners:
                    listener.mss_bytes = self._accepted_mtu - IP_TCP_BYTES
            case Ask(token, Commit() as commit):
                self._disk.commit(commit, lambda answer: self._answer(token, answer))
            case CancelAsk():
                pass
            case Note(event):
                self._write_down(event)
            case _:
                self.events.append((self.machine.internet.now, effect))
                self._write_down(type(effect).__name__)

    def _relay(self, effect: OpenRelayPort | CloseRelay | TurnRelay) -> None:
        """What the relay that this node is wants done."""
        match effect:
            case OpenRelayPort(token, port):
                self._tell(RelayPortOpened(token, self._open_relay_port(port)))
            case CloseRelay(port):
                self._relay_ports.pop(port).close()
            case TurnRelay(port, peer, data):
                with contextlib.suppress(SocketRefused):
                    self._relay_ports[port].send(peer, data)

    def _open_relay_port(self, port: Address) -> bool:
        def came(socket: UdpSocket, remote: Address, data: bytes) -> None:
            self._tell(AtRelayPort(port, remote, data))

        try:
            self._relay_ports[port] = self.machine.udp(port, came)
        except SocketRefused:
            return False
        return True

    def _write_down(self, what: str) -> None:
        self.machine.internet.note(f"{self.machine.name} {what}")

    def _answer(self, token: int, answer: object) -> None:
        self.call(lambda now: self._core.handle_answer(token, answer, now))

    # Connections

    def _open(self, wanted: Open) -> None:
        path = wanted.path
        try:
            connection = self._dial(wanted)
        except SocketRefused as refused:
            reason = str(refused)
            self.machine.at(self.machine.now, lambda: self._failed(path, reason))
            return
        if connection in self._numbers:
            # The other end is dialling us just now, and has not shown a certificate yet: that is it.
            self._failed(self._unregister(connection), "it was dialled as well")
        self._register(connection, path)

    def _failed(self, path: int, reason: str) -> None:
        self.call(lambda now: self._core.handle_link_down(path, reason, now))

    def _dial(self, wanted: Open) -> SecuredConnection:
        candidate = wanted.candidate
        path_mtu = NARROW_BYTES if candidate.is_narrow else self._path_mtu
        if candidate.is_stream:
            return dial_stream(
                self.machine,
                candidate.address,
                self._own,
                self,
                path_mtu,
                wanted.protocol,
                local=candidate.local,
                is_server=wanted.is_server,
            )
        port = self._port_towards(candidate.address, candidate.local)
        return port.dial(candidate.address, path_mtu - IP_UDP_BYTES, candidate.local)

    def _send_datagram(self, local: Address | None, remote: Address, data: bytes) -> None:
        try:
            self._port_towards(remote, local).send(remote, data)
        except SocketRefused:
            return

    def _send_spare(self, spare: int, remote: Address, data: bytes) -> None:
        try:
            if (opened := self._spares.get(spare)) is None:
                local = Address(self.machine.local_towards(remote.host), 0)
                opened = self._spares[spare] = self.machine.udp(
                    local, lambda _, remote, data: self._tell(SpareArrived(spare, remote, data))
                )
                self._tell(SpareOpened(spare, opened.local))
            opened.send(remote, data)
        except SocketRefused:
            return

    def _move(self, number: int, pair: Pair) -> None:
        association = self._connections.get(number)
        if isinstance(association, Association):
            self._port_towards(pair.remote, pair.local).move(association, pair)

    def _port_towards(self, remote: Address, local: Address | None) -> DatagramPort:
        """From where a remote is dialled: the port at which we listen, if we do at the right address; of a relayed
        address its base.
        """
        if local is not None and (port := next((port for port in self._ports if port.has(local)), None)) is not None:
            return port
        host = self.machine.local_towards(remote.host) if local is None else local.host
        at_host = (port for port in self._ports if port.local.host == host and port.local not in self._for_calls)
        return next(at_host, None) or self._bind(Address(host, 0))

    def _begun(self, association: Association, ours: Association | None) -> None:
        """Somebody begins an association, or one that we have begun goes on as theirs."""
        if ours is None:
            self._take(association)
        else:
            self._register(association, self._unregister(ours))

    def _register(self, connection: SecuredConnection, number: int) -> None:
        self._numbers[connection], self._connections[number] = number, connection

    def _unregister(self, connection: SecuredConnection) -> int:
        """The number that it had."""
        number = self._numbers.pop(connection)
        del self._connections[number]
        return number

    def _hang_up(self, number: int, reason: str) -> None:
        if (connection := self._connections.pop(number, None)) is not None:
            del self._numbers[connection]
            connection.close(reason)

    def _accept(self, stream: VirtualStream) -> None:
        self._take(SecuredStream(self.machine, stream, self._own, self, is_server=True))

    def _take(self, connection: SecuredConnection) -> None:
        number = next(self._accepted)
        self._register(connection, number)
        self._tell(Accepted(number, connection.remote))

    # ConnectionUser

    def connection_answered(self, connection: SecuredConnection) -> None:
        """The other end has answered: it is for the core to say whether this one is wanted."""
        if (path := self._numbers.get(connection)) is not None:
            self._tell(Opened(path, connection.local))

    def connection_up(self, connection: SecuredConnection, certificates: tuple[bytes, ...]) -> None:
        """The handshake is done."""
        number = self._numbers[connection]
        ends, protocol = (connection.remote, connection.local), connection.protocol
        if protocol == STUN_TURN:
            self._tell(RelayStreamUp(number, connection.local, connection.remote))
            return
        link = LinkUp(number, certificates, *ends, connection.datagram_bytes, protocol=protocol)
        self.call(lambda now: self._core.handle_link_up(link, now))

    def connection_data(self, connection: SecuredConnection, data: bytes) -> None:
        """Bytes have come."""
        if (number := self._numbers.get(connection)) is None:
            return
        if connection.protocol == STUN_TURN:
            self._tell(RelayStreamCame(number, data))
        else:
            self.call(lambda now: self._core.handle_link_data(number, data, now))

    def connection_down(self, connection: SecuredConnection, reason: str) -> None:
        """It is gone."""
        if connection in self._numbers:
            number = self._unregister(connection)
            if connection.is_stalled:
                is_stream = connection.datagram_bytes is None
                kind = OverlayLinkType.TLS_TCP_FH_NO_ICE if is_stream else OverlayLinkType.DTLS_UDP_SR_NO_ICE
                self._tell(Stalled(number, connection.remote, kind))
            self.call(lambda now: self._core.handle_link_down(number, reason, now))
