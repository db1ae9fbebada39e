"""RFC 6940 sections 6.1.2, 6.1.3 and 6.3.2.2: opaque IDs and kept state, on one peer and in overlays of mixed peers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from node_bench import ME, Heard, NodeBench, nid

from p2psip.base.ids import ResourceId
from p2psip.reload.forwarding.return_path import ReturnPath
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode, UnknownBody
from p2psip.reload.wire.header import CompressedDestination, Destination, Entry
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.sim.capture import Tap
from p2psip.sim.registrations import ask, fill, grow, missing
from p2psip.sim.simulated_overlay import SimulatedOverlay

PREVIOUS, NEXT, BEFORE = 50, 150, 30
"""Node 100 passes on from 50 to 150; the request came to 50 from 30."""


def to(place: int) -> Destination:
    """The node there."""
    return Destination.node(nid(place))


def start(return_path: ReturnPath, **settings: object) -> NodeBench:
    """Node 100 in a ring with 50 and 150."""
    bench = NodeBench(return_path=return_path, **settings)  # type: ignore[arg-type]
    bench.become_ring(NEXT, PREVIOUS)
    return bench


def pass_on(bench: NodeBench, via_list: tuple[Entry, ...] = ()) -> Heard:
    """A Ping of 30 passes 50 and 100 on its way to 140, whom 150 speaks for; as 150 receives it."""
    via = via_list or (to(BEFORE),)
    request = Destination.resource(ResourceId(nid(140)))
    bench.send(PREVIOUS, MessageCode.PING_REQ, PingReq(), signer=BEFORE, destinations=[request], via_list=via)
    return bench.hear_one(NEXT, MessageCode.PING_REQ)


def respond(bench: NodeBench, passed: Heard, transaction_id: int = 0) -> list[Heard]:
    """150 answers; what 50 receives of it."""
    route = [to(ME), *reversed(passed.header.via_list)]
    transaction = transaction_id or passed.header.transaction_id
    bench.send(NEXT, MessageCode.PING_ANS, PingAns(1, 1), destinations=route, transaction_id=transaction)
    return bench.heard(PREVIOUS, MessageCode.PING_ANS)


@pytest.mark.must("6.1.2/4", "6.1.2/5", "6.1.2/7", "6.1.3/1")
@pytest.mark.parametrize("strategy", ReturnPath)
def test_6_1_2_the_response_leaves_as_the_concatenation(strategy: ReturnPath) -> None:
    """ "any response to that request exits that node with a Destination List equal to the concatenation of the Node-ID
    of the node from which the request was received with the Via List in the original request".
    """
    bench = start(strategy)
    (answer,) = respond(bench, pass_on(bench))
    assert answer.header.destination_list == (to(PREVIOUS), to(BEFORE))


@pytest.mark.must("6.1.2/7")
@pytest.mark.parametrize("is_error", [False, True])
def test_6_1_2_our_own_response_leaves_as_the_concatenation(*, is_error: bool) -> None:
    """The same of a request that ends here, whatever the answer is; the via list backwards, as the way was."""
    bench, via_list = start(ReturnPath.VIA_LIST), (to(20), to(BEFORE))
    code, body = (MessageCode.STORE_REQ, UnknownBody(b"?")) if is_error else (MessageCode.PING_REQ, PingReq())
    bench.send(PREVIOUS, code, body, signer=20, via_list=via_list)
    answer = bench.hear_one(PREVIOUS)
    assert answer.code is (MessageCode.ERROR if is_error else MessageCode.PING_ANS)
    assert answer.header.destination_list == (to(PREVIOUS), to(BEFORE), to(20))


@pytest.mark.parametrize("strategy", ReturnPath)
def test_6_1_1_a_response_that_has_us_as_its_only_entry(strategy: ReturnPath) -> None:
    """6.1.1: "If the message is a response and list compression was used, then the node first modifies the Destination
    List to reinsert the saved state": the request came from its originator, and the via list was empty.
    """
    bench = start(strategy)
    bench.send(PREVIOUS, MessageCode.PING_REQ, PingReq(), destinations=[Destination.resource(ResourceId(nid(140)))])
    (answer,) = respond(bench, bench.hear_one(NEXT, MessageCode.PING_REQ))
    assert answer.header.destination_list == (to(PREVIOUS),)


@pytest.mark.must("6.1.2/6")
@pytest.mark.parametrize("strategy", [ReturnPath.TRANSACTION_STATE, ReturnPath.STORED_LIST])
def test_6_1_2_state_is_maintained_for_the_reliability_timer(strategy: ReturnPath) -> None:
    """ "the state MUST be maintained for at least the value of the overlay-reliability-timer"."""
    bench = start(strategy, overlay_reliability_timer_ms=20_000)
    passed = pass_on(bench)
    for other in range(50):
        pass_on(bench, (to(other + 1),))
    bench.now += 20.0 - 0.01
    (answer,) = respond(bench, passed)
    assert answer.header.destination_list == (to(PREVIOUS), to(BEFORE))


@pytest.mark.must("6.1.2/6")
@pytest.mark.parametrize("strategy", [ReturnPath.TRANSACTION_STATE, ReturnPath.STORED_LIST])
def test_6_1_2_the_timer_is_that_of_the_present_configuration(strategy: ReturnPath) -> None:
    """Also where it has changed while the node runs."""
    bench = start(strategy)
    longer = replace(bench.configuration, overlay_reliability_timer_ms=20_000)
    bench.node._use_configuration(longer, bench.now)
    passed = pass_on(bench)
    bench.now += 20.0 - 0.01
    (answer,) = respond(bench, passed)
    assert answer.header.destination_list == (to(PREVIOUS), to(BEFORE))


@pytest.mark.must("6.3.2.2/1", "6.3.2.2/2")
def test_6_3_2_2_the_sixteen_bits_and_the_full_structure_are_one() -> None:
    """ "it MUST be treated as if it were a full structure with a DestinationType of opaque_id_type and an opaque_id
    that was 2 bytes long with the value of the 16-bit integer".
    """
    bench = start(ReturnPath.CONNECTION_INDEX)
    passed = pass_on(bench)
    number = passed.header.via_list[-1]
    assert isinstance(number, CompressedDestination)
    assert number.encode()[0] & 0x80
    full = Destination.opaque(number.opaque_id)
    header = replace(passed.header, via_list=(*passed.header.via_list[:-1], full))
    (answer,) = respond(bench, replace(passed, header=header))
    assert answer.header.destination_list == (to(PREVIOUS), to(BEFORE))


@pytest.mark.must("6.3.2.2/5", "6.3.2.2/6")
def test_6_3_2_2_the_generation_counter_must_match() -> None:
    """ "If it does not match, the message MUST be silently dropped." Neither one that never was, nor that of a link
    that was closed meanwhile.
    """
    bench = start(ReturnPath.CONNECTION_INDEX)
    passed = pass_on(bench)
    number = passed.header.via_list[-1]
    assert isinstance(number, CompressedDestination)
    other = CompressedDestination(number.compressed_id ^ 1)
    header = replace(passed.header, via_list=(*passed.header.via_list[:-1], other))
    assert respond(bench, replace(passed, header=header)) == []
    assert len(respond(bench, passed)) == 1
    bench.drop(PREVIOUS)
    bench.link(PREVIOUS)
    bench.heard(NEXT)
    assert respond(bench, passed) == []
    assert bench.heard(NEXT, MessageCode.ERROR) == []


@pytest.mark.parametrize("strategy", [ReturnPath.STORED_LIST, ReturnPath.SEALED_LIST])
def test_6_1_3_forged_and_stolen_ids_are_dropped(strategy: ReturnPath) -> None:
    """An ID that we never made stands for nothing, and a sealed list for one transaction only."""
    bench = start(strategy)
    passed = pass_on(bench)
    opaque_id = passed.header.via_list[-1].opaque_id
    assert opaque_id is not None
    forged = Destination.opaque(bytes([opaque_id[0] ^ 1]) + opaque_id[1:])
    header = replace(passed.header, via_list=(*passed.header.via_list[:-1], forged))
    assert respond(bench, replace(passed, header=header)) == []
    if strategy is ReturnPath.SEALED_LIST:
        assert respond(bench, passed, transaction_id=passed.header.transaction_id + 1) == []


@pytest.mark.parametrize("strategy", ReturnPath)
def test_6_1_3_foreign_entries_travel_on(strategy: ReturnPath) -> None:
    """In both forms, of other peers, before and behind ours."""
    bench = start(strategy)
    foreign = (Destination.opaque(b"foreign"), to(BEFORE), CompressedDestination(0x8123), to(31))
    (answer,) = respond(bench, pass_on(bench, foreign))
    assert answer.header.destination_list == (to(PREVIOUS), *reversed(foreign))


def test_6_1_3_a_list_that_no_longer_fits_is_dropped() -> None:
    """The lengths of the lists have 16 bits; what expands beyond that is nobody's honest way back."""
    bench = start(ReturnPath.STORED_LIST)
    passed = pass_on(bench, tuple(Destination.opaque(bytes(250)) for _ in range(254)))
    (handle,) = passed.header.via_list
    bench.send(NEXT, MessageCode.PING_ANS, PingAns(1, 1), destinations=[to(ME), handle, *[to(BEFORE)] * 100])
    assert len(bench.heard(PREVIOUS)) == 0
    assert len(respond(bench, passed)) == 1


MIXED = tuple(ReturnPath)


@pytest.fixture(scope="module")
def mixed() -> SimulatedOverlay:
    """20 peers, each fifth with the same strategy."""
    grown = grow("mixed", 20, return_paths=MIXED)
    grown.world.run_for(20.0)
    return grown


@pytest.mark.long
@pytest.mark.must("6.1.2/4", "6.2/1")
def test_6_1_2_an_overlay_of_mixed_peers_works(mixed: SimulatedOverlay) -> None:
    """Everybody reaches every place, over several hops, and the answer comes with the first transmission."""
    tap = Tap(mixed)
    places = [ResourceId(bytes([number * 13 % 256]) * 16) for number in range(20)]
    asked = [
        (
            host,
            ask(
                mixed,
                host,
                OverlayRequest(  # type: ignore[misc]
                    [Destination.resource(place)], MessageCode.PING_REQ, PingReq()
                ),
            ),
        )
        for host, place in zip(mixed.alive(), places, strict=True)
    ]
    results = [mixed.wait_done(host, handle).result for host, handle in asked]
    assert all(isinstance(result, Answer) and result.rtt_s < 1.0 for result in results)
    assert max(result.hops for result in results if isinstance(result, Answer)) >= 3
    forms = {type(entry).__name__ + str(entry.node_id is None) for seen in tap.seen for entry in seen.header.via_list}
    assert forms == {"DestinationFalse", "DestinationTrue", "CompressedDestinationTrue"}


def test_6_1_2_registrations_are_found_in_it(mixed: SimulatedOverlay) -> None:
    """Stores and Fetches, with their larger messages and answers."""
    records = fill(mixed, 20)
    assert missing(mixed, records) == []
