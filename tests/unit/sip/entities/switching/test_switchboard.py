"""The switchboard alone: messages in, messages and wishes out."""

from __future__ import annotations

import pytest
from switchboard_bench import INVITE, REALM, SwitchboardBench

from p2psip.sip.entities.switching.switchboard import CALLS_MAX, PICK_UP_S, REFERS_MAX


@pytest.fixture
def bench() -> SwitchboardBench:
    return SwitchboardBench()


def test_who_picks_up_and_whom_he_picks_up_are_answered_together(bench: SwitchboardBench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    (wanted,) = bench.wanted
    assert wanted.call == 5
    assert bench.status("carol") == 180
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice")
    assert (bench.status("carol"), bench.status("alice")) == (200, 200)
    assert bench.answers["call-carol"].fields.first("p-asserted-identity") == f'"alice" <sip:alice@{REALM}>'
    bench.pass_time(2 * PICK_UP_S)
    assert (bench.status("carol"), bench.status("alice")) == (200, 200)


def test_what_does_not_come_is_not_waited_for(bench: SwitchboardBench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    bench.pass_time(PICK_UP_S)
    assert bench.status("carol") == 480
    (wanted,) = bench.wanted
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice", PICK_UP_S)
    assert bench.status("alice") == 480, "too late"


def test_who_has_hung_up_picks_up_nobody(bench: SwitchboardBench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    bench.cancel(f"pick-up@{REALM};call=5", "carol", 0.5)
    assert bench.status("carol") == 487
    (wanted,) = bench.wanted
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice", 0.6)
    assert bench.status("alice") == 480


def test_there_are_so_many_calls_and_no_more(bench: SwitchboardBench) -> None:
    for number in range(CALLS_MAX):
        bench.invite(f"park@{REALM};slot={number};by=bob", f"caller{number}")
        assert bench.status(f"caller{number}") == 200
    bench.invite(f"park@{REALM};slot=99;by=bob", "late")
    assert bench.status("late") == 486


def test_what_nobody_leads_here_is_refused(bench: SwitchboardBench) -> None:
    bench.invite(f"switchboard@{REALM}", "carol")
    assert bench.status("carol") == 404
    assert not bench.agent.is_meant("switchboard")


# Transfer (RFC 3515)


TRIED = "SIP/2.0 100 Trying\n"


def test_a_transfer_passes_from_one_call_to_the_other_and_what_becomes_of_it_back(bench: SwitchboardBench) -> None:
    bench.joined()
    assert "REFER" in bench.answers["call-carol"].fields.tokens("allow")
    refer_to = "Refer-To: <sip:dora@overlay.example>\nReferred-By: <sip:carol@overlay.example>\n"
    bench.within("carol", "REFER", 7, refer_to + "Refer-Sub: false\n")
    (refer,) = bench.requests
    assert (refer.method, refer.call_id, refer.to.tag) == ("REFER", "call-alice", "call-alice")
    assert refer.fields.first("refer-to") == "<sip:dora@overlay.example>"
    assert refer.fields.first("referred-by") == "<sip:carol@overlay.example>"
    assert "refer-sub" not in refer.fields
    bench.reply(202)
    assert (bench.responses[-1].status, bench.responses[-1].call_id) == (202, "call-carol")
    assert bench.responses[-1].contacts
    # 2.4.6: "id" is "the sequence number (the number from the CSeq header field value) of the REFER".
    event = f"Event: refer;id={refer.cseq.number}\nSubscription-State: active;expires=60\n"
    bench.within("alice", "NOTIFY", 2, event + "Content-Type: message/sipfrag\n", TRIED)
    notify = bench.requests[-1]
    assert (notify.method, notify.call_id, notify.body) == ("NOTIFY", "call-carol", b"SIP/2.0 100 Trying\r\n")
    assert notify.fields.first("event") == "refer;id=7"
    assert notify.fields.first("subscription-state") == "active;expires=60"
    assert notify.content_type == "message/sipfrag"
    bench.reply(200)
    assert (bench.responses[-1].status, bench.responses[-1].call_id) == (200, "call-alice")


@pytest.mark.parametrize("status", [405, 603])
def test_a_phone_that_does_not_transfer_says_so(bench: SwitchboardBench, status: int) -> None:
    bench.joined()
    bench.within("carol", "REFER", 7, "Refer-To: <sip:dora@overlay.example>\n")
    bench.reply(status)
    assert (bench.responses[-1].status, bench.responses[-1].call_id) == (status, "call-carol")


def test_who_is_parked_has_nobody_to_transfer(bench: SwitchboardBench) -> None:
    bench.invite(f"park@{REALM};slot=1;by=bob", "alice")
    bench.within("alice", "ACK", 1, "")
    bench.within("alice", "REFER", 2, "Refer-To: <sip:dora@overlay.example>\n")
    assert (bench.responses[-1].status, bench.requests) == (603, [])


@pytest.mark.parametrize(
    ("event", "status"), [("Event: presence\n", 489), ("", 489), ("Event: ;;\n", 489), ("Event: refer\n", 0)]
)
def test_no_news_but_that_of_a_transfer_passes(bench: SwitchboardBench, event: str, status: int) -> None:
    bench.joined()
    bench.within("alice", "NOTIFY", 2, event + "Subscription-State: active\n")
    assert [response.status for response in bench.responses] == [status] * bool(status)
    assert len(bench.requests) == (not status)


def test_what_is_for_no_call_is_for_nobody(bench: SwitchboardBench) -> None:
    for method in ("REFER", "NOTIFY"):
        bench._give(INVITE.format(method=method, uri=f"x@{REALM}", caller="carol", call=method) + "\n", 0.0)
        assert bench.responses[-1].status == 481


def test_who_has_hung_up_is_not_asked(bench: SwitchboardBench) -> None:
    """carol's REFER comes when alice has ended the call: as RFC 3261 15 has it, the call is over."""
    bench.joined()
    bench.within("alice", "BYE", 2, "")
    bench.within("carol", "REFER", 7, "Refer-To: <sip:dora@overlay.example>\n")
    assert bench.responses[-1].status == 481
    assert [request.method for request in bench.requests] == ["BYE"]


def test_of_many_transfers_in_one_call_the_last_are_remembered(bench: SwitchboardBench) -> None:
    bench.joined()
    for cseq in range(2, 40):
        bench.within("carol", "REFER", cseq, "Refer-To: <sip:dora@overlay.example>\n")
        bench.reply(603)
    assert sum(map(len, bench.agent._refers.values())) == REFERS_MAX
