"""Where a request goes (RFC 3261 section 16.5), and what comes after that has failed: an ordered list of resolvers.

Theory of operation. The proxy asks one after the other until one knows: the places to try, a refusal, somebody else to
ask for (`Instead`, upon which the list begins anew), or a question that only the outside can answer. One that wants
to be heard again where nobody answers says so beforehand (`Again`), and leaves it to the next to say where the
request goes. When all places have failed, or nobody has answered in that time, the list is asked once more, with what
has happened (`After`): so forwarding a call, always, on busy or on no answer, is one resolver more in the list. How
often a request may be sent elsewhere is bounded (`ServerLimits.turns`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from p2psip.sip.entities.agents.agent_table import AgentTable
from p2psip.sip.entities.agents.state_agent import is_about_state, state_target
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.mailbox.mailbox_questions import FindMailbox
from p2psip.sip.entities.overlays.other_overlays import overlay_that_rings
from p2psip.sip.entities.own import WAY_PARAM, is_user
from p2psip.sip.entities.proxy.routing import Routed
from p2psip.sip.entities.questions import FindGateway, FindMixer, Located, LocateUser, NotLocated, Target, Tried
from p2psip.sip.entities.registrar.ways import Ways, outside_target
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import is_marked
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop, Source


@dataclass(frozen=True, slots=True)
class After:
    """What has become of a request so far: the best of the failures, or 408 where nobody has answered in time.

    `tried` are the places that it has gone to, in order.
    """

    status: int
    reason: str
    has_rung: bool = False
    """True if a phone has rung, so that the request has come to where it belongs."""
    contacts: tuple[SipUri, ...] = ()
    """Of a 3xx: whom it names."""
    tried: tuple[Tried, ...] = ()

    @property
    def has_only_been_sent_on(self) -> bool:
        """True if it has gone to nobody but peers that were to send it on (docs/decisions/ways-of-calls.md)."""
        return all(each.uri.param(WAY_PARAM) is not None for each in self.tried)


@dataclass(frozen=True, slots=True)
class Asked:
    """The question: where does this request go that is for `uri`, and (if `after`) where after that has happened?

    `user` is the line that has proved to be the sender, None if there is none. `before` are the users whom it was for
    before somebody said whom to ask for instead: there are none as long as `uri` is what was dialled.
    """

    routed: Routed
    uri: SipUri
    source: Source
    user: str | None
    after: After | None = None
    before: tuple[str, ...] = ()
    rounds: int = 0
    """How often all places have failed of whom it is for now."""

    @property
    def turns(self) -> int:
        """How often somebody has said whom to ask for instead."""
        return len(self.before)

    @property
    def dialled(self) -> str:
        """The user whom it was for at first."""
        return self.routed.request.sip_uri.user_name

    @property
    def is_from_outside(self) -> bool:
        """True if whoever sends this has no line here."""
        return self.routed.is_from_outside

    @property
    def is_of_guest(self) -> bool:
        """True if such a one begins something here: the operator has opened the door."""
        return self.is_from_outside and not self.routed.request.to.tag

    @property
    def from_peer(self) -> str | None:
        """The peer that sends it because its user is here, or the other overlay of this site; None once it is for
        somebody else, who may be anywhere.
        """
        return None if self.turns else self.source.peer or overlay_that_rings(self.source.hop)

    def locate(self, *, is_again: bool = False) -> LocateUser:
        """The same, as it is asked of the outside."""
        request = self.routed.request
        return LocateUser(
            self.uri,
            self.uri.user_name,
            request.method,
            request.call_id,
            self.user,
            self.from_peer,
            is_about_state(request),
            is_marked(request),
            is_again,
        )

    def anew(self, instead: Instead) -> Asked:
        """The question that follows once somebody has said whom to ask for instead."""
        request = with_diversions(self.routed.request, instead.diversions)
        for field in instead.fields:
            request = request.replace(fields=request.fields.with_last(*field))
        routed = replace(self.routed, request=request)
        before = (*self.before, self.uri.user_name)
        return replace(self, routed=routed, uri=instead.uri, after=None, before=before, rounds=0)


@dataclass(frozen=True, slots=True)
class Given:
    """The request itself says its one place; nobody else is asked, whatever becomes of it there."""

    target: Target


@dataclass(frozen=True, slots=True)
class Instead:
    """It is for somebody else now, and `why`, in words.

    `diversions` say who wants it so, the latest first; nobody does where a number just means somebody. `fields` are for
    the phones that are called then.
    """

    uri: SipUri
    why: str = ""
    diversions: tuple[NameAddr, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """Let the next say; and ask once more if nobody has answered `after_s` from then."""

    after_s: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class RingsNoMore:
    """Nobody has answered, and nobody else is to be asked: those that ring are cancelled, and it is over."""

    why: str


_NO_RELAY = NotLocated(403, phrase_of(403), "nobody from outside is put through to somebody outside")
_NO_PASSAGE = NotLocated(403, phrase_of(403), "what another peer begins here is for users of this peer")

Resolution: TypeAlias = (
    Given | Located | NotLocated | Instead | Again | RingsNoMore | LocateUser | FindGateway | FindMailbox | FindMixer
)


Screen: TypeAlias = Callable[[Request, str, float], NotLocated | None]


class Resolver(Protocol):
    """One who may know where a request goes. To ask changes nothing: `p2psip dial --explain` asks as well."""

    @property
    def name(self) -> str:
        """What people call it."""

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """What it knows; None to have the next asked."""


def diversion(of: SipUri, reason: str) -> NameAddr:
    """Who has forwarded a request that was for him, and why (RFC 5806 section 4)."""
    return NameAddr(of.named, "", (("reason", reason),))


def with_diversions(request: Request, values: tuple[NameAddr, ...]) -> Request:
    """A request that these have forwarded, the latest first.

    RFC 5806 5.1: "If the destination of a request is changed, [...] a Diversion header" says whose it was, on top.
    """
    for value in reversed(values):
        request = request.replace(fields=request.fields.with_first("Diversion", value))
    return request


class _AtFirst:
    """One who knows where a request goes, and nothing of what to do when it has failed there."""

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        return self._find(asked, now) if asked.after is None else None

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        raise NotImplementedError


class ByRoute(_AtFirst):
    """What goes on along a Route that is somebody else's (16.6 step 6)."""

    name = "the request's own Route"

    def __init__(self, config: ServerConfig, ways: Ways) -> None:
        self._realm = config.realm
        self._ways = ways

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        towards = asked.routed.next_route
        place = asked.routed.place
        if towards is None or (place is not None and place.is_agent):
            # An agent that has further Routes behind it knows the way (overlays/crossing.py).
            return None
        if asked.source.peer is not None and not (asked.routed.request.to.tag and self._ways.is_ours(asked.routed)):
            # 16.3: whoever is a member could call by us where we alone may send: a phone by its address, past all that
            # its line says, or another peer in our name. A call that was set up through us has a token of ours.
            return _NO_PASSAGE
        contact = self._ways.contact(asked.uri)
        if self._ways.is_outside(asked.routed, asked.uri):
            return _NO_RELAY if asked.is_from_outside else Given(outside_target(contact, self._realm, towards=towards))
        return Given(Target(contact, None, str(towards), towards=towards))


class ByToken(_AtFirst):
    """What has a token of ours: in our own Route, or in the GRUU that is a phone's Contact elsewhere."""

    name = "phones by their token"

    def __init__(self, ways: Ways, screen: Screen) -> None:
        """`screen` says who may not begin anything with a line, by whatever name."""
        self._ways = ways
        self._screen = screen

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        target = self._ways.by_token(asked.routed, asked.uri, now)
        if target is None:
            return None
        if asked.source.peer is not None and asked.routed.request.begins and not self._ways.is_at_phone(asked.uri):
            # A token in Route says where a dialog leads. What begins something says in its Request-URI whom it is for.
            return _NO_PASSAGE
        if (refusal := self._screen(asked.routed.request, target.user, now)) is not None:
            return refusal
        if target.is_outside and asked.is_from_outside:
            return _NO_RELAY
        if target.hops == () and asked.routed.request.begins:
            # RFC 5627 6.1: "If there are no registered contacts bound to the GRUU, the server MUST return a 480".
            return NotLocated(480, phrase_of(480), f"{target.label} is gone")
        if target.hops == ():
            # RFC 5626 5.3.1: "If the flow no longer exists, the proxy SHOULD send a 430 (Flow Failed) response".
            return NotLocated(430, phrase_of(430), f"the connection with {target.label} is gone")
        if not asked.routed.request.to.tag and any(isinstance(hop, LocalHop) for hop in target.hops or ()):
            # Whoever has been in a dialog with an agent knows its token. What begins one is led there by other
            # resolvers, which have seen who it is.
            return NotLocated(403, phrase_of(403), f"nobody begins anything with {target.label} by its token")
        return Given(target)


class _OfUsers(_AtFirst):
    """One who knows the users of the overlay."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        return self._find_user(asked, now) if is_user(asked.uri, self._config) else None

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        raise NotImplementedError


class InDialog(_OfUsers):
    """What says that it belongs to a dialog: those before this one know where that is, or nobody does.

    Otherwise a made-up tag would lead to a user's phones, past all that is asked of what begins something.
    """

    name = "dialogs"

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        if not asked.routed.request.to.tag:
            return None
        # RFC 3261 12.2.2: "If the UAS wishes to reject the request because it does not wish to recreate the dialog, it
        # MUST respond to the request with a 481".
        return NotLocated(481, phrase_of(481), "it belongs to no dialog that leads through here")


class OwnAgents(_OfUsers):
    """An agent of this peer, which is called by what is dialled."""

    name = "services of this peer"

    def __init__(self, config: ServerConfig, agents: AgentTable) -> None:
        super().__init__(config)
        self._agents = agents

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        name = self._agents.meant(asked.uri.user_name)
        return None if name is None else Located((Target(asked.uri, (LocalHop(name),), name),))


class OwnState(_OfUsers):
    """What a phone says of its own line, or wants to know of it, is for the peer beside that phone."""

    name = "the state of one's own line"

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        is_own = asked.user is not None and asked.uri.user_name.lower() == asked.user.lower()
        if not is_own or not is_about_state(asked.routed.request):
            return None
        return Located((state_target(asked.user or "", self._config.realm),))


class Users(_OfUsers):
    """Any other user: who has phones here or elsewhere, whoever knows the overlay and the lines of this peer says."""

    name = "users"

    def _find_user(self, asked: Asked, now: float) -> Resolution | None:
        return asked.locate()


class Outside(_AtFirst):
    """What is no user of the overlay: a phone's Contact, another peer's GRUU, a host."""

    name = "elsewhere"

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    def _find(self, asked: Asked, now: float) -> Resolution | None:
        if asked.from_peer is not None and not asked.routed.request.to.tag:
            return _NO_PASSAGE
        return Given(self._ways.direct(asked.routed.request, asked.uri, now))
