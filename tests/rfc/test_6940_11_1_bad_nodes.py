"""RFC 6940 section 11.1: `bad-node` revokes certificates, on links that are up and on values stored as well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.reload.node.effects import RequestRefused
from p2psip.reload.node.node import Node
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.sim.certified import CertifiedOverlay
from p2psip.sim.invariants import chord_of
from p2psip.sim.membership import Club
from p2psip.sim.registrations import ask, fetch, is_found, line, missing, record_of, store, wait_until
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host


def revoke(overlay: SimulatedOverlay, hosts: list[Host], *bad: NodeId) -> None:
    """The configuration of some peers revokes Node-IDs from now on."""
    for host in hosts:
        node = overlay.node(host)
        changed = replace(node.configuration, bad_nodes=frozenset(bad))
        overlay.world.call(host, lambda now, node=node, changed=changed: node.use_trust(changed, now))  # type: ignore[misc]


def links_to(node: Node, other: NodeId) -> int:
    """How many links there are."""
    return len(node.links(other))


@pytest.mark.must("11.1/11")
def test_11_1_a_bad_node_is_cut_off_at_once_and_does_not_come_back() -> None:
    """ "the certificate with this Node-ID MUST NOT be considered valid": links end, and new ones are refused."""
    overlay = CertifiedOverlay(Club.of())
    overlay.grow(4)
    bad, *others = overlay.world.hosts["p3"], *(overlay.world.hosts[name] for name in ("p0", "p1", "p2"))
    outcast = overlay.node(bad).node_id
    assert all(links_to(overlay.node(host), outcast) for host in others)
    revoke(overlay, others, outcast)
    assert not any(links_to(overlay.node(host), outcast) for host in others)
    for _ in range(30):
        overlay.world.run_for(4.0)
        assert not any(links_to(overlay.node(host), outcast) for host in others)
        assert not any(outcast in chord_of(overlay.node(host)).table for host in others)
    for host in others:
        neighbors = {overlay.node(other).node_id for other in others if other is not host}
        assert set(chord_of(overlay.node(host)).table.successors) == neighbors


@pytest.mark.must("11.1/11")
def test_11_1_what_a_bad_node_has_stored_is_no_longer_served() -> None:
    """Neither under the old signature nor is a new one taken; what others stored stays."""
    overlay = SimulatedOverlay("bad records")
    for number in range(4):
        overlay.add_peer(number)
    wait_until(overlay, 60.0, overlay.is_ring)
    host = overlay.world.hosts["p1"]
    records = [record_of(overlay, line(number), host) for number in (1, 2)]
    for record in records:
        overlay.wait_done(host, store(overlay, host, record.line))
    assert missing(overlay, records) == []
    bad, good = records
    revoke(overlay, overlay.alive(), bad.line.node_id)
    assert missing(overlay, records) == [bad.line.user]
    again = overlay.wait_done(host, store(overlay, host, bad.line))
    assert isinstance(again.result, RequestFailed)
    assert is_found(overlay.wait_done(host, fetch(overlay, host, good.resource)))


@pytest.mark.must("11.1/11")
def test_11_1_messages_of_a_bad_node_are_not_processed_wherever_they_come_from() -> None:
    """A peer that has not heard of it yet passes its messages on; who has heard does not answer."""
    overlay = CertifiedOverlay(Club.of(), "passed on")
    overlay.grow(3)
    bad, relay, aware = (overlay.world.hosts[f"p{number}"] for number in range(3))
    outcast = overlay.node(bad).node_id
    way = [Destination.node(overlay.node(host).node_id) for host in (relay, aware)]

    def ping() -> Answer | RequestFailed:
        handle = ask(overlay, bad, OverlayRequest(way, MessageCode.PING_REQ, PingReq()))
        return overlay.wait_done(bad, handle).result

    assert isinstance(ping(), Answer)
    revoke(overlay, [aware], outcast)
    refused = ping()
    assert isinstance(refused, RequestFailed)
    assert not isinstance(refused, RequestRefused), "nobody answers at all"
