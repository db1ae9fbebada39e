"""What a phone of this peer dials, by the operator's dial plan: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Asked, Instead, Resolution
from p2psip.sip.entities.questions import NotLocated
from p2psip.sip.message.uri import SipUri, escape_user


class ByDialPlan:
    """Rewrites and refuses what phones dial; what other peers ask for is a name of the overlay already."""

    name = "dial plan"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        if asked.turns or asked.after is not None or asked.from_peer is not None:
            return None
        if not is_user(asked.uri, self._config):
            return None
        ruled = self._config.numbering.plan.ruled(asked.uri.user_name, asked.user)
        if ruled is None:
            return None
        if ruled.refusal:
            return NotLocated(403, "Forbidden", ruled.refusal)
        if ruled.number == asked.uri.user_name:
            return None
        user, at, domain = ruled.number.rpartition("@")
        if at and domain not in self._config.hosted:
            return Instead(SipUri(domain, escape_user(user)), ruled.why)
        return Instead(asked.uri.replace(user=escape_user(ruled.number)), ruled.why)
