"""What is said of ourselves in an Attach, and what of another's words is dialled."""

from __future__ import annotations

import random

from candidates import dtls, host_candidate, tls

from p2psip.base.address import Address
from p2psip.reload.paths.candidates import SIP_LINK_TYPES, OwnPort, Whereabouts, dialable
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.limits import CANDIDATES_MAX
from p2psip.reload.paths.values import Candidate, Parameters, Purpose
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import NO_ICE, CandType, OverlayLinkType

HERE = Address("192.0.2.1", 6084)


def offering(*told: Address) -> Parameters:
    """What is offered without ICE by one that makes links of both kinds."""
    return without_ice(*told).offering(Purpose.RELOAD)


def without_ice(*told: Address) -> Whereabouts:
    """One that is known at these addresses."""
    whereabouts = Whereabouts(NO_ICE, Punching(random.Random(1)))
    whereabouts.able = NO_ICE
    whereabouts.addresses[Purpose.RELOAD] = told
    return whereabouts


def test_6_5_1_1_who_offers_is_passive_and_who_answers_active() -> None:
    answering = without_ice(HERE).answering(Purpose.RELOAD, offering(HERE))
    assert (offering(HERE).role, answering.role) == (b"passive", b"active")
    assert offering(HERE).candidates == answering.candidates
    assert offering(HERE).component == 1
    assert offering().candidates == ()


def test_each_address_is_offered_with_each_kind_of_link_the_better_kind_first() -> None:
    there = Address("2001:db8::1", 6084)
    offered = offering(HERE, there).candidates
    assert dialable(offered, NO_ICE) == (*tls(HERE, there), *dtls(HERE, there))
    assert dialable(offered[::-1], NO_ICE) == (*tls(HERE, there), *dtls(HERE, there)), "by priority, not by place"
    assert len(offering(*[HERE] * 100).candidates) == CANDIDATES_MAX


def test_candidates_are_dialled_by_priority() -> None:
    """Each address once."""
    candidates = [host_candidate("192.0.2.1", 1, priority=5), host_candidate("2001:db8::1", 2, priority=9)]
    wanted = tls(Address("2001:db8::1", 2), Address("192.0.2.1", 1))
    assert dialable([*candidates, candidates[0]], SIP_LINK_TYPES) == wanted


def test_of_the_links_that_both_make_the_one_that_the_other_likes_best_is_dialled() -> None:
    """An address may be there twice, for TLS and for DTLS; who makes no DTLS leaves those out."""
    both = (OverlayLinkType.TLS_TCP_FH_NO_ICE, OverlayLinkType.DTLS_UDP_SR_NO_ICE)
    here = Address("192.0.2.1", 1)
    offered = [
        host_candidate(*here, priority=5),
        host_candidate(*here, priority=9, overlay_link=OverlayLinkType.DTLS_UDP_SR_NO_ICE),
    ]
    assert dialable(offered, both) == (*dtls(here), *tls(here))
    assert dialable(offered, both[:1]) == tls(here)
    assert dialable(offered, both[1:]) == dtls(here)


def test_what_cannot_be_dialled_is_left_out() -> None:
    """Other transports, ICE's kinds, and addresses that are not of one host."""
    assert dialable([
        host_candidate("192.0.2.1", 1, overlay_link=OverlayLinkType.DTLS_UDP_SR),
        host_candidate("192.0.2.1", 0),
        host_candidate("224.0.0.1", 1),
        host_candidate("ff02::1", 1),
        host_candidate("0.0.0.0", 1),
        host_candidate("255.255.255.255", 1),
        host_candidate("::", 1),
    ], SIP_LINK_TYPES) == ()  # fmt: skip


def test_the_number_of_candidates_is_bounded() -> None:
    """One message does not make us dial the whole world."""
    assert (
        len(dialable([host_candidate("192.0.2.1", port) for port in range(1, 100)], SIP_LINK_TYPES)) == CANDIDATES_MAX
    )


def described(*told: Address, hosts: tuple[str, ...] = ()) -> list[tuple[CandType, object, object]]:
    """What is offered with ICE: types, addresses, and those that they are related to."""
    whereabouts = Whereabouts((OverlayLinkType.DTLS_UDP_SR,), Punching(random.Random(1)))
    whereabouts.able = (OverlayLinkType.DTLS_UDP_SR_NO_ICE,)
    whereabouts.addresses[Purpose.RELOAD], whereabouts.hosts = told, hosts
    return [
        (each.type, each.addr_port.host_port, each.rel_addr_port and each.rel_addr_port.host_port)
        for each in whereabouts.offering(Purpose.RELOAD).candidates
    ]


def test_with_ice_an_address_that_a_router_passes_on_is_server_reflexive() -> None:
    """RFC 8445 4: a host candidate is "obtained by binding to a specific port from an IP address on the host"."""
    behind, router = Address("192.168.7.2", 6084), Address("203.0.113.9", 6084)
    assert described(router, hosts=(behind.host,)) == [
        (CandType.HOST, behind, None),
        (CandType.SRFLX, router, behind),
    ]
    assert described(behind, hosts=(behind.host,)) == described(behind) == [(CandType.HOST, behind, None)]


def test_what_is_passed_on_leads_to_an_address_of_its_kind_or_nowhere() -> None:
    behind, router = Address("2001:db8::2", 6084), Address("203.0.113.9", 6084)
    assert described(router, hosts=(behind.host,)) == [(CandType.HOST, behind, None)]


ROUTER = Address("192.168.7.1", 5351)
BEHIND = Address("192.168.7.2", 6084)
UDP, TCP = Address("203.0.113.9", 7000), Address("203.0.113.9", 8000)
GIVEN = {
    OwnPort(Purpose.RELOAD, is_stream=False): Mapped(UDP, BEHIND, ROUTER),
    OwnPort(Purpose.RELOAD, is_stream=True): Mapped(TCP, BEHIND, ROUTER),
}


def test_what_a_router_has_mapped_is_told_after_the_best_address_with_the_port_that_it_has_there() -> None:
    other = Address("10.0.0.2", 6084)
    whereabouts = without_ice(BEHIND, other)
    whereabouts.mapped = GIVEN
    offered = whereabouts.offering(Purpose.RELOAD).candidates
    assert dialable(offered, NO_ICE) == (*tls(BEHIND, TCP, other), *dtls(BEHIND, UDP, other))


def test_with_ice_a_mapped_port_is_server_reflexive_and_a_stream_beside() -> None:
    whereabouts = Whereabouts((OverlayLinkType.DTLS_UDP_SR, OverlayLinkType.TLS_TCP_FH), Punching(random.Random(1)))
    whereabouts.able = NO_ICE
    whereabouts.addresses[Purpose.RELOAD], whereabouts.hosts = (BEHIND,), (BEHIND.host,)
    whereabouts.mapped = GIVEN
    offered = whereabouts.offering(Purpose.RELOAD).candidates
    assert [(each.overlay_link, each.type, each.addr_port.host_port) for each in offered] == [
        (OverlayLinkType.DTLS_UDP_SR, CandType.HOST, BEHIND),
        (OverlayLinkType.DTLS_UDP_SR, CandType.SRFLX, UDP),
        (OverlayLinkType.TLS_TCP_FH, CandType.HOST, BEHIND),
        (OverlayLinkType.TLS_TCP_FH, CandType.HOST, TCP),
    ]
    assert not whereabouts.are_at(Purpose.RELOAD, UDP), "it is the port here that tells what a connection is for"


def test_the_ports_that_are_to_be_mapped_are_those_at_which_others_connect() -> None:
    whereabouts = without_ice(HERE)
    assert whereabouts.ports() == dict.fromkeys(GIVEN, 6084)
    whereabouts.addresses[Purpose.SIP] = (Address(HERE.host, 5062),)
    assert whereabouts.ports()[OwnPort(Purpose.SIP, is_stream=True)] == 5062
    whereabouts.able = (OverlayLinkType.DTLS_UDP_SR_NO_ICE,)
    assert OwnPort(Purpose.RELOAD, is_stream=True) not in whereabouts.ports()


def test_streams_of_calls_come_to_where_sip_does() -> None:
    """Where our router has mapped that port, there as well; nothing else is asked of the router for them."""
    whereabouts = Whereabouts((OverlayLinkType.DTLS_UDP_SR, OverlayLinkType.TLS_TCP_FH), Punching(random.Random(1)))
    whereabouts.able = NO_ICE
    sip, given = BEHIND._replace(port=5061), Address("203.0.113.9", 9000)
    whereabouts.addresses |= {Purpose.RELOAD: (BEHIND,), Purpose.SIP: (sip,), Purpose.CALLS: (sip,)}
    whereabouts.mapped = {OwnPort(Purpose.SIP, is_stream=True): Mapped(given, sip, ROUTER)}
    said = whereabouts.offering(Purpose.CALLS)
    assert whereabouts.streams(Purpose.CALLS, said) == tls(sip, given)
    assert whereabouts.dialable(Purpose.CALLS, said) == (Candidate(sip, OverlayLinkType.DTLS_UDP_SR),)
    assert OwnPort(Purpose.CALLS, is_stream=True) not in whereabouts.ports()


def test_what_streams_are_opened_from_says_nothing_of_where_datagrams_come() -> None:
    """Who has lost UDP opens streams from where he did, and takes all else back."""
    relayed, other = Address("198.51.100.1", 40001), Address("198.51.100.2", 40002)
    base = IpAddressPort.of(*BEHIND)
    outside = {"type": CandType.SRFLX, "rel_addr_port": base}
    streams = host_candidate("203.0.113.9", 8000, overlay_link=OverlayLinkType.TLS_TCP_FH, **outside)

    def said(address: Address) -> Parameters:
        lent = {"type": CandType.RELAY, "rel_addr_port": base}
        checked = host_candidate(*address, overlay_link=OverlayLinkType.DTLS_UDP_SR, **lent)
        return Parameters(b"u", b"p", b"active", (checked, streams))

    assert said(other).takes_back(said(relayed))
    assert not said(other).takes_back(said(other))


def test_who_has_said_nothing_that_leads_to_him_takes_it_back_with_a_port_for_streams() -> None:
    inside = host_candidate("10.0.0.2", 7000, overlay_link=OverlayLinkType.DTLS_UDP_SR)
    outside = {"type": CandType.SRFLX, "rel_addr_port": IpAddressPort.of(*BEHIND)}
    streams = host_candidate("203.0.113.9", 8000, overlay_link=OverlayLinkType.TLS_TCP_FH, **outside)
    before, after = Parameters(b"u", b"p", b"active", (inside,)), Parameters(b"u", b"p", b"active", (inside, streams))
    assert after.takes_back(before)
    assert not after.takes_back(after)
    assert not before.takes_back(before)
    assert not before.takes_back(after)
