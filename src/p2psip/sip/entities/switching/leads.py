"""What leads to the switchboard of a peer (switchboard.py): the URIs by which it is told what is wanted of it.

They stay inside the process, but for one: that of a place where a call is parked. A caller who is transferred there may
be anybody's phone anywhere, so it is a GRUU of this peer (RFC 5627) with a token in it, which whoever parks has given.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.own import ServerName
from p2psip.sip.entities.questions import Target
from p2psip.sip.entities.registrar.tokens import TokenPlace, Tokens
from p2psip.sip.message.uri import SipUri, escape_user
from p2psip.sip.transports.hops import LocalHop

SWITCHBOARD = "switchboard"

PICK_UP, PICKED_UP, PARK, RETRIEVE = "pick-up", "picked-up", "park", "retrieve"
"""The user parts of its URIs."""

CALL, SLOT, BY = "call", "slot", "by"
"""Their parameters: which call (the server's number, or the switchboard's), at which place, who has parked it."""

_PARKED = "parked"
"""The parameter with the token."""


@dataclass(frozen=True, slots=True)
class JoinCall(Effect):
    """The switchboard wants to answer this call as well, which rings."""

    call: int
    target: Target


def pick_up_target(call: int, realm: str) -> Target:
    """Who calls this wants to answer a call that rings; `call` is the server's number for it."""
    return _target(realm, PICK_UP, (CALL, str(call)), "whoever rings is answered")


def picked_up_target(call: int, realm: str) -> Target:
    """Here that call is answered; `call` is the switchboard's number for who answers it."""
    return _target(realm, PICKED_UP, (CALL, str(call)), "answered at another phone")


def retrieve_target(slot: str, realm: str) -> Target:
    """Who calls this wants whoever is parked at a place."""
    return _target(realm, RETRIEVE, (SLOT, slot), f"whoever is parked at {slot}")


def _target(realm: str, what: str, param: tuple[str, str], label: str, *more: tuple[str, str]) -> Target:
    return Target(SipUri(realm, what, None, (param, *more)), (LocalHop(SWITCHBOARD),), label)


def place_uri(slot: str, by: str, config: ServerConfig, tokens: Tokens) -> SipUri:
    """Where a caller is transferred to, to be parked by this line."""
    means = SipUri(config.realm, PARK, None, ((SLOT, slot),))
    token = tokens.make(TokenPlace(LocalHop(SWITCHBOARD), "", by, ServerName(config.realm), means))
    return SipUri(config.realm, PARK, None, (("gr", config.peer_side.param("gr")), (_PARKED, token)))


def park_target(uri: SipUri, config: ServerConfig, tokens: Tokens) -> Target | None:
    """Where a call is parked that is for such a URI; None if it is none of ours."""
    token = uri.param(_PARKED)
    place = tokens.read(token) if token and uri.param("gr") == config.peer_side.param("gr") else None
    if place is None or place.hop != LocalHop(SWITCHBOARD) or place.contact is None:
        return None
    slot = place.contact.param(SLOT) or ""
    return _target(config.realm, PARK, (SLOT, slot), f"parked at {slot}", (BY, escape_user(place.user)))
