"""The registrar (RFC 3261 section 10.3, with Path of RFC 3327 and the flows of RFC 5626).

Where a phone is, is what its REGISTER came from: the connection, or the address and port of the datagram. The
Contact is what the Request-URI will be; the two differ behind NATs and with phones that do not know their address.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.address import Address, without_zone
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.own import is_own_domain, server_name
from p2psip.sip.entities.proxy.routing import NotForwarded
from p2psip.sip.entities.registrar.bindings import Binding, Bindings
from p2psip.sip.message import grammar, limits
from p2psip.sip.message.build import make_response
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri, Uri
from p2psip.sip.transports.hops import DEFAULT_PORTS, FlowHop, Hop, Source, StreamHop, UdpHop, hop_back
from p2psip.sip.transports.own_addresses import as_numeric

EXTENSIONS = ("path", "outbound")
"""What a REGISTER may require (RFC 3327, RFC 5626). No phone is given a GRUU, so "gruu" is not among them."""

FLOW_TIMER_S = 120
"""RFC 5626 section 4.4.1 has keep-alives over connections every 95 to 120 s."""

PATH_MAX = 16
"""Proxies between a phone and us."""

INSTANCE_CHARACTERS = 256
"""What is kept of a `+sip.instance`; a UUID as a URN has 47."""


@dataclass(frozen=True, slots=True)
class RegisterOutcome:
    """What to answer to a REGISTER, and whether the bindings of its user have changed."""

    response: Response
    has_changed: bool
    watched: int | None = None
    """The connection on which the phone was told to send keep-alives, each within FLOW_TIMER_S."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One Contact of a REGISTER: the binding it asks for, and for how long; 0 removes it."""

    binding: Binding
    expires_s: int

    @property
    def rank(self) -> tuple[object, ...]:
        """Sorts what is kept longest first; the rest only makes the order that of nobody's choice."""
        return (-self.expires_s, self.binding.rank)


class Registrar:
    """Takes the REGISTERs of phones that have proved to be `user`.

    The Contacts of one request do not act on each other, and their order does not matter: each is compared with the
    bindings that were there before. Where two of them mean the same binding, the one that asks for longer counts.
    """

    def __init__(self, config: ServerConfig, bindings: Bindings) -> None:
        self._config = config
        self._bindings = bindings

    def register(self, request: Request, source: Source, user: str, to_tag: str, now: float) -> RegisterOutcome:
        """Steps 6 to 8 of section 10.3; all of the request takes effect or nothing."""
        rejection = None if request.has_star_contact else (_unfit(request) or self._misleading(request))
        if rejection is not None:
            response = make_response(request, rejection.status, rejection.phrase, to_tag=to_tag, extra=rejection.extra)
            return RegisterOutcome(response, False)
        old = self._bindings.of(user, now)
        if request.has_star_contact:
            changed = self._remove_all(request, old)
        else:
            wanted = [self._read(request, contact, source, now) for contact in _sip_contacts(request)]
            if any(0 < one.expires_s < self._config.expires_min_s for one in wanted):
                # Step 7: "the registrar MAY reject the registration with a response of 423 (Interval Too Brief).
                # This response MUST contain a Min-Expires header field".
                extra = [("Min-Expires", self._config.expires_min_s)]
                return RegisterOutcome(make_response(request, 423, to_tag=to_tag, extra=extra), False)
            _check_flows(wanted)
            changed = _merge(old, wanted)
        if changed is None:
            return RegisterOutcome(make_response(request, 500, "CSeq out of order", to_tag=to_tag), False)
        self._bindings.store(user, changed)
        has_changed = bool(request.contacts) or request.has_star_contact
        return self._accept(request, source, user, to_tag, has_changed, now)

    def _misleading(self, request: Request) -> NotForwarded | None:
        """What RFC 5627 section 5.1 refuses of an instance: a Contact that is no SIP URI, or leads back to its user."""
        for contact in request.contacts:
            if not _instance(contact) or not self._expires_s(request, contact):
                continue
            if not isinstance(contact.uri, SipUri):
                # "If the contact is not a SIP URI, the REGISTER request MUST be rejected with a 403."
                return NotForwarded(403, "A phone's Contact is a SIP URI")
            if is_own_domain(contact.uri, self._config) and _is_user_of(contact.uri, request.to.uri):
                # "If the contact URI is equivalent [...] to the AOR, the registrar MUST reject the request with a 403,
                # since this would cause a routing loop. If the contact URI is a GRUU for the AOR [...] for the same
                # reason."
                return NotForwarded(403, "The Contact is the user and not a phone")
        return None

    def _remove_all(self, request: Request, old: tuple[Binding, ...]) -> tuple[Binding, ...] | None:
        # Step 6: "If the request has additional Contact fields or an expiration time other than zero, the request is
        # invalid, and the server MUST return a 400".
        if request.contacts or request.expires != 0 or len(request.fields.lines("contact")) > 1:
            raise BadMessage("Contact * must stand alone, with Expires: 0")
        kept = tuple(binding for binding in old if _is_out_of_order(binding, request))
        return None if kept else ()

    def _read(self, request: Request, contact: NameAddr, source: Source, now: float) -> _Wanted:
        uri, reg_id = contact.sip_uri, _reg_id(request, contact)
        expires_s = self._expires_s(request, contact)
        lead = request.path[0].sip_uri if request.path else uri
        binding = Binding(
            uri,
            # RFC 5626 section 7: "the proxy MUST send the request over the same 'logical flow' saved with the binding".
            (source.hop,) if reg_id else hops_to(request, lead, source),
            request.call_id,
            request.cseq.number,
            now,
            now + expires_s,
            _q(contact),
            _instance(contact),
            (request.fields.first("user-agent") or "")[:128],
            reg_id,
            request.path,
            server_name((request.to.uri, request.uri), self._config),
        )
        return _Wanted(binding, expires_s)

    def _expires_s(self, request: Request, contact: NameAddr) -> int:
        """Step 7: the contact's expires, else the Expires header, else our default; at most what we allow."""
        wanted = _number(contact.param("expires"))
        if wanted is None:
            wanted = request.expires
        if wanted is None:
            wanted = self._config.expires_default_s
        return min(wanted, self._config.expires_max_s)

    def _accept(
        self, request: Request, source: Source, user: str, to_tag: str, has_changed: bool, now: float
    ) -> RegisterOutcome:
        # Step 8: "The response MUST contain Contact header field values enumerating all current bindings."
        contacts = [_as_contact(binding, now) for binding in self._bindings.of(user, now)]
        # RFC 3327 5.3: "The registrar copies the Path header field values into a Path header field in the successful
        # (200 class) REGISTER response."
        extra: list[tuple[str, object]] = [
            *(("Contact", contact) for contact in contacts),
            *(("Path", entry) for entry in request.path),
            ("Supported", ", ".join(EXTENSIONS)),
        ]
        watched: int | None = None
        if _supports(request, "outbound") and any(_reg_id(request, contact) for contact in request.contacts):
            # RFC 5626 section 6: "the registrar MUST include the outbound option-tag in a Require header field value".
            extra.append(("Require", "outbound"))
            if isinstance(source.hop, FlowHop) and not request.path and source.transport not in ("WS", "WSS"):
                # A web page can send no pings, and many know nothing of CRLF: it is we who ping them (RFC 7118 6).
                watched = source.hop.flow
                extra.append(("Flow-Timer", FLOW_TIMER_S))
        return RegisterOutcome(make_response(request, 200, to_tag=to_tag, extra=extra), has_changed, watched)


def _is_user_of(contact: SipUri, to: Uri) -> bool:
    return isinstance(to, SipUri) and contact.user_name.lower() == to.user_name.lower()


def _unfit(request: Request) -> NotForwarded | None:
    """What a registrar with Path and outbound refuses before it looks at the Contacts."""
    if request.path and not _supports(request, "path"):
        # RFC 3327 5.3: "The recommended policy is for the registrar to reject the request with a 420 "Bad Extension"
        # response indicating the Path extension."
        return NotForwarded(420, None, (("Unsupported", "path"),))
    if len(request.path) > PATH_MAX:
        raise BadMessage(f"more than {PATH_MAX} proxies in Path")
    for entry in request.path:
        if not isinstance(entry.uri, SipUri):
            raise BadMessage(f"{str(entry.uri)[:80]!r} in Path is not a SIP URI")
    if not _is_secure_throughout(request):
        # RFC 5630 5.2: "A registrar MUST accept a binding to a SIPS Contact header field only if all the appropriate
        # URIs are of the SIPS scheme [...]. This includes the Request-URI and the Contacts and all the Path header
        # fields"; else it "MUST reject the REGISTER with a 400 (Bad Request)".
        raise BadMessage("a sips: Contact is registered by sips: in the Request-URI and in Path")
    asks_for_flow = any(contact.param("reg-id") is not None for contact in request.contacts)
    if asks_for_flow and _supports(request, "outbound") and not _has_outbound_edge(request):
        # RFC 5626 section 6: "the registrar MUST respond to the REGISTER request with a 439 (First Hop Lacks Outbound
        # Support) response".
        return NotForwarded(439)
    return None


def _is_secure_throughout(request: Request) -> bool:
    """True unless some of it says "sips" and some does not; who registers "sip" alone has promised nothing."""
    contacts = [contact.uri for contact in request.contacts if isinstance(contact.uri, SipUri)]
    if all(uri.scheme == "sip" for uri in contacts):
        return True
    return all(uri.scheme == "sips" for uri in (*contacts, request.sip_uri, *(entry.sip_uri for entry in request.path)))


def _check_flows(wanted: list[_Wanted]) -> None:
    # RFC 5626 section 6: "if the Contact header field contains more than one header field value with a non-zero
    # expiration and any of these header field values contain a "reg-id" Contact header field parameter, the entire
    # registration SHOULD be rejected with a 400". The same one twice is one.
    kept = [one.binding for one in wanted if one.expires_s]
    if any(one.reg_id for one in kept) and not all(one.is_same(kept[0]) for one in kept):
        raise BadMessage("a Contact with reg-id must be the only one that is not removed")


def _supports(request: Request, extension: str) -> bool:
    named = [*request.fields.tokens("supported"), *request.fields.tokens("require")]
    return extension in (option.lower() for option in named)


def _has_outbound_edge(request: Request) -> bool:
    """True if the phone's first hop knows its flow: that are we, or it says so by `ob` (RFC 5626 section 6)."""
    # "If the Path header field is missing or it exists but the first URI does not have an "ob" URI parameter, then
    # outbound processing MUST NOT be applied". First from the phone: only that proxy may say `ob` (section 5.1).
    if len(request.vias) == 1:
        return True
    return bool(request.path) and request.path[-1].sip_uri.param("ob") is not None


def _sip_contacts(request: Request) -> list[NameAddr]:
    """The Contacts that can be kept: what is no SIP URI leads nowhere here, and does not spoil the others."""
    contacts = [contact for contact in request.contacts if isinstance(contact.uri, SipUri)]
    if request.contacts and not contacts:
        raise BadMessage(f"Contact {str(request.contacts[0].uri)[:80]!r} is not a SIP URI")
    return contacts


def _merge(old: tuple[Binding, ...], wanted: list[_Wanted]) -> tuple[Binding, ...] | None:
    """`old` with what is wanted in its place; None if some of it comes out of order."""
    touched = [one for one in old if any(one.is_same(new.binding) for new in wanted)]
    # Step 7: "If the value of the Call-ID is the same, [...] only if the CSeq is higher"; else "the request fails".
    if any(one.call_id == new.binding.call_id and new.binding.cseq <= one.cseq for one in touched for new in wanted):
        return None
    new: list[Binding] = []
    for one in sorted(wanted, key=lambda one: one.rank):
        if one.expires_s and not any(one.binding.is_same(other) for other in new):
            new.append(one.binding)
    return (*(one for one in old if one not in touched), *new)


def _as_contact(binding: Binding, now: float) -> NameAddr:
    """A binding as it stands in the 200: with its time left, and by what its phone knows it again."""
    params: list[tuple[str, str | None]] = [("expires", str(max(1, round(binding.expires_at - now))))]
    if binding.instance:
        params.append(("+sip.instance", grammar.quote(binding.instance)))
    if binding.reg_id:
        params.append(("reg-id", str(binding.reg_id)))
    return NameAddr(binding.contact, "", tuple(params))


def _is_out_of_order(binding: Binding, request: Request) -> bool:
    return binding.call_id == request.call_id and request.cseq.number <= binding.cseq


def hops_to(request: Request, contact: SipUri, source: Source) -> tuple[Hop, ...]:
    """The ways to a phone, or to the first proxy of its Path, best first; `contact` is how that calls itself."""
    is_direct = as_numeric(contact.host) == without_zone(source.remote.host)
    listening = Address(source.remote.host, contact.port or DEFAULT_PORTS[source.transport])
    if isinstance(source.hop, FlowHop):
        anew = hop_back(source.transport, listening) if is_direct else None
        return (source.hop,) if anew is None else (source.hop, anew)
    if not isinstance(source.hop, UdpHop):
        return (source.hop,)
    if is_direct and contact.transport == "TCP":
        return (StreamHop("TCP", listening),)
    # A phone without RFC 3581 may send from one port and listen on another.
    if is_direct and request.via.rport is None:
        return (UdpHop(listening, source.hop.local),)
    return (source.hop,)


def _q(contact: NameAddr) -> float:
    try:
        return min(1.0, max(0.0, float(contact.param("q") or "1")))
    except ValueError:
        return 1.0


def _instance(contact: NameAddr) -> str:
    return grammar.unquote(contact.param("+sip.instance") or "")[:INSTANCE_CHARACTERS]


def _reg_id(request: Request, contact: NameAddr) -> int:
    """Which flow a Contact registers; 0 for none, or one that is to be ignored (RFC 5626 section 6)."""
    # 11.2: from 1 to 2**31 - 1. "a reg-id but no instance-id is not valid."
    number = _number(contact.param("reg-id")) or 0
    is_valid = number < 1 << 31 and bool(_instance(contact)) and _has_outbound_edge(request)
    return number if is_valid else 0


def _number(text: str | None) -> int | None:
    """`1*DIGIT`, however long; what is beyond any bound of ours stays so."""
    if not text or not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0")
    return int(digits or "0") if len(digits) <= limits.INTEGER_DIGITS else 10**limits.INTEGER_DIGITS
