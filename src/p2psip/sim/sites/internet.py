"""Sites on an Internet of their own: peers and phones as machines, behind routers and NATs or not.

    world = InternetSites(seed=7)
    hill = world.add_public(0)                  # s0 is the bootstrap node
    valley = world.add_behind_nat(1)            # its router forwards the ports of its peer
    world.line(hill, "alice"), world.line(valley, "bob")
    world.settle()
    alice, bob = world.phone(hill, "alice"), world.phone(valley, "bob")
    call = alice.dial("bob")
    world.run(5.0)

Site n has 198.20.n.0/24. At a public one peer and phones are there; at one behind a NAT they are in a LAN that has the
same addresses at each of these sites. What becomes of packets is `world.internet`'s to say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2psip.base.address import Address
from p2psip.coupling.line import Line
from p2psip.coupling.peer import Peer
from p2psip.portmap.values import HomeRouter
from p2psip.reload.config.document import parse
from p2psip.reload.config.write import build
from p2psip.reload.node.relays.relay_terms import RelayTerms, RelayWish
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.paths.values import Purpose, RouterFound
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType
from p2psip.sim.cost_report import Meter, Report
from p2psip.sim.ip.boxes import Nat, NatBehaviour
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.network import Internet, Network, ip_of
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.ip.port_server import MappingNat
from p2psip.sim.ip.secured import Credentials
from p2psip.sim.signer import SimulatedVerifier
from p2psip.sim.simulated_overlay import ADMIN, simulated_configuration
from p2psip.sim.sites.disk import Disk
from p2psip.sim.sites.machine_phone import MachinePhone
from p2psip.sim.sites.making import identity_of, line_of, make_peer
from p2psip.sim.sites.peer_driver import PeerDriver
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.turn.limits import TurnLimits

OVERLAY_PORT = 6084
PEER_SIP_PORT = 5061
PHONE_PORT = 5060
NAT_LAN = "192.168.1"
OTHER_PROVIDERS = 255
"""Numbers of networks from there on are no site's to begin with."""


@dataclass(eq=False)
class InternetSite:
    """One peer's machine and what is around it."""

    number: int
    machine: Machine
    disk: Disk
    isp: Network
    lan: Network
    advertised: str
    """At which address other peers reach it."""
    nat: Nat | None = None
    phones: list[MachinePhone] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    starts: int = 0
    driver: PeerDriver = field(init=False)
    relay: RelayTerms = field(default_factory=RelayTerms)
    """Whether its peer relays for others."""
    is_client: bool = False
    """Whether it takes part as a client, from its next start on."""
    numbering: Numbering | None = None
    """What its operator has set of numbers."""
    is_told: bool = False
    """Whether its peer is told at which address others reach it, in an overlay with ICE."""
    kept: tuple[bytes, float] | None = None
    """The registrations of phones as they were written down last, and at which date."""

    @property
    def name(self) -> str:
        """Of the peer, and of its machine."""
        return self.machine.name

    @property
    def peer(self) -> Peer:
        """The core that runs now."""
        return self.driver.peer

    @property
    def phone_side(self) -> Address:
        """Where phones on the LAN reach the peer."""
        return Address(next(host for host in self.machine.hosts if host in self.lan), PHONE_PORT)


class InternetSites:
    """See above. With `ip` 6 it has IPv6 alone, and no NATs; `authority` is a certificate that every peer shows beside
    its own, so that handshakes are as large as those with X.509; with `is_full_size` all certificates and signatures
    are as long as real ones. `has_multicast`: peers ask for each other on their links. `settings` replace fields of
    the configuration.
    """

    def __init__(
        self,
        seed: int | str,
        *,
        ip: int = 4,
        link_types: Sequence[OverlayLinkType] = NO_ICE,
        authority: bytes = b"",
        is_full_size: bool = False,
        has_multicast: bool = False,
        **settings: object,
    ) -> None:
        self.seed = seed
        self._has_multicast = has_multicast
        self._ip = ip
        self.meter = Meter()
        self.internet = Internet(seed)
        self.sites: list[InternetSite] = []
        self._link_types = tuple(link_types)
        self._shown = (authority,) if authority else ()
        self._is_full_size = is_full_size
        self._switched = 0
        bootstrap = Address(self.public_host(0), OVERLAY_PORT)
        self.document = parse(build(simulated_configuration([bootstrap], **settings), ADMIN))

    # Building

    def add_public(
        self,
        number: int,
        *,
        clock_rate: float = 1.0,
        relay: RelayWish = RelayWish.NO,
        limits: TurnLimits | None = None,
        is_client: bool = False,
        numbering: Numbering | None = None,
    ) -> InternetSite:
        """A site where all have public addresses; `clock_rate` as of a MachineClock. Its peer may relay for others."""
        isp, machine = self._isp(number), Machine(self.internet, f"s{number}", clock_rate=clock_rate)
        machine.plug(isp, self.public_host(number))
        site = InternetSite(number, machine, Disk(machine), isp, isp, self.public_host(number))
        site.relay, site.is_client = RelayTerms(relay, limits or TurnLimits()), is_client
        site.numbering = numbering
        return self._add(site)

    def add_behind_nat(
        self,
        number: int,
        behaviour: NatBehaviour | None = None,
        *,
        forwards: bool = True,
        blocks: frozenset[Protocol] = frozenset(),
        maps_by: Collection[str] = (),
        is_client: bool = False,
        is_told: bool = False,
    ) -> InternetSite:
        """A site in a LAN behind a NAT, which forwards the two ports that other peers connect to, or does not.

        What is in `blocks` passes in neither direction. With `maps_by`, PCP or NAT-PMP or both, it maps ports for who
        asks, and its peer does. Where it `is_told` its peer knows its outside address, as one that is set to advertise
        it; without ICE each does.
        """
        isp, lan = self._isp(number), self.internet.lan(f"lan{number}", f"{NAT_LAN}.0/24")
        name = f"nat{number}"
        nat = (
            MappingNat(self.internet, name, behaviour, languages=maps_by, blocks=blocks)
            if maps_by
            else Nat(self.internet, name, behaviour, blocks=blocks)
        )
        nat.plug(isp, self.public_host(number))
        nat.plug(lan, f"{NAT_LAN}.1", is_inside=True)
        machine = Machine(self.internet, f"s{number}")
        machine.plug(lan, f"{NAT_LAN}.2", gateways=(f"{NAT_LAN}.1",))
        for port in (OVERLAY_PORT, PEER_SIP_PORT) if forwards else ():
            for protocol in (Protocol.TCP, Protocol.UDP):
                nat.forward(protocol, port, Address(f"{NAT_LAN}.2", port))
        site = InternetSite(number, machine, Disk(machine), isp, lan, self.public_host(number), nat)
        site.is_client, site.is_told = is_client, is_told
        return self._add(site)

    def add_beside(self, other: InternetSite, number: int) -> InternetSite:
        """A further peer in the LAN of one that is behind a NAT; nothing is forwarded to it."""
        machine = Machine(self.internet, f"s{number}")
        machine.plug(other.lan, f"{NAT_LAN}.{number + 2}", gateways=(f"{NAT_LAN}.1",))
        return self._add(
            InternetSite(number, machine, Disk(machine), other.isp, other.lan, other.advertised, other.nat)
        )

    def line(self, site: InternetSite, user: str) -> None:
        """Give a user a line at a peer, there to stay."""
        line = line_of(self.seed, site.number, user, user, is_full_size=self._is_full_size)
        site.lines.append(line)
        site.driver.call(lambda now: site.peer.add_line(line, now))

    def remove_line(self, site: InternetSite, user: str) -> None:
        """A user has no line there any more."""
        site.lines = [line for line in site.lines if line.name != user]
        site.driver.call(lambda now: site.peer.remove_line(user, now))

    def phone(self, site: InternetSite, user: str, *, machine: Machine | None = None, **options: Any) -> MachinePhone:
        """A phone of a user who has a line, registered: on the LAN of the site, or `machine` wherever that is."""
        phone = self.begin_phone(site, user, machine=machine, **options)
        assert self.run(10.0, stop=lambda: phone.is_registered), phone.refusal or "the server does not answer"
        return phone

    def begin_phone(
        self, site: InternetSite, user: str, *, machine: Machine | None = None, **options: Any
    ) -> MachinePhone:
        """The same, that has begun to register."""
        if machine is None:
            machine = Machine(self.internet, f"{site.name} phone {user}")
            network, _, _ = site.phone_side.host.rpartition("." if self._ip == 4 else ":")
            host = f"{network}{'.' if self._ip == 4 else ':'}{100 + len(site.phones)}"
            machine.plug(site.lan, host, gateways=tuple(site.machine.interfaces[0].gateways.values()))
        server = site.phone_side if machine.interfaces[0].network is site.lan else Address(site.advertised, PHONE_PORT)
        phone = MachinePhone(machine, user, server, **options).register()
        site.phones.append(phone)
        return phone

    # Time and fortune

    def run(self, seconds: float, *, stop: Callable[[], bool] | None = None) -> bool:
        """Let time go on; True as soon as `stop` says so."""
        return self.internet.run_for(seconds, stop=stop)

    def settle(self, limit_s: float = 120.0) -> None:
        """Let time go on until every peer that runs is a member and has placed the records of its lines."""
        is_whole = self.run(limit_s, stop=lambda: all(map(_is_at_home, self.running())))
        assert is_whole, [site.name for site in self.running() if not _is_at_home(site)]

    def running(self) -> list[InternetSite]:
        """The sites whose peers have power."""
        return [site for site in self.sites if site.machine.is_on]

    def start_anew(self, site: InternetSite) -> None:
        """Its peer ends cleanly, which takes a second, and begins again, in another role if that was set."""
        site.driver.call(site.peer.stop)
        self.run(1.0)
        self.cut_power(site)
        self.power_up(site)

    def cut_power(self, site: InternetSite) -> None:
        """The peer's machine is off; what was not synced is lost."""
        site.machine.cut_power()

    def power_up(self, site: InternetSite) -> None:
        """The machine boots, if it was off, and its peer starts with what is on its disk: records, lines, the phones of
        before.
        """
        if not site.machine.is_on:
            site.machine.boot()
        self._start(site)

    def switch_uplink(self, site: InternetSite) -> None:
        """Its router goes on over another provider: another network, another address, and no mapping is left."""
        assert site.nat is not None, "behind a router"
        self._switched += 1
        number, outside = OTHER_PROVIDERS + self._switched, site.nat.outside
        for host in list(outside.hosts):
            outside.remove(host)
        outside.network = site.isp = self._isp(number)
        site.advertised = self.public_host(number)
        site.nat.reboot(site.advertised, off_s=0.0)

    def report(self) -> Report:
        """What the run has cost until now."""
        return self.meter.read(self.internet.clock, len(self.sites))

    # Inside

    def public_host(self, number: int) -> str:
        """The public address of a site, in 198.20.0.0/15 or 2001:db8::/32, which a relay takes for public."""
        return str(ip_of(f"2001:db8:{number:x}::1")) if self._ip == 6 else f"198.{20 + (number >> 8)}.{number & 255}.1"

    def _isp(self, number: int) -> Network:
        host = self.public_host(number)
        prefix = f"{host.removesuffix('1')}/64" if self._ip == 6 else f"{host.rpartition('.')[0]}.0/24"
        return self.internet.network(f"isp{number}", prefix)

    def _add(self, site: InternetSite) -> InternetSite:
        self.sites.append(site)
        self._start(site)
        return site

    def _start(self, site: InternetSite) -> None:
        leaving = site.peer.publisher.leaving if site.starts else []
        site.starts += 1
        machine = site.machine
        identity = identity_of(self.seed, site.name, is_full_size=self._is_full_size)
        rng = random.Random(f"{self.seed}/{site.name}/{site.starts}")
        wall = machine.clock.wall(self.internet.now)
        continuity = site.disk.open()
        no_ice, maps = self.document.configuration.no_ice, isinstance(site.nat, MappingNat)
        peer = make_peer(
            site.name,
            identity,
            self.document.configuration,
            SimulatedVerifier(),
            site.disk.synced,
            wall,
            self._settings_of(site),
            rng,
            machine.now,
            phone_side=[Address(host, PHONE_PORT) for host in machine.hosts],
            continuity=continuity,
            has_call_paths=not no_ice,
            numbering=site.numbering,
        )
        credentials = Credentials([*(each.certificate for each in identity.certificates), *self._shown], rng)
        driver = site.driver = PeerDriver(machine, peer, credentials, site.disk, site.phone_side.host)
        own = site.phone_side.host
        driver.listen([Address(own, OVERLAY_PORT), Address(own, PEER_SIP_PORT)])
        driver.listen_datagrams([Address(own, OVERLAY_PORT)])
        if self._has_multicast:
            driver.listen_lan()
        if not no_ice:
            driver.listen_datagrams([Address(own, PEER_SIP_PORT)], is_for_calls=True)
        driver.listen_phones([Address(host, PHONE_PORT) for host in machine.hosts])
        for line in site.lines:
            driver.call(lambda now, line=line: peer.add_line(line, now))  # type: ignore[misc]
        for each in leaving:
            driver.call(lambda now, each=each: peer.finish_removal(each, now))  # type: ignore[misc]
        if site.kept is not None:
            snapshot, date = site.kept
            elapsed_s = max(0.0, wall.date(machine.now) - date)
            driver.call(lambda now: peer.restore(snapshot, elapsed_s, now))
        driver.bindings_changed = lambda: self._keep(site)
        if maps:
            router = HomeRouter(f"{NAT_LAN}.1", own)
            driver.call(lambda now: peer.handle_path(RouterFound(router), now))
        driver.call(peer.start)

    def _settings_of(self, site: InternetSite) -> NodeSettings:
        no_ice, machine = self.document.configuration.no_ice, site.machine
        # With ICE a peer finds out for itself as whom others see it; so it does where its router maps its ports.
        maps = isinstance(site.nat, MappingNat)
        is_here = maps or self._has_multicast
        known_as = [site.advertised] if site.is_told or (no_ice and not is_here) else machine.hosts
        return NodeSettings(
            is_client=site.is_client,
            may_start_alone=site.number == 0,
            addresses={
                Purpose.RELOAD: tuple(Address(host, OVERLAY_PORT) for host in known_as),
                Purpose.SIP: (Address(machine.hosts[0] if is_here else site.advertised, PEER_SIP_PORT),),
                Purpose.CALLS: () if no_ice else tuple(Address(host, PEER_SIP_PORT) for host in known_as),
            },
            hosts=tuple(machine.hosts) if site.is_told else (),
            link_types=self._link_types,
            lan_port=OVERLAY_PORT if self._has_multicast else 0,
            relay=site.relay,
            port_mapping_secret=site.name.encode() if maps else b"",
        )

    def _keep(self, site: InternetSite) -> None:
        """Write down the registrations of phones, as a peer does on its disk."""
        wall = site.machine.clock.wall(self.internet.now)
        site.kept = site.peer.server.snapshot(site.machine.now), wall.date(site.machine.now)


def _is_at_home(site: InternetSite) -> bool:
    node, publisher = site.peer.node, site.peer.publisher
    is_in = node.is_connected if site.is_client else node.is_serving
    return is_in and all(publisher.placed(line.name) for line in publisher.lines)
