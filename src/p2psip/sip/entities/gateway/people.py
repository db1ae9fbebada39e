"""Who calls, and who is called, in the words of each side (RFC 3261 section 8.1.1.3, RFC 3325)."""

from __future__ import annotations

from typing import NamedTuple

from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.gateway.terms import TrunkTerms, is_number
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri, escape_user


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
    """Which number of ours is called: that in the Request-URI, or where that is only our account, that in To."""
    said = [request.sip_uri.user_name]
    said += [value.uri.user_name for value in _called_party(request) if isinstance(value.uri, SipUri)]
    said += [request.to.uri.user_name] if isinstance(request.to.uri, SipUri) else []
    return next((number for number in said if number in terms.numbers), next((n for n in said if n != terms.user), ""))


def shown_to_us(request: Request, terms: TrunkTerms, realm: str) -> NameAddr:
    """The From of a call that comes in: a number that can be dialled back, and nobody's name.

    Whoever calls from outside may write anything into it, a member's name too; only what is a number is believed to be
    one, and the parameter says that it came by a trunk.
    """
    uri = request.from_.uri
    number = uri.user_name if isinstance(uri, SipUri) else ""
    by = ((OUTSIDE, terms.name),)
    if identity.is_nameless(request) or not is_number(number):
        return NameAddr(identity.ANONYMOUS.sip_uri.replace(params=by), identity.ANONYMOUS.display_name)
    return NameAddr(SipUri(realm, escape_user(terms.caller_prefix + number), None, by), request.from_.display_name)


def _called_party(request: Request) -> list[NameAddr]:
    return [NameAddr.parse(value, "P-Called-Party-ID") for value in request.fields.values("p-called-party-id")]
