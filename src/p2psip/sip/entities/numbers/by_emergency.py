"""Emergency calls: which numbers they are, and who answers them (RFC 5031); a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import diverted
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Asked, Instead, Resolution
from p2psip.sip.message.uri import SipUri, escape_user


class ByEmergency:
    """Calls for an emergency number go to whom the operator has named, one after the other, whoever dials."""

    name = "emergency numbers"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        emergency = self._config.numbering.emergency
        if asked.source.peer is not None or not emergency.to or (asked.turns and asked.after is None):
            return None
        is_meant = self._config.numbering.is_emergency(asked.dialled, asked.user)
        if not is_meant or not is_user(asked.uri, self._config):
            return None
        # Who was tried may have forwarded it since.
        tried = {*asked.before, asked.uri.user_name, *diverted(asked.routed.request)}
        rest = [name for name in emergency.to if name not in tried]
        if not rest:
            return None
        why = f"{asked.dialled} is an emergency number, which {rest[0]} answers"
        return Instead(SipUri(self._config.realm, escape_user(rest[0])), why)
