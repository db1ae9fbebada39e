"""RFC 6940 sections 6.5.1.3 to 6.5.1.10: RELOAD's profile of ICE."""

from __future__ import annotations

import itertools
import random

import pytest
from ice_pair import FIRST, SECOND, IcePair

from p2psip.base.address import Address
from p2psip.reload.paths.ice.checks import CheckAnswer, CheckRequest, read
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.values import ACTIVE, PASSIVE, SendStun, StunArrived
from p2psip.reload.wire.link_messages import CandType, OverlayLinkType
from p2psip.sim.ip.boxes import PORT_RESTRICTED
from p2psip.sim.sites.internet import InternetSites
from p2psip.stun.attributes import XOR_MAPPED_ADDRESS
from p2psip.stun.binding import answer_binding
from p2psip.stun.message import BINDING, MessageClass, StunMessage

HERE, SEEN = Address("192.168.1.2", 6084), Address("203.0.113.7", 6084)
SERVERS = (Address("198.51.100.1", 6084), Address("198.51.100.2", 6084))


@pytest.mark.must("6.5.1.3/1")
def test_6_5_1_3_full_ice() -> None:
    """ "RELOAD implementations MUST implement full ICE.": peers behind NATs that forward nothing are one overlay, each
    linked with each other.
    """
    world = InternetSites("ice", no_ice=False, overlay_link_protocols=("DTLS",))
    world.add_public(0)
    for number in (1, 2, 3):
        world.run(2.0)
        world.add_behind_nat(number, PORT_RESTRICTED, forwards=False)
    world.settle()
    world.run(30.0)
    assert [len(site.peer.node.neighbors) for site in world.sites] == [3, 3, 3, 3]


def linked_with(servers: tuple[Address, ...]) -> Punching:
    """A node that has dialled these, who see it as somebody else."""
    punching = Punching(random.Random(1))
    for link, server in enumerate(servers):
        punching.ask(server, 0.0)
        for effect in punching.drain():
            assert isinstance(effect, SendStun)
            assert effect.remote == server
            answer = answer_binding(effect.data, SEEN)
            assert answer is not None
            punching.handle(StunArrived(HERE, server, answer), 0.1)
        punching.claim(2 * link, HERE, server, 0.2, is_dialled=True)
    return punching


def reflexive(punching: Punching) -> set[Address]:
    """As whom a node says in an Attach that it is seen."""
    found = (each for each in punching.describe([HERE], PASSIVE).candidates if each.type is CandType.SRFLX)
    return {Address(*each.addr_port.host_port) for each in found if each.addr_port.host_port is not None}


@pytest.mark.must("6.5.1.4/1")
def test_6_5_1_4_servers_are_those_with_whom_there_is_a_connection() -> None:
    """ "If the connection to that host is lost, it MUST be removed from the list of STUN servers, and a new server from
    the same group MUST be selected": both see us alike, so one is enough; without either nobody does.
    """
    punching = linked_with(SERVERS)
    assert reflexive(punching) == {SEEN}
    punching.down(0)
    assert reflexive(punching) == {SEEN}
    punching.down(2)
    assert reflexive(punching) == set()


@pytest.mark.must("6.5.1.8/1")
def test_6_5_1_8_ice_support_is_not_verified() -> None:
    """ "An agent MUST skip the verification procedures in Sections 5.1 and 6.1 of ICE.": checks come from an address
    that is none of the candidates, which there would be a mismatch; here the path is that.
    """
    other = Address("192.0.2.77", 6084)
    pair = IcePair()
    moved = [each._replace(base=other) for each in pair.candidates[SECOND]]
    pair = IcePair(second=moved)
    pair.begin_both()
    pair.run(3.0)
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"]


@pytest.mark.must("6.5.1.9/1")
def test_6_5_1_9_roles() -> None:
    """ "The connectivity checks MUST still contain the ICE-CONTROLLED and ICE-CONTROLLING attributes": by who sent the
    Attach, as long as there are checks.
    """
    pair = IcePair()
    pair.begin_both()
    pair.run(60.0)
    checks = [(sent[1], check) for sent in pair.sent if isinstance(check := read(sent[3]), CheckRequest)]
    assert {(source.host, check.role and check.role.is_controlling) for source, check in checks} == {
        ("192.0.2.1", True),
        ("192.0.2.2", False),
    }
    offering, answering = (Punching(random.Random(1)).describe([HERE], role) for role in (PASSIVE, ACTIVE))
    assert {each.overlay_link for each in offering.candidates} == {OverlayLinkType.DTLS_UDP_SR}
    assert (offering.role, answering.role) == (b"passive", b"active")


@pytest.mark.must("6.5.1.10.2/1", "6.5.1.10.3/1")
def test_6_5_1_10_a_path_is_kept_by_stun_and_nothing_else_is_said() -> None:
    """ "The controlling agent MUST NOT attempt to send an updated offer once the state of its single media stream
    reaches Completed", and "STUN MUST be utilized for the keepalives": for an hour Binding requests and their answers,
    at most 24 seconds apart.
    """
    pair = IcePair()
    pair.begin_both()
    pair.run(5.0)
    pair.sent.clear()
    pair.run(3600.0)
    assert {type(read(data)) for _, _, _, data in pair.sent} == {CheckRequest, CheckAnswer}
    times = [when for when, source, _, _ in pair.sent if source.host == "192.0.2.1"]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 24.1
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"]


def test_who_is_asked_answers_only_for_itself() -> None:
    """What comes from elsewhere in the name of a server is not believed."""
    punching = Punching(random.Random(1))
    punching.ask(SERVERS[0], 0.0)
    (asked,) = punching.drain()
    assert isinstance(asked, SendStun)
    number = asked.data[8:20]
    mapped = XOR_MAPPED_ADDRESS.of(Address("203.0.113.66", 1), number)
    forged = StunMessage(MessageClass.SUCCESS, BINDING, number, (mapped,)).encode()
    punching.handle(StunArrived(HERE, SERVERS[1], forged), 0.1)
    assert reflexive(punching) == set()
