"""Where a call for a room goes: a resolver (proxy/resolvers.py).

Theory of operation. A phone's call for a room goes to an agent of its own peer (room_caller.py), which calls on to
whoever mixes the room. That one is asked of the outside (`FindMixer`), and is sent the call by a GRUU that says so
(`is_for_mixer`); at that peer it goes to the mixer.
"""

from __future__ import annotations

from p2psip.sip.entities.agents.state_agent import StateAgent, state_target
from p2psip.sip.entities.conference.room_terms import ROOM_PARAM, WHO_PARAM, is_for_mixer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Asked, Resolution
from p2psip.sip.entities.questions import FindMixer, Located, NotLocated, Target
from p2psip.sip.events.conference_package import ConferencePackage
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop

CALLER = "conference"
"""The agent of a phone's own peer."""

MIXER = "mixer"
"""The agent that mixes."""


def room_target(room: SipUri) -> Target:
    """Where a phone of this peer that calls a room goes."""
    return Target(room, (LocalHop(CALLER),), f"room {room.user_name}")


class ByRoom:
    """Leads phones to the agent that calls rooms, that one to the mixer, and others' to the mixer of this peer."""

    name = "rooms"

    def __init__(self, config: ServerConfig, state: StateAgent) -> None:
        """`state` knows which phones of this peer are in which rooms."""
        self._config = config
        self._state = state
        self._terms = config.numbering.rooms

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        request = asked.routed.request
        if asked.after is not None or request.to.tag:
            return None
        if request.method == "SUBSCRIBE":
            return self._watched(asked)
        if request.method != "INVITE":
            return None
        uri = asked.uri
        if asked.source.hop == LocalHop(CALLER) and (attempt := uri.param(ROOM_PARAM)) is not None:
            return FindMixer(uri.user_name, uri.param(WHO_PARAM) or "", attempt)
        if asked.source.peer is not None:
            return self._here(uri) if not asked.turns and is_for_mixer(uri) else None
        # What its operator has this peer mix are rooms, whether the overlay can be asked or not.
        is_ours = self._terms is not None and self._terms.has(uri.user_name) and is_user(uri, self._config)
        return Located((room_target(uri),)) if is_ours and not asked.is_of_guest else None

    def _watched(self, asked: Asked) -> Located | NotLocated | None:
        """Who is in a room is told to the phones in it by their own peer (RFC 4575): by the room's number, or by the
        Contact of the call. A conference of that number on somebody's phone is that phone's, for all others.
        """
        event, called = asked.routed.request.event, asked.uri.user_name
        is_of_room = event is not None and event.package == ConferencePackage.name and is_user(asked.uri, self._config)
        if not is_of_room or asked.source.peer is not None or asked.user is None:
            return None
        room = self._state.room_of(asked.user.lower(), "" if called == CALLER else called)
        if room is not None:
            return Located((state_target(room, self._config.realm),))
        return NotLocated(403, phrase_of(403), f"{asked.user} is in no room") if called == CALLER else None

    def _here(self, uri: SipUri) -> Located | NotLocated:
        if self._terms is None or not self._terms.has(uri.user_name):
            # The caller's peer tries another mixer.
            return NotLocated(503, phrase_of(503), f"this peer does not mix room {uri.user_name}")
        return Located((Target(uri, (LocalHop(MIXER),), f"room {uri.user_name}"),))
