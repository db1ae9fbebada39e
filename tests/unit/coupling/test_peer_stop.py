"""How a peer stops: its lines' records go, its data is handed over, and then it says so, without delay.

And how it begins again: what it was told to announce before is announced as soon as it is a member.
"""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.coupling.enquiries.lookup import LookedUp
from p2psip.coupling.gruu import peer_uri
from p2psip.coupling.line import Line
from p2psip.coupling.peer import Peer
from p2psip.coupling.peer_news import Stopped
from p2psip.reload.config.configuration import (
    ANY_SERVICE,
    CERTIFICATE_KINDS,
    REDIR_KIND,
    SIP_REGISTRATION_KIND,
    ServicePermission,
)
from p2psip.reload.node.service_discovery import ServiceRegistered
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE, CERTIFICATE_BY_USER, DataModel
from p2psip.reload.wire.storage_messages import StoredData
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.transports.layer import Listener

SOON_S = 2.0
"""A hand-over takes a few round trips of the virtual network; what waits for a timer takes longer."""


def add(overlay: SimulatedOverlay, number: int) -> tuple[Peer, Host]:
    """A whole peer, with its SIP server, in the place of a bare node."""
    host = overlay.add_peer(number)
    node = overlay.node(host)
    side = peer_uri(host.name, "sim.example", node.node_id)
    listener = Listener("UDP", Address(host.address.host, 5060))
    server = ServerConfig("sim.example", frozenset({"sim.example"}), (listener,), side)
    peer = Peer(node, server, random.Random(number), overlay.world.now)
    host.core = peer
    return peer, host


def line(overlay: SimulatedOverlay, user: str) -> Line:
    rng = random.Random(f"{overlay.seed}/{user}")
    return Line(SimulatedIdentity(f"{user}@sim.example", NodeId(rng.randbytes(16))), "sim.example", {})


def has_stopped(host: Host) -> bool:
    return any(isinstance(event, Stopped) for event in host.events)


def found(host: Host) -> list[LookedUp]:
    return [event for event in host.events if isinstance(event, LookedUp)]


@pytest.mark.parametrize("users", [(), ("alice",), ("alice", "bob", "carol")])
def test_a_peer_leaves_and_says_so(users: tuple[str, ...]) -> None:
    """Also one that has nothing to remove or to hand over, and to which nobody speaks meanwhile."""
    overlay = SimulatedOverlay("stop")
    (other, stays), (peer, goes) = add(overlay, 0), add(overlay, 1)
    assert overlay.world.run_for(30, stop=overlay.is_ring)
    for user in users:
        overlay.world.call(goes, lambda now, user=user: peer.add_line(line(overlay, user), now))
    assert overlay.world.run_for(10, stop=lambda: all(peer.publisher.placed(user) for user in users))
    overlay.world.run_for(10)
    overlay.world.call(goes, peer.stop)
    assert overlay.world.run_for(SOON_S, stop=lambda: has_stopped(goes))
    for user in users:
        overlay.world.call(stays, lambda now, user=user: other.look_up(f"{user}@sim.example", user, now))
    assert overlay.world.run_for(10, stop=lambda: len(found(stays)) == len(users))
    assert all(each.registrations is not None and not each.registrations.entries for each in found(stays))


def test_the_only_peer_stops_at_once() -> None:
    overlay = SimulatedOverlay("stop")
    peer, host = add(overlay, 0)
    assert overlay.world.run_for(30, stop=overlay.is_ring)
    overlay.world.call(host, peer.stop)
    assert has_stopped(host)


def test_services_that_waited_for_the_overlay_are_announced_when_it_is_there() -> None:
    """However long that took: a peer that was restarted with its site's power may be alone for a while."""
    permitted = ServicePermission(ANY_SERVICE, ("*",))
    kinds = (SIP_REGISTRATION_KIND, REDIR_KIND)
    overlay = SimulatedOverlay("services wait", required_kinds=kinds, services=(permitted,))
    waits, host = add(overlay, 1)
    overlay.world.call(host, lambda now: waits.announce("turn-server", 20, "", now))
    overlay.world.run_for(100)
    assert not waits.node.is_connected
    add(overlay, 0)
    assert overlay.world.run_for(60, stop=lambda: waits.joined_at is not None)
    assert overlay.world.run_for(
        SOON_S, stop=lambda: any(isinstance(event, ServiceRegistered) for event in host.events)
    )


@pytest.mark.parametrize("is_for_good", [True, False])
def test_a_lines_certificate_goes_with_the_line_and_not_with_a_restart(is_for_good: bool) -> None:
    """RFC 6940 section 8: who fetches it meanwhile needs it."""
    overlay = SimulatedOverlay("line goes", required_kinds=(SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS))
    (_, stays), (peer, host) = add(overlay, 0), add(overlay, 1)
    assert overlay.world.run_for(30, stop=overlay.is_ring)
    alice = line(overlay, "alice")
    overlay.world.call(host, lambda now: peer.add_line(alice, now))
    overlay.world.run_for(10)
    go = (lambda now: peer.remove_line("alice", now)) if is_for_good else peer.stop
    overlay.world.call(host, go)
    overlay.world.run_for(10)
    for kind, name in ((CERTIFICATE_BY_NODE, alice.identity.node_id), (CERTIFICATE_BY_USER, alice.aor.encode())):
        (record,) = stays.store.records(hash_name(name), kind)
        is_there = StoredData.decode(record.data, model=DataModel.ARRAY).data_value.exists
        assert is_there is not is_for_good
    assert alice.identity.node_id not in peer.node.clients
