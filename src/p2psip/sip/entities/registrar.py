"""The registrar (RFC 3261 section 10.3, with the flows of RFC 5626).

Where a phone is, is what its REGISTER came from: the connection, or the address and port of the datagram. The
Contact is what the Request-URI will be; the two differ behind NATs and with phones that do not know their address.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.sip.entities.bindings import Binding, Bindings
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.message import grammar
from p2psip.sip.message.build import make_response
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.address import as_numeric
from p2psip.sip.transports.hops import FlowHop, Hop, Source, StreamHop, StreamTransport, UdpHop


@dataclass(frozen=True, slots=True)
class Registration:
    """What to answer to a REGISTER, and whether the bindings of its user have changed."""

    response: Response
    has_changed: bool


class Registrar:
    """Takes the REGISTERs of phones that have proved to be `user`."""

    def __init__(self, config: ServerConfig, bindings: Bindings) -> None:
        self._config = config
        self._bindings = bindings

    def register(self, request: Request, source: Source, user: str, to_tag: str, now: float) -> Registration:
        """Steps 6 to 8 of section 10.3; all of the request takes effect or nothing."""
        old = self._bindings.of(user, now)
        if request.has_star_contact:
            changed = self._remove_all(request, old)
        else:
            updates = [self._read_contact(request, contact, source, now) for contact in request.contacts]
            if any(0 < update.expires_at - now < self._config.expires_min_s for update in updates):
                # Step 7: "the registrar MAY reject the registration with a response of 423 (Interval Too Brief).
                # This response MUST contain a Min-Expires header field".
                extra = [("Min-Expires", self._config.expires_min_s)]
                return Registration(make_response(request, 423, to_tag=to_tag, extra=extra), False)
            changed = _merge(old, updates, now)
        if changed is None:
            return Registration(make_response(request, 500, "CSeq out of order", to_tag=to_tag), False)
        self._bindings.store(user, changed)
        return Registration(
            self._accept(request, user, to_tag, now), bool(request.contacts) or request.has_star_contact
        )

    def _remove_all(self, request: Request, old: tuple[Binding, ...]) -> tuple[Binding, ...] | None:
        # Step 6: "If the request has additional Contact fields or an expiration time other than zero, the request is
        # invalid, and the server MUST return a 400".
        if request.contacts or request.expires != 0 or len(request.fields.lines("contact")) > 1:
            raise BadMessage("Contact * must stand alone, with Expires: 0")
        kept = tuple(binding for binding in old if _is_out_of_order(binding, request))
        return None if kept else ()

    def _read_contact(self, request: Request, contact: NameAddr, source: Source, now: float) -> Binding:
        uri = contact.sip_uri
        return Binding(
            uri,
            _hops(request, uri, source),
            request.call_id,
            request.cseq.number,
            now,
            now + self._expires_s(request, contact),
            _q(contact),
            _instance(contact),
            (request.fields.first("user-agent") or "")[:128],
        )

    def _expires_s(self, request: Request, contact: NameAddr) -> int:
        """Step 7: the contact's expires, else the Expires header, else our default; at most what we allow."""
        wanted = request.expires
        text = contact.param("expires")
        if text and text.isdecimal() and text.isascii():
            wanted = int(text[:10])
        if wanted is None:
            wanted = self._config.expires_default_s
        return min(wanted, self._config.expires_max_s)

    def _accept(self, request: Request, user: str, to_tag: str, now: float) -> Response:
        # Step 8: "The response MUST contain Contact header field values enumerating all current bindings."
        extra: list[tuple[str, object]] = []
        for binding in self._bindings.of(user, now):
            expires_s = str(max(1, round(binding.expires_at - now)))
            extra.append(("Contact", NameAddr(binding.contact, "", (("expires", expires_s),))))
        # RFC 5626 section 6: a flow was registered as the phone asked.
        if any(contact.param("reg-id") for contact in request.contacts) and (
            "outbound" in request.fields.tokens("supported")
        ):
            extra.append(("Require", "outbound"))
        return make_response(request, 200, to_tag=to_tag, extra=extra)


def _merge(old: tuple[Binding, ...], updates: list[Binding], now: float) -> tuple[Binding, ...] | None:
    """`old` with `updates` in their places; None if one of them comes out of order."""
    bindings = list(old)
    for update in updates:
        for binding in old:
            if binding.is_same_phone(update) and (binding.call_id == update.call_id and update.cseq <= binding.cseq):
                return None
        bindings = [one for one in bindings if not _takes_place(update, one, updates)]
        if update.expires_at > now:
            bindings.append(update)
    return tuple(bindings)


def _takes_place(update: Binding, old: Binding, updates: list[Binding]) -> bool:
    # A phone that restarts often comes back with another Contact from the same socket: the old one is a ghost.
    return update.is_same_phone(old) or (old.hops[:1] == update.hops[:1] and all(old is not one for one in updates))


def _is_out_of_order(binding: Binding, request: Request) -> bool:
    return binding.call_id == request.call_id and request.cseq.number <= binding.cseq


def _hops(request: Request, contact: SipUri, source: Source) -> tuple[Hop, ...]:
    """The ways to a phone, best first."""
    is_direct = as_numeric(contact.host) == source.remote.host
    listening = Address(source.remote.host, contact.port or (5061 if source.transport == "TLS" else 5060))
    if isinstance(source.hop, FlowHop):
        stream: StreamTransport = "TLS" if source.transport == "TLS" else "TCP"
        return (source.hop, StreamHop(stream, listening)) if is_direct else (source.hop,)
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
    instance = grammar.unquote(contact.param("+sip.instance") or "")
    return f"{instance};{contact.param('reg-id') or ''}" if instance else ""
