"""Where a peer listens, by which addresses and names others know it, and what its SIP server is told of both."""

from __future__ import annotations

import ipaddress
import resource
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace

from p2psip.base.address import Address, as_domain, without_zone
from p2psip.base.errors import LocalMisuse
from p2psip.coupling.gruu import peer_uri
from p2psip.daemon.state.dial_plan_file import load_numbering
from p2psip.daemon.state.settings import SETTINGS_FILE, PeerSettings, neighbour_of
from p2psip.daemon.state.state import PeerState
from p2psip.dundi.values import EntityTerms
from p2psip.net.peer_host import Endpoints
from p2psip.net.sockets.addresses import LOOPBACKS, PortTaken, split_host_port, usable_hosts
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.node.relays.relay_terms import RelayTerms, RelayWish
from p2psip.reload.security.keys import derive_secret
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.entities.overlays.other_overlays import OtherOverlays
from p2psip.sip.transports.flow_table import TransportLimits
from p2psip.sip.transports.layer import Listener
from p2psip.sip.transports.own_addresses import OwnAddresses
from p2psip.turn.limits import TurnLimits

TOKENS = b"p2psip tokens in URIs"

WILDCARDS = {"0.0.0.0": 4, "::": 6}


def endpoints_of(
    settings: PeerSettings, link_types: Collection[OverlayLinkType], dundi: EntityTerms | None = None
) -> Endpoints:
    """What to open, by the settings: wildcards as such, so that an address may come later than the peer."""
    overlay = tuple(Address(host, settings.overlay_port) for host in bindable(settings.listen))
    phones = tuple(Address(host, settings.phone_port) for host in bindable(settings.phone_listen))
    sip = tuple(Address(host, settings.sip_port) for host in bindable(settings.listen))
    return Endpoints(
        overlay if any(each.without_ice is OverlayLinkType.TLS_TCP_FH_NO_ICE for each in link_types) else (),
        overlay if any(each.without_ice is OverlayLinkType.DTLS_UDP_SR_NO_ICE for each in link_types) else (),
        sip,
        phones if settings.phone_udp else (),
        phones if settings.phone_tcp else (),
        _at_port(phones, settings.phone_tls_port) if settings.phone_tls else (),
        _at_port(phones, settings.phone_ws_port) if settings.phone_ws else (),
        _at_port(phones, settings.phone_wss_port) if settings.phone_wss else (),
        sip if OverlayLinkType.DTLS_UDP_SR in link_types else (),
        None if dundi is None else dundi.local,
    )


async def listen_as_set(listen: Callable[[Endpoints], Awaitable[None]], endpoints: Endpoints, state: PeerState) -> None:
    """Open what is to be open. Raises LocalMisuse, which says which setting has a port that is taken."""
    try:
        await listen(endpoints)
    except PortTaken as error:
        settings = state.settings
        others = {settings.overlay_port: "overlay_port", settings.sip_port: "sip_port"}
        setting = others.get(error.port, "phone_port")
        raise LocalMisuse(f"{error} ({setting} in {state.directory / SETTINGS_FILE})") from None


LINK_SETTINGS = {
    "TLS": OverlayLinkType.TLS_TCP_FH_NO_ICE,
    "DTLS": OverlayLinkType.DTLS_UDP_SR_NO_ICE,
}
"""What `links` in peer.toml means."""


def link_types_of(settings: PeerSettings, configuration: OverlayConfiguration) -> tuple[OverlayLinkType, ...]:
    """The links that the settings and the overlay both permit. Raises LocalMisuse if there are none."""
    able = {LINK_SETTINGS[name] for name in settings.links}
    if link_types := tuple(each for each in configuration.link_types if each.without_ice in able):
        return link_types
    links, permitted = ", ".join(settings.links), ", ".join(configuration.overlay_link_protocols)
    raise LocalMisuse(f"links is {links}, where the overlay permits {permitted}: change it in peer.toml")


def listeners_of(endpoints: Endpoints) -> tuple[Listener, ...]:
    """The same for SIP with phones."""
    udp = (Listener("UDP", local) for local in endpoints.phone_udp)
    return (*udp, *(Listener(transport, local) for transport, local in endpoints.phone_streams))


def transport_limits(descriptors: int) -> TransportLimits:
    """Phones, and whoever connects at their ports, leave half of what may be open to links and to the rest."""
    usual = TransportLimits()
    return replace(usual, flows=min(usual.flows, descriptors // 2))


@dataclass(frozen=True, slots=True)
class KnownAs:
    """By which addresses others know this peer, at a moment: two of them are equal where nothing has changed.

    `overlay` and `sip` are told to other peers, `phones` to people; all of `own` mean this peer to a phone. `hosts` are
    the addresses at which this machine listens for other peers.
    """

    overlay: tuple[Address, ...]
    sip: tuple[Address, ...]
    phones: tuple[Address, ...]
    own: tuple[str, ...]
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: PeerSettings, present: Sequence[str]) -> KnownAs:
        """By the settings and `present`, the addresses that this machine has, best first."""
        told = settings.advertise or tuple(_resolved(settings.listen, present))
        told = tuple(map(without_zone, told))
        hosts = tuple(without_zone(host) for host in _resolved(settings.listen, present))
        phones = _resolved(settings.phone_listen, present)
        everywhere = {WILDCARDS[host] for host in settings.phone_listen if host in WILDCARDS}
        own = [*phones, *(host for host in present if ipaddress.ip_address(host).version in everywhere), *told]
        # A phone on this very machine.
        own += [LOOPBACKS[version] for version in sorted(everywhere)]
        return cls(
            tuple(Address(host, settings.overlay_port) for host in told),
            tuple(Address(host, settings.sip_port) for host in told),
            tuple(Address(without_zone(host), settings.phone_port) for host in phones),
            tuple(dict.fromkeys(own)),
            hosts,
        )

    @property
    def media_host(self) -> str:
        """Where a call has its voice, of which nobody has said where it goes."""
        return self.own[0]

    def facts(self) -> dict[str, object]:
        """For whoever waits for the peer to be ready."""
        return {"overlay": list(map(str, self.overlay)), "phones": list(map(str, self.phones))}


def server_config(
    state: PeerState,
    endpoints: Endpoints,
    known_as: KnownAs,
    dundi: EntityTerms | None = None,
    overlays: OtherOverlays | None = None,
) -> ServerConfig:
    """How the SIP server of a peer treats its phones, by its settings and the overlay's."""
    settings, identity, overlay = state.settings, state.identity, state.configuration.instance_name
    has_call_paths = bool(endpoints.calls)
    media = settings.media_way(has_call_paths=has_call_paths)
    return ServerConfig(
        realm=overlay,
        domains=own_names(settings, overlay),
        listeners=listeners_of(endpoints),
        peer_side=peer_uri(identity.user.partition("@")[0], overlay, identity.node_id),
        hosted=hosted_of(settings, state.configuration),
        addresses=OwnAddresses(known_as.own),
        token_secret=derive_secret(identity.key, TOKENS),
        watchers=settings.watchers,
        callers=settings.callers,
        algorithms=settings.phone_digest,
        media=media,
        media_engine=None if media == "direct" else settings.media_engine_address,
        web_origins=frozenset(map(str.lower, settings.phone_web_origins)),
        has_call_paths=has_call_paths,
        transport_limits=transport_limits(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        numbering=load_numbering(state.directory),
        other_domains=doors_of(settings, dundi),
        overlays=overlays or OtherOverlays(),
    )


def hosted_of(settings: PeerSettings, configuration: OverlayConfiguration) -> frozenset[str]:
    """The further domains of the overlay, but for those that are further names of its own here."""
    return configuration.hosted_domains - own_names(settings, configuration.instance_name)


def doors_of(settings: PeerSettings, dundi: EntityTerms | None) -> OtherDomains:
    """What the operator has opened between a peer and other domains: SIP servers of DUNDi peers are guests."""
    neighbours = dict(map(neighbour_of, settings.neighbours))
    guests = [ipaddress.ip_network(network) for network in settings.guests]
    guests += [ipaddress.ip_network(address.host) for address in neighbours.values()]
    return OtherDomains(
        calls_out=settings.other_domains in ("out", "both"),
        calls_in=settings.other_domains in ("in", "both"),
        names=frozenset(map(as_domain, (*settings.domains, *settings.shared_domains))),
        shared=frozenset(map(as_domain, settings.shared_domains)),
        guests=(*guests, *(() if dundi is None else dundi.calls)),
        host=settings.advertise[0] if settings.advertise else "",
        reaches=() if dundi is None else dundi.reaches,
        servers=neighbours,
    )


def unknown_host(dundi: EntityTerms | None, settings: PeerSettings, overlay: str, known_as: KnownAs) -> str:
    """By which host DUNDi peers are told to call in, if that is none of this peer's; "" if it is."""
    if dundi is None:
        return ""
    host = split_host_port(dundi.host, 0)[0].lower()
    return "" if host in own_names(settings, overlay) or host in known_as.own else host


def relay_terms(settings: PeerSettings) -> RelayTerms:
    """Whether the peer relays for others, and within what limits."""
    limits = TurnLimits(
        allocations=settings.relay_allocations,
        bytes_per_s=settings.relay_kbit_s * 1000 // 8,
        bytes_per_s_per_user=settings.relay_member_kbit_s * 1000 // 8,
    )
    return RelayTerms(RelayWish(settings.relay), limits)


def own_names(settings: PeerSettings, overlay: str) -> frozenset[str]:
    """All names that mean the overlay as the domain of an AoR (design decision 7), beside the own addresses."""
    host = as_domain(socket.gethostname())
    short = host.partition(".")[0]
    names = (overlay, *settings.domains, *settings.shared_domains, host, short, f"{short}.local", "localhost")
    return frozenset(as_domain(name) for name in names if name)


def _at_port(addresses: Sequence[Address], port: int) -> tuple[Address, ...]:
    return tuple(Address(host, port) for host, _ in addresses)


def _resolved(hosts: Sequence[str], present: Sequence[str]) -> list[str]:
    """What is named, and for wildcards the addresses of their families that are of use to others."""
    versions = {WILDCARDS[host] for host in hosts if host in WILDCARDS}
    usable = usable_hosts(present, versions) if versions else []
    return list(dict.fromkeys([*(host for host in hosts if host not in WILDCARDS), *usable]))


def bindable(hosts: Sequence[str]) -> list[str]:
    """Every IPv6 address is none where this machine does not know IPv6; what is named must be there."""
    return [host for host in hosts if host != "::" or _has_ipv6()]


def _has_ipv6() -> bool:
    """True also where no interface has an address of it yet."""
    try:
        with socket.create_server(("::", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
