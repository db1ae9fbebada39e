"""The agent of a peer that has messages recorded and heard; where they are kept it asks the outside.

A voice agent, as the echo is (agents/echo.py). Nobody but two resolvers leads to it: `ByMailbox` whoever has not
reached somebody, with the ticket of a place where a message goes, and `ByCodes` the owner of a line, who is proved.
"""

from __future__ import annotations

import random
from dataclasses import replace

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Asks, CancelAsk, Effect, Note
from p2psip.base.timers import Deadline, earliest
from p2psip.media.engine import MediaEngine, Performance
from p2psip.media.recording.recording import Recording
from p2psip.media.sounds import Sound
from p2psip.sip.entities.agents.types import CallEnded, CallEstablished, CallId, IncomingCall
from p2psip.sip.entities.agents.voice_agent import VoiceAgent
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.handling.by_codes import LINE_PARAM
from p2psip.sip.entities.handling.handlings import HandlingChanged, Handlings
from p2psip.sip.entities.mailbox.by_mailbox import LONGEST_PARAM, MAILBOX_AGENT, TICKET_PARAM
from p2psip.sip.entities.mailbox.hearing import Hearing
from p2psip.sip.entities.mailbox.leaving import Leaving
from p2psip.sip.entities.mailbox.mailbox_questions import KeepMessage
from p2psip.sip.entities.mailbox.talks import Talk
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri

CALLS_MAX = 8
CALL_S_MAX = 900.0

PATIENCE_S = 30.0
"""For what somebody waits for at the phone."""

KEEPING_S = 600.0
"""So long it is tried to keep a message: peers that hold it may just have died."""

QUESTIONS_MAX = 4 * CALLS_MAX
"""Messages of calls that are over are kept one after the other."""


class MailboxService(VoiceAgent):
    """An `AgentCore`, and the `Desk` of its conversations.

    Of its questions those for media have even tokens, its own odd ones.
    """

    name = MAILBOX_AGENT

    def __init__(self, config: ServerConfig, handlings: Handlings, rng: random.Random) -> None:
        self._config = config
        self._handlings = handlings
        self._talks: dict[CallId, Talk] = {}
        self._called: dict[CallId, SipUri] = {}
        self._asks: Asks[Talk] = Asks(QUESTIONS_MAX)
        self._questions: list[Effect] = []
        contact, performance = SipUri(config.realm, MAILBOX_AGENT), Performance(answers=True)
        self._voices = MediaEngine(performance, rng)
        super().__init__(contact, performance, rng, calls_max=CALLS_MAX, call_s_max=CALL_S_MAX, media=self._voices)

    # agents.VoiceAgent

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to a media address; there may be a digit in it."""
        super().handle_media(local, remote, data, now)
        self._hear(now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """A media address, or what a conversation has asked for."""
        own, is_ours = divmod(token, 2)
        if not is_ours:
            super().handle_answer(own, answer, now)
        elif (talk := self._asks.answered(own)) is not None:
            talk.on_answer(answer, now)
            self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for talk in self._asks.expired(now):
            talk.on_answer(None, now)
        super().handle_timeout(now)
        self._hear(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([super().next_deadline(), self._asks.next_deadline()])

    def _on_due(self, call: CallId, now: float) -> None:
        if call in self._talks:
            self._talks[call].on_due(now)

    def drain(self) -> list[Effect]:
        """What is to be done, the questions of both kinds among it."""
        questions, self._questions = self._questions, []
        return [*map(_even, super().drain()), *questions]

    def _on_effect(self, effect: Effect, now: float) -> None:
        super()._on_effect(effect, now)
        match effect:
            case IncomingCall(call, _, called):
                self._begin(call, called, now)
            case CallEstablished(call):
                self._talks[call].on_answered(now)
            case CallEnded(call):
                self._due.cancel(call)
                self._called.pop(call, None)
                if (talk := self._talks.pop(call, None)) is not None:
                    talk.on_ended(now)

    def _begin(self, call: CallId, called: SipUri, now: float) -> None:
        self._called[call] = called
        if (ticket := called.param(TICKET_PARAM)) is not None:
            longest_s = int(called.param(LONGEST_PARAM) or 0)
            talk: Talk = Leaving(self, call, called.user_name, int(ticket), longest_s)
        else:
            line = called.replace(user=called.param(LINE_PARAM)).user_name
            self._take_messages(line)
            talk = Hearing(self, call, line)
        self._talks[call] = talk
        talk.begin(now)

    def _take_messages(self, line: str) -> None:
        """Who has dialled its number once wants a mailbox."""
        handling = self._handlings.of(line)
        if handling is not None and handling.mailbox is not True:
            changed = replace(handling, mailbox=True)
            self._handlings.set(line, changed)
            self._effects.append(HandlingChanged(line, changed))

    def _hear(self, now: float) -> None:
        for call, talk in tuple(self._talks.items()):
            session = self._voices.answering(call)
            for digit in () if session is None else session.take_digits():
                talk.on_digit(digit, now)
        self._run(now)

    # talks.Desk

    def answer(self, call: CallId, says: str, now: float) -> None:
        """talks.Desk"""
        shown = NameAddr(SipUri(self._config.realm, self._called[call].user), says)
        self._agent.answer(call, now, [("P-Asserted-Identity", shown)])

    def refuse(self, call: CallId, status: int, why: str, now: float) -> None:
        """talks.Desk"""
        self._agent.reject(call, status, now, why)

    def play(self, call: CallId, sound: Sound, now: float) -> None:
        """talks.Desk"""
        if (session := self._voices.answering(call)) is not None:
            session.play(sound, now)

    def record(self, call: CallId, recording: Recording | None) -> None:
        """talks.Desk"""
        if (session := self._voices.answering(call)) is not None:
            session.recording = recording

    def wait(self, call: CallId, at: float, why: str) -> None:
        """talks.Desk"""
        if call in self._talks:
            self._due.set(call, at, why)

    def ask(self, talk: Talk, question: object, now: float) -> None:
        """talks.Desk"""
        if self._asks.is_full:
            talk.on_answer(None, now)
            return
        patience_s = KEEPING_S if isinstance(question, KeepMessage) else PATIENCE_S
        asked = self._asks.ask(question, talk, now + patience_s)
        self._questions.append(replace(asked, token=2 * asked.token + 1))

    def hang_up(self, call: CallId, now: float) -> None:
        """talks.Desk"""
        self._agent.hang_up(call, now)

    def note(self, event: str, why: str, **facts: object) -> None:
        """talks.Desk"""
        self._effects.append(Note(event, facts | {"reason": why}, is_warning=True))


def _even(effect: Effect) -> Effect:
    return replace(effect, token=2 * effect.token) if isinstance(effect, Ask | CancelAsk) else effect
