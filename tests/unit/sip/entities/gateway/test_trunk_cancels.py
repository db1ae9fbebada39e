"""CANCEL through a trunk: of the INVITE by which a call begins, and of those within it."""

from __future__ import annotations

import pytest
from trunk_bench import ANSWER, SDP, TrunkBench

from p2psip.sip.message.message import Request

CHALLENGE = ("Proxy-Authenticate", 'Digest realm="tel", nonce="n1", qop="auth", algorithm=MD5')


@pytest.mark.parametrize("moment", ["before 100", "after 100"])
def test_9_1_a_call_that_is_cancelled_while_it_is_challenged_is_not_tried_again(moment: str) -> None:
    """The challenge crosses the CANCEL: with the password a telephone would ring of which the caller wants nothing."""
    bench = TrunkBench().up()
    bench.registrar.is_there = False
    invite = bench.dial()
    sent = bench.request("provider", "INVITE")
    if moment == "after 100":
        bench.answer(sent, 100)
    bench.cancel(invite)
    bench.answer(sent, 407, CHALLENGE)
    bench.run(1.0)
    assert bench.lines("provider").count("INVITE") == 1
    assert {"200 CANCEL", "487 INVITE"} <= set(bench.lines("overlay"))
    assert bench.trunk.calls == 0


def reinvite(bench: TrunkBench) -> tuple[Request, Request]:
    """The caller changes a call that was answered: what it has sent, and what the provider gets."""
    answered = bench.response("overlay", "200 INVITE")
    again = bench.within(
        "INVITE", answered, 8, extra="Contact: <sip:a@x>\r\nContent-Type: application/sdp\r\n", body=SDP
    )
    return again, bench.request("provider", "INVITE")


@pytest.mark.parametrize("has_rung", [False, True])
def test_9_a_reinvite_is_cancelled_at_the_other_side(has_rung: bool) -> None:
    """As soon as 9.1 permits; the call itself goes on."""
    bench = TrunkBench().up()
    bench.talking()
    again, sent = reinvite(bench)
    if has_rung:
        bench.answer(sent, 100)
    bench.cancel(again, extra='Reason: SIP;cause=487;text="enough"\r\n')
    assert "200 CANCEL" in bench.lines("overlay")
    assert ("CANCEL" in bench.lines("provider")) is has_rung
    bench.answer(sent, 180)
    cancel = bench.request("provider", "CANCEL")
    assert (cancel.via.branch, cancel.fields.first("reason")) == (sent.via.branch, 'SIP;cause=487;text="enough"')
    bench.answer(sent, 487)
    assert bench.response("overlay", "487 INVITE").cseq.number == 8
    assert bench.trunk.calls == 1


def test_9_a_reinvite_of_the_trunk_is_cancelled_here() -> None:
    bench = TrunkBench().up()
    bench.ring()
    bench.reply(bench.request("overlay", "INVITE"), 200, body=ANSWER)
    answered = bench.response("provider", "200 INVITE")
    bench.within("ACK", answered, 1, by="provider")
    fields = "Contact: <sip:gw@198.51.100.7>\r\nContent-Type: application/sdp\r\n"
    again = bench.within("INVITE", answered, 2, extra=fields, body=SDP, by="provider")
    sent = bench.request("overlay", "INVITE")
    bench.reply(sent, 100)
    bench.cancel(again, by="provider")
    assert bench.request("overlay", "CANCEL").via.branch == sent.via.branch
    bench.reply(sent, 487)
    assert "487 INVITE" in bench.lines("provider")
    assert bench.trunk.calls == 1


def test_9_2_a_reinvite_that_is_answered_before_the_cancel_comes_is_answered() -> None:
    bench = TrunkBench().up()
    bench.talking()
    again, sent = reinvite(bench)
    bench.answer(sent, 100)
    bench.cancel(again)
    bench.answer(sent, 200, body=ANSWER)
    answers = [heard.message.cseq.number for heard in bench.overlay if heard.line == "200 INVITE"]
    assert answers == [7, 8]
    bench.within("ACK", bench.response("overlay", "200 INVITE"), 8)
    assert bench.request("provider", "ACK").cseq.number == sent.cseq.number
    bench.cancel(again)
    assert bench.lines("provider").count("CANCEL") == 1


def test_a_reinvite_that_is_challenged_after_the_call_is_not_tried_again() -> None:
    bench = TrunkBench().up()
    bench.talking()
    bench.registrar.is_there = False
    _, sent = reinvite(bench)
    bench.within("BYE", bench.response("overlay", "200 INVITE"), 9)
    invites = bench.lines("provider").count("INVITE")
    bench.answer(sent, 407, CHALLENGE)
    assert bench.lines("provider").count("INVITE") == invites
    assert bench.lines("overlay")[-1] == "487 INVITE"


def test_9_a_reinvite_that_is_challenged_after_its_cancel_ends_with_487() -> None:
    bench = TrunkBench().up()
    bench.talking()
    bench.registrar.is_there = False
    again, sent = reinvite(bench)
    bench.cancel(again)
    invites = bench.lines("provider").count("INVITE")
    bench.answer(sent, 407, CHALLENGE)
    assert bench.lines("provider").count("INVITE") == invites
    assert bench.lines("overlay")[-1] == "487 INVITE"
    assert bench.trunk.calls == 1
