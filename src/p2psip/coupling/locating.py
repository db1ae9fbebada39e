"""From an AoR to the places to try (RFC 7904 section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.coupling.gruu import make_gruu
from p2psip.coupling.lines import Publisher
from p2psip.reload.node.effects import Done
from p2psip.reload.node.node import Node
from p2psip.reload.storage.storing import Rules
from p2psip.reload.topology.ring import hash_name
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.sip_registration import (
    FORWARDS_MAX,
    NotAnAor,
    Registration,
    Registrations,
    Route,
    canonical_aor,
    fetch_request,
    read_registrations,
)
from p2psip.reload.wire.storage_messages import FetchAns
from p2psip.sip.entities.questions import Located, LocateUser, NotLocated, Target
from p2psip.sip.entities.server import SipServer
from p2psip.sip.transports.hops import LocalHop

ECHO_NUMBER = "*43"
ECHO = "echo"
STAGGER_S = 1.0
"""Design decision 5: "start the next after one second without an answer"."""

LOCATING_MAX = 2048


@dataclass(slots=True)
class _Search:
    """One question of the SIP server: which AoRs are still to be looked up, and what was found so far."""

    token: int
    question: LocateUser
    aor: str
    seen: set[str]
    open: int = 0
    found: list[tuple[str, Registration]] = field(default_factory=list)
    failures: list[RequestFailed] = field(default_factory=list)


class Locator:
    """Answers LocateUser. `answers` collects (token, answer)."""

    def __init__(self, node: Node, server: SipServer, publisher: Publisher, rules: Rules, overlay: str) -> None:
        self.answers: list[tuple[int, Located | NotLocated]] = []
        self._node = node
        self._server = server
        self._publisher = publisher
        self._rules = rules
        self._overlay = overlay
        self._searches: dict[int, tuple[_Search, str]] = {}

    def locate(self, token: int, question: LocateUser, now: float) -> None:
        """Find the places to try for a request; the answer may come at once."""
        if question.user == ECHO_NUMBER:
            self.answers.append((token, Located((Target(question.uri, (LocalHop(ECHO),), "echo"),))))
            return
        if question.from_peer is not None:
            # Another peer sends to us what our record says is here: there is nowhere else to look.
            self._answer_locally(token, question.user, now)
            return
        try:
            aor = canonical_aor(f"{question.user.lower()}@{self._overlay}")
        except NotAnAor as error:
            self.answers.append((token, NotLocated(404, "Not Found", str(error))))
            return
        if len(self._searches) >= LOCATING_MAX:
            self.answers.append((token, NotLocated(480, "Temporarily Unavailable", "too many lookups under way")))
            return
        self._look_up(_Search(token, question, aor, {aor}), aor, now)

    def handle_done(self, done: Done, wall: WallClock, now: float) -> bool:
        """The end of a Fetch; False if it is none of ours."""
        search, aor = self._searches.pop(done.handle, (None, ""))
        if search is None:
            return False
        search.open -= 1
        if isinstance(done.result, RequestFailed):
            search.failures.append(done.result)
        elif isinstance(done.result.body, FetchAns):
            self._take(search, aor, self.read(aor, done.result, wall, now), now)
        if not search.open:
            self.answers.append((search.token, self._conclude(search, now)))
        return True

    def read(self, aor: str, answer: Answer, wall: WallClock, now: float) -> Registrations:
        """The entries in the answer to a Fetch for `aor` that count, newest first."""
        assert isinstance(answer.body, FetchAns)
        return read_registrations(aor, answer.body, answer.certificates, self._rules, wall, now)

    def _look_up(self, search: _Search, aor: str, now: float) -> None:
        search.open += 1
        handle = self._node.data.fetch(fetch_request(aor, hash_name), now)
        self._searches[handle] = (search, aor)

    def _take(self, search: _Search, aor: str, registrations: Registrations, now: float) -> None:
        for entry in registrations.entries:
            if isinstance(entry.target, Route):
                search.found.append((aor, entry))
            elif entry.target.aor not in search.seen and len(search.seen) <= FORWARDS_MAX:
                search.seen.add(entry.target.aor)
                self._look_up(search, entry.target.aor, now)

    def _conclude(self, search: _Search, now: float) -> Located | NotLocated:
        found = sorted(search.found, key=lambda item: -item[1].storage_time_ms)
        targets: dict[NodeId | str, Sequence[Target]] = {}
        for aor, entry in found:
            assert isinstance(entry.target, Route)
            key = f"{aor} {entry.target.peer}"
            targets.setdefault(key, self._targets(aor, entry.target, now))
        name = search.question.user
        if self._node.node_id not in {entry.target.peer for _, entry in found if isinstance(entry.target, Route)}:
            # A line of this peer whose record is not in the overlay, or not yet: an island goes on working.
            targets[name] = self._server.targets(name, now)
        chosen = tuple(target for several in targets.values() for target in several)
        return Located(chosen, STAGGER_S) if chosen else self._not_located(search, is_known=bool(found))

    def _targets(self, aor: str, route: Route, now: float) -> Sequence[Target]:
        name, _, domain = aor.rpartition("@")
        if route.peer == self._node.node_id:
            return self._server.targets(name, now)
        return (Target(make_gruu(name, domain, route.destination_list), None, f"peer {route.peer.short}"),)

    def _not_located(self, search: _Search, *, is_known: bool) -> NotLocated:
        if search.failures:
            return NotLocated(480, "Temporarily Unavailable", f"lookup of {search.aor}: {search.failures[0]}")
        if is_known or self._publisher.get(search.question.user) is not None:
            return NotLocated(480, "Temporarily Unavailable", f"no phone of {search.aor} is registered")
        return NotLocated(404, "Not Found", f"nobody in the overlay is {search.aor}")

    def _answer_locally(self, token: int, name: str, now: float) -> None:
        targets = self._server.targets(name, now)
        if targets:
            self.answers.append((token, Located(targets, STAGGER_S)))
        elif self._publisher.get(name) is None:
            self.answers.append((token, NotLocated(404, "Not Found", f"{name} has no line on this peer")))
        else:
            reason = f"the phone of {name} is not registered at its peer"
            self.answers.append((token, NotLocated(480, "Temporarily Unavailable", reason)))
