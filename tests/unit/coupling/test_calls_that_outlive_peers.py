"""Calls whose peers die and come back, with whole peers in virtual time (docs/decisions/when-the-other-end-dies.md)."""

from __future__ import annotations

import pytest

from p2psip.coupling.call_paths import WATCH_S
from p2psip.coupling.peer_flows import PeerFlows
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import CallEnded
from p2psip.sip.entities.call_guard import AGAIN_S, LOST_S

pytestmark = pytest.mark.long


def talking(seed: str) -> tuple[SimulatedPeers, SitePhone, SitePhone]:
    """Alice at one peer of four talks with bob at another."""
    world = SimulatedPeers(seed, 4)
    alice, bob = world.with_phones((1, "alice"), (2, "bob"))
    alice.dial("bob")
    assert world.run(5.0, stop=lambda: alice.talks and bob.talks)
    world.run(15.0)
    return world, alice, bob


def come_back(world: SimulatedPeers, number: int, kept: bytes, after_s: float) -> None:
    """A peer that was away starts with what it has kept, and its phones reach it again."""
    before = world[number]
    back = world.add(number, before.host.store)
    for line in before.peer.publisher.lines:
        back.call(lambda now, line=line: back.peer.add_line(line, now))
    back.call(lambda now: back.peer.restore(kept, after_s, now))
    back.phones = before.phones
    for phone in back.phones.values():
        phone.site = back


def ending(phone: SitePhone) -> str:
    return "".join(str(event.reason) for _, event in phone.events if isinstance(event, CallEnded))


@pytest.mark.parametrize("number", [1, 2])
def test_a_re_invite_and_a_bye_find_their_way_after_a_peer_came_back(number: int) -> None:
    world, alice, bob = talking("back")
    world.restart(number)
    for phone, other in ((alice, bob), (bob, alice)):
        before = len(other.received)
        phone.run(lambda now, phone=phone: phone.agent.hold(1, True, now))
        assert world.run(20.0, stop=lambda other=other, before=before: len(other.received) > before + 1)
    assert alice.talks
    assert bob.talks
    bob.hang_up(1)
    assert world.run(20.0, stop=lambda: not alice.talks)


def test_who_hung_up_while_the_other_peer_was_away_is_heard_late() -> None:
    """Bob hangs up, and nobody tells alice. Her peer comes back, and asks what has become of her calls."""
    world, alice, bob = talking("late")
    kept = world[1].peer.server.snapshot(world.world.now)
    world.world.crash(world[1].host, is_silent=True)
    bob.hang_up(1)
    world.run(60.0)
    assert alice.talks
    come_back(world, 1, kept, 60.0)
    assert world.run(4 * AGAIN_S, stop=lambda: not alice.talks)
    assert ending(alice) == "hung up; the other phone does not know this call any more"


def test_who_hung_up_beside_a_dead_peer_is_heard_when_it_is_back() -> None:
    """Alice's own peer was away, so that her BYE went nowhere: bob's peer asks after her until it is back."""
    world, alice, bob = talking("own")
    kept = world[1].peer.server.snapshot(world.world.now)
    world.world.crash(world[1].host)
    alice.hang_up(1)
    world.run(60.0)
    assert bob.talks
    come_back(world, 1, kept, 60.0)
    assert world.run(4 * AGAIN_S, stop=lambda: not bob.talks)
    assert ending(bob) == "hung up; the other phone does not know this call any more"


def test_a_peer_that_is_away_for_less_than_three_minutes_costs_no_call() -> None:
    world, alice, bob = talking("reboot")
    kept = world[1].peer.server.snapshot(world.world.now)
    world.world.crash(world[1].host, is_silent=True)
    world.run(LOST_S - 60.0)
    come_back(world, 1, kept, LOST_S - 60.0)
    world.run(2 * LOST_S)
    assert alice.talks
    assert bob.talks
    alice.hang_up(1)
    assert world.run(20.0, stop=lambda: not bob.talks)


def test_a_connection_is_asked_for_as_long_as_it_rings_and_no_longer() -> None:
    """Four bytes every three seconds, from either end."""
    world = SimulatedPeers("asked", 2)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"), answer_s=None)
    call = alice.dial("bob")
    assert world.run(5.0, stop=lambda: bob.rang == 1)
    flows = [world[number].peer.flows for number in (0, 1)]
    world.run(60.0)
    assert [is_watched(each) for each in flows] == [True, True]
    alice.hang_up(call)
    world.run(2 * WATCH_S)
    assert [is_watched(each) for each in flows] == [False, False]


def is_watched(flows: PeerFlows) -> bool:
    return any(("watch", link) in flows._timers for link in flows._links)
