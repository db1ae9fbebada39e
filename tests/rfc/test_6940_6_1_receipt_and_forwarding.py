"""RFC 6940 sections 6.1, 6.2.1, 6.3.2 and 6.3.2.3 on one real node: what it delivers, passes on, answers and drops."""

from __future__ import annotations

import pytest
from node_bench import ME, NodeBench, identity, nid, offer

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.forwarding.options import ALL_FLAGS
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import (
    CompressedDestination,
    Destination,
    Entry,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.link_messages import PingAns, PingReq

PING, PONG, ERROR = MessageCode.PING_REQ, MessageCode.PING_ANS, MessageCode.ERROR
UNKNOWN = ForwardingOptionType(200)
FORWARD_CRITICAL = ForwardingOption(UNKNOWN, ForwardingOptionFlags.FORWARD_CRITICAL, b"f")
DESTINATION_CRITICAL = ForwardingOption(UNKNOWN, ForwardingOptionFlags.DESTINATION_CRITICAL, b"d")
HARMLESS = ForwardingOption(UNKNOWN, ForwardingOptionFlags(0), b"h")


def to(place: int) -> Destination:
    """The node there."""
    return Destination.node(nid(place))


def at(place: int) -> Destination:
    """Whoever is responsible there."""
    return Destination.resource(ResourceId(nid(place)))


@pytest.fixture
def bench() -> NodeBench:
    """Node 100 in a ring with 50 and 150: responsible for (50, 100]. 70 is a client, linked with it."""
    made = NodeBench()
    made.become_ring(150, 50)
    made.link(70)
    made.settle_updates()
    return made


def ping(bench: NodeBench, *destinations: Entry, place: int = 50, **header: object) -> int:
    """A Ping comes over the link to `place`; its transaction."""
    return bench.send(place, PING, PingReq(), destinations=destinations, **header)  # type: ignore[arg-type]


def sightings(bench: NodeBench, transaction: int) -> list[tuple[int, MessageCode]]:
    """Who was sent what of this transaction."""
    return [
        (place, message.code)
        for place in list(bench.remotes)
        for message in bench.heard(place)
        if message.header.transaction_id == transaction
    ]


# 6.1: what is not as it should be


@pytest.mark.must("6.1/1", "6.3.2/4")
def test_6_1_another_version_is_rejected(bench: NodeBench) -> None:
    """ "If any of these are incorrect, as defined in Section 6.3.2, it is an error and the message MUST be discarded.
    The peer SHOULD generate an appropriate error"; 6.3.2: "Nodes MUST reject messages with other versions."
    """
    captured: list[bytes] = []
    send_bytes, bench.send_bytes = bench.send_bytes, lambda place, data: captured.append(data)  # type: ignore[method-assign]
    ping(bench, at(140))
    ping(bench, to(ME))
    for message in captured:
        send_bytes(50, message[:10] + b"\x0b" + message[11:])
        assert bench.hear_one(50, ERROR).error.error_code is ErrorCode.INCOMPATIBLE_WITH_OVERLAY
    assert bench.heard(150, PING) == []
    assert bench.heard(50, PONG) == []


@pytest.mark.must("6.1/1")
def test_6_1_a_message_of_another_overlay_is_an_error(bench: NodeBench) -> None:
    """Neither passed on nor served, and answered, as its signature holds."""
    for destination in (at(140), to(ME)):
        transaction = ping(bench, destination, overlay=bench.configuration.overlay_hash ^ 1)
        assert sightings(bench, transaction) == [(50, ERROR)]


@pytest.mark.must("6.1/1", "6.3.2.2/4")
def test_6_3_2_2_a_resource_in_a_via_list_is_incorrect(bench: NodeBench) -> None:
    """ "MUST NOT appear in a Via List. It is meaningless to try to route through a resource." """
    assert sightings(bench, ping(bench, at(140), via_list=(at(10),))) == []


# 6.1.1: IDs that we are responsible for


@pytest.mark.must("6.1.1/1", "6.1.1/2", "6.3.2.2/4")
@pytest.mark.parametrize("place", [75, 140], ids=["ours", "another's"])
def test_6_1_1_a_resource_with_entries_behind_it_is_dropped(bench: NodeBench, place: int) -> None:
    """ "it MUST be the only entry on the Destination List. If there are other entries, the message MUST be silently
    dropped."
    """
    assert sightings(bench, ping(bench, at(place), to(ME))) == []
    assert sightings(bench, ping(bench, at(place), CompressedDestination(0x8001))) == []


@pytest.mark.must("6.1.1/3")
def test_6_1_1_what_is_for_us_is_verified_and_passed_up(bench: NodeBench) -> None:
    """ "the node MUST verify the signature as described in Section 7.1 and MUST pass it to the upper layers"."""
    assert sightings(bench, ping(bench, at(75))) == [(50, PONG)]
    assert sightings(bench, ping(bench, at(75), signer=66)) == [], "66 is no member"


def test_6_1_1_our_own_node_id(bench: NodeBench) -> None:
    """ "If it is the only entry [...] the node passes it to the upper layers. Otherwise, the node removes the entry
    from the Destination List and repeats the routing process with the next entry"."""
    assert sightings(bench, ping(bench, to(ME))) == [(50, PONG)]
    ping(bench, to(ME), to(ME), to(150))
    assert bench.hear_one(150, PING).header.destination_list == (to(150),)
    assert sightings(bench, ping(bench, to(ME), at(75))) == [(50, PONG)]


def test_6_1_1_the_wildcard_is_consumed_locally(bench: NodeBench) -> None:
    """ "A message with a wildcard Node-ID as its first entry is never forwarded; it is consumed locally." """
    wildcard = Destination.node(NodeId.wildcard())
    assert sightings(bench, ping(bench, wildcard)) == [(50, PONG)]
    assert sightings(bench, ping(bench, to(ME), wildcard)) == [(50, PONG)]


@pytest.mark.must("6.1.1/4")
def test_6_1_1_a_node_that_is_not_there_is_met_with_silence(bench: NodeBench) -> None:
    """ "the node MUST drop the message silently unless the Node-ID corresponds to a node which is directly connected";
    so is one that cannot be there, of all zeros (section 3).
    """
    assert sightings(bench, ping(bench, to(75))) == []
    bench.drop(150)
    bench.drop(50)
    bench.run_for(0.1)
    assert sightings(bench, ping(bench, Destination.node(NodeId(bytes(16))), place=70)) == []


@pytest.mark.must("6.1.1/5")
def test_6_1_1_a_client_in_our_range_is_reached(bench: NodeBench) -> None:
    """ "In the latter case, the node MUST attempt to forward the message to the destination node"; the same by a
    destination list [peer, client], and back.
    """
    for destinations in ([to(70)], [to(ME), to(70)]):
        transaction = ping(bench, *destinations)
        assert bench.hear_one(70, PING).header.via_list == (to(50),)
        bench.send(70, PONG, PingAns(1, 1), destinations=[to(ME), to(50)], transaction_id=transaction)
        assert bench.hear_one(50, PONG).header.destination_list == (to(50),)


def test_6_1_1_to_a_client_it_may_fail(bench: NodeBench) -> None:
    """ "(though this may fail for connectivity reasons, because the TTL has expired, or [...] some other error)"."""
    assert sightings(bench, ping(bench, to(70), ttl=0)) == [(50, ERROR)]
    bench.drop(70)
    assert sightings(bench, ping(bench, to(70))) == []


# 6.1.2: IDs of others


@pytest.mark.must("6.1.2/1", "6.1.2/2", "6.2.1/4")
def test_6_1_2_it_is_passed_on_to_the_most_likely(bench: NodeBench) -> None:
    """ "the peer MUST forward the message towards that entry. This means that it MUST select one of the peers to which
    it is connected and which is most likely to be responsible": for (100, 150] that is 150; never a client.
    """
    assert sightings(bench, ping(bench, at(140), place=70)) == [(150, PING)]
    assert sightings(bench, ping(bench, to(140), place=70)) == [(150, PING)]


@pytest.mark.must("6.1.2/3", "6.2.1/3")
@pytest.mark.parametrize("place", [150, 50, 70])
def test_6_1_2_who_is_linked_gets_it_directly(bench: NodeBench, place: int) -> None:
    """ "If the first entry on the Destination List is in the peer's Connection Table, the peer MUST forward the message
    to that peer directly"; 6.2.1: "the message MUST be routed down that connection", of our own ones as well.
    """
    bench.link(200)
    assert sightings(bench, ping(bench, to(place), to(30), place=200)) == [(place, PING)]
    bench.node.request(OverlayRequest([to(place)], PING, PingReq()), "asked", bench.now)
    bench.settle()
    assert bench.hear_one(place, PING).header.via_list == ()


@pytest.mark.must("6.2.1/1", "6.2.1/2", "6.3.2/10")
def test_6_2_1_our_own_requests(bench: NodeBench) -> None:
    """ "a node MUST construct an appropriate Destination List. The simplest such Destination List is a single entry";
    6.3.2: transaction IDs "MUST be randomly generated": of 64 bits, with no order in them.
    """
    for _ in range(20):
        bench.node.request(OverlayRequest([at(140)], PING, PingReq()), "asked", bench.now)
    bench.settle()
    headers = [message.header for message in bench.heard(150, PING)]
    assert {header.destination_list for header in headers} == {(at(140),)}
    numbers = [header.transaction_id for header in headers]
    assert len(set(numbers)) == 20
    assert sorted(numbers) != numbers
    assert max(number.bit_length() for number in numbers) > 60
    assert all(any(number >> bit & 1 for number in numbers) for bit in range(64))


@pytest.mark.must("6.1.2/9")
@pytest.mark.parametrize("code", [PING, MessageCode.ATTACH_REQ])
def test_6_1_2_a_joining_node_gets_its_answers(bench: NodeBench, code: MessageCode) -> None:
    """ "The node MUST implement support for returning responses to a Ping or Attach request made by a Joining Node
    Attaching to its responsible peer": a node that is nobody's neighbour yet, through the link that it made to us.
    """
    bench.link(120)
    body = PingReq() if code is PING else offer(120)
    transaction = bench.send(120, code, body, destinations=[at(140)])
    assert bench.hear_one(150, code).header.via_list == (to(120),)
    bench.send(150, PONG, PingAns(1, 1), destinations=[to(ME), to(120)], transaction_id=transaction)
    assert bench.hear_one(120, PONG).header.transaction_id == transaction


# 6.3.2: TTL


@pytest.mark.must("6.3.2/5")
def test_6_3_2_the_ttl_is_decremented(bench: NodeBench) -> None:
    """ "The TTL value MUST be decremented by one at every hop along the route the message traverses just before
    transmission": of requests and responses.
    """
    ping(bench, at(140), ttl=7)
    assert bench.hear_one(150, PING).header.ttl == 6
    bench.send(150, PONG, PingAns(1, 1), destinations=[to(ME), to(50)], ttl=7)
    assert bench.hear_one(50, PONG).header.ttl == 6


@pytest.mark.must("6.3.2/6")
def test_6_3_2_a_ttl_of_zero_ends_the_journey(bench: NodeBench) -> None:
    """ "If a received message has a TTL of 0 and the message is not destined for the receiving node, then the message
    MUST NOT be propagated further, and an Error_TTL_Exceeded error should be generated."
    """
    ping(bench, at(140), ttl=0)
    assert bench.hear_one(50, ERROR).error.error_code is ErrorCode.TTL_EXCEEDED
    assert bench.heard(150, PING) == []
    assert sightings(bench, ping(bench, at(75), ttl=0)) == [(50, PONG)], "it is destined for us"
    transaction = bench.send(150, PONG, PingAns(1, 1), destinations=[to(50)], ttl=0)
    assert sightings(bench, transaction) == [], "nobody answers a response"


@pytest.mark.must("6.3.2/7", "6.3.2/8")
def test_6_3_2_the_initial_ttl_is_the_most(bench: NodeBench) -> None:
    """ "Implementations which receive messages with a TTL greater than the current value of initial-ttl (or the default
    of 100) MUST discard the message and send an Error_TTL_Exceeded error."
    """
    for destination in (at(140), at(75)):
        assert sightings(bench, ping(bench, destination, ttl=101)) == [(50, ERROR)]
    other = NodeBench(initial_ttl=20)
    other.become_ring(150, 50)
    assert sightings(other, ping(other, at(140), ttl=21)) == [(50, ERROR)]
    assert sightings(other, ping(other, at(140), ttl=20)) == [(150, PING)]
    for node, ttl in ((bench, 100), (other, 20)):
        node.node.request(OverlayRequest([at(140)], PING, PingReq()), "asked", node.now)
        node.settle()
        assert node.hear_one(150, PING).header.ttl == ttl


# 6.3.2.3: options


@pytest.mark.must("6.3.2.3/2")
def test_6_3_2_3_forward_critical(bench: NodeBench) -> None:
    """ "any peer that would forward the message but does not understand this option MUST reject the request with an
    Error_Unsupported_Forwarding_Option error response"; its destination does not mind.
    """
    ping(bench, at(140), options=(HARMLESS, FORWARD_CRITICAL))
    assert bench.hear_one(50, ERROR).error.error_code is ErrorCode.UNSUPPORTED_FORWARDING_OPTION
    assert bench.heard(150, PING) == []
    assert sightings(bench, ping(bench, at(75), options=(FORWARD_CRITICAL,))) == [(50, PONG)]


@pytest.mark.must("6.3.2.3/3")
def test_6_3_2_3_destination_critical(bench: NodeBench) -> None:
    """ "any node that generates a response to the message but does not understand the forwarding option MUST reject the
    request with an Error_Unsupported_Forwarding_Option error response"; those on the way do not mind.
    """
    ping(bench, at(75), options=(DESTINATION_CRITICAL,))
    assert bench.hear_one(50, ERROR).error.error_code is ErrorCode.UNSUPPORTED_FORWARDING_OPTION
    ping(bench, at(140), options=(DESTINATION_CRITICAL, HARMLESS))
    assert bench.hear_one(150, PING).header.options == (DESTINATION_CRITICAL, HARMLESS)


@pytest.mark.must("6.3.2.3/4", "6.3.2.3/1")
@pytest.mark.parametrize("code", [PONG, ERROR])
def test_6_3_2_3_response_copy(bench: NodeBench, code: MessageCode) -> None:
    """ "any node generating a response MUST copy the option from the request to the response except that the
    RESPONSE_COPY, FORWARD_CRITICAL, and DESTINATION_CRITICAL flags MUST be cleared": into errors as well.
    """
    flags = ForwardingOptionFlags.RESPONSE_COPY | ForwardingOptionFlags.FORWARD_CRITICAL
    if code is ERROR:
        flags |= ForwardingOptionFlags.DESTINATION_CRITICAL
    ping(bench, at(75), options=(ForwardingOption(UNKNOWN, flags, b"copied"), HARMLESS))
    answer = bench.hear_one(50, code)
    assert answer.header.options == (ForwardingOption(UNKNOWN, ForwardingOptionFlags(0), b"copied"),)


@pytest.mark.must("6.3.2.3/1")
@pytest.mark.parametrize("flag", list(ALL_FLAGS))
def test_6_3_2_3_flags_in_a_response_are_incorrect(bench: NodeBench, flag: ForwardingOptionFlags) -> None:
    """ "These flags MUST NOT be set in a response"; 6.1: "it is an error and the message MUST be discarded"."""
    for options, is_passed in (((ForwardingOption(UNKNOWN, flag, b""),), False), ((HARMLESS,), True)):
        bench.send(150, PONG, PingAns(1, 1), destinations=[to(50)], options=options)
        assert bool(bench.heard(50, PONG)) == is_passed


def test_6_1_a_message_that_comes_through_us_twice(bench: NodeBench) -> None:
    """Whoever passes messages on keeps no account of them: the destination does, and the TTL ends a loop."""
    transaction = ping(bench, at(140), transaction_id=77, via_list=(to(150), to(ME)))
    assert transaction == 77
    ping(bench, at(140), transaction_id=77)
    assert [heard.header.transaction_id for heard in bench.heard(150, PING)] == [77, 77]


def test_6_2_1_a_retransmission_may_be_signed_anew(bench: NodeBench) -> None:
    """6.2.1: "retransmissions of the same request (this can be determined by the transaction ID)": the signature may be
    another, as ECDSA makes them, and so may the way. The same number of another node is another request.
    """
    for place, transaction in ((50, 7), (150, 7), (50, 7)):
        bench.send(place, PING, PingReq(b"x" * place), signer=30, transaction_id=transaction)
    first, again, other = *bench.heard(50, PONG), bench.hear_one(150, PONG)
    assert first.body == again.body == other.body
    bench.send(50, PING, PingReq(), signer=identity(31), transaction_id=7)
    assert bench.hear_one(50, PONG).body != first.body
