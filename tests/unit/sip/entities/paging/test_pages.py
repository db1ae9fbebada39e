"""Pages: phones that answer by themselves at several peers, whom their owners let speak, and multicast on the LAN."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.media.rtp import RtpPacket
from p2psip.media.session import SendRtp
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.paging.page_terms import Page
from p2psip.sip.entities.paging.pager import ANSWER_S
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse

GROUP = Address("239.255.70.1", 5004)
EVERYBODY = Page("all", "700", ("*", "dora"))
YARD = Page("yard", "701", ("bob",), (GROUP,), frozenset({"alice"}))
LAN = Page("lan", "702", (), (GROUP,))


@pytest.fixture
def world() -> SimulatedPeers:
    """alice, bob and carol at one peer, dora at another."""
    world = SimulatedPeers("pages", carries_media=True)
    world.add(0, numbering=Numbering(pages=(EVERYBODY, YARD, LAN)))
    world.run(3.0)
    world.add(1)
    assert world.run(30.0, stop=lambda: all(site.peer.node.is_serving for site in world.sites.values()))
    return world


class Intercom(SitePhone):
    """A phone that answers by itself when it is asked to, and else rings."""

    def asked(self) -> list[Request]:
        """The calls that it was to answer by itself."""
        requests = [m for data in self.received if isinstance(m := parse(data), Request) and m.method == "INVITE"]
        return [m for m in requests if "answer-after=0" in (m.fields.first("call-info") or "")]


def phones(world: SimulatedPeers, *silent: str) -> dict[str, Intercom]:
    """All of them; of those that are silent nobody answers."""
    made = {}
    for number, (user, at) in enumerate({"alice": 0, "bob": 0, "carol": 0, "dora": 1}.items()):
        world.line(at, user)
        answer_s = None if user in silent else 0.2
        made[user] = Intercom(world[at], user, number, answer_s=answer_s)
        made[user].register()
    world.settle_records((0, 1))
    world.run(2.0)
    assert all(phone.is_registered for phone in made.values())
    return made


def permit(site: Site, user: str, *who: str) -> None:
    """The owner of a line lets these speak."""
    site.call(lambda now: site.peer.handle_calls(user, CallHandling(intercom=who), now))


def test_all_who_let_her_speak_hear_who_pages(world: SimulatedPeers) -> None:
    made = phones(world)
    for user, at in (("bob", 0), ("dora", 1)):
        permit(world[at], user, "alice")
    call = made["alice"].dial("700")
    assert world.run(8.0, stop=lambda: all(made[user].talks for user in ("alice", "bob", "dora")))
    world.run(ANSWER_S)
    assert [made[user].talks for user in ("alice", "bob", "dora")] == [True] * 3
    # carol has named nobody: her phone is a microphone for nobody, and does not ring either.
    assert (made["carol"].rang, made["alice"].rang) == (0, 0)
    assert [len(made[user].asked()) > 0 for user in ("bob", "dora")] == [True, True]
    made["alice"].hang_up(call)
    world.run(2.0)
    assert not any(phone.talks for phone in made.values())
    world.run(40.0)
    assert all(site.peer.server.counts["requests under way"] == 0 for site in world.sites.values())


def test_phones_that_do_not_answer_by_themselves_do_not_ring_on(world: SimulatedPeers) -> None:
    made = phones(world, "bob", "dora")
    for user, at in (("bob", 0), ("dora", 1)):
        permit(world[at], user, "*")
    call = made["alice"].dial("700")
    world.run(ANSWER_S - 1.0)
    assert (made["bob"].rang, made["dora"].rang) == (1, 1)
    assert made["alice"].talks
    world.run(3.0)
    assert not made["bob"].agent.calls
    assert not made["dora"].agent.calls
    assert made["alice"].ended(call) is not None, "nobody is there to speak to"


def test_who_does_not_answer_by_himself_is_called_no_more_and_the_others_hear_on(world: SimulatedPeers) -> None:
    made = phones(world, "dora")
    for user, at in (("bob", 0), ("dora", 1)):
        permit(world[at], user, "alice")
    made["alice"].dial("700")
    assert world.run(5.0, stop=lambda: made["bob"].talks and made["dora"].rang == 1)
    world.run(ANSWER_S + 1.0)
    assert not made["dora"].agent.calls
    assert (made["alice"].talks, made["bob"].talks) == (True, True)


def test_who_may_not_page_is_told_so(world: SimulatedPeers) -> None:
    made = phones(world)
    permit(world[0], "bob", "*")
    call = made["carol"].dial("701")
    world.run(5.0, stop=lambda: made["carol"].ended(call) is not None)
    assert "carol may not page yard" in str(made["carol"].ended(call))
    # From elsewhere it is a number like any other, which nobody has.
    call = made["dora"].dial("701")
    world.run(8.0, stop=lambda: made["dora"].ended(call) is not None)
    assert str(made["dora"].ended(call)).startswith("404")
    assert made["bob"].rang == 0


def test_a_page_goes_to_a_multicast_address_as_rtp(world: SimulatedPeers) -> None:
    made = phones(world)
    sent: list[SendRtp] = []
    site = world[0]
    site.carry = lambda local, remote, data: sent.append(SendRtp(local, remote, data))
    call = made["alice"].dial("702")
    assert world.run(5.0, stop=lambda: made["alice"].talks)
    world.run(ANSWER_S + 1.0)
    assert made["alice"].talks, "nobody can know whether somebody listens"
    packets = [RtpPacket.decode(each.data) for each in sent if each.remote == GROUP]
    assert len(packets) > 50 * ANSWER_S
    assert {packet.payload_type for packet in packets} == {0}
    assert {len(packet.payload) for packet in packets} == {160}
    made["alice"].hang_up(call)
    world.run(0.5)
    count = len(sent)
    world.run(2.0)
    assert len(sent) == count
