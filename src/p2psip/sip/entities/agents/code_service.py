"""Who answers star codes: does what was dialled, says so on the phone's display, plays a tone and hangs up.

What one wants to know is heard as well, in Morse code (media/sounds.py): not every phone shows what it is told.

A voice agent, as the echo is (echo.py). It is told the line by the resolver that leads to it (handling/by_codes.py),
and answers only when what was dialled is done.
"""

from __future__ import annotations

import random

from p2psip.base.effects import Effect
from p2psip.media.engine import Performance
from p2psip.media.sounds import morse
from p2psip.sip.entities.agents.types import CallEnded, CallEstablished, CallId, IncomingCall
from p2psip.sip.entities.agents.voice_agent import VoiceAgent
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.handling.by_codes import AGENT, LINE_PARAM
from p2psip.sip.entities.handling.handlings import HandlingChanged, Handlings
from p2psip.sip.entities.handling.star_codes import OWN_NUMBER, SERVICES, TIME
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri

TONE_HZ = 440.0
SHOWN_S = 3.0
"""How long the answer stands on the display."""

CALLS_MAX = 8
CALL_S_MAX = 120.0
"""A name of 64 characters takes 70 s."""


class CodeService(VoiceAgent):
    """Serves the codes of one peer (an `AgentCore`)."""

    name = AGENT

    def __init__(self, config: ServerConfig, handlings: Handlings, rng: random.Random) -> None:
        self._config = config
        self._handlings = handlings
        contact, performance = SipUri(config.realm, "star-codes"), Performance(tone_hz=TONE_HZ)
        super().__init__(contact, performance, rng, calls_max=CALLS_MAX, call_s_max=CALL_S_MAX)

    def _on_due(self, call: CallId, now: float) -> None:
        self._agent.hang_up(call, now)

    def _on_effect(self, effect: Effect, now: float) -> None:
        match effect:
            case IncomingCall(call, _, called):
                self._serve(call, called, now)
            case CallEstablished(call):
                sound = self._sounds.get(call)
                shown_s = SHOWN_S if sound is None else sound.duration_s + 1.0
                self._due.set(call, now + shown_s, "the answer has been shown")
            case CallEnded(call):
                self._due.cancel(call)
        super()._on_effect(effect, now)

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
        if name == OWN_NUMBER:
            self._sounds[call] = morse(line)
        elif name == TIME:
            says = self._time(now)
            self._sounds[call] = morse(says)
        elif service.changes:
            changed = service.changed(handling, number)
            self._handlings.set(line, changed)
            self._effects.append(HandlingChanged(line, changed))
            says = f"{line}: {'; '.join(changed.in_words()) or 'all calls ring'}"
        shown = NameAddr(SipUri(self._config.realm, called.user), says)
        self._agent.answer(call, now, [("P-Asserted-Identity", shown)])

    def _time(self, now: float) -> str:
        minute = self._handlings.minute(now)
        return "No time here" if minute is None else f"{int(minute) // 60:02}:{int(minute) % 60:02}"
