"""The mixer of a peer: whoever is sent here hears all others in his room (an `AgentCore`).

Who calls are the agents of other peers, and of this one, for their phones (room_caller.py). They are told who is in,
each time that changes and now and then, which also shows whether they are still there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.media.engine import Performance
from p2psip.media.mixing.mixing_engine import MixingEngine
from p2psip.sip.entities.agents.types import AnsweredWithin, CallEnded, CallEstablished, CallId, IncomingCall
from p2psip.sip.entities.agents.voice_agent import VoiceAgent
from p2psip.sip.entities.conference.by_room import MIXER
from p2psip.sip.entities.conference.room_terms import CLOSED, LEAVES, WHO_PARAM, Close, RoomTerms
from p2psip.sip.entities.conference.roster import METHOD, ROSTER, shown_name, write_roster
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.message.uri import SipUri

CALL_S_MAX = 12 * 3600.0

SOON_S = 0.3
"""How long after somebody has come or gone all are told: several come at once."""

TOLD_S = 20.0
"""How often they are told anyway: who does not answer is gone."""

_NOBODY_THERE = frozenset({408, 430, 480, 481})


@dataclass(frozen=True, slots=True)
class RoomsChanged(Effect):
    """Somebody has come into a room in which nobody was, or the last one has left it."""


@dataclass(frozen=True, slots=True)
class Dissolve:
    """An order: those in this room are to go, as it is mixed by another peer."""

    room: str


class RoomMixer(VoiceAgent):
    """An `AgentCore`. Nobody but resolvers leads to it."""

    name = MIXER

    def __init__(self, config: ServerConfig, terms: RoomTerms, rng: random.Random) -> None:
        self.terms = terms
        self._rooms: dict[str, dict[CallId, str]] = {}
        """Who is in, by the calls."""
        self._is_closed = False
        self._news: Timers[str] = Timers()
        self._mixing = MixingEngine(rng)
        contact = SipUri(config.realm, MIXER)
        super().__init__(
            contact,
            Performance(),
            rng,
            calls_max=terms.participants,
            call_s_max=CALL_S_MAX,
            media=self._mixing,
        )

    @property
    def rooms(self) -> dict[str, tuple[str, ...]]:
        """Who is in which room."""
        return {room: tuple(people.values()) for room, people in self._rooms.items()}

    @property
    def taken(self) -> int:
        """How many are in, in all rooms."""
        return sum(len(people) for people in self._rooms.values())

    def handle_order(self, order: object, now: float) -> None:
        """agent_table.OrderedAgent"""
        match order:
            case Dissolve(room):
                for call in list(self._rooms.get(room, ())):
                    self._agent.hang_up(call, now)
            case Close():
                self._is_closed = True
                for call in [call for people in self._rooms.values() for call in people]:
                    self._agent.hang_up(call, now, LEAVES)
            case _:
                raise AssertionError(f"a mixer cannot {order}")
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """agents.VoiceAgent"""
        for room in self._news.pop_due(now):
            self._tell(room, now)
        super().handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        """agents.VoiceAgent"""
        return earliest([super().next_deadline(), self._news.next_deadline()])

    def _on_effect(self, effect: Effect, now: float) -> None:
        match effect:
            case IncomingCall(call, _, called):
                self._come(call, called, now)
            case CallEstablished(call):
                self._news.set(self._room_of(call), now + SOON_S, "say who is in a room")
            case AnsweredWithin(call, _, status) if status in _NOBODY_THERE:
                self._agent.hang_up(call, now)
            case CallEnded(call):
                self._go(call, now)
        super()._on_effect(effect, now)

    def _come(self, call: CallId, called: SipUri, now: float) -> None:
        if self._is_closed:
            self._agent.reject(call, CLOSED, now, LEAVES.text)
            return
        room, who = called.user_name, called.replace(user=called.param(WHO_PARAM)).user_name
        if room not in self._rooms:
            self._effects.append(RoomsChanged())
        self._rooms.setdefault(room, {})[call] = shown_name(who)
        self._mixing.seat(call, room)
        self._agent.answer(call, now)

    def _go(self, call: CallId, now: float) -> None:
        if not (room := self._room_of(call)):
            # It was refused, or given up before it rang.
            return
        del self._rooms[room][call]
        self._news.set(room, now + SOON_S, "say who is in a room")
        if not self._rooms[room]:
            del self._rooms[room]
            self._news.cancel(room)
            self._effects.append(RoomsChanged())

    def _tell(self, room: str, now: float) -> None:
        people = self._rooms.get(room, {})
        body, fields = write_roster(people.values()), [("Content-Type", ROSTER)]
        for call in list(people):
            self._agent.ask_within(call, METHOD, fields, body, room, now)
        if people:
            self._news.set(room, now + TOLD_S, "say who is in a room")

    def _room_of(self, call: CallId) -> str:
        return next((room for room, people in self._rooms.items() if call in people), "")
