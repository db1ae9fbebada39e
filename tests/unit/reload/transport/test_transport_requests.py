"""Requests of one node (p2psip.reload.transport), in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transport_bench import (
    ALICE,
    BAD,
    BOB,
    EVE,
    EXTENSION,
    OVERLAY,
    PONG,
    RESOURCE,
    finished,
    header,
    nid,
    originated,
    ping,
    response,
    run_out,
    signed,
    transport,
)

from p2psip.base.errors import Cause
from p2psip.base.ids import NodeId
from p2psip.reload.link.datagram import DatagramLink
from p2psip.reload.link.framing import frame_data
from p2psip.reload.link.link import LinkLost
from p2psip.reload.security.errors import BadSignature, UntrustedCertificate
from p2psip.reload.transport.outcome import Answer, Refused, Unanswered
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import (
    OPEN_REQUESTS_MAX,
    Finished,
    Originate,
)
from p2psip.reload.wire.contents import (
    ErrorCode,
    ErrorResponse,
    MessageCode,
)
from p2psip.reload.wire.header import (
    Destination,
)
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import join
from p2psip.reload.wire.storage_messages import FetchAns, FetchReq, FindReq, StatAns, StatReq, StoreReq
from p2psip.reload.wire.topology_messages import UpdateAns


@pytest.mark.must("6.2.1/5", "6.2.1/6", "6.2.1/7")
def test_6_2_1_five_transmissions_then_failure() -> None:
    """A request nobody answers goes out at 0, 3, 6, 9 and 12 s with the same transaction, and fails at 15 s."""
    here = transport()
    sent = ping(here)
    assert run_out(here) == [(float(at), sent) for at in (3, 6, 9, 12)] + [(15.0, Finished("context", Unanswered(())))]
    assert here.next_deadline() is None


@pytest.mark.must("6.3/1")
def test_the_request_is_signed_and_says_whose_configuration_it_is() -> None:
    """The receiver's Transport accepts it."""
    there = transport()
    sent = ping(transport())
    assert sent.sender == ALICE.node_id
    assert (sent.header.overlay, sent.header.configuration_sequence, sent.header.ttl) == (OVERLAY, 7, 100)
    assert sent.header.via_list == ()
    received = there.receive(sent.header, sent.payload, ALICE.node_id, BOB.node_id, 0.0)
    assert received is not None
    assert (received.signer.node_id, received.code, received.body) == (ALICE.node_id, MessageCode.PING_REQ, PingReq())


def test_an_answer_ends_the_request() -> None:
    """With who answered, after how long and over how many hops; nothing is sent again."""
    here = transport()
    sent = ping(here)
    (over,) = response(here, sent, now=0.5, ttl=97)
    assert over.context == "context"
    assert isinstance(over.outcome, Answer)
    assert (over.outcome.signer.node_id, over.outcome.body) == (BOB.node_id, PONG)
    assert (over.outcome.rtt_s, over.outcome.hops) == (0.5, 4)
    assert here.next_deadline() is None


def test_the_time_of_an_answer_counts_from_the_first_transmission() -> None:
    """As whoever waits for it counts."""
    here = transport()
    sent = ping(here)
    here.handle_timeout(3.0)
    (over,) = response(here, sent, now=3.2)
    assert isinstance(over.outcome, Answer)
    assert over.outcome.rtt_s == 3.2


def test_an_answer_from_within_makes_no_hop() -> None:
    """We were responsible ourselves."""
    here = transport()
    sent = ping(here, to=Destination.node(ALICE.node_id))
    payload = signed(ALICE, sent.header.transaction_id, MessageCode.PING_ANS, PONG)
    here.receive(sent.header, payload, ALICE.node_id, ALICE.node_id, 0.0)
    (over,) = finished(here)
    assert isinstance(over.outcome, Answer)
    assert over.outcome.hops == 0


def test_an_error_ends_the_request_and_says_why() -> None:
    """The cause is told in the speaker's words."""
    here = transport()
    error = ErrorResponse.of(ErrorCode.NOT_FOUND, "nothing here")
    (over,) = response(here, ping(here), error, MessageCode.ERROR)
    assert isinstance(over.outcome, Refused)
    assert over.outcome.code is ErrorCode.NOT_FOUND
    assert over.outcome.cause == Cause(f"peer {BOB.node_id.short}", "Error_Not_Found: nothing here", 0.5)


@pytest.mark.parametrize(
    ("code", "body", "nothing"),
    [
        (MessageCode.FETCH_REQ, FetchReq(RESOURCE, ()), FetchAns(())),
        (MessageCode.STAT_REQ, StatReq(RESOURCE, ()), StatAns(())),
        (MessageCode.FIND_REQ, FindReq(RESOURCE, ()), None),
        (MessageCode.STORE_REQ, StoreReq(RESOURCE, 0, ()), None),
    ],
)
def test_error_not_found_to_a_fetch_or_stat_says_that_nothing_is_there(
    code: MessageCode, body: Struct, nothing: Struct | None
) -> None:
    """6.3.3.1: "The resource or node cannot be found or does not exist"; every reader gets an answer without values."""
    here = transport()
    here.request(ALICE, OverlayRequest([Destination.node(BOB.node_id)], code, body), "context", 0.0)
    (sent,) = originated(here.drain())
    (over,) = response(here, sent, ErrorResponse.of(ErrorCode.NOT_FOUND, ""), MessageCode.ERROR)
    if nothing is None:
        assert isinstance(over.outcome, Refused)
    else:
        assert isinstance(over.outcome, Answer)
        assert over.outcome.body == nothing
        assert over.outcome.signer.node_id == BOB.node_id


def test_a_second_answer_is_nothing() -> None:
    """As is an answer to what was never asked, or is no longer."""
    here = transport()
    sent = ping(here)
    assert len(response(here, sent)) == 1
    assert response(here, sent) == []
    cancelled = ping(here)
    here.cancel(cancelled.header.transaction_id)
    assert response(here, cancelled) == []
    assert run_out(here) == []


@pytest.mark.must("6.3.4/10", "6.3.4/11")
def test_6_3_4_1_only_the_node_asked_may_answer() -> None:
    """ "The response to a message sent to a Node-ID MUST have been sent by that Node-ID"; whoever else does is named
    if the request fails.
    """
    here = transport()
    sent = ping(here)
    assert response(here, sent, signer=EVE) == []
    (*_, (at, over)) = run_out(here)
    causes = (Cause(f"peer {EVE.node_id.short}", "answered in another's place", 0.5),)
    assert (at, over) == (15.0, Finished("context", Unanswered(causes)))


@pytest.mark.must("6.3.4/11")
def test_6_3_4_1_unless_it_was_sent_to_the_wildcard() -> None:
    """ "unless the response has been sent to the wildcard Node-ID"."""
    here = transport()
    sent = ping(here, to=Destination.node(NodeId.wildcard()))
    (over,) = response(here, sent, signer=EVE)
    assert isinstance(over.outcome, Answer)


@pytest.mark.must("6.3.4/10", "6.3.4/12")
def test_6_3_4_2_only_a_node_that_is_close_enough_may_answer_for_a_resource() -> None:
    """ "MUST have been sent by a Node-ID which is at least as close to the target Resource-ID as any node in the
    requesting node's Neighbor Table."
    """
    here = transport()
    sent = ping(here, to=Destination.resource(RESOURCE))
    assert response(here, sent, signer=EVE) == []
    assert len(response(here, sent, signer=BOB)) == 1


def test_an_error_on_the_way_is_a_hint() -> None:
    """A peer in between may say why it does not forward; the request goes on, another way perhaps."""
    here = transport()
    sent = ping(here)
    error = ErrorResponse.of(ErrorCode.TTL_EXCEEDED, "the TTL came to an end here")
    assert response(here, sent, error, MessageCode.ERROR, signer=EVE) == []
    (*_, (_, over)) = run_out(here)
    said = "Error_TTL_Exceeded: the TTL came to an end here"
    assert over == Finished("context", Unanswered((Cause(f"peer {EVE.node_id.short}", said, 0.5),)))


def test_a_message_that_went_in_circles_is_sent_again() -> None:
    """Even if who says so might have answered: the ring is closing over a dead peer."""
    here = transport()
    sent = ping(here)
    error = ErrorResponse.of(ErrorCode.TTL_EXCEEDED, "the TTL came to an end here")
    assert response(here, sent, error, MessageCode.ERROR) == []
    here.handle_timeout(3.0)
    (again,) = here.drain()
    assert isinstance(again, Originate)
    assert again.header.transaction_id == sent.header.transaction_id
    assert len(response(here, sent)) == 1


def test_an_answer_to_another_question_is_none() -> None:
    """ "the corresponding response being the request code plus 1" (6.3.3)."""
    here = transport()
    sent = ping(here)
    assert response(here, sent, UpdateAns(), MessageCode.UPDATE_ANS) == []
    assert len(response(here, sent)) == 1


def test_an_answer_that_we_may_not_understand_is_none() -> None:
    """6.3.3: a critical extension "needs to be understood in order to process the message"."""
    here = transport()
    sent = ping(here)
    assert response(here, sent, extensions=(EXTENSION,)) == []
    assert len(response(here, sent, extensions=(replace(EXTENSION, critical=False),))) == 1


@pytest.mark.must("6.3.4/9")
def test_6_3_4_a_bad_signature_is_dropped() -> None:
    """ "If the signature fails, the implementation SHOULD simply drop the message and MUST NOT process it."."""
    here = transport()
    sent = ping(here)
    payload = signed(BOB, sent.header.transaction_id + 1, MessageCode.PING_ANS, PONG)
    with pytest.raises(BadSignature):
        here.receive(sent.header, payload, nid(77), ALICE.node_id, 0.5)
    assert finished(here) == []
    with pytest.raises(BadSignature):
        transport().receive(sent.header, sent.payload[:-1] + b"!", ALICE.node_id, BOB.node_id, 0.0)


def test_a_banned_node_is_not_heard() -> None:
    """Neither its requests nor its answers."""
    payload = signed(BAD, 1, MessageCode.PING_REQ, PingReq())
    with pytest.raises(UntrustedCertificate):
        transport().receive(header(1), payload, BAD.node_id, BOB.node_id, 0.0)


def test_causes_are_bounded() -> None:
    """However much is heard of a request; and what is heard of each transmission is told once."""
    here = transport()
    sent, other = ping(here), ping(here)
    for number in range(20):
        response(here, sent, signer=EVE)
        here.hint(other.header.transaction_id, Cause("this peer", f"word {number}", 0.0))
    outcomes = [over.outcome for _, over in run_out(here) if isinstance(over, Finished)]
    assert [len(outcome.causes) for outcome in outcomes if isinstance(outcome, Unanswered)] == [1, 8]


def test_a_lost_link_sends_what_left_by_it_again_at_once() -> None:
    """Another way; the reliability timer starts anew, and what left by other links stays as it is."""
    here = transport()
    sent, other = ping(here), ping(here)
    here.left_by(sent.header.transaction_id, nid(10))
    here.left_by(other.header.transaction_id, nid(11))
    here.handle_link_lost(LinkLost(nid(10), "reset"), 1.0)
    assert here.drain() == [sent]
    assert [at for at, effect in run_out(here) if effect == sent] == [4.0, 7.0, 10.0]
    here.handle_link_lost(LinkLost(nid(10), "reset"), 1.0)
    assert here.drain() == []


def test_a_request_that_goes_another_way_at_once_is_no_copy_that_a_link_drops() -> None:
    """A link over datagrams passes on once what comes twice within the time after which it would be sent again: where
    both ways have a hop in common the second copy is to go on as well.
    """
    here = transport()
    sent = ping(here)
    ways = [[Destination.node(nid(number)), Destination.node(BOB.node_id)] for number in (10, 10, 11)]
    link = DatagramLink(5000, 1200, 3.0, 0.0)
    passed = 0
    for number, way in enumerate([None, *ways]):
        if way is not None:
            here.reroute(sent.header.transaction_id, way, number / 10)
            (sent,) = originated(here.drain())
        passed += len(link.receive(frame_data(number, join(sent.header, sent.payload)), number / 10))
    assert passed == 4
    here = transport(ttl=1)
    sent = ping(here)
    here.reroute(sent.header.transaction_id, ways[0], 0.1)
    (again,) = originated(here.drain())
    assert again.header.ttl == 1, "none goes nowhere"


def test_a_lost_link_adds_no_transmission_to_the_five() -> None:
    """It only takes one forward; the cause is told."""
    here = transport()
    sent = ping(here, transmissions_max=1)
    here.left_by(sent.header.transaction_id, nid(10))
    here.handle_link_lost(LinkLost(nid(10), "reset"), 1.0)
    cause = Cause("this peer", f"lost the link to {nid(10).short}", 1.0)
    assert run_out(here) == [(3.0, Finished("context", Unanswered((cause,))))]


def test_the_number_of_requests_is_bounded() -> None:
    """The caller looks at `is_full`."""
    here = transport()
    for _ in range(OPEN_REQUESTS_MAX):
        ping(here)
    assert here.is_full
    with pytest.raises(AssertionError, match="is_full"):
        ping(here)


def test_transaction_ids_are_random() -> None:
    """6.3.2: "they MUST be randomly generated": from the generator that the core was given."""
    first = [ping(transport()).header.transaction_id for _ in range(2)]
    here = transport()
    assert first[0] == first[1] == ping(here).header.transaction_id != ping(here).header.transaction_id


def test_a_request_may_wait_for_a_commit() -> None:
    """Each of its transmissions says so; the gate outside holds them."""
    sent = ping(transport(), after=5)
    assert sent.after == 5


def test_a_failed_commit_fails_what_waits_for_it() -> None:
    """A storage_time that is not on disk must not leave."""
    here = transport()
    ping(here, after=5)
    other = ping(here, after=6)
    here.handle_commit_failed(5, 1.0)
    assert here.drain() == [Finished("context", Unanswered((Cause("this peer", "its disk failed", 1.0),)))]
    assert [effect for _, effect in run_out(here, until=3.0)] == [other]
