"""A peer on real sockets: a node's host, and phones and media."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from OpenSSL import SSL

from p2psip.base.address import Address, without_zone
from p2psip.base.effects import Ask, Effect, Note
from p2psip.base.errors import LocalMisuse
from p2psip.coupling.peer import Peer
from p2psip.dundi.values import SendDundi
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.rtpengine.engine_control import SendToEngine
from p2psip.media.relay.sides import SendFrame, SendFrom
from p2psip.media.session import SendRtp
from p2psip.net.engine_socket import EngineSocket
from p2psip.net.node_host import HostSettings, NodeHost, boot_time
from p2psip.net.overlay_names import find_overlay
from p2psip.net.sip_sockets import Flows, MediaSockets, local_host_towards, send_datagram
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.relay_ports import RelayPorts
from p2psip.net.trunk_sockets import TrunkSockets
from p2psip.reload.paths.values import FindByName
from p2psip.sip.entities.agents.types import MediaReleased, MediaWanted
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records
from p2psip.sip.entities.gateway.terms import FindTrunk, ForTrunk, TrunkTerms
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowArrival, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import AcceptedTransport

if TYPE_CHECKING:
    from p2psip.net.dns_records import DnsRecords

ZONES_MAX = 256
"""Phones at link-local addresses of which we remember by what interface they are reached."""

DISCARD_PORT = 9
"""Any port will do to ask the machine from which address it would send; nothing is sent."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a peer listens: for other peers, and for phones."""

    overlay: tuple[Address, ...]
    overlay_udp: tuple[Address, ...]
    sip: tuple[Address, ...]
    phone_udp: tuple[Address, ...]
    phone_tcp: tuple[Address, ...]
    phone_tls: tuple[Address, ...] = ()
    phone_ws: tuple[Address, ...] = ()
    phone_wss: tuple[Address, ...] = ()
    calls: tuple[Address, ...] = ()
    """Where calls with other peers come by ICE, over UDP."""
    dundi: Address | None = None
    """Where neighbours by DUNDi ask, and are asked from."""

    @property
    def phone_streams(self) -> tuple[tuple[AcceptedTransport, Address], ...]:
        """Where phones connect, and over what."""
        each: tuple[tuple[AcceptedTransport, tuple[Address, ...]], ...] = (
            ("TCP", self.phone_tcp),
            ("TLS", self.phone_tls),
            ("WS", self.phone_ws),
            ("WSS", self.phone_wss),
        )
        return tuple((transport, local) for transport, locals_ in each for local in locals_)


class PeerHost(NodeHost):
    """A node's host, with the sockets of phones and media beside those of links."""

    def __init__(
        self,
        peer: Peer,
        settings: HostSettings,
        other: Callable[[Effect], None],
        name_server: Address | None = None,
    ) -> None:
        """`name_server` is asked what is in DNS; None: whom the system asks."""
        super().__init__(peer, settings, other)
        self.peer = peer
        self._udp: dict[Address, DatagramSocket] = {}
        self._phone_flows = Flows(self._flow_arrived, self._not_accepted, self._not_secured)
        self._media = MediaSockets("127.0.0.1", self._media_datagram)
        self._relay_ports = RelayPorts(self._relay_datagram)
        self._engine = EngineSocket(self._engine_datagram)
        self._dundi: DatagramSocket | None = None
        self._name_server = name_server
        self._dns: DnsRecords | None = None
        self._trunks = TrunkSockets(self._trunk_arrived, self._records)
        self._zones: dict[str, str] = {}
        self._has_all_ports = False
        self._ports_later: list[OpenPorts] = []

    async def listen(self, endpoints: Endpoints) -> None:
        """Open all sockets. Raises LocalMisuse if one is taken."""
        await self.listen_links(endpoints.overlay)
        await self.listen_datagram_links(endpoints.overlay_udp)
        await self.listen_links(endpoints.sip)
        await self.listen_datagram_links(endpoints.calls, is_for_calls=True)
        for local in endpoints.phone_udp:
            self._udp[local] = await DatagramSocket.bind(*local, self._datagram)
        for transport, local in endpoints.phone_streams:
            self._phone_flows.listen(transport, local)
        if endpoints.dundi is not None:
            self._dundi = await DatagramSocket.bind(*endpoints.dundi, self._dundi_arrived)
        # Now that nobody else wants any of them: the ports of relayed calls are drawn.
        self._has_all_ports = True
        waiting, self._ports_later = self._ports_later, []
        for effect in waiting:
            self._do(effect)

    def use_phone_tls(self, server: SSL.Context, client: SSL.Context) -> None:
        """What to show phones on connections that begin from now on, and which to believe that we connect to."""
        self._phone_flows.use_tls(server, client)

    def use_domains(self, context: SSL.Context) -> None:
        """Which servers of other domains to believe that we connect to."""
        self._phone_flows.trust_domains(context)

    def use_media_host(self, host: str) -> None:
        """Where calls have their voice from now on, of which nobody has said where it goes."""
        self._media.host = host

    def close(self) -> None:
        """Close the sockets of phones as well."""
        super().close()
        for udp in self._udp.values():
            udp.close()
        self._phone_flows.close()
        self._media.close_all()
        self._relay_ports.close_all()
        self._engine.close()
        self._trunks.close()
        if self._dundi is not None:
            self._dundi.close()

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendUdp():
                send_datagram(self._udp, effect)
            case SendRtp(local, remote, data):
                self._media.send(local, remote, data)
            case SendFlow() | OpenFlow() | CloseFlow():
                self._phone_flows.do(effect)
            case Ask(token, FindRecords() as question):
                self._spawn(self._find_records(token, question))
            case FindByName(name):
                self._spawn(self._find_overlay(name))
            case ForTrunk():
                self._trunks.do(effect)
            case SendDundi(remote, data) if self._dundi is not None:
                self._dundi.send(remote, data)
            case Ask(token, FindTrunk(terms)):
                self._spawn(self._find_trunk(token, terms))
            case Ask(token, MediaWanted(_, towards)):
                self._spawn(self._open_media(token, towards))
            case SendFrom():
                self._relay_ports.send(effect)
            case OpenPorts() if not self._has_all_ports:
                self._ports_later.append(effect)
            case OpenPorts(_, port):
                is_open = self._relay_ports.open(effect)
                self.call(lambda now: self.peer.handle_ports(port, is_open, now))
            case ClosePorts():
                self._relay_ports.close(effect)
            case SendToEngine():
                self._engine.send(effect)
            case MediaReleased(local):
                self._media.close(local)
            case _:
                super()._do(effect)

    # Phones

    def _datagram(self, local: Address, remote: Address, data: bytes) -> None:
        self._note_zone(remote)
        self.call(lambda now: self.peer.handle_sip(Datagram(local, remote, data), now))

    def _media_datagram(self, local: Address, remote: Address, data: bytes) -> None:
        self.call(lambda now: self.peer.handle_media(local, remote, data, now))

    def _relay_datagram(self, port: int, remote: tuple[str, int], data: bytes) -> None:
        """What passes through here does so by itself: nothing else in the peer waits for it."""
        relay = self.peer.server.relay
        relay.handle_datagram(port, remote, data, boot_time())
        self._do_relayed(relay.drain())

    def _engine_datagram(self, data: bytes) -> None:
        self.call(lambda now: self.peer.handle_engine(data, now))

    def _do_relayed(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendFrom):
                self._relay_ports.send(effect)
            elif isinstance(effect, SendFrame):
                self._send_frame(effect)
            else:
                self._do(effect)

    def _send_frame(self, sent: SendFrame) -> None:
        if (write := self.peer.frame_write(sent, boot_time())) is not None:
            super()._do(write)
        else:
            self.call(lambda now: self.peer.handle_frame(sent, now))

    def _flow_arrived(self, arrival: FlowArrival) -> None:
        if isinstance(arrival, FlowUp):
            self._note_zone(arrival.remote)
        self.call(lambda now: self.peer.handle_sip(arrival, now))

    def _not_secured(self, remote: Address, reason: str) -> None:
        self._other(Note("no TLS with a phone", {"phone": str(remote), "reason": reason}, is_warning=True))

    def _note_zone(self, remote: Address) -> None:
        """A phone at a link-local address names it in SDP as well, where nothing says of which link it is."""
        if "%" in remote.host:
            self._zones[without_zone(remote.host)] = remote.host
            if len(self._zones) > ZONES_MAX:
                del self._zones[next(iter(self._zones))]

    async def _find_records(self, token: int, question: FindRecords) -> None:
        answer = await self._records(question)
        self.call(lambda now: self.peer.handle_answer(token, answer, now))

    async def _records(self, question: FindRecords) -> Records:
        if self._dns is None:
            # Many peers never ask, and do without the library.
            from p2psip.net.dns_records import DnsRecords

            self._dns = DnsRecords(self._name_server)
        return await self._dns.find(question)

    async def _find_overlay(self, name: str) -> None:
        self._tell(await find_overlay(self._records, name))

    # Trunks, and neighbours by DUNDi

    async def _find_trunk(self, token: int, terms: TrunkTerms) -> None:
        answer = await self._trunks.find(terms)
        self.call(lambda now: self.peer.handle_answer(token, answer, now))

    def _trunk_arrived(self, terms: TrunkTerms, arrival: Arrival) -> None:
        self.call(lambda now: self.peer.handle_trunk(terms.agent, arrival, now))

    def _dundi_arrived(self, local: Address, remote: Address, data: bytes) -> None:
        self.call(lambda now: self.peer.handle_dundi(remote, data, now))

    # Media

    async def _open_media(self, token: int, towards: str | None) -> None:
        """A socket at the address by which the other side of the call sees us."""
        try:
            host = local_host_towards(Address(self._zones.get(towards, towards), DISCARD_PORT)) if towards else None
            answer: Address | None = await self._media.open(host)
        except LocalMisuse as error:
            self._other(Note("no port for media", {"reason": str(error)}, is_warning=True))
            answer = None
        self.call(lambda now: self.peer.handle_answer(token, answer, now))
