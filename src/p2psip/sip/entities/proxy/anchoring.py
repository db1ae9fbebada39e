"""Session descriptions on their way through the proxy, where this peer carries the media (docs/decisions/media.md).

Theory of operation. An INVITE between two phones, both ours or one of another peer's, begins a relayed call for each
branch: for the caller each phone that rings is a dialog of its own. By the first tag in To the dialog is known, and so
is what belongs to it later, from either side. A description passes wherever it is; what is refused is undone.

To another peer a description goes with the numbers of its streams, which that peer may use or not: it is the one that
knows where both phones are. So who is called decides, and where the answer has no numbers nothing is carried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from p2psip.base.address import without_zone
from p2psip.base.effects import Effect, Note
from p2psip.base.errors import RequestRejected
from p2psip.media.negotiation import offered_host
from p2psip.media.relay.description import MediaLine, is_of_browser, read
from p2psip.media.relay.policy import CallEnd, MediaWay, way_of
from p2psip.media.relay.relay import CALLEE, CALLER, NoPorts, NothingToCarry, Relay, RelayedCall
from p2psip.media.relay.rtpengine.engine_calls import EngineCall, PrepareCall
from p2psip.media.relay.sides import FarPeer, Party, Phone
from p2psip.media.sdp import MalformedSdp
from p2psip.sip.entities.agents.agent_table import AgentTable
from p2psip.sip.entities.bodies import is_readable
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.registrar.tokens import TokenPlace
from p2psip.sip.message.errors import readable
from p2psip.sip.message.grammar import quote
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.transports.hops import LocalHop, Source
from p2psip.sip.transports.layer import TransportLayer
from p2psip.sip.transports.own_addresses import as_numeric

M = TypeVar("M", Request, Response)

End: TypeAlias = tuple[Source, TokenPlace | None]
"""Where a side of a call is, and which phone that is; None if a peer."""

Dialog = tuple[str, str, str]
"""Call-ID, and the tags in From and in To, as its first request has them."""


class NotCarried(RequestRejected):
    """A request does not go on, because its media cannot; `code` is SIP's."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True, slots=True)
class Carried:
    """What a request has to do with a relayed call: sent by its side `which`, which had said `before` until then."""

    call: RelayedCall
    which: int
    before: tuple[MediaLine, ...]
    is_first: bool
    """True for the INVITE by which the call has begun."""
    far: Source | None = None
    """Where the other peer is, if the other side is another peer's."""


class Anchoring:
    """Has the media of calls between phones of this peer go through it, where the settings say so."""

    def __init__(self, config: ServerConfig, transport: TransportLayer, relay: Relay, agents: AgentTable) -> None:
        self._config = config
        self._transport = transport
        self._relay = relay
        self._agents = agents
        self._dialogs: dict[Dialog, RelayedCall] = {}
        self._effects: list[Effect] = []

    def question(self, request: Request, caller: End, callee: End) -> PrepareCall | None:
        """What the media engine is asked before a request may `begin`; None if nothing."""
        if request.method != "INVITE" or not is_readable(request) or self._found(request)[0] is not None:
            return None
        parties = self._parties(request, caller, callee)
        return None if parties is None else self._relay.wish(request.call_id, *parties, request.body)

    def begin(
        self, request: Request, caller: End, callee: End, now: float, engine_call: EngineCall | None = None
    ) -> tuple[Request, Carried | None]:
        """A request as it goes on from one side to the other, and what it has to do with a relayed call.

        `engine_call` is what the media engine has answered. Raises NotCarried.
        """
        call, which = self._found(request)
        if request.method == "BYE" and call is not None:
            self._relay.end(call, "hung up", now)
            return request, None
        is_first = call is None
        if call is None:
            parties = self._parties(request, caller, callee) if request.method == "INVITE" else None
            if parties is None:
                self._note_browser(request)
                return request, None
            try:
                call = self._relay.begin(request.call_id, *parties, engine_call)
            except NoPorts as error:
                raise NotCarried(500, str(error)) from None
        far = next((source for source, _ in (caller, callee) if source.peer is not None), None)
        carried = Carried(call, which, call.last[which], is_first, far)
        try:
            return self._described(carried.call, which, request, now), carried
        except (MalformedSdp, NothingToCarry, NoPorts) as error:
            if is_first:
                self._relay.end(call, str(error), now)
            raise NotCarried(500 if isinstance(error, NoPorts) else 488, str(error)) from None

    def answer(self, carried: Carried | None, request: Request, response: Response, now: float) -> Response:
        """A response as it goes back."""
        if carried is None or carried.call not in self._relay:
            return response
        if carried.is_first and response.to.tag:
            self._find_far_end(carried, response)
            self._remember((request.call_id, request.from_.tag, response.to.tag), carried.call)
        if response.is_success and request.method == "INVITE":
            self._relay.answered(carried.call, now)
        described = self._described_as_well_as_can_be(carried.call, 1 - carried.which, response, now)
        if response.is_success and is_readable(response) and not carried.call.is_local and not carried.call.carried:
            # The other peer carries nothing.
            self._relay.forget(carried.call)
        return self._with_what_lacks(carried, described) if request.method == "INVITE" else described

    def _find_far_end(self, carried: Carried, response: Response) -> None:
        """The peer beside the phone that answers, where another one has sent the request on to it."""
        callee, peer = carried.call.parties[CALLEE], self._last_recorded(response)
        if isinstance(callee, FarPeer) and peer not in (None, callee.path):
            self._relay.found_at(carried.call, _far(str(peer)))

    def _last_recorded(self, message: Message) -> str | None:
        """The last peer that wants to stay in the dialog: who has only sent a request on carries no media of it."""
        routes = readable(lambda: [route.sip_uri for route in message.record_routes], [])
        peers = (self._config.peer_in(uri) for uri in routes)
        return next((peer for peer in peers if peer is not None), None)

    def _with_what_lacks(self, carried: Carried, response: Response) -> Response:
        """An answer with media that is to go over a path between two peers: the caller is told if there is none.

        RFC 3261 20.43: "The warning text can include arbitrary information to be presented to a human user or logged."
        """
        lacks = "" if carried.far is None else self._transport.lacks(carried.far)
        if not (lacks and carried.call.carried and is_readable(response)):
            return response
        if response.is_success and not carried.call.lacks:
            self._effects.append(Note("media not carried", {"call": carried.call.name, "why": lacks}, is_warning=True))
        self._relay.explain(carried.call, lacks)
        if carried.which != CALLER or not isinstance(carried.call.parties[CALLER], Phone):
            return response
        return response.replace(fields=response.fields.with_last("Warning", f"399 peer {quote(lacks)}"))

    def acknowledge(self, ack: Request, now: float) -> Request:
        """An ACK as it goes on: it has the answer to an offer that came late."""
        call, which = self._found(ack)
        return ack if call is None else self._described_as_well_as_can_be(call, which, ack, now)

    def refused(self, carried: Carried, why: str, now: float) -> None:
        """A request has failed: what it has begun ends, what it has changed is as before."""
        if carried.is_first:
            self._relay.end(carried.call, why, now)
        else:
            # RFC 3261 14.1: "If a UA receives a non-2xx final response to a re-INVITE, the session parameters MUST
            # remain unchanged, as if no re-INVITE had been issued."
            self._relay.undo(carried.call, carried.which, carried.before, now)

    def drain(self) -> list[Effect]:
        """What an operator may want to read, since the last call."""
        effects, self._effects = self._effects, []
        return effects

    # Whose it is

    def _found(self, request: Request) -> tuple[RelayedCall | None, int]:
        """The call that a request belongs to, and the side that has sent it."""
        first, second = request.from_.tag, request.to.tag
        for which, tags in ((CALLER, (first, second)), (CALLEE, (second, first))):
            call = self._dialogs.get((request.call_id, *tags))
            if call is not None and call in self._relay:
                return call, which
        return None, CALLER

    def _remember(self, dialog: Dialog, call: RelayedCall) -> None:
        if dialog not in self._dialogs:
            self._dialogs = {known: each for known, each in self._dialogs.items() if each in self._relay}
            self._dialogs[dialog] = call

    def _parties(self, request: Request, caller: End, callee: End) -> tuple[Party, Party] | None:
        """Both sides, if the media of their call is to go through here."""
        if _is_of_browser(request):
            return None
        (source, one), (side, other) = caller, callee
        if (faced := self._parties_of_trunk(request, caller, callee)) is not None:
            return faced
        if one is None or other is None:
            return self._parties_of_two_peers(request, caller, callee)
        # "auto" alone asks what the offer says.
        is_open = self._config.media == "auto" and not (one.is_agent or other.is_agent)
        named = offered_host(request.body) if is_open and is_readable(request) else None
        ends = (
            CallEnd(named, one.host, "", is_agent=one.is_agent),
            CallEnd(None, other.host, "", is_agent=other.is_agent),
        )
        if way_of(self._config.media, *ends).way is not MediaWay.HERE:
            return None
        return self._phone(source, one), self._phone(side, other)

    def _parties_of_trunk(self, request: Request, caller: End, callee: End) -> tuple[Party, Party] | None:
        """Both sides, if one of them is an agent that calls on: who is behind it reaches this peer, and no phone."""
        for at, (own, other) in enumerate(((caller, callee), (callee, caller))):
            if (facing := self._facing(own)) is not None:
                trunk = Phone("the trunk", *facing)
                there = self._beyond(request, other, is_caller=at == 1)
                if there is None:
                    return None
                return (trunk, there) if at == 0 else (there, trunk)
        return None

    def _facing(self, end: End) -> tuple[str, str] | None:
        hop = end[0].hop
        return self._agents.facing(hop.name) if isinstance(hop, LocalHop) else None

    def _beyond(self, request: Request, end: End, *, is_caller: bool) -> Party | None:
        """Who talks to a trunk: a phone of ours, or one of another peer's, by a path if both peers have such."""
        source, place = end
        if place is not None:
            return self._facing_phone(source, place)
        assert source.peer is not None, "who is no phone is a peer"
        has_path = self._config.has_call_paths and (not is_caller or not request.body or _has_numbers(request.body))
        if has_path:
            return _far(source.peer)
        named = offered_host(request.body) if is_caller and is_readable(request) else None
        return Phone(
            f"a phone of peer {source.peer[:8]}", self._transport.advertised(source).host, named or source.remote.host
        )

    def _facing_phone(self, source: Source, place: TokenPlace) -> Phone | None:
        """None for an agent with its own media: a trunk's call to the echo, say."""
        if not place.is_agent:
            return self._phone(source, place)
        facing = self._facing((source, place))
        return None if facing is None else Phone("the trunk", *facing)

    def _parties_of_two_peers(
        self,
        request: Request,
        caller: End,
        callee: End,
    ) -> tuple[Party, Party] | None:
        """One of them is another peer's phone, with which only a path of calls is good."""
        (source, one), (side, other) = caller, callee
        if not self._config.has_call_paths or self._config.media == "direct":
            return None
        if one is not None and side.peer is not None:
            # Where the other phone is, its peer knows, and says with its answer.
            return self._phone(source, one), _far(side.peer)
        if other is None or source.peer is None:
            return None
        named = offered_host(request.body) if is_readable(request) else None
        if named is not None and not (_has_numbers(request.body) and self._is_far(named, source, other)):
            return None
        return _far(self._last_recorded(request) or source.peer), self._phone(side, other)

    def _is_far(self, named: str, source: Source, place: TokenPlace) -> bool:
        """False if a phone of ours and one of another peer's, which names this address, reach each other."""
        ours, theirs = "ours", "ours" if self._transport.is_beside(source) else "theirs"
        ends = CallEnd(named, named, "theirs", theirs), CallEnd(None, place.host, "ours", ours)
        return way_of(self._config.media, *ends).way is MediaWay.PATH

    def _note_browser(self, request: Request) -> None:
        """What an operator has asked for, and does not get."""
        if self._config.media == "anchor" and request.method == "INVITE" and _is_of_browser(request):
            facts = {"call": request.call_id, "why": "it is a web browser's, which finds its way to the other by ICE"}
            self._effects.append(Note("media not carried", facts))

    def _phone(self, side: Source, place: TokenPlace) -> Phone:
        host = without_zone(place.host)
        label = f"{place.user} ({host})" if place.user else host
        # Behind a port forwarding the rest of the world sends to another address than the phones do.
        public = as_numeric(self._config.other_domains.host) if place.is_outside else None
        return Phone(label, public or self._transport.advertised(side).host, place.host)

    # What it says

    def _described_as_well_as_can_be(self, call: RelayedCall, which: int, message: M, now: float) -> M:
        """What nobody can refuse goes on, with the media that there is."""
        try:
            return self._described(call, which, message, now)
        except (MalformedSdp, NothingToCarry, NoPorts) as error:
            facts = {"call": call.name, "from": call.parties[which].label, "why": str(error)}
            self._effects.append(Note("media not carried", facts, is_warning=True))
            return message

    def _described(self, call: RelayedCall, which: int, message: M, now: float) -> M:
        """Raises MalformedSdp, NothingToCarry, NoPorts."""
        if not is_readable(message) or _is_of_browser(message):
            return message
        for each in read(message.body):
            if each.rtp is not None and self._is_ours(each.rtp):
                # Packets that go round in here would never end.
                raise NothingToCarry(f"it wants {each.kind} sent to a port of this peer")
        return message.replace(body=self._relay.describe(call, which, message.body, now))

    def _is_ours(self, address: tuple[str, int]) -> bool:
        host, port = address
        return (self._config.is_own_host(host) and self._relay.has_port(port)) or self._relay.is_in_engine(address)


def _is_of_browser(message: Message) -> bool:
    return is_readable(message) and is_of_browser(message.body)


def _has_numbers(body: bytes) -> bool:
    try:
        return any(each.number is not None for each in read(body))
    except MalformedSdp:
        return False


def _far(peer: str) -> FarPeer:
    return FarPeer(f"a phone of peer {peer[:8]}", peer)
