"""What a conversation with a mailbox can have done, and the sounds by which it answers.

There are tones and Morse code in the place of words, as everywhere here (media/sounds.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from p2psip.media.recording.recording import Recording
from p2psip.media.sounds import Beeps, Sound
from p2psip.sip.entities.agents.types import CallId

BEGIN_HZ, WELL_HZ, SORRY_HZ = 950.0, 800.0, 300.0


def speak_now() -> Beeps:
    """From its end on it is recorded."""
    return Beeps((0, 800, 500), hz=BEGIN_HZ)


def is_done() -> Beeps:
    """What was wanted has been done."""
    return Beeps((100, 60, 100), hz=WELL_HZ)


def is_over() -> Beeps:
    """The end of a message: now a key may be pressed."""
    return Beeps((0, 300, 120, 120, 120), hz=BEGIN_HZ)


def is_deleted() -> Beeps:
    """A message is gone."""
    return Beeps((500,), hz=SORRY_HZ)


def is_impossible() -> Beeps:
    """What was wanted could not be done."""
    return Beeps((200, 200, 200, 200, 200), hz=SORRY_HZ)


class Desk(Protocol):
    """The agent, as a conversation sees it."""

    def answer(self, call: CallId, says: str, now: float) -> None:
        """Pick up; this stands on the phone's display."""

    def refuse(self, call: CallId, status: int, why: str, now: float) -> None:
        """Do not pick up."""

    def play(self, call: CallId, sound: Sound, now: float) -> None:
        """Have it hear this, and nothing else any more."""

    def record(self, call: CallId, recording: Recording | None) -> None:
        """Have what is said go in there, or nowhere."""

    def wait(self, call: CallId, at: float, why: str) -> None:
        """`on_due` at this time, and not at the one before."""

    def ask(self, talk: Talk, question: object, now: float) -> None:
        """Ask the outside; `on_answer` follows, also when the call is over by then."""

    def hang_up(self, call: CallId, now: float) -> None:
        """End the call."""

    def note(self, event: str, why: str, **facts: object) -> None:
        """Have an operator read this."""


class Talk(ABC):
    """A conversation: one call to the agent."""

    def __init__(self, desk: Desk, call: CallId) -> None:
        self.call = call
        self._desk = desk

    @abstractmethod
    def begin(self, now: float) -> None:
        """The call has come in."""

    @abstractmethod
    def on_answered(self, now: float) -> None:
        """It is up."""

    @abstractmethod
    def on_due(self, now: float) -> None:
        """The time that was waited for has come."""

    @abstractmethod
    def on_digit(self, digit: str, now: float) -> None:
        """A key has been pressed."""

    @abstractmethod
    def on_answer(self, answer: object, now: float) -> None:
        """The outside has answered; None if it has not, in time."""

    @abstractmethod
    def on_ended(self, now: float) -> None:
        """The call is over."""

    def _play(self, sound: Sound, now: float, why: str, *, then_s: float = 0.0) -> None:
        """Play something, and be told when it is over, or so long after that."""
        self._desk.play(self.call, sound, now)
        self._desk.wait(self.call, now + sound.duration_s + then_s, why)
