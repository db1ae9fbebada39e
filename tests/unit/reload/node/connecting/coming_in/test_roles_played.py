"""Joining, bootstrap and admitting peer: each says what it did for whom (p2psip...coming_in.roles_played)."""

from __future__ import annotations

import pytest
from node_bench import NodeBench, nid

from p2psip.base.ids import NodeId
from p2psip.reload.node.connecting.coming_in.roles_played import PeerRole, RolePlayed, RolesPlayed
from p2psip.reload.node.limits import ROLES_PLAYED_MAX
from p2psip.reload.node.node import Node
from p2psip.sim.simulated_overlay import SimulatedOverlay

TOPOLOGIES = ["CHORD-RELOAD", "one-hop"]


def played(node: Node, role: PeerRole) -> dict[NodeId, RolePlayed]:
    """What it was to whom in a role."""
    return {each.node: each for each in node.roles_played if each.role is role}


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_each_says_what_it_did_for_whom(topology: str) -> None:
    """One after the other comes in by way of the first, which the configuration names."""
    overlay = SimulatedOverlay("roles", topology_plugin=topology)
    nodes = []
    for number in range(4):
        nodes.append(overlay.node(overlay.add_peer(number)))
        overlay.world.run_for(15.0)
    first, *others = nodes
    assert all(node.is_connected for node in nodes)
    assert played(first, PeerRole.JOINING) == {}
    led = played(first, PeerRole.BOOTSTRAP)
    assert led.keys() == {node.node_id for node in others}
    assert {each.user for each in led.values()} == {node.user for node in others}
    by_id = {node.node_id: node for node in nodes}
    for node in others:
        let_in_by = played(node, PeerRole.JOINING)
        assert let_in_by
        for admitter, mine in let_in_by.items():
            assert (mine.user, mine.did) == (by_id[admitter].user, "was let in, found by way of peer-p0")
            theirs = played(by_id[admitter], PeerRole.ADMITTING)[node.node_id]
            assert theirs.user == node.user
            assert theirs.did.startswith("let in after ")
            assert theirs.began_at <= theirs.at <= mine.at
    admitted = {node_id for node in nodes for node_id in played(node, PeerRole.ADMITTING)}
    assert admitted == {node.node_id for node in others}


def test_so_many_are_remembered_the_last_ones() -> None:
    bench = NodeBench()
    roles = RolesPlayed(bench.node._exchange)
    for number in range(1, ROLES_PLAYED_MAX + 3):
        roles.led_in(nid(number), f"peer-{number}@x", "192.0.2.1:6084", float(number))
    roles.led_in(nid(3), "peer-3@x", "192.0.2.1:6084", 99.0)
    found = [each.node for each in roles]
    assert found == [*(nid(number) for number in range(4, ROLES_PLAYED_MAX + 3)), nid(3)]


def test_who_was_asked_long_before_this_peer_remembers_is_admitted_all_the_same() -> None:
    bench = NodeBench()
    roles = RolesPlayed(bench.node._exchange)
    roles.admitting(nid(5), "peer-5@x", 10.0)
    roles.admitted(nid(5), "", 10.5)
    roles.admitted(nid(6), "peer-6@x", 11.0)
    assert [(each.user, each.did) for each in roles] == [
        ("peer-5@x", "let in after 500 ms"),
        ("peer-6@x", "let in after 0 ms"),
    ]
