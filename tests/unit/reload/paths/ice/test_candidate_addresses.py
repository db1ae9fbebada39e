"""p2psip.reload.paths.ice.candidate_addresses: what we are known by, and what of the other end's can be checked."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.reload.paths.ice.candidate_addresses import (
    NEAR_WAIT_S,
    RELAY_WAIT_S,
    CandidateAddress,
    CandidateType,
    Mapped,
    are_pairable,
    decoded,
    encoded,
    gathered,
    in_turn,
    priority_of,
    relay_wait_s,
    towards,
)
from p2psip.reload.paths.limits import ICE_CANDIDATES_MAX
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import CandType, IceCandidate, OverlayLinkType

HOST = Address("192.168.1.2", 5000)
SEEN = Address("203.0.113.9", 6000)
SERVER = Address("198.51.100.3", 3478)
RELAYED = Address("198.51.100.4", 49152)


def test_5_1_2_1_priorities() -> None:
    """Type, then which base, then the one component."""
    assert priority_of(CandidateType.HOST, 0) == (126 << 24) + (65535 << 8) + 255
    assert priority_of(CandidateType.RELAYED, 1) == (65534 << 8) + 255


def test_host_before_reflexive_before_relayed() -> None:
    """All three types in the order of their priorities, each with its base and what it is related to."""
    found = gathered([HOST], [Mapped(SEEN, HOST, SERVER)], [Mapped(RELAYED, HOST, SERVER)])
    assert [(each.type, each.address, each.base, each.related) for each in found] == [
        (CandidateType.HOST, HOST, HOST, None),
        (CandidateType.SERVER_REFLEXIVE, SEEN, HOST, HOST),
        (CandidateType.RELAYED, RELAYED, RELAYED, SERVER),
    ]
    assert len({each.foundation for each in found}) == 3
    assert [each.priority for each in found] == sorted((each.priority for each in found), reverse=True)


def test_5_1_1_3_foundations() -> None:
    """Alike are those of one type, one base and one server."""
    other = Address(HOST.host, 5001)
    first = Mapped(SEEN, HOST, SERVER)
    found = gathered([HOST, other], [first, first._replace(address=Address("203.0.113.9", 6001), base=other)])
    foundations = {each.address: each.foundation for each in found}
    assert foundations[HOST] == foundations[other]
    assert foundations[SEEN] == foundations[Address("203.0.113.9", 6001)] != foundations[HOST]


def test_5_1_3_redundant_candidates() -> None:
    """Who is behind no NAT has no server reflexive candidate."""
    assert [each.type for each in gathered([HOST], [Mapped(HOST, HOST, SERVER)])] == [CandidateType.HOST]


def test_loopback_only_where_there_is_nothing_else() -> None:
    """5.1.1.1: "Addresses from a loopback interface MUST NOT be included"; a node that has nothing else is one of a
    test, and talks to its like.
    """
    loopback = Address("127.0.0.1", 5000)
    assert [each.address for each in gathered([loopback, HOST])] == [HOST]
    assert [each.address for each in gathered([loopback])] == [loopback]


def test_ipv6_and_ipv4_by_turns() -> None:
    """RFC 8421 section 4."""
    hosts = [Address(f"192.168.1.{number}", 1) for number in (1, 2, 3)] + [Address("2001:db8::1", 1)]
    assert [each.address.host for each in gathered(hosts)] == [
        "2001:db8::1",
        "192.168.1.1",
        "192.168.1.2",
        "192.168.1.3",
    ]


def test_many_interfaces_leave_room_for_the_relay() -> None:
    """A bound on candidates, and of each type the best are kept."""
    hosts = [Address(f"192.168.{number}.1", 5000) for number in range(2 * ICE_CANDIDATES_MAX)]
    found = gathered(hosts, [Mapped(SEEN, hosts[0], SERVER)], [Mapped(RELAYED, hosts[0], SERVER)])
    assert len(found) == ICE_CANDIDATES_MAX
    assert {CandidateType.SERVER_REFLEXIVE, CandidateType.RELAYED} < {each.type for each in found}
    assert found[0].address == hosts[0]


def test_over_the_wire() -> None:
    """What one end says the other understands, but for bases, which are its own business."""
    ours = gathered([HOST], [Mapped(SEEN, HOST, SERVER)], [Mapped(RELAYED, HOST, SERVER)])
    theirs = decoded(encoded(ours))
    assert [each[:4] for each in theirs] == [each[:4] for each in ours]


def candidate(host: str, port: int = 5000, link: OverlayLinkType = OverlayLinkType.DTLS_UDP_SR) -> IceCandidate:
    """A host candidate as it comes."""
    return IceCandidate(IpAddressPort.of(host, port), link, b"1", 1, CandType.HOST)


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"])
def test_addresses_of_nobody_or_of_many_are_not_checked(host: str) -> None:
    """One datagram there would be answered by a crowd, or by nobody."""
    assert decoded([candidate(host)]) == ()


def test_what_else_is_not_checked() -> None:
    """No port, or a link without ICE; and one address once."""
    no_ice = OverlayLinkType.DTLS_UDP_SR_NO_ICE
    assert decoded([candidate("192.0.2.1", 0), candidate("192.0.2.1", link=no_ice)]) == ()
    assert len(decoded([candidate("192.0.2.1"), candidate("192.0.2.1")])) == 1
    assert len(decoded([candidate("192.0.2.1", port) for port in range(1, 1000)])) == ICE_CANDIDATES_MAX


@pytest.mark.must("8445 6.1.2.2/1")
@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("192.168.1.2", "203.0.113.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("192.168.1.2", "2001:db8::2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("fe80::1%eth0", "2001:db8::2", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("192.168.1.2", "127.0.0.1", False),
    ],
)
def test_6_1_2_2_what_is_paired(here: str, there: str, expected: bool) -> None:
    """One family, and one scope."""
    assert are_pairable(Address(here, 1), Address(there, 1)) is expected


def test_a_link_local_address_is_dialled_in_our_zone() -> None:
    """The wire knows no zones."""
    there = Address("fe80::2", 5000)
    assert towards(Address("fe80::1%eth0", 5000), there) == Address("fe80::2%eth0", 5000)
    assert towards(HOST, SEEN) == SEEN


def test_in_turn() -> None:
    """The best of each class, in their order."""
    assert in_turn("aaabbc", lambda each: each, 4) == list("aabc")
    assert in_turn("abc", lambda each: each, 9) == list("abc")


HOME, OUTSIDE, OUTSIDE6 = Address("192.168.1.2", 1), Address("203.0.113.7", 2), Address("2001:db8:1::7", 3)
RELAY = Address("198.51.100.1", 4)
LENT = Mapped(Address("198.51.100.1", 5), HOME, RELAY)


@pytest.mark.parametrize(
    ("ours", "theirs", "wait_s"),
    [
        (gathered([HOME], [Mapped(OUTSIDE, HOME, RELAY)], [LENT]), gathered([OUTSIDE]), RELAY_WAIT_S),
        (gathered([HOME], (), [LENT]), gathered([OUTSIDE]), NEAR_WAIT_S),
        (gathered([OUTSIDE]), gathered([HOME], (), [LENT]), NEAR_WAIT_S),
        (gathered([OUTSIDE]), gathered([OUTSIDE6], (), [LENT]), NEAR_WAIT_S),
        (gathered([OUTSIDE, OUTSIDE6]), gathered([OUTSIDE6]), RELAY_WAIT_S),
    ],
    ids=["both outside", "ours inside", "theirs inside", "two families", "one family"],
)
def test_direct_pairs_have_little_time_where_there_may_be_none_but_within_a_site(
    ours: tuple[CandidateAddress, ...], theirs: tuple[CandidateAddress, ...], wait_s: float
) -> None:
    assert relay_wait_s(ours, theirs) == wait_s
    assert relay_wait_s(ours, theirs, was_relayed=True) == NEAR_WAIT_S
