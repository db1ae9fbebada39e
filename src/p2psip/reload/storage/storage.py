"""The storage of a node: what it keeps for the overlay (RFC 6940 section 7.4, 10.4).

The node decides where a request belongs: whether we are responsible for a resource, or a plausible replica of it.
All else is decided here. A request is served at once or raises a Rejection and changes nothing. What it changes
is visible at once and durable when its commit is answered; so the answer to the request, and any answer read from
uncommitted state, names that commit in `after`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

from p2psip.base.effects import Asks, Effect
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.base.wallclock import WallClock
from p2psip.reload.security.roles import Signer
from p2psip.reload.storage.limits import Limits
from p2psip.reload.storage.outline import GivenBack, Outline
from p2psip.reload.storage.reading import PAGE, RING_END, Described, Fetched, Found, Reading
from p2psip.reload.storage.store.continuity import Continuity
from p2psip.reload.storage.store.records import (
    Census,
    Change,
    Commit,
    CommitAnswer,
    Committed,
    Moment,
    Place,
    Record,
    RecordReader,
    Remove,
    SetGeneration,
    SetStorageTime,
)
from p2psip.reload.storage.store.shares import Accounts, Replacement
from p2psip.reload.storage.store.view import Draft, View
from p2psip.reload.storage.stored_values import is_signed
from p2psip.reload.storage.storing import GENERATION_MAX, Rules, check_generations, store_kind, store_value
from p2psip.reload.storage.transfer import Transfer
from p2psip.reload.wire.rejections import Rejection, RequestTimeout
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    FetchAns,
    FetchKindResponse,
    FetchReq,
    FindReq,
    StatReq,
    StoreAns,
    StoreKindResponse,
    StoreReq,
)

RETRY_S = 10.0
"""After this a chore whose commit failed is tried again."""

NO_REPLICAS: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """What to answer to a Store once `after` is committed, and which places have a new value."""

    answer: StoreAns
    after: int | None
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Adopted:
    """Which places have a new value from another peer, and why its other values were not taken."""

    places: tuple[Place, ...]
    refused: tuple[str, ...]
    after: int | None


@dataclass(frozen=True, slots=True)
class StorageTime:
    """A storage_time for a signer of ours, to be used once `after` is committed."""

    storage_time_ms: int
    after: int


class _Purpose(Enum):
    """What a commit is for."""

    CHANGE = "change"
    SWEEP = "sweep"
    AGE = "age"
    DISCARD = "discard"


@dataclass(slots=True)
class _Pending:
    """A commit that has been asked for."""

    purpose: _Purpose
    token: int = 0


class Storage:
    """A core: it reads records, and asks for commits."""

    def __init__(
        self,
        reader: RecordReader,
        rules: Rules,
        wall: WallClock,
        now: float,
        *,
        limits: Limits | None = None,
        continuity: Continuity | None = None,
        first_token: int = 1,
        token_step: int = 1,
    ) -> None:
        self._limits = limits or Limits()
        self._reader = reader
        self._view = View(reader)
        self._accounts = Accounts(reader, self._limits)
        self._reading = Reading(self._view, rules, continuity or Continuity())
        self._wall = wall
        self._asks: Asks[_Pending] = Asks(self._limits.commits_max, first=first_token, step=token_step)
        self._effects: list[Effect] = []
        self._storage_times_ms: dict[NodeId, int] = {}
        self._timers: Timers[_Purpose] = Timers()
        self._is_sweeping = False
        self._is_ageing = False
        self._sweep_not_before = -math.inf
        self._schedule_sweep(now)
        self._schedule_discard(now)
        self._age(now)

    @property
    def rules(self) -> Rules:
        """By what rules values are accepted."""
        return self._reading.rules

    def use_rules(self, rules: Rules, now: float) -> None:
        """Accept values by these rules from now on; values of Kinds that are not in them are discarded, some at a time.

        11.1: "that Kind MUST be discarded along with any stored information of that Kind."
        """
        self._reading.rules = rules
        self._schedule_discard(now)

    @property
    def value_count(self) -> int:
        """How many values are kept."""
        return self._accounts.usage(None).records

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return self._accounts.usage(None).size

    @property
    def census(self) -> Census:
        """How much is kept of what, and on disk."""
        return self._reader.census()

    # --- Requests.

    def store(
        self,
        request: StoreReq,
        requester: Signer,
        certificates: Sequence[GenericCertificate],
        replicas: Iterable[NodeId],
        now: float,
        *,
        is_from_holder: bool = True,
    ) -> Stored:
        """Serve a Store, signed by `requester`; `replicas` are the peers that it will be replicated to.

        The node has checked that the request is for us. If its replica_number is not zero, `is_from_holder` says that
        it comes from a node that may have the values. Raises a Rejection, and then nothing has changed.
        """
        self._check_room()
        is_original = request.replica_number == 0
        offers = self.rules.examine(request, certificates, self._wall, now)
        if is_original:
            self.rules.check_requester(request.resource, offers, requester)
        draft = self._draft(request.resource, now)
        check_generations(draft, offers, is_original)
        for offer in offers:
            store_kind(draft, offer, is_original, is_from_holder=is_from_holder)
        self._accounts.check(draft.replacements)
        kinds = [offer.kind.kind_id for offer in offers]
        holders = tuple(replicas) if is_original else NO_REPLICAS
        answer = StoreAns(tuple(StoreKindResponse(kind, draft.generation(kind), holders) for kind in kinds))
        self._commit_draft(draft, now)
        return Stored(
            answer, self._reading.after(request.resource, kinds), tuple(put.record.place for put in draft.puts)
        )

    def fetch(self, request: FetchReq, now: float, *, size_max: int | None = None) -> Fetched:
        """Serve a Fetch. Raises a Rejection: ResponseTooLarge if answer and certificates exceed `size_max` bytes."""
        return self._reading.fetch(request, now, size_max)

    def stat(self, request: StatReq, now: float, *, size_max: int | None = None) -> Described:
        """Serve a Stat. Raises a Rejection."""
        return self._reading.stat(request, now, size_max)

    def find(self, request: FindReq, now: float) -> Found:
        """Serve a Find; the node has checked that we are responsible for the resource. Raises a Rejection."""
        return self._reading.find(request, now)

    def adopt(
        self, resource: ResourceId, answer: FetchAns, certificates: Sequence[GenericCertificate], now: float
    ) -> Adopted:
        """Take over what another peer has newer than we.

        7.4.1.1: after Error_Data_Too_Old or Error_Generation_Counter_Too_Low "the peer MUST fetch the newer data
        from the peer generating the error and use that to replace its own copy."
        """
        self._check_room()
        draft = self._draft(resource, now)
        refused: list[str] = []
        for response in answer.kind_responses:
            if isinstance(response, FetchKindResponse) and response.kind in self.rules.kinds:
                refused += self._adopt_kind(draft, response, certificates, now)
        self._accounts.check(draft.replacements)
        self._commit_draft(draft, now)
        kinds = [response.kind for response in answer.kind_responses]
        places = tuple(put.record.place for put in draft.puts)
        return Adopted(places, tuple(refused), self._reading.after(resource, kinds))

    # --- The ring.

    def resources_in(self, low: bytes, high: bytes, now: float) -> Iterator[ResourceId]:
        """The resources in (low, high] that have a value, clockwise from `low`; (x, x] is the whole ring.

        It looks them up as it goes, so changes in the meantime do no harm.
        """
        return self._reading.resources_in(low, high, now)

    def transfers(
        self,
        resource: ResourceId,
        replica_number: int,
        now: float,
        *,
        size_max: int,
        places: Collection[Place] | None = None,
    ) -> list[Transfer]:
        """Requests that give another peer all values at a resource, or those at `places`, with what is left of
        their lifetimes. Each request with its certificates has at most `size_max` bytes, unless one value has more.
        """
        return self._reading.transfers(resource, replica_number, now, size_max, places)

    def drop(self, resource: ResourceId, now: float) -> None:
        """Forget a resource that we are neither responsible for nor a replica of (10.7.3)."""
        records = [
            record for kind in self._view.kinds(resource) for record in self._view.records(resource, kind).values()
        ]
        if records:
            self._check_room()
            self._remove(records, _Purpose.CHANGE, now)

    # --- Values that somebody else keeps as well (docs/decisions/lending.md).

    def keep_at_most(self, size: int) -> None:
        """Keep no more than so many bytes of values, if the limits are not below that already."""
        self._accounts.use_limits(replace(self._limits, bytes_max=min(size, self._limits.bytes_max)))

    def resources_of(self, kind: int, after: bytes, limit: int) -> list[ResourceId]:
        """The first `limit` resources after this one that may have a value of a Kind, ascending."""
        return self._view.resources(after, RING_END, limit, kind)

    def outline(self, resource: ResourceId, kind: int, now: float) -> Outline | None:
        """The values of a Kind at a resource, without what is in them; None while they are not all settled."""
        return self._reading.outline(resource, kind, now)

    def is_current(self, outline: Outline, now: float) -> bool:
        """True if a Fetch would be answered with just these values."""
        return self._reading.is_current(outline, now)

    def fetch_from(
        self,
        request: FetchReq,
        outlines: Mapping[int, Outline],
        given: GivenBack,
        now: float,
        *,
        size_max: int | None = None,
    ) -> Fetched:
        """Serve a Fetch with values that were given back. Raises LentValueMissing, LentValueChanged, a Rejection."""
        return self._reading.fetch_from(request, outlines, given, self._wall, now, size_max)

    # --- Signers of our own.

    def issue_storage_time(self, signer: NodeId, now: float, *, above_ms: int = 0) -> StorageTime:
        """A storage_time that is greater than all that this signer has issued, and than `above_ms`."""
        self._check_room()
        last_ms = self._storage_times_ms.get(signer, self._reader.storage_time_ms(signer))
        storage_time_ms = max(self._wall.date_ms(now), last_ms + 1, above_ms + 1)
        self._storage_times_ms[signer] = storage_time_ms
        return StorageTime(storage_time_ms, self._commit([SetStorageTime(signer, storage_time_ms)], (), now))

    # --- Clocks and answers.

    def handle_wall_clock(self, wall: WallClock, now: float) -> None:
        """The date is another, or trusted now: then the age of records from before a reboot can be told."""
        self._wall = wall
        self._age(now)

    def handle_answer(self, token: int, answer: CommitAnswer, now: float) -> None:
        """A commit has been answered."""
        pending = self._asks.answered(token)
        if pending is None:
            # It was given up as overdue, and may have been made all the same.
            self._schedule_sweep(now)
        else:
            self._conclude(pending, isinstance(answer, Committed), now)

    def handle_timeout(self, now: float) -> None:
        """Give up commits that are overdue; remove what has expired."""
        for pending in self._asks.expired(now):
            self._conclude(pending, False, now)
        for chore in self._timers.pop_due(now):
            match chore:
                case _Purpose.AGE:
                    self._age(now)
                case _Purpose.DISCARD:
                    self._discard(now)
                case _:
                    self._sweep(now)

    def join(self, queue: TimerQueue) -> None:
        """Be a part of the core that has this queue."""
        self._asks.join(queue)
        self._timers.join(queue)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._asks.next_deadline(), self._timers.next_deadline()))

    def drain(self) -> list[Effect]:
        """What the driver is to do: commits, each an Ask."""
        effects, self._effects = self._effects, []
        return effects

    # --- Reading.

    def _draft(self, resource: ResourceId, now: float) -> Draft:
        return Draft(self._view, resource, self._reading.clock, now)

    def _adopt_kind(
        self, draft: Draft, response: FetchKindResponse, certificates: Sequence[GenericCertificate], now: float
    ) -> list[str]:
        """Take over values of one Kind; returns why some were refused."""
        kind = self.rules.kinds[response.kind]
        is_changed = False
        refused: list[str] = []
        for stored in filter(is_signed, response.values):
            try:
                believed, signer = self.rules.believe(
                    draft.resource, response.kind, stored, certificates, self._wall, now
                )
                is_changed |= store_value(draft, kind, believed, signer, is_merge=True, may_displace=True)
            except Rejection as rejection:
                refused.append(str(rejection))
        if is_changed:
            theirs = response.generation if response.generation <= GENERATION_MAX else 0
            draft.set_generation(response.kind, 1 + max(draft.generation(response.kind), theirs))
        return refused

    # --- Writing.

    def _check_room(self) -> None:
        if self._asks.is_full:
            raise RequestTimeout("too many changes wait for this peer's disk")

    def _commit_draft(self, draft: Draft, now: float) -> None:
        if draft.changes:
            self._commit(draft.changes, draft.replacements, now)

    def _commit(
        self,
        changes: Sequence[Change],
        replacements: Iterable[Replacement],
        now: float,
        purpose: _Purpose = _Purpose.CHANGE,
    ) -> int:
        moment = Moment(self._reading.clock.at(now), self._wall.date(now) if self._wall.is_trusted else None)
        pending = _Pending(purpose)
        ask = self._asks.ask(Commit(tuple(changes), moment), pending, now + self._limits.commit_patience_s)
        pending.token = ask.token
        self._view.lay(ask.token, tuple(changes))
        self._accounts.book(ask.token, replacements)
        self._effects.append(ask)
        return ask.token

    def _remove(self, records: Sequence[Record], purpose: _Purpose, now: float) -> None:
        """Forget records, and the generation counters of Kinds that have none left."""
        removed = {record.place for record in records}
        locations = dict.fromkeys((place.resource, place.kind) for place in removed)
        emptied = [
            SetGeneration(*location, 0)
            for location in locations
            if removed.issuperset(record.place for record in self._view.records(*location).values())
        ]
        removals = [Remove(record.place) for record in records]
        self._commit([*removals, *emptied], [(record, None) for record in records], now, purpose)

    def _conclude(self, pending: _Pending, is_committed: bool, now: float) -> None:
        self._view.settle(pending.token)
        self._accounts.settle(pending.token)
        if not is_committed:
            self._accounts.rebook(self._view.replacements())
        if pending.purpose is _Purpose.AGE:
            self._conclude_ageing(is_committed, now)
        elif pending.purpose is _Purpose.DISCARD:
            self._schedule_discard(now + (0.0 if is_committed else RETRY_S))
        elif pending.purpose is _Purpose.SWEEP:
            self._is_sweeping = False
            self._sweep_not_before = now + (self._limits.sweep_spacing_s if is_committed else RETRY_S)
        self._schedule_sweep(now)

    # --- Chores.

    def _sweep(self, now: float) -> None:
        """Remove what has expired, so that it takes no space; nobody is shown it any more as it is."""
        places = self._reader.expired(self._reading.clock.at(now), self._limits.sweep_max)
        found = {place: self._view.records(place.resource, place.kind) for place in places}
        records = [found[place][place.key] for place in places if not self._view.is_laid(place)]
        if records and not self._asks.is_full:
            self._is_sweeping = True
            self._remove(records, _Purpose.SWEEP, now)
        else:
            self._sweep_not_before = now + self._limits.sweep_spacing_s
            self._schedule_sweep(now)

    def _schedule_sweep(self, now: float) -> None:
        expiry_at = self._reader.earliest_expiry()
        if expiry_at is None or self._is_sweeping:
            self._timers.cancel(_Purpose.SWEEP)
        else:
            due_at = max(expiry_at - self._reading.clock.epoch, self._sweep_not_before, now)
            self._timers.set(_Purpose.SWEEP, due_at, "a record expires")

    def _schedule_discard(self, at: float) -> None:
        if any(not self._reading.understands(kind) for kind in self._view.stored_kinds()):
            self._timers.set(_Purpose.DISCARD, at, "values of a Kind that is no more")

    def _discard(self, now: float) -> None:
        """Remove values of Kinds that the overlay does not have (any more), or has otherwise."""
        if self._asks.is_full:
            self._timers.set(_Purpose.DISCARD, now + RETRY_S, "values of a Kind that is no more")
            return
        unwanted = (
            record
            for kind in self._view.stored_kinds()
            if not self._reading.understands(kind)
            for resource in self._view.resources(b"", RING_END, PAGE, kind)
            for record in self._view.records(resource, kind).values()
        )
        if records := list(islice(unwanted, self._limits.sweep_max)):
            self._remove(records, _Purpose.DISCARD, now)

    def _age(self, now: float) -> None:
        """Find out about the records of before a reboot, if the date is trusted."""
        age = self._reading.clock.age(self._wall.date(now), now) if self._wall.is_trusted else None
        if age is None or self._is_ageing:
            return
        if self._asks.is_full:
            self._timers.set(_Purpose.AGE, now + RETRY_S, "records of unknown age")
            return
        self._is_ageing = True
        self._commit([age], (), now, _Purpose.AGE)

    def _conclude_ageing(self, is_committed: bool, now: float) -> None:
        self._is_ageing = False
        if is_committed:
            self._reading.clock = replace(self._reading.clock, withheld_until=None)
        else:
            self._timers.set(_Purpose.AGE, now + RETRY_S, "records of unknown age")
