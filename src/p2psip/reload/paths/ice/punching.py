"""Connecting with ICE (RFC 6940 sections 6.5.1.3 to 6.5.1.10): the sessions of an overlay, each with its agent.

Theory of operation. Whoever says what we are, in an Attach or in the answer to one, gets an agent. When the other end's
words are here the agent looks for a path; who has answered the Attach then dials on it, as the TLS client (6.5.1.13).
The link that comes up between its two addresses has the agent from then on, for as long as both last.

     described ---begin--> checking ---PathFound--> (handshake) ---claim--> in use ---LinkOver
                              |                         |                      |
                              '-------------------------+----------------------'--> no agent any more
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.address import Address, without_zone
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.base.rto import RoundTripEstimator
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.reload.paths.ice.agent import REPORTED_PAIRS_MAX
from p2psip.reload.paths.ice.agents import Agents
from p2psip.reload.paths.ice.call_servers import CallServers
from p2psip.reload.paths.ice.candidate_addresses import Mapped, encoded, gathered
from p2psip.reload.paths.ice.reflexive import Reflexive
from p2psip.reload.paths.ice.values import (
    PairReport,
    PathChanged,
    PathChosen,
    PathDoubted,
    PathHolds,
    PathLost,
    PathsSuspected,
)
from p2psip.reload.paths.relays.relay_pings import RelayPings
from p2psip.reload.paths.relays.relay_values import DialRelay, RelayedGoes, RelayGone, RelayStreamCame, RelayTaken
from p2psip.reload.paths.relays.relayed_addresses import RelayedAddresses
from p2psip.reload.paths.simultaneous.opens import OpenTogether, SimultaneousOpens
from p2psip.reload.paths.simultaneous.outside_port import AskOutside, OutsidePorts
from p2psip.reload.paths.simultaneous.stream_waits import dial_wait_s
from p2psip.reload.paths.values import (
    PASSIVE,
    Ended,
    HangUp,
    LinkDoubted,
    LinkHolds,
    LinkMoved,
    LinkNews,
    LinkOver,
    MoveLink,
    Parameters,
    Purpose,
    SendStun,
    Session,
    StunArrived,
)
from p2psip.stun.credentials import StunCredential

ATTEMPT_MAX_S: Final = 30.0
"""From the other end's words to the link: the checks, and a handshake of DTLS."""

PATH_EVENTS: Final = (PathChosen, PathChanged, PathHolds, PathDoubted, PathLost)


@dataclass(frozen=True, slots=True)
class PathFound:
    """A session has a path: it is to be dialled by who is active."""

    session: Session
    context: object
    local: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class PathMissing:
    """A session has no path yet, and may not have one: TCP may be tried beside."""

    session: Session
    context: object


@dataclass(slots=True)
class _Attempt:
    session: Session
    context: object
    paths: list[tuple[Address, Address]] = field(default_factory=list)
    """The one in use is the last; a handshake may have begun on one before."""
    link: int | None = None
    reason: str = ""
    tried: tuple[PairReport, ...] = ()
    bereft: Address | None = None
    """The port of ours for which a relay lent an address that was offered, and that is gone."""

    @property
    def is_looking(self) -> bool:
        """True as long as nobody knows whether there is a path."""
        return not self.paths and not self.reason


class Punching:
    """The sessions with ICE of one node. Its length is the number of those that look for a path."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self._agents = Agents(rng, queue)
        self._servers = Reflexive(rng, queue)
        self._call_servers = CallServers(rng, queue)
        self.relayed = RelayedAddresses(rng, queue)
        """What relays lend us: candidates as others."""
        self.outside = OutsidePorts(rng, queue)
        self.opens = SimultaneousOpens(self._agents.restraint, queue)
        """Streams, beside: our ports for them, and when both ends open one."""
        self.relay_pings = RelayPings(rng, queue)
        self.is_seen_anew = False
        """True if somebody may see us at another address than before; who looks says that it has."""
        self.is_udp_blocked = False
        """True where datagrams do not pass, as far as the node knows."""
        self._attempts: dict[bytes, _Attempt] = {}
        self._by_path: dict[tuple[Address, Address], bytes] = {}
        self._by_link: dict[int, bytes] = {}
        self._links: dict[int, tuple[Address, Address]] = {}
        """Between which addresses links are."""
        self._doubted: set[int] = set()
        """Those without an agent that have no end here any more, or another for their other end."""
        self._timers: Timers[bytes] = Timers(queue)
        self._missing: Timers[bytes] = Timers(queue)
        self._found: list[PathFound | PathMissing | DialRelay | Ended | LinkNews] = []
        self._relay_news: list[RelayTaken | RelayGone] = []
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return sum(each.is_looking for each in self._attempts.values())

    def __iter__(self) -> Iterator[Session]:
        return (each.session for each in self._attempts.values() if each.is_looking)

    def contexts(self) -> tuple[object, ...]:
        """What they are for, as far as it is we who dial; the oldest first."""
        found = (each.context for each in self._attempts.values() if each.is_looking)
        return tuple(context for context in found if context is not None)

    @property
    def is_full(self) -> bool:
        """True if no further session may begin now."""
        return self._agents.is_full

    # What the node wants

    def describe(
        self,
        hosts: Sequence[Address],
        role: bytes,
        is_port: Callable[[int], bool] = lambda _: True,
        passed_on: Iterable[Mapped] = (),
    ) -> Parameters:
        """What we say of ourselves in an Attach ("passive") or in its answer ("active"); `is_full` must be false.

        `hosts` are addresses of this machine, `passed_on` what routers are known to pass on to them. `is_port` tells
        the ports of ours that the session may use.
        """
        seen_as = [each for each in self.seen_as() if is_port(each.base.port)]
        candidates = gathered(hosts, [*passed_on, *seen_as], self.relayed.mapped(hosts))
        # 6.5.1.9: "the offerer (the entity sending the Attach request) will always be controlling".
        own = self._agents.open(candidates, is_controlling=role == PASSIVE)
        return Parameters(own.ufrag, own.password, role, encoded(candidates))

    def seen_as(self) -> list[Mapped]:
        """As whom others see our ports."""
        return [*self._servers.mapped(), *self._call_servers.mapped(), *self._agents.mapped()]

    def has_asked(self, answer: bytes) -> bool:
        """True of what answers a question of ours as whom we are seen, or pretends to."""
        return answer in self._servers or answer in self._call_servers

    def forget_seen(self) -> None:
        """Datagrams pass no more: what others saw leads nowhere."""
        self._servers.forget_seen()
        self._call_servers.forget_seen()

    def replace_stream_paths(self, port: int) -> None:
        """Datagrams pass again, and a relay lends to this port over them: what goes from there over streams may have a
        better path.
        """
        ends = [(link, local) for link, (local, _) in self._links.items() if self.relayed.is_over_stream(local)]
        over = [link for link, local in ends if self.relayed.base_of(local).port == port]
        self._found += [LinkDoubted(link, "datagrams pass again") for link in over]

    def allocate(
        self, base: Address, relay: Address, credential: StunCredential, now: float, *, over_stream: bool = False
    ) -> None:
        """Have a relay lend a port of ours an address; with another credential, if it does already."""
        self.relayed.allocate(base, relay, credential, now, over_stream=over_stream)
        self._collect(now)

    def release(self, base: Address, relay: Address, now: float, *, over_stream: bool = False) -> None:
        """Give that back."""
        self.relayed.release(base, relay, now, over_stream=over_stream)
        self._collect(now)

    def lends(self, base: Address, relay: Address) -> bool:
        """True from when it has lent something to this port."""
        return bool(self.relayed.of(base, relay))

    def uses_relay(self, base: Address, relay: Address) -> bool:
        """True if a path goes from an address that this relay lends to this port."""
        lent = self.relayed.of(base, relay)
        return any(local in lent for local, _ in self._by_path)

    def has(self, session: Session) -> bool:
        """True of a session that has been described here, and whose agent is still there."""
        return session.local.ufrag in self._agents

    def begin(self, session: Session, context: object, now: float, *, offer: object = None) -> None:
        """Both ends' words are here: look for a path. `context` is what for where it is we who dial, `offer` where we
        do not; a stream both ends open.
        """
        ufrag = session.local.ufrag
        self._attempts[ufrag] = _Attempt(session, context)
        self._timers.set(ufrag, now + ATTEMPT_MAX_S, "no link on the path that was found")
        before = self._before(session)
        is_again = any(map(self._agents.is_doubted, before))
        missing_s = dial_wait_s(session, is_again=is_again, is_blocked=self.is_udp_blocked)
        # Where relays are reached over streams alone nothing else will come: a stream with the other end is better.
        missing_s = 0.0 if self.relayed.is_over_streams else missing_s
        self._missing.set(ufrag, now + missing_s, "no path was found yet")
        self.relayed.permit(session.remote.hosts, now)
        self.opens.begin(session, offer if context is None else context, now, is_again=is_again)
        self._agents.begin(ufrag, session.remote, now, was_relayed=any(map(self._agents.is_relayed, before)))
        self._collect(now)

    def _before(self, session: Session) -> list[bytes]:
        """The paths that there are with its peer, and that it is to replace."""
        theirs = (session.peer, session.purpose)
        used = [(ufrag, each.session) for ufrag, each in self._attempts.items() if each.link is not None]
        return [ufrag for ufrag, each in used if (each.peer, each.purpose) == theirs]

    def close(self, session: Session) -> None:
        """Nobody wants this session any more; no matter if it is gone."""
        self._close(session.local.ufrag)

    def opened(self, session: Session) -> None:
        """Both ends have opened a stream for a session: look no further, unless it is in use already, by a relay."""
        attempt = self._attempts.get(session.local.ufrag)
        if attempt is None or attempt.link is None:
            self._close(session.local.ufrag)
        self.opens.end(session.local.ufrag)

    def is_looking(self, session: Session) -> bool:
        """True of one for which nobody knows yet whether there is a path."""
        attempt = self._attempts.get(session.local.ufrag)
        return attempt is not None and attempt.is_looking

    def end_search(self, purpose: Purpose, peers: Container[NodeId | None]) -> object | None:
        """A link with one of these has come another way: look no further; what it was for, if it is we who dial."""
        contexts = []
        for session in [each for each in self if each.purpose is purpose and each.peer in peers]:
            contexts.append(self._attempts[session.local.ufrag].context)
            self._close(session.local.ufrag)
        return next((context for context in contexts if context is not None), None)

    def over(self, session: Session, context: object, reason: str = "") -> Ended:
        """That a session came to nothing: for this reason if there is no other, and what has become of its pairs."""
        attempt = self._attempts.get(session.local.ufrag)
        if attempt is not None and attempt.reason:
            return Ended(session, context, attempt.reason, attempt.tried)
        return Ended(session, context, reason, self._agents.reports(session.local.ufrag)[:REPORTED_PAIRS_MAX])

    def pair_of(self, link: int) -> PairReport | None:
        """The pair that a link runs on; None without ICE."""
        ufrag = self._by_link.get(link)
        return None if ufrag is None else self._agents.path(ufrag)

    def is_relayed(self, link: int) -> bool:
        """True if a link goes over a relay."""
        ufrag = self._by_link.get(link)
        return ufrag is not None and self._agents.is_relayed(ufrag)

    def ask(self, server: Address, now: float) -> None:
        """Somebody is dialled without an Attach: it can say as whom it sees us."""
        self._servers.ask(server, now)

    # Links

    def claim(
        self,
        link: int,
        local: Address,
        remote: Address,
        now: float,
        *,
        is_dialled: bool,
        calls_at: Sequence[Address] = (),
    ) -> None:
        """A link is up between these. If there was no Attach before it, its other end is a STUN server of ours; and any
        may be one for the port of calls, which is one of `calls_at`.
        """
        self._links[link] = local, remote
        # Neither on the port of calls itself, nor at an address that a relay lends us.
        bases = [each for each in calls_at if each.host == without_zone(local.host) and each.port != local.port]
        if bases:
            self._call_servers.linked(link, local._replace(port=bases[0].port), remote, now)
        ufrag = self._by_path.get((local, remote))
        if ufrag is not None:
            self._give(ufrag, link)
        elif is_dialled:
            self._servers.keep(link, remote, now)

    def down(self, link: int) -> None:
        """It is down; no matter if it is not known."""
        self._links.pop(link, None)
        self._doubted.discard(link)
        self._servers.forget(link)
        self._call_servers.down(link)
        self.outside.link_over(link)
        self.let_go(link)

    def let_go(self, link: int) -> None:
        """Nothing goes over it any more: nobody is to be asked for consent to that."""
        if (ufrag := self._by_link.get(link)) is not None:
            self._close(ufrag)

    def may_send(self, link: int, now: float) -> bool:
        """Data is to be sent on a link; False if the other end has not lately consented to that."""
        ufrag = self._by_link.get(link)
        return ufrag is None or self._agents.sent(ufrag, now)

    def heard(self, link: int, now: float) -> None:
        """Data has come on a link."""
        if (ufrag := self._by_link.get(link)) is not None:
            self._agents.heard(ufrag, now)

    def is_doubted(self, link: int) -> bool:
        """True of a link whose path has not answered lately."""
        ufrag = self._by_link.get(link)
        return link in self._doubted if ufrag is None else self._agents.is_doubted(ufrag)

    def round_trip(self, link: int) -> RoundTripEstimator | None:
        """What its agent knows of it; None of a link that has none."""
        ufrag = self._by_link.get(link)
        return None if ufrag is None else self._agents.round_trip(ufrag)

    def is_checked(self, link: int) -> bool:
        """True of a link that has an agent."""
        return link in self._by_link

    def use_addresses(self, addresses: Sequence[Address], now: float) -> None:
        """Our ports are at these addresses from now on."""
        hosts = {address.host for address in addresses}
        self._servers.use_hosts(hosts, now)
        self._call_servers.use_hosts(hosts, now)
        mapped = [*self._servers.mapped(), *self._call_servers.mapped()]
        self._agents.use_candidates(gathered(addresses, mapped, self.relayed.mapped(addresses)), now)
        self._agents.doubt(now)
        self._doubt_plain(
            [link for link, (local, _) in self._links.items() if local.host not in hosts], "this end has no address"
        )
        self._collect(now)

    # From the driver

    def handle(self, arrived: StunArrived, now: float) -> None:
        """A STUN message has come, or one of TURN."""
        if self.relayed.handle(arrived, now):
            self._collect(now)
        elif arrived.data in self._servers:
            self.is_seen_anew = True
            if self._servers.handle_answer(arrived.local, arrived.remote, arrived.data):
                # One sees us elsewhere than before: so may the other ends of all paths.
                self._agents.doubt(now)
                self._doubt_plain(self._servers.links_with(arrived.remote), "the other end sees another address")
                self._servers.ask_all(now)
        elif arrived.data in self._call_servers:
            self._call_servers.handle_answer(arrived.local, arrived.remote, arrived.data)
        elif arrived.data in self.relay_pings:
            self.relay_pings.handle_answer(arrived.remote, arrived.data, now)
        else:
            self._agents.handle_datagram(arrived.local, arrived.remote, arrived.data, now)
            self._collect(now)

    def send_relayed(self, goes: RelayedGoes, now: float) -> None:
        """An association has something to send from an address that a relay lends us."""
        self.relayed.send(goes.relayed, goes.remote, goes.data, now)
        self._collect(now)

    def handle_stream(self, event: RelayStreamCame, now: float) -> None:
        """Bytes of a relay have come over a stream."""
        if not self.relay_pings.stream_came(event.path, event.data, now):
            self.outside.stream_came(event.path, event.data, now)
            self.relayed.stream_came(event.path, event.data, now)
            self._collect(now)

    def stream_down(self, number: int, reason: str, now: float) -> None:
        """A stream has ended; no matter if it was none with a relay."""
        self.relay_pings.stream_down(number)
        self.outside.stream_down(number, now)
        self.relayed.stream_down(number, reason, now)
        self._collect(now)

    def stream_up(self, dialled: DialRelay | AskOutside, number: int, now: float) -> None:
        """A stream with a relay is up."""
        if isinstance(dialled, AskOutside):
            self.outside.stream_up(dialled, number, now)
        elif dialled.is_ping:
            self.relay_pings.stream_up(dialled.relay, number, now)
        elif not self.relayed.stream_up(dialled, number, now):
            self._effects.append(HangUp(number, "it is not wanted any more"))
        self._collect(now)

    def not_dialled(self, dialled: DialRelay | AskOutside, reason: str, now: float) -> None:
        """There is none."""
        if isinstance(dialled, AskOutside):
            self.outside.not_dialled(dialled, now)
        elif dialled.is_ping:
            self.relay_pings.not_dialled(dialled.relay)
        else:
            self.relayed.not_dialled(dialled, reason, now)
        self._collect(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        servers = (self._servers, self._call_servers, self.relayed, self.relay_pings, self.outside)
        return earliest([each.next_deadline() for each in (self._agents, *servers, self.opens, self._timers)])

    def handle_timeout(self, now: float) -> None:
        """Check, ask, give up."""
        servers = (self._servers, self._call_servers, self.relayed, self.relay_pings, self.outside)
        for part in (self._agents, *servers, self.opens):
            part.handle_timeout(now)
        self._collect(now)
        for ufrag in self._missing.pop_due(now):
            if (attempt := self._attempts[ufrag]).is_looking:
                self._found.append(PathMissing(attempt.session, attempt.context))
        for ufrag in self._timers.pop_due(now):
            self._close(ufrag)

    def take(self) -> list[PathFound | PathMissing | DialRelay | AskOutside | OpenTogether | Ended | LinkNews]:
        """What has become of sessions since the last call, and what is to be dialled."""
        taken = [*self._found, *self.relay_pings.dials(), *self.outside.take(), *self.opens.take()]
        self._found.clear()
        return taken

    def relay_news(self) -> list[RelayTaken | RelayGone]:
        """What has become of allocations since the last call."""
        news, self._relay_news = self._relay_news, []
        return news

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        for each in (self._servers, self._call_servers, self.relay_pings, self.outside):
            effects += each.drain()
        return effects

    # Inside

    def _collect(self, now: float) -> None:
        """What agents and relays say goes to each other, until both are quiet."""
        is_quiet = False
        while not is_quiet:
            effects, came = [*self._agents.drain(), *self.relayed.drain()], self.relayed.take()
            for effect in effects:
                self._pass_on(effect, now)
            for arrived in came:
                self._agents.handle_datagram(arrived.local, arrived.remote, arrived.data, now)
            is_quiet = not (effects or came)

    def _pass_on(self, effect: Effect, now: float) -> None:
        if isinstance(effect, PATH_EVENTS) and effect.ufrag not in self._attempts:
            # What came before it has ended that session.
            return
        match effect:
            case SendStun(local, remote, data) if local is not None and local in self.relayed:
                self.relayed.send(local, remote, data, now)
            case PathsSuspected():
                # What an Attach says of us is to be true.
                self._servers.ask_all(now)
                self._call_servers.ask_all(now)
                self.relayed.doubt(now)
            case DialRelay():
                self._found.append(effect)
            case RelayTaken(base):
                self._relay_news.append(effect)
                self._end_bereft(base)
            case RelayGone(base, relayed=relayed, reason=reason):
                self._relay_news.append(effect)
                for address in relayed:
                    self._agents.lose_local(address, f"the relay is gone: {reason}", now)
                    self._bereave(address, base)
            case PathChosen(ufrag, local, remote, is_relayed):
                if not is_relayed:
                    self.opens.end(ufrag)
                self.relayed.use_path(local, remote, now)
                self.is_seen_anew = True
                attempt = self._attempts[ufrag]
                self._on_path(ufrag, local, remote)
                self._found.append(PathFound(attempt.session, attempt.context, local, remote))
                # The other end may have dialled on it before the answer to our nomination came.
                for link in [each for each, path in self._links.items() if path == (local, remote)]:
                    self._give(ufrag, link)
            case PathChanged(ufrag, local, remote, is_relayed):
                if not is_relayed:
                    self.opens.end(ufrag)
                self.relayed.use_path(local, remote, now)
                self._on_path(ufrag, local, remote)
                if (moving := self._attempts[ufrag].link) is not None:
                    self._move(moving, local, remote)
            case PathHolds(ufrag):
                if (held := self._attempts[ufrag].link) is not None:
                    self._found.append(LinkHolds(held))
            case PathDoubted(ufrag, reason):
                if (doubted := self._attempts[ufrag].link) is not None:
                    self._found.append(LinkDoubted(doubted, reason))
            case PathLost(ufrag, reason, tried):
                self._lost(ufrag, reason, tried[:REPORTED_PAIRS_MAX])
            case _:
                self._effects.append(effect)

    def _doubt_plain(self, links: Sequence[int], reason: str) -> None:
        """These have no agent that could move them."""
        for link in links:
            if link not in self._by_link and link not in self._doubted:
                self._doubted.add(link)
                self._found.append(LinkDoubted(link, reason))

    def _on_path(self, ufrag: bytes, local: Address, remote: Address) -> None:
        self._attempts[ufrag].paths.append((local, remote))
        self._by_path[local, remote] = ufrag

    def _give(self, ufrag: bytes, link: int) -> None:
        if (before := self._by_link.get(link, ufrag)) != ufrag:
            # Its other end has attached again, and is where it was, as this end sees it.
            self._close(before)
        attempt = self._attempts[ufrag]
        if attempt.link is not None:
            # A second association between the same addresses takes the place of the first.
            self._by_link.pop(attempt.link, None)
        attempt.link = link
        self._by_link[link] = ufrag
        self._timers.cancel(ufrag)
        if (path := attempt.paths[-1]) != self._links[link]:
            self._move(link, *path)

    def _move(self, link: int, local: Address, remote: Address) -> None:
        """Between two addresses there is one link. One that is there, is newer and answers stays; another may have no
        other end any more.
        """
        order = list(self._links)
        for other in [each for each, path in self._links.items() if each != link and path == (local, remote)]:
            if order.index(other) > order.index(link) and not self.is_doubted(other):
                self._found.append(LinkOver(link, "a newer link goes where its path would"))
                if (ufrag := self._by_link.get(other)) is not None:
                    self._by_path[local, remote] = ufrag
                self._close(self._by_link[link])
                return
            self._found.append(LinkOver(other, "another link goes over its path, which answers no more"))
            self.down(other)
        self._links[link] = local, remote
        self._effects.append(MoveLink(link, local, remote))
        self._found.append(LinkMoved(link, remote))

    def _bereave(self, address: Address, base: Address) -> None:
        """A relay that lent us an address is gone: who looks for a path and has offered it may have none now."""
        for attempt in self._attempts.values():
            offered = (candidate.addr_port.host_port for candidate in attempt.session.local.candidates)
            if attempt.is_looking and address in offered:
                attempt.bereft = base

    def _end_bereft(self, base: Address) -> None:
        """Another relay lends us an address. The other end does not know it, and hears of it in a new Attach only."""
        for ufrag, attempt in list(self._attempts.items()):
            if attempt.is_looking and attempt.bereft == base:
                self._agents.close(ufrag)
                self._lost(ufrag, "the relay is gone that it might have gone over, and there is another", ())

    def _lost(self, ufrag: bytes, reason: str, tried: tuple[PairReport, ...]) -> None:
        attempt = self._attempts[ufrag]
        tried = (*tried, *self.opens.reports(ufrag))
        self.opens.end(ufrag)
        attempt.reason, attempt.tried = reason, tried
        if attempt.link is not None:
            self._found.append(LinkOver(attempt.link, reason, tried))
            self._close(ufrag)
        elif not attempt.paths:
            self._found.append(Ended(attempt.session, attempt.context, reason, tried))

    def _close(self, ufrag: bytes) -> None:
        self._agents.close(ufrag)
        self.opens.end(ufrag)
        self._timers.cancel(ufrag)
        self._missing.cancel(ufrag)
        if (attempt := self._attempts.pop(ufrag, None)) is None:
            return
        for path in attempt.paths:
            if self._by_path.get(path) == ufrag:
                del self._by_path[path]
        if attempt.link is not None:
            self._by_link.pop(attempt.link, None)
