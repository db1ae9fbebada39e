"""The ways back (p2psip.reload.forwarding.return_path): what is kept, what is sealed, what is numbered."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import values_of

from p2psip.base.ids import NodeId
from p2psip.reload.forwarding.return_path import (
    SLOTS_MAX,
    STATE_BYTES_MAX,
    STATES_MAX,
    ConnectionIndex,
    ReturnPath,
    ReturnPaths,
)
from p2psip.reload.wire.header import CompressedDestination, Destination, Entry, ForwardingHeader

A, B, C, D, E = (NodeId(bytes([number]) * 16) for number in range(1, 6))
VIA = (Destination.node(A), Destination.node(B))
BACK = (Destination.node(C), Destination.node(B), Destination.node(A))
OPAQUE = [ReturnPath.STORED_LIST, ReturnPath.SEALED_LIST]


def header(via_list: tuple[Entry, ...] = VIA, transaction: int = 7) -> ForwardingHeader:
    """Of a request that C sent to D, for E."""
    return ForwardingHeader(
        overlay=1,
        configuration_sequence=1,
        transaction_id=transaction,
        via_list=via_list,
        destination_list=(Destination.node(E),),
    )


def paths(strategy: ReturnPath, **settings: object) -> ReturnPaths:
    """Of the node D."""
    return ReturnPaths(strategy, random.Random(1), **settings)  # type: ignore[arg-type]


def passed_on(here: ReturnPaths, head: ForwardingHeader | None = None, now: float = 0.0) -> tuple[Entry, ...]:
    """The via list with which D passes a request on from C to E."""
    return here.via_list(head or header(), C, E, now)


def way_back(here: ReturnPaths, via_list: tuple[Entry, ...], now: float = 0.0) -> tuple[Entry, ...]:
    """The destination list of the response after D, as its forwarder makes it; `via_list` is what E received."""
    entries = tuple(reversed(via_list))
    if (back := here.recall(7, E, now)) is not None:
        return (Destination.node(back), *entries)
    while entries and entries[0].opaque_id is not None:
        entries = (*(here.expand(entries[0].opaque_id, 7, now) or ()), *entries[1:])
    return entries


@pytest.mark.parametrize("strategy", ReturnPath)
def test_every_strategy_finds_back(strategy: ReturnPath) -> None:
    """ "The only requirement is that the peer MUST be able to reconstruct the correct Destination List"."""
    here = paths(strategy)
    assert way_back(here, passed_on(here)) == BACK


def test_what_the_via_list_looks_like() -> None:
    """The table in the module's docstring."""
    assert passed_on(paths(ReturnPath.VIA_LIST)) == (*VIA, Destination.node(C))
    assert passed_on(paths(ReturnPath.TRANSACTION_STATE)) == VIA
    for strategy in OPAQUE:
        (entry,) = passed_on(paths(strategy))
        assert entry.opaque_id is not None
    *rest, last = passed_on(paths(ReturnPath.CONNECTION_INDEX))
    assert tuple(rest) == VIA
    assert isinstance(last, CompressedDestination)


@pytest.mark.parametrize("strategy", ReturnPath)
def test_every_peer_expands_what_it_made_earlier(strategy: ReturnPath) -> None:
    """Whichever strategy it has now."""
    here = paths(strategy)
    via_list = passed_on(here)
    for here.strategy in ReturnPath:
        assert way_back(here, via_list) == BACK


@pytest.mark.parametrize("kept_s", [3.0, 40.0])
@pytest.mark.parametrize("strategy", [ReturnPath.TRANSACTION_STATE, ReturnPath.STORED_LIST])
def test_state_is_kept_for_a_while_and_no_longer(strategy: ReturnPath, kept_s: float) -> None:
    """ "the state MUST be maintained for at least the value of the overlay-reliability-timer configuration
    parameter and MAY be kept longer": 15 s, if that is longer."""
    here = paths(strategy, reliability_timer_s=kept_s)
    via_list = passed_on(here)
    assert way_back(here, via_list, max(15.0, kept_s) - 0.001) == BACK
    assert way_back(here, via_list, max(15.0, kept_s)) != BACK
    assert here.states_kept == 0


@pytest.mark.parametrize("strategy", [ReturnPath.TRANSACTION_STATE, ReturnPath.STORED_LIST])
def test_state_is_bounded(strategy: ReturnPath) -> None:
    """Where there is no room the via list grows; who has a place keeps it."""
    here = paths(strategy)
    first = passed_on(here)
    for transaction in range(100, 100 + STATES_MAX):
        passed_on(here, header(transaction=transaction))
    assert here.states_kept == STATES_MAX
    assert passed_on(here, header(transaction=8)) == (*VIA, Destination.node(C))
    assert way_back(here, first) == BACK


def test_stored_bytes_are_bounded() -> None:
    """Long via lists fill the room sooner."""
    here = paths(ReturnPath.STORED_LIST)
    long = tuple(Destination.opaque(bytes(250)) for _ in range(254))
    for transaction in range(50):
        passed_on(here, header(long, transaction))
    assert here.states_kept == STATE_BYTES_MAX // sum(len(entry.encode()) for entry in long) < 50


def test_a_transaction_that_comes_back_another_way_is_appended() -> None:
    """Of one transaction over one link there is one state; the same request again refreshes it."""
    here = paths(ReturnPath.TRANSACTION_STATE)
    assert passed_on(here, now=0.0) == VIA
    assert passed_on(here, now=10.0) == VIA
    assert here.via_list(header(), B, E, 10.0) == (*VIA, Destination.node(B))
    assert here.recall(7, E, 20.0) == C


def test_a_fragment_is_not_remembered() -> None:
    """All fragments of a message get the same via list."""
    for strategy in (ReturnPath.TRANSACTION_STATE, ReturnPath.STORED_LIST):
        here = paths(strategy)
        head = replace(header(), fragment=0x80000000)
        assert passed_on(here, head) == (*VIA, Destination.node(C))
        assert here.states_kept == 0


@pytest.mark.parametrize("strategy", OPAQUE)
def test_an_id_holds_for_its_own_transaction(strategy: ReturnPath) -> None:
    """Who has seen it in a request cannot send something else along the same way."""
    here = paths(strategy)
    (entry,) = passed_on(here)
    assert entry.opaque_id is not None
    assert here.expand(entry.opaque_id, header().transaction_id, 1.0) is not None
    assert here.expand(entry.opaque_id, header().transaction_id + 1, 1.0) is None


@given(st.data())
def test_forged_ids_stand_for_nothing(data: st.DataObject) -> None:
    """Property: of 8 bytes and more nobody guesses one; a sealed list that was changed, or is another's or of another
    transaction, is no list of ours."""
    here = paths(ReturnPath.SEALED_LIST)
    (entry,) = passed_on(here)
    opaque_id = entry.opaque_id
    assert opaque_id is not None
    place = data.draw(st.integers(0, len(opaque_id) - 1))
    changed = bytearray(opaque_id)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert here.expand(bytes(changed), 7, 0.0) is None
    assert here.expand(opaque_id, 8, 0.0) is None
    assert ReturnPaths(ReturnPath.SEALED_LIST, random.Random(2)).expand(opaque_id, 7, 0.0) is None
    assert here.expand(data.draw(st.binary(max_size=254).filter(lambda b: b != opaque_id)), 7, 0.0) is None


@given(st.data(), st.sampled_from(range(16, 21)))
def test_any_via_list_is_sealed_and_read_again(data: st.DataObject, length: int) -> None:
    """Property: entries of all forms and lengths; what does not fit into the seal stays in the list."""
    entries = data.draw(st.lists(values_of(Destination, None, length) | values_of(CompressedDestination), max_size=40))
    here = paths(ReturnPath.SEALED_LIST, node_id_length=length)
    previous = NodeId(bytes(length))
    via_list = here.via_list(header(tuple(entries)), previous, E, 0.0)
    assert all(len(entry.encode()) <= 257 for entry in via_list)
    opaque_id = via_list[-1].opaque_id
    assert opaque_id is not None
    expanded = here.expand(opaque_id, 7, 0.0)
    assert expanded is not None
    assert (*expanded, *reversed(via_list[:-1])) == (Destination.node(previous), *reversed(entries))


def test_an_entry_that_does_not_fit_is_not_sealed() -> None:
    """A foreign opaque ID of full length stays as it is."""
    here = paths(ReturnPath.SEALED_LIST)
    long = Destination.opaque(bytes(254))
    via_list = passed_on(here, header((Destination.node(A), long)))
    assert via_list[:2] == (Destination.node(A), long)
    assert len(via_list) == 3


def test_6_3_2_2_slots_rotate() -> None:
    """ "Connection Table slots are used on a rotating basis to maximize the time interval between uses"."""
    index = ConnectionIndex(random.Random(1))
    first = index.number_of(A)
    assert first is not None
    assert index.number_of(A) == first
    index.forget(A)
    for number in range(SLOTS_MAX - 1):
        node = NodeId(number.to_bytes(16, "big"))
        assert (index.number_of(node) or 0) >> 3 != first >> 3
        index.forget(node)
    again = index.number_of(B)
    assert again is not None
    assert again >> 3 == first >> 3
    assert again & 7 == (first + 1) & 7, "the generation counter is incremented (with wrapping)"
    assert (index.node_of(first), index.node_of(again)) == (None, B)


def test_6_3_2_2_generations_begin_at_random() -> None:
    """ "the generation counters SHOULD be initialized to random values"."""
    index = ConnectionIndex(random.Random(1))
    numbers = [index.number_of(NodeId(bytes([number]) * 16)) for number in range(100)]
    assert {number & 7 for number in numbers if number is not None} == set(range(8))


def test_without_a_slot_the_via_list_grows() -> None:
    """4096 nodes are more than anybody is linked with."""
    here = paths(ReturnPath.CONNECTION_INDEX)
    for number in range(SLOTS_MAX):
        here.via_list(header(), NodeId((number + 1000).to_bytes(16, "big")), E, 0.0)
    assert passed_on(here) == (*VIA, Destination.node(C))
    here.forget(NodeId((1000).to_bytes(16, "big")))
    assert isinstance(passed_on(here)[-1], CompressedDestination)


def test_a_number_dies_with_the_link() -> None:
    """A response that is late does not go to another node."""
    here = paths(ReturnPath.CONNECTION_INDEX)
    via_list = passed_on(here)
    here.forget(C)
    assert way_back(here, via_list) != BACK
    assert here.expand(b"\xff\xff", 7, 0.0) is None


def test_two_bytes_without_the_first_bit_are_no_number_of_ours() -> None:
    """A full structure may hold them; the 16-bit form, which it would be equal to, cannot."""
    here = paths(ReturnPath.CONNECTION_INDEX)
    number = passed_on(here)[-1].opaque_id
    assert number is not None
    assert here.expand(bytes([number[0] & 0x7F, number[1]]), 7, 0.0) is None
    assert here.expand(number, 7, 0.0) == (Destination.node(C),)
