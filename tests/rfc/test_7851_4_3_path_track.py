"""RFC 7851 section 4.3 among real nodes: the way to a place or a node, hop by hop."""

from __future__ import annotations

import itertools
import json

import pytest

from p2psip.base.ids import NodeId, ResourceId
from p2psip.coupling.enquiries.tracing import Target, Traced
from p2psip.daemon.report import trace_report
from p2psip.reload.config.configuration import DiagnosticAccess
from p2psip.reload.node.keeping.diagnostics import MachineFigures
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.diagnostics import DiagnosticKind, DiagnosticsRequest, PathTrackReq, flags_of
from p2psip.reload.wire.header import Destination
from p2psip.sim.capture import Tap
from p2psip.sim.invariants import chord_of
from p2psip.sim.sites.site import Site
from p2psip.sim.sites.site_peers import SimulatedPeers

EVERYBODY = frozenset([NodeId.wildcard()])
OPEN = (DiagnosticKind.STATUS_INFO, DiagnosticKind.SOFTWARE_VERSION, DiagnosticKind.APP_UPTIME)
PLACES = [hash_name(f"place {number}".encode()) for number in range(40)]


def grow(seed: str, peers: int) -> SimulatedPeers:
    """An overlay whose members may ask for three figures; few neighbours, so that ways are long."""
    access = tuple(DiagnosticAccess(kind, EVERYBODY) for kind in OPEN)
    world = SimulatedPeers(seed, peers, diagnostic_kinds=access, successors=3)
    for number, site in enumerate(world.sites.values()):
        site.peer.node.use_machine(MachineFigures(software=f"p2psip/{number}", load=number % 16))
    world.run(10.0)
    return world


@pytest.fixture(scope="module")
def world() -> SimulatedPeers:
    """16 peers; no test harms it."""
    return grow("tracing", 16)


def trace(world: SimulatedPeers, site: Site, target: Target) -> Traced:
    """What `p2psip trace` gets."""
    context = object()
    site.call(lambda now: site.peer.trace(target, context, now))

    def done() -> Traced | None:
        return next((e for e in site.host.events if isinstance(e, Traced) and e.context is context), None)

    world.run(60.0, stop=lambda: done() is not None)
    traced = done()
    assert traced is not None
    return traced


def long_way(world: SimulatedPeers, site: Site) -> tuple[ResourceId, Traced]:
    """A place that is three hops away, or more, and the way there."""
    for place in PLACES:
        traced = trace(world, site, place)
        if len(traced.hops) >= 3:
            return place, traced
    raise AssertionError("everything is near")


@pytest.mark.long
def test_4_3_every_hop_until_the_responsible_peer(world: SimulatedPeers) -> None:
    """ "this step can be repeated until the request reaches responsible peer D for the destination ID and retrieves the
    diagnostic information of peer D."
    """
    site = world[0]
    place, traced = long_way(world, site)
    assert traced.error is None
    nodes = {other.peer.node.node_id: other.peer.node for other in world.sites.values()}
    way = [site.peer.node.node_id, *(hop.node for hop in traced.hops)]
    for here, there in itertools.pairwise(way):
        assert nodes[here].next_peer(place) == there
    assert nodes[way[-1]].topology.is_responsible(place)
    assert len(set(way)) == len(way)


def test_4_3_each_hop_tells_what_it_may(world: SimulatedPeers) -> None:
    """User, milliseconds, and the Kinds that the configuration opens; nothing else was asked for."""
    _, traced = long_way(world, world[0])
    names = {site.peer.node.node_id: number for number, site in enumerate(world.sites.values())}
    for hop in traced.hops:
        told = {info.kind: info.value for info in hop.infos}
        number = names[hop.node]
        assert set(told) == set(OPEN)
        assert told[DiagnosticKind.SOFTWARE_VERSION] == f"p2psip/{number}"
        assert told[DiagnosticKind.STATUS_INFO] == number % 16
        assert hop.user == f"peer-p{number}@sim.example"
        assert hop.rtt_ms > 0


def test_4_3_requests_are_routed_through_the_hops_before(world: SimulatedPeers) -> None:
    """So that they take the way that is looked at; 6.1: each expires within 600 s, and asks by its flags."""
    site = world[0]
    place, _ = long_way(world, site)
    tap = Tap(world)  # type: ignore[arg-type]
    traced = trace(world, site, place)
    asked = [
        seen
        for seen in tap.seen
        if seen.sender == "p0" and seen.code is MessageCode.PATH_TRACK_REQ and seen.header.via_list == ()
    ]
    way = [Destination.node(hop.node) for hop in traced.hops]
    assert [seen.header.destination_list for seen in asked] == [tuple(way[:n]) for n in range(1, len(way) + 1)]
    for seen in asked:
        assert isinstance(seen.body, PathTrackReq)
        request = seen.body.request
        assert isinstance(request, DiagnosticsRequest)
        assert request.dm_flags == flags_of(OPEN)
        assert request.diagnostic_extensions_list == ()
        assert 1000 <= request.expiration - request.timestamp_initiated <= 600_000


def test_4_3_1_2_to_a_node_the_trace_ends_there(world: SimulatedPeers) -> None:
    """ "after receiving a PathTrackAns where the next_hop node ID equals the responding node ID, the initiator MUST
    stop the iterative process."
    """
    target = world[13].peer.node.node_id
    traced = trace(world, world[0], target)
    assert traced.error is None
    assert traced.hops[-1].node == target


def test_4_3_1_2_to_a_line_the_trace_ends_at_its_peer(world: SimulatedPeers) -> None:
    """A line lives in its peer; the overlay knows no more of it than the way to the peer beside it in the ring."""
    traced = trace(world, world[0], NodeId(b"\x77" * 16))
    assert traced.error is not None
    assert "is responsible for it, and knows of no such node" in str(traced.error)


def test_what_is_our_own_is_one_hop(world: SimulatedPeers) -> None:
    """We ask ourselves, too."""
    site = world[5]
    traced = trace(world, site, site.peer.node.node_id)
    assert [hop.node for hop in traced.hops] == [site.peer.node.node_id]
    assert traced.error is None


def test_4_2_a_ping_goes_all_the_way_in_the_end(world: SimulatedPeers) -> None:
    """Its DiagnosticsRequest asks for nothing; 6.4: "The initiator node receiving the Ping response may check the
    hop_counter field and compute the overlay hops to the destination peer": as many as the trace has found.
    """
    site = world[0]
    place, _ = long_way(world, site)
    tap = Tap(world)  # type: ignore[arg-type]
    traced = trace(world, site, place)
    assert traced.ping_hops == len(traced.hops)
    assert traced.ping_ms is not None
    assert traced.ping_ms > 0
    ping = next(
        seen for seen in tap.seen if seen.code is MessageCode.PING_REQ and seen.sender == "p0" and seen.extensions
    )
    assert ping.header.destination_list == (Destination.resource(place),)
    (extension,) = ping.extensions
    # 6.1: "setting the value of type to 0x2 and the value of critical to FALSE".
    assert (int(extension.type), extension.critical) == (2, False)
    asked = DiagnosticsRequest.decode(extension.extension_contents)
    assert asked.dm_flags == 0
    assert asked.diagnostic_extensions_list == ()
    own = trace(world, site, site.peer.node.node_id)
    assert (own.ping_hops, own.error) == (0, None)


def test_4_2_1_a_ping_answer_may_lack_diagnostics() -> None:
    """ "Senders MUST accept a response that lacks diagnostic information and SHOULD NOT resend the message"."""
    world = grow("plain", 3)
    for site in world.sites.values():
        site.peer.node._diagnostics.ping_extensions = lambda request, now: ()  # type: ignore[method-assign]
    traced = trace(world, world[0], world[1].peer.node.node_id)
    assert traced.error is None
    assert traced.ping_hops is None
    assert traced.ping_ms is not None


def test_4_2_a_ping_that_nobody_answers_is_a_failure() -> None:
    """Though each hop is there."""
    world = grow("no ping", 3)
    target = world[1].peer.node
    answers = target._upkeep.handle_ping
    target._upkeep.handle_ping = lambda *_: None  # type: ignore[method-assign]
    traced = trace(world, world[0], target.node_id)
    assert "every hop answers, but a Ping all the way got no answer" in str(traced.error)
    assert [hop.node for hop in traced.hops] == [target.node_id]
    target._upkeep.handle_ping = answers  # type: ignore[method-assign]


def test_a_report_is_json(world: SimulatedPeers) -> None:
    """What `p2psip trace --json` prints."""
    place, traced = long_way(world, world[0])
    report = json.loads(json.dumps(trace_report("sip:bob@sim.example", traced)))
    assert (report["kind"], report["id"], report["error"]) == ("Resource-ID", str(place), None)
    first = report["hops"][0]
    assert (first["hop"], first["node_id"]) == (1, str(traced.hops[0].node))
    assert first["software"].startswith("p2psip/")
    assert set(first["diagnostics"]) == {kind.rfc_name for kind in OPEN}
    assert isinstance(first["uptime_s"], int)


@pytest.mark.long
def test_a_hop_that_says_nothing_is_named_with_the_one_before() -> None:
    """4.2: "If the Ping fails, one can then send a PathTrack to determine where the fault lies."."""
    world = grow("silent", 16)
    site = world[0]
    place, traced = long_way(world, site)
    mute, before = traced.hops[1].node, traced.hops[0]
    victim = next(other for other in world.sites.values() if other.peer.node.node_id == mute)
    victim.peer.node._serving.serve = lambda request, now: None  # type: ignore[method-assign]
    again = trace(world, site, place)
    assert [hop.node for hop in again.hops] == [before.node]
    name = before.user.partition("@")[0]
    assert f"hop 2, {mute.short}, the next hop of hop 1, {name} ({before.node.short}), gave no answer" in str(
        again.error
    )


def test_a_peer_outside_of_the_overlay_says_so() -> None:
    """It has nobody to ask."""
    world = SimulatedPeers("outside", 1)
    world.add(1)
    site = world[1]
    traced = trace(world, site, PLACES[0])
    assert str(traced.error) == "this peer has not joined the overlay yet"


def test_ways_that_lead_nowhere_end() -> None:
    """Peers that send the request back and forth, or on and on."""
    world = grow("circles", 8)
    site, liar = world[0], world[3]
    chord = chord_of(liar.peer.node)
    chord.is_responsible = lambda target: False  # type: ignore[method-assign]
    chord.next_hop = lambda target, chosen_by=None: site.peer.node.node_id  # type: ignore[method-assign]
    traced = trace(world, site, liar.peer.node.node_id)
    assert "the way goes in circles" in str(traced.error)
