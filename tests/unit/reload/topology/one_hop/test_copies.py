"""Who has copies, and who gets them (p2psip.reload.topology.one_hop.copies)."""

from __future__ import annotations

import random

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.topology.actions import Replicate
from p2psip.reload.topology.one_hop.circle import distance, is_between
from p2psip.reload.topology.one_hop.copies import HOLD_DOWN_S, REPLICAS, Copies
from p2psip.reload.topology.one_hop.members import Members

SIZE = 1 << 128


def nid(value: int) -> NodeId:
    return NodeId((value % SIZE).to_bytes(16, "big"))


def numbers_at(place: bytes, copies: list[Replicate]) -> dict[NodeId, int]:
    """Who gets a copy of what is at a place, and as which replica."""
    return {copy.node: copy.number for copy in copies if is_between(place, copy.low, copy.high)}


def some(rng: random.Random) -> NodeId:
    """Node-IDs lie in heaps, as with a few of them they do."""
    return nid(rng.choice([1, 3, 7]) * SIZE // 10 + rng.getrandbits(rng.choice([100, 120, 126])))


def holders(nodes: list[NodeId], place: bytes) -> list[NodeId]:
    return sorted(nodes, key=lambda node: distance(place, node))[: 1 + REPLICAS]


def places(members: Members, rng: random.Random) -> list[bytes]:
    """Identifiers that are this peer's own, also at the edges."""
    low, high = members.region
    found = [nid(int.from_bytes(low, "big") + 1), bytes(high), bytes(members.own)]
    tried = (nid(int.from_bytes(members.own, "big") + rng.randrange(-SIZE >> 4, SIZE >> 4)) for _ in range(300))
    return [place for place in (*found, *tried) if is_between(place, low, high)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("others", [1, 2, 3, 5, 30])
def test_whatever_comes_or_goes_the_nearest_have_copies_of_everything(seed: int, others: int) -> None:
    """What was sent, and what they had before: nobody is missing, and nobody gets what it has."""
    rng = random.Random(f"{seed} {others}")
    before = [some(rng) for _ in range(1 + others)]
    members = Members(before[0], before)
    copies = Copies(members)
    copies.entered(0.0)
    copies.handle_timeout(0.0)
    gone = rng.choice(before[1:])
    come = some(rng)
    if seed % 3:
        members.remove(gone)
        copies.went(gone, 1.0)
    if seed % 3 != 1:
        members.add(come)
        copies.came(1.0)
    sent = copies.handle_timeout(1.0 + HOLD_DOWN_S)
    for place in places(members, rng):
        now = holders(list(members), place)
        had = set(holders(before, place)) - ({gone} if seed % 3 else set())
        expected = {node: number for number, node in enumerate(now) if number and node not in had}
        assert numbers_at(place, sent) == expected


def test_who_has_just_become_a_member_sends_only_what_it_is_the_nearest_to_and_others_lack() -> None:
    """Three others were the nearest without it: all of them have everything."""
    members = Members(nid(100), [nid(50), nid(150), nid(200)])
    copies = Copies(members)
    copies.entered(0.0)
    assert copies.handle_timeout(0.0) == []


def test_after_a_loss_copies_wait_and_after_one_more_peer_they_do_not() -> None:
    members = Members(nid(100), [nid(50), nid(150), nid(200), nid(300)])
    copies = Copies(members)
    copies.entered(0.0)
    copies.handle_timeout(0.0)
    members.remove(nid(150))
    copies.went(nid(150), 10.0)
    deadline = copies.next_deadline()
    assert deadline is not None
    assert deadline.at == 10.0 + HOLD_DOWN_S
    assert copies.handle_timeout(10.0 + HOLD_DOWN_S - 1) == []
    members.add(nid(151))
    copies.came(20.0)
    assert {copy.node for copy in copies.handle_timeout(20.0)} == {nid(151), nid(200)} - {nid(200)} | {nid(151)}
    assert copies.next_deadline() is None


def test_what_did_not_arrive_is_sent_again_all_of_it() -> None:
    members = Members(nid(100), [nid(50), nid(150)])
    copies = Copies(members)
    copies.entered(0.0)
    copies.handle_timeout(0.0)
    copies.lacks(nid(150), 1.0)
    copies.lacks(nid(999), 1.0)
    (copy,) = merged(copies.handle_timeout(1.0 + HOLD_DOWN_S))
    assert copy == (nid(150), *members.region)


def merged(copies: list[Replicate]) -> list[tuple[NodeId, bytes, bytes]]:
    """Who gets what in all, the number of the replica left out."""
    found: list[tuple[NodeId, bytes, bytes]] = []
    for copy in copies:
        if found and found[-1][0] == copy.node and found[-1][2] == copy.low:
            found[-1] = (copy.node, found[-1][1], copy.high)
        else:
            found.append((copy.node, copy.low, copy.high))
    return found
