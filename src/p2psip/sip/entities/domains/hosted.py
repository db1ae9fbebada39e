"""Further domains of the overlay that have users of their own (RFC 7904 section 3.4), as a SIP server has them.

Theory of operation. `alice@club-b.example` and `alice@club.example` are two users. All that is about users in here
knows one domain, the overlay's, and names a user of another one within it: `sip:alice%40club-b.example@club.example`.
What comes in is put into that form before anybody sees it. Another peer gets the AoR itself, as any peer of the overlay
would write it. A phone is shown that form, with the host of its own server: so it can dial it (docs/decisions/
names-at-the-edge.md); and what it has written itself into From and To comes back as it was.

Numbers and codes are the overlay's, by whichever domain they are dialled: `42@club-b.example` is 42.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar
from urllib.parse import unquote

from p2psip.base.timers import TimerQueue
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import AckArrived, RequestArrived, ResponseArrived, TuEvent
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.hops import Hop
from p2psip.sip.transports.layer import TransportLayer

M = TypeVar("M", Request, Response)

NAMING = frozenset(
    {"from", "to", "contact", "refer-to", "referred-by", "reply-to", "p-asserted-identity", "p-preferred-identity"}
    | {"p-called-party-id", "remote-party-id", "diversion", "history-info"}
)
"""The fields in which users are named."""

_NUMBER = re.compile(r"[+*#\d][-\d*#().]*(?:;.*)?")
"""What is dialled and is nobody's name."""


def layer_of(
    config: ServerConfig, transport: TransportLayer, rng: random.Random, queue: TimerQueue
) -> TransactionLayer:
    """The transactions of a server, which are translated where the overlay has further domains."""
    urgent, most = config.numbering.emergency.numbers, config.limits.transactions
    if not config.hosted:
        return TransactionLayer(transport, rng, config.timers, most, urgent, queue)
    return HostingLayer(config, transport, rng, config.timers, most, urgent, queue)


def inward(text: str, config: ServerConfig) -> str:
    """A text with URIs in it, as it came, in the form that is for in here."""
    if not config.hosted:
        return text
    return _patterns(config.hosted)[0].sub(lambda found: _within(found, config.realm), text)


def inward_alone(uri: str, config: ServerConfig) -> str:
    """The same of a Request-URI, which may be a domain alone, as that of a REGISTER is."""
    if not config.hosted:
        return uri
    return _patterns(config.hosted)[2].sub(rf"\g<1>{config.realm}", inward(uri, config))


def outward(text: str, config: ServerConfig) -> str:
    """The other way round, whatever host the form has by now."""
    return _patterns(config.hosted)[1].sub(r"\1\2@\3", text) if config.hosted else text


def domain_of(request: Request, config: ServerConfig) -> str:
    """Of which further domain a phone says that its user is; "" of the overlay's own."""
    said = request.to if request.method == "REGISTER" else request.from_
    domain = said.uri.user_name.rpartition("@")[2] if isinstance(said.uri, SipUri) and "@" in said.uri.user_name else ""
    return domain if domain in config.hosted else ""


class HostingLayer(TransactionLayer):
    """The transaction layer of such a server: in here there is one form, outside the other."""

    def __init__(self, config: ServerConfig, *of_layer: object) -> None:
        """`of_layer` as a TransactionLayer has it."""
        super().__init__(*of_layer)  # type: ignore[arg-type]
        self._config = config

    def events(self) -> list[TuEvent]:
        """transactions.TransactionLayer"""
        return [self._inward(event) for event in super().events()]

    def request(self, request: Request, hop: Hop, context: object, now: float, *, branch_suffix: str = "") -> int:
        """transactions.TransactionLayer"""
        return super().request(self._outward(request, hop, now), hop, context, now, branch_suffix=branch_suffix)

    def send(self, request: Request, hop: Hop, now: float) -> bool:
        """transactions.TransactionLayer"""
        return super().send(self._outward(request, hop, now), hop, now)

    def respond(self, transaction: int, response: Response, now: float) -> None:
        """transactions.TransactionLayer"""
        state = self._transactions.get(transaction)
        if state is not None and state.request is not None:
            response = response.replace(fields=self._as_they_came(response.fields, state.request))
        if state is not None and state.source is not None and state.source.peer is not None:
            response = self._translated(response, outward)
        super().respond(transaction, response, now)

    def _as_they_came(self, fields: Fields, request: Request) -> Fields:
        """RFC 3261 8.2.6.2: "The From field of the response MUST equal the From header field of the request", and To as
        well, but for the tag that is added to it.
        """
        for key, name in (("from", "From"), ("to", "To")):
            came, said = request.fields.first(key) or "", fields.first(key) or ""
            here = inward(came, self._config)
            if here != came and said.startswith(here):
                fields = fields.with_only(name, came + said.removeprefix(here))
        return fields

    def _inward(self, event: TuEvent) -> TuEvent:
        match event:
            case RequestArrived(_, request) | AckArrived(request):
                uri = inward_alone(request.uri_text, self._config)
                return replace(event, request=self._translated(request, inward).replace(uri=uri))
            case ResponseArrived(_, response):
                return replace(event, response=self._translated(response, inward))
        return event

    def _outward(self, request: Request, hop: Hop, now: float) -> Request:
        bound = self.transport.bind(hop, now)
        if bound is None or self.transport.far_end(bound).peer is None:
            return request
        return self._translated(request, outward).replace(uri=outward(request.uri_text, self._config))

    def _translated(self, message: M, translate: Callable[[str, ServerConfig], str]) -> M:
        fields = [
            (key, name, translate(value, self._config) if key in NAMING else value)
            for key, name, value in message.fields
        ]
        body = message.body
        if isinstance(message, Request) and message.method == "NOTIFY":
            # What is told of lines names them.
            body = translate(body.decode("utf-8", "surrogateescape"), self._config).encode("utf-8", "surrogateescape")
        return message.replace(fields=Fields(fields), body=body)


@lru_cache(maxsize=8)
def _patterns(hosted: frozenset[str]) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """AoRs of these domains as they are outside, and in here; and a URI of the domain alone."""
    domains = "|".join(re.escape(domain) for domain in sorted(hosted))
    ends = r"(?=[:;?>,\s\"'<&]|$)"
    scheme, user = r"\b(sips?:)", r"([^\s@<>\":]+"
    return (
        re.compile(rf"{scheme}{user})@({domains})\.?{ends}", re.IGNORECASE),
        re.compile(rf"{scheme}{user}?)%40({domains})@(?:\[[^\]\s]*\]|[^\s:;?>,\"'<&]+)(?::\d+)?", re.IGNORECASE),
        re.compile(rf"^(sips?:)(?:{domains})\.?{ends}", re.IGNORECASE),
    )


def _within(found: re.Match[str], realm: str) -> str:
    scheme, user, domain = found.groups()
    if _NUMBER.fullmatch(unquote(user)):
        return f"{scheme}{user}@{realm}"
    return f"{scheme}{user}%40{domain.lower()}@{realm}"
