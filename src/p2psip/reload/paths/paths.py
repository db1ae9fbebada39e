"""The core that makes paths: in come sessions, what the driver tells of connections, and time; out go connections to
open and to secure, and which attempt has its path or why it has none. A session that was offered to another waits in
`offers` for the connection that the other end makes; one that was asked of us is dialled.

A connection that is up is the node's, under the number that it had here.
"""

from __future__ import annotations

import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.base.rto import RoundTripEstimator
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.candidates import Whereabouts
from p2psip.reload.paths.dialling import Dialling
from p2psip.reload.paths.ice.punching import PathFound, PathMissing, Punching
from p2psip.reload.paths.ice.values import PairReport
from p2psip.reload.paths.narrow import NarrowWays
from p2psip.reload.paths.offers import Offers
from p2psip.reload.paths.relays.own_relay import OwnRelay
from p2psip.reload.paths.relays.relay_values import (
    AtRelayPort,
    DialRelay,
    RelayedGoes,
    RelayGone,
    RelayPortOpened,
    RelayStreamCame,
    RelayStreamUp,
    RelayTaken,
)
from p2psip.reload.paths.simultaneous.opens import OpenTogether
from p2psip.reload.paths.simultaneous.outside_port import AskOutside
from p2psip.reload.paths.values import (
    ACTIVE,
    PASSIVE,
    Accepted,
    AcceptNarrow,
    Candidate,
    Ended,
    Lapsed,
    LinkNews,
    Listening,
    Opened,
    PathEvent,
    Purpose,
    Refusal,
    Session,
    Stalled,
    StunArrived,
    Zoned,
)
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType


class Paths:
    """The attempts of one node, and what it remembers of ways. Its length is the number of attempts under way."""

    def __init__(
        self,
        rng: random.Random,
        queue: TimerQueue | None = None,
        permitted: Sequence[OverlayLinkType] = NO_ICE,
    ) -> None:
        """`rng` is one that nobody outside can guess; `queue` is that of the core that this is part of; `permitted` are
        the links that the overlay permits.
        """
        self._queue = TimerQueue(queue)
        self.punching = Punching(rng, self._queue)
        self.whereabouts = Whereabouts(permitted, self.punching)
        self.offers = Offers(self.whereabouts, self.punching, self._queue)
        self.own_relay = OwnRelay(rng, self._queue)
        self._dialling = Dialling(self._queue)
        self._narrow = NarrowWays()
        self._calls: dict[int, NodeId] = {}
        """With whom calls go over which streams."""
        self._timers: Timers[str] = self._queue.scope()
        self._is_accepting_narrow = False

    def __len__(self) -> int:
        return len(self._dialling) + len(self.punching)

    def contexts(self) -> tuple[object, ...]:
        """What the attempts under way are for: those that are dialled, then those that look for a path, the oldest
        first.
        """
        return (*self._dialling.contexts(), *self.punching.contexts())

    def has_room_for(self, session: Session) -> bool:
        """True if this may be tried now, within the limits on what we, and others, have us open."""
        return self._dialling.has_room_for(session, self.punching)

    def connect(self, session: Session, context: object, now: float) -> int | None:
        """Try to have a path; `context` comes back from `up`, or in `Ended`. The number that its connection will have,
        unless another than the first candidate answers; with ICE 0, as there is no candidate yet. None if there is
        nothing to try, or no room.
        """
        if not session.candidates or not self.has_room_for(session):
            return None
        if self.punching.has(session):
            self.punching.begin(session, context, now)
            return 0
        for candidate in session.candidates if self.whereabouts.has_ice else ():
            self.punching.ask(candidate.address, now)
        return self._dial(session, context, now)

    def _dial(self, session: Session, context: object, now: float) -> int:
        known = replace(session, candidates=self._narrow.known(session.candidates))
        return self._dialling.connect(known, context, now)

    def news(self, now: float) -> list[Ended | LinkNews]:
        """What has come to nothing since the last call, and what links have come to; where a path was found we dial."""
        over: list[Ended | LinkNews] = []
        for value in self.punching.take():
            match value:
                case PathFound(session, context, local, remote) if session.local.role == ACTIVE:
                    # 6.5.1.13: "The node that sent the Attach request MUST be the TLS server."
                    candidate = Candidate(remote, OverlayLinkType.DTLS_UDP_SR, local=local)
                    if self._dialling.is_full:
                        self.punching.close(session)
                        over.append(Ended(session, context, "too many connections are being made"))
                    else:
                        self._dial(replace(session, candidates=(candidate,)), context, now)
                case DialRelay(relay=relay):
                    self._dial_relay(value, Candidate(relay), now)
                case AskOutside(local=local, server=server):
                    self._dial_relay(value, Candidate(server, local=local), now)
                case OpenTogether():
                    self._open_together(value, now)
                case PathMissing(session, context):
                    self._dial_stream(session, context, now)
                case Ended(session) if session.local.role == PASSIVE:
                    over += self.offers.lost(session)
                case PathFound():
                    # The other end dials.
                    pass
                case _:
                    over.append(value)
        return over

    def _open_together(self, wanted: OpenTogether, now: float) -> None:
        """Both ends open a stream, at this moment."""
        if self._dialling.is_full:
            self.punching.opens.failed(wanted.session, "too many connections are being made", now)
        else:
            self._dialling.connect(wanted.session, wanted.context, now)

    def _dial_stream(self, session: Session, context: object, now: float) -> None:
        """Datagrams may not pass at all: both ends dial the other over TCP, if it takes that."""
        if session.local.role == PASSIVE:
            context = self.offers.of(session)
        streams = self.whereabouts.streams(session.purpose, session.remote)
        if streams and context is not None and not self._dialling.is_full:
            self._dial(replace(session, candidates=streams), context, now)

    def _dial_relay(self, dialled: DialRelay | AskOutside, candidate: Candidate, now: float) -> None:
        if self._dialling.is_full:
            self.punching.not_dialled(dialled, "too many connections are being made", now)
        else:
            self._dialling.connect(Session(Purpose.RELAY, (candidate,)), dialled, now)

    def end_search(self, purpose: Purpose, peers: Container[NodeId], link: int) -> object | None:
        """A stream is up, and the link with one of these nodes: what we looked for a path for, if it is we who dial."""
        session = self.punching.outside.session_of(link)
        if session is not None and session.peer in peers:
            # It is direct: what else is tried for the session, by a relay above all, would only take its place.
            self.punching.opened(session)
            self._dialling.withdraw(lambda each: each.local.ufrag == session.local.ufrag)
        return self.punching.end_search(purpose, peers)

    # From the driver

    def handle(self, event: PathEvent, now: float) -> Sequence[Ended | LinkNews]:
        """Something has happened to a connection that is no link yet, or STUN has come, which may concern any."""
        match event:
            case Listening(addresses):
                self._dialling.listening(addresses)
            case Opened(path, local):
                ended = self._ended(self._dialling.opened(path, local), now)
                return () if ended is None else (ended,)
            case Zoned(path, addresses):
                self._dialling.zoned(path, addresses, now)
            case Accepted(path, remote):
                self._dialling.accepted(path, remote)
            case Stalled():
                self._stalled(event, now)
            case StunArrived() if self.whereabouts.has_ice and not self.own_relay.handle(event, now):
                self.punching.handle(event, now)
                return self.news(now)
            case RelayedGoes():
                self.punching.send_relayed(event, now)
            case RelayPortOpened() | AtRelayPort():
                self.own_relay.handle_port(event, now)
            case RelayStreamUp(path):
                self._relay_stream_up(event, self._dialling.up(path), now)
            case RelayStreamCame(path) if path in self.own_relay.streams:
                self.own_relay.handle_stream(event, now)
            case RelayStreamCame():
                self.punching.handle_stream(event, now)
        return ()

    def _relay_stream_up(self, event: RelayStreamUp, context: object, now: float) -> None:
        """We have dialled a relay, or somebody has dialled ours."""
        if isinstance(context, DialRelay | AskOutside):
            self.punching.stream_up(context, event.path, now)
        else:
            self.own_relay.stream_up(event, now)

    def _stalled(self, stalled: Stalled, now: float) -> None:
        """A handshake stood still. It is dialled again with small packets, and then by the other kind, if any."""
        session, host = self._dialling.being_secured(stalled.path), stalled.remote.host
        if session is None:
            return
        was_narrow = any(candidate.is_narrow for candidate in session.candidates if candidate.address.host == host)
        if was_narrow or not self.is_narrow(host):
            self.large_vanish(host, stalled.link_type, now)
        self._dialling.stalled(stalled.path, self._narrow.known(session.candidates), now)

    def refusals(self, path: int) -> tuple[Refusal, ...]:
        """Before `up`: why the attempt that this is a connection of has none by its other candidates."""
        return self._dialling.refusals(path)

    def up(self, path: int) -> object | None:
        """A connection has shown its certificates: what it was made for; None for one that was accepted."""
        session, context = self._dialling.made_for(path), self._dialling.up(path)
        if session is not None and session.is_simultaneous:
            self.punching.outside.linked(path, session)
        return context

    def carries_calls(self, link: int, node: NodeId) -> None:
        """A stream is up, over which calls with this node go."""
        self._calls[link] = node

    def dials_no_streams(self, purpose: Purpose, node: NodeId) -> None:
        """ICE has a path with this node: what is tried beside it would only take its place."""
        self._dialling.withdraw(
            lambda each: (each.purpose, each.peer) == (purpose, node) and each.candidates[0].is_stream
        )

    def has_stream_of_calls(self, node: NodeId) -> bool:
        """True if there is one: both ends dial, and the stream of either may be up before that of the other."""
        return node in self._calls.values()

    def is_opened_by_both(self, link: int) -> bool:
        """True of a link over a stream to where nobody listens (RFC 6544, simultaneous open)."""
        return self.punching.outside.session_of(link) is not None

    def use_relay(self, news: RelayTaken | RelayGone, now: float) -> None:
        """What has become of an allocation: who lends something to a port of links can say as whom it sees another."""
        if not (self.whereabouts.opens_streams(Purpose.RELOAD) and self.whereabouts.are_at(Purpose.RELOAD, news.base)):
            return
        if isinstance(news, RelayTaken):
            self.punching.outside.relay_lends(news.base.host, news.relay, now)
        elif not self.punching.lends(news.base, news.relay):
            # Neither over datagrams nor over a stream.
            self.punching.outside.relay_gone(news.base.host, news.relay, now)

    def claim(self, link: int, local: Address, remote: Address, now: float) -> None:
        """A connection over datagrams is a link now: what ICE has found for it, or may ask its other end."""
        if self.whereabouts.has_ice:
            calls_at = self.whereabouts.addresses.get(Purpose.CALLS, ())
            self.punching.claim(link, local, remote, now, is_dialled=link % 2 == 0, calls_at=calls_at)

    def may_send(self, link: int, now: float) -> bool:
        """Data is to be sent on a link; False if the other end has not lately consented to that (RFC 7675)."""
        return self.punching.may_send(link, now)

    def heard(self, link: int, now: float) -> None:
        """Data has come on a link."""
        self.punching.heard(link, now)

    def is_doubted(self, link: int) -> bool:
        """True of a link whose path has not answered lately."""
        return self.punching.is_doubted(link)

    def round_trip(self, link: int) -> RoundTripEstimator | None:
        """How long there and back takes as ICE has measured it; None of a link that has nothing of ICE."""
        return self.punching.round_trip(link)

    def is_checked(self, link: int) -> bool:
        """True of a link whose path ICE has found."""
        return self.punching.is_checked(link)

    def use_addresses(
        self, addresses: Mapping[Purpose, tuple[Address, ...]], hosts: tuple[str, ...], now: float
    ) -> None:
        """Our listeners can be dialled at these from now on, and this machine has these `hosts`; paths from others need
        another end here.
        """
        before = self._own_of_ice()
        self.whereabouts.addresses |= addresses
        self.whereabouts.hosts = hosts
        own = self._own_of_ice()
        if self.whereabouts.has_ice and own != before:
            self.punching.relayed.hosts_gone({each.host for each in before} - {each.host for each in own}, now)
            self.punching.use_addresses(own, now)

    def _own_of_ice(self) -> list[Address]:
        return [address for purpose in (Purpose.RELOAD, Purpose.CALLS) for address in self.whereabouts.own(purpose)]

    def pair_of(self, link: int) -> PairReport | None:
        """The pair of addresses that ICE has found for a link; None without ICE."""
        return self.punching.pair_of(link)

    def is_relayed(self, link: int) -> bool:
        """True if a link goes over a relay."""
        return self.punching.is_relayed(link)

    def down(self, path: int, reason: str, now: float) -> Ended | None:
        """A connection could not be made, or is down. `Ended` if it was the last of an attempt."""
        self.forget(path)
        self.punching.stream_down(path, reason, now)
        self.own_relay.stream_down(path)
        return self._ended(self._dialling.down(path, reason), now)

    # Ways

    def large_vanish(self, host: str, kind: OverlayLinkType, now: float) -> None:
        """Large packets seem to vanish on the way to this host, over connections of this kind."""
        self._narrow.failed(host, kind, now)
        self._await_widening()

    def large_arrive(self, host: str) -> None:
        """The size of packets is not why a link fell silent."""
        self._narrow.widen(host)
        self._await_widening()

    def is_narrow(self, host: str) -> bool:
        """True if large packets are not known to arrive at this host."""
        return self._narrow.is_narrow(host)

    def stream_silent(self, host: str, now: float) -> None:
        """A connection of an application fell silent, which is made over TLS."""
        if not self.is_narrow(host):
            self.large_vanish(host, OverlayLinkType.TLS_TCP_FH_NO_ICE, now)

    def _await_widening(self) -> None:
        deadline = self._narrow.next_deadline()
        if deadline is None:
            self._timers.cancel("narrow")
        else:
            self._timers.set("narrow", deadline.at, deadline.reason)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    def handle_timeout(self, now: float) -> list[Ended | Lapsed | LinkNews]:
        """Try the next candidates; give up on who does not answer, or come; forget what was found out long ago."""
        for _ in self._timers.pop_due(now):
            self._narrow.handle_timeout(now)
            self._await_widening()
        self.punching.handle_timeout(now)
        self.own_relay.handle_timeout(now)
        over = self.news(now)
        ended = [each for each in self._dialling.handle_timeout(now) if self._ended(each, now) is not None]
        return [*over, *ended, *self.offers.handle_timeout(now)]

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        if over := self.punching.opens.over():
            self._dialling.withdraw(lambda each: each.is_simultaneous and each.local.ufrag in over)
        effects = self.punching.drain()
        effects += self.own_relay.drain()
        effects += self._dialling.drain()
        if self._narrow.is_any_narrow is not self._is_accepting_narrow:
            self._is_accepting_narrow = self._narrow.is_any_narrow
            effects.append(AcceptNarrow(self._is_accepting_narrow))
        return effects

    def forget(self, link: int) -> None:
        """A link that was up is down."""
        self._calls.pop(link, None)
        self.punching.down(link)

    def let_go(self, link: int) -> None:
        """A link is used no more: neither is what ICE has found for it. Who its other end is for others stays known."""
        self.punching.let_go(link)

    def refuse(self, link: int, reason: str, now: float) -> bool:
        """A link is not wanted, as its other end is another than it should be; True if it was tried beside ICE, which
        goes on.
        """
        session = self.punching.outside.session_of(link)
        self.forget(link)
        if session is not None:
            self.punching.opens.failed(session, reason, now)
        return session is not None

    def _ended(self, ended: Ended | None, now: float) -> Ended | None:
        """What has come of it; nothing yet, if it was tried beside ICE, and that is not done."""
        if ended is not None and isinstance(ended.context, DialRelay | AskOutside):
            self.punching.not_dialled(ended.context, ended.reason, now)
            return None
        if ended is not None and ended.session.is_simultaneous:
            # It is one more way beside those of ICE, which say when there is none.
            self.punching.opens.failed(ended.session, ended.reason, now)
            return None
        for candidate in ended.session.candidates if ended is not None else ():
            if candidate.is_narrow:
                # Small packets do not arrive there either.
                self.large_arrive(candidate.address.host)
        if ended is None or not ended.session.local.has_ice or not ended.session.candidates[0].is_stream:
            return ended
        is_decided = ended.session.local.role == ACTIVE and not self.punching.is_looking(ended.session)
        return ended if is_decided else None
