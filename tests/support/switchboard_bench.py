"""A switchboard alone, in virtual time: who calls it, and what they are answered."""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.base.effects import Ask
from p2psip.media.session import SendRtp
from p2psip.sip.entities.agents.types import MediaWanted, ToServer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.switching.leads import JoinCall
from p2psip.sip.entities.switching.switchboard import Switchboard
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


class SwitchboardBench:
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

    @property
    def called(self) -> list[str]:
        """Whom it calls itself."""
        return [request.sip_uri.user_name for request in self.requests if request.method == "INVITE"]

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
                        elif message.cseq.method == "INVITE":
                            self.answers[message.call_id] = message
                        else:
                            self.responses.append(message)
                    case Ask(token, MediaWanted()):
                        self.agent.handle_answer(token, Address("192.0.2.5", 4000 + 2 * token), now)
                    case JoinCall():
                        self.wanted.append(effect)
                    case SendRtp():
                        pass
