"""From an AoR to the places to try (RFC 7904 section 4).

Theory of operation. A question of the SIP server becomes a Fetch, and one more for each entry that leads on to another
AoR. When all are over the places are told, newest first. Who calls does not wait for a slow overlay longer than for a
slow phone: what is known after `STAGGER_S` is tried, the phones at this peer among it. A peer outside of the ring has
nobody to ask, and answers at once from what it knows itself.

Who forwards all calls to a number that nobody in the overlay has is called through a gateway, also where others are
called at the same time: what nobody has who is called alone, the SIP server knows better (gateway/by_gateway.py).

Names are dialled as people write them, and issued in lower case: what nobody has as it was dialled is looked for in
lower case.

Where the overlay's calls go by other peers (docs/decisions/ways-of-calls.md), the place to try is the peer that is
responsible for the record, found by a Ping to it, or a home peer that the record leads by; and this peer is asked as
such by others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2psip.base.effects import AskAnswered
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.base.user_keys import aor_of, key_of
from p2psip.coupling.gruu import last_node, make_gruu
from p2psip.coupling.line_records.contact_prefs import read_prefs
from p2psip.coupling.lines import Publisher
from p2psip.coupling.numbers.gateways import Gateways, GatewaysKnown
from p2psip.coupling.other_ways import by_home, by_responsible
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.node.node import Node
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.sip_registration import (
    FORWARDS_MAX,
    LineRegistration,
    NotAnAor,
    RegistrationForward,
    RegistrationRoute,
    Registrations,
    canonical_aor,
    fetch_request,
    read_registrations,
    resource_id,
)
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination, Entry
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.storage_messages import FetchAns
from p2psip.sip.entities.gate.identity import line_uri
from p2psip.sip.entities.gateway.terms import is_number
from p2psip.sip.entities.overlays.by_overlay import target_of_phones
from p2psip.sip.entities.own import BY_HOME, BY_RESPONSIBLE
from p2psip.sip.entities.proxy.resolvers import diversion
from p2psip.sip.entities.questions import Forwarded, Located, LocateUser, NotLocated, Rung, Target
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, escape_user

STAGGER_S = 1.0
"""Design decision 5: "start the next after one second without an answer"."""

GROUP_S = 3.0
"""The same of a group: who is found later does not ring."""

SEARCHES_MAX = 2048
URGENT_SEARCHES = 100
"""So many more for calls of an emergency."""


@dataclass(slots=True)
class _Search:
    """One question of the SIP server: which AoRs have been looked up, and what was found so far."""

    question: LocateUser
    aor: str
    in_lower_case: str
    seen: set[str] = field(default_factory=set)
    open: int = 0
    found: list[tuple[str, LineRegistration]] = field(default_factory=list)
    failures: list[RequestFailed] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    diversions: dict[str, tuple[NameAddr, ...]] = field(default_factory=dict)
    """Who has led on to an AoR, the latest first."""
    numbers: list[Target] = field(default_factory=list)
    """Where gateways call what nobody in the overlay has."""
    is_looking_up: bool = False
    """False while it is asked who is responsible for the record, instead."""

    overlay: str = ""

    @property
    def name(self) -> str:
        """By what name a line of this peer would be the one that is looked for."""
        return key_of(self.aor, self.overlay)

    @property
    def names(self) -> tuple[str, ...]:
        """The same of all that are looked for."""
        return tuple(rung.user for rung in self.question.group) or (self.name,)


@dataclass(frozen=True, slots=True)
class LocateContext:
    """A Fetch of a search, or who its gateways are: the SIP server's question that it is for, and the AoR."""

    token: int
    aor: str


@dataclass(frozen=True, slots=True)
class ResponsibleContext:
    """A Ping to a record, whose answer says who is responsible for it."""

    token: int


class Locator:
    """Answers LocateUser."""

    def __init__(
        self,
        node: Node,
        server: SipServer,
        publisher: Publisher,
        gateways: Gateways,
        overlay: str,
        is_listed: Callable[[str], bool],
        phones_at: str = "",
        queue: TimerQueue | None = None,
    ) -> None:
        """`is_listed` says whether the directory has an AoR, which lasts longer than its registration. The phones of
        the lines of this peer may be at that of the site in another overlay, `phones_at`.
        """
        self._phones_at = phones_at
        self._is_listed = is_listed
        self._answers: list[AskAnswered] = []
        self._node = node
        self._server = server
        self._publisher = publisher
        self._gateways = gateways
        self._overlay = overlay
        self._searches: dict[int, _Search] = {}
        self._timers: Timers[int] = Timers(queue)

    def __len__(self) -> int:
        return len(self._searches)

    def locate(self, token: int, question: LocateUser, now: float) -> None:
        """Find the places to try for a request; the answer may come at once."""
        if question.from_peer is not None and not self._is_asked_as_responsible(question):
            # Another peer sends to us what our record says is here: there is nowhere else to look.
            self._answers.append(AskAnswered(token, self._answer_peer(question, now)))
            return
        try:
            search = self._search(question)
        except NotAnAor as error:
            self._answers.append(AskAnswered(token, NotLocated(404, "Not Found", str(error))))
            return
        if not self._node.is_connected:
            search.failures.append(RequestFailed("this peer is not in the overlay (yet)"))
            self._answers.append(AskAnswered(token, self._conclude(search, now)))
        elif len(self._searches) >= SEARCHES_MAX + (URGENT_SEARCHES if question.is_urgent else 0):
            self._answers.append(
                AskAnswered(token, NotLocated(480, "Temporarily Unavailable", "too many lookups under way"))
            )
        else:
            self._searches[token] = search
            self._timers.set(token, now + (GROUP_S if question.group else STAGGER_S), "try what is known")
            if not question.group and self._goes_by_responsible(question, search):
                where = Destination.resource(self._resource(search.in_lower_case))
                asked = OverlayRequest([where], MessageCode.PING_REQ, PingReq())
                self._node.request(asked, ResponsibleContext(token), now)
            else:
                for aor in self._aors(search):
                    self._look_up(token, search, aor, now)

    def drain(self) -> list[AskAnswered]:
        """The answers since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def cancel(self, token: int) -> None:
        """The SIP server does not want to know any more."""
        self._searches.pop(token, None)
        self._timers.cancel(token)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Try what is known by now, if anything is."""
        for token in self._timers.pop_due(now):
            search = self._searches[token]
            if not search.is_looking_up:
                self._look_up(token, search, search.aor, now)
            elif self._places(search, now):
                self._end(token, now)

    def handle_done(
        self, context: LocateContext | ResponsibleContext, result: Answer | RequestFailed, now: float
    ) -> None:
        """The end of a request for a search that may have been cancelled."""
        if isinstance(context, LocateContext):
            self._on_fetched(context, result, now)
            return
        search = self._searches.get(context.token)
        if search is None or search.is_looking_up:
            return
        if isinstance(result, Answer):
            self.cancel(context.token)
            user = self._key(search.in_lower_case)
            target = by_responsible(user, self._overlay, result.signer.node_id)
            self._answers.append(AskAnswered(context.token, Located((target,))))
        else:
            self._look_up(context.token, search, search.aor, now)

    def handle_gateways(self, known: GatewaysKnown, now: float) -> None:
        """Which gateways reach a number that somebody is led on to: the next is tried where one is silent."""
        assert isinstance(known.context, LocateContext), "others have asked for themselves"
        token, aor = known.context.token, known.context.aor
        search = self._searches.get(token)
        if search is None:
            return
        if known.gateways:
            first, *rest = (gateway.target for gateway in known.gateways)
            search.numbers.append(first.with_others(rest).forwarded(search.diversions.get(aor, ())))
        self._over(token, search, now)

    def _on_fetched(self, fetched: LocateContext, result: Answer | RequestFailed, now: float) -> None:
        token = fetched.token
        search = self._searches.get(token)
        if search is None:
            return
        if isinstance(result, RequestFailed):
            search.failures.append(result)
        else:
            read = self.read(fetched.aor, result, now)
            is_alone = not search.question.group and fetched.aor == search.aor
            if is_alone and (forwarded := self._forwarded(read, search.question)) is not None:
                self.cancel(token)
                self._answers.append(AskAnswered(token, self._led_on(search, forwarded)))
                return
            if self._may_be_outside(search, fetched.aor, read):
                self._gateways.look_for(self._key(fetched.aor), fetched, now, is_emergency=False)
                return
            self._take(token, search, fetched.aor, read, now)
        self._over(token, search, now)

    def _over(self, token: int, search: _Search, now: float) -> None:
        """A part of a search is over: the last of them ends it."""
        search.open -= 1
        if not search.open:
            for absent in self._stand_ins(search, now):
                search.diversions[self.aor(absent.user)] = absent.diversions
                self._look_up(token, search, self.aor(absent.user), now)
        if search.open:
            return
        if not (search.found or search.numbers or search.failures) and search.aor != search.in_lower_case:
            search.aor = search.in_lower_case
            self._look_up(token, search, search.aor, now)
        else:
            self._end(token, now)

    def _stand_ins(self, search: _Search, now: float) -> list[Rung]:
        """Who is called for members of a group of whom nothing was found, neither here nor elsewhere."""
        elsewhere = {aor for aor, entry in search.found if _peer_of(entry) != self._node.node_id}
        return [
            rung.absent
            for rung in search.question.group
            if rung.absent is not None
            and self.aor(rung.absent.user) not in search.seen
            and self.aor(rung.user) not in elsewhere
            and not self._here(search, rung.user, now)
        ]

    def read(self, aor: str, answer: Answer, now: float) -> Registrations:
        """The entries in the answer to a Fetch for `aor` that count, newest first."""
        assert isinstance(answer.body, FetchAns), "the transport lets no other answer to a Fetch pass"
        return read_registrations(aor, answer.body, answer.certificates, self._node.reader, now)

    def _search(self, question: LocateUser) -> _Search:
        dialled, lower = self.aor(question.user), self.aor(question.user.lower())
        is_ours = self._publisher.get(question.user.lower()) is not None
        diversions = {self.aor(rung.user): rung.diversions for rung in question.group if rung.diversions}
        return _Search(question, lower if is_ours else dialled, lower, diversions=diversions, overlay=self._overlay)

    def _aors(self, search: _Search) -> list[str]:
        """What is looked up at first."""
        return [self.aor(name) for name in search.names] if search.question.group else [search.aor]

    def aor(self, name: str) -> str:
        """The AoR of a user of the overlay. Raises NotAnAor."""
        user, at, domain = name.rpartition("@")
        return canonical_aor(f"{escape_user(user if at else name)}@{domain if at else self._overlay}")

    def _key(self, aor: str) -> str:
        """By what name a line of this peer has a canonical AoR."""
        return key_of(aor, self._overlay)

    def _may_be_outside(self, search: _Search, aor: str, read: Registrations) -> bool:
        """True for a number that nobody has, and that is a member of a group or led on to: no user, but a telephone."""
        name = self._key(aor)
        is_led_to = search.question.method == "INVITE" and (search.question.group or aor in search.diversions)
        is_nobody = not (read.entries or read.dropped) and self._publisher.get(name) is None
        return bool(is_led_to) and is_nobody and is_number(name) and aor == self.aor(name)

    def _look_up(self, token: int, search: _Search, aor: str, now: float) -> None:
        search.is_looking_up = True
        search.seen.add(aor)
        search.open += 1
        self._node.fetch(fetch_request(aor, self._node.hash_name), LocateContext(token, aor), now)

    def _take(self, token: int, search: _Search, aor: str, registrations: Registrations, now: float) -> None:
        search.dropped += registrations.dropped
        uri = line_uri(self._key(aor), self._overlay)
        diversions = (diversion(uri, "unconditional"), *search.diversions.get(aor, ()))
        for entry in registrations.entries:
            if isinstance(entry.target, RegistrationRoute):
                search.found.append((aor, entry))
            elif entry.target.aor not in search.seen and len(search.seen) < FORWARDS_MAX + len(search.names):
                search.diversions[entry.target.aor] = diversions
                self._look_up(token, search, entry.target.aor, now)

    def _end(self, token: int, now: float) -> None:
        search = self._searches[token]
        self.cancel(token)
        self._answers.append(AskAnswered(token, self._conclude(search, now)))

    def _conclude(self, search: _Search, now: float) -> Located | NotLocated:
        places = self._places(search, now)
        if (redirected := self._redirected(search, self._elsewhere(search, places))) is not None:
            return redirected
        if not places:
            return self._not_located(search)
        return Located(tuple(places), 0.0 if search.question.group else STAGGER_S)

    def _places(self, search: _Search, now: float) -> list[Target]:
        """Where to try, the newest first, no phone and no peer twice."""
        found = sorted(search.found, key=lambda item: -item[1].storage_time_ms)
        places: dict[str, Sequence[Target]] = {}
        for aor, entry in found:
            assert isinstance(entry.target, RegistrationRoute)
            key, targets = self._led_to(search, aor, entry.target, now)
            places.setdefault(key, _forwarded_to(targets, search.diversions.get(aor, ())))
        for name in search.names:
            if name not in places:
                # A line of this peer whose record is not in the overlay, or not yet: an island goes on working.
                places[name] = _forwarded_to(self._here(search, name, now), search.diversions.get(self.aor(name), ()))
        return [*(target for several in places.values() for target in several), *search.numbers]

    def _led_to(self, search: _Search, aor: str, route: RegistrationRoute, now: float) -> tuple[str, Sequence[Target]]:
        """Where an entry leads to, in words that are the same for the same place, and what is tried for it."""
        name = self._key(aor)
        if route.peer == self._node.node_id:
            return name, self._here(search, name, now)
        calls_by, entries = self._node.configuration.calls_by, route.destination_list
        if calls_by.has_homes:
            is_homes_turn = search.question.is_again is (calls_by is CallsBy.DIRECT_THEN_HOME)
            if is_homes_turn and not search.question.is_urgent and route.home not in (None, self._node.node_id):
                return f"{aor} {route.home}", [by_home(name, self._overlay, route.home)]
            if search.question.is_again and is_homes_turn:
                # The peer of the line has been tried, and it has no home, or that is this peer.
                return "", ()
            # A home stands before it, and may be off.
            entries = (Destination.node(route.peer),)
        return f"{aor} {route.peer}", [self._remote(search, aor, entries, route.contact_prefs)]

    def _here(self, search: _Search, name: str, now: float) -> Sequence[Target]:
        """Who answers at this peer for a line of it: its phones, or for its state the peer itself."""
        if search.question.is_about_state:
            return self._server.state_targets(name) if self._publisher.get(name) is not None else ()
        return self._phones(name, now)

    def _phones(self, name: str, now: float) -> tuple[Target, ...]:
        """The phones of a line of this peer: those that are registered here, and the site's others."""
        here = self._server.targets(name, now)
        if not self._phones_at or self._publisher.get(name) is None:
            return here
        return (*here, target_of_phones(self._phones_at, name))

    def _not_located(self, search: _Search) -> NotLocated:
        if search.question.group:
            return NotLocated(480, "Temporarily Unavailable", f"no phone of {', '.join(search.names)} is registered")
        if search.failures:
            return NotLocated(480, "Temporarily Unavailable", f"lookup of {search.aor}: {search.failures[0]}")
        if search.dropped:
            why = search.dropped[0]
            return NotLocated(480, "Temporarily Unavailable", f"what is stored of {search.aor} does not count: {why}")
        if search.found or self._publisher.get(search.name) is not None:
            return NotLocated(480, "Temporarily Unavailable", f"no phone of {search.aor} is registered")
        if self._is_listed(search.aor):
            return NotLocated(
                480, "Temporarily Unavailable", f"no peer of {search.aor}, whom the directory has, is there"
            )
        return NotLocated(404, "Not Found", f"nobody in the overlay is {search.aor}")

    # Of other peers

    def _resource(self, aor: str) -> ResourceId:
        return resource_id(aor, self._node.hash_name)

    def _goes_by_responsible(self, question: LocateUser, search: _Search) -> bool:
        """True if somebody else is to send it on: whose phones are here is asked after by this peer itself."""
        return (
            self._node.configuration.calls_by.asks_responsible
            and question.from_peer is None
            and not (question.is_again or question.is_urgent or question.is_about_record)
            and self._publisher.get(search.name) is None
            and not self._node.is_responsible(self._resource(search.in_lower_case))
        )

    def _is_asked_as_responsible(self, question: LocateUser) -> bool:
        """True if this peer is to send on what is for whose record it keeps: for nobody else, and not unless all do."""
        if question.way != BY_RESPONSIBLE or not self._node.configuration.calls_by.asks_responsible:
            return False
        try:
            aor = self.aor(question.user)
        except NotAnAor:
            return False
        return self._node.is_responsible(self._resource(aor))

    def _elsewhere(self, search: _Search, places: Sequence[Target]) -> list[SipUri]:
        """Whom a redirection names: nobody where all places are here; else the other peers, and this one if it is one
        of them.
        """
        others = [place.uri for place in places if place.hops is None]
        if not others or len(others) == len(places):
            return others
        return [*others, make_gruu(search.name, self._overlay, (Destination.node(self._node.node_id),))]

    def _led_on(self, search: _Search, forwarded: Forwarded) -> Forwarded | NotLocated:
        """What becomes of a call for somebody who forwards all: who sends it on for others has not been asked for whom
        that is, and has no key to sign that it is meant. The caller's peer asks the overlay itself then.
        """
        if search.question.from_peer is None:
            return forwarded
        why = f"{search.aor} forwards all calls, which the caller's peer is to read itself"
        redirected = self._redirected(search, (forwarded.uri,))
        return redirected or NotLocated(480, "Temporarily Unavailable", why)

    def _redirected(self, search: _Search, uris: Sequence[SipUri]) -> NotLocated | None:
        """Where this peer only says who is to be asked: that."""
        if search.question.from_peer is None or self._node.configuration.calls_by is not CallsBy.REDIRECT or not uris:
            return None
        return NotLocated(302, "Moved Temporarily", f"{search.aor} is elsewhere", tuple(uris))

    def _answer_peer(self, question: LocateUser, now: float) -> Located | NotLocated:
        """Where another peer's request for one of our lines goes."""
        name = question.user
        if question.way == BY_HOME and self._node.configuration.calls_by.has_homes:
            return self._answer_as_home(question, now)
        has_line = self._publisher.get(name) is not None
        targets = self._phones(name, now)
        if question.is_about_state:
            targets = self._server.state_targets(name) if has_line else ()
        if targets:
            return Located(targets, STAGGER_S)
        # 404 would tell the caller that there is no such user, although only the record that led here is stale.
        reason = (
            f"the phone of {name} is not registered at its peer" if has_line else f"{name} has no line on this peer"
        )
        return NotLocated(480, "Temporarily Unavailable", reason)

    def _answer_as_home(self, question: LocateUser, now: float) -> Located | NotLocated:
        """Where a request for a user goes who has this peer for a home, or a line here, or both."""
        aor = aor_of(question.user, self._overlay)
        search = _Search(question, aor, aor, overlay=self._overlay)
        others = [self._remote(search, aor, (Destination.node(peer),)) for peer in self._node.at_home(aor, now)]
        targets = [*self._here(search, question.user, now), *others]
        if targets:
            return Located(tuple(targets), STAGGER_S)
        return NotLocated(480, "Temporarily Unavailable", f"{question.user} is not registered at this home peer")

    def _forwarded(self, found: Registrations, question: LocateUser) -> Forwarded | None:
        """The AoR that all calls are for instead, where every entry leads on to one: the latest word counts. Who asks
        about the record alone wants to know whether any does.
        """
        forwards = [entry.target for entry in found.entries if isinstance(entry.target, RegistrationForward)]
        if not forwards or (len(forwards) < len(found.entries) and not question.is_about_record):
            return None
        return Forwarded(self._uri(forwards[0].aor))

    def _remote(self, search: _Search, aor: str, route: Sequence[Entry], prefs: bytes = b"") -> Target:
        uri = self._uri(aor)
        # RFC 3261 26.2.2: who dials "sips" means TLS to the end; the next peer is to know that.
        gruu = make_gruu(uri.user_name, uri.host, route).replace(scheme=search.question.uri.scheme)
        peer = last_node(route)
        assert peer is not None, "entries that end with no node are not made into a Route"
        return Target(gruu, None, f"peer {peer.short}", phones=read_prefs(prefs))

    def _uri(self, aor: str) -> SipUri:
        """The URI that means a canonical AoR to the SIP server (sip/entities/domains/hosted.py)."""
        user, _, domain = aor.rpartition("@")
        is_ours = domain == self._overlay or domain in self._node.configuration.hosted_domains
        return line_uri(self._key(aor), self._overlay) if is_ours else SipUri(domain, escape_user(user))


def _peer_of(entry: LineRegistration) -> NodeId | None:
    """The peer that an entry leads to, if it leads to one."""
    return entry.target.peer if isinstance(entry.target, RegistrationRoute) else None


def _forwarded_to(targets: Sequence[Target], diversions: tuple[NameAddr, ...]) -> Sequence[Target]:
    return [target.forwarded(diversions) for target in targets]
