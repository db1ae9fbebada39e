"""The storage core against a naive model of it, under any sequence of stores, commits, failures and time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from effort import times
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from storage_bench import (
    ALICE,
    ALICE_ELSEWHERE,
    ALICE_PLACE,
    ARRAY,
    DICTIONARY,
    NOTES,
    PEER,
    SINGLE,
    Bench,
    element,
    entry,
    everything,
    single,
)

from p2psip.reload.config.configuration import Kind
from p2psip.reload.storage.limits import Limits
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.rejections import (
    DataTooLarge,
    DataTooOld,
    Forbidden,
    GenerationCounterTooLow,
    InvalidMessage,
    Rejection,
)
from p2psip.reload.wire.storage_messages import (
    FetchKindResponse,
    StoredData,
    StoredDataValue,
    StoreKindData,
    StoreReq,
)
from p2psip.sim.signer import SimulatedIdentity

KINDS = [SINGLE, ARRAY, NOTES, DICTIONARY]
APPEND = 0xFFFFFFFF

Slot = tuple[int, int | bytes | None]
"""A Kind and an index, a key or nothing."""


@dataclass(frozen=True)
class Held:
    data: bytes | None
    storage_time_ms: int
    expires_at: float


@dataclass
class State:
    """What there is: values that may have expired, and generation counters."""

    values: dict[Slot, Held] = field(default_factory=dict)
    generations: dict[int, int] = field(default_factory=dict)

    def live(self, kind: Kind, now: float) -> dict[int | bytes | None, Held]:
        return {
            slot[1]: held for slot, held in self.values.items() if slot[0] == kind.kind_id and held.expires_at > now
        }

    def overlaid(self, other: State) -> State:
        return State(self.values | other.values, self.generations | other.generations)


def naive_store(
    state: State, kind: Kind, offers: list[tuple[int, Held]], generation: int, is_original: bool, now: float
) -> State | type[Rejection]:
    """What a store changes, or how it is rejected. An offer is a small number that says where, and the value."""
    if kind is DICTIONARY and is_original and len({owner_of(kind, where) for where, _ in offers}) > 1:
        return Forbidden
    current = state.generations.get(kind.kind_id, 0)
    if not is_original and generation == 0:
        return InvalidMessage
    if is_original and generation not in (0, current):
        return GenerationCounterTooLow
    delta = State()
    for where, held in offers:
        live = state.overlaid(delta).live(kind, now)
        if where == APPEND and any(is_same(old, held) for old in state.live(kind, now).values()):
            continue
        slot = where_of(kind, where, live)
        if kind is ARRAY and isinstance(slot, int) and slot >= kind.max_count:
            return DataTooLarge
        old = live.get(slot)
        if old is None and len(live) >= kind.max_count:
            if is_original:
                return DataTooLarge
            (last, _), *_ = sorted(live.items(), key=lambda item: turn(*item))
            if turn(last, live[last]) > turn(slot, held):
                return DataTooOld
            delta.values[kind.kind_id, last] = GONE
        if old is not None and is_same(old, held):
            continue
        if old is not None and held.storage_time_ms <= old.storage_time_ms:
            is_later = held.storage_time_ms == old.storage_time_ms and turn(slot, held) > turn(slot, old)
            if is_original or not is_later:
                return DataTooOld
        delta.values[kind.kind_id, slot] = held
    if not is_original and offers:
        delta.generations[kind.kind_id] = generation
    elif delta.values:
        delta.generations[kind.kind_id] = current + 1
    return delta


GONE = Held(None, 0, 0.0)
"""What has made way for something else, as if it had expired before all began."""


def turn(slot: int | bytes | None, held: Held) -> tuple[int, bool, bytes]:
    """The order in which peers merge: of too many the last ones stay, and the last one of two."""
    return held.storage_time_ms, held.data is None, wire_value(slot, held.data).encode()


def is_same(one: Held, other: Held) -> bool:
    """True for the same word of the same signer, whatever is left of its lifetime."""
    return (one.data, one.storage_time_ms) == (other.data, other.storage_time_ms)


def owner_of(kind: Kind, where: int) -> SimulatedIdentity:
    """Who signs: two lines of one user, where the key of the dictionary says which."""
    return (ALICE, ALICE_ELSEWHERE)[where % 2 if kind is DICTIONARY else 0]


def where_of(kind: Kind, where: int, live: dict[int | bytes | None, Held]) -> int | bytes | None:
    if kind is SINGLE:
        return None
    if kind is NOTES:
        return bytes([where])
    if kind is DICTIONARY:
        return bytes(owner_of(kind, where).node_id)
    last = max((index for index in live if isinstance(index, int)), default=-1)
    return last + 1 if where == APPEND else where


def wire_value(slot: int | bytes | None, data: bytes | None) -> StoredDataValue:
    match slot:
        case None:
            return single(data)
        case int():
            return element(slot, data)
    return entry(slot, data)


OFFERS = st.tuples(
    st.sampled_from([0, 1, 2, 3, 7, 8]),
    st.sampled_from([None, b"", b"x", b"y"]),
    st.integers(1, 30),
    st.integers(1, 60),
)


class StorageMachine(RuleBasedStateMachine):
    """Bench and model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(is_slow=True, limits=Limits(commit_patience_s=1e9))
        self.committed = State()
        self.pending: list[tuple[int, State]] = []

    @property
    def state(self) -> State:
        state = self.committed
        for _, delta in self.pending:
            state = state.overlaid(delta)
        return state

    @rule(
        kind=st.sampled_from(KINDS),
        offers=st.lists(OFFERS, max_size=4),
        is_append=st.booleans(),
        generation=st.integers(0, 4),
        is_original=st.booleans(),
    )
    def store(
        self,
        kind: Kind,
        offers: list[tuple[int, bytes | None, int, int]],
        is_append: bool,
        generation: int,
        is_original: bool,
    ) -> None:
        bench = self.bench
        offered, values = [], []
        for where, data, time_ms, lifetime_s in offers:
            position = APPEND if kind is ARRAY and is_append else where
            offered.append((position, Held(data, time_ms, bench.now + lifetime_s)))
            what = wire_value(position if kind is ARRAY else where_of(kind, where, {}), data)
            owner = owner_of(kind, where)
            values.append(bench.signed(owner, ALICE_PLACE, kind, what, storage_time_ms=time_ms, lifetime_s=lifetime_s))
        requester = owner_of(kind, offers[0][0]) if offers else ALICE
        outcome = naive_store(self.state, kind, offered, generation, is_original, bench.now)
        if isinstance(outcome, State):
            self._store(kind, values, generation, requester if is_original else None)
            if bench.asked and bench.asked[-1].token not in dict(self.pending):
                self.pending.append((bench.asked[-1].token, outcome))
            else:
                assert not outcome.values
        else:
            with pytest.raises(outcome):
                self._store(kind, values, generation, requester if is_original else None)

    def _store(
        self, kind: Kind, values: list[StoredData], generation: int, requester: SimulatedIdentity | None
    ) -> None:
        """An original Store, or one of a replica, which no owner signs."""
        data = StoreKindData(kind.kind_id, generation, tuple(values))
        request = StoreReq(ALICE_PLACE, 1 if requester is None else 0, (data,))
        self.bench.send(request, requester=requester or PEER)

    @precondition(lambda self: self.pending)
    @rule(is_successful=st.booleans())
    def answer(self, is_successful: bool) -> None:
        token, delta = self.pending.pop(0)
        (ask,) = [ask for ask in self.bench.asked if ask.token == token]
        if is_successful:
            self.committed = self.committed.overlaid(delta)
            self.bench.answer(ask)
        else:
            self.bench.fail(ask)

    @rule(seconds=st.integers(0, 30))
    def wait(self, seconds: int) -> None:
        """Time passes; sweeps are answered at once, after all that waits before them."""
        while self.pending:
            self.answer(True)
        self.bench.is_slow = False
        self.bench.advance(self.bench.now + seconds)
        self.bench.is_slow = True
        self._forget_expired()

    def _forget_expired(self) -> None:
        """Sweeping takes the generation counters of what is empty; what is left may wait for the next sweep."""
        swept = {kind.kind_id for kind in KINDS if not self.bench.store.records(ALICE_PLACE, kind.kind_id)}
        values = {slot: held for slot, held in self.committed.values.items() if held.expires_at > self.bench.now}
        for kind in KINDS:
            if self.committed.live(kind, self.bench.now):
                assert kind.kind_id not in swept
        generations = {kind: counter for kind, counter in self.committed.generations.items() if kind not in swept}
        self.committed = State(values, generations)

    @invariant()
    def reads_agree(self) -> None:
        state, bench = self.state, self.bench
        for kind in KINDS:
            (response,) = bench.fetch(everything(kind)).answer.kind_responses
            assert isinstance(response, FetchKindResponse)
            found = {
                stored.value: (stored.storage_time, stored.lifetime)
                for stored in response.values
                if stored.signature.signature_value
            }
            expected = {
                wire_value(slot, held.data): (held.storage_time_ms, int(held.expires_at - bench.now))
                for slot, held in state.live(kind, bench.now).items()
            }
            assert found == expected
            if expected:
                assert response.generation == state.generations[kind.kind_id]
            if kind.data_model is DataModel.SINGLE:
                assert len(response.values) == 1

    @invariant()
    def the_books_agree(self) -> None:
        bench = self.bench
        records = [
            record for kind in KINDS for record in bench.storage._view.records(ALICE_PLACE, kind.kind_id).values()
        ]
        assert bench.storage.value_count == len(records)
        assert bench.storage.size == sum(record.size for record in records)

    @invariant()
    def what_is_committed_can_be_verified(self) -> None:
        for kind in KINDS:
            for record in self.bench.store.records(ALICE_PLACE, kind.kind_id):
                assert self.bench.store.certificates(record.chain) is not None


TestStorageModel = pytest.mark.long(StorageMachine.TestCase)
TestStorageModel.settings = settings(max_examples=times(50), stateful_step_count=30)
