"""Forwarding and screening of the calls to lines of this peer: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import asserted
from p2psip.sip.entities.handling.call_handling import (
    ANONYMOUS,
    CallMoment,
    Decision,
    Divert,
    Enough,
    RefuseCall,
    Ring,
    decide,
    denied,
)
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.handling.intercom import answers_by_itself
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Again, Asked, Instead, Resolution, RingsNoMore, diversion
from p2psip.sip.entities.questions import NotLocated
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.urgency import is_marked
from p2psip.sip.message.uri import SipUri, escape_user

_SCREENED = frozenset({"INVITE", "MESSAGE"})


class ByHandling:
    """What the owner of the line wants that is called."""

    name = "the line's forwarding and screening"

    def __init__(self, config: ServerConfig, handlings: Handlings) -> None:
        self._config = config
        self._handlings = handlings

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        request = asked.routed.request
        if request.method not in _SCREENED or not is_user(asked.uri, self._config):
            return None
        user = asked.uri.user_name.lower()
        handling = self._handlings.of(user)
        if handling is None:
            return None
        caller = asserted(request, self._config.realm)
        if answers_by_itself(request) and not handling.may_speak(caller):
            return NotLocated(403, phrase_of(403), f"{user} lets nobody speak unasked, or not {caller or ANONYMOUS}")
        if handling.is_usual:
            return None
        status = None if asked.after is None else asked.after.status
        moment = CallMoment(caller, self._handlings.minute(now), status, is_marked(request))
        if request.method == "INVITE":
            return self._resolution(asked, decide(handling, user, moment))
        # Messages do not ring: they are not forwarded, and come also when it is quiet.
        return self._resolution(asked, denied(handling, user, moment)) if status is None else None

    def _resolution(self, asked: Asked, decision: Decision | None) -> Resolution | None:
        match decision:
            case Divert(to, why, reason):
                return Instead(SipUri(self._config.realm, escape_user(to)), why, (diversion(asked.uri, reason),))
            case RefuseCall(status, why):
                return NotLocated(status, phrase_of(status), why)
            case Ring(for_s, why):
                return Again(float(for_s), why)
            case Enough(why):
                return RingsNoMore(why)
        return None
