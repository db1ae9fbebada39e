"""An agent of ICE: from the candidates of both ends to a path, and as long as it lasts (RFC 8445 sections 6 to 8, 11).

Theory of operation. When both ends' words are known the pairs of their candidates are checked, one begun every 50 ms,
each repeated until it is answered. A check that comes from the other end shows that a pair may work now, and has it
checked at once. Who controls nominates one that works; when its nomination is answered, and at the other end when a
check of its own has succeeded as well, the pair is the path. What then is better than it may still take its place, and
what works where it works no more (`doubt`).

      OPENED ---- begin ----> CHECKING ---- nominated ----> CHOSEN ---- a better one, or one that still works -.
    (checks may come,            |   15 s                     |  ^                                            |
     and wait)                   v                            |  '--------------------------------------------'
                             PathLost <-----------------------'
                                          consent is over
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Timers
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, CandidateType, Mapped
from p2psip.reload.paths.ice.checklist import CandidatePair, CheckList, CheckUnderWay, PairState, ShownPair
from p2psip.reload.paths.ice.checks import (
    ROLE_CONFLICT,
    RTO_S,
    TRANSACTION_BYTES,
    TRANSMISSIONS_MAX,
    CheckAnswer,
    CheckCredentials,
    CheckRequest,
    CheckRole,
    encode_conflict,
    encode_request,
    encode_success,
    rtos_to_wait,
)
from p2psip.reload.paths.ice.consent import Consent
from p2psip.reload.paths.ice.doubt import SETTLED_S, SILENCE_S, Doubt, DoubtStep, Silence
from p2psip.reload.paths.ice.restraint import Restraint
from p2psip.reload.paths.ice.values import (
    AgentAllowance,
    PairReport,
    PathChanged,
    PathChosen,
    PathDoubted,
    PathHolds,
    PathLost,
    PathsSuspected,
)
from p2psip.reload.paths.limits import ICE_DOUBTED_PAIRS_MAX
from p2psip.reload.paths.values import SendStun

PACE_S: Final = 0.05
"""Ta of RFC 8445 section 14.2."""

RTO_PER_CHECK_S: Final = 0.01
"""So that a hundred pairs do not repeat faster than they begin: 14.3 has agents free to calculate it their way."""

DIRECT_WAIT_S: Final = 0.1
"""How long after a direct pair was found one of higher priority has to be found as well."""

CHECKING_MAX_S: Final = 15.0
"""How long there may be no path."""

EARLY_MAX: Final = 16
"""Checks that are remembered from before the other end's words have come."""

REPORTED_PAIRS_MAX: Final = 8
"""How many of the pairs that were tried stand in a reason."""

TimerKey = tuple[bytes, str, bytes]
"""The ufrag of an agent, what is due, and the transaction if it is of one."""


@dataclass(frozen=True, slots=True)
class AgentsGround:
    """What all agents of a node share: `timers`, the restraint, whose a transaction is, and chance."""

    timers: Timers[TimerKey]
    restraint: Restraint
    owners: dict[bytes, Agent]
    rng: random.Random


@dataclass(eq=False)
class Agent:
    """The agent of one session; its ufrag is its name. `own` is what a check must show to be for it."""

    own: CheckCredentials
    candidates: Sequence[CandidateAddress]
    role: CheckRole
    ground: AgentsGround
    theirs: CheckCredentials | None = None
    path: CandidatePair | None = None
    _effects: list[Effect] = field(default_factory=list)
    _early: list[ShownPair] = field(default_factory=list)
    _remotes: dict[Address, CandidateAddress] = field(default_factory=dict)
    _transactions: dict[bytes, CheckUnderWay] = field(default_factory=dict)
    _nominating: CandidatePair | None = None
    _next_turn_at: float = 0.0
    _relay_from: float = 0.0
    _found_at: float | None = None
    """When the first direct pair was found to work."""
    consent: Consent | None = None
    _chosen_at: float = 0.0
    _silence: Silence = field(default_factory=Silence)
    _doubt: Doubt | None = None

    def __post_init__(self) -> None:
        self._pairs = CheckList(is_controlling=self.role.is_controlling)

    @property
    def has_begun(self) -> bool:
        """True once the other end's words are here."""
        return self.theirs is not None

    @property
    def mapped(self) -> Mapped | None:
        """As whom the other end of a direct path sees us."""
        if self.path is None or self._doubt is not None or self.path.is_relayed or self.path.seen_as is None:
            return None
        return Mapped(self.path.seen_as, *self.path.addresses)

    @property
    def is_doubted(self) -> bool:
        """True if there is a path that has not answered lately."""
        return self._doubt is not None

    @property
    def pairs(self) -> int:
        """How many are being worked on."""
        return len(self._pairs)

    def reports(self) -> tuple[PairReport, ...]:
        """How each pair stands, best first."""
        return self._pairs.reports()

    # Commands

    def begin(
        self, theirs: CheckCredentials, candidates: Sequence[CandidateAddress], permitted: AgentAllowance, now: float
    ) -> None:
        """The other end's words are here: check pairs, as far as it is permitted."""
        self.theirs = theirs
        self._remotes = {candidate.address: candidate for candidate in candidates}
        self._pairs.form(self.candidates, candidates, permitted.pairs_max)
        self._relay_from = now + permitted.relay_wait_s
        early, self._early = self._early, []
        for each in early:
            # A relay may have died since, or an interface be gone, whose address this was.
            if self._base(each.local) is not None:
                self._show(each, now)
        if not len(self._pairs):
            self._lose("no address of the other end can be reached from one of ours", now)
            return
        self._set("patience", now + CHECKING_MAX_S, "no path was found")
        self._await_turn(now)

    def close(self) -> None:
        """Nobody wants this path, or any, any more."""
        for transaction in list(self._transactions):
            self._forget(transaction)
        for what in ("turn", "turn taken", "settle", "patience", "consent", "unanswered", "silence", "doubt"):
            self.ground.timers.cancel((self.own.ufrag, what, b""))

    def sent(self, now: float) -> None:
        """Data is to be sent on the path."""
        if self.consent is None:
            return
        if self.consent.sent(now):
            self._await_consent()
        if self._silence.sent(now):
            self._set("silence", now + self._silence.limit_s, "no echo")

    def heard(self, now: float) -> None:
        """Data has come on the path."""
        self._silence.heard(now)

    def doubt(self, now: float, *, is_certain: bool = False) -> None:
        """The path may not work any more: see at once whether it does; `is_certain`: it has no end here any more."""
        if self.path is not None and (self._doubt is None or is_certain):
            self._doubt = Doubt(self.path.rtt_s, now, is_certain=is_certain)
            self._set("doubt", self.ground.restraint.turn(now), "is the path still there?")

    def use_candidates(self, candidates: Sequence[CandidateAddress], now: float) -> None:
        """These are ours from now on; what was said in the Attach nobody can change (RFC 6940 6.5.1.12), but checks
        show the other end where they come from.
        """
        self.candidates = candidates
        if self.theirs is None:
            return
        if self.path is None:
            self._widen(now)
        elif self._base(self.path.local.base) is None:
            self.doubt(now, is_certain=True)

    def may_send(self, now: float) -> bool:
        """True if data may be sent on the path: the other end has lately said that it wants it."""
        return self.consent is not None and self.consent.may_send(now)

    def lose_local(self, address: Address, reason: str, now: float) -> None:
        """Nothing is sent or comes there any more."""
        self.candidates = [each for each in self.candidates if each.base != address]
        for pair in [each for each in self._pairs if each.local.base == address]:
            for number in [number for number, each in self._transactions.items() if each.pair is pair]:
                self._forget(number)
            if pair is self.path:
                self.doubt(now, is_certain=True)
            else:
                self._fail(pair, reason, now)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # What the other end says

    def handle_request(self, request: CheckRequest, local: Address, remote: Address, now: float) -> None:
        """A check for our ufrag has come to an address of ours."""
        is_from_them = self.theirs is None or request.sender == self.theirs.ufrag
        if not is_from_them or not request.is_signed_by(self.own.password) or self._base(local) is None:
            return
        if request.role is not None and request.role.is_controlling is self.role.is_controlling:
            # 7.3.1.1: the larger tie-breaker controls. "If the agent's tie-breaker value is larger than or equal to the
            # contents of the ICE-CONTROLLING attribute, the agent generates a Binding error response".
            is_ours_larger = self.role.tie_breaker >= request.role.tie_breaker
            if is_ours_larger is self.role.is_controlling:
                self._send(local, remote, encode_conflict(request.transaction, self.own.password))
                return
            self._switch_role(self.role.switched)
        self._send(local, remote, encode_success(request.transaction, remote, self.own.password))
        shown = ShownPair(local, remote, request.priority, request.is_nominating)
        if self.theirs is not None:
            self._show(shown, now)
            self._await_turn(now)
        elif len(self._early) < EARLY_MAX:
            # 7.3: "the agent MUST be prepared to receive [...] prior to receiving candidate information from its peer".
            self._early.append(shown)

    def handle_answer(self, answer: CheckAnswer, local: Address, remote: Address, now: float) -> None:
        """An answer to a transaction of ours has come."""
        transaction = self._transactions[answer.transaction]
        assert self.theirs is not None, "there are no transactions before that"
        if not answer.is_signed_by(self.theirs.password):
            return
        pair = transaction.pair
        is_symmetric = (local, remote) == pair.addresses
        if transaction.is_consent and not is_symmetric:
            return
        self._forget(answer.transaction)
        if not is_symmetric:
            # 7.2.5.2.1: "if the addresses are not symmetric, the agent MUST set the candidate pair state to Failed".
            self._fail(pair, f"answered by {remote} to {local}", now)
            return
        self.ground.restraint.answered(remote)
        before, pair.seen_as = pair.seen_as, answer.mapped
        if pair is self.path and None not in (before, answer.mapped) and before != answer.mapped:
            self._effects.append(PathsSuspected(self.own.ufrag))
        if answer.code == ROLE_CONFLICT:
            # 7.2.5.1: "MUST switch to the [other] role", unless it has done so since, and "MUST change the tiebreaker".
            if transaction.role.is_controlling is self.role.is_controlling:
                self._switch_role(CheckRole.drawn(not self.role.is_controlling, self.ground.rng))
            self._pairs.trigger(pair)
            self._await_turn(now)
        elif answer.code:
            self._fail(pair, f"refused with code {answer.code}", now)
        elif transaction.is_consent:
            self._consented(transaction, now)
        else:
            self._succeed(transaction, now)

    # Time

    def handle_due(self, what: str, transaction: bytes, now: float) -> None:
        """One of this agent's timers."""
        match what:
            case "turn":
                self._take_turn(now)
            case "turn taken":
                self._use_turn(now)
            case "repeat":
                self._repeat(transaction, now)
            case "settle":
                self._consider(now)
            case "consent":
                self._ask_consent(now)
            case "unanswered":
                # So who sends nothing soon notices as well that the other end is gone.
                if self.consent is not None and self.consent.is_awaited:
                    self.doubt(now)
            case "silence":
                self._look_at_silence(now)
            case "doubt":
                self._see_whether_it_holds(now)
            case _:
                self._lose("no pair of addresses works", now)

    # Checks

    def _await_turn(self, now: float) -> None:
        timers = self.ground.timers
        if (self.own.ufrag, "turn", b"") not in timers and (self.own.ufrag, "turn taken", b"") not in timers:
            self._set("turn", max(now, self._next_turn_at), "next check")

    def _take_turn(self, now: float) -> None:
        pair = self._pairs.next_pair()
        if pair is None:
            return
        at = self.ground.restraint.turn(now)
        if at > now:
            self._pairs.trigger(pair)
            self._set("turn taken", at, "others begin checks")
        else:
            self._check(pair, now)

    def _use_turn(self, now: float) -> None:
        if (pair := self._pairs.next_pair()) is not None:
            self._check(pair, now)

    def _check(self, pair: CandidatePair, now: float) -> None:
        self._next_turn_at = now + PACE_S
        self._await_turn(now)
        if not self.ground.restraint.may_check(pair.remote.address, now):
            self._fail(pair, "that host has left too many checks unanswered", now)
            return
        pair.state = PairState.IN_PROGRESS
        under_way = sum(each.state in (PairState.WAITING, PairState.IN_PROGRESS) for each in self._pairs)
        rto_s = max(RTO_S, RTO_PER_CHECK_S * under_way)
        number = self._transmit(pair, rto_s, now, is_nominating=pair is self._nominating)
        self._set("repeat", now + rto_s, "no answer to a check", number)

    def _transmit(
        self, pair: CandidatePair, rto_s: float, now: float, *, is_nominating: bool = False, is_consent: bool = False
    ) -> bytes:
        assert self.theirs is not None, "nothing is checked before that"
        number = self.ground.rng.randbytes(TRANSACTION_BYTES)
        # 7.1.1: as that of the local candidate, but with the type preference of peer reflexive ones.
        priority = CandidateType.PEER_REFLEXIVE.preference << 24 | pair.local.priority & 0xFFFFFF
        request = encode_request(number, self.own.ufrag, self.theirs, priority, self.role, is_nominating=is_nominating)
        made = CheckUnderWay(pair, request, self.role, rto_s, now, is_nominating=is_nominating, is_consent=is_consent)
        self._transactions[number], self.ground.owners[number] = made, self
        pair.checks += 1
        self._send(*pair.addresses, request)
        return number

    def _repeat(self, number: bytes, now: float) -> None:
        transaction = self._transactions[number]
        pair = transaction.pair
        if transaction.is_cancelled or transaction.is_consent:
            self._forget(number)
        elif transaction.transmissions == TRANSMISSIONS_MAX:
            self._forget(number)
            self._fail(pair, f"no answer to {pair.checks} checks", now)
        elif not self.ground.restraint.may_check(pair.remote.address, now):
            self._forget(number)
            self._fail(pair, "that host has left too many checks unanswered", now)
        else:
            transaction.transmissions += 1
            transaction.sent_at = now
            pair.checks += 1
            waits = rtos_to_wait(transaction.transmissions)
            self._send(*pair.addresses, transaction.request)
            self._set("repeat", now + waits * transaction.rto_s, "no answer to a check", number)

    def _show(self, shown: ShownPair, now: float) -> None:
        """7.3.1.3, 7.3.1.4: the other end can send on this pair: see whether we can."""
        if self.path is not None and not self.path.is_relayed:
            if (shown.local, shown.remote) == self.path.addresses or now < self._chosen_at + SETTLED_S:
                return
            # The other end looks for another path, or is somewhere else: one that has this one has no reason to.
            self.doubt(now)
        pair = self._pairs.find(shown.local, shown.remote)
        if pair is None:
            pair = self._learn(shown)
            if pair is None:
                return
            self._pairs.trigger(pair)
        elif not pair.is_valid:
            self._cancel_checks(pair)
            self._pairs.trigger(pair)
        if shown.is_nominating and not self.role.is_controlling:
            pair.is_nomination_due = True
            if pair.is_valid:
                self._choose(pair, now)

    def _learn(self, shown: ShownPair) -> CandidatePair | None:
        local = self._base(shown.local)
        assert local is not None, "handle_request looks at that"
        remote = self._remotes.get(shown.remote)
        if remote is None:
            # 7.3.1.3: "its foundation is an arbitrary value, different from the foundations of all other remote
            # candidates".
            foundation = b"*" + str(shown.remote).encode()
            kind = CandidateType.PEER_REFLEXIVE
            remote = CandidateAddress(kind, shown.remote, shown.priority, foundation, shown.remote)
        if self.path is not None and self._doubt is None and (local.is_relayed or remote.is_relayed):
            # One relayed pair is the path already.
            return None
        return self._pairs.learn(local, remote)

    def _cancel_checks(self, pair: CandidatePair) -> None:
        """7.3.1.4: "the agent will not retransmit the Binding requests associated with the connectivity-check
        transaction, will not treat the lack of response to be a failure, but will wait [...] for a response".
        """
        for transaction in self._transactions.values():
            transaction.is_cancelled |= transaction.pair is pair and not transaction.is_nominating

    def _succeed(self, transaction: CheckUnderWay, now: float) -> None:
        pair = transaction.pair
        pair.is_valid = True
        if transaction.is_nominating or pair is not self._nominating:
            # Else its nomination is due, or under way, and this is the answer to an earlier check.
            pair.state = PairState.SUCCEEDED
        pair.rtt_s = now - transaction.sent_at
        self._cancel_checks(pair)
        self._pairs.thaw(pair)
        if not pair.is_relayed and self._found_at is None:
            self._found_at = now
        if transaction.is_nominating:
            self._nominating = None
        if transaction.is_nominating or pair.is_nomination_due:
            self._choose(pair, now)
        self._consider(now)
        self._await_turn(now)

    def _fail(self, pair: CandidatePair, reason: str, now: float) -> None:
        pair.state, pair.is_valid, pair.reason = PairState.FAILED, False, reason
        if pair is self._nominating:
            self._nominating = None
        if pair is self.path:
            self._lose(f"the other end refuses it: {reason}", now)
        else:
            self._consider(now)
            self._await_turn(now)

    # Nomination

    def _consider(self, now: float) -> None:
        """8.1.1: who controls nominates a pair that works, when none is likely to be better."""
        works = [pair for pair in self._pairs if pair.is_valid and pair is not self.path]
        if not self.role.is_controlling:
            works = [pair for pair in works if pair.is_nomination_due]
        if self._nominating is not None or not works:
            return
        best = max(works, key=lambda pair: pair.rank)
        if self.path is not None:
            self._consider_instead(self.path, best, now)
            return
        if not self.role.is_controlling:
            return
        found_at = now if self._found_at is None else self._found_at
        wait_until = self._relay_from if best.is_relayed else found_at + DIRECT_WAIT_S
        if now >= wait_until or not any(pair.is_pending and pair.rank > best.rank for pair in self._pairs):
            self._nominate(best, now)
        else:
            self._set("settle", wait_until, "a better pair may be found")

    def _consider_instead(self, path: CandidatePair, best: CandidatePair, now: float) -> None:
        """Whether another pair that works is to be the path, and the other end thinks so if it controls."""
        is_better = best.rank > path.rank and not best.is_relayed
        if not is_better and self._doubt is None:
            return
        if not is_better and self._doubt is not None and now < self._doubt.move_from:
            self._set("settle", self._doubt.move_from, "the path may still answer")
        elif self.role.is_controlling:
            self._nominate(best, now)
        else:
            self._choose(best, now)

    def _nominate(self, pair: CandidatePair, now: float) -> None:
        self._nominating = pair
        self._pairs.trigger(pair)
        self._await_turn(now)

    def _choose(self, pair: CandidatePair, now: float) -> None:
        if self.path is not None and pair.rank <= self.path.rank:
            if self._doubt is None or pair is self.path:
                return
            if now < self._doubt.move_from:
                self._set("settle", self._doubt.move_from, "the path may still answer")
                return
            self.path.is_valid, self.path.state = False, PairState.WAITING
        was, self.path = self.path, pair
        local, remote = pair.addresses
        if was is None:
            tried = self.reports()
            self._effects.append(PathChosen(self.own.ufrag, local, remote, pair.is_relayed, pair.rtt_s, tried))
        else:
            self._effects.append(PathChanged(self.own.ufrag, local, remote, pair.is_relayed, pair.rtt_s))
        self.ground.timers.cancel((self.own.ufrag, "patience", b""))
        self._settle_on(pair)
        self.consent, self._chosen_at = Consent(self.ground.rng, now), now
        self._silence.heard(now)
        self._await_consent()
        self._await_turn(now)

    def _settle_on(self, path: CandidatePair) -> None:
        """Of other pairs, none is to be checked any more but what would be better."""
        self._doubt = None
        for what in ("settle", "doubt"):
            self.ground.timers.cancel((self.own.ufrag, what, b""))
        self._pairs.keep([each for each in self._pairs if each is path or (path.is_relayed and not each.is_relayed)])
        kept = set(self._pairs)
        for number, transaction in list(self._transactions.items()):
            if transaction.pair not in kept or transaction.is_consent:
                self._forget(number)
        if self._nominating not in kept:
            self._nominating = None

    # The path in use

    def _await_consent(self) -> None:
        assert self.consent is not None, "there is a path"
        self._set("consent", self.consent.next_at, "consent to send")

    def _ask_consent(self, now: float) -> None:
        assert self.consent is not None, "there is a path"
        assert self.path is not None, "there is a path"
        if self.consent.is_over(now):
            self._lose("the other end does not answer any more", now)
            return
        self._check_path(self.path, now)
        self.consent.asked(now)
        self._await_consent()
        self._set("unanswered", now + self.path.rtt_s + SILENCE_S, "no answer that consents")

    def _check_path(self, path: CandidatePair, now: float) -> None:
        # RFC 7675 5.1: "Each STUN binding request for consent is transmitted once only." Who controls nominates the
        # path with each: the other end may see it come from elsewhere than before.
        is_nominating = self.role.is_controlling
        number = self._transmit(path, RTO_S, now, is_nominating=is_nominating, is_consent=True)
        self._set("repeat", now + rtos_to_wait(TRANSMISSIONS_MAX) * RTO_S, "no answer that consents", number)

    def _consented(self, transaction: CheckUnderWay, now: float) -> None:
        if self.consent is not None and (pair := transaction.pair) is self.path:
            self.consent.answered(transaction.sent_at, now)
            self._await_consent()
            # What is being nominated the other end may have taken already.
            if self._doubt is not None and self._nominating is None:
                self._settle_on(pair)
                self._effects.append(PathHolds(self.own.ufrag))

    # The path in doubt

    def _look_at_silence(self, now: float) -> None:
        at = self._silence.look_at()
        if now < at < math.inf:
            self._set("silence", at, "no echo")
        elif at <= now:
            self._silence.begin_anew(now)
            self.doubt(now)

    def _see_whether_it_holds(self, now: float) -> None:
        if self._doubt is None or self.path is None:
            return
        step, next_s = self._doubt.step()
        self._check_path(self.path, now)
        if step is DoubtStep.WIDEN:
            self._widen(now)
            self._effects.append(PathsSuspected(self.own.ufrag))
        elif step is DoubtStep.TELL:
            self._effects.append(PathDoubted(self.own.ufrag, "; ".join(map(str, self.reports()[:REPORTED_PAIRS_MAX]))))
        self._set("doubt", now + next_s, "is the path still there?")

    def _widen(self, now: float) -> None:
        self._pairs.form(self.candidates, tuple(self._remotes.values()), ICE_DOUBTED_PAIRS_MAX)
        self._await_turn(now)

    def _lose(self, reason: str, now: float) -> None:
        self._effects.append(PathLost(self.own.ufrag, reason, self.reports()))
        self.close()

    # Small things

    def _base(self, local: Address) -> CandidateAddress | None:
        """The best of our candidates that is sent from there."""
        return next((each for each in self.candidates if each.base == local), None)

    def _switch_role(self, role: CheckRole) -> None:
        self.role = role
        self._pairs.switch_role()
        self._nominating = None

    def _send(self, local: Address, remote: Address, data: bytes) -> None:
        self._effects.append(SendStun(local, remote, data))

    def _set(self, what: str, at: float, reason: str, transaction: bytes = b"") -> None:
        self.ground.timers.set((self.own.ufrag, what, transaction), at, reason)

    def _forget(self, number: bytes) -> None:
        del self._transactions[number], self.ground.owners[number]
        self.ground.timers.cancel((self.own.ufrag, "repeat", number))
