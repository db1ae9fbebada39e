"""Lamps through whole peers, in virtual time: who answers for a line, and what a lamp shows when peers die."""

from __future__ import annotations

import pytest
from watching import accepted, basic, lamps, lit

from p2psip.base.wallclock import WallClock
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.events.limits import EventLimits


def test_a_lamp_for_somebody_at_another_peer() -> None:
    world = SimulatedPeers("lamp", 3)
    (alice, bob, carol) = lamps(world, (0, "alice"), (1, "bob"), (2, "carol"))
    lamp = accepted(world, alice.watch("bob"))
    call = carol.dial("bob")
    world.run(6.0, stop=lambda: carol.talks)
    world.run(2.0)
    carol.hang_up(call)
    world.run(4.0)
    assert lit(lamp.notifies)[0] == ""
    assert lit(lamp.notifies)[-2:] == ["confirmed", ""]
    assert b"sip:bob@192.168.0.1" in lamp.notifies[-1].body
    assert bob.rang == 1
    alice.refresh(lamp, 0)
    world.run(2.0)
    assert lamp.is_over
    assert world[1].peer.server.counts["subscriptions"] == 0


def test_a_lamp_for_a_colleague_and_for_a_line_whose_phone_is_away() -> None:
    world = SimulatedPeers("colleague", 2)
    (alice, bob) = lamps(world, (0, "alice"), (0, "bob"))
    world.line(1, "carol")
    world.settle_records([1])
    accepted(world, alice.watch("bob"))
    away = accepted(world, alice.watch("carol", "presence"))
    assert basic(away.notifies[0]) == "closed"
    assert bob.is_registered


@pytest.mark.parametrize("user", ["nobody", "dave"])
def test_who_is_not_there_is_not_watched(user: str) -> None:
    world = SimulatedPeers("nobody", 2)
    (alice,) = lamps(world, (0, "alice"))
    lamp = alice.watch(user)
    world.run(15.0)
    assert lamp.statuses == [404]


def test_of_two_peers_of_a_user_the_one_where_he_came_last_answers_alone() -> None:
    world = SimulatedPeers("two homes", 4)
    (alice, _, _) = lamps(world, (0, "alice"), (1, "bob"), (2, "bob"))
    lamp = accepted(world, alice.watch("bob", "presence"))
    world.run(5.0)
    assert (len(lamp.notifies), lamp.statuses) == (1, [200])
    assert [world[number].peer.server.counts["subscriptions"] for number in (1, 2)] == [0, 1]


def test_what_a_phone_publishes_and_its_messages_are_for_the_peer_beside_it() -> None:
    """Bob has another peer, where he came last."""
    world = SimulatedPeers("own", 3)
    (bob, _) = lamps(world, (0, "bob"), (1, "bob"))
    published = bob.publish(b"<presence/>")
    messages = accepted(world, bob.watch("bob", "message-summary"))
    assert published.statuses == [200]
    assert b"Messages-Waiting: no" in messages.notifies[0].body
    assert world[0].peer.server.counts["publications"] == world[0].peer.server.counts["subscriptions"] == 1


def test_a_peer_that_stops_says_so_and_its_lines_come_back() -> None:
    world = SimulatedPeers("stop", 3)
    (alice, _) = lamps(world, (0, "alice"), (1, "bob"))
    lamp = accepted(world, alice.watch("bob"))
    world[1].call(world[1].peer.stop)
    world.run(3.0)
    assert lamp.state == "terminated;reason=deactivated"
    world.restart(1)
    world.settle_records([1])
    accepted(world, alice.watch("bob"))


def test_a_peer_that_dies_is_missed_within_the_life_of_the_subscription() -> None:
    """The refresh is refused while it is dead, and when it is back answered with 481: upon both a phone begins anew."""
    world = SimulatedPeers("die", 4)
    (alice, _) = lamps(world, (0, "alice"), (1, "bob"))
    lamp = accepted(world, alice.watch("bob", expires_s=2**20))
    assert int(lamp.responses[-1].fields.first("expires") or 0) == EventLimits().expires_max_s
    store, line = world[1].host.store, world[1].peer.publisher.lines
    world.world.crash(world[1].host, is_silent=True)
    alice.refresh(lamp)
    world.run(40.0)
    assert lamp.statuses == [200, 480]
    back = world.add(1, store)
    for one in line:
        back.call(lambda now, one=one: back.peer.add_line(one, now))  # type: ignore[misc]
    assert world.run(120.0, stop=lambda: bool(back.peer.node.is_serving))
    world.settle_records([1])
    alice.refresh(lamp)
    world.run(15.0)
    assert lamp.statuses == [200, 480, 481]
    again = accepted(world, alice.watch("bob"))
    assert not again.is_over


def test_a_watchers_peer_that_dies_is_told_no_more() -> None:
    world = SimulatedPeers("watcher", 4)
    (alice, bob, carol) = lamps(world, (0, "alice"), (1, "bob"), (2, "carol"))
    accepted(world, carol.watch("bob"))
    world.world.crash(world[2].host, is_silent=True)
    alice.dial("bob")
    world.run(60.0)
    assert bob.rang == 1
    assert world[1].peer.server.counts["subscriptions"] == 0


def test_a_watchers_peer_that_was_restarted_goes_on() -> None:
    """Its tokens are those of before, and so is the route of the subscription."""
    world = SimulatedPeers("restart", 4)
    (alice, _, carol) = lamps(world, (0, "alice"), (1, "bob"), (2, "carol"))
    lamp = accepted(world, carol.watch("bob"))
    world.restart(2)
    world.run(30.0)
    alice.dial("bob")
    world.run(20.0)
    assert lit(lamp.notifies)[-1] == "confirmed"
    carol.refresh(lamp)
    world.run(5.0)
    assert lamp.statuses == [200, 200]


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_phone_is_told_the_date_if_there_is_one(is_trusted: bool) -> None:
    world = SimulatedPeers("date", 1, wall=WallClock(1_000_000_000.0, is_trusted=is_trusted))
    world.line(0, "alice")
    world.settle_records([0])
    alice = SitePhone(world[0], "alice", 1).register()
    world.run(2.0)
    dates = [line for data in alice.received for line in data.decode().split("\r\n") if line.startswith("Date:")]
    assert [line.rpartition(":")[0] for line in dates] == (["Date: Sun, 09 Sep 2001 01:46"] if is_trusted else [])
