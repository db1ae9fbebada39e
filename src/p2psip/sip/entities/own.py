"""Which URIs mean this server (RFC 3261 sections 16.4 and 16.5, design: phones see a PBX)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from p2psip.base.address import as_domain, without_zone
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.message.uri import SipUri, Uri
from p2psip.sip.transports.own_addresses import as_numeric

PHONE_PARAM = "at"
"""The parameter beside `gr` in the GRUU of a phone, with a token: at which phone of the peer."""

WAY_PARAM = "way"
"""The parameter beside `gr` by which a request goes to a peer that is to send it on: as whom that is asked
(docs/decisions/ways-of-calls.md)."""

BY_RESPONSIBLE, BY_HOME = "responsible", "home"
"""What it says."""

_WELL_KNOWN_PORTS = frozenset({5060, 5061})


class ServerName(NamedTuple):
    """What a phone calls this server: the domain of the AoR that is set in it, as it stands in a URI."""

    host: str
    port: int | None = None


def server_name(uris: Iterable[object], config: ServerConfig) -> ServerName | None:
    """What the writer of these URIs, the first that tells counting, calls this server; None if none of them tells.

    Some write the port into the Request-URI alone (19.1.1, table 1: in From and To it is not allowed).
    """
    own = [uri for uri in uris if isinstance(uri, SipUri) and is_own_domain(uri, config)]
    ports = [uri.port for uri in own if uri.host == own[0].host and uri.port is not None]
    return ServerName(own[0].host, ports[0] if ports else None) if own else None


def is_own_domain(uri: SipUri, config: ServerConfig) -> bool:
    """True if the domain of an AoR means the overlay: its name, or any own name or address of the peer."""
    if uri.param("maddr") and not is_own_maddr(uri, config):
        # 16.5: "the Request-URI MUST be placed into the target set as the only target URI".
        return False
    numeric = as_numeric(uri.host)
    if not config.is_own_host(numeric or uri.host):
        return False
    # A phone on the same host has the same address and another port.
    return uri.port is None or uri.port in config.ports or (numeric is None and uri.port in _WELL_KNOWN_PORTS)


def is_user(uri: SipUri, config: ServerConfig) -> bool:
    """True if a URI names a user of the overlay, also as another peer writes one who is here (RFC 7904 section 6)."""
    return is_own_domain(uri, config) and (not uri.param("gr") or is_own_gruu(uri, config))


def is_own_gruu(uri: SipUri, config: ServerConfig) -> bool:
    """True for a GRUU that leads to this peer, by others or straight."""
    ours = config.peer_side
    if uri.host == ours.host and uri.param("gr") == ours.param("gr"):
        return True
    peer = config.peer_in(uri)
    return peer is not None and peer == config.peer_in(ours)


def is_own_maddr(uri: SipUri, config: ServerConfig) -> bool:
    """True if a URI says that what is for it goes to this server, whatever its host (section 16.4)."""
    maddr = uri.param("maddr")
    if not maddr or not (uri.port is None or uri.port in config.ports):
        return False
    return config.is_own_host(as_numeric(maddr) or as_domain(maddr))


def is_same_place(one: Uri, other: Uri, config: ServerConfig) -> bool:
    """True if two URIs mean the same resource here, by whichever of our names, ports and parameters aside."""
    if not (isinstance(one, SipUri) and isinstance(other, SipUri)):
        return one == other
    return _meaning(one, config) == _meaning(other, config)


def is_peer_itself(uri: SipUri, config: ServerConfig) -> bool:
    """True if a Request-URI means the server, no user behind it."""
    if _is_peer_side(uri, config):
        return True
    return not uri.user and is_own_domain(uri, config)


def is_own_route(uri: SipUri, config: ServerConfig) -> bool:
    """True if a Route value is one that we have put into a Record-Route, or a phone's outbound proxy setting."""
    if _is_peer_side(uri, config):
        return True
    numeric = as_numeric(uri.host)
    if numeric is None:
        # `sip:NODE-ID@overlay` is another peer.
        return not uri.user and is_own_domain(uri, config)
    port = uri.port or 5060
    locals_ = [(without_zone(one.local.host), one.local.port) for one in config.listeners]
    return (numeric, port) in locals_ or (config.is_own_host(numeric) and port in config.ports)


def _meaning(uri: SipUri, config: ServerConfig) -> tuple[str, str]:
    host = as_numeric(uri.host) or uri.host
    return uri.user_name, config.realm if host in config.domains else host


def _is_peer_side(uri: SipUri, config: ServerConfig) -> bool:
    ours = config.peer_side
    # RFC 7904 section 6: peers may differ in the `gr` parameter alone.
    mine, theirs = (ours.user, ours.host, ours.param("gr")), (uri.user, uri.host, uri.param("gr"))
    return mine == theirs and uri.port in (None, ours.port) and uri.param(PHONE_PARAM) is None
