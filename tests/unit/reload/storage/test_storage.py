"""The storage core beyond section 7: commits, and what is adopted."""

from __future__ import annotations

import pytest
from storage_bench import (
    ALICE,
    ALICE_PLACE,
    BOB,
    BOB_PLACE,
    DICTIONARY,
    NOTES,
    PEER,
    SINGLE,
    WALL,
    Bench,
    entry,
    everything,
    single,
)

from p2psip.base.effects import Ask
from p2psip.base.ids import NodeId
from p2psip.reload.storage.limits import Limits
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Committed, Usage
from p2psip.reload.wire.rejections import RequestTimeout
from p2psip.reload.wire.storage_messages import StoreKindData, StoreReq

# --- Commits.


def test_an_answer_waits_for_its_commit() -> None:
    bench = Bench(is_slow=True)
    stored = bench.put(SINGLE, single(b"x"))
    (ask,) = bench.asked
    assert stored.after == ask.token
    assert ask.deadline == Limits().commit_patience_s
    assert bench.store.records(ALICE_PLACE, SINGLE.kind_id) == []
    bench.answer(ask)
    assert bench.store.records(ALICE_PLACE, SINGLE.kind_id)[0].user == ALICE.user


def test_what_is_read_from_uncommitted_state_waits_for_its_commit() -> None:
    bench = Bench(is_slow=True)
    bench.put(SINGLE, single(b"1"))
    bench.put(NOTES, entry(b"k", b"2"))
    first, second = bench.asked
    assert bench.read(SINGLE) == [b"1"]
    assert bench.fetch(everything(SINGLE)).after == first.token
    assert bench.fetch(everything(SINGLE), everything(NOTES)).after == second.token
    assert bench.fetch(everything(NOTES), resource=BOB_PLACE).after is None
    bench.answer(first)
    assert bench.fetch(everything(SINGLE)).after is None
    assert bench.fetch(everything(NOTES)).after == second.token


def test_a_store_that_changes_nothing_waits_for_what_it_saw() -> None:
    bench = Bench(is_slow=True)
    stored = bench.signed(ALICE, ALICE_PLACE, SINGLE, single(b"x"))
    request = StoreReq(ALICE_PLACE, 0, (StoreKindData(SINGLE.kind_id, 0, (stored,)),))
    assert bench.send(request).after == bench.send(request).after == bench.asked[0].token
    assert len(bench.asked) == 1


def test_a_commit_that_fails_takes_its_changes_back() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"old"))
    bench.is_slow = True
    bench.put(SINGLE, single(b"new"))
    assert bench.read(SINGLE) == [b"new"]
    bench.fail(bench.asked[0])
    assert bench.read(SINGLE) == [b"old"]
    fetched = bench.fetch(everything(SINGLE))
    assert (fetched.after, fetched.answer.kind_responses[0].generation) == (None, 1)
    assert bench.storage.value_count == 1


def test_a_later_commit_stands_when_an_earlier_one_fails() -> None:
    bench = Bench(is_slow=True)
    bench.put(SINGLE, single(b"first"))
    bench.put(SINGLE, single(b"second"))
    first, second = bench.asked
    bench.fail(first)
    assert bench.read(SINGLE) == [b"second"]
    bench.answer(second)
    fetched = bench.fetch(everything(SINGLE))
    assert (fetched.after, len(fetched.certificates)) == (None, 1)
    assert bench.read(SINGLE) == [b"second"]


def test_a_commit_that_nobody_answers_counts_as_failed() -> None:
    bench = Bench(is_slow=True)
    bench.put(SINGLE, single(b"x"))
    (ask,) = bench.asked
    bench.advance(59.9)
    assert bench.read(SINGLE) == [b"x"]
    bench.advance(60.0)
    assert bench.read(SINGLE) == [None]
    assert bench.storage.value_count == 0
    bench.answer(ask)
    assert bench.read(SINGLE) == [b"x"], "it was made after all"
    assert bench.storage.value_count == 1


def test_no_more_commits_than_the_limit_wait() -> None:
    bench = Bench(limits=Limits(commits_max=2), is_slow=True)
    bench.put(SINGLE, single(b"1"))
    bench.put(SINGLE, single(b"2"))
    with pytest.raises(RequestTimeout, match="wait for this peer's disk"):
        bench.put(SINGLE, single(b"3"))
    with pytest.raises(RequestTimeout):
        bench.storage.issue_storage_time(ALICE.node_id, 0.0)
    with pytest.raises(RequestTimeout):
        bench.storage.drop(ALICE_PLACE, 0.0)
    assert bench.read(SINGLE) == [b"2"]
    bench.answer(bench.asked[0])
    bench.put(SINGLE, single(b"3"))


def test_an_answer_to_nothing_is_ignored() -> None:
    bench = Bench()
    bench.put(SINGLE, single(b"x"))
    bench.storage.handle_answer(999, Committed(), 0.0)
    assert (bench.read(SINGLE), bench.storage.value_count) == ([b"x"], 1)


def test_a_new_core_goes_on_where_the_old_one_stopped() -> None:
    before = Bench()
    before.put(DICTIONARY, entry(ALICE.node_id, b"x"))
    after = Bench(store=before.store, now=100.0)
    assert after.read(DICTIONARY) == [b"x"]
    assert after.storage.value_count == 1
    after.advance(600.0)
    assert after.read(DICTIONARY) == []
    assert after.store.usage(None) == Usage(0, 0)


def test_each_commit_has_the_counter_of_its_values_for_an_earlier_one_may_fail() -> None:
    bench = Bench(is_slow=True)
    for key in (b"a", b"b"):
        bench.put(NOTES, entry(key, b""), replica_number=1, generation=7, requester=PEER)
    first, second = bench.asked
    bench.fail(first)
    bench.answer(second)
    (response,) = bench.fetch(everything(NOTES)).answer.kind_responses
    assert response.generation == 7
    assert bench.read(NOTES) == [b""]


# --- Adopting.


def test_adopting_takes_only_what_is_valid_and_newer() -> None:
    ours, theirs = Bench(), Bench()
    ours.put(NOTES, entry(b"a", b"ours"), storage_time_ms=9000)
    theirs.put(NOTES, entry(b"a", b"theirs"), entry(b"b", b"good"), storage_time_ms=2000)
    fetched = theirs.fetch(everything(NOTES))
    stray = theirs.signed(BOB, ALICE_PLACE, NOTES, entry(b"c", b"bad"))
    (response,) = fetched.answer.kind_responses
    forged = type(response)(NOTES.kind_id, 2**64 - 1, (*response.values, stray))  # type: ignore[union-attr,call-arg]
    answer = type(fetched.answer)((forged,))
    bucket = (*fetched.certificates, *BOB.certificates)
    adopted = ours.storage.adopt(ALICE_PLACE, answer, bucket, 0.0)
    ours.settle()
    assert [place.key for place in adopted.places] == [b"b"]
    assert [text.split(" ")[0] for text in adopted.refused] == ["there", "USER-MATCH"]
    assert ours.read(NOTES) == [b"ours", b"good"]
    assert ours.fetch(everything(NOTES)).answer.kind_responses[0].generation == 2


def test_adopting_nothing_changes_nothing() -> None:
    ours = Bench()
    adopted = ours.storage.adopt(ALICE_PLACE, Bench().fetch(everything(SINGLE)).answer, (), 0.0)
    assert (adopted.places, adopted.refused, adopted.after) == ((), (), None)
    assert ours.storage.drain() == []


def test_tokens_keep_clear_of_other_cores() -> None:
    bench = Bench()
    storage = type(bench.storage)(MemoryStore(), bench.rules, WALL, 0.0, first_token=2, token_step=3)
    tokens = [storage.issue_storage_time(NodeId(bytes(16)), 0.0).after for _ in range(3)]
    assert tokens == [2, 5, 8]
    assert all(isinstance(effect, Ask) for effect in storage.drain())
