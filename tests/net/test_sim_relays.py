"""Relays in an overlay (RFC 6940 section 9), in virtual time: whole peers behind boxes that no punch gets through."""

from __future__ import annotations

import pytest
from effort import times
from heard_calls import PACKETS_A_STEP, STEP_S, Ears, call_up, heard, pitch
from ice_internet import ice_internet
from ice_oracle import can_be_punched
from ice_world import Scene

from p2psip.base.address import Address
from p2psip.reload.node.relays.relay_search import RelaySearch
from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.reload.usages.turn_service import resource_of
from p2psip.reload.wire.kinds import TURN_SERVICE
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.ip.network import Way
from p2psip.sim.sites.internet import OVERLAY_PORT, InternetSites

pytestmark = pytest.mark.usefixtures("long_packets")

KINDS = {"f": FULL_CONE, "r": PORT_RESTRICTED, "s": SYMMETRIC, "d": NatBehaviour()}


def grow(seed: str, kinds: str) -> InternetSites:
    """One site a letter: p is public, R is public and relays, the others are behind NATs of different kinds."""
    world = ice_internet(seed)
    for number, kind in enumerate(kinds):
        if kind in "pR":
            world.add_public(number, relay=RelayWish.YES if kind == "R" else RelayWish.NO)
        else:
            world.add_behind_nat(number, KINDS[kind], forwards=False)
        world.run(2.0)
    return world


def are_linked(world: InternetSites, here: int, there: int) -> bool:
    """True if two sites have a link."""
    other = world.sites[there].peer.node.node_id
    return world.sites[here].peer.node.is_linked(other)


def is_relayed(world: InternetSites, here: int, there: int) -> bool:
    """True if what one of two sites sees of the other is a relay, or it is linked from one."""
    nodes = world.sites[here].peer.node, world.sites[there].peer.node
    relays = {site.advertised for site in world.sites if site.relay.wish is RelayWish.YES}
    [link] = [link for link in nodes[0].links() if link.node == nodes[1].node_id]
    [back] = [link for link in nodes[1].links() if link.node == nodes[0].node_id]
    return link.remote.host in relays or back.remote.host in relays


def lends_to_links(world: InternetSites, number: int) -> str:
    """The relay that lends an address to a site's port of links, its highest port and so the last of all; else
    nothing.
    """
    *_, last = "", *(relay.host for relay in world.sites[number].peer.node.relays.lending)
    return last


def test_two_that_no_punch_can_join_are_joined_by_the_relay_of_a_third() -> None:
    """One public peer, two behind symmetric NATs, and no other server: they are linked, over the relay."""
    world = grow("relay", "Rss")
    world.settle(60.0)
    assert world.run(60.0, stop=lambda: are_linked(world, 1, 2) and are_linked(world, 2, 1))
    assert is_relayed(world, 1, 2)
    world.run(120.0)
    assert are_linked(world, 1, 2)
    assert world.sites[0].peer.node.relays.allocations >= 2


@pytest.mark.parametrize("pair", ["ff", "fs", "rr", "rs", "sf", "ss"])
def test_directly_exactly_where_a_punch_gets_through(pair: str) -> None:
    """And over the relay exactly where none does, as the oracle has it."""
    world = grow(pair, f"R{pair}")
    world.settle(60.0)
    assert world.run(60.0, stop=lambda: are_linked(world, 1, 2) and are_linked(world, 2, 1))
    scene = Scene((KINDS[pair[0]],), (KINDS[pair[1]],))
    # A relay may have been quicker than the punch: the direct path takes over.
    world.run(60.0, stop=lambda: not is_relayed(world, 1, 2))
    assert is_relayed(world, 1, 2) is not can_be_punched(scene)


def test_a_relay_that_restarts_costs_one_reconnection() -> None:
    """It comes again with another secret: its users have new credentials, new addresses, and their link."""
    world = grow("restart", "Rss")
    world.settle(60.0)
    assert world.run(60.0, stop=lambda: are_linked(world, 1, 2) and are_linked(world, 2, 1))
    world.run(30.0)
    relay = world.sites[0]
    world.cut_power(relay)
    world.run(1.0)
    world.power_up(relay)
    assert world.run(60.0, stop=lambda: relay.peer.node.relays.allocations >= 2)
    assert world.run(60.0, stop=lambda: are_linked(world, 1, 2) and are_linked(world, 2, 1))


def test_a_relay_that_dies_is_replaced_by_one_that_is_known_already() -> None:
    """Two of three relays are in reserve; the link is there again within seconds."""
    world = grow("dies", "RRRss")
    world.settle(60.0)
    assert world.run(60.0, stop=lambda: are_linked(world, 3, 4) and are_linked(world, 4, 3))
    assert world.run(60.0, stop=lambda: all(len(site.peer.node.relays.known) == 3 for site in world.sites[3:]))
    world.run(30.0)
    lending = lends_to_links(world, 3)
    dead = next(site for site in world.sites if site.advertised == lending)
    world.cut_power(dead)
    assert world.run(30.0, stop=lambda: lends_to_links(world, 3) not in ("", lending))
    assert world.run(60.0, stop=lambda: are_linked(world, 3, 4) and are_linked(world, 4, 3))
    assert world.run(60.0, stop=lambda: len(world.sites[3].peer.node.relays.known) == 2)


def test_the_nearest_relay_lends_an_address() -> None:
    """Of four."""
    world = grow("nearest", "RRRRs")
    world.settle(60.0)
    here, site = world.sites[4].isp, world.sites[4]
    world.cut_power(site)
    for far in (0, 1, 3):
        world.internet.join(here, world.sites[far].isp, Way(delay_s=0.08))
    world.power_up(site)
    assert world.run(60.0, stop=lambda: bool(site.peer.node.relays.lending))
    assert world.run(30.0, stop=lambda: len(site.peer.node.relays.known) == 4)
    (nearest, _), *_ = site.peer.node.relays.known
    assert nearest == world.sites[2].peer.node.node_id
    # One that came first may have lent something meanwhile: the nearest takes over. Another lends to calls as well.
    near = Address(world.sites[2].advertised, OVERLAY_PORT)

    def are_the_nearest() -> bool:
        lending = site.peer.node.relays.lending
        return lends_to_links(world, 4) == near.host and lending.count(near) == 2 and len(lending) == 3

    assert world.run(300.0, stop=are_the_nearest)


def test_a_relayed_call_outlives_all_that_a_relay_forgets_in_time() -> None:
    """Permissions after five minutes, channels and allocations after ten; in `make soak` credentials, after an hour."""
    world = grow("long call", "RRss")
    for number in (2, 3):
        world.line(world.sites[number], f"user{number}")
    world.settle(60.0)
    phones = [world.phone(world.sites[number], f"user{number}", tone_hz=pitch(number)) for number in (2, 3)]
    call, _ = call_up(world, *phones)
    ears = Ears(world, phones)
    ends_at = world.internet.now + min(times(1) * 660.0, 4200.0)
    while world.internet.now < ends_at:
        before = list(ears.counts)
        world.run(5.0)
        came = [after - then for after, then in zip(ears.counts, before, strict=True)]
        assert min(came) >= 5.0 / STEP_S * PACKETS_A_STEP, f"{came} packets of 83, at {world.internet.now:.0f}"
    phones[0].hang_up(call)
    world.run(3.0)
    assert [heard(phone) for phone in phones] == [pitch(3) // 10, pitch(2) // 10]


def test_9_a_relay_is_recorded_as_often_as_turn_density_says() -> None:
    """ "for each value, called d, between 1 and turn-density"."""
    world = grow("records", "pRp")
    world.settle(60.0)
    world.run(30.0)
    relay = world.sites[1].peer.node
    places = [resource_of(relay.node_id, iteration, relay.hash_name) for iteration in range(1, 5)]
    stores = [site.disk.synced for site in world.sites]
    assert [any(store.records(place, TURN_SERVICE) for store in stores) for place in places] == [
        True,
        True,
        True,
        False,
    ]


def test_9_who_is_linked_with_no_relay_finds_one_by_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "Peers MAY find other servers by selecting a random Resource-ID and then doing a Find request"."""
    monkeypatch.setattr(RelaySearch, "linked", lambda self, now: None)
    monkeypatch.setattr(RelaySearch, "_ask_linked", lambda self, now: None)
    world = grow("found", "pRRps")
    world.settle(60.0)
    assert world.run(120.0, stop=lambda: len(world.sites[4].peer.node.relays.known) == 2)


def test_a_call_between_two_that_no_punch_can_join() -> None:
    """Its SIP goes over the relay as well, from a port of its own."""
    world = grow("call", "Rss")
    world.settle(60.0)
    world.line(world.sites[1], "alice")
    world.line(world.sites[2], "bob")
    world.settle(60.0)
    alice, bob = world.phone(world.sites[1], "alice"), world.phone(world.sites[2], "bob")
    assert world.run(60.0, stop=lambda: world.sites[0].peer.node.relays.allocations == 4)
    alice.dial("bob")
    assert world.run(20.0, stop=lambda: alice.talks and bob.talks)
    assert len(world.sites[1].peer.flows.calls) == 1, "it is no stream, nor a tunnel"
