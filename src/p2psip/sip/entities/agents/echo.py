"""The number that brings the caller's voice back, so that one phone alone can be tested.

A user agent that answers every call, and an echo for its media, as one core. Media has sockets: `Ask(MediaWanted)` is
answered by an address whose datagrams come to `handle_media`, and `MediaReleased` gives it back.
"""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline, earliest
from p2psip.media.engine import MediaEngine, Performance
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallEnded,
    CallEstablished,
    CallId,
    MediaChanged,
    MediaReleased,
    ToServer,
)
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.entities.handling.star_codes import ECHO, SERVICES
from p2psip.sip.message.uri import SipUri, escape_user
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import LOCAL_ADDRESS, Listener

NUMBER = SERVICES[ECHO].code

CALLS_MAX = 8
CALL_S_MAX = 600.0
"""A phone that dies in the middle of its test says no BYE."""


class EchoService:
    """Answers calls to its number in an overlay with their own sound (an `AgentCore`)."""

    name = "echo"

    def __init__(self, overlay: str, rng: random.Random, *, number: str = NUMBER, calls_max: int = CALLS_MAX) -> None:
        """With `number` "" nobody can call it."""
        self._number = number
        contact = SipUri(overlay, escape_user(number) or self.name)
        config = AgentConfig(
            address_of_record=contact,
            contact=contact,
            server=UdpHop(LOCAL_ADDRESS),
            listeners=(Listener("UDP", LOCAL_ADDRESS),),
            is_tethered=True,
            auto_answer_s=0.0,
            calls_max=calls_max,
            call_s_max=CALL_S_MAX,
        )
        self._agent = UserAgent(config, rng)
        self._media = MediaEngine(Performance(echo=True), rng)
        self._locals: dict[CallId, Address] = {}
        self._effects: list[Effect] = []

    def is_meant(self, user: str) -> bool:
        """True for its number."""
        return bool(user) and user == self._number

    def handle_message(self, data: bytes, now: float) -> None:
        """The server delivers a SIP message."""
        self._agent.handle(Datagram(LOCAL_ADDRESS, LOCAL_ADDRESS, data), now)
        self._run(now)

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to a media address."""
        self._media.handle_datagram(local, remote, data, now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The media address that was asked for, None if there is none."""
        call = self._agent.handle_answer(token, answer, now)
        if isinstance(answer, Address):
            if call is None:
                self._effects.append(MediaReleased(answer))
            else:
                self._locals[call] = answer
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._agent.handle_timeout(now)
        self._media.handle_timeout(now)
        self._run(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._agent.next_deadline(), self._media.next_deadline()])

    def drain(self) -> list[Effect]:
        """What is to be done: ToServer, SendRtp, Ask(MediaWanted), MediaReleased."""
        effects, self._effects = self._effects, []
        return [*effects, *self._media.drain()]

    def _run(self, now: float) -> None:
        for effect in self._agent.drain():
            match effect:
                case SendUdp(_, _, data):
                    self._effects.append(ToServer(data))
                case Ask():
                    self._effects.append(effect)
                case CallEstablished(call, local, agreement) | MediaChanged(call, local, agreement):
                    self._media.start(call, local, agreement, now)
                case CallEnded(call):
                    self._end(call)

    def _end(self, call: CallId) -> None:
        self._media.stop(call)
        local = self._locals.pop(call, None)
        if local is not None:
            self._effects.append(MediaReleased(local))
