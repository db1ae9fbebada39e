"""Routers beside the peers of a ring: which messages go by them, and that these arrive."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import pytest
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.link.link import LinkLost
from p2psip.reload.topology.actions import Detach, FindPeer, Forget, Tell
from p2psip.reload.topology.chord.plugin import PLUGIN
from p2psip.reload.topology.chord.ring import RING_SIZE
from p2psip.reload.topology.chord.routing_table import RoutingTable
from p2psip.reload.topology.chord.settings import ChordSettings
from p2psip.reload.topology.chord.topology import ChordTopology
from p2psip.reload.topology.client_topology import (
    FAR_AGAIN_S,
    FAR_WANTED,
    HOME,
    PEERS_WANTED,
    PRUNE_DELAY_S,
    ClientTopology,
)
from p2psip.reload.wire.private_messages import ROUTER, PrivateReq

SCALE = RING_SIZE // 256


def nid(place: int) -> NodeId:
    """A Node-ID at one of 256 places around the ring."""
    return NodeId((place % 256 * SCALE + place).to_bytes(16, "big"))


def table(me: int, *others: int, routers: tuple[int, ...] = ()) -> RoutingTable:
    made = RoutingTable(nid(me), 3)
    for other in others:
        made.add(nid(other))
    made.routers.update(map(nid, routers))
    return made


def router(me: int, *peers: int, is_router: bool = True) -> ClientTopology:
    """One that is linked with these, of whom it has heard."""
    made = ClientTopology(
        nid(me), PLUGIN, OverlayConfiguration("club.example"), lambda _: 60.0, random.Random(1), is_router=is_router
    )
    made.start_joining(0.0)
    made.handle_timeout(0.0)
    for peer in peers:
        made.handle_linked(nid(peer), 0.0, is_gateway=peer == peers[0])
        if peer == peers[0]:
            made.handle_gateway(nid(peer), 0.0)
        made._sought.add(nid(peer))
    made.handle_answered(HOME, nid(peers[0]), 0.0)
    for peer in peers:
        made.handle_update(nid(peer), (), 0.0)
    return made


def test_a_message_goes_by_the_router_that_is_nearest_before_its_target() -> None:
    here = table(100, 120, 150, 200, 90, routers=(155, 158, 170, 110))
    assert here.next_hop(nid(160)) == nid(158)
    assert here.next_hop(nid(157)) == nid(155)
    assert here.next_hop(nid(152)) == nid(150)
    assert here.next_hop(nid(250)) == nid(200)


def test_no_message_for_a_successor_s_range_goes_by_a_router() -> None:
    assert table(100, 120, 150, routers=(105,)).next_hop(nid(110)) == nid(120)


def test_what_others_have_brought_goes_on_by_peers() -> None:
    here = table(100, 120, 150, 200, routers=(90, 158))
    assert here.next_hop(nid(160), nid(90)) == nid(150)
    assert here.next_hop(nid(160), nid(80)) == nid(150)
    assert here.next_hop(nid(160)) == nid(158)
    # It took us for the first beyond the target, and there is one between.
    beyond = table(170, 160, 165, 10, routers=(140,))
    assert beyond.next_hop(nid(150), nid(140)) == nid(160)


def test_routers_are_in_no_table() -> None:
    here = table(100, 120, 150, routers=(110, 90))
    assert here.successors == (nid(120), nid(150))
    assert here.range_low == nid(150)
    assert nid(110) not in here
    assert here.holders_of(nid(105), 3) == [nid(120), nid(150), nid(100)]


def test_a_router_is_one_as_long_as_its_link_is_there() -> None:
    chord = ChordTopology(nid(100), ChordSettings(), random.Random(1), 0.0)
    chord.handle_router(nid(150), 0.0)
    assert not chord.table.routers, "there is no link to it"
    chord.handle_linked(nid(150), 0.0)
    chord.handle_router(nid(150), 0.0)
    assert chord.table.routers == {nid(150)}
    chord.handle_link_lost(LinkLost(nid(150), "gone"), 1.0)
    assert not chord.table.routers


def test_a_router_sends_on_towards_the_target_and_to_the_first_beyond_it() -> None:
    here = router(100, 120, 150, 200, 90)
    assert here.next_hop(nid(160)) == nid(150)
    assert here.next_hop(nid(110)) == nid(120)
    assert here.next_hop(nid(250)) == nid(200)
    assert here.next_hop(nid(95), nid(90)) == nid(90), "nobody is nearer: it goes back"


def test_a_router_says_what_it_is_and_looks_far_and_forgets() -> None:
    """To each peer, when it is heard of; and what it has on its disk from when it was a peer it drops."""
    here = router(100, 120, 150)
    said = here.drain(0.0)
    assert [each.node for each in said if isinstance(each, Tell) and each.body == PrivateReq(ROUTER, b"")] == [
        nid(120),
        nid(150),
    ]
    here.handle_timeout(FAR_AGAIN_S)
    far = here.drain(FAR_AGAIN_S)
    assert Forget(nid(100), nid(100)) in far, "the whole ring"
    assert sum(isinstance(each, FindPeer) for each in far) == FAR_WANTED + PEERS_WANTED - 2
    here.handle_timeout(FAR_AGAIN_S + 100.0)
    assert Forget(nid(100), nid(100)) in here.drain(FAR_AGAIN_S + 100.0), "and goes on with that"


def test_a_client_that_is_none_says_and_seeks_nothing_of_that() -> None:
    here = router(100, 120, 150, is_router=False)
    here.handle_timeout(FAR_AGAIN_S)
    done = here.drain(FAR_AGAIN_S)
    assert not any(isinstance(each, Forget | FindPeer) for each in done)
    assert PrivateReq(ROUTER, b"") not in [each.body for each in done if isinstance(each, Tell)]


def test_a_router_keeps_the_links_far_away() -> None:
    """A client has no use for them."""
    peers = range(110, 250, 10)
    for is_router, kept in ((True, len(peers)), (False, PEERS_WANTED)):
        here = router(100, *peers, is_router=is_router)
        here.drain(0.0)
        here.handle_timeout(PRUNE_DELAY_S)
        gone = [each for each in here.drain(PRUNE_DELAY_S) if isinstance(each, Detach)]
        assert len(peers) - len(gone) == kept


@pytest.mark.long
@given(st.sets(st.integers(0, 255), min_size=3, max_size=12), st.integers(0, 255), st.integers(1, 3), st.randoms())
@settings(max_examples=times(200), deadline=None)
@pytest.mark.parametrize("knows", [0.5, 1.0])
def test_no_message_goes_in_a_circle_by_routers(
    knows: float, places: set[int], target: int, routers: int, rng: random.Random
) -> None:
    """Property: whoever knows whom, a message ends where the range of a peer is as that sees it, and nobody has it more
    often than three times: towards the target, by a router that gives it back, and from beyond it.
    """
    chosen = sorted(places)
    rng.shuffle(chosen)
    at = chosen[: min(routers, len(chosen) - 2)]
    peers = [place for place in chosen if place not in at]
    tables = {nid(place): table(place) for place in peers}
    for one, other in combinations(peers, 2):
        if rng.random() < knows:
            tables[nid(one)].add(nid(other))
            tables[nid(other)].add(nid(one))
    by_id: dict[NodeId, RoutingTable | ClientTopology] = dict(tables)
    for place in at:
        known = rng.sample(peers, rng.randint(1, len(peers)))
        by_id[nid(place)] = router(place, *known)
        for peer in known:
            tables[nid(peer)].routers.add(nid(place))
    for first in tables:
        seen: Counter[NodeId] = Counter()
        here, came_from = first, None
        while not (here in tables and tables[here].is_in_range(nid(target))):
            seen[here] += 1
            assert seen[here] <= 3
            onward = by_id[here].next_hop(nid(target), came_from)
            assert onward is not None
            here, came_from = onward, here
