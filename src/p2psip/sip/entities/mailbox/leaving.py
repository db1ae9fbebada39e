"""A caller leaves a message: after the tone he speaks, until he hangs up, or presses #. With * he begins anew."""

from __future__ import annotations

from enum import Enum

from p2psip.media.recording.recording import Recording
from p2psip.sip.entities.agents.types import CallId
from p2psip.sip.entities.mailbox.mailbox_questions import DropMessage, KeepMessage, Kept, NotKept
from p2psip.sip.entities.mailbox.talks import Desk, Talk, is_done, is_impossible, speak_now

SHORTEST_S = 1.0
"""Less is no message: somebody has hung up."""


class _Phase(Enum):
    GREETED = "the tone"
    SPEAKS = "he speaks"
    KEEPS = "it is being kept"
    OVER = "he hears whether it was kept"


class Leaving(Talk):
    """One message on its way. What was said before the line broke is kept as well."""

    def __init__(self, desk: Desk, call: CallId, owner: str, ticket: int, longest_s: int) -> None:
        super().__init__(desk, call)
        self._owner = owner
        self._ticket = ticket
        self._longest_s = longest_s
        self._phase = _Phase.GREETED
        self._recording: Recording | None = None
        self._has_ended = False

    def begin(self, now: float) -> None:
        """Talk"""
        self._desk.answer(self.call, f"{self._owner}: speak after the tone", now)

    def on_answered(self, now: float) -> None:
        """Talk"""
        self._greet(now)

    def on_due(self, now: float) -> None:
        """Talk"""
        match self._phase:
            case _Phase.GREETED:
                self._phase = _Phase.SPEAKS
                self._recording = Recording(self._longest_s)
                self._desk.record(self.call, self._recording)
                self._desk.wait(self.call, now + self._longest_s, "no message is longer")
            case _Phase.SPEAKS:
                self._keep(now)
            case _Phase.OVER:
                self._desk.hang_up(self.call, now)

    def on_digit(self, digit: str, now: float) -> None:
        """Talk"""
        if self._phase is _Phase.SPEAKS and digit == "#":
            self._keep(now)
        elif self._phase is _Phase.SPEAKS and digit == "*":
            self._greet(now)

    def on_answer(self, answer: object, now: float) -> None:
        """Talk"""
        is_kept = isinstance(answer, Kept)
        if not is_kept:
            why = answer.reason if isinstance(answer, NotKept) else "the overlay has not answered in time"
            self._desk.note("message not kept", why, owner=self._owner)
        if not self._has_ended:
            self._phase = _Phase.OVER
            self._play(is_done() if is_kept else is_impossible(), now, "he has heard whether it was kept")

    def on_ended(self, now: float) -> None:
        """Talk"""
        self._has_ended = True
        if self._phase in (_Phase.GREETED, _Phase.SPEAKS):
            self._keep(now)

    def _greet(self, now: float) -> None:
        self._phase, self._recording = _Phase.GREETED, None
        self._desk.record(self.call, None)
        self._play(speak_now(), now, "the tone is over")

    def _keep(self, now: float) -> None:
        recording, self._phase = self._recording, _Phase.KEEPS
        self._desk.record(self.call, None)
        if recording is None or recording.duration_s < SHORTEST_S:
            self._desk.ask(self, DropMessage(self._ticket), now)
        else:
            self._desk.ask(self, KeepMessage(self._ticket, recording.data), now)
