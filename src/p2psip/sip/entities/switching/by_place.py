"""Callers who are transferred to a place where they are parked: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.proxy.resolvers import Asked, Resolution
from p2psip.sip.entities.questions import Located
from p2psip.sip.entities.registrar.tokens import Tokens
from p2psip.sip.entities.switching.leads import park_target


class ByPlace:
    """Whoever has the URI of a place was transferred there by somebody who may park."""

    name = "places of parked calls"

    def __init__(self, config: ServerConfig, tokens: Tokens) -> None:
        self._config = config
        self._tokens = tokens

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        if asked.after is not None or asked.routed.request.method != "INVITE":
            return None
        target = park_target(asked.uri, self._config, self._tokens)
        return None if target is None else Located((target,))
