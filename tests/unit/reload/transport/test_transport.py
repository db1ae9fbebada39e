"""Requests and answers of one node (p2psip.reload.transport), in virtual time."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2psip.base.effects import Effect
from p2psip.base.errors import Cause, RemoteProtocolError
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.link.link import LinkLost
from p2psip.reload.security.errors import BadSignature, UntrustedCertificate
from p2psip.reload.transport.answers import ANSWER_BYTES_MAX, ANSWERS_MAX
from p2psip.reload.transport.outcome import Answer, Refused, Unanswered
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import (
    OPEN_REQUESTS_MAX,
    Finished,
    Originate,
    Received,
    Transport,
)
from p2psip.reload.wire.contents import (
    ErrorCode,
    ErrorResponse,
    MessageCode,
    MessageContents,
    MessageExtension,
    MessageExtensionType,
    UnknownBody,
)
from p2psip.reload.wire.header import (
    Destination,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.kinds import REGISTERED_MODELS
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.reload.wire.message import Message, signature_input
from p2psip.reload.wire.rejections import UnknownExtension, UnsupportedForwardingOption
from p2psip.reload.wire.security_block import SecurityBlock
from p2psip.reload.wire.storage_messages import FetchAns, FetchReq, FindReq, StatAns, StatReq, StoreReq
from p2psip.reload.wire.topology_messages import UpdateAns
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier

OVERLAY = 0x01020304
PONG = PingAns(1, 2)


def nid(number: int) -> NodeId:
    """A small Node-ID."""
    return NodeId(number.to_bytes(16, "big"))


ALICE, BOB, EVE = (SimulatedIdentity(name, nid(number)) for name, number in [("a", 1), ("b", 2), ("e", 3)])
BAD = SimulatedIdentity("bad", nid(99))
RESOURCE = ResourceId(nid(50))


class Nearby:
    """A Proximity: bob is close enough to everything, nobody else is."""

    def is_close_enough(self, node: NodeId, resource: ResourceId) -> bool:
        return node == BOB.node_id


def transport(ttl: int = 100, reliability_timer_s: float = 3.0) -> Transport:
    """A node's transport."""
    return Transport(
        *(OVERLAY, SimulatedVerifier(frozenset([BAD.node_id])), Nearby(), random.Random(1), WallClock(0.0)),
        configuration_sequence=7,
        reliability_timer_s=reliability_timer_s,
        ttl=ttl,
    )


def originated(effects: list[Effect]) -> list[Originate]:
    """The messages among the effects."""
    return [effect for effect in effects if isinstance(effect, Originate)]


def finished(here: Transport) -> list[Finished]:
    """What is over since the last look."""
    return [effect for effect in here.drain() if isinstance(effect, Finished)]


def ping(here: Transport, now: float = 0.0, to: Destination | None = None, **options: object) -> Originate:
    """Alice pings bob, or a resource; the first transmission."""
    destination = to or Destination.node(BOB.node_id)
    here.request(ALICE, OverlayRequest([destination], MessageCode.PING_REQ, PingReq(), **options), "context", now)  # type: ignore[arg-type]
    (sent,) = originated(here.drain())
    return sent


def signed(
    identity: SimulatedIdentity, transaction_id: int, code: MessageCode, body: Struct, *extensions: MessageExtension
) -> bytes:
    """Contents and security block as `identity` signs them."""
    contents = MessageContents(code, body.encode(), extensions).encode()
    signature = identity.sign(signature_input(OVERLAY, transaction_id, contents))
    return contents + SecurityBlock(identity.certificates, signature).encode()


def response(
    here: Transport,
    sent: Originate,
    body: Struct = PONG,
    code: MessageCode = MessageCode.PING_ANS,
    signer: SimulatedIdentity = BOB,
    now: float = 0.5,
    ttl: int = 97,
    extensions: tuple[MessageExtension, ...] = (),
) -> list[Finished]:
    """A response to `sent` comes to alice; what is over by it."""
    head = replace(sent.header, destination_list=(Destination.node(ALICE.node_id),), ttl=ttl)
    payload = signed(signer, sent.header.transaction_id, code, body, *extensions)
    assert here.receive(head, payload, nid(77), ALICE.node_id, now) is None
    return finished(here)


def run_out(here: Transport, until: float = 100.0) -> list[tuple[float, Effect]]:
    """Let time go on; what happens when."""
    events: list[tuple[float, Effect]] = []
    while (deadline := here.next_deadline()) is not None and deadline.at <= until:
        here.handle_timeout(deadline.at)
        events += [(deadline.at, effect) for effect in here.drain()]
    return events


# Requests


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


EXTENSION = MessageExtension(MessageExtensionType.EXP_EXT, True, b"")


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


# Answers


def header(transaction_id: int, **fields: object) -> ForwardingHeader:
    """The header of a request that came over two peers."""
    usual: dict[str, object] = {
        "overlay": OVERLAY,
        "configuration_sequence": 7,
        "ttl": 98,
        "transaction_id": transaction_id,
        "via_list": (Destination.node(ALICE.node_id), Destination.node(nid(8))),
        "destination_list": (Destination.node(BOB.node_id),),
    }
    return ForwardingHeader(**(usual | fields))  # type: ignore[arg-type]


def ask(here: Transport, transaction_id: int = 1, now: float = 0.0, **fields: object) -> Received | None:
    """Alice's Ping comes to bob, by way of 8 and 9."""
    payload = signed(ALICE, transaction_id, MessageCode.PING_REQ, PingReq())
    return here.receive(header(transaction_id, **fields), payload, nid(9), BOB.node_id, now)


def asked(here: Transport, transaction_id: int = 1, now: float = 0.0, **fields: object) -> Received:
    """The same, which is to be served."""
    request = ask(here, transaction_id, now, **fields)
    assert request is not None
    return request


def test_6_1_2_the_answer_goes_back_the_way_the_request_came() -> None:
    """The previous hop, then the via list reversed."""
    here = transport()
    here.answer(asked(here), BOB, PONG)
    (sent,) = originated(here.drain())
    assert sent.sender == BOB.node_id
    assert sent.header.destination_list == tuple(map(Destination.node, (nid(9), nid(8), ALICE.node_id)))
    assert (sent.header.via_list, sent.header.ttl, sent.header.max_response_length) == ((), 100, 0)
    message = Message.of_payload(sent.header, sent.payload)
    assert message.contents == MessageContents(MessageCode.PING_ANS, PONG.encode())


@pytest.mark.must("6.2.1/8")
@pytest.mark.parametrize("reliability_timer_s", [3.0, 0.2])
def test_6_2_1_retransmissions_get_the_same_answer_and_are_served_once(reliability_timer_s: float) -> None:
    """ "Receiving nodes MUST generate semantically equivalent responses to retransmissions of the same request [...]
    if the request is received within the maximum request lifetime (15 seconds)", however often the overlay repeats its
    own; it goes back the way that this transmission came.
    """
    here = transport(reliability_timer_s=reliability_timer_s)
    request = asked(here)
    assert ask(here, now=1.0) is None
    assert here.drain() == []
    here.answer(request, BOB, PONG)
    (first,) = originated(here.drain())
    here.handle_timeout(14.9)
    assert ask(here, now=14.9, via_list=()) is None
    (second,) = originated(here.drain())
    assert second.payload == first.payload
    assert second.header.destination_list == (Destination.node(nid(9)),)


def test_answers_are_kept_for_the_lifetime_of_a_request() -> None:
    """15 s and a little; then the same transaction is a new one."""
    here = transport()
    here.answer(asked(here), BOB, PONG)
    here.drain()
    assert run_out(here, until=14.9) == []
    assert here.next_deadline() is not None
    assert run_out(here) == []
    assert here.next_deadline() is None
    assert ask(here, now=40.0) is not None


@pytest.mark.must("6.2.1/8")
def test_6_2_1_answers_are_kept_for_as_long_as_the_overlay_s_requests_live() -> None:
    """With a reliability timer of 10 s the fifth transmission leaves 40 s after the first."""
    here = transport()
    here.use_configuration(
        configuration_sequence=7,
        reliability_timer_s=10.0,
        ttl=100,
        models=REGISTERED_MODELS,
        message_bytes_max=5000,
        now=0.0,
    )
    here.answer(asked(here), BOB, PONG)
    (sent,) = originated(here.drain())
    here.handle_timeout(49.9)
    assert ask(here, now=49.9) is None
    assert originated(here.drain()) == [sent]
    here.handle_timeout(50.0)
    assert ask(here, now=50.0) is not None


def test_the_same_transaction_id_of_another_signer_is_another_request() -> None:
    """Nobody can make us answer with what we said to somebody else, or keep us from answering."""
    here = transport()
    here.answer(asked(here), BOB, PONG)
    here.drain()
    payload = signed(EVE, 1, MessageCode.PING_REQ, PingReq())
    received = here.receive(header(1), payload, EVE.node_id, BOB.node_id, 0.1)
    assert received is not None
    assert received.signer.node_id == EVE.node_id


@pytest.mark.must("6.3/1")
def test_rejections_are_answers_too() -> None:
    """6.3.3.1."""
    here = transport()
    error = ErrorResponse.of(ErrorCode.FORBIDDEN, "no")
    here.reject(asked(here), BOB, error)
    (sent,) = originated(here.drain())
    assert Message.of_payload(sent.header, sent.payload).contents.message_code is MessageCode.ERROR
    assert ask(here, now=1.0) is None
    assert [again.payload for again in originated(here.drain())] == [sent.payload]


def test_6_3_2_max_response_length_counts_the_whole_message() -> None:
    """ "responding peers MUST check that any response would not exceed it and if so generate an" error."""
    here = transport()
    here.answer(asked(here), BOB, PONG)
    (sent,) = originated(here.drain())
    size = len(sent.payload) + len(sent.header.encode())
    for transaction_id, limit, code in [(2, size, MessageCode.PING_ANS), (3, size - 1, MessageCode.ERROR)]:
        here.answer(asked(here, transaction_id, max_response_length=limit), BOB, PONG)
        (sent,) = originated(here.drain())
        contents = Message.of_payload(sent.header, sent.payload).contents
        assert contents.message_code is code
    assert ErrorResponse.decode(contents.message_body).error_code is ErrorCode.RESPONSE_TOO_LARGE


def test_an_answer_may_wait_for_a_commit_and_so_do_its_repetitions() -> None:
    """Persist before you answer."""
    here = transport()
    here.answer(asked(here), BOB, PONG, after=9)
    ask(here, now=1.0)
    assert [sent.after for sent in originated(here.drain())] == [9, 9]


def test_after_a_failed_commit_the_request_is_served_anew() -> None:
    """What the answer says did not come about."""
    here = transport()
    here.answer(asked(here, 1), BOB, PONG, after=9)
    here.answer(asked(here, 2), BOB, PONG, after=10)
    here.handle_commit_failed(9, 1.0)
    assert ask(here, 1, now=2.0) is not None
    assert ask(here, 2, now=2.0) is None


def test_answers_that_are_kept_are_bounded_in_number() -> None:
    """The oldest go first."""
    here = transport()
    for transaction_id in range(ANSWERS_MAX + 1):
        asked(here, transaction_id)
    assert len(here.answers) == ANSWERS_MAX
    assert ask(here, 0) is not None
    assert ask(here, ANSWERS_MAX) is None


def test_answers_that_are_kept_are_bounded_in_bytes() -> None:
    """A member that fetches much does not fill our memory."""
    here = transport()
    large = UnknownBody(b"x" * (ANSWER_BYTES_MAX // 10))
    for transaction_id in range(30):
        here.answer(asked(here, transaction_id), BOB, large)
    assert here.answers.bytes_kept <= ANSWER_BYTES_MAX
    assert ask(here, 29) is None


def test_a_body_that_cannot_be_read_is_received_as_unknown() -> None:
    """Its signature holds: whoever sent it gets an answer that says so."""
    here = transport()
    payload = signed(ALICE, 1, MessageCode.JOIN_REQ, UnknownBody(b"garbage"))
    received = here.receive(header(1), payload, nid(9), BOB.node_id, 0.0)
    assert received is not None
    assert received.body == UnknownBody(b"garbage")


def test_garbage_is_one_exception() -> None:
    """What is no message at all cannot be answered."""
    for payload in (b"", b"garbage", signed(ALICE, 1, MessageCode.PING_REQ, PingReq())[:-3]):
        with pytest.raises(RemoteProtocolError):
            transport().receive(header(1), payload, nid(9), BOB.node_id, 0.0)


def option(flags: ForwardingOptionFlags) -> ForwardingOption:
    """A forwarding option."""
    return ForwardingOption(ForwardingOptionType.EXP_FORWARD, flags, b"option")


def test_6_3_2_3_destination_critical_options_are_rejected() -> None:
    """ "any node that generates a response [...] but does not understand the forwarding option MUST reject"."""
    here = transport()
    with pytest.raises(UnsupportedForwardingOption):
        asked(here, 1, options=(option(ForwardingOptionFlags.DESTINATION_CRITICAL),)).require_understood()
    asked(here, 2, options=(option(ForwardingOptionFlags.FORWARD_CRITICAL),)).require_understood()


def test_6_3_2_3_response_copy_options_are_copied_without_their_flags() -> None:
    """ "any node generating a response MUST copy the option from the request to the response"."""
    here = transport()
    copied = option(ForwardingOptionFlags.RESPONSE_COPY | ForwardingOptionFlags.FORWARD_CRITICAL)
    here.answer(asked(here, options=(option(ForwardingOptionFlags(0)), copied)), BOB, PONG)
    (sent,) = originated(here.drain())
    assert sent.header.options == (option(ForwardingOptionFlags(0)),)


def test_6_3_3_critical_extensions_are_rejected() -> None:
    """ "it MUST generate an Error_Unknown_Extension error"; others are ignored."""
    here = transport()
    for transaction_id, critical in [(1, True), (2, False)]:
        extension = replace(EXTENSION, critical=critical)
        payload = signed(ALICE, transaction_id, MessageCode.PING_REQ, PingReq(), extension)
        request = here.receive(header(transaction_id), payload, nid(9), BOB.node_id, 0.0)
        assert request is not None
        if critical:
            with pytest.raises(UnknownExtension):
                request.require_understood()
        else:
            request.require_understood()
