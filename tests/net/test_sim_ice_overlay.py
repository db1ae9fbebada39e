"""Overlays whose links are made by ICE, in virtual time: whole peers behind boxes that forward nothing."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.base.effects import Note
from p2psip.reload.paths.values import Purpose
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.ip.network import Way
from p2psip.sim.sites.internet import InternetSites

POOR = Way(delay_s=0.03, jitter_s=0.03, loss=0.05, duplication=0.01, reordering=0.02)
KINDS = {"p": None, "f": FULL_CONE, "r": PORT_RESTRICTED, "s": SYMMETRIC, "d": NatBehaviour()}


def grow(seed: str, kinds: str, way: Way | None = None) -> InternetSites:
    """One site a letter: p is public, the others behind NATs of different kinds."""
    world = InternetSites(seed, no_ice=False, overlay_link_protocols=("DTLS",))
    world.internet.default_way = way or world.internet.default_way
    for number, kind in enumerate(kinds):
        behaviour = KINDS[kind]
        if behaviour is None:
            world.add_public(number)
        else:
            world.add_behind_nat(number, behaviour, forwards=False)
        world.run(2.0)
    return world


def are_linked(world: InternetSites, here: int, there: int) -> bool:
    """True if two sites have a link."""
    other = world.sites[there].peer.node.node_id
    return other in {link.node for link in world.sites[here].peer.node.links()}


def test_peers_behind_nats_come_in_by_a_public_one_and_are_linked_with_each_other() -> None:
    """Nothing forwards, no server but the bootstrap node: within seconds of its start each is a member."""
    world = grow("nats", "prfd")
    world.settle(10.0)
    assert world.run(20.0, stop=lambda: all(len(site.peer.node.neighbors) == 3 for site in world.sites))
    assert all(are_linked(world, here, there) for here in range(4) for there in range(4) if here != there)


def test_what_no_punch_can_join_is_joined_through_others() -> None:
    """Symmetric and port restricted: no link, as long as there is no relay; the overlay is whole all the same."""
    world = grow("symmetric", "ppsr")
    world.settle(60.0)
    world.run(60.0)
    assert not are_linked(world, 2, 3)
    assert all(are_linked(world, here, there) for here in (0, 1) for there in (2, 3))


def test_who_cannot_reach_another_knows_which_pairs_were_tried_and_how_each_ended() -> None:
    """A symmetric NAT and a port restricted one: both ends know, whoever of the two asked."""
    world = grow("alone", "prs")
    world.run(60.0)
    for here, there in ((1, 2), (2, 1)):
        other = world.sites[there].peer.node.node_id
        (failed,) = (each for each in world.sites[here].peer.node.failed_attempts if each.node == other)
        assert failed.reason == "no pair of addresses works"
        tried = {(str(pair.local), pair.remote.host): pair.outcome for pair in failed.tried}
        assert tried["192.168.1.2:6084", world.sites[there].advertised].startswith("no answer to")


def test_of_a_link_it_is_known_between_which_addresses_it_goes() -> None:
    world = grow("pairs", "prf")
    world.settle(20.0)
    assert world.run(60.0, stop=lambda: are_linked(world, 1, 2))
    (link,) = world.sites[1].peer.node.links(world.sites[2].peer.node.node_id)
    assert link.pair is not None
    assert (str(link.pair.local), str(link.pair.remote)) == ("192.168.1.2:6084", f"{world.sites[2].advertised}:6084")
    assert link.pair.types in ("host to server reflexive", "host to peer reflexive")


def test_what_a_command_shows_of_links_is_acted_on_at_once() -> None:
    """A machine has another address, and a link that was made without an Attach, which nothing can move: its peer looks
    for another way at that moment, and does not wait until something is due.
    """
    world = grow("command", "p")
    node = world.add_public(1).peer.node
    assert world.run(5.0, stop=lambda: any(link.pair is None for link in node.links()))
    node.drain()
    node.use_addresses({purpose: (Address("198.20.1.99", 6084),) for purpose in Purpose}, world.internet.now)
    doubts = [note.facts["reason"] for note in node.drain() if isinstance(note, Note) and note.event == "link in doubt"]
    assert doubts == ["this end has no address"]


def test_over_an_internet_that_loses_one_in_twenty() -> None:
    """Eight peers, six of them behind NATs."""
    world = grow("poor", "pprfdrfd", POOR)
    world.settle(120.0)
    assert world.run(60.0, stop=lambda: all(len(site.peer.node.neighbors) >= 4 for site in world.sites))


def test_ten_idle_minutes() -> None:
    """No link is lost for want of packets, behind a NAT that forgets after half a minute."""
    world = InternetSites("idle", no_ice=False, overlay_link_protocols=("DTLS",))
    world.add_public(0)
    for number in (1, 2):
        world.run(2.0)
        world.add_behind_nat(number, NatBehaviour(timeout_s=30.0), forwards=False)
    world.settle(20.0)
    world.run(60.0)
    links = {site.name: {link.number for link in site.peer.node.links()} for site in world.sites}
    world.run(600.0)
    assert {site.name: {link.number for link in site.peer.node.links()} for site in world.sites} == links


def test_a_nat_that_reboots_and_has_another_address() -> None:
    """All its paths are dead; its peer is back in the overlay, known by the new address."""
    world = grow("reboot", "prf")
    world.settle(20.0)
    world.run(30.0)
    nat = world.sites[1].nat
    assert nat is not None
    nat.reboot("198.20.1.77", off_s=10.0)
    assert world.run(240.0, stop=lambda: _is_known_by(world, "198.20.1.77"))
    assert world.run(60.0, stop=lambda: are_linked(world, 2, 1))


def _is_known_by(world: InternetSites, host: str) -> bool:
    return any(link.remote.host == host for link in world.sites[0].peer.node.links())
