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
from p2psip.sip.entities.switching.switchboard import CALLS_MAX, PICK_UP_S, Switchboard
from p2psip.sip.message.message import Response
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

    def invite(self, uri: str, caller: str, now: float = 0.0) -> None:
        self._give(INVITE.format(method="INVITE", uri=uri, caller=caller, call=f"call-{caller}") + OFFER, now)

    def cancel(self, uri: str, caller: str, now: float) -> None:
        self._give(INVITE.format(method="CANCEL", uri=uri, caller=caller, call=f"call-{caller}") + "\n", now)

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
                        if isinstance(message, Response) and message.cseq.method == "INVITE":
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
