"""The media of all calls of one user agent: a session for each, found by its local address."""

from __future__ import annotations

import random
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.timers import Deadline, earliest
from p2psip.media.bridge import BridgedSession
from p2psip.media.negotiation import Address, Agreement
from p2psip.media.recording.answering_session import AnsweringSession
from p2psip.media.session import EchoSession, MediaReport, MediaSession, SendRtp, ToneSession
from p2psip.media.sounds import Sound
from p2psip.media.tone import ToneGenerator


@dataclass(frozen=True, slots=True)
class Performance:
    """What a call's other side hears: itself if `echo`, else a tone, else nothing; in pairs if `bridges`.

    If it `answers`, its user says what is played and recorded, call by call.
    """

    tone_hz: float | None = None
    level_dbfs: float = -12.0
    echo: bool = False
    bridges: bool = False
    answers: bool = False


class CallMedia(Protocol):
    """The media of all calls of one user agent."""

    def start(
        self, call: Hashable, local: Address, agreement: Agreement, now: float, sound: Sound | None = None
    ) -> None:
        """A call is answered, and hears this in the place of the tone; or what was agreed before has changed."""

    def stop(self, call: Hashable) -> MediaReport | None:
        """A call has ended; None if it never had media."""

    def handle_datagram(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came; to an address without a call it is dropped."""

    def handle_timeout(self, now: float) -> None:
        """A deadline has come."""

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""

    def drain(self) -> list[SendRtp]:
        """What is to be sent."""


class MediaEngine:
    """Sans-I/O: datagrams that came to a media address in, `SendRtp` out, a report when a call ends."""

    def __init__(self, performance: Performance, rng: random.Random) -> None:
        self._performance = performance
        self._rng = rng
        self._sessions: dict[Hashable, MediaSession] = {}
        self._by_local: dict[Address, MediaSession] = {}
        self._locals: dict[Hashable, Address] = {}

    def start(
        self, call: Hashable, local: Address, agreement: Agreement, now: float, sound: Sound | None = None
    ) -> None:
        """A call is answered, and hears this in the place of the tone; or what was agreed before has changed."""
        if call in self._sessions:
            self._sessions[call].change(agreement, now)
            return
        session = self._session(local, agreement, now, sound)
        self._sessions[call] = self._by_local[local] = session
        self._locals[call] = local

    def join(self, one: Hashable, other: Hashable) -> None:
        """These two calls hear each other from now on, if both have been answered."""
        sessions = self._sessions.get(one), self._sessions.get(other)
        if isinstance(sessions[0], BridgedSession) and isinstance(sessions[1], BridgedSession):
            sessions[0].join(sessions[1])

    def answering(self, call: Hashable) -> AnsweringSession | None:
        """The session of a call that is up, where its user says what is played."""
        session = self._sessions.get(call)
        return session if isinstance(session, AnsweringSession) else None

    def part(self, call: Hashable) -> None:
        """This call and the one that it was joined with hear each other no more, and nothing else."""
        if isinstance(session := self._sessions.get(call), BridgedSession):
            session.part()

    def wait(self, call: Hashable, sound: Sound, now: float) -> None:
        """This call hears a sound until it is joined with another one."""
        if isinstance(session := self._sessions.get(call), BridgedSession):
            session.wait(sound, now)

    def stop(self, call: Hashable) -> MediaReport | None:
        """A call has ended; None if it never had media."""
        session = self._sessions.pop(call, None)
        if session is None:
            return None
        del self._by_local[self._locals.pop(call)]
        return session.finish()

    def heard(self, call: Hashable) -> int:
        """How many packets have come of a call so far."""
        return self._sessions[call].heard if call in self._sessions else 0

    def handle_datagram(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came; to an address without a call it is dropped."""
        session = self._by_local.get(local)
        if session is not None:
            session.handle_datagram(remote, data, now)

    def handle_timeout(self, now: float) -> None:
        """A deadline has come."""
        for session in self._sessions.values():
            session.handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest(session.next_deadline() for session in self._sessions.values())

    def drain(self) -> list[SendRtp]:
        """What is to be sent."""
        return [effect for session in self._sessions.values() for effect in session.drain()]

    def _session(self, local: Address, agreement: Agreement, now: float, sound: Sound | None) -> MediaSession:
        p = self._performance
        if p.echo:
            return EchoSession(local, agreement, self._rng)
        tone = sound or (None if p.tone_hz is None else ToneGenerator(p.tone_hz, p.level_dbfs))
        kind = AnsweringSession if p.answers else BridgedSession if p.bridges else ToneSession
        return kind(local, agreement, self._rng, now, tone=tone)
