"""Calls through a trunk: two dialogs, and what passes between them."""

from __future__ import annotations

import pytest
from trunk_bench import ANSWER, REALM, SDP, TrunkBench

from p2psip.sip.entities.gateway.limits import CALL_S_MAX, FORKS_MAX, SILENT_S
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Request, Response


def test_a_call_goes_out_with_the_accounts_name_and_ids_of_its_own() -> None:
    bench = TrunkBench().up()
    invite = bench.dial()
    sent = bench.request("provider", "INVITE")
    assert sent.uri_text == "sip:+4912345@sip.tel.example"
    assert str(sent.from_.uri) == "sip:4930555@sip.tel.example"
    assert sent.from_.display_name == "Alice"
    assert sent.body == SDP
    # Of the caller's own way and dialog the trunk sees nothing.
    assert sent.call_id != invite.call_id
    assert sent.from_.tag != invite.from_.tag
    text = sent.encode().decode()
    assert not [said for said in (REALM, "Record-Route", "P-Asserted") if said in text]
    assert sent.contacts[0].sip_uri.host == "192.0.2.1"
    assert sent.max_forwards == 69


@pytest.mark.parametrize("number", ["+49-123(45)", "+4912345;npdi;rn=+4989"])
def test_a_number_goes_out_without_what_is_not_dialled(number: str) -> None:
    """RFC 3966 5.1.1, RFC 4694."""
    bench = TrunkBench().up()
    bench.dial(number)
    assert bench.request("provider", "INVITE").uri_text == "sip:+4912345@sip.tel.example"


def test_early_media_answer_and_bye_of_the_caller() -> None:
    bench = TrunkBench().up()
    bench.dial()
    sent = bench.request("provider", "INVITE")
    bench.answer(sent, 100)
    bench.answer(sent, 183, body=ANSWER)
    ringing = bench.response("overlay", "183 INVITE")
    assert ringing.body == ANSWER
    bench.answer(sent, 200, body=ANSWER)
    answered = bench.response("overlay", "200 INVITE")
    assert answered.to.tag == ringing.to.tag != "p"
    bench.within("ACK", answered, 7)
    ack = bench.request("provider", "ACK")
    assert ack.to.tag == "p"
    # 13.2.2.4: "The ACK MUST contain the same credentials as the INVITE."
    assert ack.fields.first("proxy-authorization") == sent.fields.first("proxy-authorization")
    bench.within("BYE", answered, 8, extra='Reason: Q.850;cause=16;text="done"\r\n')
    assert bench.lines("overlay")[-1] == "200 BYE"
    bye = bench.request("provider", "BYE")
    assert (bye.to.tag, bye.fields.first("reason")) == ("p", 'Q.850;cause=16;text="done"')
    assert bench.trunk.calls == 0


def test_bye_of_the_trunk() -> None:
    bench = TrunkBench().up()
    _, sent = bench.talking()
    answered = Response(200, "OK", sent.fields.with_only("To", sent.to.with_tag("p")))
    bench.from_provider(
        f"BYE sip:4930555@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKbye\r\n"
        f"From: {answered.to}\r\nTo: {answered.from_}\r\nCall-ID: {sent.call_id}\r\n"
        "CSeq: 1 BYE\r\nMax-Forwards: 9\r\n\r\n".encode()
    )
    assert bench.lines("provider")[-1] == "200 BYE"
    assert bench.request("overlay", "BYE").from_.tag == bench.response("overlay", "200 INVITE").to.tag
    assert bench.trunk.calls == 0


def test_a_2xx_is_repeated_through_us_until_the_ack_and_acknowledged_by_us_after_it() -> None:
    bench = TrunkBench().up()
    bench.dial()
    sent = bench.request("provider", "INVITE")
    bench.answer(sent, 200, body=ANSWER)
    bench.run(1.0)
    bench.answer(sent, 200, body=ANSWER)
    assert bench.lines("overlay").count("200 INVITE") == 2
    assert "ACK" not in bench.lines("provider")[3:]
    bench.within("ACK", bench.response("overlay", "200 INVITE"), 7)
    acks = bench.lines("provider").count("ACK")
    bench.answer(sent, 200, body=ANSWER)
    assert bench.lines("overlay").count("200 INVITE") == 2
    assert bench.lines("provider").count("ACK") == acks + 1


def test_an_offer_that_comes_late_has_its_answer_in_the_ack() -> None:
    bench = TrunkBench().up()
    bench.dial(body=b"")
    sent = bench.request("provider", "INVITE")
    assert sent.body == b""
    bench.answer(sent, 200, body=ANSWER)
    bench.within("ACK", bench.response("overlay", "200 INVITE"), 7, extra="Content-Type: application/sdp\r\n", body=SDP)
    ack = bench.request("provider", "ACK")
    assert (ack.body, ack.content_type) == (SDP, "application/sdp")


def test_13_2_2_4_a_2xx_that_is_repeated_during_a_reinvite_has_the_ack_of_its_own() -> None:
    """The ACK was lost, and the caller has begun a re-INVITE meanwhile: neither is taken for the other."""
    bench = TrunkBench().up()
    _, sent = bench.talking()
    answered = bench.response("overlay", "200 INVITE")
    bench.within("INVITE", answered, 8, extra="Contact: <sip:a@x>\r\nContent-Type: application/sdp\r\n", body=SDP)
    again = bench.request("provider", "INVITE")
    bench.answer(sent, 200, body=ANSWER)
    assert bench.request("provider", "ACK").cseq.number == sent.cseq.number < again.cseq.number
    # And a caller who repeats the ACK of the first acknowledges nothing of the second.
    acks = bench.lines("provider").count("ACK")
    bench.within("ACK", answered, 7)
    assert bench.lines("provider").count("ACK") == acks
    bench.answer(again, 200, body=ANSWER)
    bench.within("ACK", bench.response("overlay", "200 INVITE"), 8)
    assert bench.request("provider", "ACK").cseq.number == again.cseq.number


def test_22_3_a_bye_that_is_challenged_is_said_again_with_the_password() -> None:
    bench = TrunkBench().up()
    bench.talking()
    bench.within("BYE", bench.response("overlay", "200 INVITE"), 8)
    first = bench.request("provider", "BYE")
    bench.answer(first, 407, ("Proxy-Authenticate", 'Digest realm="tel", nonce="other", stale=true, qop="auth"'))
    again = bench.request("provider", "BYE")
    assert again.cseq.number == first.cseq.number + 1
    assert 'nonce="other"' in (again.fields.first("proxy-authorization") or "")


def test_15_a_bye_that_crosses_a_reinvite_ends_both() -> None:
    bench = TrunkBench().up()
    _, sent = bench.talking()
    answered = bench.response("overlay", "200 INVITE")
    bench.within("INVITE", answered, 8, extra="Contact: <sip:a@x>\r\nContent-Type: application/sdp\r\n", body=SDP)
    again = bench.request("provider", "INVITE")
    theirs = Response(200, "OK", sent.fields.with_only("To", sent.to.with_tag("p")))
    bench.within("BYE", Request("INVITE", "sip:x@y", theirs.fields), 1, by="provider")
    bench.answer(again, 481)
    assert bench.request("overlay", "BYE").to.tag == answered.from_.tag
    # 15.1.2: "the UAS MUST still respond to any pending requests [...]. It is RECOMMENDED that a 487 [...] response be
    # generated to those pending requests."
    assert bench.lines("overlay")[-1] == "487 INVITE"
    assert bench.lines("provider").count("BYE") == 0
    assert bench.trunk.calls == 0


def test_a_provisional_response_with_a_tag_and_no_contact_is_passed_on() -> None:
    """It makes no dialog (12.1), and the 2xx after it does."""
    bench = TrunkBench().up()
    bench.dial()
    sent = bench.request("provider", "INVITE")
    bench.from_provider(make_response(sent, 183, to_tag="p"))
    progress = bench.response("overlay", "183 INVITE")
    bench.answer(sent, 200, body=ANSWER)
    answered = bench.response("overlay", "200 INVITE")
    assert answered.to.tag == progress.to.tag
    bench.within("ACK", answered, 7)
    bench.within("BYE", answered, 8)
    assert bench.request("provider", "BYE").uri_text == "sip:gw@198.51.100.7"


def test_4028_an_interval_that_is_too_small_is_the_callers_to_change() -> None:
    """RFC 4028 section 7.3: who is told 422 may try again with the Min-SE that it says."""
    bench = TrunkBench().up()
    bench.dial(extra="Supported: timer\r\nSession-Expires: 90\r\n")
    sent = bench.request("provider", "INVITE")
    assert sent.fields.first("session-expires") == "90"
    bench.answer(sent, 422, ("Min-SE", "1800"))
    assert bench.response("overlay", "422 INVITE").fields.first("min-se") == "1800"
    bench.dial(extra="Supported: timer\r\nSession-Expires: 1800\r\nMin-SE: 1800\r\n")
    assert bench.request("provider", "INVITE").fields.first("min-se") == "1800"


@pytest.mark.parametrize("moment", ["before 100", "after 100", "after 180", "after 200"])
def test_cancel_at_each_moment(moment: str) -> None:
    bench = TrunkBench().up()
    invite = bench.dial()
    sent = bench.request("provider", "INVITE")
    if moment != "before 100":
        bench.answer(sent, 100)
    if moment == "after 180":
        bench.answer(sent, 180)
    if moment == "after 200":
        bench.answer(sent, 200, body=ANSWER)
    bench.cancel(invite, extra='Reason: SIP;cause=200;text="Call completed elsewhere"\r\n')
    assert "200 CANCEL" in bench.lines("overlay")
    if moment == "after 200":
        assert "487 INVITE" not in bench.lines("overlay")
        assert bench.trunk.calls == 1
        return
    assert bench.lines("overlay")[-1] == "487 INVITE"
    if moment == "before 100":
        # 9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent".
        assert "CANCEL" not in bench.lines("provider")
        bench.answer(sent, 100)
    assert bench.request("provider", "CANCEL").fields.first("reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    # It is too late: whoever has picked up is hung up on, and once only.
    bench.answer(sent, 200, body=ANSWER)
    bench.answer(sent, 200, body=ANSWER)
    assert bench.lines("provider").count("BYE") == 1
    assert bench.lines("overlay").count("200 INVITE") == 0
    assert bench.trunk.calls == 0


def test_several_phones_ring_and_the_first_that_answers_has_the_call() -> None:
    bench = TrunkBench().up()
    bench.dial()
    sent = bench.request("provider", "INVITE")
    for tag in ("one", "two"):
        bench.answer(sent, 180, tag=tag)
    tags = {heard.message.to.tag for heard in bench.overlay if heard.line == "180 INVITE"}
    assert len(tags) == 2
    bench.answer(sent, 200, body=ANSWER, tag="two")
    assert bench.response("overlay", "200 INVITE").to.tag in tags
    bench.answer(sent, 200, body=ANSWER, tag="one")
    bye = bench.request("provider", "BYE")
    assert bye.to.tag == "one"
    assert bench.lines("overlay").count("200 INVITE") == 1
    assert bench.trunk.calls == 1


def test_no_more_early_dialogs_than_there_may_be() -> None:
    bench = TrunkBench().up()
    bench.dial()
    sent = bench.request("provider", "INVITE")
    for number in range(FORKS_MAX + 5):
        bench.answer(sent, 180, tag=f"f{number}")
    assert bench.lines("overlay").count("180 INVITE") == FORKS_MAX


def test_reliable_provisional_responses_are_acknowledged_by_the_caller() -> None:
    """RFC 3262: the RAck names the INVITE by its number on each side."""
    bench = TrunkBench().up()
    bench.dial(extra="Supported: 100rel, replaces, timer\r\n")
    sent = bench.request("provider", "INVITE")
    assert sent.fields.tokens("supported") == ["100rel", "timer"]
    assert sent.cseq.number == 2
    bench.answer(sent, 183, ("Require", "100rel"), ("RSeq", 900), body=ANSWER)
    progress = bench.response("overlay", "183 INVITE")
    assert (progress.fields.first("rseq"), progress.fields.tokens("require")) == ("900", ["100rel"])
    bench.within("PRACK", progress, 8, extra="RAck: 900 7 INVITE\r\n")
    prack = bench.request("provider", "PRACK")
    assert prack.fields.first("rack") == "900 2 INVITE"
    bench.answer(prack, 200)
    assert bench.lines("overlay")[-1] == "200 PRACK"
    bench.within("PRACK", progress, 9, extra="RAck: 900 6 INVITE\r\n")
    assert bench.lines("overlay")[-1] == "481 PRACK"


def test_hold_update_and_digits_pass_both_ways() -> None:
    bench = TrunkBench().up()
    _, sent = bench.talking()
    answered = bench.response("overlay", "200 INVITE")
    held = SDP.replace(b"m=audio", b"a=sendonly\r\nm=audio")
    bench.within("INVITE", answered, 8, extra="Contact: <sip:a@x>\r\nContent-Type: application/sdp\r\n", body=held)
    again = bench.request("provider", "INVITE")
    assert (again.body, again.to.tag, again.call_id) == (held, "p", sent.call_id)
    bench.answer(again, 200, body=ANSWER)
    bench.within("ACK", bench.response("overlay", "200 INVITE"), 8)
    assert bench.request("provider", "ACK").cseq.number == again.cseq.number
    bench.within("INFO", answered, 9, extra="Content-Type: application/dtmf-relay\r\n", body=b"Signal=5\r\n")
    info = bench.request("provider", "INFO")
    assert (info.body, info.content_type) == (b"Signal=5\r\n", "application/dtmf-relay")
    bench.answer(info, 200)
    bench.within("UPDATE", answered, 10, extra="Contact: <sip:a@x>\r\nSession-Expires: 90;refresher=uac\r\n")
    update = bench.request("provider", "UPDATE")
    assert update.fields.first("session-expires") == "90;refresher=uac"
    bench.answer(update, 200, ("Session-Expires", "90;refresher=uac"))
    assert bench.response("overlay", "200 UPDATE").fields.first("session-expires") == "90;refresher=uac"
    assert bench.trunk.calls == 1


@pytest.mark.parametrize(
    ("says", "hears"),
    [
        ("INVITE, ACK, CANCEL, BYE", ["INVITE", "ACK", "CANCEL", "BYE"]),
        ("INVITE,ACK,BYE,CANCEL,REFER,UPDATE,NOTIFY,INFO", ["INVITE", "ACK", "CANCEL", "BYE", "INFO", "UPDATE"]),
        # RFC 3261 20.5: the absence "MUST NOT be interpreted to mean that the UA [...] supports no methods".
        ("", []),
    ],
)
def test_20_5_what_is_allowed_is_what_the_other_side_understands_and_what_passes(says: str, hears: list[str]) -> None:
    """Who is told that an UPDATE is understood sends one, and gets 405 from whoever does not."""
    bench = TrunkBench().up()
    bench.dial(extra=f"Allow: {says}\r\n" if says else "")
    sent = bench.request("provider", "INVITE")
    assert sent.fields.tokens("allow") == hears
    bench.answer(sent, 200, *[("Allow", says)] * bool(says), body=ANSWER)
    # A transfer is for us.
    also = ["REFER"] if hears else []
    assert bench.response("overlay", "200 INVITE").fields.tokens("allow") == [*hears, *also]


@pytest.mark.parametrize(("says", "hears"), [(486, 486), (404, 404), (603, 603), (503, 503), (302, 480), (401, 502)])
def test_what_the_trunk_refuses_is_told_with_who_has_said_it(says: int, hears: int) -> None:
    bench = TrunkBench().up()
    bench.dial()
    sent = bench.request("provider", "INVITE")
    bench.answer(sent, says, ("Reason", 'Q.850;cause=17;text="busy"'))
    refused = bench.response("overlay", f"{hears} INVITE")
    assert refused.contacts == ()
    reasons = refused.fields.lines("reason")
    assert reasons[0] == 'Q.850;cause=17;text="busy"'
    assert f"the trunk main: {says} " in reasons[1]
    assert bench.trunk.calls == 0


def test_a_trunk_that_says_nothing_is_given_up_soon_and_counts_as_down() -> None:
    """Another gateway has time to be tried: timer B alone would take 32 s."""
    bench = TrunkBench().up()
    bench.registrar.is_there = False
    bench.dial()
    bench.run(SILENT_S + 0.1)
    refused = bench.response("overlay", "504 INVITE")
    assert "has not answered in 4 s" in (refused.fields.first("reason") or "")
    assert not bench.trunk.health.is_up


def test_the_trunk_falls_silent_within_a_call() -> None:
    bench = TrunkBench().up()
    bench.talking()
    answered = bench.response("overlay", "200 INVITE")
    bench.within("INFO", answered, 8)
    bench.run(35.0)
    assert "408 INFO" in bench.lines("overlay")
    assert bench.trunk.calls == 1
    bench.within("INVITE", answered, 9, extra="Contact: <sip:a@x>\r\nContent-Type: application/sdp\r\n", body=SDP)
    bench.run(35.0)
    assert "BYE" in bench.lines("overlay")
    assert bench.trunk.calls == 0


def test_who_never_acknowledges_loses_the_call_on_both_sides() -> None:
    bench = TrunkBench().up()
    bench.dial()
    bench.answer(bench.request("provider", "INVITE"), 200, body=ANSWER)
    bench.run(33.0)
    assert "BYE" in bench.lines("overlay")
    assert {"ACK", "BYE"} <= set(bench.lines("provider"))
    assert bench.trunk.calls == 0


def test_no_call_lasts_for_ever_and_none_is_kept() -> None:
    bench = TrunkBench().up()
    bench.talking()
    bench.run(CALL_S_MAX + 60.0)
    assert bench.trunk.calls == 0
    assert not bench.trunk._bridges


# Who may


def test_the_lines_that_may_call_and_nobody_else() -> None:
    bench = TrunkBench().up()
    bench.dial(asserted="mallory")
    refused = bench.response("overlay", "403 INVITE")
    assert refused.fields.first("reason") == 'SIP;cause=403;text="the trunk main is not for mallory"'
    bench.dial(asserted="")
    assert bench.lines("overlay").count("403 INVITE") == 2
    assert "INVITE" not in bench.lines("provider")


def test_an_emergency_number_is_for_everybody_and_finds_room() -> None:
    bench = TrunkBench(calls_max=1).up()
    bench.dial()
    bench.dial("+49777")
    assert bench.lines("overlay")[-1] == "503 INVITE"
    bench.dial("112", asserted="mallory")
    assert bench.request("provider", "INVITE").uri_text == "sip:112@sip.tel.example"


def test_who_forwards_a_call_to_the_trunk_is_who_calls() -> None:
    bench = TrunkBench().up()
    bench.dial(asserted="mallory", extra=f"Diversion: <sip:bob@{REALM}>;reason=unconditional\r\n")
    assert "INVITE" in bench.lines("provider")
    other = TrunkBench().up()
    other.dial(asserted="alice", extra=f"Diversion: <sip:mallory@{REALM}>;reason=unconditional\r\n")
    assert other.lines("overlay")[-1] == "403 INVITE"


def test_what_came_from_a_trunk_is_nobody_of_the_overlays() -> None:
    """With "*" every member may: a call from outside that nobody has forwarded may not go out again."""
    bench = TrunkBench(lines=frozenset({"*"})).up()
    outside = f"From: <sip:+49999@{REALM};gw=main>;tag=q\r\n"
    invite = bench.dial(asserted="").encode()
    assert "INVITE" in bench.lines("provider")
    bench.provider.clear()
    start, _, rest = invite.partition(b"From:")
    bench.from_overlay(
        (start + outside.encode() + rest.partition(b"\r\n")[2]).replace(b"branch=z9", b"branch=z9hG4bKq")
    )
    assert bench.lines("overlay")[-1] == "403 INVITE"


def test_the_number_that_a_line_shows_and_the_wish_not_to_be_named() -> None:
    bench = TrunkBench(shows_number=True, strip=2, prepend="0").up()
    bench.dial("0049123", extra="Privacy: id\r\n", asserted="")
    assert bench.lines("overlay")[-1] == "403 INVITE"
    bench.dial("0049123")
    sent = bench.request("provider", "INVITE")
    assert (sent.uri_text, sent.from_.sip_uri.user_name) == ("sip:049123@sip.tel.example", "+4930555")
    hidden = TrunkBench(lines=frozenset({"*"})).up()
    hidden.dial(asserted="", extra="Privacy: id\r\n")
    sent = hidden.request("provider", "INVITE")
    assert str(sent.from_.uri) == "sip:anonymous@anonymous.invalid"
    assert sent.fields.first("p-preferred-identity") == "<sip:4930555@sip.tel.example>"
    assert sent.fields.first("privacy") == "id"
