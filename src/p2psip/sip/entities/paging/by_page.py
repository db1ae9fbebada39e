"""The numbers of pages, for phones of this peer: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import diverted
from p2psip.sip.entities.handling.by_codes import LINE_PARAM
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Asked, Resolution
from p2psip.sip.entities.questions import Located, NotLocated, Target
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.uri import SipUri, escape_user
from p2psip.sip.transports.hops import LocalHop

PAGER = "pager"
"""The agent that speaks to all. Nobody but this resolver leads to it, so that it is told who speaks."""


class ByPage:
    """Only who is a line of this peer pages, and nobody whose call was forwarded to such a number."""

    name = "pages"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._pages = {page.number: page for page in config.numbering.pages}

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        request = asked.routed.request
        if asked.after is not None or asked.user is None or request.method != "INVITE" or diverted(request):
            return None
        page = self._pages.get(asked.uri.user_name)
        if page is None or not is_user(asked.uri, self._config):
            return None
        if not page.may(asked.user):
            why = f"{asked.user} may not page {page.name}: lines in rooms.toml says who may"
            return NotLocated(403, phrase_of(403), why)
        params = ((LINE_PARAM, escape_user(asked.user)),)
        uri = SipUri(self._config.realm, escape_user(page.number), params=params)
        return Located((Target(uri, (LocalHop(PAGER),), f"page {page.name}"),))
