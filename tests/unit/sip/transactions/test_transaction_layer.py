"""The transaction layer in virtual time: what goes over the wire when, and what its user hears."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transactions.events import (
    AckArrived,
    Failure,
    RequestArrived,
    ResponseArrived,
    TransactionEnded,
    TransactionFailed,
    TuEvent,
)
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.arrivals import Datagram, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import FlowHop, StreamHop, UdpHop
from p2psip.sip.transports.layer import Listener, TransportLayer

LOCAL = Address("192.0.2.1", 5060)
REMOTE = Address("192.0.2.2", 5060)
HOP = UdpHop(REMOTE)


def make_layer(transactions_max: int = 100) -> TransactionLayer:
    listeners = (Listener("UDP", LOCAL), Listener("TCP", LOCAL))
    return TransactionLayer(TransportLayer(listeners), random.Random(1), transactions_max=transactions_max)


def request_of(method: str = "INVITE", cseq: int = 1, call_id: str = "call@a") -> Request:
    alice = NameAddr(parse_sip_uri("sip:alice@a")).with_tag("1")
    bob = NameAddr(parse_sip_uri("sip:bob@b"))
    return make_request(method, "sip:bob@192.0.2.2", from_=alice, to=bob, call_id=call_id, cseq=cseq)


def sent(layer: TransactionLayer) -> list[Message]:
    messages = []
    for effect in layer.drain():
        assert isinstance(effect, SendUdp)
        messages.append(parse(effect.data))
    return messages


def sent_requests(layer: TransactionLayer) -> list[Request]:
    return [message for message in sent(layer) if isinstance(message, Request)]


def run(layer: TransactionLayer, until: float) -> list[tuple[float, str]]:
    """What goes out by itself until then: (time, method or status)."""
    lines = []
    while (deadline := layer.next_deadline()) is not None and deadline.at <= until:
        layer.handle_timeout(deadline.at)
        for message in sent(layer):
            what = message.method if isinstance(message, Request) else str(message.status)  # type: ignore[attr-defined]
            lines.append((deadline.at, what))
    return lines


def answer(layer: TransactionLayer, request: Request, status: int, now: float) -> None:
    layer.handle(Datagram(LOCAL, REMOTE, make_response(request, status, to_tag="2").encode()), now)


def from_remote(layer: TransactionLayer, request: Request, now: float, branch: str = "z9hG4bKx") -> None:
    fields = request.fields.with_first("Via", f"SIP/2.0/UDP 192.0.2.2:5060;branch={branch}")
    layer.handle(Datagram(LOCAL, REMOTE, request.replace(fields=fields).encode()), now)


def of_kind(events: list[TuEvent], kind: type) -> list[TuEvent]:
    return [event for event in events if isinstance(event, kind)]


# Client


CONTEXT = object()
"""What a request is sent with, and what comes of it has with it."""


@pytest.mark.must(
    "3261 17.1.1.2/1",
    "3261 17.1.1.2/2",
    "3261 17.1.1.2/3",
    "3261 17.1.1.2/4",
    "3261 17.1.1.2/5",
    "3261 17.1.1.2/6",
    "3261 17.1.1.2/7",
    "3261 17.1.1.2/8",
    "3261 17.1.1.2/9",
    "3261 17.1.1.2/18",
)
def test_invite_goes_out_seven_times_and_fails_after_32_s() -> None:
    """17.1.1.2: timer A doubles from T1; timer B is 64*T1."""
    layer = make_layer()
    number = layer.request(request_of(), HOP, CONTEXT, 0.0)
    assert len(sent(layer)) == 1
    assert run(layer, 100.0) == [(at, "INVITE") for at in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)]
    events = layer.events()
    assert events == [
        TransactionFailed(number, Failure.TIMEOUT, "no answer to INVITE over udp 192.0.2.2:5060 in 32 s", CONTEXT),
        TransactionEnded(number, CONTEXT),
    ]
    assert len(layer) == 0


@pytest.mark.must("3261 17.1.2.2/1", "3261 17.1.2.2/2")
def test_other_requests_back_off_to_t2() -> None:
    """17.1.2.2: timer E doubles up to T2; timer F is 64*T1."""
    layer = make_layer()
    number = layer.request(request_of("OPTIONS"), HOP, CONTEXT, 0.0)
    sent(layer)
    times = [at for at, _ in run(layer, 100.0)]
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert layer.events()[0] == TransactionFailed(
        number, Failure.TIMEOUT, "no answer to OPTIONS over udp 192.0.2.2:5060 in 32 s", CONTEXT
    )


@pytest.mark.must("3261 17.1.1.2/10")
def test_provisional_response_stops_retransmissions_of_invite() -> None:
    layer = make_layer()
    layer.request(request_of(), HOP, CONTEXT, 0.0)
    answer(layer, sent_requests(layer)[0], 180, 0.1)
    assert run(layer, 300.0) == []
    assert [event.response.status for event in layer.events() if isinstance(event, ResponseArrived)] == [180]


@pytest.mark.must(
    "3261 17.1.1.2/12",
    "3261 17.1.1.2/13",
    "3261 17.1.1.2/14",
    "3261 17.1.1.2/15",
    "3261 17.1.1.2/16",
    "6026 8.4/1",
    "6026 8.4/2",
    "6026 8.4/3",
    "6026 8.4/4",
    "6026 8.4/5",
    "6026 8.4/6",
)
def test_final_response_is_acknowledged_each_time_and_told_once() -> None:
    """17.1.1.2: the ACK for 3xx-6xx is the transaction's; retransmitted finals are not passed up."""
    layer = make_layer()
    number = layer.request(request_of(), HOP, CONTEXT, 0.0)
    invite = sent_requests(layer)[0]
    for at in (0.1, 0.6, 1.6):
        answer(layer, invite, 486, at)
    acks = sent_requests(layer)
    assert [ack.method for ack in acks] == ["ACK"] * 3
    assert acks[0].via == invite.via
    assert acks[0].to.tag == "2"
    assert acks[0].uri_text == invite.uri_text
    assert len(of_kind(layer.events(), ResponseArrived)) == 1
    assert run(layer, 100.0) == []
    assert layer.events() == [TransactionEnded(number, CONTEXT)]


@pytest.mark.must(
    "3261 16.7/1",
    "3261 16.7/31",
    "3261 17.1.1.2/17",
    "4320 4.2/2",
    "6026 6/1",
    "6026 6/3",
    "6026 6/4",
    "6026 7.2/1",
    "6026 7.2/2",
    "6026 7.2/3",
    "6026 7.2/4",
    "6026 7.2/5",
    "6026 7.3/1",
    "6026 7.3/2",
    "6026 8.2/1",
    "6026 8.3/1",
    "6026 8.4/7",
    "6026 8.4/8",
    "6026 8.4/9",
    "6026 8.4/10",
    "6026 8.4/11",
    "6026 8.4/12",
    "6026 8.4/13",
    "6026 8.9/2",
)
def test_every_2xx_is_passed_up_for_64_t1() -> None:
    """RFC 6026 7.2: the Accepted state."""
    layer = make_layer()
    number = layer.request(request_of(), HOP, CONTEXT, 0.0)
    invite = sent_requests(layer)[0]
    answer(layer, invite, 200, 0.1)
    answer(layer, invite, 200, 10.0)
    assert sent(layer) == []
    run(layer, 100.0)
    answer(layer, invite, 200, 100.0)
    events = layer.events()
    assert len(of_kind(events, ResponseArrived)) == 2
    assert events[-1] == TransactionEnded(number, CONTEXT)
    assert layer.dropped == 1


@pytest.mark.must("3261 9.1/1", "3261 9.1/2", "3261 9.1/6", "3261 9.1/7", "3261 17.1.1.2/11")
def test_cancel_waits_for_a_provisional_response() -> None:
    """9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent"."""
    layer = make_layer()
    number = layer.request(request_of(), HOP, CONTEXT, 0.0)
    invite = sent_requests(layer)[0]
    layer.cancel(number, 0.1, [("Reason", "SIP;cause=200")])
    assert sent(layer) == []
    answer(layer, invite, 100, 0.2)
    [cancel] = sent_requests(layer)
    assert (cancel.method, cancel.via, cancel.uri_text) == ("CANCEL", invite.via, invite.uri_text)
    assert cancel.cseq.number == invite.cseq.number
    assert cancel.to.tag == ""
    assert cancel.fields.first("reason") == "SIP;cause=200"
    answer(layer, cancel, 200, 0.3)
    answer(layer, invite, 487, 0.3)
    assert [message.method for message in sent_requests(layer)] == ["ACK"]
    statuses = [event.response.status for event in layer.events() if isinstance(event, ResponseArrived)]
    assert statuses == [100, 487]


def test_cancelled_invite_that_nobody_ends_times_out() -> None:
    """9.1: without a final response "in 64*T1 seconds", the transaction is cancelled and destroyed."""
    layer = make_layer()
    number = layer.request(request_of(), HOP, CONTEXT, 0.0)
    invite = sent_requests(layer)[0]
    answer(layer, invite, 180, 1.0)
    layer.cancel(number, 2.0)
    [cancel] = sent_requests(layer)
    answer(layer, cancel, 200, 2.1)
    run(layer, 100.0)
    [failed] = of_kind(layer.events(), TransactionFailed)
    assert isinstance(failed, TransactionFailed)
    assert (failed.transaction, failed.failure) == (number, Failure.TIMEOUT)
    assert len(layer) == 0


@pytest.mark.parametrize("status", [None, 180])
def test_lost_connection_fails_requests_on_it_at_once(status: int | None) -> None:
    layer = make_layer()
    layer.handle(FlowUp(7, "TLS", LOCAL, REMOTE, "ab" * 16), 0.0)
    number = layer.request(request_of(), FlowHop(7), CONTEXT, 0.0)
    [effect] = layer.drain()
    assert isinstance(effect, SendFlow)
    invite = parse(effect.data)
    assert isinstance(invite, Request)
    assert str(invite.via).startswith("SIP/2.0/TLS peer.invalid;branch=z9hG4bK")
    if status is not None:
        layer.handle(FlowData(7, make_response(invite, status, to_tag="t").encode()), 0.5)
        layer.events()
    layer.handle(FlowDown(7, "link lost"), 1.0)
    assert layer.events() == [
        TransactionFailed(number, Failure.TRANSPORT, "link lost", CONTEXT),
        TransactionEnded(number, CONTEXT),
        FlowDown(7, "link lost"),
    ]


@pytest.mark.must("3261 17.1.2.2/4", "3261 17.1.2.2/8", "3261 17.1.2.2/10", "3261 18.1.1/6")
def test_reliable_transports_repeat_nothing_and_linger_not() -> None:
    layer = make_layer()
    layer.request(request_of("MESSAGE"), StreamHop("TCP", REMOTE), CONTEXT, 0.0)
    [opened] = layer.drain()
    assert opened == OpenFlow(2, "TCP", REMOTE)
    layer.handle(FlowUp(2, "TCP", Address("192.0.2.1", 40000), REMOTE), 0.1)
    [effect] = layer.drain()
    assert isinstance(effect, SendFlow)
    request = parse(effect.data)
    assert isinstance(request, Request)
    layer.handle_timeout(5.0)
    assert layer.drain() == []
    layer.handle(FlowData(2, make_response(request, 200, to_tag="t").encode()), 5.0)
    assert [type(event) for event in layer.events()] == [ResponseArrived, TransactionEnded]
    assert len(layer) == 0


def test_request_that_cannot_be_sent_fails() -> None:
    layer = make_layer()
    number = layer.request(request_of(), FlowHop(99), CONTEXT, 0.0)
    assert layer.events() == [
        TransactionFailed(number, Failure.TRANSPORT, "no way to connection 99", CONTEXT),
        TransactionEnded(number, CONTEXT),
    ]


@pytest.mark.must("3261 18.1.2/1", "3261 18.1.2/2", "3261 18.1.2/3", "6026 8.9/1", "6026 8.9/2")
@pytest.mark.parametrize(
    ("old", "new"), [("192.0.2.1:5060", "192.0.2.9:5060"), ("192.0.2.1:5060", "192.0.2.1:5070")], ids=["host", "port"]
)
def test_18_1_2_a_response_to_somebody_else_is_discarded(old: str, new: str) -> None:
    """ "If the value of the "sent-by" parameter [...] does not correspond to a value that the client transport is
    configured to insert into requests, the response MUST be silently discarded."
    """
    layer = make_layer()
    layer.request(request_of(), HOP, CONTEXT, 0.0)
    invite = sent_requests(layer)[0]
    response = make_response(invite, 200, to_tag="2")
    via = str(invite.via)
    assert old in via
    strange = response.replace(fields=response.fields.with_only("Via", via.replace(old, new)))
    layer.handle(Datagram(LOCAL, REMOTE, strange.encode()), 0.1)
    assert (layer.events(), layer.dropped) == ([], 1)
    layer.handle(Datagram(LOCAL, REMOTE, response.encode()), 0.2)
    assert len(of_kind(layer.events(), ResponseArrived)) == 1


@pytest.mark.must("3261 17.1.2.2/3", "3261 17.1.2.2/5", "3261 17.1.2.2/6")
def test_17_1_2_2_a_request_that_is_being_worked_on_is_repeated_every_t2() -> None:
    """And "if timer F fires while in the "Proceeding" state, the TU MUST be informed of a timeout"."""
    layer = make_layer()
    layer.request(request_of("MESSAGE"), HOP, CONTEXT, 0.0)
    answer(layer, sent_requests(layer)[0], 100, 0.4)
    assert [event.response.status for event in layer.events() if isinstance(event, ResponseArrived)] == [100]
    assert [at for at, _ in run(layer, 100.0)] == [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert [type(event) for event in layer.events()] == [TransactionFailed, TransactionEnded]


@pytest.mark.must("3261 17.1.2.2/8", "3261 17.1.2.2/9")
def test_17_1_2_2_timer_k_absorbs_what_comes_late() -> None:
    """T4: no longer and no shorter."""
    layer = make_layer()
    layer.request(request_of("MESSAGE"), HOP, CONTEXT, 0.0)
    request = sent_requests(layer)[0]
    answer(layer, request, 200, 0.1)
    run(layer, 5.05)
    answer(layer, request, 200, 5.05)
    assert len(of_kind(layer.events(), ResponseArrived)) == 1
    assert (len(layer), layer.dropped) == (1, 0)
    run(layer, 5.25)
    assert [type(event) for event in layer.events()] == [TransactionEnded]
    assert len(layer) == 0


# Server


@pytest.mark.must("3261 8.2.6.1/2", "3261 16.2/1", "3261 17.2.1/1")
def test_17_2_1_an_invite_that_nobody_answers_gets_its_100_after_200_ms() -> None:
    """Once, and not if something was said before; then a retransmission gets it again."""
    layer = make_layer()
    timed = request_of()
    from_remote(layer, timed.replace(fields=timed.fields.with_last("Timestamp", "7.5")), 0.0)
    assert run(layer, 0.19) == []
    layer.handle_timeout(0.2)
    [trying] = sent(layer)
    assert isinstance(trying, Response)
    assert (trying.status, trying.fields.first("timestamp")) == (100, "7.5 0.2")
    from_remote(layer, request_of(), 0.5)
    assert [message.start_line() for message in sent(layer)] == ["SIP/2.0 100 Trying"]
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    layer.respond(arrived.transaction, make_response(arrived.request, 180, to_tag="2"), 1.0)
    sent(layer)
    assert run(layer, 100.0) == []


@pytest.mark.parametrize("status", [180, 200, 486])
def test_17_2_1_who_has_been_answered_gets_no_100(status: int) -> None:
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    layer.respond(arrived.transaction, make_response(arrived.request, status, to_tag="2"), 0.1)
    sent(layer)
    assert "100" not in [what for _, what in run(layer, 100.0)]


@pytest.mark.must(
    "6026 7.1/2", "6026 7.1/3", "6026 7.1/5", "6026 7.1/6", "6026 8.7/1", "6026 8.7/2", "6026 8.7/3", "6026 8.7/4"
)
def test_6026_7_1_a_2xx_is_repeated_by_its_user_alone() -> None:
    """In the state "accepted", which lasts for 64*T1; retransmitted INVITEs are absorbed."""
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    ok = make_response(arrived.request, 200, to_tag="2")
    for at in (1.0, 1.5):
        layer.respond(arrived.transaction, ok, at)
    from_remote(layer, request_of(), 2.0)
    assert [message.start_line() for message in sent(layer)] == ["SIP/2.0 200 OK"] * 2
    assert run(layer, 32.9) == []
    assert (len(layer), layer.events()) == (1, [])
    run(layer, 33.0)
    assert layer.events() == [TransactionEnded(arrived.transaction)]
    layer.respond(arrived.transaction, ok, 34.0)
    assert (sent(layer), len(layer)) == ([], 0)


@pytest.mark.must(
    "3261 17.2.2/4",
    "3261 17.2.2/5",
    "3261 17.2.2/6",
    "3261 17.2.2/7",
    "3261 17.2.2/8",
    "3261 17.2.2/9",
    "3261 17.2.2/10",
)
def test_17_2_2_what_comes_again_is_answered_again() -> None:
    """Until timer J, with what was said last; nothing that is said later counts."""
    layer = make_layer()
    from_remote(layer, request_of("MESSAGE"), 0.0)
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    for status, at in ((100, 4.0), (200, 5.0), (486, 6.0)):
        layer.respond(arrived.transaction, make_response(arrived.request, status, to_tag="2"), at)
        from_remote(layer, request_of("MESSAGE"), at)
    lines = [message.start_line()[8:11] for message in sent(layer)]
    assert lines == ["100", "100", "200", "200", "200"]
    run(layer, 36.9)
    from_remote(layer, request_of("MESSAGE"), 36.9)
    assert len(sent(layer)) == 1
    run(layer, 37.0)
    assert len(layer) == 0


@pytest.mark.must("3261 17.2.1/2", "3261 17.2.1/3", "3261 17.2.1/4")
def test_retransmitted_request_gets_the_latest_response_again() -> None:
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    layer.respond(arrived.transaction, make_response(arrived.request, 180, to_tag="2"), 0.1)
    from_remote(layer, request_of(), 0.5)
    assert [m.start_line() for m in sent(layer)] == ["SIP/2.0 180 Ringing"] * 2
    assert layer.events() == []


@pytest.mark.must("3261 17.2.1/7", "3261 17.2.1/9", "3261 17.2.1/11", "3261 17.2.1/12")
def test_final_response_to_invite_is_repeated_until_its_ack() -> None:
    """17.2.1: timer G doubles up to T2; the ACK stops it; timer I absorbs further ACKs."""
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    layer.respond(arrived.transaction, make_response(arrived.request, 486, to_tag="2"), 0.0)
    sent(layer)
    assert run(layer, 8.0) == [(0.5, "486"), (1.5, "486"), (3.5, "486"), (7.5, "486")]
    from_remote(layer, request_of("ACK"), 8.0)
    assert run(layer, 100.0) == []
    assert layer.events() == [TransactionEnded(arrived.transaction)]


def refused_and_never_acknowledged() -> tuple[TransactionLayer, RequestArrived]:
    """An INVITE that was answered 486, a while after."""
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    layer.respond(arrived.transaction, make_response(arrived.request, 486, to_tag="2"), 0.0)
    run(layer, 100.0)
    return layer, arrived


@pytest.mark.must("3261 17.2.1/8", "3261 17.2.1/10")
def test_no_ack_is_told_after_64_t1() -> None:
    layer, arrived = refused_and_never_acknowledged()
    assert layer.events()[0] == TransactionFailed(arrived.transaction, Failure.TIMEOUT, "no ACK in 32 s")


@pytest.mark.must("3261 17.2.1/5", "6026 6/1", "6026 6/5", "6026 7.1/1", "6026 7.1/4", "6026 8.5/1")
@pytest.mark.parametrize("branch", ["z9hG4bKack", "z9hG4bKx"])
def test_ack_to_2xx_goes_to_the_user_whatever_its_branch(branch: str) -> None:
    """RFC 6026 7.1; some phones repeat the INVITE's branch."""
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    layer.respond(arrived.transaction, make_response(arrived.request, 200, to_tag="2"), 0.0)
    from_remote(layer, request_of(), 0.5)
    assert len(sent(layer)) == 1, "a retransmitted INVITE is absorbed"
    from_remote(layer, request_of("ACK"), 0.6, branch)
    [ack] = layer.events()
    assert isinstance(ack, AckArrived)


@pytest.mark.must("3261 17.2.2/1", "3261 17.2.2/2", "4320 4.1/2", "4320 4.1/3")
def test_slow_request_gets_100_after_timer_e_reached_t2() -> None:
    """RFC 4320 4.1."""
    layer = make_layer()
    from_remote(layer, request_of("SUBSCRIBE"), 0.0)
    assert run(layer, 30.0) == [(3.5, "100")]


def test_cancel_finds_its_invite() -> None:
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    from_remote(layer, request_of("CANCEL"), 0.1)
    from_remote(layer, request_of("CANCEL"), 0.1, "z9hG4bKother")
    invite, cancel, stray = (event for event in layer.events() if isinstance(event, RequestArrived))
    assert cancel.cancels == invite.transaction
    assert stray.cancels is None


def test_cancel_of_a_phone_that_has_learnt_its_address_meanwhile() -> None:
    """9.1: its Via must be the INVITE's. Phones that take `received` and `rport` from a response write those."""
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    cancel = request_of("CANCEL")
    fields = cancel.fields.with_first("Via", "SIP/2.0/UDP 198.51.100.7:33333;branch=z9hG4bKx;rport")
    layer.handle(Datagram(LOCAL, REMOTE, cancel.replace(fields=fields).encode()), 0.1)
    invite, cancelled = (event for event in layer.events() if isinstance(event, RequestArrived))
    assert cancelled.cancels == invite.transaction


@pytest.mark.parametrize("field", [("CSeq", "9 CANCEL"), ("Call-ID", "other"), ("From", "<sip:a@b>;tag=other")])
def test_cancel_of_another_call_finds_nothing(field: tuple[str, str]) -> None:
    """However well its branch is guessed."""
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    cancel = request_of("CANCEL")
    from_remote(layer, cancel.replace(fields=cancel.fields.with_only(*field)), 0.1)
    _, stray = (event for event in layer.events() if isinstance(event, RequestArrived))
    assert stray.cancels is None


def test_no_cancel_finds_an_invite_that_is_over() -> None:
    layer, _ = refused_and_never_acknowledged()
    from_remote(layer, request_of("CANCEL"), 100.0)
    [stray] = [event for event in layer.events() if isinstance(event, RequestArrived)]
    assert stray.cancels is None


def test_cancel_from_elsewhere_finds_nothing() -> None:
    layer = make_layer()
    from_remote(layer, request_of(), 0.0)
    fields = request_of("CANCEL").fields.with_first("Via", "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKx")
    data = request_of("CANCEL").replace(fields=fields).encode()
    layer.handle(Datagram(LOCAL, Address("198.51.100.66", 5060), data), 0.1)
    assert [event.cancels for event in layer.events() if isinstance(event, RequestArrived)] == [None, None]


@pytest.mark.must("6026 6/5")
def test_rfc_2543_request_without_branch() -> None:
    """17.2.3: matched by Request-URI, tags, Call-ID, CSeq and Via."""
    layer = make_layer()
    for _ in range(2):
        from_remote(layer, request_of(), 0.0, "1")
    [arrived] = layer.events()
    assert isinstance(arrived, RequestArrived)
    layer.respond(arrived.transaction, make_response(arrived.request, 404, to_tag="2"), 0.1)
    from_remote(layer, request_of("ACK"), 0.2, "1")
    sent(layer)
    assert run(layer, 100.0) == []


# Bounds


def test_flood_takes_the_place_of_finished_transactions_only() -> None:
    layer = make_layer(transactions_max=3)
    for i in range(10):
        from_remote(layer, request_of("OPTIONS", call_id=f"{i}"), 0.0, f"z9hG4bK{i}")
        for event in layer.events():
            if isinstance(event, RequestArrived):
                layer.respond(event.transaction, make_response(event.request, 200, to_tag="t"), 0.0)
        assert len(layer) <= 3
    assert len(sent(layer)) == 10


def test_flood_of_challenged_invites_keeps_nobody_out() -> None:
    """Whoever never acknowledges his 407 goes first."""
    layer = make_layer(transactions_max=3)
    for i in range(10):
        from_remote(layer, request_of(call_id=f"{i}"), 0.0, f"z9hG4bK{i}")
        for event in layer.events():
            if isinstance(event, RequestArrived):
                layer.respond(event.transaction, make_response(event.request, 407, to_tag="2"), 0.0)
    assert len(layer) == 3
    assert [m.start_line()[:11] for m in sent(layer)] == ["SIP/2.0 407"] * 10


def test_flood_of_unanswered_invites_is_refused() -> None:
    layer = make_layer(transactions_max=3)
    for i in range(10):
        from_remote(layer, request_of(call_id=f"{i}"), 0.0, f"z9hG4bK{i}")
    assert len(layer) == 3
    assert [m.start_line() for m in sent(layer)] == ["SIP/2.0 503 Overloaded"] * 7
    assert layer.dropped == 7


def test_malformed_request_is_answered_without_state() -> None:
    layer = make_layer()
    fields = request_of().fields.with_first("Via", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx")
    data = request_of().replace(fields=fields.with_only("CSeq", "1 BYE")).encode()
    layer.handle(Datagram(LOCAL, REMOTE, data), 0.0)
    [response] = sent(layer)
    assert isinstance(response, Response)
    assert response.start_line() == "SIP/2.0 400 Bad Request (CSeq is for BYE, the request is INVITE)"
    assert response.to.tag
    assert len(layer) == 0
