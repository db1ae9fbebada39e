"""The switchboard of a peer: answers a call at another phone than it rings at, and keeps calls that are parked.

Theory of operation. It is a party to two calls and has both hear each other (media/bridge.py): so neither phone needs
to know anything of it, where an INVITE with Replaces (RFC 3891) or a transfer would need both of them to.

Pick-up: who dials the code rings here. The switchboard asks to answer the call that is meant as well (`JoinCall`); when
that comes, it answers both.

Transfer: of two who are joined each may have the other call somebody else (REFER, RFC 3515), as it would if they talked
without it: that request, and what becomes of it (NOTIFY), passes from one call to the other.

Parking: who is transferred to a place is answered and waits, with a beep. Who dials the place gets him. If nobody does,
whoever has parked him is called, thrice; then he is told that it was in vain.
"""

from __future__ import annotations

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
    IncomingCall,
)
from p2psip.sip.entities.agents.voice_agent import VoiceAgent
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import ASSERTED
from p2psip.sip.entities.switching import leads
from p2psip.sip.entities.switching.leads import JoinCall, picked_up_target
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import Event, NameAddr
from p2psip.sip.message.uri import SipUri, escape_user

CALLS_MAX = 32
CALL_S_MAX = 4 * 3600.0
PICK_UP_S = 3.0
"""The call that is meant is beside us: it comes at once, or somebody else has it by now."""

PARKED_S = 60.0
"""How long somebody waits until who has parked him is called, and between two such calls."""

CALLED_BACK_MAX = 3

REFERS_MAX = 4
"""Of one call, by which it was tried to transfer it; of more the eldest are forgotten."""

_PASSED = {
    "REFER": {"refer-to": "Refer-To", "referred-by": "Referred-By"},
    "NOTIFY": {"subscription-state": "Subscription-State", "content-type": "Content-Type"},
}
"""What passes of a request within a call, and which fields of it."""


@dataclass(slots=True)
class _Parked:
    """Somebody who waits at a place; `by` has parked him, "" if nobody knows who."""

    call: CallId
    caller: NameAddr
    by: str
    calls_back: CallId | None = None
    times: int = 0


class Switchboard(VoiceAgent):
    """An `AgentCore`. Nobody but resolvers leads to it."""

    name = leads.SWITCHBOARD

    def __init__(self, config: ServerConfig, rng: random.Random) -> None:
        self._realm = config.realm
        self._partners: dict[CallId, CallId] = {}
        self._picking_up: set[CallId] = set()
        self._places: dict[str, _Parked] = {}
        self._refers: dict[CallId, dict[int, int]] = {}
        """Of who was sent a REFER: its number, and the number of the one that came from his partner."""
        contact, performance = SipUri(config.realm, leads.SWITCHBOARD), Performance(bridges=True)
        self._bridges = MediaEngine(performance, rng)
        super().__init__(
            contact,
            performance,
            rng,
            calls_max=CALLS_MAX,
            call_s_max=CALL_S_MAX,
            passes=tuple(_PASSED),
            media=self._bridges,
        )

    def _on_effect(self, effect: Effect, now: float) -> None:
        super()._on_effect(effect, now)
        match effect:
            case IncomingCall(call, caller, called):
                self._begin(call, caller, called, now)
            case CallEstablished(call):
                self._established(call, now)
            case CallEnded(call):
                self._ended(call, now)
            case AskedWithin():
                self._pass_on(effect, now)
            case AnsweredWithin(_, AskedWithin() as asked, status):
                self._agent.answer_within(asked, status, now)

    def _begin(self, call: CallId, caller: NameAddr, called: SipUri, now: float) -> None:
        number, slot = called.param(leads.CALL) or "", called.param(leads.SLOT) or ""
        match called.user_name:
            case leads.PICK_UP:
                self._picking_up.add(call)
                self._due.set(call, now + PICK_UP_S, "the call to pick up has not come")
                self._effects.append(JoinCall(int(number), picked_up_target(call, self._realm)))
            case leads.PICKED_UP:
                self._picked_up(int(number), call, caller, now)
            case leads.PARK:
                self._park(slot, _Parked(call, caller, called.replace(user=called.param(leads.BY)).user_name), now)
            case leads.RETRIEVE:
                self._retrieve(slot, call, now)
            case _:
                self._agent.reject(call, 404, now)

    # Pick-up

    def _picked_up(self, by: CallId, call: CallId, caller: NameAddr, now: float) -> None:
        if by not in self._picking_up:
            # Who wanted it has hung up a moment ago.
            self._agent.reject(call, 480, now)
            return
        self._picking_up.discard(by)
        self._due.cancel(by)
        self._join(by, call)
        self._agent.answer(call, now)
        self._agent.answer(by, now, self._shows(caller))

    # Transfer

    def _pass_on(self, asked: AskedWithin, now: float) -> None:
        request, partner = asked.request, self._partners.get(asked.call)
        fields: list[tuple[str, object]] = [
            (name, line) for key, name in _PASSED[request.method].items() for line in request.fields.lines(key)
        ]
        if request.method == "NOTIFY":
            event = self._event_for(asked)
            if event is None:
                self._agent.answer_within(asked, 489, now)
                return
            fields.append(("Event", event))
        number = None
        if partner is not None:
            number = self._agent.ask_within(partner, request.method, fields, request.body, asked, now)
        if partner is None or number is None:
            # Nobody is there who could: RFC 3515 2.4.2 has who is asked decline.
            self._agent.answer_within(asked, 603 if request.method == "REFER" else 481, now)
        elif request.method == "REFER":
            refers = self._refers.setdefault(partner, {})
            refers[number] = request.cseq.number
            if len(refers) > REFERS_MAX:
                del refers[next(iter(refers))]

    def _event_for(self, notified: AskedWithin) -> Event | None:
        """What the partner's phone is told that the news is of; None for anything but a transfer."""
        try:
            event = notified.request.event
        except BadMessage:
            return None
        if event is None or event.package != "refer":
            return None
        # RFC 3515 2.4.6: "id" is "the sequence number [...] of the REFER this NOTIFY is associated with".
        numbers = {str(ours): str(theirs) for ours, theirs in self._refers.get(notified.call, {}).items()}
        return Event("refer", numbers.get(event.id or ""))

    # Parking

    def _park(self, slot: str, parked: _Parked, now: float) -> None:
        if slot in self._places:
            self._agent.reject(parked.call, 486, now, f"somebody else is parked at {slot}")
            return
        self._places[slot] = parked
        self._sounds[parked.call] = waiting()
        self._due.set(parked.call, now + PARKED_S, "nobody has asked for who is parked")
        self._agent.answer(parked.call, now)

    def _retrieve(self, slot: str, call: CallId, now: float) -> None:
        parked = self._places.pop(slot, None)
        if parked is None:
            self._agent.reject(call, 404, now, f"nobody is parked at {slot}: to park a call, transfer it there")
            return
        if parked.calls_back is not None:
            self._agent.hang_up(parked.calls_back, now)
        self._join(parked.call, call)
        self._agent.answer(call, now, self._shows(parked.caller))

    def _on_due(self, call: CallId, now: float) -> None:
        if call in self._picking_up:
            self._agent.reject(call, 480, now, "somebody else has answered, or the caller has given up")
            return
        slot, parked = self._place_of(call)
        if parked is None:
            return
        parked.times += 1
        if parked.times > CALLED_BACK_MAX or not parked.by:
            self._agent.hang_up(call, now)
            return
        shown = f"parked at {slot}: {parked.caller.display_name or parked.caller.sip_uri.user_name}"
        try:
            parked.calls_back = self._agent.call(SipUri(self._realm, escape_user(parked.by)), now, shown)
        except LocalMisuse:
            # So many calls there are already: in a while, again.
            self._due.set(call, now + PARKED_S, "call who has parked")

    def _established(self, call: CallId, now: float) -> None:
        slot, parked = self._called_back(call)
        if parked is not None:
            del self._places[slot]
            self._join(parked.call, call)
        if (partner := self._partners.get(call)) is not None:
            self._bridges.join(call, partner)

    def _ended(self, call: CallId, now: float) -> None:
        self._due.cancel(call)
        self._picking_up.discard(call)
        self._refers.pop(call, None)
        if (partner := self._partners.pop(call, None)) is not None:
            self._partners.pop(partner, None)
            self._agent.hang_up(partner, now)
        slot, parked = self._place_of(call)
        if parked is not None:
            del self._places[slot]
            if parked.calls_back is not None:
                self._agent.hang_up(parked.calls_back, now)
        _, parked = self._called_back(call)
        if parked is not None:
            parked.calls_back = None
            self._due.set(parked.call, now + PARKED_S, "call who has parked once more")

    # Parts

    def _join(self, one: CallId, other: CallId) -> None:
        self._partners[one], self._partners[other] = other, one

    def _place_of(self, call: CallId) -> tuple[str, _Parked | None]:
        return next(((slot, parked) for slot, parked in self._places.items() if parked.call == call), ("", None))

    def _called_back(self, call: CallId) -> tuple[str, _Parked | None]:
        return next(((slot, parked) for slot, parked in self._places.items() if parked.calls_back == call), ("", None))

    def _shows(self, caller: NameAddr) -> list[tuple[str, object]]:
        """With whom one talks now, for the display."""
        return [(ASSERTED, NameAddr(caller.uri, caller.display_name))]
