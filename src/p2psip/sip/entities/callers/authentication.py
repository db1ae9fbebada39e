"""The authentication service: what goes to another peer says who calls, signed by the line (RFC 8224 section 6.1).

Theory of operation. The peer beside a phone knows its line by the phone's password, and has the line's key. What the
phone sends outside of a dialog to somebody at another peer gets the date and an Identity: who (P-Asserted-Identity),
whom (To, and whoever that is by now: the dial plan may have put another in the Request-URI), and when. Where both stand
in the request itself the token goes in compact form. What comes from another peer and is forwarded here keeps its
Identity, and gets a second one by which the line that forwards says so (RFC 8946). Who wishes not to be known signs
nothing (docs/decisions/who-calls.md).
"""

from __future__ import annotations

from email.utils import formatdate

from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.caller import Caller
from p2psip.sip.entities.callers.identity_field import IdentityField, integrity, media_keys, party_of, type_of
from p2psip.sip.entities.callers.passport import DIV, Claims, Party, Passport
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.questions import SignClaims, Signed
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri


class Authentication:
    """Says what is to be signed, and puts what was signed into the request."""

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._wall = WallClock(0.0, is_trusted=False)

    def use_date(self, wall: WallClock) -> None:
        """What the date is. RFC 8224 6.1 step 3: without one that is right nothing may be signed."""
        self._wall = wall

    def question(
        self, request: Request, came: Request, caller: Caller | None, uri: SipUri, peer: str, now: float
    ) -> SignClaims | None:
        """What is to be signed of a request in the overlay's terms that goes to `peer`, for `uri`; None: nothing.

        `caller` is None if the request is of a phone or an agent here; `came` is the request as it was then.
        """
        if not self._wall.is_trusted or not request.begins:
            return None
        iat = int(self._wall.date(now))
        try:
            if caller is not None:
                return self._diverted(came, caller, party_of(uri), peer, iat)
            # Who has proved it here: what anybody writes into From proves nothing.
            user = identity.asserted(request, self._realm)
            if not user:
                return None
            dest = frozenset({party_of(request.to.uri), party_of(uri)})
            claims = Claims(self._orig(user), dest, iat, media_keys(request), msgi=integrity(request))
            return SignClaims(user, claims, type_of(request), peer)
        except BadMessage:
            # A To without a user, say: there is nothing that could be asserted of it.
            return None

    def signed(self, request: Request, signed: Signed) -> Request:
        """The request with what was signed."""
        question, claims = signed.asked, signed.asked.claims
        is_compact = question.ppt != DIV and claims == self._told(request, claims)
        head = (signed.alg, signed.info, question.ppt)
        token = None if is_compact else Passport(*head, claims, signed.signing_input, signed.signature)
        value = IdentityField(signed.info, signed.alg, question.ppt, signed.signature, token, signed.certificate)
        fields = request.fields
        if question.ppt != DIV:
            # Section 6.1 step 3: "MUST ensure that any preexisting Date header field in the request is accurate". A
            # phone's clock is often wrong, and no reason to refuse its call.
            fields = fields.with_only("Date", formatdate(claims.iat, usegmt=True))
        return request.replace(fields=fields.with_last("Identity", value))

    def _diverted(self, came: Request, caller: Caller, dest: Party, peer: str, iat: int) -> SignClaims | None:
        """Who forwards the call of somebody else says to whom, if nobody has said so yet."""
        if came.method != "INVITE" or not caller.user or dest in caller.parties:
            return None
        orig = self._orig(caller.user)
        claims = Claims(orig, frozenset({dest}), iat, (), party_of(came.sip_uri))
        return SignClaims(came.sip_uri.user_name, claims, DIV, peer)

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
