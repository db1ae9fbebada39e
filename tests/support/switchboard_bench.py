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
        self.called: list[str] = []
        """Whom it calls itself."""
        self.wanted: list[JoinCall] = []

    def invite(self, uri: str, caller: str, now: float = 0.0) -> None:
        self._give(INVITE.format(method="INVITE", uri=uri, caller=caller, call=f"call-{caller}") + OFFER, now)

    def acknowledge(self, uri: str, caller: str, now: float = 0.0) -> None:
        """The caller has heard that he is answered."""
        text = INVITE.format(method="ACK", uri=uri, caller=caller, call=f"call-{caller}")
        to = self.answers[f"call-{caller}"].to
        self._give(
            text.replace("To: <sip:bob@overlay.example>", f"To: {to}").replace("z9hG4bK", "z9hG4bKa") + "\n", now
        )

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
                        elif isinstance(message, Request) and message.method == "INVITE":
                            self.called.append(message.sip_uri.user_name)
                    case Ask(token, MediaWanted()):
                        self.agent.handle_answer(token, Address("192.0.2.5", 4000 + 2 * token), now)
                    case JoinCall():
                        self.wanted.append(effect)
                    case SendRtp():
                        pass
