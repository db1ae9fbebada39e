"""Answers of one node (p2psip.reload.transport), in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transport_bench import (
    ALICE,
    BOB,
    EVE,
    EXTENSION,
    PONG,
    ask,
    asked,
    header,
    nid,
    option,
    originated,
    run_out,
    signed,
    transport,
)

from p2psip.base.errors import RemoteProtocolError
from p2psip.reload.transport.answers import ANSWER_BYTES_MAX, ANSWERS_MAX
from p2psip.reload.wire.contents import (
    ErrorCode,
    ErrorResponse,
    MessageCode,
    MessageContents,
    UnknownBody,
)
from p2psip.reload.wire.header import (
    Destination,
    ForwardingOptionFlags,
)
from p2psip.reload.wire.kinds import REGISTERED_MODELS
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import Message
from p2psip.reload.wire.rejections import UnknownExtension, UnsupportedForwardingOption


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
