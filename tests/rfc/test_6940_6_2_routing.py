"""RFC 6940 sections 6.1 and 6.2 among real nodes: the way out, the way back, and what gets lost."""

from __future__ import annotations

import pytest

from p2psip.base.ids import ResourceId
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.sim.capture import Tap, node_id
from p2psip.sim.registrations import ask, grow, line
from p2psip.sim.simulated_overlay import Command, SimulatedOverlay
from p2psip.sim.world import Host


def ping(overlay: SimulatedOverlay, host: Host, *destinations: Destination) -> Command:
    """A Ping of a host."""
    return ask(overlay, host, OverlayRequest(destinations, MessageCode.PING_REQ, PingReq()))


def far_resource(overlay: SimulatedOverlay, host: Host) -> ResourceId:
    """A place that the host reaches by way of others."""
    links = overlay.node(host).linked
    for other in overlay.alive():
        node = overlay.node(other)
        if other is not host and node.node_id not in links:
            return ResourceId(node.node_id)
    raise AssertionError("everybody is linked with everybody")


@pytest.fixture(scope="module")
def overlay() -> SimulatedOverlay:
    """24 peers, links that nobody needs closed; no test harms it."""
    grown = grow("routing", 24)
    grown.world.run_for(20.0)
    return grown


@pytest.mark.long
@pytest.mark.must("6.2.2/1", "6.1.2/4", "6.3.2/5")
def test_6_1_2_the_response_takes_the_way_of_the_request_in_reverse(overlay: SimulatedOverlay) -> None:
    """6.2.2: "the response traverses the same peers as the request traversed, except in reverse order"; each peer adds
    the previous hop to the via list on the way out and takes itself off the destination list on the way back.
    """
    host = overlay.world.hosts["p1"]
    tap = Tap(overlay)
    done = overlay.wait_done(host, ping(overlay, host, Destination.resource(far_resource(overlay, host))))
    first = next(seen for seen in tap.seen if seen.code is MessageCode.PING_REQ and seen.sender == "p1")
    sightings = tap.of(first.header.transaction_id)
    out = [seen for seen in sightings if seen.code is MessageCode.PING_REQ]
    back = [seen for seen in sightings if seen.code is MessageCode.PING_ANS]
    assert len(out) >= 2
    path = [out[0].sender, *(seen.receiver for seen in out)]
    assert [back[0].sender, *(seen.receiver for seen in back)] == path[::-1]
    for hop, seen in enumerate(out):
        assert seen.header.via_list == tuple(Destination.node(node_id(overlay, name)) for name in path[:hop])
        assert seen.header.ttl == 100 - hop
    for hop, seen in enumerate(back):
        rest = path[::-1][hop + 1 :]
        assert seen.header.destination_list == tuple(Destination.node(node_id(overlay, name)) for name in rest)
    assert isinstance(done.result, Answer)
    assert done.result.hops == len(out)


@pytest.mark.must("6.2.1/1")
def test_6_2_1_source_routing(overlay: SimulatedOverlay) -> None:
    """ "The node MAY also construct a more complicated Destination List for source routing."."""
    host = overlay.world.hosts["p1"]
    names = ["p5", "p9", "p13"]
    handle = ping(overlay, host, *(Destination.node(node_id(overlay, name)) for name in names))
    result = overlay.wait_done(host, handle).result
    assert isinstance(result, Answer)
    assert result.signer.node_id == node_id(overlay, "p13")


@pytest.mark.must("6.2.1/5", "6.2.1/6", "6.2.1/7")
def test_6_2_1_requests_without_an_answer_are_sent_five_times(overlay: SimulatedOverlay) -> None:
    """At 0, 3, 6, 9 and 12 s, with the same transaction; "After the timer for the fifth transmission fires, the message
    MUST be considered to have failed."
    """
    host = overlay.world.hosts["p1"]
    tap = Tap(overlay)
    began = overlay.world.now
    done = overlay.wait_done(host, ping(overlay, host, Destination.node(line("nobody").node_id)))
    assert overlay.world.now - began == pytest.approx(15.0)
    assert "nobody answered" in str(done.result)
    own = [seen for seen in tap.seen if seen.sender == "p1" and seen.header.via_list == ()]
    transaction = next(seen.header.transaction_id for seen in own if seen.code is MessageCode.PING_REQ)
    times = [round(seen.at - began, 6) for seen in own if seen.header.transaction_id == transaction]
    assert times == [0.0, 3.0, 6.0, 9.0, 12.0]


@pytest.mark.must("6.2.1/8")
def test_6_2_1_what_is_repeated_is_served_once(overlay: SimulatedOverlay) -> None:
    """ "Receiving nodes MUST generate semantically equivalent responses to retransmissions": the answer was lost."""
    host = overlay.world.hosts["p1"]
    resource = far_resource(overlay, host)
    tap = Tap(overlay)
    handle = ping(overlay, host, Destination.resource(resource))
    overlay.world.run_for(2.0, stop=lambda: any(seen.code is MessageCode.PING_ANS for seen in tap.seen))
    tap.is_deaf = True
    overlay.world.run_for(0.5)
    tap.is_deaf = False
    result = overlay.wait_done(host, handle).result
    assert isinstance(result, Answer)
    transaction = next(seen for seen in tap.seen if seen.sender == "p1" and seen.code is MessageCode.PING_REQ)
    answers = [seen.body for seen in tap.of(transaction.header.transaction_id) if seen.code is MessageCode.PING_ANS]
    assert len(answers) > 1
    assert len(set(map(str, answers))) == 1, "each Ping that is served has a response_id of its own"


@pytest.mark.must("6.1.1/4")
def test_6_1_1_a_node_id_that_is_not_there_is_met_with_silence(overlay: SimulatedOverlay) -> None:
    """ "the node MUST drop the message silently"; to address whoever is there, one sends to the Resource-ID."""
    host = overlay.world.hosts["p1"]
    nobody = line("nobody").node_id
    tap = Tap(overlay)
    ping(overlay, host, Destination.node(nobody))
    overlay.world.run_for(1.0)
    transaction = next(seen for seen in tap.seen if seen.header.destination_list == (Destination.node(nobody),))
    assert {seen.code for seen in tap.of(transaction.header.transaction_id)} == {MessageCode.PING_REQ}
    handle = ping(overlay, host, Destination.resource(ResourceId(nobody)))
    assert isinstance(overlay.wait_done(host, handle).result, Answer)


def test_6_6_2_every_message_is_acknowledged(overlay: SimulatedOverlay) -> None:
    """ "When the receiver receives a message, it SHOULD immediately send an ACK message."."""
    tap = Tap(overlay)
    for number in range(5):
        ping(overlay, overlay.world.hosts[f"p{number}"], Destination.resource(ResourceId(bytes([number * 40] * 16))))
    overlay.world.run_for(2.0)
    sent = [seen for seen in tap.seen if seen.at < overlay.world.now - 0.2]
    assert len(sent) > 5
    assert len(sent) <= tap.acknowledgements, "of the last ones they are under way"
