"""Star codes that phones of this peer dial: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.handling.star_codes import ECHO, INTERCOM, SERVICES, is_number
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Asked, Instead, Resolution, diverted
from p2psip.sip.entities.questions import Located, NotLocated, Target
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.uri import SipUri, escape_user
from p2psip.sip.transports.hops import LocalHop

AGENT = "star codes"
"""The agent that serves them. Nobody but this resolver leads to it, so that it is told who has dialled."""

LINE_PARAM = "line"


class ByCodes:
    """Only who is a line of this peer dials them, and not who was forwarded to one."""

    name = "star codes"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        request = asked.routed.request
        # Of what another peer sends, nobody has proved to be the sender.
        if asked.after is not None or asked.user is None or diverted(request):
            return None
        if request.method != "INVITE" or not is_user(asked.uri, self._config):
            return None
        found = self._config.numbering.codes.read(asked.uri.user_name)
        if found is None or found[0] == ECHO:
            return None
        name, number = found
        if SERVICES[name].takes_number:
            meant = self._meant(name, number, asked.user)
            if isinstance(meant, NotLocated):
                return meant
            number = meant
        if name == INTERCOM:
            return self._intercom(number)
        code = self._config.numbering.codes.codes[name]
        uri = SipUri(self._config.realm, escape_user(f"{code}{number}"), None, ((LINE_PARAM, escape_user(asked.user)),))
        return Located((Target(uri, (LocalHop(AGENT),), f"{code}, {SERVICES[name].what}"),))

    def _meant(self, name: str, number: str, user: str) -> str | NotLocated:
        """Whom the number behind a code means, by the dial plan, and whether this line may call him."""
        code = self._config.numbering.codes.codes[name]
        ruled = self._config.numbering.plan.ruled(number, user)
        if ruled is not None and ruled.refusal:
            return NotLocated(403, phrase_of(403), ruled.refusal)
        meant = ruled.number if ruled is not None else number.lower()
        if not is_number(meant):
            return NotLocated(484, phrase_of(484), f"dial {code} and a number right behind it")
        numbering = self._config.numbering
        if name != INTERCOM and (numbering.is_emergency(number, user) or numbering.emergency.is_meant(meant)):
            return NotLocated(403, phrase_of(403), f"{number} is an emergency number: no calls are forwarded there")
        if meant == user and name != INTERCOM:
            return NotLocated(403, phrase_of(403), f"{user} cannot forward to itself")
        return meant

    def _intercom(self, number: str) -> Instead:
        # There is no RFC that all phones follow: Call-Info with answer-after is what most take, Alert-Info the rest.
        fields = (
            ("Call-Info", f"<sip:{self._config.realm}>;answer-after=0"),
            ("Alert-Info", f"<http://{self._config.realm}>;info=alert-autoanswer;delay=0"),
        )
        uri = SipUri(self._config.realm, escape_user(number))
        return Instead(uri, f"{number} is called, and is to answer by itself", fields=fields)
