"""RFC 6940 sections 6.1.2 and 6.2.1: what was given to a link that then fails is passed on another way, by its hop."""

from __future__ import annotations

import pytest
from node_bench import ME, Heard, NodeBench, nid

from p2psip.base.ids import ResourceId
from p2psip.reload.forwarding.return_path import ReturnPath
from p2psip.reload.link.link import RETAINED_S
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.sim.registrations import ask, grow


def to(place: int) -> Destination:
    """The node there."""
    return Destination.node(nid(place))


def at(place: int) -> Destination:
    """Whoever is responsible there."""
    return Destination.resource(ResourceId(nid(place)))


def start(*, acknowledges: bool = False, return_path: ReturnPath = ReturnPath.VIA_LIST) -> NodeBench:
    """Node 100 in a ring with 150 and 50; what it sends from now on is acknowledged only if said so."""
    bench = NodeBench(return_path=return_path)
    bench.become_ring(150, 50)
    bench.acknowledges = acknowledges
    return bench


def passed(bench: NodeBench, place: int, code: MessageCode = MessageCode.PING_REQ) -> list[Heard]:
    """What the node passed on to a remote since the last look, its own messages left out."""
    return [message for message in bench.heard(place, code) if message.signer != nid(ME)]


@pytest.mark.parametrize("return_path", ReturnPath)
def test_6_1_2_a_request_goes_on_by_the_next_best_hop(return_path: ReturnPath) -> None:
    """150 is gone: whoever comes next is 50. The answer of that one finds back as if nothing had been."""
    bench = start(return_path=return_path)
    bench.link(120)
    bench.send(120, MessageCode.PING_REQ, PingReq(), destinations=[at(140)])
    first = bench.hear_one(150, MessageCode.PING_REQ)
    bench.drop(150)
    (again,) = passed(bench, 50)
    assert again.header.transaction_id == first.header.transaction_id
    assert again.header.ttl == first.header.ttl, "it has made this hop once"
    route = [to(ME), *reversed(again.header.via_list)]
    transaction_id = again.header.transaction_id
    bench.send(50, MessageCode.PING_ANS, PingAns(1, 1), destinations=route, transaction_id=transaction_id)
    assert bench.hear_one(120, MessageCode.PING_ANS).header.destination_list == (to(120),)


@pytest.mark.parametrize("return_path", ReturnPath)
def test_6_1_1_a_request_that_is_ours_now_is_served(return_path: ReturnPath) -> None:
    """Of two peers one is gone, and what it was responsible for has come to the other."""
    bench = NodeBench(return_path=return_path)
    bench.become_ring(50)
    bench.acknowledges = False
    bench.link(120)
    bench.send(120, MessageCode.PING_REQ, PingReq(), destinations=[at(40)])
    assert len(passed(bench, 50)) == 1
    bench.drop(50)
    answer = bench.hear_one(120, MessageCode.PING_ANS)
    assert answer.signer == nid(ME)
    assert answer.header.destination_list == (to(120),)


def test_6_1_2_a_response_passes_over_who_is_gone() -> None:
    """Unless what comes next in its list means something to that one only."""
    bench = start()
    bench.send(50, MessageCode.PING_ANS, PingAns(1, 1), destinations=[to(ME), to(150), to(50)])
    bench.send(50, MessageCode.PING_ANS, PingAns(2, 2), destinations=[to(ME), to(150), CompressedDestination(0x8001)])
    assert len(bench.heard(150, MessageCode.PING_ANS)) == 2
    bench.drop(150)
    (first,) = (
        message for message in passed(bench, 50, MessageCode.PING_ANS) if message.header.destination_list == (to(50),)
    )
    assert first.body == PingAns(1, 1)


def test_what_was_acknowledged_is_not_sent_again() -> None:
    """Whoever acknowledged it has it."""
    bench = start(acknowledges=True)
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[at(140)])
    bench.drop(150)
    assert passed(bench, 50) == []


def test_requests_of_our_own_are_sent_again_once() -> None:
    """By the transport, which counts transmissions."""
    bench = start()
    bench.node.request(OverlayRequest([at(140)], MessageCode.PING_REQ, PingReq()), "asked", bench.now)
    bench.settle()
    sent = bench.hear_one(150, MessageCode.PING_REQ).header.transaction_id
    bench.drop(150)
    again = [heard for heard in bench.heard(50, MessageCode.PING_REQ) if heard.header.transaction_id == sent]
    assert len(again) == 1


def test_a_link_that_falls_silent_counts_as_lost() -> None:
    """After three timeouts without an acknowledgement. What waits for it has gone another way after two: neither then
    nor when it is closed at last is anything sent a second time.
    """
    bench = start()
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[at(140)])
    bench.hear_one(150, MessageCode.PING_REQ)
    bench.node._connections.get(nid(50)).link._sent.clear()  # type: ignore[union-attr, attr-defined]
    bench.run_for(2.1)
    assert len(passed(bench, 50)) == 1
    bench.run_for(1.0 + RETAINED_S)
    assert passed(bench, 50) == []


def test_6_2_1_a_request_older_than_its_lifetime_goes_round_nobody() -> None:
    """On a link so slow that two timeouts are longer than that."""
    bench = start()
    bench.node._connections.get(nid(150)).link.round_trip.rto_s = 8.0  # type: ignore[union-attr]
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[at(140)])
    bench.hear_one(150, MessageCode.PING_REQ)
    bench.node._connections.get(nid(50)).link._sent.clear()  # type: ignore[union-attr, attr-defined]
    bench.run_for(2 * 8.0 + 0.5)
    assert passed(bench, 50) == []


def test_6_2_1_a_request_older_than_its_lifetime_is_let_go() -> None:
    """ "if the request is received within the maximum request lifetime (15 seconds)": later it would be done again."""
    bench = start()
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[at(140)])
    bench.now += 15.0
    bench.drop(150)
    assert passed(bench, 50) == []


@pytest.mark.long
def test_requests_survive_the_death_of_a_peer_without_a_timeout() -> None:
    """Of 100 that are under way when a peer of 16 is killed, nearly all are answered long before 3 s have passed."""
    overlay = grow("killed", 16)
    overlay.world.run_for(20.0)
    victim, *hosts = overlay.alive()[1:]
    asked = []
    for number in range(100):
        host = hosts[number % len(hosts)]
        place = Destination.resource(ResourceId(bytes([number * 37 % 256]) * 16))
        asked.append((host, ask(overlay, host, OverlayRequest([place], MessageCode.PING_REQ, PingReq()))))
        if number % 2:
            overlay.world.run_for(0.002)
        if number == 50:
            overlay.world.crash(victim)
    results = [overlay.wait_done(host, handle).result for host, handle in asked]
    assert all(isinstance(result, Answer) for result in results)
    assert sum(1 for result in results if isinstance(result, Answer) and result.rtt_s > 1.0) <= 1
