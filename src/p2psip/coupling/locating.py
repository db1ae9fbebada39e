"""From an AoR to the places to try (RFC 7904 section 4).

Theory of operation. A question of the SIP server becomes a Fetch, and one more for each entry that leads on to another
AoR. When all are over the places are told, newest first. Who calls does not wait for a slow overlay longer than for a
slow phone: what is known after `STAGGER_S` is tried, the phones at this peer among it. A peer outside of the ring has
nobody to ask, and answers at once from what it knows itself.

Names are dialled as people write them, and issued in lower case: what nobody has as it was dialled is looked for in
lower case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from p2psip.base.effects import AskAnswered
from p2psip.base.errors import RequestFailed
from p2psip.base.timers import Deadline, Timers
from p2psip.coupling.contact_prefs import read_prefs
from p2psip.coupling.gruu import make_gruu
from p2psip.coupling.lines import Publisher
from p2psip.reload.node.node import Node
from p2psip.reload.transport.outcome import Answer
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
)
from p2psip.reload.wire.storage_messages import FetchAns
from p2psip.sip.entities.questions import Forwarded, Located, LocateUser, NotLocated, Target
from p2psip.sip.entities.server import SipServer
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

    @property
    def name(self) -> str:
        """By what name a line of this peer would be the one that is looked for."""
        return self.aor.rpartition("@")[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The same of all that are looked for."""
        return self.question.group or (self.name,)


@dataclass(frozen=True, slots=True)
class LocateContext:
    """A Fetch of a search: the SIP server's question that it is for, and the AoR that is looked up."""

    token: int
    aor: str


class Locator:
    """Answers LocateUser."""

    def __init__(self, node: Node, server: SipServer, publisher: Publisher, overlay: str) -> None:
        self._answers: list[AskAnswered] = []
        self._node = node
        self._server = server
        self._publisher = publisher
        self._overlay = overlay
        self._searches: dict[int, _Search] = {}
        self._timers: Timers[int] = Timers()

    def __len__(self) -> int:
        return len(self._searches)

    def locate(self, token: int, question: LocateUser, now: float) -> None:
        """Find the places to try for a request; the answer may come at once."""
        if question.from_peer is not None:
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
            if self._places(self._searches[token], now):
                self._end(token, now)

    def handle_done(self, fetched: LocateContext, result: Answer | RequestFailed, now: float) -> None:
        """The end of a Fetch, for a search that may have been cancelled."""
        token = fetched.token
        search = self._searches.get(token)
        if search is None:
            return
        search.open -= 1
        if isinstance(result, RequestFailed):
            search.failures.append(result)
        else:
            read = self.read(fetched.aor, result, now)
            is_alone = not search.question.group and fetched.aor == search.aor
            if is_alone and (forwarded := _forwarded(read)) is not None:
                self.cancel(token)
                self._answers.append(AskAnswered(token, forwarded))
                return
            self._take(token, search, fetched.aor, read, now)
        if search.open:
            return
        if not search.found and not search.failures and search.aor != search.in_lower_case:
            search.aor = search.in_lower_case
            self._look_up(token, search, search.aor, now)
        else:
            self._end(token, now)

    def read(self, aor: str, answer: Answer, now: float) -> Registrations:
        """The entries in the answer to a Fetch for `aor` that count, newest first."""
        assert isinstance(answer.body, FetchAns), "the transport lets no other answer to a Fetch pass"
        return read_registrations(aor, answer.body, answer.certificates, self._node.reader, now)

    def _search(self, question: LocateUser) -> _Search:
        dialled = canonical_aor(f"{escape_user(question.user)}@{self._overlay}")
        lower = canonical_aor(f"{escape_user(question.user.lower())}@{self._overlay}")
        is_ours = self._publisher.get(question.user.lower()) is not None
        return _Search(question, lower if is_ours else dialled, lower)

    def _aors(self, search: _Search) -> list[str]:
        """What is looked up at first."""
        group = search.question.group
        return [canonical_aor(f"{escape_user(name)}@{self._overlay}") for name in group] if group else [search.aor]

    def _look_up(self, token: int, search: _Search, aor: str, now: float) -> None:
        search.seen.add(aor)
        search.open += 1
        self._node.fetch(fetch_request(aor, self._node.hash_name), LocateContext(token, aor), now)

    def _take(self, token: int, search: _Search, aor: str, registrations: Registrations, now: float) -> None:
        search.dropped += registrations.dropped
        for entry in registrations.entries:
            if isinstance(entry.target, RegistrationRoute):
                search.found.append((aor, entry))
            elif entry.target.aor not in search.seen and len(search.seen) < FORWARDS_MAX + len(search.names):
                self._look_up(token, search, entry.target.aor, now)

    def _end(self, token: int, now: float) -> None:
        search = self._searches[token]
        self.cancel(token)
        self._answers.append(AskAnswered(token, self._conclude(search, now)))

    def _conclude(self, search: _Search, now: float) -> Located | NotLocated:
        places = self._places(search, now)
        if not places:
            return self._not_located(search)
        return Located(tuple(places), 0.0 if search.question.group else STAGGER_S)

    def _places(self, search: _Search, now: float) -> list[Target]:
        """Where to try, the newest first, no phone and no peer twice."""
        found = sorted(search.found, key=lambda item: -item[1].storage_time_ms)
        places: dict[str, Sequence[Target]] = {}
        for aor, entry in found:
            assert isinstance(entry.target, RegistrationRoute)
            here = entry.target.peer == self._node.node_id
            name = aor.rpartition("@")[0]
            key = name if here else f"{aor} {entry.target.peer}"
            if key not in places:
                places[key] = self._here(search, name, now) if here else [_remote(search, aor, entry.target)]
        for name in search.names:
            if name not in places:
                # A line of this peer whose record is not in the overlay, or not yet: an island goes on working.
                places[name] = self._here(search, name, now)
        return [target for several in places.values() for target in several]

    def _here(self, search: _Search, name: str, now: float) -> Sequence[Target]:
        """Who answers at this peer for a line of it: its phones, or for its state the peer itself."""
        if search.question.is_about_state:
            return self._server.state_targets(name) if self._publisher.get(name) is not None else ()
        return self._server.targets(name, now)

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
        return NotLocated(404, "Not Found", f"nobody in the overlay is {search.aor}")

    def _answer_peer(self, question: LocateUser, now: float) -> Located | NotLocated:
        """Where another peer's request for one of our lines goes."""
        name = question.user
        has_line = self._publisher.get(name) is not None
        targets = self._server.targets(name, now)
        if question.is_about_state:
            targets = self._server.state_targets(name) if has_line else ()
        if targets:
            return Located(targets, STAGGER_S)
        # 404 would tell the caller that there is no such user, although only the record that led here is stale.
        reason = (
            f"the phone of {name} is not registered at its peer" if has_line else f"{name} has no line on this peer"
        )
        return NotLocated(480, "Temporarily Unavailable", reason)


def _forwarded(found: Registrations) -> Forwarded | None:
    """The AoR that all calls are for instead, where every entry leads on to one: the latest word counts."""
    targets = [entry.target for entry in found.entries]
    if not targets or not all(isinstance(target, RegistrationForward) for target in targets):
        return None
    first = targets[0]
    assert isinstance(first, RegistrationForward)
    user, _, domain = first.aor.rpartition("@")
    return Forwarded(SipUri(domain, escape_user(user)))


def _remote(search: _Search, aor: str, route: RegistrationRoute) -> Target:
    name, _, domain = aor.rpartition("@")
    # RFC 3261 26.2.2: who dials "sips" means TLS to the end; the next peer is to know that.
    gruu = make_gruu(name, domain, route.destination_list).replace(scheme=search.question.uri.scheme)
    return Target(gruu, None, f"peer {route.peer.short}", phones=read_prefs(route.contact_prefs))
