"""Candidates whose `tcptype` is "so" (RFC 6544 section 4.5): said, read, and paired."""

from __future__ import annotations

from dataclasses import replace

import pytest
from candidates import host_candidate

from p2psip.base.address import Address
from p2psip.reload.paths.candidates import PASSIVE_STREAM, dialable
from p2psip.reload.paths.ice.candidate_addresses import CandidateType, Mapped, priority_of
from p2psip.reload.paths.simultaneous.open_candidates import encoded, pairs_of
from p2psip.reload.paths.values import Candidate, Parameters
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import CandType, IceCandidate, IceExtension, OverlayLinkType

RELAY = Address("198.51.100.4", 6084)
BEHIND, SEEN = Address("192.168.7.2", 50001), Address("203.0.113.9", 61001)
SIX = Address("2001:db8::9", 50002)
FAR, FAR_BEHIND = Address("203.0.113.77", 62001), Address("10.0.0.2", 50003)
FAR_SIX = Address("2001:db8:7::9", 50004)
STREAM = OverlayLinkType.TLS_TCP_FH_NO_ICE


def said(*ports: Mapped) -> Parameters:
    """What one end says in an Attach."""
    return Parameters(b"u", b"p", b"passive", encoded(ports))


FOUR, FAR_FOUR = Mapped(SEEN, BEHIND, RELAY), Mapped(FAR, FAR_BEHIND, RELAY)


def test_a_port_behind_a_nat_is_server_reflexive_and_one_of_its_own_is_a_host_s() -> None:
    four, six = encoded([FOUR, Mapped(SIX, SIX, RELAY)])
    assert (four.type, four.addr_port.host_port, four.rel_addr_port) == (
        CandType.SRFLX,
        SEEN,
        IpAddressPort.of(*BEHIND),
    )
    assert (six.type, six.addr_port.host_port, six.rel_addr_port) == (CandType.HOST, SIX, None)
    for each in (four, six):
        assert each.overlay_link is OverlayLinkType.TLS_TCP_FH
        assert each.extensions == (IceExtension(b"tcptype", b"so"),)
    assert four.priority > six.priority
    assert IceCandidate.decode(four.encode()) == four


def test_one_port_of_each_version_of_ip_is_said() -> None:
    assert len(encoded([FOUR, FOUR._replace(address=FAR), Mapped(SIX, SIX, RELAY)])) == 2


def test_6_2_so_is_paired_with_so_from_the_port_that_was_said() -> None:
    """RFC 6544: "tcp-so" with "tcp-so", and with nothing else."""
    assert pairs_of(said(FOUR), said(FAR_FOUR)) == (Candidate(FAR, STREAM, local=BEHIND),)
    passive = replace(encoded([FAR_FOUR])[0], extensions=(IceExtension(b"tcptype", b"passive"),))
    assert pairs_of(said(FOUR), Parameters(b"u", b"p", b"active", (passive,))) == ()
    relayed = replace(encoded([FAR_FOUR])[0], type=CandType.RELAY)
    assert pairs_of(said(FOUR), Parameters(b"u", b"p", b"active", (relayed,))) == ()
    assert pairs_of(said(), said(FAR_FOUR)) == ()
    assert pairs_of(said(FOUR), said()) == ()


def test_ipv6_goes_first_and_versions_are_not_mixed() -> None:
    both = said(FOUR, Mapped(SIX, SIX, RELAY))
    far = said(FAR_FOUR, Mapped(FAR_SIX, FAR_SIX, RELAY))
    assert pairs_of(both, far) == (Candidate(FAR_SIX, STREAM, local=SIX), Candidate(FAR, STREAM, local=BEHIND))
    assert pairs_of(said(FOUR), said(Mapped(FAR_SIX, FAR_SIX, RELAY))) == ()


@pytest.mark.parametrize("host", ["224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1"])
def test_what_is_no_other_machine_is_no_pair(host: str) -> None:
    assert pairs_of(said(FOUR), said(FAR_FOUR._replace(address=Address(host, 1)))) == ()


def test_a_hundred_candidates_are_one_pair() -> None:
    """Whoever says many has none tried but the first."""
    many = tuple(encoded([FAR_FOUR._replace(address=Address("203.0.113.77", port))])[0] for port in range(1, 100))
    pairs = pairs_of(said(FOUR), Parameters(b"u", b"p", b"active", many))
    assert [each.address.port for each in pairs] == [1]


def test_nobody_listens_there_so_nobody_dials_it() -> None:
    """And who does not look at `tcptype`, as our elder releases, dials what is passive first."""
    passive = host_candidate("203.0.113.7", 6084, overlay_link=OverlayLinkType.TLS_TCP_FH)
    passive = replace(passive, priority=priority_of(CandidateType.HOST, 3) & 0xFFFFFF, extensions=(PASSIVE_STREAM,))
    so = encoded([FAR_FOUR])[0]
    kinds = (OverlayLinkType.TLS_TCP_FH,)
    assert [each.address for each in dialable([so, passive], kinds)] == [Address("203.0.113.7", 6084)]
    unknown = replace(so, extensions=())
    assert [each.address.host for each in dialable([unknown, passive], kinds)] == ["203.0.113.7", FAR.host]
