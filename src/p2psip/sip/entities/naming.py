"""Names at the edge: what the overlay is called, there and here (docs/decisions/names-at-the-edge.md).

Theory of operation. Between peers a URI of the overlay has the overlay's name, `sip:bob@club.example`. A phone knows
no overlay; it knows a server, by whatever name or address was set in it. So what comes from a phone is put into the
overlay's terms, any of our names becoming the overlay's, and what goes to a phone is put into the terms of that phone:
it can dial whatever it is shown. A phone's Contact becomes a GRUU of this peer (RFC 5627, RFC 7904 section 6)
with a token in it, which leads back to that phone from everywhere: from a Refer-To, too.

RFC 3261 has a proxy leave From and To alone because elements of RFC 2543 match dialogs by them; today the tags do that
(section 12), and in responses everybody gets back what it sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from urllib.parse import quote, unquote

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.hosted import NAMING, outward
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.handling.star_codes import PARK, SLOT
from p2psip.sip.entities.own import PHONE_PARAM, ServerName, is_own_domain, is_own_gruu, server_name
from p2psip.sip.entities.proxy import routing
from p2psip.sip.entities.registrar.tokens import TokenPlace, Tokens
from p2psip.sip.entities.switching.leads import place_uri
from p2psip.sip.events.documents import renamed
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Field, Fields
from p2psip.sip.message.grammar import split_list
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import REMEMBERED_CHARACTERS, SipUri, Uri, parse_sip_uri
from p2psip.sip.transports.hops import Source
from p2psip.sip.transports.layer import TransportLayer
from p2psip.sip.transports.own_addresses import as_host

_ONE = frozenset({"from", "to", "refer-to", "referred-by", "reply-to"})
"""The fields in which users and phones are named with one value a line; the others may have a list."""

_OF_THE_EDGE = frozenset({"transport", "maddr"})
"""URI parameters that say how to reach this server from there; nowhere else do they mean anything."""

_BARE_WITH_HEADERS = re.compile(r"^(sips?:[^<>\"?\s]+\?[^<>\";?\s]+)", re.IGNORECASE)

Rename = Callable[[SipUri], SipUri]


class Naming:
    """Translates messages where they come from and go to phones."""

    def __init__(self, config: ServerConfig, tokens: Tokens, transport: TransportLayer) -> None:
        self._config = config
        # All messages of a call name the same few, and so do those of the next.
        self._known_to_phone = lru_cache(maxsize=1024)(self._value_to_phone)
        self._known_to_overlay = lru_cache(maxsize=1024)(self._value_to_overlay)
        self._known_contacts = lru_cache(maxsize=1024)(self._contact_to_overlay)
        self._tokens = tokens
        self._transport = transport

    # Who is there

    def sender(self, request: Request, source: Source, user: str | None) -> TokenPlace | None:
        """The phone or agent that a request comes from; None if it is a peer. `user` is who it has proved to be."""
        if source.peer is not None:
            return None
        known = routing.sender_token(request, source, self._config, self._tokens)
        if known is not None:
            return known._replace(hop=source.hop, contact=None)
        # It has said itself what it calls us.
        server = server_name((request.from_.uri, request.uri, request.to.uri), self._config)
        place = self.place(source, user or "", server)
        # Whoever begins something and has proved nothing is from outside: the door is open for that one.
        is_outside = user is None and not source.is_trusted and not request.to.tag
        is_private = identity.is_nameless(request)
        return place if place is None else place._replace(is_private=is_private, is_outside=is_outside)

    def place(self, side: Source, user: str, server: ServerName | None) -> TokenPlace | None:
        """The phone or agent at the other side; None if that is a peer. Without `server` it is told our address."""
        if side.peer is not None:
            return None
        if server is None:
            address = self._transport.advertised(side)
            server = ServerName(as_host(address.host), address.port)
        return TokenPlace(side.hop, side.remote.host, user, server)

    def meant(self, uri: SipUri) -> TokenPlace | None:
        """The phone of this peer whose Contact is `uri` in the overlay; None if it is no such URI."""
        token = uri.param(PHONE_PARAM)
        place = self._tokens.read(token) if token and is_own_gruu(uri, self._config) else None
        return place if place is not None and place.contact is not None else None

    # From a phone, in the overlay's terms

    def request_from(self, request: Request, place: TokenPlace | None, is_nameless: bool = False) -> Request:
        """What a phone asks; its Contact does not name it if `is_nameless`."""
        if place is None or place.is_agent:
            return request
        fields = self._in_overlay(request.fields, place, is_nameless)
        uri = request.sip_uri
        # Within a dialog it is a Contact: one that we have made, or, from an implementation of another kind, one that
        # only the phone which gave it knows how to read.
        is_a_name = not request.to.tag or uri.param("gr") is not None
        return request.replace(uri=self._overlays(uri) if is_a_name else uri, fields=fields)

    def response_from(self, response: Response, place: TokenPlace | None, is_nameless: bool = False) -> Response:
        """What a phone answers."""
        if place is None or place.is_agent:
            return response
        # RFC 3261 8.1.3.4: what a 3xx names in Contact (and 21.4.23 a 485) is not this phone, but whom to try instead.
        is_elsewhere = response.status >= 300
        return response.replace(fields=self._in_overlay(response.fields, None if is_elsewhere else place, is_nameless))

    # To a phone, in its own terms

    def fields_to(self, fields: Fields, place: TokenPlace | None) -> Fields:
        """The fields of a request or a response that goes to a phone."""
        if place is None or place.is_agent:
            return fields
        if place.is_outside:
            # RFC 3325 5: to a node that is not trusted nothing goes that is asserted among those who trust each other.
            fields = fields.without(*identity.CLAIMS)

        def translate(key: str, value: str) -> str:
            known = self._known_to_phone if len(value) <= REMEMBERED_CHARACTERS else self._value_to_phone
            return known(key, value, place.server)

        return _translated(fields, translate)

    def body_to(self, request: Request, place: TokenPlace | None) -> Request:
        """A request to a phone, with what its body says of lines in that phone's terms: what a NOTIFY tells."""
        if request.method != "NOTIFY" or not request.body or place is None or place.is_agent:
            return request
        rename = partial(self._phones, server=place.server)
        return request.replace(body=renamed(request.content_type, request.body, rename))

    def _value_to_phone(self, key: str, value: str, server: ServerName) -> str:
        return _with_uri(key, value, partial(self._phones, server=server))

    def _phones(self, uri: SipUri, server: ServerName) -> SipUri:
        if uri.host != self._config.realm:
            return uri
        if server.host == uri.host and self._config.hosted:
            # Whoever calls us by the overlay's name finds its further domains by theirs.
            return parse_sip_uri(outward(str(uri), self._config))
        return uri.replace(host=server.host, port=server.port)

    def _in_overlay(self, fields: Fields, contact: TokenPlace | None, is_nameless: bool) -> Fields:
        """`contact` is the phone whose Contact is in the fields; None if that is somebody else's."""
        changes = self._config.addresses.changes

        def translate(key: str, value: str) -> str:
            is_short = len(value) <= REMEMBERED_CHARACTERS
            if key == "contact" and contact is not None:
                of_phone = self._known_contacts if is_short else self._contact_to_overlay
                return of_phone(value, contact, is_nameless)
            known = self._known_to_overlay if is_short else self._value_to_overlay
            meant = known(key, value, changes)
            return meant if key != "refer-to" or contact is None else self._as_place(meant, contact.user)

        return _translated(fields, translate)

    def _contact_to_overlay(self, value: str, place: TokenPlace, is_nameless: bool) -> str:
        return _with_uri("contact", value, lambda uri: self._gruu(uri, place, is_nameless))

    def _value_to_overlay(self, key: str, value: str, changes: int) -> str:
        """What `key` says in the overlay's terms, while our own addresses have changed so often."""
        return _with_uri(key, value, self._overlays)

    def _as_place(self, value: str, user: str) -> str:
        """A transfer to a code for parking: whoever is transferred may dial elsewhere, where it means another place."""
        return _with_uri("refer-to", value, partial(self._place, user=user))

    def _place(self, uri: SipUri, user: str) -> SipUri:
        if uri.host != self._config.realm:
            return uri
        found = self._config.numbering.codes.read(uri.user_name)
        is_place = found is not None and found[0] == PARK and SLOT.fullmatch(found[1])
        return place_uri(found[1], user, self._config, self._tokens) if found is not None and is_place else uri

    def _overlays(self, uri: SipUri) -> SipUri:
        if not is_own_domain(uri, self._config):
            return uri
        params = tuple(param for param in uri.params if param[0] not in _OF_THE_EDGE)
        return uri.replace(host=self._config.realm, port=None, params=params)

    def _gruu(self, contact: SipUri, place: TokenPlace, is_nameless: bool) -> SipUri:
        """RFC 5627 section 3.2: what in the overlay leads to this phone, as long as its peer has it."""
        ours = self._config.peer_side
        params = [("gr", ours.param("gr")), (PHONE_PARAM, self._tokens.make(place._replace(contact=contact)))]
        # The user as the phone has written it there: it may have reasons not to tell its own.
        user = identity.ANONYMOUS.sip_uri.user if is_nameless else contact.user
        return SipUri(ours.host, user, None, tuple(params))


def answering(original: Request, response: Response) -> Response:
    """A response to a request as it came: "The From field of the response MUST equal the From header field of the
    request", and To as well, but for its tag (RFC 3261 section 8.2.6.2).
    """
    tag = response.to.tag
    to = original.fields.first("to") or ""
    if tag and not original.to.tag:
        # The text is kept as it came: some phones compare it byte by byte.
        to = f"{to};tag={tag}"
    fields = response.fields.with_only("From", original.fields.first("from") or "").with_only("To", to)
    return response.replace(fields=fields)


def _translated(fields: Fields, translate: Callable[[str, str], str]) -> Fields:
    """The fields with other URIs in them; the same, if there is nothing to translate."""
    new: list[Field] | None = None
    for at, (key, name, value) in enumerate(fields):
        if key in NAMING and (other := translate(key, value)) != value:
            if new is None:
                new = list(fields)
            new[at] = key, name, other
    return fields if new is None else Fields(new)


def _with_uri(key: str, value: str, rename: Rename) -> str:
    try:
        values = [value] if key in _ONE else split_list(value)
        old = [NameAddr.parse(_bracketed(one), key) for one in values]
    except BadMessage:
        # 16.3 step 1: what a proxy does not have to understand it passes on, malformed as it is.
        return value
    new = [NameAddr(_renamed(one.uri, rename), one.display_name, one.params) for one in old]
    return value if new == old else ", ".join(map(str, new))


def _bracketed(value: str) -> str:
    """A URI with header fields in the brackets that section 20.10 wants for it; some phones leave them out."""
    return _BARE_WITH_HEADERS.sub(r"<\1>", value) if "?" in value else value


def _renamed(uri: Uri, rename: Rename) -> Uri:
    if not isinstance(uri, SipUri):
        return uri
    renamed = rename(uri)
    return renamed.replace(headers=_renamed_headers(renamed.headers, rename)) if renamed.headers else renamed


def _renamed_headers(headers: str, rename: Rename) -> str:
    """The header fields that a URI asks for (RFC 3261 section 19.1.1): in a Refer-To perhaps a Referred-By."""
    parts = []
    for part in headers.split("&"):
        name, equals, value = part.partition("=")
        if equals and name.lower() in _ONE:
            old = unquote(value, errors="surrogateescape")
            new = _with_uri(name.lower(), old, rename)
            if new != old:
                part = f"{name}={quote(new, safe='', errors='surrogateescape')}"
        parts.append(part)
    return "&".join(parts)
