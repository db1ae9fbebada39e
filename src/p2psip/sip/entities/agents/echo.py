"""The number that brings the caller's voice back, so that one phone alone can be tested."""

from __future__ import annotations

import random

from p2psip.media.engine import Performance
from p2psip.sip.entities.agents.voice_agent import VoiceAgent
from p2psip.sip.entities.handling.star_codes import ECHO, SERVICES
from p2psip.sip.message.uri import SipUri, escape_user

NUMBER = SERVICES[ECHO].code

CALLS_MAX = 8
CALL_S_MAX = 600.0


class EchoService(VoiceAgent):
    """Answers calls to its number in an overlay with their own sound (an `AgentCore`)."""

    name = "echo"

    def __init__(self, overlay: str, rng: random.Random, *, number: str = NUMBER, calls_max: int = CALLS_MAX) -> None:
        """With `number` "" nobody can call it."""
        self._number = number
        contact = SipUri(overlay, escape_user(number) or self.name)
        performance = Performance(echo=True)
        super().__init__(contact, performance, rng, calls_max=calls_max, call_s_max=CALL_S_MAX, auto_answer_s=0.0)

    def is_meant(self, user: str) -> bool:
        """True for its number."""
        return bool(user) and user == self._number
