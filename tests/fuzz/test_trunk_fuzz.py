"""What a trunk may send, damaged: it costs nobody his call, and leaves nothing behind."""

from __future__ import annotations

import random

import pytest
from effort import times
from mutations import mutant
from trunk_bench import ANSWER, PROVIDER, REALM, SECOND, TrunkBench

from p2psip.sip.entities.gateway.limits import CALL_S_MAX, LINGER_S, LINGERING_MAX
from p2psip.sip.message.build import make_response

ROUNDS = 200


def specimens(bench: TrunkBench) -> list[bytes]:
    """What comes within and beside a call."""
    sent = bench.request("provider", "INVITE")
    fields = [("Contact", "<sip:gw@198.51.100.7>"), ("Content-Type", "application/sdp")]
    reliable = [*fields, ("Require", "100rel"), ("RSeq", 1)]
    within = (
        f"sip:4930555@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKf\r\nFrom: <sip:p@tel>;tag=p\r\n"
        f"To: {sent.from_}\r\nCall-ID: {sent.call_id}\r\nMax-Forwards: 5\r\n"
    )
    return [
        make_response(sent, 100, to_tag="p").encode(),
        make_response(sent, 183, to_tag="p", extra=reliable, body=ANSWER).encode(),
        make_response(sent, 200, to_tag="p", extra=fields, body=ANSWER).encode(),
        make_response(sent, 407, to_tag="p", extra=[("Proxy-Authenticate", 'Digest realm="tel",nonce="n"')]).encode(),
        make_response(sent, 503, to_tag="p", extra=[("Retry-After", "5"), ("Reason", "Q.850;cause=41")]).encode(),
        f"INFO {within}CSeq: 4 INFO\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=1".encode(),
        f"UPDATE {within}CSeq: 5 UPDATE\r\nContact: <sip:p@tel>\r\nSession-Expires: 90\r\n\r\n".encode(),
        f"INVITE {within}CSeq: 6 INVITE\r\nContact: <sip:p@tel>\r\n\r\n".encode(),
        f"PRACK {within}CSeq: 7 PRACK\r\nRAck: 1 2 INVITE\r\n\r\n".encode(),
        f"BYE {within}CSeq: 8 BYE\r\n\r\n".encode(),
        f"CANCEL {within}CSeq: 1 CANCEL\r\n\r\n".encode(),
        f"ACK {within}CSeq: 6 ACK\r\n\r\n".encode(),
        f"REFER {within}CSeq: 9 REFER\r\nRefer-To: <sip:x@y>\r\n\r\n".encode(),
        f"INVITE {within}CSeq: 1 INVITE\r\nContact: <sip:p@tel>\r\n\r\n".replace(
            f"To: {sent.from_}", "To: <sip:+4930555@tel>"
        ).encode(),
        f"INVITE {within}CSeq: 1 INVITE\r\nContact: <sip:p@198.51.100.17;maddr=198.51.100.7>\r\nAllow: INVITE, BYE\r\n"
        "Record-Route: <sip:198.51.100.17:5062;lr>\r\nP-Asserted-Identity: <tel:+49-30;npdi;rn=1>\r\n\r\n".replace(
            f"To: {sent.from_}", "To: <tel:+49-30-555;phone-context=tel>"
        ).encode(),
    ]


@pytest.mark.long
def test_damaged_messages_of_a_trunk_end_in_an_answer_or_a_drop() -> None:
    for number in range(times(ROUNDS)):
        rng = random.Random(f"trunk/{number}")
        bench = TrunkBench(calls_max=20)
        bench.servers = [PROVIDER, SECOND]
        bench.up().dial()
        known = specimens(bench)
        for _ in range(6):
            data = rng.choice(known) if rng.random() < 0.4 else mutant(known, rng)
            try:
                bench.from_provider(data, rng.choice((PROVIDER, SECOND)))
                bench.run(rng.choice((0.0, 0.6, 5.0)))
            except Exception as error:
                error.add_note(f"round {number}: {data!r}")
                raise
        assert bench.trunk.calls <= 20
        assert len(bench.trunk._bridges) <= LINGERING_MAX + 20
        # Whatever came, the trunk serves the next call, or knows itself to be down.
        bench.provider.clear()
        bench.overlay.clear()
        bench.dial()
        assert bench.lines("provider")[-1:] == ["INVITE"] or "503 INVITE" in bench.lines("overlay")


def words_of_a_member(bench: TrunkBench) -> list[bytes]:
    """What comes from the overlay within a call, of whom it is transferred to, and of who takes somebody's place."""
    answered = bench.response("overlay", "200 INVITE")
    own, other = answered.from_, answered.to
    within = (
        f"sip:x@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKm\r\nFrom: {own}\r\nTo: {other}\r\n"
        f"Call-ID: {answered.call_id}\r\nMax-Forwards: 5\r\n"
    )
    place = f"Replaces: {answered.call_id};to-tag={other.tag};from-tag={own.tag}\r\nRequire: replaces\r\n"
    beside = within.replace(f"To: {other}", f"To: <sip:x@{REALM}>").replace(answered.call_id, "another")
    target = f"<sip:bob@{REALM};gr=z?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2>"
    calls = [heard.message for heard in bench.overlay if heard.line == "INVITE"]
    fields = [("Contact", f"<sip:bob@{REALM};gr=z>"), ("Content-Type", "application/sdp")]
    answers = [make_response(call, 200, to_tag="b", extra=fields, body=ANSWER).encode() for call in calls[-1:]]
    for status in (180, 302):
        answers += [make_response(call, status, to_tag="b", extra=fields).encode() for call in calls]
    body = f"Content-Type: application/sdp\r\n\r\n{ANSWER.decode()}"
    return [
        f"REFER {within}CSeq: 8 REFER\r\nContact: <sip:a@x>\r\nRefer-To: {target}\r\n\r\n".encode(),
        f"REFER {within}CSeq: 9 REFER\r\nContact: <sip:a@x>\r\nRefer-To: <sip:carol@{REALM}>\r\n\r\n".encode(),
        f"INVITE {beside}CSeq: 1 INVITE\r\nContact: <sip:bob@x>\r\n{place}{body}".encode(),
        f"ACK {beside}CSeq: 1 ACK\r\n\r\n".encode(),
        f"INVITE {within}CSeq: 10 INVITE\r\nContact: <sip:a@x>\r\n\r\n".encode(),
        f"BYE {within}CSeq: 11 BYE\r\n\r\n".encode(),
        *answers,
    ]


@pytest.mark.long
def test_damaged_transfers_leave_nothing_behind() -> None:
    """Of either side, in any order, with the trunk's answers between them."""
    for number in range(times(ROUNDS)):
        rng = random.Random(f"transfer/{number}")
        bench = TrunkBench(calls_max=20, keep_alive_s=0, registers=False).up()
        bench.talking()
        for _ in range(8):
            known = words_of_a_member(bench)
            data = rng.choice(known) if rng.random() < 0.6 else mutant(known, rng)
            try:
                bench.from_overlay(data)
                if rng.random() < 0.4:
                    asked = bench.request("provider", "INVITE")
                    bench.from_provider(make_response(asked, 200, to_tag="p", extra=TO_US, body=ANSWER))
                bench.run(rng.choice((0.0, 0.6, 5.0)))
            except Exception as error:
                error.add_note(f"round {number}: {data!r}")
                raise
        assert bench.trunk.calls <= 20
        bench.run(CALL_S_MAX)
        bench.run(LINGER_S + 300.0)
        assert not bench.trunk._bridges
        assert not bench.trunk._overlay._pending


TO_US = [("Contact", "<sip:gw@198.51.100.7>"), ("Content-Type", "application/sdp")]
