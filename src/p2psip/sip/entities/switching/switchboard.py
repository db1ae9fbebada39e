"""The switchboard of a peer: answers a call at another phone than it rings at, and keeps calls that are parked.

Theory of operation. It is a party to two calls and has both hear each other (media/bridge.py): so neither phone needs
to know anything of it, where an INVITE with Replaces (RFC 3891) or a transfer would need both of them to.

Pick-up: who dials the code rings here. The switchboard asks to answer the call that is meant as well (`JoinCall`); when
that comes, it answers both.

Parking: who is transferred to a place is answered and waits, with a beep. Who dials the place gets him. If nobody does,
whoever has parked him is called, thrice; then he is told that it was in vain.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.errors import LocalMisuse
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.media.engine import Performance
from p2psip.media.sounds import waiting
from p2psip.sip.entities.agents.types import CallEnded, CallEstablished, CallId, IncomingCall
from p2psip.sip.entities.agents.voice_agent import VoiceAgent
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import ASSERTED
from p2psip.sip.entities.switching import leads
from p2psip.sip.entities.switching.leads import JoinCall, picked_up_target
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, escape_user

CALLS_MAX = 32
CALL_S_MAX = 4 * 3600.0
PICK_UP_S = 3.0
"""The call that is meant is beside us: it comes at once, or somebody else has it by now."""

PARKED_S = 60.0
"""How long somebody waits until who has parked him is called, and between two such calls."""

CALLED_BACK_MAX = 3


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
        self._due: Timers[CallId] = Timers()
        contact, performance = SipUri(config.realm, leads.SWITCHBOARD), Performance(bridges=True)
        super().__init__(contact, performance, rng, calls_max=CALLS_MAX, call_s_max=CALL_S_MAX)

    def is_meant(self, user: str) -> bool:
        """False: it is told what is wanted by whoever leads here."""
        return False

    def handle_timeout(self, now: float) -> None:
        """agents.VoiceAgent"""
        for call in self._due.pop_due(now):
            self._on_due(call, now)
        super().handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        """agents.VoiceAgent"""
        return earliest([super().next_deadline(), self._due.next_deadline()])

    def _on_effect(self, effect: Effect, now: float) -> None:
        super()._on_effect(effect, now)
        match effect:
            case IncomingCall(call, caller, called):
                self._begin(call, caller, called, now)
            case CallEstablished(call):
                self._established(call, now)
            case CallEnded(call):
                self._ended(call, now)

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
            self._media.join(call, partner)

    def _ended(self, call: CallId, now: float) -> None:
        self._due.cancel(call)
        self._picking_up.discard(call)
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
