"""Every peer has all values of some Kinds, and compares its copy with its neighbours' (docs/decisions/directory.md).

Theory of operation. Once a minute a node asks one of those it is linked with, by chance which, whether it has the same:
one digest of all. Where that differs it goes down the range of positions, sixteen parts at a time, to the versions that
differ, and has those given that are newer than its own. It takes what the overlay's rules would let be stored, whoever
gives it: each value is signed by whose it is. Who is asked and has something else asks back soon.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from p2psip.base.allowance import Allowance, Attempts
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.data.own_data import Data
from p2psip.reload.node.exchange import Exchange, failure_of
from p2psip.reload.node.limits import SPREAD_BYTES_MAX, SPREAD_REFUSED_MAX, SPREAD_VALUES_MAX
from p2psip.reload.node.spreading.spread_set import DIGITS, SpreadCopy, SpreadSet, children, position_of
from p2psip.reload.storage.store.records import Place
from p2psip.reload.storage.stored_values import chain_of, key_of
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.usages.directory_usage import LIFETIMES_S
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.private_messages import PrivateAns, PrivateReq
from p2psip.reload.wire.rejections import (
    DataTooLarge,
    DataTooOld,
    Forbidden,
    InvalidMessage,
    Rejection,
    RequestTimeout,
    UnknownKind,
)
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import StoredData
from p2psip.reload.wire.usages.spread_messages import (
    SPREAD,
    CompareAns,
    CompareReq,
    GiveAns,
    GiveReq,
    RangeDigest,
    RangePart,
    SpreadReq,
    SpreadStep,
    SpreadValue,
    ValueVersion,
    WantedValue,
)

ROUND_S = 60.0
"""How often one neighbour is asked whether it has the same."""

SOON_S = 5.0
"""After this others are asked, or asked back, when there is news."""

SPACING_S = 20.0
"""From the beginning of one round to that of the next at least, but for what is new here."""

LEAF_MAX = 32
"""A range with no more values than this is told value by value."""

PART_BYTES = 20 * LEAF_MAX + 16
"""What is said of a range that differs, at the most."""

RANGES_MAX = 32
WANTED_MAX = 60
"""Of one request."""

QUESTIONS_MAX = 4000
ROUND_MAX_S = 900.0
"""Of one round: more than a copy of all takes, and longer than it does over 128 kbit/s."""

SILENT_S = 300.0
REFUSED_S = 3600.0
"""For so long one is not asked that did not answer, or does not know of this."""

TRANSMISSIONS_MAX = 2

ASKED_BY_ONE = Allowance(burst=1500, refill_s=0.1)
"""How much one node may ask: a copy of the whole, and then several questions a second."""

CERTIFICATES_MAX = 60
"""Values in one answer that come with a certificate."""

ALL = (0, 0)

T = TypeVar("T")


@dataclass(slots=True)
class _Comparison:
    """One comparison with one neighbour: the ranges that are to be compared, the values that are to be given."""

    partner: NodeId
    ranges: deque[tuple[int, int]] = field(default_factory=lambda: deque([ALL]))
    wanted: deque[int] = field(default_factory=deque)
    questions: int = 0
    differs: bool = False
    taken: int = 0
    is_news: bool = False
    """True if something is not what it was, and not merely said again."""


@dataclass(frozen=True, slots=True)
class SpreadContext:
    """One question of a round: which ranges were to be compared, or which values were wanted."""

    comparing: _Comparison
    ranges: tuple[tuple[int, int], ...] = ()
    wanted: tuple[int, ...] = ()


class Spreading:
    """The copy of one node, and how it stays current."""

    def __init__(
        self, exchange: Exchange, data: Data, connections: ConnectionTable, topology: Topology, rng: random.Random
    ) -> None:
        self.copies = SpreadSet()
        self.refused: deque[str] = deque(maxlen=SPREAD_REFUSED_MAX)
        """Why the last ones were not taken."""
        self._exchange = exchange
        self._data = data
        self._connections = connections
        self._topology = topology
        self._rng = rng
        self._comparing: _Comparison | None = None
        self._began_at = 0.0
        self._hints: OrderedDict[NodeId, None] = OrderedDict()
        self._left_alone: dict[NodeId, float] = {}
        self._vain: dict[NodeId, float] = {}
        self._not_wanted: OrderedDict[tuple[int, tuple[int, int]], None] = OrderedDict()
        self._attempts: Attempts[NodeId] = Attempts(ASKED_BY_ONE)
        self._is_on = False
        self._round_at = self._expiry_at = math.inf
        self._timers: Timers[str] = exchange.queue.scope()

    @property
    def is_used(self) -> bool:
        """True if the overlay has any of the Kinds that every peer has."""
        return any(kind in self._data.storage.rules.kinds for kind in LIFETIMES_S)

    @property
    def _ranges_max(self) -> int:
        """In one question: what is said of them all is to have room in one answer."""
        return max(1, min(RANGES_MAX, self._exchange.values_size_max // PART_BYTES))

    # Commands

    def put(
        self,
        resource: ResourceId,
        kind: int,
        stored: StoredData,
        certificates: Sequence[GenericCertificate],
        now: float,
    ) -> None:
        """Have a value of ours, or one that was kept over a restart, go to every peer. Raises a Rejection."""
        if self._accept(resource, kind, stored, certificates, now) is not None:
            self._set_round(now + SOON_S, "there is news of our own")

    def restore(self, copies: Iterable[SpreadCopy], now: float) -> None:
        """Have again what was kept over a restart; it was judged when it came."""
        for copy in copies:
            has_room = len(self.copies) < SPREAD_VALUES_MAX and copy.kind in self._data.storage.rules.kinds
            if has_room and copy.expires_at > now and copy.version > self.copies.version(copy.position):
                self.copies.put(copy)
        self.forget_revoked()
        self._watch_expiry()

    def joined(self, now: float) -> None:
        """The overlay can be reached, or another part of it: what do the others have? Before that nothing is asked."""
        self._is_on = True
        self._set_round(now + SOON_S * self._rng.random(), "others may have more")

    def forget_revoked(self) -> None:
        """The configuration is another: whose certificate does not count any more has nothing here."""
        rules = self._data.storage.rules
        for copy in self.copies:
            is_revoked = rules.verifier.revokes_some and rules.verifier.revokes(copy.certificates[0].certificate)
            if is_revoked or copy.kind not in rules.kinds:
                self.copies.remove(copy.position)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Forget what has expired; ask somebody."""
        for due in self._timers.pop_due(now):
            if due == "expiry":
                self._expire(now)
            else:
                self._begin_round(now)

    def _expire(self, now: float) -> None:
        for copy in self.copies:
            if copy.expires_at <= now:
                self.copies.remove(copy.position)
        self._watch_expiry()

    def _watch_expiry(self) -> None:
        self._expiry_at = min((copy.expires_at for copy in self.copies), default=math.inf)
        if self.copies:
            self._timers.set("expiry", self._expiry_at, "a value that every peer has ends")

    def _set_round(self, at: float, why: str) -> None:
        is_sooner = "round" not in self._timers or at < self._round_at
        if self._is_on and self._comparing is None and self.is_used and is_sooner:
            self._round_at = at
            self._timers.set("round", at, why)

    # Asking

    def _begin_round(self, now: float) -> None:
        if self._comparing is not None or not self.is_used:
            return
        partner = self._partner(now)
        if partner is None or not self._topology.is_connected:
            self._set_round(now + ROUND_S, "somebody may be there then")
            return
        self._comparing, self._began_at = _Comparison(partner), now
        self._go_on(self._comparing, now)

    def _partner(self, now: float) -> NodeId | None:
        """Who has said that it has something else, or anybody that we are linked with."""
        while self._hints:
            hinted, _ = self._hints.popitem(last=False)
            if hinted in self._connections:
                return hinted
        self._left_alone = {node: until for node, until in self._left_alone.items() if now < until}
        own = {self._exchange.identity.node_id, *self._exchange.clients}
        able = sorted(node for node in self._connections if node not in self._left_alone and node not in own)
        return self._rng.choice(able) if able else None

    def _go_on(self, comparing: _Comparison, now: float) -> None:
        """Ask the next question of a round; the values first, so that few of them wait."""
        comparing.questions += 1
        if comparing.questions > QUESTIONS_MAX or now > self._began_at + ROUND_MAX_S:
            # Whoever has us ask without end, or answers slowly, keeps us from asking the others no longer than this.
            self._end(comparing, now)
        elif comparing.wanted and (len(comparing.wanted) >= WANTED_MAX or not comparing.ranges):
            wanted = tuple(_take(comparing.wanted, WANTED_MAX))
            asked = [WantedValue(each, self.copies.get(each) is not None) for each in wanted]
            self._ask(SpreadContext(comparing, (), wanted), SpreadStep.GIVE, GiveReq(tuple(asked)), now)
        elif comparing.ranges:
            ranges = _take(comparing.ranges, self._ranges_max)
            digests = tuple(RangeDigest(*each, self.copies.digest(*each)) for each in ranges)
            self._ask(SpreadContext(comparing, tuple(ranges)), SpreadStep.COMPARE, CompareReq(digests), now)
        else:
            self._end(comparing, now)

    def _ask(self, context: SpreadContext, step: SpreadStep, body: CompareReq | GiveReq, now: float) -> None:
        asked = OverlayRequest(
            [Destination.node(context.comparing.partner)],
            MessageCode.PRIVATE_REQ,
            PrivateReq(SPREAD, SpreadReq(step, body).encode()),
            transmissions_max=TRANSMISSIONS_MAX,
        )
        if self._exchange.request(asked, context, now) is None:
            self._end(context.comparing, now)

    def _end(self, comparing: _Comparison, now: float) -> None:
        self._comparing = None
        if comparing.differs and not comparing.taken:
            # It lacks something that we have, or has what is refused here: it need not tell us again at once.
            self._vain[comparing.partner] = now
        self._vain = {node: at for node, at in self._vain.items() if now < at + ROUND_S}
        if comparing.is_news:
            self._set_round(now + SOON_S, "others may not have heard the news")
        elif self._hints:
            self._set_round(max(now + SOON_S, self._began_at + SPACING_S), "somebody has something else")
        else:
            self._set_round(now + ROUND_S * self._rng.uniform(0.8, 1.2), "is it still the same?")

    def handle_outcome(self, context: SpreadContext, outcome: Outcome, now: float) -> None:
        """What a neighbour says to a question."""
        comparing = context.comparing
        if comparing is not self._comparing:
            return
        try:
            if not isinstance(outcome, Answer) or not isinstance(outcome.body, PrivateAns):
                raise InvalidMessage(str(failure_of(outcome)))
            if context.wanted:
                self._given(context, outcome, outcome.body.body, now)
            else:
                self._compared(context, CompareAns.decode(outcome.body.body))
        except (DecodeError, Rejection) as error:
            self._exchange.note("copies not compared", node=comparing.partner, reason=str(error))
            self._left_alone[comparing.partner] = now + (REFUSED_S if isinstance(outcome, Refused) else SILENT_S)
            self._end(comparing, now)
            return
        self._go_on(comparing, now)

    def _compared(self, context: SpreadContext, answer: CompareAns) -> None:
        comparing, left = context.comparing, set(context.ranges)
        comparing.differs |= bool(answer.parts)
        for part in answer.parts:
            if (part.depth, part.start) not in left:
                raise InvalidMessage("a range that was not asked about")
            left.remove((part.depth, part.start))
            if part.digests:
                self._go_down(comparing, part)
            for version in part.versions[:LEAF_MAX]:
                offered = version.storage_time, version.tail
                is_refused = (version.position, offered) in self._not_wanted
                if offered > self.copies.version(version.position) and not is_refused:
                    comparing.wanted.append(version.position)
        if max(len(comparing.wanted), len(comparing.ranges)) > SPREAD_VALUES_MAX:
            raise InvalidMessage("more values than there can be")

    def _go_down(self, comparing: _Comparison, part: RangePart) -> None:
        parts = children(part.depth, part.start) if part.depth < DIGITS else []
        if len(parts) != len(part.digests):
            raise InvalidMessage("a range has sixteen parts")
        for each, digest in zip(parts, part.digests, strict=True):
            if digest and digest != self.copies.digest(*each):
                comparing.ranges.append(each)

    def _given(self, context: SpreadContext, outcome: Answer, body: bytes, now: float) -> None:
        rules, missing = self._data.storage.rules, dict.fromkeys(context.wanted)
        length = len(self._exchange.identity.node_id)
        for value in GiveAns.decode(body, node_id_length=length).values:
            kind = rules.kinds.get(value.kind)
            if kind is None:
                continue
            stored = StoredData.decode(value.stored, model=kind.data_model)
            position = position_of(Place(value.resource, value.kind, key_of(stored.value)))
            if position not in missing:
                raise InvalidMessage("a value that was not asked for")
            del missing[position]
            known = self.copies.get(position)
            certificates = (*(known.certificates if known is not None else ()), *outcome.certificates)
            self._take_in(context.comparing, value.resource, value.kind, stored, certificates, now)
        if len(missing) < len(context.wanted):
            # There was no room for the others.
            context.comparing.wanted.extendleft(reversed(missing))

    def _take_in(
        self,
        comparing: _Comparison,
        resource: ResourceId,
        kind: int,
        stored: StoredData,
        certificates: Sequence[GenericCertificate],
        now: float,
    ) -> None:
        try:
            news = self._accept(resource, kind, stored, certificates, now)
        except Rejection as error:
            place = Place(resource, kind, key_of(stored.value))
            said = SpreadCopy(resource, kind, stored, "", comparing.partner, (), now)
            self._not_wanted[position_of(place), said.version] = None
            if len(self._not_wanted) > SPREAD_REFUSED_MAX:
                self._not_wanted.popitem(last=False)
            self.refused.append(str(error))
            self._exchange.warn("value for every peer not taken", node=comparing.partner, reason=str(error))
            return
        if news is not None:
            comparing.taken += 1
            comparing.is_news |= news

    def _accept(
        self,
        resource: ResourceId,
        kind: int,
        stored: StoredData,
        certificates: Sequence[GenericCertificate],
        now: float,
    ) -> bool | None:
        """Take a value that is newer than what is here: True if it says something else, False if it says the same
        again, None if it is not newer. Raises a Rejection.
        """
        rules, wall = self._data.storage.rules, self._exchange.transport.wall
        if kind not in rules.kinds or kind not in LIFETIMES_S:
            raise UnknownKind([kind])
        terms, size = rules.kinds[kind], len(stored.data_value.value)
        if size > terms.max_size:
            raise DataTooLarge(f"{size} bytes, where a value of Kind {kind:#x} has at most {terms.max_size}")
        believed, signer = rules.believe(resource, kind, stored, certificates, wall, now)
        if believed.lifetime <= 0:
            raise DataTooOld(f"a value of Kind {kind:#x} of {signer.user} has expired")
        expires_at = now + min(believed.lifetime, LIFETIMES_S[kind])
        chain = chain_of(signer).certificates
        copy = SpreadCopy(resource, kind, stored, signer.user, signer.node_id, chain, expires_at)
        position = copy.position
        if copy.version <= self.copies.version(position):
            return None
        known = self.copies.get(position)
        if known is None:
            self._check_room(copy, terms.max_count, size)
        self.copies.put(copy)
        if expires_at < self._expiry_at:
            self._expiry_at = expires_at
            self._timers.set("expiry", expires_at, "a value that every peer has ends")
        return known is None or known.stored.value != stored.value

    def _check_room(self, copy: SpreadCopy, count_max: int, size: int) -> None:
        """Raise DataTooLarge for one value too many: of one user, or of all."""
        if self.copies.count_at(copy.resource, copy.kind) >= count_max:
            raise DataTooLarge(f"{copy.user} has {count_max} values of Kind {copy.kind:#x} already")
        if len(self.copies) >= SPREAD_VALUES_MAX or self.copies.size + size > SPREAD_BYTES_MAX:
            raise DataTooLarge(f"this peer has {len(self.copies)} values that every peer has, and room for no more")

    # Answering

    def handle_request(self, request: Received, body: bytes, now: float) -> None:
        """Another node compares its copy with ours, or wants something of it. Raises a Rejection."""
        node = request.signer.node_id
        if not self._is_on:
            raise Forbidden("this node keeps no copy of what every peer has")
        if self._attempts.wait_s(node, now):
            raise RequestTimeout("too many questions; ask later")
        self._attempts.charge(node, now)
        try:
            asked = SpreadReq.decode(body)
        except DecodeError as error:
            raise InvalidMessage(str(error)) from None
        if isinstance(asked.body, CompareReq):
            self._exchange.answer(request, PrivateAns(self._compare(node, asked.body, now).encode()))
        else:
            given, certificates = self._give(asked.body, now)
            self._exchange.answer(request, PrivateAns(given.encode()), certificates=certificates)

    def _compare(self, node: NodeId, asked: CompareReq, now: float) -> CompareAns:
        if len(asked.ranges) > self._ranges_max or any(each.depth > DIGITS for each in asked.ranges):
            raise InvalidMessage(f"at most {self._ranges_max} ranges of {DIGITS} digits")
        differing = [each for each in asked.ranges if each.digest != self.copies.digest(each.depth, each.start)]
        if differing:
            self._hinted(node, now)
        return CompareAns(tuple(map(self._part, differing)))

    def _part(self, asked: RangeDigest) -> RangePart:
        positions = self.copies.positions(asked.depth, asked.start)
        if len(positions) <= LEAF_MAX or asked.depth >= DIGITS:
            versions = (ValueVersion(each, *self.copies.version(each)) for each in positions[:LEAF_MAX])
            return RangePart(asked.depth, asked.start, (), tuple(versions))
        digests = tuple(self.copies.digest(*each) for each in children(asked.depth, asked.start))
        return RangePart(asked.depth, asked.start, digests, ())

    def _hinted(self, node: NodeId, now: float) -> None:
        """It has something else; whether that is more or less than we have, one has to ask."""
        is_vain = now < self._vain.get(node, -math.inf) + ROUND_S
        if is_vain or node in self._hints or len(self._hints) >= RANGES_MAX:
            return
        self._hints[node] = None
        self._set_round(max(now + SOON_S, self._began_at + SPACING_S), "somebody has something else")

    def _give(self, asked: GiveReq, now: float) -> tuple[GiveAns, tuple[GenericCertificate, ...]]:
        """As many as there is room for, one at least."""
        room = self._exchange.values_size_max
        values: list[SpreadValue] = []
        certificates: dict[GenericCertificate, None] = {}
        for wanted in asked.wanted[:WANTED_MAX]:
            copy = self.copies.get(wanted.position)
            if copy is None:
                continue
            value = SpreadValue(copy.kind, copy.resource, copy.given(now).encode())
            more = () if wanted.has_certificate else [each for each in copy.certificates if each not in certificates]
            room -= len(value.encode()) + sum(len(each.encode()) for each in more)
            if values and (room < 0 or len(certificates) + len(more) > CERTIFICATES_MAX):
                break
            values.append(value)
            certificates |= dict.fromkeys(more)
        return GiveAns(tuple(values)), tuple(certificates)


def _take(queue: deque[T], most: int) -> list[T]:
    return [queue.popleft() for _ in range(min(most, len(queue)))]
