"""Damaged requests and answers of the storage protocol: a Rejection or a value, and a store whose books are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_bench import BOB, KINDS, Bench, element, entry, single

from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import Kind
from p2psip.reload.storage.fetching import all_values
from p2psip.reload.storage.outline import GivenBack, LentValueChanged, LentValueMissing
from p2psip.reload.storage.reading import Fetched
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Commit
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.storing import Rules
from p2psip.reload.storage.verified import Believer, Seen, lacks_certificates, read_answer
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    FetchAns,
    FetchKindResponse,
    FetchReq,
    FindReq,
    StatReq,
    StoredData,
    StoredDataValue,
    StoreKindData,
    StoreReq,
)
from p2psip.sim.membership import DATE, Club

MODELS = {kind_id: kind.data_model for kind_id, kind in KINDS.items()}
CLUB = Club.of(required_kinds=tuple(KINDS.values()))
MEMBER = CLUB.member()
PLACE = hash_name(MEMBER.user.encode())
RULES = Rules(KINDS, CLUB.verifier, hash_name)
WALL = WallClock(DATE)
T = TypeVar("T", bound=Struct)


def values_of(kind: Kind) -> tuple[StoredData, ...]:
    """Two values, one of which says that there is none."""
    made: dict[DataModel, list[StoredDataValue]] = {
        DataModel.SINGLE: [single(b"value")],
        DataModel.ARRAY: [element(0, b"value"), element(3, None)],
        DataModel.DICTIONARY: [entry(MEMBER.node_id, b"value"), entry(b"k", None)],
    }
    values = made[kind.data_model]
    return tuple(sign_value(MEMBER, PLACE, kind.kind_id, value, 5, 600) for value in values)


VALUES = {kind: values_of(KINDS[kind]) for kind in KINDS}
ANSWER = FetchAns(tuple(FetchKindResponse(kind, 3, values) for kind, values in VALUES.items())).encode()
STORES = [
    StoreReq(PLACE, replica, (StoreKindData(kind, replica, values),)).encode()
    for replica in (0, 1)
    for kind, values in VALUES.items()
]
SPECIFIERS = tuple(all_values(kind) for kind in KINDS.values())
READS: list[tuple[type[FetchReq | StatReq | FindReq], bytes]] = [
    (FetchReq, FetchReq(PLACE, SPECIFIERS).encode()),
    (StatReq, StatReq(PLACE, SPECIFIERS).encode()),
    (FindReq, FindReq(PLACE, tuple(KINDS)).encode()),
]


def placed() -> tuple[Storage, Fetched]:
    """A store with all these values, and its own answer about them."""
    store = MemoryStore()
    storage = Storage(store, RULES, WALL, 0.0)
    requester = RULES.verifier.verify(b"", MEMBER.sign(b""), MEMBER.certificates, DATE, True)
    for data in STORES:
        request = StoreReq.decode(data, models=MODELS)
        if request.replica_number:
            attempt(lambda request=request: storage.store(request, requester, MEMBER.certificates, (), 0.0))  # type: ignore[misc]
    for effect in storage.drain():
        storage.handle_answer(effect.token, store.commit(effect.question), 0.0)  # type: ignore[attr-defined]
    kept = [kind for kind in KINDS if storage.outline(PLACE, kind, 0.0) is not None]
    return storage, storage.fetch(FetchReq(PLACE, tuple(all_values(KINDS[kind]) for kind in kept)), 0.0)


def damaged(specimens: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of these with some bytes changed, and sometimes cut."""

    def damage(data: bytes, places: list[tuple[int, int]]) -> bytes:
        changed = bytearray(data)
        for place, value in places:
            changed[place % len(changed)] = value
        return bytes(changed)

    changes = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3)
    return st.builds(damage, st.sampled_from(list(specimens)), changes)


def decoded(model: type[T], data: bytes) -> T | None:
    try:
        return model.decode(data, models=MODELS)
    except DecodeError:
        return None


def attempt(run: Callable[[], object]) -> None:
    """Do it, or be refused: nothing else may happen."""
    try:
        run()
    except Rejection as rejection:
        rejection.response.encode()


LENT = placed()


@pytest.mark.long
@settings(max_examples=times(150))
@given(data=damaged([ANSWER]), bucket=st.sampled_from([MEMBER.certificates, (), BOB.certificates]))
def test_a_damaged_answer_is_read_as_far_as_it_can_be_believed(
    data: bytes, bucket: tuple[GenericCertificate, ...]
) -> None:
    answer = decoded(FetchAns, data)
    if answer is None:
        return
    lacks_certificates(answer, bucket, RULES)
    verified = read_answer(PLACE, answer, bucket, Believer(RULES, WALL, Seen()), 0.0)
    assert all(value.signer.user == MEMBER.user for value in (*verified.values, *verified.removed))


@pytest.mark.long
@settings(max_examples=times(150))
@given(data=damaged([ANSWER]), bucket=st.sampled_from([MEMBER.certificates, (), BOB.certificates]))
def test_what_a_client_gives_back_is_what_was_placed_there_or_nothing(
    data: bytes, bucket: tuple[GenericCertificate, ...]
) -> None:
    """Whatever a lender answers: the very values of the own copy come of it, or one of two errors."""
    answer = decoded(FetchAns, data)
    if answer is None:
        return
    storage, own = LENT
    outlines = {kind: storage.outline(PLACE, kind, 0.0) for kind in KINDS}
    known = {kind: outline for kind, outline in outlines.items() if outline is not None}
    request = FetchReq(PLACE, tuple(all_values(KINDS[kind]) for kind in known))
    try:
        fetched = storage.fetch_from(request, known, GivenBack(answer, bucket), 0.0)
    except (LentValueMissing, LentValueChanged):
        return
    assert fetched == own


@pytest.mark.long
@settings(max_examples=times(150))
@given(requests=st.lists(damaged(STORES), min_size=1, max_size=3), reads=st.lists(st.integers(0, 2), max_size=3))
def test_damaged_stores_leave_a_store_that_answers_everything(requests: list[bytes], reads: list[int]) -> None:
    store = MemoryStore()
    storage = Storage(store, RULES, WALL, 0.0)
    requester = RULES.verifier.verify(b"", MEMBER.sign(b""), MEMBER.certificates, DATE, True)
    for number, data in enumerate(requests):
        request = decoded(StoreReq, data)
        if request is not None:
            attempt(lambda request=request: storage.store(request, requester, MEMBER.certificates, (), 0.0))  # type: ignore[misc]
        if number % 2:
            for effect in storage.drain():
                assert isinstance(effect.question, Commit)  # type: ignore[attr-defined]
                storage.handle_answer(effect.token, store.commit(effect.question), 0.0)  # type: ignore[attr-defined]
    storage.fetch(FetchReq(PLACE, SPECIFIERS), 1.0)
    for resource in storage.resources_in(b"", b"", 1.0):
        storage.transfers(resource, 1, 1.0, size_max=1000)


@pytest.mark.long
@settings(max_examples=times(150))
@given(st.sampled_from(READS).flatmap(lambda read: st.tuples(st.just(read[0]), damaged([read[1]]))))
def test_damaged_questions_are_answered_or_refused(read: tuple[type[FetchReq | StatReq | FindReq], bytes]) -> None:
    bench = Bench()
    model, data = read
    request = decoded(model, data)
    serve: dict[type, Callable[..., object]] = {
        FetchReq: bench.storage.fetch,
        StatReq: bench.storage.stat,
        FindReq: bench.storage.find,
    }
    if request is not None:
        attempt(lambda: serve[model](request, 0.0))
