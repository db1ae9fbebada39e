"""The user agent behind a proxy that wants a password, and what failed and forked calls say, in virtual time."""

from __future__ import annotations

import pytest
from agent_bench import ALICE, SERVER, Proxy, call_bob, registering

from p2psip.sip.entities.agents.types import (
    CallEstablished,
    EndedBy,
)
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Request, Response


@pytest.mark.must("3261 21.4/2", "3261 22.3/4", "7616 3.8/2")
def test_22_3_challenged_by_a_proxy() -> None:
    proxy = Proxy()
    wire, alice = registering(proxy)
    number = call_bob(alice)
    wire.run(1.0)
    (established,) = wire.told(ALICE, CallEstablished)
    assert isinstance(established, CallEstablished)
    assert (established.agreement.remote, established.agreement.codec.name) == (("192.0.2.9", 7000), "PCMA")
    alice.hang_up(number, wire.now)
    wire.run(1.0)
    assert proxy.served == ["INVITE", "ACK", "BYE"]
    numbers = [(seen.line, seen.message.cseq.number) for seen in wire.seen if seen.sender == ALICE]
    # The ACK to the 407 has the number of the INVITE that was refused.
    assert numbers == [("INVITE", 1), ("ACK", 1), ("INVITE", 2), ("ACK", 2), ("BYE", 3), ("BYE", 4)]


def test_9_1_a_call_that_is_hung_up_while_it_is_challenged_is_not_tried_again() -> None:
    """The challenge crosses the hanging up: it is the INVITE's final response, so there is nothing left to cancel, and
    whoever has hung up does not want the call that the password would begin.
    """
    proxy = Proxy()
    wire, alice = registering(proxy)
    number = call_bob(alice)
    wire.run(0.015)
    alice.hang_up(number, wire.now)
    wire.run(40.0)
    assert (wire.lines(ALICE), proxy.served) == (["INVITE", "ACK"], [])
    assert wire.endings(ALICE) == [(EndedBy.US, "hung up")]
    assert not alice.is_waiting


def test_a_hold_that_is_challenged_after_hanging_up_is_not_tried_again() -> None:
    proxy = Proxy()
    wire, alice = registering(proxy)
    number = call_bob(alice)
    wire.run(1.0)
    alice.hold(number, True, wire.now)
    wire.run(0.005)
    alice.hang_up(number, wire.now)
    wire.run(40.0)
    assert (proxy.served.count("INVITE"), proxy.served[-1]) == (1, "BYE")


@pytest.mark.parametrize(
    ("body", "what"), [(b"", "malformed"), (b"v=0\no=- 1 1 IN IP4 192.0.2.9\nm=audio 0 RTP/AVP 0\n", "no audio")]
)
def test_an_answer_without_audio_is_acknowledged_and_hung_up(body: bytes, what: str) -> None:
    proxy = Proxy()
    proxy.body = body
    wire, alice = registering(proxy)
    call_bob(alice)
    wire.run(1.0)
    assert proxy.served == ["INVITE", "ACK", "BYE"]
    assert what in str(wire.endings(ALICE))


def test_3326_the_reason_of_a_failure_is_told() -> None:
    reason = 'SIP ;cause=480 ;text="bob\'s phone has not registered for 2 h"'
    wire, alice = registering(lambda request: make_response(request, 480, to_tag="x", extra=[("Reason", reason)]))
    call_bob(alice)
    wire.run(1.0)
    assert wire.endings(ALICE) == [
        (EndedBy.THEM, "480 Temporarily Unavailable; bob's phone has not registered for 2 h")
    ]


def test_13_2_2_4_of_two_that_answer_the_second_is_hung_up() -> None:
    wire, alice = registering(lambda request: answers(request) if request.method == "INVITE" else None)

    def answers(request: Request) -> Response | None:
        if request.method == "INVITE":
            for tag in ("b1", "b2"):
                extra = [("Contact", f"<sip:{tag}@192.0.2.9>"), ("Content-Type", "application/sdp")]
                wire.send(SERVER, ALICE, make_response(request, 200, to_tag=tag, extra=extra, body=Proxy().body))
        return None

    call_bob(alice)
    wire.run(0.2)
    uris = [(s.line, s.message.uri_text) for s in wire.seen if isinstance(s.message, Request)]
    assert uris[1:] == [("ACK", "sip:b1@192.0.2.9"), ("ACK", "sip:b2@192.0.2.9"), ("BYE", "sip:b2@192.0.2.9")]
    assert len(wire.told(ALICE, CallEstablished)) == 1
    assert alice.calls == [1]
