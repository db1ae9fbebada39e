"""The check list: which pairs there are, and whose turn it is (RFC 8445 sections 6.1.2 and 6.1.4).

                    its foundation is free            its turn has come
FROZEN ------------------------------> WAITING ------------------------> IN_PROGRESS
                                          ^                               |       |
                                          |  a check from the other end   |       |  an answer
                                          '----- FAILED <-----------------'       v
                                                          no answer           SUCCEEDED
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from p2psip.base.address import Address
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, are_pairable, in_turn, towards
from p2psip.reload.paths.ice.checks import CheckRole
from p2psip.reload.paths.ice.values import PairReport
from p2psip.reload.paths.limits import ICE_LEARNT_PAIRS_MAX, ICE_LEARNT_PAIRS_PER_HOST_MAX


class PairState(enum.Enum):
    """States of pairs (6.1.2.6); there is one check list, and so nothing else that could be frozen."""

    FROZEN = "not tried"
    WAITING = "its turn did not come"
    IN_PROGRESS = "no answer yet"
    SUCCEEDED = "works"
    FAILED = "failed"


@dataclass(eq=False, slots=True)
class CandidatePair:
    """An address of ours from which is sent, and one of theirs to which."""

    local: CandidateAddress
    remote: CandidateAddress
    priority: int
    state: PairState = PairState.FROZEN
    is_valid: bool = False
    """A check of ours has succeeded (it is in the RFC's valid list); one more may be under way."""
    is_nomination_due: bool = False
    """The other end has nominated it, and our own check has yet to succeed (7.3.1.5)."""
    checks: int = 0
    """How many were sent."""
    rtt_s: float = 0.0
    reason: str = ""
    """Why it failed."""
    seen_as: Address | None = None
    """Our own address in the last answer on it."""

    @property
    def addresses(self) -> tuple[Address, Address]:
        """From where to where is sent."""
        return self.local.base, self.remote.address

    @property
    def foundation(self) -> tuple[bytes, bytes]:
        """6.1.2.6: "the foundations of the local and remote candidates"."""
        return self.local.foundation, self.remote.foundation

    @property
    def is_relayed(self) -> bool:
        """True if a relay of one end or the other is on the way."""
        return self.local.is_relayed or self.remote.is_relayed

    @property
    def is_pending(self) -> bool:
        """True as long as nobody knows whether it works."""
        return not self.is_valid and self.state is not PairState.FAILED

    @property
    def rank(self) -> tuple[bool, int]:
        """Larger is better: direct before relayed, then by priority."""
        return not self.is_relayed, self.priority

    def report(self) -> PairReport:
        """How it stands."""
        outcome = self.state.value
        if self.state is PairState.FAILED:
            outcome = self.reason
        elif self.is_valid:
            outcome = f"works, {self.rtt_s * 1000:.0f} ms"
        elif self.state is PairState.IN_PROGRESS:
            outcome = f"no answer to {self.checks} check{'s' if self.checks != 1 else ''} yet"
        types = f"{self.local.type.words} to {self.remote.type.words}"
        return PairReport(*self.addresses, types, outcome)


@dataclass(slots=True)
class CheckUnderWay:
    """A transaction; without repetition it asks for consent. `is_cancelled`: another has taken its place."""

    pair: CandidatePair
    request: bytes
    role: CheckRole
    rto_s: float
    sent_at: float
    transmissions: int = 1
    is_nominating: bool = False
    is_consent: bool = False
    is_cancelled: bool = False


class ShownPair(NamedTuple):
    """Between which addresses a check of the other end has come."""

    local: Address
    remote: Address
    priority: int
    is_nominating: bool


def priority_of_pair(local: CandidateAddress, remote: CandidateAddress, *, is_controlling: bool) -> int:
    """6.1.2.3: "pair priority = 2^32*MIN(G,D) + 2*MAX(G,D) + (G>D?1:0)"."""
    controlling, controlled = (local, remote) if is_controlling else (remote, local)
    smaller, larger = sorted((controlling.priority, controlled.priority))
    return (smaller << 32) + 2 * larger + (controlling.priority > controlled.priority)


@dataclass(eq=False)
class CheckList:
    """The pairs of one session, best first, and those that are to be checked out of their turn."""

    is_controlling: bool
    _pairs: dict[tuple[Address, Address], CandidatePair] = field(default_factory=dict)
    _triggered: deque[CandidatePair] = field(default_factory=deque)
    _learnt: Counter[tuple[bool, str]] = field(default_factory=Counter)
    """How many the other end has shown: by a relay of ours and else, from each host. Where boxes have a new port for
    each remote, each check shows one more, and never one that works.
    """

    def __iter__(self) -> Iterator[CandidatePair]:
        return iter(self._pairs.values())

    def __len__(self) -> int:
        return len(self._pairs)

    def find(self, local: Address, remote: Address) -> CandidatePair | None:
        """The pair of these two addresses."""
        return self._pairs.get((local, remote))

    def form(self, ours: Sequence[CandidateAddress], theirs: Sequence[CandidateAddress], pairs_max: int) -> None:
        """6.1.2: make the pairs, and let the best of each foundation wait for its turn. Those that are there stay."""
        made = (
            self._pair(local, remote._replace(address=towards(local.base, remote.address)))
            for local in ours
            for remote in theirs
            if are_pairable(local.address, remote.address) and are_pairable(local.base, remote.address)
        )
        there = self._pairs
        found: dict[tuple[Address, Address], CandidatePair] = {}
        for pair in sorted(made, key=lambda pair: -pair.priority):
            # 6.1.2.4: "the agent SHOULD replace the server-reflexive candidate with its base", and "MUST prune the
            # list", which here are the same step.
            if pair.addresses not in there:
                found.setdefault(pair.addresses, pair)
        kept = in_turn(tuple(found.values()), lambda pair: (pair.local.type, pair.remote.type), pairs_max)
        foundations: set[tuple[bytes, bytes]] = set()
        for pair in kept:
            if pair.foundation not in foundations:
                foundations.add(pair.foundation)
                pair.state = PairState.WAITING
        self._pairs = there | {pair.addresses: pair for pair in kept}
        self._sort()

    def learn(self, local: CandidateAddress, remote: CandidateAddress) -> CandidatePair | None:
        """A pair that the other end has shown by a check (7.3.1.4); None if there are too many of these."""
        key = local.is_relayed, remote.address.host
        if self._learnt[key] >= ICE_LEARNT_PAIRS_PER_HOST_MAX or self._learnt.total() >= ICE_LEARNT_PAIRS_MAX:
            return None
        self._learnt[key] += 1
        pair = self._pair(local, remote)
        self._pairs[pair.addresses] = pair
        self._sort()
        return pair

    def switch_role(self) -> None:
        """7.3.1.1: "The agent MUST recompute pair priorities"."""
        self.is_controlling = not self.is_controlling
        for pair in self:
            pair.priority = priority_of_pair(pair.local, pair.remote, is_controlling=self.is_controlling)
        self._sort()

    def trigger(self, pair: CandidatePair) -> None:
        """Check a pair as soon as possible."""
        pair.state = PairState.WAITING
        if pair not in self._triggered:
            self._triggered.append(pair)

    def keep(self, pairs: Iterable[CandidatePair]) -> None:
        """RFC 6940 6.5.1.10.2: "the agent can immediately free all unused candidates": there are these, and no more."""
        self._pairs = {pair.addresses: pair for pair in pairs}
        self._triggered.clear()
        self._learnt.clear()

    def next_pair(self) -> CandidatePair | None:
        """Whose turn it is (6.1.4.2); None if nothing is to be checked now."""
        while self._triggered:
            pair = self._triggered.popleft()
            if pair.state is PairState.WAITING:
                return pair
        for pair in self:
            if pair.state is PairState.WAITING:
                return pair
        busy = {pair.foundation for pair in self if pair.state is PairState.IN_PROGRESS}
        return next((pair for pair in self if pair.state is PairState.FROZEN and pair.foundation not in busy), None)

    def thaw(self, succeeded: CandidatePair) -> None:
        """7.2.5.3.3: pairs of the same foundation need not wait any more."""
        for pair in self:
            if pair.state is PairState.FROZEN and pair.foundation == succeeded.foundation:
                pair.state = PairState.WAITING

    def reports(self) -> tuple[PairReport, ...]:
        """How each pair stands, best first."""
        return tuple(pair.report() for pair in self)

    def _pair(self, local: CandidateAddress, remote: CandidateAddress) -> CandidatePair:
        return CandidatePair(local, remote, priority_of_pair(local, remote, is_controlling=self.is_controlling))

    def _sort(self) -> None:
        self._pairs = dict(sorted(self._pairs.items(), key=lambda item: -item[1].priority))
