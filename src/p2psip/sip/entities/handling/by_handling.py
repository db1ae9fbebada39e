"""Forwarding and screening of the calls to lines of this peer: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

import re
from urllib.parse import unquote

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import asserted
from p2psip.sip.entities.handling.call_handling import (
    ANONYMOUS,
    CallHandling,
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
from p2psip.sip.entities.handling.intercom import acts_unasked
from p2psip.sip.entities.handling.star_codes import SERVICES
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Again, Asked, Instead, Resolution, RingsNoMore, diversion
from p2psip.sip.entities.questions import NotLocated
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import is_marked
from p2psip.sip.message.uri import SipUri, escape_user

_CODE_TO_DIAL = re.compile(r"\b(?:sips?|tel):([*#][^@;?>\s]*)", re.IGNORECASE)

_SCREENED = frozenset({"INVITE", "MESSAGE", "REFER", "NOTIFY"})


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
        if (refusal := self._unasked(request, handling, user)) is not None:
            return refusal
        if handling.is_usual:
            return None
        status = None if asked.after is None else asked.after.status
        moment = self._moment(request, status, now)
        if request.method == "INVITE":
            return self._resolution(asked, decide(handling, user, moment))
        # Others do not ring: they are not forwarded, and come also when it is quiet.
        return self._resolution(asked, denied(handling, user, moment)) if status is None else None

    def refusal(self, request: Request, user: str, now: float) -> NotLocated | None:
        """What whoever begins something with a phone of this line is told that its owner does not want to hear of.

        That holds by whatever name the phone is called: who has talked with it once knows its own URI. Within a call as
        well nobody has it dial a code that changes what its line wants.
        """
        if request.method == "REFER" and self._has_codes_dialled(request):
            return NotLocated(403, phrase_of(403), f"what {user} wants of its calls is for {user} to dial")
        handling = self._handlings.of(user)
        if request.method not in _SCREENED or not request.begins or handling is None:
            return None
        refused = denied(handling, user, self._moment(request, None, now))
        if refused is not None:
            return NotLocated(refused.status, phrase_of(refused.status), refused.why)
        return self._unasked(request, handling, user)

    def _has_codes_dialled(self, request: Request) -> bool:
        """True for a transfer to a code that changes something. It is looked for in the text, as phones read more than
        has a form (RFC 3515 section 2.1).
        """
        codes = self._config.numbering.codes
        dialled = [code for line in request.fields.lines("refer-to") for code in _CODE_TO_DIAL.findall(unquote(line))]
        return any(found is not None and SERVICES[found[0]].changes for found in map(codes.read, dialled))

    def _moment(self, request: Request, status: int | None, now: float) -> CallMoment:
        caller = asserted(request, self._config.realm)
        return CallMoment(caller, self._handlings.minute(now), status, is_marked(request))

    def _unasked(self, request: Request, handling: CallHandling, user: str) -> NotLocated | None:
        caller = asserted(request, self._config.realm)
        if not acts_unasked(request) or handling.may_speak(caller):
            return None
        if request.method != "INVITE" and caller.lower() == user:
            # Who has phones may have one of them call, and learn from another.
            return None
        return NotLocated(403, phrase_of(403), f"{user} lets nobody speak unasked, or not {caller or ANONYMOUS}")

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
