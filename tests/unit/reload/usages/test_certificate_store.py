"""p2psip.reload.usages.certificate_store: where a certificate goes in the array, and what counts as one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from storage_bench import ALICE, ALICE_ELSEWHERE, ALICE_PLACE, BOB, WALL, Bench, signer

from p2psip.reload.config.configuration import CERTIFICATE_KINDS
from p2psip.reload.storage.reading import Fetched
from p2psip.reload.storage.verified import Believer, Value, Verified
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.usages.certificate_store import (
    LIFETIME_S,
    REFRESH_S,
    Slot,
    choose_slot,
    fetch_request,
    read_certificates,
    resource_id,
    store_request,
)
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE, CERTIFICATE_BY_USER
from p2psip.reload.wire.storage_messages import APPEND_INDEX
from p2psip.sim.signer import SimulatedIdentity

KINDS = {kind.kind_id: kind for kind in CERTIFICATE_KINDS}
DER = ALICE.certificates[0].certificate


def present(*entries: tuple[int, bytes | None, SimulatedIdentity, int]) -> Verified:
    """What is in the array: index, certificate, by whom, since when."""
    values = [
        Value(CERTIFICATE_BY_USER, index, data, time_ms, 60, signer(who)) for index, data, who, time_ms in entries
    ]
    existing = tuple(value for value in values if value.data is not None)
    return Verified(existing, tuple(value for value in values if value.data is None))


def slot(there: Verified, max_count: int = 3) -> Slot:
    return choose_slot(ALICE, there, CERTIFICATE_BY_USER, max_count)


def test_the_first_certificate_is_appended() -> None:
    assert slot(present()) == Slot(APPEND_INDEX, 0)


def test_8_new_certificates_are_stored_at_the_end_of_the_list() -> None:
    assert slot(present((0, b"old", ALICE, 5), (1, b"of another line", ALICE_ELSEWHERE, 6))) == Slot(APPEND_INDEX, 0)


def test_one_that_is_there_is_stored_anew_in_its_place() -> None:
    assert slot(present((0, b"old", ALICE, 5), (1, DER, ALICE, 6))) == Slot(1, 6)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([(1, b"a", ALICE, 5), (2, b"b", ALICE, 6)], Slot(0, 0)),
        ([(0, b"a", ALICE, 5), (1, None, ALICE_ELSEWHERE, 6), (2, b"b", ALICE, 7)], Slot(1, 6)),
        ([(0, b"a", ALICE_ELSEWHERE, 3), (1, b"b", ALICE, 9), (2, b"c", ALICE, 7)], Slot(2, 7)),
        ([(0, b"a", ALICE_ELSEWHERE, 3), (1, b"b", ALICE_ELSEWHERE, 2), (2, b"c", ALICE_ELSEWHERE, 4)], Slot(1, 2)),
    ],
    ids=["a gap", "a removed one", "the oldest of our own", "the oldest of all"],
)
def test_where_the_end_is_too_far_another_place_is_taken(
    entries: list[tuple[int, bytes | None, SimulatedIdentity, int]], expected: Slot
) -> None:
    assert slot(present(*entries)) == expected


def test_an_entry_is_read_with_nothing_but_itself() -> None:
    """The certificates in the answer verify the signatures of the answer: the bucket may be empty."""
    bench = Bench(kinds=KINDS)
    for who in (ALICE, ALICE_ELSEWHERE):
        request = store_request(who, CERTIFICATE_BY_USER, APPEND_INDEX, 7, hash_name)
        assert request.resource == ALICE_PLACE
        bench.send(request, requester=who)
    fetched = bench.storage.fetch(fetch_request(CERTIFICATE_BY_USER, ALICE_PLACE), bench.now)
    bare: Fetched = replace(fetched, certificates=())
    found = read_certificates(ALICE_PLACE, bare.answer, bare.certificates, Believer(bench.rules, WALL), bench.now)
    assert [value.data for value in found.values] == [DER, ALICE_ELSEWHERE.certificates[0].certificate]
    assert {value.lifetime_s for value in found.values} == {LIFETIME_S}
    assert REFRESH_S < LIFETIME_S


def test_where_the_entries_are() -> None:
    """8: "not stored at its Node-ID but rather at a hash of its Node-ID"."""
    assert resource_id(CERTIFICATE_BY_NODE, BOB.user, BOB.node_id, hash_name) == hash_name(BOB.node_id)
    assert resource_id(CERTIFICATE_BY_USER, BOB.user, BOB.node_id, hash_name) == hash_name(BOB.user.encode())
