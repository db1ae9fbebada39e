"""What a survey means (p2psip.reload.paths.nat), in words for who runs a peer at home: what it is behind, what will
work, what will not, and what to change.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2psip.base.address import without_zone
from p2psip.reload.node.connecting.nat.port_mapping import PortMappingFacts
from p2psip.reload.paths.nat.reach import EndpointDependence, Reach

CARRIER: Final = ipaddress.ip_network("100.64.0.0/10")
"""Between a carrier's NAT and its customers (RFC 6598)."""

KEPT_EVERY_S: Final = 25.0
"""Paths are kept open at least so often, with some to spare: a NAT that remembers for longer does no harm."""

FILTERS: Final = {
    EndpointDependence.NONE: "lets in everybody",
    EndpointDependence.ADDRESS: "lets in only machines to which something was sent from here",
    EndpointDependence.ADDRESS_AND_PORT: "lets in only answers: from the very port to which something was sent",
}

RELAY: Final = "that takes a relay, which is another peer."

MAPPINGS: Final = {
    EndpointDependence.NONE: "one outside port for all other ends",
    EndpointDependence.ADDRESS: "another outside port for each other machine",
    EndpointDependence.ADDRESS_AND_PORT: "another outside port for each other end",
    EndpointDependence.SOME: "another outside port for each other machine, if not for each other end",
}


@dataclass(frozen=True, slots=True)
class NatWords:
    """In sentences. `what` is one; of the others there may be none."""

    what: str
    works: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()
    change: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SitePorts:
    """What would have to be forwarded to a peer."""

    overlay: int
    sip: int
    has_ice: bool = True


def nat_words(reach: Reach, ports: SitePorts, mapping: PortMappingFacts) -> NatWords:
    """What there is to say of a survey."""
    if not reach.helpers:
        return NatWords(
            "Nothing is known yet: no member on another machine is linked with this peer over UDP that could be asked.",
            change=(
                ("See with `p2psip status` whether it is in the overlay, and ask again then.",)
                if ports.has_ice
                else ("This overlay has no ICE, and needs none of it: peers reach each other at their own addresses.",)
            ),
        )
    if reach.is_udp_blocked:
        return _blocked(ports)
    if reach.is_open:
        return NatWords(
            f"This machine has a public address, {_host(reach)}, and all of its ports can be reached.",
            ("Every other peer can be linked with this one, and be called, whatever it is behind.",),
        )
    works, fails = _punching(reach)
    if reach.is_dialable:
        works, fails = ("Every other peer can be linked with this one, whatever it is behind.",), ()
    return NatWords(_what(reach), works, fails, tuple(_changes(reach, ports, mapping)))


def mapping_words(mapping: PortMappingFacts) -> str:
    """What came of asking the router for ports."""
    if not mapping.is_allowed:
        return "The router is not asked to let others in: port_mapping is not true in peer.toml."
    if not mapping.router:
        return "This machine has no router that could be asked to let others in: no gateway of IPv4."
    beyond = (
        f" It is {mapping.inner_address}, an address inside of one more router, so that nobody on the Internet gets"
        " there unless that one lets them in, too."
        if mapping.inner_address
        else ""
    )
    if mapping.given:
        ports = ", ".join(f"{port} as {outside}" for port, outside in mapping.given)
        by = f" ({mapping.language})" if mapping.language else ""
        but = "".join(f" Not for {port}: {why}." for port, why in mapping.refused)
        return f"The router {mapping.router} lets others in: {ports}{by}.{but}{beyond}"
    if mapping.is_asking:
        return f"The router {mapping.router} is being asked to let others in."
    if not mapping.refusals:
        return (
            f"The router {mapping.router} is not asked to let others in: this peer does not listen at the address by"
            " which the router knows the machine. See `listen` in peer.toml."
        )
    said = "; ".join(f"{language}: {why}" for language, why in mapping.refusals)
    return (
        f"The router {mapping.router} does not let others in: {said}.{beyond} Look in its settings for UPnP, NAT-PMP or"
        " port mapping and switch it on, or forward the ports by hand."
    )


def facts_in_words(reach: Reach) -> list[tuple[str, str]]:
    """What was found, thing by thing: its name, and what is the case."""
    confirmed = len(set(reach.reached_by or reach.opened_by))
    if reach.is_dialable or reach.is_open:
        reachable = f"yes, as {confirmed} other members have seen"
    elif confirmed:
        reachable = "perhaps: one other member has seen that it can, and one is not believed"
    else:
        reachable = "no" if reach.filtering is not None else "not known"
    return [
        ("this machine", "not known" if reach.local is None else str(reach.local)),
        ("seen by others as", "not known" if reach.address is None else str(reach.address)),
        ("outside port", _or_unknown(MAPPINGS, reach.mapping)),
        ("from outside", _or_unknown(FILTERS, reach.filtering)),
        ("can be dialled", reachable),
        ("from inside by its outside address", {None: "not known", True: "yes", False: "no"}[reach.hairpins]),
        ("a silent path is kept", _lifetime(reach)),
    ]


def _or_unknown(words: dict[EndpointDependence, str], found: EndpointDependence | None) -> str:
    return "not known" if found is None else f"{words[found]} ({found.value})"


def _lifetime(reach: Reach) -> str:
    if reach.keeps_s is None and reach.forgets_s is None:
        return "not measured yet"
    if reach.forgets_s is None:
        return f"for {reach.keeps_s:.0f} s or longer"
    if reach.keeps_s is None:
        return f"for less than {reach.forgets_s:.0f} s"
    return f"for {reach.keeps_s:.0f} s or longer, but not for {reach.forgets_s:.0f} s"


def _host(reach: Reach) -> str:
    return "" if reach.address is None else reach.address.host


def _blocked(ports: SitePorts) -> NatWords:
    way = "let UDP out" if ports.has_ice else f"let UDP out; or go without, with TCP port {ports.overlay} open"
    direct = (
        "Links and calls over TCP, where the other end can be dialled; links between most routers of homes as well."
    )
    relayed = "All else, voice as well, over TLS through a peer that relays, by a detour; `p2psip status` shows which."
    links = "Links over TCP, where the other end can be dialled."
    return NatWords(
        "UDP does not get through: no other member has answered over it. A firewall drops it.",
        works=(direct, relayed) if ports.has_ice else (links,),
        fails=(
            "Paths over UDP, on which a lost packet holds up none of the voice behind it."
            if ports.has_ice
            else "Links over UDP, and voice through the peers.",
        ),
        change=(f"In the firewall or router: {way}, from this machine to any port, and its answers in.",),
    )


def _what(reach: Reach) -> str:
    if not reach.has_nat:
        if reach.filtering is None:
            return f"This machine has a public address, {_host(reach)}; whether others can reach it is not known."
        return f"This machine has a public address, {_host(reach)}, behind a firewall that {FILTERS[reach.filtering]}."
    seen = f"others see it as {_host(reach)}"
    if reach.mapping is None:
        kind = "a router (NAT) of which more is not known"
    elif reach.mapping is not EndpointDependence.NONE:
        kind = "a router of the hard kind (symmetric NAT), as carriers and offices have"
    elif reach.filtering is EndpointDependence.NONE:
        kind = "a router of the easiest kind (full cone NAT)"
    elif reach.filtering is EndpointDependence.ADDRESS:
        kind = "a router of an easy kind (restricted cone NAT)"
    else:
        kind = "a router as most homes have (port-restricted NAT)"
    return f"This peer is behind {kind}; {seen}."


def _punching(reach: Reach) -> tuple[tuple[str, ...], tuple[str, ...]]:
    public = "Links and calls with peers that have a public address, or a forwarded port."
    if reach.mapping is None:
        return (public,), ()
    if reach.mapping is EndpointDependence.NONE and reach.filtering is EndpointDependence.ADDRESS_AND_PORT:
        return (public, "With peers behind usual home routers: directly."), (
            f"Directly with peers behind routers of the hard kind (symmetric): {RELAY}",
        )
    if reach.mapping is EndpointDependence.NONE:
        return (public, "With peers behind routers of any kind: directly."), ()
    return (public, "With peers behind routers of the easy kinds: directly."), (
        f"Directly with peers behind usual home routers, or another of the hard kind: {RELAY}",
    )


def _changes(reach: Reach, ports: SitePorts, mapping: PortMappingFacts) -> Iterator[str]:
    if reach.is_cut_short:
        yield "The other members have been asked too often in the last minutes to tell all: ask again in two minutes."
    elif reach.mapping is None or reach.filtering is None:
        yield "To know more, ask again when two other members are there that can be dialled from anywhere."
    if reach.is_dialable:
        if not reach.is_open:
            yield "Nothing needs to change. This peer is no relay for others, as only some of its ports can be reached."
        return
    if not reach.has_nat:
        yield f"In the firewall let UDP and TCP port {ports.overlay}, and TCP port {ports.sip}, in to this machine."
        return
    local = "this machine" if reach.local is None else reach.local.host
    forwarding = (
        f"In the router forward UDP and TCP port {ports.overlay}, and TCP port {ports.sip}, to {local}, and put"
        f' advertise = ["{_host(reach)}"] into peer.toml, if that address stays the same.'
    )
    if _is_carrier(reach) or _is_carriers(mapping.inner_address):
        yield (
            "Between your router and the Internet is one more NAT, your provider's: no setting of yours opens that. Ask"
            " the provider for a public address, or use IPv6."
        )
        return
    if mapping.inner_address:
        yield (
            f"Your router is itself behind another one, inside of which it is {mapping.inner_address}: in that one"
            f" forward UDP and TCP port {ports.overlay}, and TCP port {ports.sip}, to it, or have it be a mere modem"
            ' ("bridge mode").'
        )
    if not mapping.given:
        yield forwarding
    if not mapping.is_allowed:
        yield "Many routers do that when they are asked: put port_mapping = true into peer.toml, and restart the peer."
    if reach.mapping is not EndpointDependence.NONE:
        yield 'Some routers have a setting "full cone NAT", "static port" or "consistent NAT": that helps as well.'
    if reach.forgets_s is not None and reach.forgets_s <= KEPT_EVERY_S:
        yield "The router forgets silent connections very soon: raise its UDP timeout to 60 s or more."


def _is_carrier(reach: Reach) -> bool:
    """True if the address that the router itself has been seen with is one of a carrier's inside."""
    return any(address is not None and _is_carriers(address.host) for address in (reach.local, reach.address))


def _is_carriers(host: str) -> bool:
    return bool(host) and ipaddress.ip_address(without_zone(host)) in CARRIER
