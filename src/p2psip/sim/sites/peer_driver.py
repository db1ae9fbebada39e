"""A peer on a virtual machine, as `p2psip.net.peer_host` is on a real one: links, phones and media."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.coupling.peer import Peer
from p2psip.coupling.peer_news import BindingsToKeep
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.sides import SendFrom
from p2psip.media.session import SendRtp
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.packet import SocketRefused
from p2psip.sim.ip.secured import Credentials
from p2psip.sim.ip.virtual_streams import VirtualStream
from p2psip.sim.sites.disk import Disk
from p2psip.sim.sites.node_driver import NodeDriver
from p2psip.sip.entities.agents.types import MediaReleased, MediaWanted
from p2psip.sip.entities.call_guard import CallsToKeep
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.transports.arrivals import Datagram, FlowArrival, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp

ANY_HOST = {4: "0.0.0.0", 6: "::"}


class PeerDriver(NodeDriver):
    """A node's driver, with the sockets of phones and media beside those of links."""

    def __init__(self, machine: Machine, peer: Peer, own: Credentials, disk: Disk, media_host: str) -> None:
        """The echo service has its voice at `media_host` where nobody says whom it is for."""
        super().__init__(machine, peer, own, disk)
        self.peer = peer
        self._media_host = media_host
        self._udp: dict[Address, UdpSocket] = {}
        self._media: dict[tuple[str, int], UdpSocket] = {}
        self._relayed: dict[int, UdpSocket] = {}
        self._flows = PhoneFlows(self)
        self.bindings_changed: Callable[[], None] = _not_kept

    def listen_phones(self, addresses: Iterable[Address]) -> None:
        """Take SIP there, over UDP and over streams. Raises SocketRefused."""
        for address in addresses:
            self._udp[address] = self.machine.udp(address, self._datagram)
            self.machine.listen(address, self._flows.accepted)

    def carried(self, method: str = "INVITE") -> list[RequestCarried]:
        """What became of the requests that this peer carried."""
        return [event for _, event in self.events if isinstance(event, RequestCarried) and event.method == method]

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendUdp(local, remote, data):
                _send(self._udp.get(local), remote, data)
            case SendRtp(local, remote, data):
                _send(self._media.get(local), remote, data)
            case OpenFlow() | SendFlow() | CloseFlow():
                self._flows.do(effect)
            case Ask(token, MediaWanted(_, towards)):
                self.machine.at(self.machine.now, lambda: self._open_media(token, towards))
            case OpenPorts(version, port):
                is_open = self._open_relay_ports(version, port)
                self.machine.at(self.machine.now, lambda: self._ports_opened(port, is_open))
            case ClosePorts(port):
                for closed in (port, port + 1):
                    self._relayed.pop(closed).close()
            case SendFrom(port, _, remote, data):
                _send(self._relayed.get(port), remote, data)
            case MediaReleased(local):
                if (socket := self._media.pop(local, None)) is not None:
                    socket.close()
            case BindingsToKeep() | CallsToKeep():
                self.bindings_changed()
            case _:
                super()._do(effect)

    def _datagram(self, socket: UdpSocket, remote: Address, data: bytes) -> None:
        self.call(lambda now: self.peer.handle_sip(Datagram(socket.local, remote, data), now))

    def _open_media(self, token: int, towards: str | None) -> None:
        try:
            host = self.machine.local_towards(towards) if towards else self._media_host
            socket = self.machine.udp(Address(host, 0), self._rtp)
        except SocketRefused:
            self._answer(token, None)
            return
        self._media[socket.local] = socket
        self._answer(token, socket.local)

    def _open_relay_ports(self, version: int, port: int) -> bool:
        """A pair of ports at every address of the machine; False if one of them is taken."""
        opened: list[UdpSocket] = []
        try:
            opened.extend(
                self.machine.udp(Address(ANY_HOST[version], number), self._anchored) for number in (port, port + 1)
            )
        except SocketRefused:
            for socket in opened:
                socket.close()
            return False
        self._relayed |= {socket.local.port: socket for socket in opened}
        return True

    def _ports_opened(self, port: int, is_open: bool) -> None:
        self.call(lambda now: self.peer.handle_ports(port, is_open, now))

    def _anchored(self, socket: UdpSocket, remote: Address, data: bytes) -> None:
        def take(now: float) -> None:
            self.peer.server.relay.handle_datagram(socket.local.port, remote, data, now)
            self.peer.handle_relayed(now)

        self.call(take)

    def _rtp(self, socket: UdpSocket, remote: Address, data: bytes) -> None:
        self.call(lambda now: self.peer.handle_media(socket.local, remote, data, now))


class PhoneFlows:
    """SIP over streams, with phones (a `StreamUser`)."""

    def __init__(self, driver: PeerDriver) -> None:
        self._driver = driver
        self._numbers: dict[VirtualStream, int] = {}
        self._streams: dict[int, VirtualStream] = {}
        self._accepted = 1

    def accepted(self, stream: VirtualStream) -> None:
        """A phone connects."""
        self._enter(self._accepted, stream)
        self._accepted += 2

    def do(self, effect: OpenFlow | SendFlow | CloseFlow) -> None:
        """What the SIP core wants."""
        match effect:
            case OpenFlow(flow, "TLS", remote):
                # What is to go over TLS never goes in clear.
                self._failed(flow, f"no TLS to {remote}")
            case OpenFlow(flow, _, remote):
                self._open(flow, remote)
            case SendFlow(flow, data):
                if flow in self._streams:
                    self._streams[flow].write(data)
            case CloseFlow(flow):
                if (stream := self._streams.pop(flow, None)) is not None:
                    del self._numbers[stream]
                    stream.close()

    def stream_connected(self, stream: VirtualStream) -> None:
        """A connection is open."""
        if (flow := self._numbers.get(stream)) is not None:
            self._arrived(FlowUp(flow, "TCP", stream.local, stream.remote))

    def stream_data(self, stream: VirtualStream, data: bytes) -> None:
        """Bytes of a phone."""
        if (flow := self._numbers.get(stream)) is not None:
            self._arrived(FlowData(flow, data))

    def stream_ended(self, stream: VirtualStream) -> None:
        """The phone sends no more."""
        stream.close()
        self.stream_lost(stream, "closed by the other side")

    def stream_lost(self, stream: VirtualStream, reason: str) -> None:
        """A connection is gone, or did not come about."""
        if (flow := self._numbers.pop(stream, None)) is not None:
            self._streams.pop(flow, None)
            self._arrived(FlowDown(flow, reason))

    def _open(self, flow: int, remote: Address) -> None:
        try:
            self._enter(flow, self._driver.machine.connect(remote))
        except SocketRefused as refused:
            self._failed(flow, str(refused))

    def _enter(self, flow: int, stream: VirtualStream) -> None:
        self._numbers[stream], self._streams[flow] = flow, stream
        stream.user = self

    def _failed(self, flow: int, reason: str) -> None:
        machine = self._driver.machine
        machine.at(machine.now, lambda: self._arrived(FlowDown(flow, reason)))

    def _arrived(self, arrival: FlowArrival) -> None:
        self._driver.call(lambda now: self._driver.peer.handle_sip(arrival, now))


def _send(socket: UdpSocket | None, remote: tuple[str, int], data: bytes) -> None:
    """Where there is no way it is lost, as where the system refuses it."""
    if socket is not None:
        try:
            socket.send(Address(*remote), data)
        except SocketRefused:
            return


def _not_kept() -> None:
    """Nobody writes the registrations of phones down."""
