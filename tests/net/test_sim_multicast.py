"""Peers on one link that find each other by multicast, with no address configured: in virtual time."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.reload.config.configuration import BootstrapNode
from p2psip.reload.node.connecting.bootstrap import HEARING_S
from p2psip.reload.node.connecting.coming_in.ways_in import WayIn
from p2psip.reload.node.connecting.lan_search import ANSWER_MAX_S, ASKED, ASKED_IN_ALL
from p2psip.reload.paths.values import LanArrived, SendMulticast, SendOnLan
from p2psip.sim.ip.packet import Packet
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.sites.node_driver import LAN_GROUP

NOWHERE = (BootstrapNode("198.21.0.1", 6084),)
"""Where nobody is."""


def lan(seed: str, count: int, **settings: object) -> InternetSites:
    """So many peers in the LAN behind one router."""
    world = InternetSites(seed, has_multicast=True, **{"bootstrap_nodes": (), **settings})  # type: ignore[arg-type]
    first = world.add_behind_nat(0)
    for number in range(1, count):
        world.add_beside(first, number)
    return world


def is_one_ring(world: InternetSites) -> bool:
    """Everybody knows everybody."""
    everybody = {site.peer.node.node_id for site in world.sites}
    return all({site.peer.node.node_id, *site.peer.node.neighbors} == everybody for site in world.sites)


def test_peers_of_one_lan_find_each_other_with_no_address_configured() -> None:
    """Nothing is set; they start at one moment; seconds later they are one overlay, and say by which way."""
    world = lan("lan", 4)
    assert world.run(15.0, stop=lambda: is_one_ring(world))
    ways = [way for site in world.sites[1:] for way in site.peer.node.ways_in if way.is_winner]
    assert ways
    assert {way.way for way in ways} == {WayIn.MULTICAST}
    assert all(way.address is not None and way.address.host.startswith("192.168.1.") for way in ways)


def test_an_island_whose_configured_addresses_are_far_away_takes_a_newcomer_in() -> None:
    """The uplink is cut: who is configured does not answer, who is beside it does."""
    world = lan("island", 1, bootstrap_nodes=NOWHERE)
    world.run(20.0)
    newcomer = world.add_beside(world.sites[0], 1)
    assert world.run(5.0, stop=lambda: is_one_ring(world))
    told = {way.way: way for way in newcomer.peer.node.ways_in}
    assert told[WayIn.MULTICAST].is_winner
    assert not told[WayIn.CONFIGURED].is_winner


def test_who_may_begin_listens_first() -> None:
    """A second overlay of the same name would have to be merged with the first."""
    world = lan("first", 1)
    world.run(HEARING_S - 0.1)
    assert not world.sites[0].peer.node.is_serving
    assert world.run(4.0, stop=lambda: world.sites[0].peer.node.is_serving)


def test_two_that_begin_at_the_same_moment_are_one_overlay_soon() -> None:
    """Both listened, neither heard anything, both have begun."""
    world = InternetSites("two", has_multicast=True, bootstrap_nodes=())
    here = world.add_behind_nat(0)
    there = world.add_beside(here, 1)
    for site in (here, there):
        # Both may begin; the first to be told would have waited.
        site.peer.node._bootstrap._may_start_alone = True
    assert world.run(15.0, stop=lambda: is_one_ring(world))


class Lan:
    """A LAN on which somebody writes down what is said, and says things."""

    def __init__(self, world: InternetSites) -> None:
        self.world = world
        self.said: list[tuple[bytes, Address]] = []
        self.answers: list[bytes] = []
        spread, send = world.internet.spread, world.sites[0].driver._do

        def listen(sender: object, packet: Packet) -> None:
            assert isinstance(packet.payload, bytes)
            self.said.append((packet.payload, packet.source))
            spread(sender, packet)  # type: ignore[arg-type]

        def do(effect: object) -> None:
            if isinstance(effect, SendOnLan):
                self.answers.append(effect.data)
            send(effect)  # type: ignore[arg-type]

        world.internet.spread = listen  # type: ignore[method-assign]
        world.sites[0].driver._do = do  # type: ignore[method-assign]

    def say(self, data: bytes, host: str = "192.168.1.77") -> None:
        """To all, as somebody else."""
        driver = self.world.sites[0].driver
        driver._tell(LanArrived(Address(host, 40000), data, is_to_all=True))


@pytest.fixture
def question() -> bytes:
    """What a member of the overlay asks."""
    return asked()


def asked(**settings: object) -> bytes:
    """What a member of such an overlay asks."""
    world = lan("lan", 2, **settings)
    heard = Lan(world)
    world.run(3.0)
    return next(data for data, source in heard.said if source.host == "192.168.1.3")


def test_an_answer_is_not_longer_than_its_question_and_there_are_so_many(question: bytes) -> None:
    """Whoever forges where it comes from turns nothing on anybody: not more bytes, and few of them."""
    world = lan("lan", 1)
    heard = Lan(world)
    world.run(5.0)
    for _ in range(100):
        heard.say(question)
    assert 0 < len(heard.answers) <= ASKED.burst
    # There is room for a longer name in the certificate of who answers.
    assert all(len(answer) + 64 <= len(question) for answer in heard.answers)
    for number in range(100):
        heard.say(question, f"10.0.0.{number}")
    assert len(heard.answers) <= ASKED_IN_ALL.burst
    world.run(60.0)
    heard.answers.clear()
    heard.say(question)
    assert len(heard.answers) == 1


@pytest.mark.parametrize("more", [0, 1])
def test_an_answer_that_would_be_longer_is_not_given(question: bytes, more: int) -> None:
    """As one is whose certificate is longer than all padding."""
    world = lan("lan", 1)
    heard = Lan(world)
    world.run(5.0)
    answering = world.sites[0].peer.node._bootstrap._lan
    answering._message = lambda *_: bytes(len(question) + more)  # type: ignore[method-assign]
    heard.say(question)
    assert len(heard.answers) == 1 - more


def test_a_question_of_another_overlay_and_one_that_nobody_has_signed_are_not_answered(question: bytes) -> None:
    """Several overlays on one LAN are told apart; what a stranger says is believed by nobody."""
    world = lan("lan", 1)
    heard = Lan(world)
    world.run(5.0)
    # Signed by a member of that one, whose certificate would do here.
    foreign = asked(instance_name="other.example")
    assert foreign[4:8] != question[4:8]
    forged = question[:-1] + bytes([question[-1] ^ 1])
    for data in (foreign, forged, question[:50], b"", b"\xd2ELO", question + b"x"):
        heard.say(data)
    assert heard.answers == []
    heard.say(question)
    assert len(heard.answers) == 1


def test_what_answers_nothing_that_was_asked_is_not_believed(question: bytes) -> None:
    """A true answer to another's question, or one that comes late, names nobody to dial."""
    world = lan("lan", 1)
    heard = Lan(world)
    world.run(5.0)
    heard.say(question)
    (answer,) = heard.answers
    at = Address("192.168.1.2", 40000)
    other = lan("lan", 2)
    asker = other.sites[1]
    known = asker.peer.node._bootstrap._heard
    asker.driver._tell(LanArrived(at, answer, is_to_all=False))
    # The question itself was asked at the beginning of that world, by this very peer: a moment later it is believed,
    # and after a while no more.
    other.run(0.0)
    assert dict(known) == {}
    other.run(0.001)
    asker.driver._tell(LanArrived(at, answer, is_to_all=False))
    assert list(asker.peer.node._bootstrap._heard) == [Address("192.168.1.2", 6084)]
    late = lan("lan", 2)
    late.sites[0].machine.cut_power()
    late.run(ANSWER_MAX_S)
    late.sites[1].driver._tell(LanArrived(at, answer, is_to_all=False))
    assert late.sites[1].peer.node._bootstrap._heard == {}


def test_a_peer_for_which_it_is_off_says_nothing_and_hears_nothing(question: bytes) -> None:
    """`multicast = false`."""
    world = InternetSites("off", bootstrap_nodes=())
    site = world.add_behind_nat(0)
    world.run(5.0)
    site.driver._tell(LanArrived(Address("192.168.1.77", 1), question, is_to_all=True))
    said = [event for _, event in site.driver.events if isinstance(event, SendMulticast | SendOnLan)]
    assert said == []
    assert LAN_GROUP.host not in site.machine.interfaces[0].groups
