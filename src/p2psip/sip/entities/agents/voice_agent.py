"""What agents of a peer have in common that answer calls with a sound of their own.

A user agent and its media as one core (an `AgentCore`). Media has sockets: `Ask(MediaWanted)` is answered by an address
whose datagrams come to `handle_media`, and `MediaReleased` gives it back.
"""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.media.engine import CallMedia, MediaEngine, Performance
from p2psip.media.sounds import Sound
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
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import LOCAL_ADDRESS, Listener


class VoiceAgent:
    """One of them: whoever inherits says what becomes of a call (`_on_effect`)."""

    def __init__(
        self,
        contact: SipUri,
        performance: Performance,
        rng: random.Random,
        *,
        calls_max: int,
        call_s_max: float,
        auto_answer_s: float | None = None,
        passes: tuple[str, ...] = (),
        is_focus: bool = False,
        media: CallMedia | None = None,
    ) -> None:
        """So many calls at once, each for so many seconds at most: a phone that dies says no BYE. With `media` that
        carries them in the place of what would perform.
        """
        config = AgentConfig(
            address_of_record=contact,
            contact=contact,
            server=UdpHop(LOCAL_ADDRESS),
            listeners=(Listener("UDP", LOCAL_ADDRESS),),
            is_tethered=True,
            passes=passes,
            is_focus=is_focus,
            auto_answer_s=auto_answer_s,
            calls_max=calls_max,
            call_s_max=call_s_max,
        )
        self._agent = UserAgent(config, rng)
        self._media: CallMedia = media or MediaEngine(performance, rng)
        self._locals: dict[CallId, Address] = {}
        self._sounds: dict[CallId, Sound] = {}
        """What a call hears in the place of the agent's tone."""
        self._due: Timers[CallId] = Timers()
        """What is to be done with a call by and by: `_on_due`."""
        self._effects: list[Effect] = []

    def is_meant(self, user: str) -> bool:
        """False, for most: resolvers lead to them, who know what is wanted and of whom."""
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
        for call in self._due.pop_due(now):
            self._on_due(call, now)
        self._agent.handle_timeout(now)
        self._media.handle_timeout(now)
        self._run(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._due.next_deadline(), self._agent.next_deadline(), self._media.next_deadline()])

    def drain(self) -> list[Effect]:
        """What is to be done: ToServer, SendRtp, Ask(MediaWanted), MediaReleased."""
        effects, self._effects = self._effects, []
        return [*effects, *self._media.drain()]

    def _run(self, now: float) -> None:
        while effects := self._agent.drain():
            for effect in effects:
                self._on_effect(effect, now)

    def _on_due(self, call: CallId, now: float) -> None:
        """The time has come that was set in `_due`."""
        raise AssertionError(f"nothing is due for call {call}")

    def _on_effect(self, effect: Effect, now: float) -> None:
        match effect:
            case SendUdp(_, _, data):
                self._effects.append(ToServer(data))
            case Ask():
                self._effects.append(effect)
            case CallEstablished(call, local, agreement) | MediaChanged(call, local, agreement):
                self._media.start(call, local, agreement, now, self._sounds.get(call))
            case CallEnded(call):
                self._sounds.pop(call, None)
                self._media.stop(call)
                if (given := self._locals.pop(call, None)) is not None:
                    self._effects.append(MediaReleased(given))
