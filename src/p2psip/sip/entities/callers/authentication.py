"""The authentication service: what goes to another peer says who calls, signed by the line (RFC 8224 section 6.1).

Theory of operation. The peer beside a phone knows its line by the phone's password, and has the line's key. What the
phone sends outside of a dialog to somebody at another peer gets the date and an Identity: who (P-Asserted-Identity),
whom (To, and whoever that is by now: the dial plan may have put another in the Request-URI), and when. Where both stand
in the request itself the token goes in compact form. What comes from another peer and is forwarded here keeps its
Identity, and gets a second one by which the line that forwards says so (RFC 8946). Who wishes not to be known signs
nothing (docs/decisions/who-calls.md).
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from email.utils import formatdate
from typing import NamedTuple

from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.caller import Caller
from p2psip.sip.entities.callers.identity_field import IdentityField, integrity, media_keys, party_of, type_of
from p2psip.sip.entities.callers.passport import DIV, Claims, Party, Passport
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.questions import SignClaims, Signed
from p2psip.sip.message.errors import BadMessage, readable
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri

_NOBODY = party_of(identity.ANONYMOUS.uri)


class Departing(NamedTuple):
    """A request in the overlay's terms that is about to go to another peer: `peer`, by its Node-ID in hex.

    `came` is the request as it was; `caller` is whom another peer has proved to call, None if it is of a phone or an
    agent here. So many had forwarded it before it came.
    """

    request: Request
    came: Request
    caller: Caller | None
    forwarded_before: int
    uri: SipUri
    """Whom it is for now."""
    peer: str


class Authentication:
    """Says what is to be signed, and puts what was signed into the request."""

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._wall = WallClock(0.0, is_trusted=False)

    def use_date(self, wall: WallClock) -> None:
        """What the date is. RFC 8224 6.1 step 3: without one that is right nothing may be signed."""
        self._wall = wall

    def question(self, sent: Departing, now: float) -> SignClaims | None:
        """What is to be signed of a request; None: nothing."""
        # Within a call nobody is asserted but who has taken another name (RFC 4916).
        is_of_somebody = sent.request.begins or identity.asserted(sent.request, self._realm)
        if not self._wall.is_trusted or not is_of_somebody:
            return None
        iat = int(self._wall.date(now))
        try:
            own = [] if sent.caller is not None else self._own(sent, iat)
            wanted = [*own, *self._forwards(sent, iat)]
        except BadMessage:
            # A To without a user, say: there is nothing that could be asserted of it.
            return None
        return replace(wanted[0], forwards=tuple(wanted[1:])) if wanted else None

    def signed(self, request: Request, signed: Signed) -> Request:
        """The request with what was signed."""
        fields = request.fields
        for one in (signed, *signed.forwards):
            question, claims = one.asked, one.asked.claims
            is_compact = question.ppt != DIV and claims == self._told(request, claims)
            head = (one.alg, one.info, question.ppt)
            token = None if is_compact else Passport(*head, claims, one.signing_input, one.signature)
            value = IdentityField(one.info, one.alg, question.ppt, one.signature, token, one.certificate)
            if question.ppt != DIV:
                # Section 6.1 step 3: "MUST ensure that any preexisting Date header field in the request is accurate". A
                # phone's clock is often wrong, and no reason to refuse its call.
                fields = fields.with_only("Date", formatdate(claims.iat, usegmt=True))
            fields = fields.with_last("Identity", value)
        return request.replace(fields=fields)

    def _own(self, sent: Departing, iat: int) -> list[SignClaims]:
        """Whose request it is says whom he means."""
        request = sent.request
        # Who has proved it here: what anybody writes into From proves nothing.
        user = identity.asserted(request, self._realm)
        if not user:
            return []
        # A group or the dial plan may have made somebody else of To, who has forwarded the call: he was meant as well.
        meant = [self._orig(user) for user in identity.diverted(request)[-1:]]
        dest = frozenset({party_of(request.to.uri), party_of(sent.uri), *meant})
        claims = Claims(self._orig(user), dest, iat, media_keys(request), msgi=integrity(request))
        return [SignClaims(user, claims, type_of(request), sent.peer)]

    def _forwards(self, sent: Departing, iat: int) -> list[SignClaims]:
        """Each who has forwarded the call here says to whom (RFC 8946), if nobody has said so yet: else a member could
        have others pay for his calls, and nobody could pass on a call that was made to him.
        """
        dest, caller = party_of(sent.uri), sent.caller
        if sent.request.method != "INVITE":
            return []
        forwarded = identity.diverted(sent.request)
        users = [*reversed(forwarded[: len(forwarded) - sent.forwarded_before])]
        if caller is not None and caller.user and dest not in caller.parties:
            came = sent.came.sip_uri.user_name
            users = users if users[:1] == [came] else [came, *users]
        orig = self._orig(caller.user) if caller is not None and caller.user else _caller_named(sent.request)
        parties = [*(self._orig(user) for user in users), dest]
        claims = [Claims(orig, frozenset({to}), iat, (), by) for by, to in itertools.pairwise(parties)]
        return [SignClaims(user, one, DIV, sent.peer) for user, one in zip(users, claims, strict=True)]

    def _told(self, request: Request, claims: Claims) -> Claims | None:
        """The claims that stand in the request itself: section 8, "the use of the full form of PASSporT [...] is
        RECOMMENDED" where the identity is not that of From.
        """
        try:
            orig, dest = party_of(request.from_.uri), frozenset({party_of(request.to.uri)})
        except BadMessage:
            return None
        return Claims(orig, dest, claims.iat, claims.mky, msgi=claims.msgi)

    def _orig(self, user: str) -> Party:
        return party_of(identity.line_uri(user, self._realm))


def _caller_named(request: Request) -> Party:
    """Who calls, as From says it: a token has one, also where nobody has proved it, or where he is not to be known."""
    return readable(lambda: party_of(request.from_.uri), _NOBODY)
