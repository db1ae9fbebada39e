"""Who calls rooms for the phones of a peer, and calls again where a mixer is lost.

Theory of operation. A phone that dials a room talks with this agent, beside it, and the agent with the mixer: two calls
that hear each other (media/bridge.py). So the phone keeps its one call whatever becomes of mixers. A mixer is always
heard, also where nobody speaks: if nothing has come of it for two seconds, or its call has ended, the agent calls the
room anew, and the overlay is asked once more where that is mixed. Meanwhile the phone hears a beep now and then.
A mixer that stops says so, and the next one is called at once.

    phone --call-- agent --call--> mixer            phone --call-- agent --call--> another mixer
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.errors import LocalMisuse
from p2psip.media.engine import MediaEngine, Performance
from p2psip.media.sounds import waiting
from p2psip.sip.entities.agents.types import (
    AnsweredWithin,
    AskedWithin,
    CallEnded,
    CallEstablished,
    CallId,
    EndedBy,
    Ending,
    IncomingCall,
    MediaChanged,
)
from p2psip.sip.entities.agents.voice_agent import VoiceAgent
from p2psip.sip.entities.conference.by_room import CALLER
from p2psip.sip.entities.conference.room_terms import CLOSED, LEAVES, ROOM_PARAM, WHO_PARAM, Close, is_leaving
from p2psip.sip.entities.conference.roster import METHOD, read_roster, shown_name
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import ASSERTED
from p2psip.sip.events.conference_package import RoomPeople
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, escape_user

PHONES_MAX = 64
CALL_S_MAX = 12 * 3600.0

TRY_S = 3.0
"""So long a mixer has to answer, until another one is called."""

TRIES_MAX = 3
"""So many are called for a phone that still rings."""

WATCH_S = 0.5
SILENT_MAX = 4
"""How often it is looked whether anything comes of a mixer, and how often nothing may have come in a row."""

AGAIN_S = 1.0
"""How long after a mixer that could not be reached the next is called."""

GIVE_UP_MAX = 60
"""So often, until the phones that have waited are told that it is over."""

STABLE_S = 5.0
"""A mixer that ends a call sooner has failed: it is not called at once again, for ever."""

ASK_S = 30.0
"""A phone of which nothing is heard for so long is asked whether it still knows the call."""

FULL = 486
GONE = frozenset({408, 430, 480, 481})
"""What says that a phone does not know the call any more, or is not there."""


@dataclass(frozen=True, slots=True)
class RoomLeft(Effect):
    """A call to the mixer of a room is over. It is the mixer's fault if it was not that one which has ended it."""

    room: str
    attempt: str
    is_fault: bool
    stops: bool
    """True if the mixer has said that it stops."""


@dataclass(frozen=True, slots=True)
class RoomSeen:
    """A room that phones of this peer are in: the names of those, and of all that are in, as the mixer says."""

    room: str
    here: tuple[str, ...]
    people: tuple[str, ...]
    attempt: str
    """That by which one of them has come to the mixer; "" while there is none."""


@dataclass(frozen=True, slots=True)
class RoomHeard(Effect):
    """Who is in a room has changed, as far as its mixer says; without anybody here no phone of this peer is in."""

    room: str
    people: RoomPeople


@dataclass(slots=True)
class _Guest:
    """A phone that is in a room, or wants to be."""

    room: str
    who: str
    line: str
    is_answered: bool = False
    calls: CallId | None = None
    """The call to the mixer."""
    attempt: str = ""
    is_in: bool = False
    since: float = 0.0
    """When it came in."""
    is_held: bool = False
    """True while the phone has the room on hold: what it plays meanwhile is not for the others."""
    heard: int = 0
    silent: int = 0
    phone_heard: int = 0
    phone_silent: int = 0
    tries: int = 0
    people: tuple[str, ...] = ()


class RoomCaller(VoiceAgent):
    """An `AgentCore`. Nobody but resolvers leads to it."""

    name = CALLER

    def __init__(self, config: ServerConfig, rng: random.Random) -> None:
        self._realm = config.realm
        self._guests: dict[CallId, _Guest] = {}
        """By the calls of their phones."""
        self._phones: dict[CallId, CallId] = {}
        """By the call to a mixer the call of the phone."""
        self._heard: dict[str, RoomPeople] = {}
        """What was told last of each room."""
        self._is_closed = False
        self._attempts = itertools.count(1)
        contact, performance = SipUri(config.realm, CALLER), Performance(bridges=True)
        self._bridges = MediaEngine(performance, rng)
        super().__init__(
            contact,
            performance,
            rng,
            calls_max=2 * PHONES_MAX,
            call_s_max=CALL_S_MAX,
            passes=(METHOD,),
            is_focus=True,
            media=self._bridges,
        )

    @property
    def seen(self) -> list[RoomSeen]:
        """The rooms that phones of this peer are in."""
        rooms: dict[str, list[_Guest]] = {}
        for guest in self._guests.values():
            rooms.setdefault(guest.room, []).append(guest)
        return [
            RoomSeen(
                room,
                tuple(guest.who for guest in guests),
                max((guest.people for guest in guests), key=len),
                next((guest.attempt for guest in guests if guest.is_in), ""),
            )
            for room, guests in sorted(rooms.items())
        ]

    def handle_order(self, order: object, now: float) -> None:
        """agent_table.OrderedAgent"""
        assert isinstance(order, Close), f"who calls rooms cannot {order}"
        self._is_closed = True
        for phone in list(self._guests):
            self._agent.hang_up(phone, now, LEAVES)
        self._run(now)

    def _on_effect(self, effect: Effect, now: float) -> None:
        match effect:
            case IncomingCall(call):
                self._sounds[call] = waiting()
        super()._on_effect(effect, now)
        match effect:
            case IncomingCall(call) if self._is_closed:
                self._agent.reject(call, CLOSED, now, LEAVES.text)
            case IncomingCall(call, caller, called, user):
                self._guests[call] = guest = _Guest(called.user_name, _name(caller), user.lower())
                self._call(call, guest, now)
            case CallEstablished(call) if call in self._phones:
                self._came_in(self._phones[call], now)
            case CallEstablished(call):
                self._guests[call].is_answered = True
                self._join(call)
                self._hear_of(self._guests[call].room)
            case MediaChanged(call, _, agreement) if call in self._guests:
                self._held(call, self._guests[call], is_held=not agreement.direction.sends)
            case AnsweredWithin(call, _, status) if status in GONE:
                self._agent.hang_up(call, now)
            case CallEnded(call, reason) if call in self._phones:
                self._went_out(self._phones.pop(call), reason, now)
            case CallEnded(call):
                self._gone(call, now)
            case AskedWithin(call, _, request):
                if (phone := self._phones.get(call)) is not None:
                    self._guests[phone].people = read_roster(request.body)
                    self._hear_of(self._guests[phone].room)
                self._agent.answer_within(effect, 200, now)

    def _call(self, phone: CallId, guest: _Guest, now: float) -> None:
        """Call the mixer, whoever that is now."""
        guest.attempt = str(next(self._attempts))
        params = ((ROOM_PARAM, guest.attempt), (WHO_PARAM, escape_user(guest.who)))
        try:
            guest.calls = self._agent.call(SipUri(self._realm, escape_user(guest.room), params=params), now)
        except LocalMisuse:
            # So many calls there are already.
            self._again(phone, guest, Ending(EndedBy.NOBODY, "too many calls to rooms at this peer"), now)
            return
        self._phones[guest.calls] = phone
        self._due.set(phone, now + TRY_S, "the mixer of a room does not answer")

    def _came_in(self, phone: CallId, now: float) -> None:
        guest = self._guests[phone]
        guest.is_in, guest.since, guest.heard, guest.silent = True, now, 0, 0
        self._due.set(phone, now + WATCH_S, "is the mixer of a room heard?")
        shown = NameAddr(SipUri(self._realm, escape_user(guest.room)), f"Room {guest.room}")
        self._agent.answer(phone, now, [(ASSERTED, shown)])
        self._join(phone)

    def _join(self, phone: CallId) -> None:
        guest = self._guests[phone]
        if guest.is_answered and guest.is_in and not guest.is_held and guest.calls is not None:
            self._bridges.join(phone, guest.calls)

    def _held(self, phone: CallId, guest: _Guest, *, is_held: bool) -> None:
        """The phone has put the room on hold, or has come back: many play music meanwhile."""
        guest.is_held = is_held
        if is_held:
            self._bridges.part(phone)
        else:
            self._join(phone)

    def _on_due(self, phone: CallId, now: float) -> None:
        if (guest := self._guests.get(phone)) is None:
            return
        if guest.calls is None:
            self._call(phone, guest, now)
        elif not guest.is_in:
            self._agent.hang_up(guest.calls, now)
        else:
            self._watch(phone, guest, guest.calls, now)

    def _watch(self, phone: CallId, guest: _Guest, mixer: CallId, now: float) -> None:
        """Whether something comes of the mixer, and of the phone, which may be silent and must answer then."""
        heard, said = self._bridges.heard(mixer), self._bridges.heard(phone)
        guest.silent, guest.heard = guest.silent + 1 if heard == guest.heard else 0, heard
        guest.phone_silent, guest.phone_heard = guest.phone_silent + 1 if said == guest.phone_heard else 0, said
        if guest.phone_silent * WATCH_S >= ASK_S:
            guest.phone_silent = 0
            self._agent.ask_within(phone, "OPTIONS", (), b"", None, now)
        if guest.silent < SILENT_MAX:
            self._due.set(phone, now + WATCH_S, "is the mixer of a room heard?")
        else:
            self._agent.hang_up(mixer, now)

    def _went_out(self, phone: CallId, ending: Ending, now: float) -> None:
        """The call to the mixer is over, or has come to nothing."""
        guest = self._guests[phone]
        was_in, guest.calls, guest.is_in, guest.people = guest.is_in, None, False, ()
        if ending.status == FULL:
            # Whoever is in stays in, and who is not has to wait: a room is not split.
            self._again(phone, guest, ending, now)
            return
        if was_stable := was_in and now >= guest.since + STABLE_S:
            guest.tries = 0
        is_fault = not was_stable or ending.by is not EndedBy.THEM
        self._effects.append(RoomLeft(guest.room, guest.attempt, is_fault, is_leaving(ending.reasons)))
        if guest.is_answered:
            self._bridges.wait(phone, waiting(), now)
        if was_stable:
            self._due.set(phone, now, "call the room anew")
        else:
            self._again(phone, guest, ending, now)

    def _again(self, phone: CallId, guest: _Guest, ending: Ending, now: float) -> None:
        """Call once more in a moment, or give it up."""
        guest.tries += 1
        if not guest.is_answered and (ending.status == FULL or guest.tries >= TRIES_MAX):
            status = FULL if ending.status == FULL else 480
            why = f"room {guest.room} is full" if status == FULL else f"room {guest.room}: {ending}"
            self._agent.reject(phone, status, now, why)
        elif guest.tries >= GIVE_UP_MAX:
            self._agent.hang_up(phone, now)
        else:
            self._due.set(phone, now + AGAIN_S, "call the room again")

    def _hear_of(self, room: str) -> None:
        """Who is in may be others now. While no mixer says so they are those of before, but for who is here."""
        guests = [guest for guest in self._guests.values() if guest.room == room and guest.is_answered]
        before = self._heard.pop(room, RoomPeople())
        people = RoomPeople()
        if guests:
            here = {guest.line: guest.who for guest in guests if guest.line}
            gone = [who for line, who in before.here.items() if line not in here]
            known = tuple(name for name in before.names if name not in gone)
            names = max((guest.people for guest in guests), key=len) or known
            people = RoomPeople((*names, *(who for who in here.values() if who not in names)), here)
            self._heard[room] = people
        if people != before:
            self._effects.append(RoomHeard(room, people))

    def _gone(self, phone: CallId, now: float) -> None:
        self._due.cancel(phone)
        guest = self._guests.pop(phone, None)
        if guest is not None and guest.calls is not None:
            del self._phones[guest.calls]
            self._agent.hang_up(guest.calls, now)
        if guest is not None:
            self._hear_of(guest.room)


def _name(caller: NameAddr) -> str:
    """What the others are shown of who is in."""
    return shown_name(caller.display_name or (caller.uri.user_name if isinstance(caller.uri, SipUri) else ""))
