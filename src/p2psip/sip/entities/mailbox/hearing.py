"""The owner of a mailbox hears his messages, one after the other; keys as people know them from Asterisk.

1 or 5 plays a message again, 4 the one before, 6 the next, 7 deletes it, 3 says in Morse code who has left it, and *
how many there are; # hangs up.
"""

from __future__ import annotations

from enum import Enum

from p2psip.media.recording.recording import Replay
from p2psip.media.sounds import morse
from p2psip.sip.entities.agents.types import CallId
from p2psip.sip.entities.mailbox.mailbox_questions import (
    DeleteMessage,
    FetchMessage,
    Kept,
    MailboxContents,
    MessageAudio,
    NotKept,
    OpenMailbox,
    WaitingMessage,
)
from p2psip.sip.entities.mailbox.talks import Desk, Talk, is_deleted, is_done, is_impossible, is_over

PAUSE_S = 4.0
"""After a message there is so much time to press a key, before the next is played."""


class _Phase(Enum):
    OPENS = "it is looked what there is"
    COUNTS = "he hears how many there are"
    FETCHES = "a message is fetched"
    PLAYS = "a message is played"
    PAUSES = "a key may be pressed"
    DELETES = "a message is removed"
    LEAVES = "the last tone"


class Hearing(Talk):
    """One such call."""

    def __init__(self, desk: Desk, call: CallId, line: str) -> None:
        super().__init__(desk, call)
        self._line = line
        self._phase = _Phase.OPENS
        self._messages: list[WaitingMessage] = []
        self._new = 0
        self._at = 0
        self._has_ended = False

    def begin(self, now: float) -> None:
        """Talk"""
        self._desk.ask(self, OpenMailbox(self._line), now)

    def on_answered(self, now: float) -> None:
        """Talk"""
        self._count(now)

    def on_due(self, now: float) -> None:
        """Talk"""
        match self._phase:
            case _Phase.COUNTS:
                self._fetch(now)
            case _Phase.PLAYS:
                self._phase = _Phase.PAUSES
                self._play(is_over(), now, "no key is pressed", then_s=PAUSE_S)
            case _Phase.PAUSES:
                self._at += 1
                self._fetch(now)
            case _Phase.LEAVES:
                self._desk.hang_up(self.call, now)

    def on_digit(self, digit: str, now: float) -> None:
        """Talk"""
        if self._phase in (_Phase.OPENS, _Phase.FETCHES, _Phase.DELETES):
            return
        if digit == "#":
            self._leave(now)
        elif digit == "*":
            self._count(now)
        elif not self._messages or self._at >= len(self._messages):
            self._play(is_impossible(), now, "there is no message", then_s=PAUSE_S)
        elif digit in "15":
            self._at = self._current
            self._fetch(now)
        elif digit == "4":
            self._at = max(0, self._at - 1)
            self._fetch(now)
        elif digit == "6":
            self._at += 1
            self._fetch(now)
        elif digit == "7":
            self._phase = _Phase.DELETES
            self._at = self._current
            self._desk.ask(self, DeleteMessage(self._line, self._messages[self._at].key), now)
        elif digit == "3":
            self._phase = _Phase.PAUSES
            self._play(morse(self._messages[self._current].caller or "?"), now, "no key is pressed", then_s=PAUSE_S)

    def on_answer(self, answer: object, now: float) -> None:
        """Talk"""
        if self._has_ended:
            return
        match self._phase, answer:
            case _Phase.OPENS, MailboxContents(messages):
                self._messages, self._new = list(messages), answer.new
                self._desk.answer(self.call, f"{self._new} new, {len(messages) - self._new} old", now)
            case _Phase.OPENS, NotKept(reason):
                self._desk.refuse(self.call, 480, reason, now)
            case _Phase.OPENS, _:
                self._desk.refuse(self.call, 480, "the overlay has not answered in time", now)
            case _Phase.FETCHES, MessageAudio(audio):
                self._phase = _Phase.PLAYS
                self._play(Replay(audio), now, "the message is over")
            case _Phase.DELETES, Kept():
                del self._messages[self._at]
                # The next one is where this one was.
                self._at -= 1
                self._phase = _Phase.PAUSES
                self._play(is_deleted(), now, "the next message", then_s=1.0)
            case _:
                self._phase = _Phase.PAUSES
                self._play(is_impossible(), now, "no key is pressed", then_s=PAUSE_S)

    def on_ended(self, now: float) -> None:
        """Talk"""
        self._has_ended = True

    @property
    def _current(self) -> int:
        """Which message keys are about. After one was deleted it is the next, whose turn is yet to come."""
        return max(0, self._at)

    def _count(self, now: float) -> None:
        self._phase, self._at = _Phase.COUNTS, 0
        self._play(morse(str(self._new)), now, "how many there are", then_s=0.5)

    def _fetch(self, now: float) -> None:
        """The message whose turn it is; behind the last one it is over."""
        if self._at >= len(self._messages):
            self._leave(now)
            return
        self._phase = _Phase.FETCHES
        self._desk.ask(self, FetchMessage(self._line, self._messages[self._at].key), now)

    def _leave(self, now: float) -> None:
        self._phase = _Phase.LEAVES
        self._play(is_done(), now, "the end")
