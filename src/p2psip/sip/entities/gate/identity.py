"""Who is calling and who has answered, as the other side is told (RFC 3323, RFC 3325).

Theory of operation. A phone says in many ways who it is, and nobody has checked any of them but its digest user name.
So the peer beside it takes off what the phone claims and says itself whose line it is: in P-Asserted-Identity, and in
From, which is what other phones show. Whoever wishes not to be known is told to nobody, not even to other peers.
A peer is believed whom it has proved to call (`callers`), and nothing else (docs/security.md).

All functions are pure; URIs have the overlay's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.message import grammar
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.grammar import split_list
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.uri import SipUri, Uri, escape_user
from p2psip.sip.transports.hops import LocalHop, Source

ASSERTED = "p-asserted-identity"
CLAIMS = (
    ASSERTED, "p-preferred-identity", "remote-party-id", "diversion", "cc-diversion", "history-info",
    "p-called-party-id", "p-served-user",
)  # fmt: skip
"""The fields that say who somebody is, or was on the way."""

_OF_THE_USER = ("subject", "call-info", "organization", "user-agent", "reply-to", "in-reply-to")
"""RFC 3323 section 5.3: what goes where a user wishes not to be known."""

_PROOF = "identity"
"""What a peer proves with who calls (RFC 8224); no phone has the key for it."""

ANONYMOUS = NameAddr(SipUri("anonymous.invalid", "anonymous"), "Anonymous")

NOT_PROVED = NameAddr(SipUri("anonymous.invalid", "not-verified"), "Not verified")
"""Who is shown where another peer says a name of the overlay and does not prove it."""

_GLOBAL_NUMBER = re.compile(r"\+[0-9]{1,15}")
_VERDICT = "verstat"
_PASSED = f"{_VERDICT}=TN-Validation-Passed"

_NAMELESS = frozenset({"id", "user", "header"})
"""With any of these the user's name is told to nobody."""

_PROVIDED = frozenset({"id", "user", "history", "none", "critical"})


def wishes(message: Message) -> frozenset[str]:
    """The priv-values of a message, in lower case (RFC 3323 section 4.2); some phones write commas between them."""
    lines = message.fields.lines("privacy")
    if not lines and "remote-party-id" not in message.fields:
        return frozenset()
    values = frozenset(value for line in lines for part in re.split("[;,]", line) if (value := part.strip().lower()))
    return values | {"id", "user"} if _hides_its_party(message) else values


def is_nameless(message: Message) -> bool:
    """True if who sends this does not wish to be named, or does not name itself."""
    own = message.from_ if isinstance(message, Request) else message.to
    return bool(wishes(message) & _NAMELESS) or _is_anonymous(own.uri)


def asserted(request: Request, realm: str) -> str:
    """The user of the overlay whom a request is of, as far as that has been proved; "" if nobody is to know."""
    return _first_of(request, realm)


def named(request: Request, realm: str) -> str:
    """The user of the overlay whom a request is said to be of, proved or not; "" if it names none.

    RFC 8224 section 8: "local policy might therefore dictate that the canonical identity derives from the
    P-Asserted-Identity header field rather than the From header field"; here, where there is one.
    """
    uri = request.from_.uri
    return _first_of(request, realm) or (uri.user_name if isinstance(uri, SipUri) and uri.host == realm else "")


def diverted(request: Request) -> tuple[str, ...]:
    """The users who have forwarded a request on its way here, the last one first (RFC 5806)."""
    values = request.fields.values("diversion")
    return tuple(uri.user_name for value in values if isinstance(uri := NameAddr.parse(value).uri, SipUri))


def without_proof(fields: Fields, *, is_agent: bool) -> Fields:
    """What goes to a phone or an agent, which has no means to look at a proof: it is told what has come of it.

    That somebody is asserted says it. Of a telephone number phones that know of RFC 8224 are told by `verstat` (3GPP TS
    24.229 section 7.2A.20, from memory), a parameter of the number and not of the URI.
    """
    fields = fields.without(_PROOF)
    asserted_ = fields.first(ASSERTED)
    value = None if asserted_ is None or is_agent else NameAddr.parse(asserted_)
    if value is None or not (isinstance(value.uri, SipUri) and _GLOBAL_NUMBER.fullmatch(value.uri.user_name)):
        return fields
    number = value.uri.replace(user=f"{value.uri.user};{_PASSED}", params=(*value.uri.params, ("user", "phone")))
    return fields.with_only("P-Asserted-Identity", NameAddr(number, value.display_name))


def with_name(request: Request, realm: str, name_of: Callable[[str], str]) -> Fields:
    """The fields of a request as a phone is to have them: who has proved to call is shown by the name that the
    directory has of him, and not by what his phone says. Who does not show himself is left as he is.
    """
    user, from_ = asserted(request, realm), request.from_
    is_shown = isinstance(from_.uri, SipUri) and from_.uri.host == realm and from_.uri.user_name == user
    name = name_of(user) if user and is_shown else ""
    if not name:
        return request.fields
    fields = request.fields.with_only("From", NameAddr(from_.uri, name, from_.params))
    return fields.with_only("P-Asserted-Identity", NameAddr(line_uri(user, realm), name))


def is_same(one: Uri, other: Uri) -> bool:
    """True if two URIs name the same, wherever he is, and however it is spelt."""
    if not (isinstance(one, SipUri) and isinstance(other, SipUri)):
        return one == other
    return (one.user_name.lower(), one.host) == (other.user_name.lower(), other.host)


def in_call(request: Request, caller: Caller, realm: str, *, is_of_peer: bool) -> Request:
    """A request within a call, in the overlay's terms: its sender is who he was before, or, if he has proved that,
    another user (RFC 4916).
    """
    known, from_ = caller.known_as, request.from_
    if known is None or is_same(from_.uri, known.uri):
        return request
    if not caller.user or not is_same(from_.uri, line_uri(caller.user, realm)):
        as_before = NameAddr(known.uri, known.display_name, from_.params)
        return request.replace(fields=request.fields.with_only("From", as_before))
    if is_of_peer:
        return request
    named = NameAddr(line_uri(caller.user, realm), from_.display_name)
    fields = request.fields.with_only("From", NameAddr(named.uri, named.display_name, from_.params))
    return request.replace(fields=fields.with_last("P-Asserted-Identity", named))


def line_uri(user: str, realm: str) -> SipUri:
    """The AoR of a user."""
    return SipUri(realm, escape_user(user))


def _first_of(request: Request, realm: str) -> str:
    for line in request.fields.lines(ASSERTED):
        for value in _addresses(line):
            if isinstance(value.uri, SipUri) and value.uri.host == realm:
                return value.uri.user_name
    return ""


def unmet_wishes(request: Request) -> list[str]:
    """The kinds of privacy without which a request must not go on, and that we cannot provide.

    RFC 3323 section 5: with "critical", a request whose privacy cannot be provided fails with 500.
    """
    wanted = wishes(request)
    return sorted(wanted - _PROVIDED) if "critical" in wanted else []


def requested(
    request: Request,
    source: Source,
    user: str | None,
    realm: str,
    *,
    is_private: bool = False,
    caller: Caller = UNKNOWN,
) -> Request:
    """A request with what is known of its sender; `user` is the line that a phone has proved to be, if it had to,
    `caller` whom another peer has proved to call.

    It is not named either if the dialog `is_private`, whatever this request says.
    """
    if isinstance(source.hop, LocalHop):
        return request
    if source.peer is not None:
        fields = _believed(request, realm, caller.user, caller.forwarders)
        return request.replace(fields=fields if caller.user or caller.forwarders else fields.without(_PROOF))
    wanted = wishes(request) | {"id"} if is_private else wishes(request)
    fields = request.fields.without(*CLAIMS, _PROOF)
    if "user" in wanted:
        # RFC 3323 section 5: who has done what a value asks for takes it off, so that nobody does it again.
        fields = _without_wish(fields, "user").without(*_OF_THE_USER)
    shown = _shown(request.from_, user, realm, wanted)
    if shown is not request.from_:
        fields = fields.with_only("From", shown)
    if user is not None and not wanted & _NAMELESS:
        display_name = "" if _is_anonymous(request.from_.uri) else request.from_.display_name
        fields = fields.with_last("P-Asserted-Identity", NameAddr(line_uri(user, realm), display_name))
    return request.replace(fields=fields)


def shown_from(from_: NameAddr, user: str, realm: str, *, is_ours: bool) -> NameAddr:
    """The From of a request of another peer as it is shown; `user` is whom that peer has proved to call, "" if nobody.

    `is_ours` says that its host means the overlay to phones here. A phone shows the display name, or else the user
    part, whatever the host is: where that is not proved, it says so.
    """
    uri = _without_verdict(from_.uri)
    if isinstance(uri, SipUri) and uri.host == realm and user and uri.user_name == user:
        return from_
    if is_ours:
        return NameAddr(NOT_PROVED.uri, NOT_PROVED.display_name, from_.params)
    if _is_nowhere(uri):
        return NameAddr(ANONYMOUS.uri, ANONYMOUS.display_name, from_.params)
    return NameAddr(uri, f"{NOT_PROVED.display_name}: {_plain(uri)}", from_.params)


def _without_verdict(uri: Uri) -> Uri:
    """What somebody says of himself, without what he says was verified of it."""
    if _VERDICT not in str(uri).lower():
        return uri
    if not isinstance(uri, SipUri) or uri.user is None:
        return NOT_PROVED.uri
    number = ";".join(part for part in uri.user.split(";") if _VERDICT not in part.lower())
    return uri.replace(user=number, params=tuple(param for param in uri.params if _VERDICT not in param[0].lower()))


def _plain(uri: Uri) -> str:
    """A URI as people write it; no more of it than there is room for."""
    return (f"{uri.user_name}@{uri.host}" if isinstance(uri, SipUri) and uri.user else str(uri))[:80]


def answered(response: Response, source: Source, user: str, realm: str) -> Response:
    """A response with what is known of who gave it; `user` is the line of a phone, or whom the record of a line has led
    to at another peer; "" where that is not known.
    """
    if isinstance(source.hop, LocalHop):
        return response
    if source.peer is not None:
        return response.replace(fields=_believed(response, realm, user))
    fields = response.fields.without(*CLAIMS)
    if user and 100 < response.status < 300 and not wishes(response) & _NAMELESS:
        fields = fields.with_last("P-Asserted-Identity", NameAddr(line_uri(user, realm)))
    return response.replace(fields=fields)


def _shown(from_: NameAddr, user: str | None, realm: str, wanted: frozenset[str]) -> NameAddr:
    """The From of a phone's request as others see it."""
    if wanted & _NAMELESS:
        # RFC 3325 section 7 keeps back by "id" what the network asserts. That is From as well, where we have put the
        # line; and a phone that shows a From is not helped by a P-Asserted-Identity that is not there.
        return NameAddr(ANONYMOUS.uri, ANONYMOUS.display_name, from_.params)
    names_itself = isinstance(from_.uri, SipUri) and user is not None and from_.uri.user_name.lower() == user.lower()
    if _is_anonymous(from_.uri) and not names_itself:
        return from_ if _is_nowhere(from_.uri) else NameAddr(ANONYMOUS.uri, from_.display_name, from_.params)
    # Within a dialog nobody has proved anything, and the tags say whose it is.
    if user is None:
        uri = _without_verdict(from_.uri)
        return from_ if uri is from_.uri else NameAddr(uri, from_.display_name, from_.params)
    return NameAddr(line_uri(user, realm), from_.display_name, from_.params)


def _believed(message: Message, realm: str, user: str, forwarders: tuple[str, ...] = ()) -> Fields:
    """The fields of a message from a peer, of all claims only those that are proved: that it is of `user`, if of
    anybody, and which users of this overlay have forwarded it, the latest first, who may have to pay for it.
    """
    fields = message.fields.without(*CLAIMS)
    said = _of_users(message, "diversion", realm)
    for forwarder in forwarders:
        # He has forwarded it whether the fields say so or not, and in whatever order.
        value = next((one for one in said if one.sip_uri.user_name == forwarder), NameAddr(line_uri(forwarder, realm)))
        fields = fields.with_last("Diversion", value)
    if not wishes(message) & _NAMELESS:
        for value in _of_users(message, ASSERTED, realm):
            if value.sip_uri.user_name == user:
                fields = fields.with_last("P-Asserted-Identity", value)
    return fields


def _of_users(message: Message, key: str, realm: str) -> list[NameAddr]:
    """The users of this overlay who are named in a field."""
    values = [value for line in message.fields.lines(key) for value in _addresses(line)]
    return [one for one in values if isinstance(one.uri, SipUri) and one.uri.host == realm and one.uri.user]


def _addresses(line: str) -> list[NameAddr]:
    try:
        return [NameAddr.parse(value) for value in split_list(line)]
    except BadMessage:
        return []


def _without_wish(fields: Fields, wish: str) -> Fields:
    lines = fields.lines("privacy")
    rest = [part.strip() for line in lines for part in re.split("[;,]", line) if part.strip().lower() != wish]
    # RFC 3323 section 5: with the last value, "critical" not counted, the whole header field goes.
    if all(part.lower() in ("", "critical") for part in rest):
        return fields.without("privacy")
    return fields.with_only("Privacy", ";".join(part for part in rest if part))


def _hides_its_party(message: Message) -> bool:
    """True for a Remote-Party-ID of its sender that asks for privacy.

    Older phones write that instead of Privacy, after draft-ietf-sip-privacy, which became RFC 3323 without it: "full",
    "uri" and "name", of which the last two are taken for the first.
    """
    own = "calling" if isinstance(message, Request) else "called"
    for line in message.fields.lines("remote-party-id"):
        for value in _addresses(line):
            party, privacy = (
                grammar.unquote(value.param(name) or default).lower()
                for name, default in (("party", own), ("privacy", "off"))
            )
            if party == own and privacy not in ("off", "none", "no"):
                return True
    return False


def _is_anonymous(uri: Uri) -> bool:
    """True for the URIs by which phones hide (RFC 3323 section 4.1.1.3); some put a host of their own after it."""
    return isinstance(uri, SipUri) and (_is_nowhere(uri) or uri.user_name.lower() == ANONYMOUS.sip_uri.user_name)


def _is_nowhere(uri: Uri) -> bool:
    """True for a host that can be nobody's (RFC 3261 section 8.1.1.3)."""
    return isinstance(uri, SipUri) and (uri.host == "invalid" or uri.host.endswith(".invalid"))
