"""Rooms of conferences in virtual time: found, shared, and mixed by another peer when one dies."""

from __future__ import annotations

import pytest
from rooms_world import MIXES, enter, mixer, mixers, people, phones, rooms_overlay

from p2psip.coupling.services.rooms import MEETS_S
from p2psip.reload.node.choosing.service_choice import Offerer, in_order_for_all
from p2psip.sim.sites.making import identity_of
from p2psip.sim.sites.site import Site
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.conference.room_caller import ASK_S, SILENT_MAX, STABLE_S, WATCH_S, RoomCaller
from p2psip.sip.entities.conference.room_mixer import Dissolve
from p2psip.sip.entities.conference.room_terms import Close, RoomTerms
from p2psip.sip.entities.numbers.numbering import Numbering


def test_all_who_dial_a_number_are_in_one_room_and_each_peer_knows_who() -> None:
    world = rooms_overlay("rooms/meet", False, True, True)
    alice, bob, carol = phones(world, (0, "alice"), (1, "bob"), (2, "carol"))
    calls = [enter(world, phone) for phone in (alice, bob, carol)]
    world.run(2.0)
    ((_, inside),) = mixers(world).items()
    assert inside == ["alice", "bob", "carol"]
    assert [people(world[number]) for number in range(3)] == [[("alice", "bob", "carol")]] * 3
    alice.hang_up(calls[0])
    world.run(2.0)
    assert people(world[1]) == [("bob", "carol")]
    assert people(world[0]) == []
    for phone, call in zip((bob, carol), calls[1:], strict=True):
        phone.hang_up(call)
    world.run(3.0)
    assert mixers(world) == {}
    world.run(40.0)
    assert all(site.peer.server.counts["requests under way"] == 0 for site in world.sites.values())


def test_who_comes_at_the_same_time_comes_to_the_same_mixer() -> None:
    world = rooms_overlay("rooms/at once", True, True, True)
    made = phones(world, (0, "alice"), (1, "bob"), (2, "carol"))
    for phone in made:
        phone.dial("3007")
    assert world.run(8.0, stop=lambda: all(phone.talks for phone in made))
    assert list(mixers(world, "3007").values()) == [["alice", "bob", "carol"]]


def test_who_begins_to_mix_later_takes_no_room_away() -> None:
    """Who comes goes to where the others are, although the new one comes first in the order for that room."""
    world = rooms_overlay("rooms/later", False, True)
    alice, bob = phones(world, (0, "alice"), (0, "bob"))
    first, later = world[1].peer.node.node_id, identity_of("rooms/later", "p2").node_id
    offerers = [Offerer(first, 8), Offerer(later, 8)]
    rooms = (f"30{number:02}" for number in range(100))
    room = next(room for room in rooms if in_order_for_all(offerers, room.encode())[0].node == later)
    enter(world, alice, room)
    world.add(2, numbering=MIXES)
    assert world.run(60.0, stop=lambda: later in world[0].peer.chooser.providers("conference") or _look(world))
    enter(world, bob, room)
    assert mixers(world, room) == {"p1": ["alice", "bob"]}


def _look(world: SimulatedPeers) -> bool:
    """Have the first peer see now who mixes."""
    world[0].call(lambda now: world[0].peer.chooser.seek("conference", now, fresh_s=1.0))
    return False


@pytest.mark.long
def test_a_mixer_dies_and_all_meet_at_another_within_five_seconds() -> None:
    """Nobody's phone notices: each keeps its one call."""
    world = rooms_overlay("rooms/dies", False, False, True, True)
    alice, bob, dora = phones(world, (0, "alice"), (1, "bob"), (1, "dora"))
    calls = [enter(world, phone) for phone in (alice, bob, dora)]
    world.run(5.0)
    dead = mixer(world)
    world.world.crash(dead.host, is_silent=True)
    died_at = world.world.now
    assert world.run(5.0, stop=lambda: list(mixers(world).values()) == [["alice", "bob", "dora"]])
    assert mixer(world) is not dead
    assert world.world.now - died_at > 1.0
    world.run(3.0)
    assert [people(world[number]) for number in range(2)] == [[("alice", "bob", "dora")]] * 2
    assert [phone.ended(call) for phone, call in zip((alice, bob, dora), calls, strict=True)] == [None] * 3
    # Whoever comes now does not wait for the dead one either.
    (carol,) = phones(world, (1, "carol"))
    enter(world, carol)
    assert list(mixers(world).values()) == [["alice", "bob", "carol", "dora"]]


def test_a_mixer_that_stops_tells_all_who_meet_at_another_at_once() -> None:
    """Nobody has to find out by two seconds of silence, comes back to it, or hears of it by his phone."""
    world = rooms_overlay("rooms/stops", False, False, True, True)
    alice, bob, dora = phones(world, (0, "alice"), (1, "bob"), (1, "dora"))
    calls = [enter(world, phone) for phone in (alice, bob, dora)]
    world.run(STABLE_S)
    first = mixer(world)
    came = len(first.carried())
    first.call(first.peer.stop)
    began_at = world.world.now
    assert world.run(2.0, stop=lambda: list(mixers(world).values()) == [["alice", "bob", "dora"]])
    took_s = world.world.now - began_at
    assert took_s < SILENT_MAX * WATCH_S / 4, took_s
    assert mixer(world) is not first
    assert world.run(10.0, stop=lambda: first.peer.node.has_left)
    world.run(3.0)
    assert [people(world[number]) for number in range(2)] == [[("alice", "bob", "dora")]] * 2
    assert [phone.ended(call) for phone, call in zip((alice, bob, dora), calls, strict=True)] == [None] * 3
    assert len(first.carried()) == came, "nobody calls it once more"
    assert "conference" not in first.peer.services.names, "nor does it say that it mixes"


def test_the_other_mixer_has_not_answered_in_time_either() -> None:
    """As on a busy machine. Who comes back to all that have failed asks who there is, and not the dead one for ever."""
    world = rooms_overlay("rooms/dies, and the other is slow", False, True, True)
    (alice,) = phones(world, (0, "alice"))
    call = enter(world, alice)
    world.run(STABLE_S)
    dead = mixer(world)
    (other,) = (site for site in world.sites.values() if site.name not in (dead.name, world[0].name))
    world.world.crash(dead.host, is_silent=True)
    guest, node = world[0], other.peer.node.node_id
    guest.call(lambda now: guest.peer.chooser.failed("conference", node, now))
    assert world.run(12.0, stop=lambda: mixers(world) == {other.name: ["alice"]})
    assert alice.ended(call) is None


def test_two_mixers_are_restarted_one_after_the_other() -> None:
    """As by an operator who updates them: the first one is back when the second one stops, and nobody has looked."""
    world = rooms_overlay("rooms/updated", False, True, True)
    (alice,) = phones(world, (0, "alice"))
    call = enter(world, alice)
    world.run(STABLE_S)
    for _ in range(2):
        site = mixer(world)
        site.call(site.peer.stop)
        assert world.run(2.0, stop=lambda site=site: list(mixers(world)) not in ([], [site.name]))  # type: ignore[misc]
        assert world.run(10.0, stop=lambda site=site: site.peer.node.has_left)  # type: ignore[misc]
        number, store = int(site.name[1:]), site.host.store
        world.world.crash(site.host)
        world.add(number, store, numbering=MIXES)
        world.run(STABLE_S)
    assert alice.ended(call) is None


def test_who_comes_while_a_mixer_stops_is_sent_to_another() -> None:
    world = rooms_overlay("rooms/stopping", False, True, True)
    (alice,) = phones(world, (0, "alice"))
    enter(world, alice)
    first = mixer(world)
    # Its word to the others is lost.
    first.call(lambda now: first.peer.server.order("mixer", Close(), now))
    (bob,) = phones(world, (0, "bob"))
    enter(world, bob)
    assert [inside for name, inside in mixers(world).items() if name != first.name] == [["alice", "bob"]]


def test_a_peer_that_stops_ends_the_calls_of_its_own_phones_to_rooms() -> None:
    world = rooms_overlay("rooms/stops, with phones", True, False)
    alice, bob = phones(world, (0, "alice"), (1, "bob"))
    calls = [enter(world, alice), enter(world, bob)]
    site = world[1]
    site.call(site.peer.stop)
    assert world.run(1.0, stop=lambda: bob.ended(calls[1]) is not None)
    assert "this peer stops" in str(bob.ended(calls[1]))
    assert world.run(1.0, stop=lambda: list(mixers(world).values()) == [["alice"]]), "nor is he in for others"
    assert alice.ended(calls[0]) is None


@pytest.mark.long
def test_a_room_that_two_mix_becomes_one() -> None:
    """As where two islands meet: one of them leaves it to the other, and who was there goes on there."""
    world = rooms_overlay("rooms/two", True, True)
    alice, bob = phones(world, (0, "alice"), (1, "bob"))
    # Each believes for a moment that the other has failed.
    for number, other in ((0, 1), (1, 0)):
        site, node = world[number], world[other].peer.node.node_id
        site.call(lambda now, site=site, node=node: site.peer.chooser.failed("conference", node, now))  # type: ignore[misc]
    calls = [enter(world, alice), enter(world, bob)]
    assert sorted(mixers(world).values()) == [["alice"], ["bob"]]
    assert world.run(2 * MEETS_S + 70.0, stop=lambda: list(mixers(world).values()) == [["alice", "bob"]])
    world.run(60.0)
    assert list(mixers(world).values()) == [["alice", "bob"]], "and stays one"
    assert [alice.ended(calls[0]), bob.ended(calls[1])] == [None, None]


def test_a_full_mixer_refuses_and_splits_no_room() -> None:
    small = Numbering(rooms=RoomTerms(("3001",), 2))
    world = rooms_overlay("rooms/full", False, True, True, numbering=small)
    made = phones(world, (0, "alice"), (0, "bob"), (0, "carol"))
    for phone in made[:2]:
        enter(world, phone)
    call = made[2].dial("3001")
    world.run(10.0, stop=lambda: made[2].ended(call) is not None)
    assert "486" in str(made[2].ended(call))
    assert "room 3001 is full" in str(made[2].ended(call))
    assert list(mixers(world).values()) == [["alice", "bob"]]


def test_where_nobody_mixes_it_the_number_is_nobodys() -> None:
    world = rooms_overlay("rooms/none", False, False)
    (alice,) = phones(world, (0, "alice"))
    call = alice.dial("3001")
    world.run(10.0, stop=lambda: alice.ended(call) is not None)
    assert str(alice.ended(call)).startswith("404")


def test_who_may_not_announce_mixes_for_the_phones_beside_it() -> None:
    world = rooms_overlay("rooms/alone", False, True, services=())
    alice, bob = phones(world, (0, "alice"), (1, "bob"))
    enter(world, bob)
    assert mixers(world) == {"p1": ["bob"]}
    call = alice.dial("3001")
    world.run(10.0, stop=lambda: alice.ended(call) is not None)
    assert str(alice.ended(call)).startswith("404")
    assert world[1].peer.services.names == []


def test_a_phone_whose_peer_dies_is_not_in_for_ever() -> None:
    world = rooms_overlay("rooms/ghost", False, True, False)
    alice, bob = phones(world, (0, "alice"), (2, "bob"))
    for phone in (alice, bob):
        enter(world, phone)
    world.world.crash(world[2].host, is_silent=True)
    assert world.run(90.0, stop=lambda: list(mixers(world).values()) == [["alice"]])
    world.run(2.0)
    assert people(world[0]) == [("alice",)]


def test_the_only_mixer_is_away_for_a_while_and_who_has_waited_is_in_again() -> None:
    world = rooms_overlay("rooms/back", False, True)
    (alice,) = phones(world, (0, "alice"))
    call = enter(world, alice)
    store = world[1].host.store
    world.world.crash(world[1].host)
    world.run(10.0)
    assert alice.ended(call) is None
    world.add(1, store, numbering=MIXES)
    assert world.run(45.0, stop=lambda: mixers(world) == {"p1": ["alice"]})
    assert alice.ended(call) is None


def test_who_has_the_room_on_hold_leaves_the_others_in_it() -> None:
    """And nobody hears what a phone plays meanwhile; who hangs up so goes alone."""
    world = rooms_overlay("rooms/hold", True, False)
    alice, bob = phones(world, (0, "alice"), (1, "bob"))
    calls = [enter(world, alice), enter(world, bob)]
    world.run(2.0)
    bob.run(lambda now: bob.agent.hold(calls[1], True, now))
    world.run(2.0)
    (guest,) = caller_of(world[1])._guests.values()
    assert guest.is_held
    (bridged,) = (s for c, s in caller_of(world[1])._bridges._sessions.items() if c == guest.calls)
    assert bridged._other is None  # type: ignore[attr-defined]
    bob.run(lambda now: bob.agent.hold(calls[1], False, now))
    world.run(2.0)
    assert not guest.is_held
    assert bridged._other is not None  # type: ignore[attr-defined]
    bob.run(lambda now: bob.agent.hold(calls[1], True, now))
    world.run(1.0)
    bob.hang_up(calls[1])
    world.run(2.0)
    assert list(mixers(world).values()) == [["alice"]]
    assert alice.ended(calls[0]) is None


@pytest.mark.long
def test_a_phone_that_dies_says_no_goodbye_and_is_not_in_for_ever() -> None:
    world = rooms_overlay("rooms/unplugged", True)
    alice, bob = phones(world, (0, "alice"), (0, "bob"))
    for phone in (alice, bob):
        enter(world, phone)
    bob.unplug()
    assert world.run(ASK_S + 40.0, stop=lambda: list(mixers(world).values()) == [["alice"]])
    world.run(2 * ASK_S)
    assert list(mixers(world).values()) == [["alice"]], "who listens, and says nothing, stays"


def test_a_mixer_that_sends_everybody_away_is_not_called_for_ever() -> None:
    world = rooms_overlay("rooms/hostile", False, True)
    (alice,) = phones(world, (0, "alice"))
    call = enter(world, alice)
    hostile = world[1]
    for _ in range(40):
        hostile.call(lambda now: hostile.peer.server.order("mixer", Dissolve("3001"), now))
        world.run(0.25)
    came = [each for each in hostile.carried() if "mixer" in each.uri]
    assert len(came) <= 14
    assert alice.ended(call) is None
    # It comes to its senses.
    assert world.run(10.0, stop=lambda: mixers(world) == {"p1": ["alice"]})


def caller_of(site: Site) -> RoomCaller:
    found = site.peer.rooms._caller
    assert found is not None
    return found
