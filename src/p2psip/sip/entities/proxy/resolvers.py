"""Where a request goes (RFC 3261 section 16.5), and what comes after that has failed: an ordered list of resolvers.

Theory of operation. The proxy asks one after the other until one knows: the places to try, a refusal, somebody else to
ask for (`Instead`, upon which the list begins anew), or a question that only the outside can answer. One that wants
to be heard again where nobody answers says so beforehand (`Again`), and leaves it to the next to say where the
request goes. When all places have failed, or nobody has answered in that time, the list is asked once more, with what
has happened (`After`): so forwarding a call, always, on busy or on no answer, is one resolver more in the list. How
often a request may be sent elsewhere is bounded (`ServerLimits.turns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from p2psip.sip.entities.agents.agent_table import AgentTable
from p2psip.sip.entities.agents.state_agent import is_about_state, state_target
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.naming import Naming
from p2psip.sip.entities.own import is_own_domain
from p2psip.sip.entities.proxy.routing import Routed
from p2psip.sip.entities.questions import Located, LocateUser, NotLocated, Target
from p2psip.sip.entities.registrar.ways import Ways
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop, Source


@dataclass(frozen=True, slots=True)
class After:
    """What has become of a request so far: the best of the failures, or 408 where nobody has answered in time."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The question: where does this request go that is for `uri`, and (if `after`) where after that has happened?

    `user` is the line that has proved to be the sender, None if there is none.
    """

    routed: Routed
    uri: SipUri
    source: Source
    user: str | None
    after: After | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """The request itself says its one place; nobody else is asked, whatever becomes of it there."""

    target: Target


@dataclass(frozen=True, slots=True)
class Instead:
    """It is for somebody else now."""

    uri: SipUri


@dataclass(frozen=True, slots=True)
class Again:
    """Let the next say; and ask once more if nobody has answered `after_s` from then."""

    after_s: float


Resolution: TypeAlias = Given | Located | NotLocated | Instead | Again | LocateUser


class Resolver(Protocol):
    """One who may know where a request goes."""

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """What it knows; None to have the next asked."""


class _AtFirst:
    """One who knows where a request goes, and nothing of what to do when it has failed there."""

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        return self._find(asked, now) if asked.after is None else None

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        raise NotImplementedError


class ByRoute(_AtFirst):
    """What goes on along a Route that is somebody else's (16.6 step 6)."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        towards = asked.routed.next_route
        if towards is None:
            return None
        return Given(Target(self._ways.contact(asked.uri), None, str(towards), towards=towards))


class ByToken(_AtFirst):
    """What has a token of ours: in our own Route, or in the GRUU that is a phone's Contact elsewhere."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        target = self._ways.by_token(asked.routed, asked.uri, now)
        if target is None:
            return None
        if target.hops == ():
            # RFC 5626 5.3.1: "If the flow no longer exists, the proxy SHOULD send a 430 (Flow Failed) response".
            return NotLocated(430, phrase_of(430), f"the connection with {target.label} is gone")
        return Given(target)


class _OfUsers(_AtFirst):
    """One who knows the users of the overlay."""

    def __init__(self, config: ServerConfig, naming: Naming) -> None:
        self._config = config
        self._naming = naming

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        uri = asked.uri
        is_user = is_own_domain(uri, self._config) and (not uri.param("gr") or self._naming.is_own_gruu(uri))
        return self._find_user(asked, now) if is_user else None

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        raise NotImplementedError


class OwnAgents(_OfUsers):
    """An agent of this peer, which is called by what is dialled."""

    def __init__(self, config: ServerConfig, naming: Naming, agents: AgentTable) -> None:
        super().__init__(config, naming)
        self._agents = agents

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        name = self._agents.meant(asked.uri.user_name)
        return None if name is None else Located((Target(asked.uri, (LocalHop(name),), name),))


class OwnState(_OfUsers):
    """What a phone says of its own line, or wants to know of it, is for the peer beside that phone."""

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        is_own = asked.user is not None and asked.uri.user_name.lower() == asked.user.lower()
        if not is_own or not is_about_state(asked.routed.request):
            return None
        return Located((state_target(asked.user or "", self._config.realm),))


class Users(_OfUsers):
    """Any other user: who has phones here or elsewhere, whoever knows the overlay and the lines of this peer says."""

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        request = asked.routed.request
        return LocateUser(
            asked.uri,
            asked.uri.user_name,
            request.method,
            request.call_id,
            asked.user,
            asked.source.peer,
            is_about_state(request),
        )


class Outside(_AtFirst):
    """What is no user of the overlay: a phone's Contact, another peer's GRUU, a host."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        return Given(self._ways.direct(asked.routed.request, asked.uri, now))


def resolvers_of(
    config: ServerConfig, agents: AgentTable, naming: Naming, ways: Ways, more: Sequence[Resolver]
) -> tuple[Resolver, ...]:
    """Who is asked, in this order; `more` of whoever makes the server: they see no request within a dialog."""
    return (
        ByRoute(ways),
        ByToken(ways),
        *more,
        OwnAgents(config, naming, agents),
        OwnState(config, naming),
        Users(config, naming),
        Outside(ways),
    )
