"""Who calls, and who is called, in the words of each side (RFC 3261 section 8.1.1.3, RFC 3325)."""

from __future__ import annotations

from typing import NamedTuple

from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.gateway.terms import TrunkTerms, is_number
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri, TelUri, Uri, escape_user


def number_in(uri: Uri) -> str:
    """The number that a URI means, without visual separators; "" if it means none.

    A `tel:` URI (RFC 3966), or a SIP URI with such a number as its user part: what stands behind it, as where it was
    ported to (RFC 4694), is not dialled. Many leave out "user=phone", which would say so.
    """
    tel = uri.subscriber if isinstance(uri, SipUri) else uri
    digits = tel.digits if isinstance(tel, TelUri) else ""
    return digits if is_number(digits) else ""


class CallingOut(NamedTuple):
    """Who calls out: the line that pays, "" if it is not named, and whether it is of the overlay at all."""

    user: str
    is_member: bool
    display_name: str
    is_nameless: bool


def caller_of(request: Request, realm: str) -> CallingOut:
    """Who has forwarded a call to the trunk last is who calls it; else who has proved to be the caller.

    What comes from a trunk is no member's call, and goes out again only where a member has forwarded it.
    """
    forwarded = identity.diverted(request)
    user = forwarded[0] if forwarded else identity.asserted(request, realm)
    is_nameless = identity.is_nameless(request)
    uri = request.from_.uri
    is_from_outside = isinstance(uri, SipUri) and uri.param(OUTSIDE) is not None
    return CallingOut(user, bool(user) or not is_from_outside, request.from_.display_name, is_nameless)


OUTSIDE = "gw"
"""The parameter by which the From of a call that came by a trunk says which: its number is nobody's name here."""


def shown_to_trunk(
    terms: TrunkTerms, caller: CallingOut, target: SipUri
) -> tuple[NameAddr, NameAddr, list[tuple[str, object]]]:
    """From, To, and further fields, of a call that goes out.

    A provider wants its own customer in From; who wishes not to be named is told to it alone (RFC 3325 section 7).
    """
    number = terms.number_of(caller.user) if terms.shows_number else ""
    account = SipUri(terms.realm, escape_user(number or terms.user))
    if caller.is_nameless:
        fields: list[tuple[str, object]] = [("P-Preferred-Identity", NameAddr(account)), ("Privacy", "id")]
        return identity.ANONYMOUS, NameAddr(target), fields
    return NameAddr(account, caller.display_name or caller.user), NameAddr(target), []


def called_by_trunk(request: Request, terms: TrunkTerms) -> str:
    """Which number of ours is called: that in the Request-URI, or where that is only our account, that in To.

    Raises BadMessage where the Request-URI can be nobody's here (416).
    """
    first = request.uri if isinstance(request.uri, TelUri) else request.sip_uri
    uris = [first, *(value.uri for value in _named_in(request, "p-called-party-id")), request.to.uri]
    said = [number_in(uri) or (uri.user_name if isinstance(uri, SipUri) else "") for uri in uris]
    return next((number for number in said if number in terms.numbers), next((n for n in said if n != terms.user), ""))


def shown_to_us(request: Request, terms: TrunkTerms, realm: str) -> NameAddr:
    """The From of a call that comes in: a number that can be dialled back, and nobody's name.

    Whoever calls from outside may write anything into it, a member's name too; only what is a number is believed to be
    one, and the parameter says that it came by a trunk. Where From has none, it is what the trunk asserts (RFC 3325).
    """
    asserted = [number_in(value.uri) for value in _named_in(request, identity.ASSERTED)]
    number = next((each for each in [number_in(request.from_.uri), *asserted] if each), "")
    by = ((OUTSIDE, terms.name),)
    if identity.is_nameless(request) or not number:
        return NameAddr(identity.ANONYMOUS.sip_uri.replace(params=by), identity.ANONYMOUS.display_name)
    return NameAddr(SipUri(realm, escape_user(terms.caller_prefix + number), None, by), request.from_.display_name)


def called_outside(number: str, terms: TrunkTerms, realm: str) -> NameAddr:
    """Whom a call that has gone out is with, as those see him to whom it is transferred."""
    return NameAddr(SipUri(realm, escape_user(number), None, ((OUTSIDE, terms.name),)))


def _named_in(request: Request, key: str) -> list[NameAddr]:
    """Who is named in a field that nobody needs: what of it cannot be read is not there."""
    try:
        return [NameAddr.parse(value, key) for value in request.fields.values(key)]
    except BadMessage:
        return []
