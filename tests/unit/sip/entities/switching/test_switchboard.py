"""The switchboard alone: messages in, messages and wishes out."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Ask
from p2psip.media.session import SendRtp
from p2psip.sip.entities.agents.types import MediaWanted, ToServer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.switching.leads import JoinCall
from p2psip.sip.entities.switching.switchboard import CALLS_MAX, PICK_UP_S, REFERS_MAX, Switchboard
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri

REALM = "overlay.example"

INVITE = """{method} sip:{uri} SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{call}
Record-Route: <sip:token@192.0.2.5;lr>
From: {caller} <sip:{caller}@overlay.example>;tag={call}
To: <sip:bob@overlay.example>
Call-ID: {call}
CSeq: 1 {method}
Contact: <sip:{caller}@overlay.example;gr=x>
"""

OFFER = """Content-Type: application/sdp

v=0
o=- 1 1 IN IP4 192.0.2.9
s=-
c=IN IP4 192.0.2.9
t=0 0
m=audio 7000 RTP/AVP 0
"""


class Bench:
    """A switchboard that gets the media addresses that it asks for."""

    def __init__(self) -> None:
        peer = SipUri(REALM, "peer-one", None, (("gr", "aa"),))
        self.agent = Switchboard(ServerConfig(REALM, frozenset({REALM}), (), peer), random.Random(1))
        self.answers: dict[str, Response] = {}
        """The last one, by Call-ID."""
        self.wanted: list[JoinCall] = []
        self.requests: list[Request] = []
        """What parties of calls were sent."""
        self.responses: list[Response] = []
        """To all but INVITEs."""

    def invite(self, uri: str, caller: str, now: float = 0.0) -> None:
        self._give(INVITE.format(method="INVITE", uri=uri, caller=caller, call=f"call-{caller}") + OFFER, now)

    def cancel(self, uri: str, caller: str, now: float) -> None:
        self._give(INVITE.format(method="CANCEL", uri=uri, caller=caller, call=f"call-{caller}") + "\n", now)

    def within(self, caller: str, method: str, cseq: int, fields: str, body: str = "") -> None:
        """Somebody of a call that was answered says something in it."""
        answered = self.answers[f"call-{caller}"]
        head = INVITE.format(method=method, uri=f"x@{REALM}", caller=caller, call=f"call-{caller}")
        head = head.replace(f"branch=z9hG4bKcall-{caller}", f"branch=z9hG4bK{method}-{caller}-{cseq}")
        head = head.replace("To: <sip:bob@overlay.example>", f"To: {answered.to}").replace("CSeq: 1", f"CSeq: {cseq}")
        self._give(head + fields + "\n" + body, 0.0)

    def reply(self, status: int) -> None:
        """Whoever was sent the last request answers it."""
        self.agent.handle_message(make_response(self.requests[-1], status, to_tag="x").encode(), 0.0)
        self._drain(0.0)

    def joined(self) -> None:
        """carol has picked up alice's call."""
        self.invite(f"pick-up@{REALM};call=5", "carol")
        self.invite(str(self.wanted[-1].target.uri).removeprefix("sip:"), "alice")
        for caller in ("carol", "alice"):
            self.within(caller, "ACK", 1, "")

    def pass_time(self, now: float) -> None:
        self.agent.handle_timeout(now)
        self._drain(now)

    def status(self, caller: str) -> int:
        return self.answers[f"call-{caller}"].status

    def _give(self, text: str, now: float) -> None:
        self.agent.handle_message(text.replace("\n", "\r\n").encode(), now)
        self._drain(now)

    def _drain(self, now: float) -> None:
        while effects := self.agent.drain():
            for effect in effects:
                match effect:
                    case ToServer(data):
                        message = parse(data)
                        if isinstance(message, Request):
                            self.requests.append(message)
                        elif message.cseq.method != "INVITE":
                            assert isinstance(message, Response)
                            self.responses.append(message)
                        elif isinstance(message, Response):
                            self.answers[message.call_id] = message
                    case Ask(token, MediaWanted()):
                        self.agent.handle_answer(token, Address("192.0.2.5", 4000 + 2 * token), now)
                    case JoinCall():
                        self.wanted.append(effect)
                    case SendRtp():
                        pass


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_who_picks_up_and_whom_he_picks_up_are_answered_together(bench: Bench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    (wanted,) = bench.wanted
    assert wanted.call == 5
    assert bench.status("carol") == 180
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice")
    assert (bench.status("carol"), bench.status("alice")) == (200, 200)
    assert bench.answers["call-carol"].fields.first("p-asserted-identity") == f'"alice" <sip:alice@{REALM}>'
    bench.pass_time(2 * PICK_UP_S)
    assert (bench.status("carol"), bench.status("alice")) == (200, 200)


def test_what_does_not_come_is_not_waited_for(bench: Bench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    bench.pass_time(PICK_UP_S)
    assert bench.status("carol") == 480
    (wanted,) = bench.wanted
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice", PICK_UP_S)
    assert bench.status("alice") == 480, "too late"


def test_who_has_hung_up_picks_up_nobody(bench: Bench) -> None:
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    bench.cancel(f"pick-up@{REALM};call=5", "carol", 0.5)
    assert bench.status("carol") == 487
    (wanted,) = bench.wanted
    bench.invite(str(wanted.target.uri).removeprefix("sip:"), "alice", 0.6)
    assert bench.status("alice") == 480


def test_there_are_so_many_calls_and_no_more(bench: Bench) -> None:
    for number in range(CALLS_MAX):
        bench.invite(f"park@{REALM};slot={number};by=bob", f"caller{number}")
        assert bench.status(f"caller{number}") == 200
    bench.invite(f"park@{REALM};slot=99;by=bob", "late")
    assert bench.status("late") == 486


def test_what_nobody_leads_here_is_refused(bench: Bench) -> None:
    bench.invite(f"switchboard@{REALM}", "carol")
    assert bench.status("carol") == 404
    assert not bench.agent.is_meant("switchboard")


# Transfer (RFC 3515)


TRIED = "SIP/2.0 100 Trying\n"


def test_a_transfer_passes_from_one_call_to_the_other_and_what_becomes_of_it_back(bench: Bench) -> None:
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
def test_a_phone_that_does_not_transfer_says_so(bench: Bench, status: int) -> None:
    bench.joined()
    bench.within("carol", "REFER", 7, "Refer-To: <sip:dora@overlay.example>\n")
    bench.reply(status)
    assert (bench.responses[-1].status, bench.responses[-1].call_id) == (status, "call-carol")


def test_who_is_parked_has_nobody_to_transfer(bench: Bench) -> None:
    bench.invite(f"park@{REALM};slot=1;by=bob", "alice")
    bench.within("alice", "ACK", 1, "")
    bench.within("alice", "REFER", 2, "Refer-To: <sip:dora@overlay.example>\n")
    assert (bench.responses[-1].status, bench.requests) == (603, [])


@pytest.mark.parametrize(
    ("event", "status"), [("Event: presence\n", 489), ("", 489), ("Event: ;;\n", 489), ("Event: refer\n", 0)]
)
def test_no_news_but_that_of_a_transfer_passes(bench: Bench, event: str, status: int) -> None:
    bench.joined()
    bench.within("alice", "NOTIFY", 2, event + "Subscription-State: active\n")
    assert [response.status for response in bench.responses] == [status] * bool(status)
    assert len(bench.requests) == (not status)


def test_what_is_for_no_call_is_for_nobody(bench: Bench) -> None:
    for method in ("REFER", "NOTIFY"):
        bench._give(INVITE.format(method=method, uri=f"x@{REALM}", caller="carol", call=method) + "\n", 0.0)
        assert bench.responses[-1].status == 481


def test_who_has_hung_up_is_not_asked(bench: Bench) -> None:
    """carol's REFER comes when alice has ended the call: as RFC 3261 15 has it, the call is over."""
    bench.joined()
    bench.within("alice", "BYE", 2, "")
    bench.within("carol", "REFER", 7, "Refer-To: <sip:dora@overlay.example>\n")
    assert bench.responses[-1].status == 481
    assert [request.method for request in bench.requests] == ["BYE"]


def test_of_many_transfers_in_one_call_the_last_are_remembered(bench: Bench) -> None:
    bench.joined()
    for cseq in range(2, 40):
        bench.within("carol", "REFER", cseq, "Refer-To: <sip:dora@overlay.example>\n")
        bench.reply(603)
    assert sum(map(len, bench.agent._refers.values())) == REFERS_MAX
