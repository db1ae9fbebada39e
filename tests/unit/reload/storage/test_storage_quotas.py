"""The storage core beyond section 7: quotas, and who may write at all."""

from __future__ import annotations

import pytest
from storage_bench import (
    ALICE,
    ALICE_ELSEWHERE,
    BOB,
    BOB_PLACE,
    BY_NODE,
    DICTIONARY,
    NOTES,
    SINGLE,
    Bench,
    entry,
    single,
)

from p2psip.reload.config.configuration import AccessControl, Kind
from p2psip.reload.security.roles import Signer
from p2psip.reload.storage.access import WantedWrite
from p2psip.reload.storage.limits import Limits
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.rejections import DataTooLarge, Forbidden
from p2psip.reload.wire.storage_messages import StoredData
from p2psip.sim.signer import SimulatedIdentity


def test_a_users_values_are_limited_in_number() -> None:
    bench = Bench(limits=Limits(records_per_user_max=2))
    bench.put(NOTES, entry(b"a", b""), entry(b"b", b""))
    with pytest.raises(DataTooLarge, match=r"at most 2 values of alice@example\.org"):
        bench.put(NOTES, entry(b"c", b""))
    bench.put(NOTES, entry(b"a", b"again"))
    bench.put(NOTES, entry(b"a", b""), identity=BOB, resource=BOB_PLACE)
    assert bench.storage.value_count == 3


def test_a_users_bytes_are_limited() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b"12345"))
    bench = Bench(limits=Limits(bytes_per_user_max=bench.storage.size))
    bench.put(NOTES, entry(b"a", b"12345"))
    with pytest.raises(DataTooLarge, match="bytes of alice"):
        bench.put(NOTES, entry(b"a", b"123456"))
    bench.put(NOTES, entry(b"a", b"123"))


@pytest.mark.parametrize("limits", [Limits(records_max=1), Limits(bytes_max=150)])
def test_all_values_together_are_limited(limits: Limits) -> None:
    bench = Bench(limits=limits)
    bench.put(SINGLE, single(b"x"))
    with pytest.raises(DataTooLarge, match=r"at most \d+ (values|bytes)$"):
        bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    bench.put(SINGLE, single(b"y"))


def test_who_has_too_much_may_still_have_less() -> None:
    bench = Bench()
    bench.put(NOTES, entry(b"a", b"12345"), entry(b"b", b""))
    strict = Bench(store=bench.store, limits=Limits(records_per_user_max=1, bytes_per_user_max=100), clock_ms=5000)
    strict.put(NOTES, entry(b"a", b"123"))
    strict.put(NOTES, entry(b"a", None))
    with pytest.raises(DataTooLarge):
        strict.put(NOTES, entry(b"a", b"1"))


def test_a_usage_may_refuse_names() -> None:
    class OnlyBob:
        def ends_ms(self, stored: StoredData, signer: Signer) -> int:
            return 1 << 62

        def permits(self, write: WantedWrite, signer: Signer) -> bool:
            return signer.user == BOB.user

    bench = Bench(usage_rules={SINGLE.kind_id: OnlyBob()})
    bench.put(SINGLE, single(b"x"), identity=BOB, resource=BOB_PLACE)
    bench.put(NOTES, entry(b"", b""))
    with pytest.raises(Forbidden, match=r"takes no values of Kind 0xf0000001 for alice@example\.org"):
        bench.put(SINGLE, single(b"x"))


def test_nobody_writes_under_a_policy_that_is_not_known() -> None:
    kind = Kind(0xF0000009, DataModel.SINGLE, AccessControl.NODE_ID_MATCH, max_count=1, max_size=9)
    with pytest.raises(Forbidden, match="NODE-ID-MATCH"):
        Bench(kinds={kind.kind_id: kind}).put(kind, single(b"x"))


def test_13_5_2_a_user_with_many_keys_has_one_quota() -> None:
    bench = Bench(limits=Limits(records_per_user_max=2))
    bench.put(DICTIONARY, entry(ALICE.node_id, b"x"))
    bench.put(DICTIONARY, entry(ALICE_ELSEWHERE.node_id, b"x"), identity=ALICE_ELSEWHERE)
    with pytest.raises(DataTooLarge, match=r"at most 2 values of alice@example\.org"):
        bench.put(SINGLE, single(b"x"))
    bench.put(BY_NODE, single(b"x"), identity=BOB, resource=hash_name(BOB.node_id))


def test_13_5_2_a_key_with_many_user_names_has_one_quota() -> None:
    """Where certificates are self-signed, a key chooses what names it has."""
    bench = Bench(limits=Limits(records_per_node_max=2))
    names = [SimulatedIdentity(f"name{number}@example.org", ALICE.node_id) for number in range(3)]
    for who in names[:2]:
        bench.put(SINGLE, single(b"x"), identity=who, resource=hash_name(who.user.encode()))
    with pytest.raises(DataTooLarge, match=f"at most 2 values signed by {ALICE.node_id.short}"):
        bench.put(SINGLE, single(b"x"), identity=names[2], resource=hash_name(names[2].user.encode()))


def test_what_a_failed_commit_had_booked_is_given_back() -> None:
    """And what followed it is booked anew: it replaces something else than had been thought."""
    bench = Bench(is_slow=True, limits=Limits(records_per_user_max=2))
    bench.put(NOTES, entry(b"a", b"12345"))
    bench.put(NOTES, entry(b"a", b"1234567"), entry(b"b", b""))
    with pytest.raises(DataTooLarge):
        bench.put(NOTES, entry(b"c", b""))
    bench.fail(bench.asked[0])
    assert bench.storage.value_count == 2
    bench.fail(bench.asked[0])
    assert (bench.storage.value_count, bench.storage.size) == (0, 0)
    bench.put(NOTES, entry(b"c", b""), entry(b"d", b""))
