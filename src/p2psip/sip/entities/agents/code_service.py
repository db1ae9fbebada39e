"""Who answers star codes: does what was dialled, says so on the phone's display, plays a tone and hangs up.

A user agent, as the echo is (echo.py). It is told the line by the resolver that leads to it (handling/by_codes.py), and
answers only when what was dialled is done.
"""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.media.engine import MediaEngine, Performance
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallEnded,
    CallEstablished,
    CallId,
    IncomingCall,
    MediaChanged,
    MediaReleased,
    ToServer,
)
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.handling.by_codes import AGENT, LINE_PARAM
from p2psip.sip.entities.handling.handlings import HandlingChanged, Handlings
from p2psip.sip.entities.handling.star_codes import SERVICES
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import LOCAL_ADDRESS, Listener

TONE_HZ = 440.0
SHOWN_S = 3.0
"""How long the answer stands on the display."""

CALLS_MAX = 8


class CodeService:
    """Serves the codes of one peer (an `AgentCore`)."""

    name = AGENT

    def __init__(self, config: ServerConfig, handlings: Handlings, rng: random.Random) -> None:
        self._config = config
        self._handlings = handlings
        contact = SipUri(config.realm, "star-codes")
        own = AgentConfig(
            address_of_record=contact,
            contact=contact,
            server=UdpHop(LOCAL_ADDRESS),
            listeners=(Listener("UDP", LOCAL_ADDRESS),),
            is_tethered=True,
            calls_max=CALLS_MAX,
            call_s_max=10 * SHOWN_S,
        )
        self._agent = UserAgent(own, rng)
        self._media = MediaEngine(Performance(tone_hz=TONE_HZ), rng)
        self._locals: dict[CallId, Address] = {}
        self._shown: Timers[CallId] = Timers()
        self._effects: list[Effect] = []

    def is_meant(self, user: str) -> bool:
        """False: who calls must be known, and so the resolver for codes alone leads here."""
        return False

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
        for call in self._shown.pop_due(now):
            self._agent.hang_up(call, now)
        self._run(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._agent.next_deadline(), self._media.next_deadline(), self._shown.next_deadline()])

    def drain(self) -> list[Effect]:
        """What is to be done: HandlingChanged, ToServer, SendRtp, Ask(MediaWanted), MediaReleased."""
        effects, self._effects = self._effects, []
        return [*effects, *self._media.drain()]

    def _run(self, now: float) -> None:
        while effects := self._agent.drain():
            for effect in effects:
                self._on_effect(effect, now)

    def _on_effect(self, effect: Effect, now: float) -> None:
        match effect:
            case SendUdp(_, _, data):
                self._effects.append(ToServer(data))
            case Ask():
                self._effects.append(effect)
            case IncomingCall(call, _, called):
                self._serve(call, called, now)
            case CallEstablished(call, local, agreement) | MediaChanged(call, local, agreement):
                self._media.start(call, local, agreement, now)
                if call not in self._shown:
                    self._shown.set(call, now + SHOWN_S, "the answer has been shown")
            case CallEnded(call):
                self._shown.cancel(call)
                self._media.stop(call)
                if (given := self._locals.pop(call, None)) is not None:
                    self._effects.append(MediaReleased(given))

    def _serve(self, call: CallId, called: SipUri, now: float) -> None:
        """Do what was dialled; the answer comes behind it, so that it stands once it is kept."""
        line = called.replace(user=called.param(LINE_PARAM)).user_name
        found = self._config.numbering.codes.read(called.user_name)
        handling = self._handlings.of(line)
        if found is None or handling is None:
            # The line was removed a moment ago, or this is a call of before the codes were changed.
            self._agent.reject(call, 404, now)
            return
        name, number = found
        service, says = SERVICES[name], f"You are {line}"
        if service.changes:
            changed = service.changed(handling, number)
            self._handlings.set(line, changed)
            self._effects.append(HandlingChanged(line, changed))
            says = f"{line}: {'; '.join(changed.in_words()) or 'all calls ring'}"
        shown = NameAddr(SipUri(self._config.realm, called.user), says)
        self._agent.answer(call, now, [("P-Asserted-Identity", shown)])
