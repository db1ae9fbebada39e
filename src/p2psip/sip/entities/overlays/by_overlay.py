"""Which overlay of the site is asked: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import line_uri
from p2psip.sip.entities.overlays.crossing import UNREACHED
from p2psip.sip.entities.overlays.other_overlays import ASKS, RINGS, agent_name
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import After, Asked, Given, Resolution
from p2psip.sip.entities.questions import Located, LocateUser, Target
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop

NOBODY, NOT_THERE = 404, 480


class ByOverlay:
    """Leads lines of this peer to the other overlays of the site: by the domain, by rules, or where nobody here has the
    name. What another peer has brought goes into no other overlay.
    """

    name = "overlays of this site"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._overlays = config.overlays

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        if not self._overlays.domains or asked.user is None or asked.routed.request.to.tag:
            return None
        if (overlay := self._overlays.domains.get(asked.uri.host)) is not None:
            return Given(self._in(overlay, asked.uri)) if asked.after is None else None
        if not is_user(asked.uri, self._config) or self._config.numbering.is_emergency(asked.dialled, asked.user):
            return None
        if asked.routed.is_typed and asked.routed.domain == self._overlays.own:
            return None
        return self._by_order(asked)

    def _by_order(self, asked: Asked) -> Located | LocateUser | None:
        """The next that is to be asked. Our own overlay is the first of them or the last (overlays_file.py)."""
        own, order = self._overlays.own, self._overlays.asked_for(asked.uri.user_name)
        tried = () if asked.after is None else asked.after.tried
        gone = [overlay for each in tried if (overlay := self._overlays.domains.get(each.uri.host)) is not None]
        is_own_over = order[0] == own or len(gone) < len(tried)
        if asked.after is None and order[0] == own:
            # All that comes between here and the users has its turn.
            return None
        if asked.after is not None and not self._may_go_on(asked.after, is_own=not gone):
            return None
        left = [each for each in order if each not in gone and not (each == own and is_own_over)]
        if not left:
            return None
        if left[0] == own:
            return asked.locate()
        return Located((self._in(left[0], SipUri(left[0], asked.uri.user)),))

    def _may_go_on(self, after: After, *, is_own: bool) -> bool:
        """True if nobody has the name, or nobody could be asked; who is away or busy is not sought elsewhere."""
        if after.has_rung:
            return False
        if is_own and after.status == NOT_THERE:
            return not self._overlays.is_connected()
        return after.status in (NOBODY, UNREACHED)

    def _in(self, overlay: str, uri: SipUri) -> Target:
        return Target(uri, (LocalHop(agent_name(ASKS, overlay)),), f"overlay {overlay}")


def target_of_phones(overlay: str, user: str) -> Target:
    """The phones of a user at the peer of this site in another overlay, as a place to try."""
    return Target(line_uri(user, overlay), (LocalHop(agent_name(RINGS, overlay)),), f"{user}'s phones at {overlay}")
