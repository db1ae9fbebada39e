"""Where a request goes, as far as the request itself says (RFC 3261 sections 16.3 to 16.6)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.own import is_own_maddr, is_own_route
from p2psip.sip.entities.proxy import session_timers
from p2psip.sip.entities.registrar.tokens import TokenPlace, Tokens
from p2psip.sip.message import limits
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import Source
from p2psip.sip.transports.layer import TransportLayer
from p2psip.sip.transports.own_addresses import as_host

RECORD_ROUTED = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
"""The methods that make a dialog; in others a Record-Route has no effect."""

MAX_BREADTH = 60
"""RFC 5393 section 5.3.3."""


@dataclass(frozen=True, slots=True)
class NotForwarded:
    """Answer this to a request that must not be forwarded."""

    status: int
    phrase: str | None = None
    extra: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Routed:
    """A request with our own Routes taken off.

    `place` is what the token in the last of them said; `next_route` is the first that is somebody else's. It
    `is_from_outside` if whoever sends it has no line here. `domain` is that of the Request-URI, as a phone has written
    it; that `is_typed` if it is another than the phone puts behind a bare name.
    """

    request: Request
    place: TokenPlace | None
    next_route: SipUri | None
    is_from_outside: bool = False
    domain: str = ""
    is_typed: bool = False


def validate(request: Request, source: Source, transport: TransportLayer) -> NotForwarded | None:
    """Section 16.3, all but Max-Forwards, which is for who forwards; None if the request may go on."""
    if request.sip_uri.headers:
        # 19.1.5 and table 1: headers are not allowed in a Request-URI; forwarded, somebody might take them for real.
        return NotForwarded(400, "Bad Request (header fields in the Request-URI)")
    if _has_looped(request, source, transport):
        return NotForwarded(482)
    unmet = [] if source.is_trusted else identity.unmet_wishes(request)
    if unmet:
        return NotForwarded(500, f"Privacy Not Provided ({', '.join(unmet)})")
    if not source.is_trusted and session_timers.is_too_short(request):
        # RFC 4028 8.1: "the proxy MUST include a Min-SE header field with the value of its minimum interval."
        return NotForwarded(422, None, (("Min-SE", session_timers.SESSION_MIN_S),))
    # Step 5: we know no extension that a proxy would have to understand.
    wanted = request.fields.tokens("proxy-require")
    if wanted:
        return NotForwarded(420, None, tuple(("Unsupported", option) for option in wanted))
    return None


def loop_hash(request: Request, source: Source) -> str:
    """The second part of our branch (RFC 5393 section 4.2.2): the same if routed the same again."""
    # That includes which side it came from: from a phone to its peer and back again is a spiral, not a loop.
    parts = [
        request.uri_text,
        request.to.tag,
        request.from_.tag,
        request.call_id,
        str(request.cseq.number),
        source.peer or "",
        *request.fields.lines("route"),
        *request.fields.lines("proxy-require"),
    ]
    return f"{zlib.crc32('|'.join(parts).encode('utf-8', 'surrogateescape')):08x}"


def breadth_of(request: Request) -> int:
    """How many branches a request may have at a time, here and further on (RFC 5393 section 5.3.3)."""
    # "If this maximum is exceeded in a received request, the proxy MUST overwrite it with a value that SHOULD be no
    # greater than its allowable maximum."
    wanted = request.integer("max-breadth")
    return MAX_BREADTH if wanted is None else min(wanted, MAX_BREADTH)


def preprocess(request: Request, config: ServerConfig, tokens: Tokens) -> Routed:
    """Section 16.4: take off the Routes that are our own, one or both of a double Record-Route (RFC 5658)."""
    request = _without_own_maddr(undo_strict_routing(request, config), config)
    routes = request.routes
    place: TokenPlace | None = None
    taken = 0
    for route in routes:
        uri = route.sip_uri
        if not is_own_route(uri, config):
            break
        place = tokens.read(uri.user_name) if uri.user else None
        taken += 1
    if taken:
        request = request.replace(fields=request.fields.with_values("Route", routes[taken:]))
    next_route = routes[taken].sip_uri if taken < len(routes) else None
    return Routed(request, place, next_route)


def sender_token(request: Request, source: Source, config: ServerConfig, tokens: Tokens) -> TokenPlace | None:
    """What the sender's own token says, if a request belongs to a dialog that this phone has set up through us.

    Its Route then has a token of ours for its own host. Others who know the token, as everybody in the dialog
    does, gain nothing by it.
    """
    if request.begins:
        return None
    uris = [route.sip_uri for route in request.routes]
    read = [tokens.read(uri.user_name) for uri in uris if uri.user and is_own_route(uri, config)]
    at_home = next((place for place in read if place is not None and place.host == source.remote.host), None)
    # Another domain has many servers, and its phones may send themselves: the first Route is that of their side.
    outside = read[0] if read and read[0] is not None and read[0].is_outside else None
    return at_home or outside


def side_uri(
    side: Source, place: TokenPlace | None, config: ServerConfig, transport: TransportLayer, tokens: Tokens
) -> SipUri:
    """Our URI for the Record-Route towards `side`: the one that peers know, or the listener that the phone uses."""
    if place is None:
        return config.peer_route
    address = transport.advertised(side)
    if place.is_outside and config.other_domains.host:
        address = Address(config.other_domains.host, address.port)
    # RFC 7118 5.2: ""ws" as the transport parameter value", of secure WebSocket as well.
    named = "ws" if side.transport == "WSS" else side.transport.lower()
    params = (("lr", None),) if named == "udp" else (("transport", named), ("lr", None))
    return SipUri(as_host(address.host), tokens.make(place), address.port, params)


def forwarded(request: Request, uri: SipUri, routes: Sequence[NameAddr], record: list[SipUri], breadth: int) -> Request:
    """Section 16.6, steps 2 to 6: the copy that goes to one target, all but its Via."""
    fields, uri = request.fields, _as_asked(uri, request)
    # Step 3: "If the copy does not contain a Max-Forwards header field, the proxy MUST add one".
    hops_left = limits.MAX_FORWARDS if request.max_forwards is None else request.max_forwards - 1
    fields = fields.with_only("Max-Forwards", hops_left)
    # RFC 5393 5.3.3: "All proxied requests MUST contain a single Max-Breadth header field value."
    fields = fields.with_only("Max-Breadth", breadth)
    for route in reversed(routes):
        fields = fields.with_first("Route", route)
    for side in record:
        # Step 4: "If the Request-URI contains a SIPS URI [...], the URI placed into the Record-Route header field MUST
        # be a SIPS URI."
        fields = fields.with_first("Record-Route", NameAddr(_secured(side) if uri.scheme == "sips" else side))
    # Step 1: "If the URI contains any parameters not allowed in a Request-URI, they MUST be removed."
    allowed = uri.as_request_uri
    copy = request.replace(uri=request.uri_text if allowed is request.uri else allowed, fields=fields)
    return _for_strict_router(copy)


def _as_asked(uri: SipUri, request: Request) -> SipUri:
    """The target as it stands in the Request-URI: what came as "sip" does not become "sips" on the way."""
    # RFC 5630 5.3: "the proxy MUST replace that SIPS scheme with a SIP scheme while leaving the rest of the URI as is".
    # It goes over TLS all the same; with "sips" the caller's side of the dialog would have to, too.
    is_plain = isinstance(request.uri, SipUri) and request.uri.scheme == "sip"
    return uri.replace(scheme="sip") if is_plain and uri.scheme == "sips" else uri


def _secured(uri: SipUri) -> SipUri:
    # 26.2.2: "The use of "transport=tls" has consequently been deprecated", as "sips" says it of every hop.
    return uri.replace(scheme="sips", params=tuple(param for param in uri.params if param != ("transport", "tls")))


def _has_looped(request: Request, source: Source, transport: TransportLayer) -> bool:
    if len(request.vias) == 1:
        return False
    own = [via for via in request.vias if transport.is_own_via(via)]
    if not own:
        return False
    suffix = f".{loop_hash(request, source)}"
    return any(via.branch.endswith(suffix) for via in own)


def undo_strict_routing(request: Request, config: ServerConfig) -> Request:
    """Section 16.4: a strict router put our Record-Route value into the Request-URI; the real one is the last Route."""
    uri = request.uri
    if not isinstance(uri, SipUri) or not uri.is_loose or not request.routes or not is_own_route(uri, config):
        return request
    *routes, last = request.routes
    return request.replace(uri=last.uri, fields=request.fields.with_values("Route", [NameAddr(uri), *routes]))


def _without_own_maddr(request: Request, config: ServerConfig) -> Request:
    """16.4: a Request-URI that is to be sent here, whatever its host, has arrived."""
    uri = request.uri
    if not isinstance(uri, SipUri) or not is_own_maddr(uri, config):
        return request
    # "the proxy MUST strip the maddr and any non-default port or transport parameter and continue processing as if
    # those values had not been present in the request."
    params = tuple(param for param in uri.params if param[0] not in ("maddr", "transport"))
    return request.replace(uri=uri.replace(port=None, params=params))


def _for_strict_router(request: Request) -> Request:
    """16.6 step 6: a first Route without `lr` changes places with the Request-URI."""
    routes = request.routes
    if not routes or routes[0].sip_uri.is_loose:
        return request
    fields = request.fields.with_values("Route", [*routes[1:], NameAddr(request.uri)])
    return request.replace(uri=routes[0].sip_uri.as_request_uri, fields=fields)
