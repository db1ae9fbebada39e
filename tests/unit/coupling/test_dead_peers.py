"""What a peer that is dead costs a caller: 3 s once the overlay has noticed, 8 s before, with one reason."""

from __future__ import annotations

import pytest

from p2psip.base.effects import AskAnswered
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.rto import STREAM_RTO
from p2psip.coupling.peer_flows import ABSENT_S
from p2psip.reload.link.stream import LATE_RTOS
from p2psip.reload.node.effects import AppLinkFailed
from p2psip.reload.wire.header import Destination
from p2psip.sim.invariants import chord_of
from p2psip.sim.membership import OVERLAY
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers

NOTICED_S = 3.0
NOT_NOTICED_S = 8.0
SEEDS = range(4)


def call(world: SimulatedPeers, caller: SitePhone, target: str = "bob") -> tuple[str, float]:
    """How a call ends, or that it is answered, and after how long."""
    began = world.world.now
    number = caller.dial(target)
    world.run(40.0, stop=lambda: caller.ended(number) is not None or caller.talks)
    return caller.ended(number) or "talks", world.world.now - began


def until_noticed(world: SimulatedPeers, *dead: Site) -> None:
    """No living peer has a dead one among its neighbours and fingers any more."""
    gone = {site.peer.node.node_id for site in dead}
    alive = [site for site in world.sites.values() if site not in dead]

    def has_noticed() -> bool:
        views = [chord_of(site.peer.node).view(with_fingers=True) for site in alive]
        return not any(gone & {*view.predecessors, *view.successors, *view.fingers} for view in views)

    assert world.run(120.0, stop=has_noticed)


def power_cut(world: SimulatedPeers, *dead: Site) -> None:
    for site in dead:
        world.world.crash(site.host, is_silent=True)


@pytest.mark.long
@pytest.mark.parametrize("is_silent", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_after_the_overlay_has_noticed_each_call_ends_within_three_seconds(seed: int, is_silent: bool) -> None:
    world = SimulatedPeers(f"noticed {seed}", 6)
    (alice, _) = world.with_phones((1, "alice"), (3, "bob"))
    world.world.crash(world[3].host, is_silent=is_silent)
    until_noticed(world, world[3])
    short = world[3].peer.node.node_id.short
    for _ in range(4):
        what, after_s = call(world, alice)
        assert what == f"480 Temporarily Unavailable; peer {short} is not in the overlay"
        assert after_s < NOTICED_S
        world.run(ABSENT_S)


@pytest.mark.parametrize("seed", SEEDS)
def test_before_the_overlay_has_noticed_a_call_ends_within_eight_seconds(seed: int) -> None:
    world = SimulatedPeers(f"not yet {seed}", 6)
    (alice, _) = world.with_phones((1, "alice"), (3, "bob"))
    power_cut(world, world[3])
    for _ in range(2):
        what, after_s = call(world, alice)
        assert what.startswith("480 Temporarily Unavailable; ")
        assert what.count(";") == 1, "one reason"
        assert after_s < NOT_NOTICED_S + 0.1


@pytest.mark.long
@pytest.mark.parametrize("has_noticed", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_connection_whose_other_end_lost_its_power(seed: int, has_noticed: bool) -> None:
    world = SimulatedPeers(f"half open {seed}", 6)
    (alice, bob) = world.with_phones((1, "alice"), (3, "bob"))
    assert call(world, alice)[0] == "talks"
    bob.hang_up(1)
    world.run(20.0)
    power_cut(world, world[3])
    if has_noticed:
        until_noticed(world, world[3])
    assert len(world[1].peer.flows) == 1, "nobody has told the SIP connection"
    for _ in range(2):
        what, after_s = call(world, alice)
        assert what.startswith("480 Temporarily Unavailable; ")
        assert what.count(";") == 1, "one reason"
        assert after_s < (NOTICED_S if has_noticed else NOT_NOTICED_S + 0.1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 2, 3, 5])
def test_a_record_whose_responsible_peer_is_dead(seed: int) -> None:
    """Before the overlay has noticed a call may fail, in time; afterwards the replicas have the record."""
    world = SimulatedPeers(f"record {seed}", 6)
    (alice, _) = world.with_phones((1, "alice"), (3, "bob"))
    placed = world[3].peer.publisher.placed("bob")
    assert placed is not None
    responsible = next(s for s in world.sites.values() if s.peer.node.node_id == placed.responsible)
    assert responsible not in (world[1], world[3]), "with this seed a third peer has the record"
    power_cut(world, responsible)
    what, after_s = call(world, alice)
    assert after_s < NOT_NOTICED_S
    if what == "talks":
        alice.hang_up(1)
    until_noticed(world, responsible)
    what, after_s = call(world, alice)
    assert (what, after_s < NOTICED_S) == ("talks", True)


@pytest.mark.parametrize(("seed", "ways"), [(0, 1), (1, 1), (3, 2), (10, 2)])
def test_a_question_goes_round_a_hop_that_says_nothing(seed: int, ways: int) -> None:
    """After two timeouts, and not only when the link has failed, or the question is sent again: also by who is asked
    next, to whom the same hop has said nothing either.
    """
    world = SimulatedPeers(f"hop {seed}", 6)
    (alice, _) = world.with_phones((1, "alice"), (3, "bob"))
    placed = world[3].peer.publisher.placed("bob")
    assert placed is not None
    here, bobs = world[1].peer.node, world[3].peer.node.node_id
    hop = chord_of(here).next_hop(here.hash_name(f"bob@{OVERLAY}".encode()))
    silent = next(site for site in world.sites.values() if site.peer.node.node_id == hop)
    assert hop not in (bobs, placed.responsible), "with this seed the question goes by a third peer"
    power_cut(world, silent)
    what, after_s = call(world, alice)
    assert what == "talks"
    assert after_s < ways * LATE_RTOS * STREAM_RTO.initial_s + 1.0


@pytest.mark.long
@pytest.mark.parametrize("has_noticed", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_several_lines_at_dead_peers(seed: int, has_noticed: bool) -> None:
    """Some of them had a connection. The last place is one where somebody is, and is busy: that is what counts."""
    world = SimulatedPeers(f"several {seed}", 7)
    lines = [(1, "alice"), (2, "bob"), (3, "bob"), (4, "bob")]
    alice, _, _, newest = world.with_phones(*lines)
    assert call(world, alice)[0] == "talks"
    newest.hang_up(1)
    world.run(5.0)
    dead = [world[number] for number in (2, 3, 4)]
    power_cut(world, *dead)
    if has_noticed:
        until_noticed(world, *dead)
    limit_s = NOTICED_S if has_noticed else NOT_NOTICED_S + 0.1
    for _ in range(2):
        what, after_s = call(world, alice)
        assert what.startswith("480 Temporarily Unavailable; ")
        assert what.count(";") == 1, "one reason"
        assert after_s < limit_s


def test_what_a_living_place_says_counts_more_than_that_others_are_dead() -> None:
    world = SimulatedPeers("busy", 6)
    alice, living, _, _ = world.with_phones((1, "alice"), (2, "bob"), (3, "bob"), (4, "bob"), answer_s=None)
    power_cut(world, world[3], world[4])
    until_noticed(world, world[3], world[4])
    number = alice.dial("bob")
    world.run(5.0, stop=lambda: living.rang == 1)
    living.run(lambda now: living.agent.reject(1, 486, now))
    world.run(5.0, stop=lambda: alice.ended(number) is not None)
    assert alice.ended(number) == "486 Busy Here"


def test_a_peer_that_comes_back_is_called_at_once() -> None:
    world = SimulatedPeers("back", 6)
    alice, _ = world.with_phones((1, "alice"), (3, "bob"))
    store = world[3].host.store
    power_cut(world, world[3])
    until_noticed(world, world[3])
    assert call(world, alice)[0].startswith("480 ")
    world.run(ABSENT_S)
    back = world.add(3, store)
    assert world.run(60.0, stop=lambda: back.peer.node.is_serving)
    world.line(3, "bob")
    world.settle_records([3])
    world.phone(3, "bob")
    what, after_s = call(world, alice)
    assert what == "talks"
    assert after_s < 5.0


def test_who_began_to_wait_after_an_attempt_waits_for_the_next() -> None:
    """The node may have come back too late for the first AppAttach, and in time for another."""
    world = SimulatedPeers("late", 3)
    flows, now, nobody = world[0].peer.flows, world.world.now, NodeId(bytes(15) + b"\x01")
    for token, since in ((1001, now), (1002, now + 5.0)):
        flows.want([Destination.node(nobody)], nobody, token, since)
    flows.failed(AppLinkFailed(nobody, RequestFailed("no answer")), now + 15.0)
    assert [each.token for each in flows.drain() if isinstance(each, AskAnswered)] == [1001]
    assert flows.waiting == 1
    flows.failed(AppLinkFailed(nobody, RequestFailed("no answer")), now + 30.0)
    assert [each.token for each in flows.drain() if isinstance(each, AskAnswered)] == [1002]
    assert flows.waiting == 0
