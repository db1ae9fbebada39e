"""A machine: interfaces, addresses and routes, sockets, a clock of its own, sleep and power.

A machine runs one program. What the program has open ends with it: `kill` resets its streams, as the system does for
a process that dies; `cut_power` says nothing to anybody. While the machine sleeps packets pass it by, and what was to
be done meanwhile is done when it wakes, late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol as Interfaces

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.network import Internet, Network, Prefix, ip_of
from p2psip.sim.ip.packet import ANY_HOSTS, IcmpError, Packet, Protocol, Segment, SocketRefused, Unreachable, version_of
from p2psip.sim.ip.virtual_streams import VirtualStream, VirtualStreamListener, reset_for

EPOCH_S = 1_800_000_000.0
"""The date at which every world begins, in seconds since 1970."""

EPHEMERAL = range(49152, 65536)
LOOPBACK_S = 0.00002


class Owner(Interfaces):
    """Who has interfaces: a machine, or a box between networks."""

    def receive(self, interface: Interface, packet: Packet) -> None:
        """A packet has come."""


@dataclass(eq=False)
class Interface:
    """Where a machine or a box is plugged into a network, and what it is there."""

    owner: Owner
    network: Network
    hosts: list[str] = field(default_factory=list)
    gateways: dict[int, str] = field(default_factory=dict)
    """By IP version who knows the way to everywhere else; on a public network that is the network."""
    is_up: bool = True
    groups: set[str] = field(default_factory=set)
    """The multicast addresses that it takes packets for."""

    def add(self, host: str) -> None:
        """Have another address; whoever had it before is without it."""
        self.hosts.append(host)
        self.network.holders[host] = self

    def remove(self, host: str) -> None:
        """Have an address no more."""
        self.hosts.remove(host)
        if self.network.holders.get(host) is self:
            del self.network.holders[host]

    def host_of(self, version: int) -> str | None:
        """Its first address of an IP version."""
        for host in self.hosts:
            if version_of(host) == version:
                return host
        return None

    def next_hop(self, host: str) -> str | None:
        """To whom a packet for `host` goes from here; None if there is no way."""
        if host in self.network or self.network.is_public:
            return host
        return self.gateways.get(version_of(host))


def plug(owner: Owner, network: Network, hosts: tuple[str, ...], gateways: tuple[str, ...] = ()) -> Interface:
    """Make an interface in a network, with addresses."""
    interface = Interface(owner, network, gateways={version_of(gateway): gateway for gateway in gateways})
    for host in hosts:
        interface.add(host)
    return interface


def way_out(interfaces: list[Interface], routes: list[NetworkRoute], host: str) -> tuple[Interface, str] | None:
    """By which interface a packet goes, and to which neighbour: the longest prefix, a neighbour before a gateway."""
    version = version_of(host)
    able = [interface for interface in interfaces if interface.is_up and interface.host_of(version) is not None]
    for interface in able:
        if host in interface.network:
            return interface, host
    matching = [route for route in routes if route.interface in able and ip_of(host) in route.network]
    if matching:
        best = max(matching, key=lambda route: route.network.prefixlen)
        return best.interface, best.gateway
    for interface in able:
        if (next_hop := interface.next_hop(host)) is not None:
            return interface, next_hop
    return None


@dataclass(frozen=True)
class NetworkRoute:
    """A prefix that another box than the usual one knows the way to."""

    network: Prefix
    interface: Interface
    gateway: str


class MachineClock:
    """Seconds since boot, at a rate that may be a little wrong, and the date, which may be anything."""

    def __init__(self, now: float, *, rate: float = 1.0, date_error_s: float = 0.0, is_trusted: bool = True) -> None:
        """At `rate` 1.0001 the clock is early by 8.6 s a day; it counts on while the machine sleeps."""
        self._booted_at = now
        self._rate = rate
        self.date_error_s = date_error_s
        self.is_trusted = is_trusted

    def since_boot(self, now: float) -> float:
        """What the machine's monotonic clock says at a time of the world."""
        return (now - self._booted_at) * self._rate

    def in_world(self, since_boot: float) -> float:
        """The time of the world at which the monotonic clock says that."""
        return self._booted_at + since_boot / self._rate

    def wall(self, now: float) -> WallClock:
        """What the date is, for a core."""
        return WallClock(EPOCH_S + now + self.date_error_s - self.since_boot(now), self.is_trusted)


class Machine:
    """See above. Its program takes `machine.now` for the time."""

    def __init__(self, internet: Internet, name: str, *, clock_rate: float = 1.0, date_error_s: float = 0.0) -> None:
        self.internet = internet
        self.name = name
        self.interfaces: list[Interface] = []
        self.routes: list[NetworkRoute] = []
        self.is_on = True
        self.is_asleep = False
        self.boots = 1
        self.bytes_sent = 0
        """Of IP packets, to other machines."""
        self._rate = clock_rate
        self.clock = MachineClock(internet.now, rate=clock_rate, date_error_s=date_error_s)
        self._life = 1
        self._reached = 0.0
        self._waking: list[Callable[[], None]] = []
        self._udp: dict[Address, UdpSocket] = {}
        self._listeners: dict[Address, VirtualStreamListener] = {}
        self._streams: dict[tuple[Address, Address], VirtualStream] = {}
        self._next_port = 0

    # The network

    def plug(self, network: Network, *hosts: str, gateways: tuple[str, ...] = ()) -> Interface:
        """Plug the machine into a network, with addresses; `gateways` are the boxes by which it reaches others."""
        interface = plug(self, network, hosts, gateways)
        self.interfaces.append(interface)
        return interface

    @property
    def hosts(self) -> list[str]:
        """Its addresses, on interfaces that are up."""
        return [host for interface in self.interfaces if interface.is_up for host in interface.hosts]

    def local_towards(self, host: str) -> str:
        """From which address it would send to `host`. Raises SocketRefused if there is no way."""
        if self._has(host):
            return host
        if (way := way_out(self.interfaces, self.routes, host)) is None:
            raise SocketRefused("network is unreachable")
        local = way[0].host_of(version_of(host))
        assert local is not None, "way_out looks at that"
        return local

    def udp(self, local: Address, user: Callable[[UdpSocket, Address, bytes], None]) -> UdpSocket:
        """A socket at an address, or at any with 0.0.0.0 or ::; port 0 is one that is free. Raises SocketRefused."""
        local = self._bind(local, self._udp)
        made = self._udp[local] = UdpSocket(self, local, user)
        return made

    def join(self, group: Address, user: Callable[[UdpSocket, Address, bytes], None]) -> UdpSocket:
        """A socket for what is sent to a group, on every interface that there is now."""
        for interface in self.interfaces:
            interface.groups.add(group.host)
        made = self._udp[group] = UdpSocket(self, group, user)
        return made

    def spread(self, group: Address, port: int, data: bytes) -> None:
        """Send a datagram to a group, by every interface that is up, from a port at its first address."""
        for interface in self.interfaces:
            host = interface.host_of(version_of(group.host))
            if interface.is_up and host is not None:
                self.internet.spread(interface, Packet(Protocol.UDP, Address(host, port), group, data))

    def listen(self, local: Address, accept: Callable[[VirtualStream], None]) -> VirtualStreamListener:
        """Accept streams at an address. Raises SocketRefused."""
        local = self._bind(local, self._listeners)
        made = self._listeners[local] = VirtualStreamListener(local, accept)
        return made

    def connect(self, remote: Address, *, mss_bytes: int | None = None, local: Address | None = None) -> VirtualStream:
        """A stream that is being connected, from a `local` port at which nobody listens, if it matters which; set its
        `user` at once. Raises SocketRefused.
        """
        if local is None:
            taken = {local for local, other in self._streams if other == remote}
            local = Address(self.local_towards(remote.host), self._ephemeral(taken))
        elif (local, remote) in self._streams or local in self._listeners or _any(local) in self._listeners:
            raise SocketRefused(f"{local} is in use")
        elif local.host not in self.hosts:
            raise SocketRefused(f"cannot assign {local.host}")
        made = self._streams[local, remote] = VirtualStream(self, local, remote, mss_bytes=mss_bytes)
        made.connect()
        return made

    def send(self, packet: Packet) -> None:
        """Send a packet, as routes say. Raises SocketRefused if there is no way."""
        if self._has(packet.destination.host):
            self.internet.clock.at(self.internet.now + LOOPBACK_S, lambda: self.receive(self.interfaces[0], packet))
            return
        if (way := way_out(self.interfaces, self.routes, packet.destination.host)) is None:
            raise SocketRefused("network is unreachable")
        self.bytes_sent += packet.size_bytes
        self.internet.carry(way[0], packet, way[1])

    def receive(self, interface: Interface, packet: Packet) -> None:
        """A packet has come."""
        is_ours = self._has(packet.destination.host) or packet.destination.host in interface.groups
        if not self.is_on or self.is_asleep or not is_ours:
            return
        payload = packet.payload
        if isinstance(payload, IcmpError):
            self._icmp(payload)
        elif isinstance(payload, Segment):
            self._segment(packet, payload)
        elif (socket := self._udp_at(packet.destination)) is not None:
            socket.receive(packet.destination, packet.source, payload)
        elif packet.destination.host not in interface.groups:
            error = IcmpError(Unreachable.PORT, packet)
            self._reply(Packet(Protocol.ICMP, packet.destination._replace(port=0), packet.source, error))

    # The program

    @property
    def now(self) -> float:
        """Seconds since boot; never less than what the program was woken for, however the clock's rate is rounded."""
        return max(self._reached, self.clock.since_boot(self.internet.now))

    def at(self, when: float, run: Callable[[], None]) -> None:
        """Have the program do something when the clock since boot says so; later if the machine sleeps then."""
        life = self._life

        def due() -> None:
            if life != self._life:
                return
            self._reached = max(self._reached, when)
            self._waking.append(run) if self.is_asleep else run()

        self.internet.clock.at(self.clock.in_world(when), due)

    def kill(self) -> None:
        """The program ends without a word; the system resets its streams."""
        for stream in list(self._streams.values()):
            stream.abort("killed")
        self._end()

    def cut_power(self) -> None:
        """The machine is off."""
        self._end()
        self.is_on = False

    def boot(self) -> None:
        """The machine starts; its clock since boot begins at zero. The date goes on, as a machine's with a battery."""
        assert not self.is_on, f"{self.name} is on"
        self.is_on, self.is_asleep = True, False
        self.boots += 1
        self._reached = 0.0
        before = self.clock
        self.clock = MachineClock(
            self.internet.now, rate=self._rate, date_error_s=before.date_error_s, is_trusted=before.is_trusted
        )

    def sleep(self) -> None:
        """From now on nothing happens here."""
        self.is_asleep = True

    def wake(self) -> None:
        """Go on; what was due meanwhile is done first, in its order."""
        self.is_asleep = False
        waking, self._waking = self._waking, []
        life = self._life
        for run in waking:
            if life == self._life:
                run()

    # Inside

    def _has(self, host: str) -> bool:
        """True for an address of its own, as `hosts` has them."""
        return any(host in interface.hosts for interface in self.interfaces if interface.is_up)

    def _end(self) -> None:
        self._life += 1
        self._waking.clear()
        for table in (self._udp, self._listeners, self._streams):
            table.clear()

    def _bind(self, local: Address, taken: dict[Address, UdpSocket] | dict[Address, VirtualStreamListener]) -> Address:
        if local.host not in ANY_HOSTS and local.host not in self.hosts:
            raise SocketRefused(f"cannot assign {local.host}")
        if not local.port:
            local = Address(local.host, self._ephemeral(taken))
        if local in taken:
            raise SocketRefused(f"{local} is in use")
        return local

    def _ephemeral(self, taken: Iterable[Address]) -> int:
        ports = {address.port for address in taken}
        for _ in EPHEMERAL:
            port = EPHEMERAL[self._next_port % len(EPHEMERAL)]
            self._next_port += 1
            if port not in ports:
                return port
        raise SocketRefused("no port is free")

    def close_udp(self, local: Address) -> None:
        """Give the port of a datagram socket back."""
        self._udp.pop(local, None)

    def forget(self, stream: VirtualStream) -> None:
        """A stream is over."""
        self._streams.pop((stream.local, stream.remote), None)

    def _udp_at(self, local: Address) -> UdpSocket | None:
        return self._udp.get(local) or self._udp.get(_any(local))

    def _segment(self, packet: Packet, segment: Segment) -> None:
        stream = self._streams.get((packet.destination, packet.source))
        listener = self._listeners.get(packet.destination) or self._listeners.get(_any(packet.destination))
        if stream is not None:
            stream.receive(segment)
        elif segment.syn and not segment.ack and listener is not None:
            made = VirtualStream(self, packet.destination, packet.source, mss_bytes=listener.mss_bytes)
            self._streams[packet.destination, packet.source] = made
            made.accept(segment, listener)
        elif not segment.rst:
            self._reply(Packet(Protocol.TCP, packet.destination, packet.source, reset_for(segment)))

    def _icmp(self, error: IcmpError) -> None:
        original = error.original
        if (socket := self._udp_at(original.source)) is not None and original.protocol is Protocol.UDP:
            socket.unreachable(original.destination, error)
        stream = self._streams.get((original.source, original.destination))
        if stream is not None and original.protocol is Protocol.TCP:
            stream.unreachable(error)

    def _reply(self, packet: Packet) -> None:
        if way_out(self.interfaces, self.routes, packet.destination.host) is not None:
            self.send(packet)


def _any(local: Address) -> Address:
    return Address("::" if version_of(local.host) == 6 else "0.0.0.0", local.port)
