"""Putting fragments together (p2psip.reload.forwarding.reassembly): any order, overlaps, gaps, hostile neighbours."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.ids import NodeId
from p2psip.reload.forwarding.fragmentation import fragment
from p2psip.reload.forwarding.reassembly import (
    HELD_S,
    SEGMENT_COST,
    CannotReassemble,
    FragmentedTooLarge,
    Reassembler,
)
from p2psip.reload.wire.header import FRAGMENT_ALWAYS_SET, LAST_FRAGMENT, Destination, ForwardingHeader
from p2psip.reload.wire.message import join, split

ME, ONE, OTHER = NodeId(b"\x01" * 16), NodeId(b"\x02" * 16), NodeId(b"\x03" * 16)
MESSAGE_BYTES_MAX = 5000
PAYLOAD = random.Random(1).randbytes(3000)
Whole = tuple[ForwardingHeader, bytes]


def header(transaction: int = 7, offset: int = 0, *, is_last: bool = False, length: int = 100) -> ForwardingHeader:
    """Of a fragment."""
    return ForwardingHeader(
        overlay=1,
        configuration_sequence=1,
        transaction_id=transaction,
        fragment=FRAGMENT_ALWAYS_SET | (LAST_FRAGMENT if is_last else 0) | offset,
        length=length,
        destination_list=(Destination.node(ME),),
    )


class Receiving:
    """A reassembler, and how pieces of the payload come to it."""

    def __init__(self, bytes_held_max: int = 1 << 20) -> None:
        self.reassembler = Reassembler(MESSAGE_BYTES_MAX, bytes_held_max=bytes_held_max)

    def piece(
        self,
        start: int,
        end: int,
        *,
        data: bytes = PAYLOAD,
        transaction: int = 7,
        source: NodeId = ONE,
        at: float = 0.0,
    ) -> bytes | None:
        """Bytes start...end of the payload arrive; the payload, if that makes it complete."""
        head, cut = split(join(header(transaction, start, is_last=end == len(data)), data[start:end]))
        whole = self.reassembler.receive(head, cut, ME, source, at)
        return None if whole is None else whole[1]


def test_in_order() -> None:
    """The header is then that of a message never cut."""
    first, second = (split(piece) for piece in fragment(join(header(is_last=True), PAYLOAD), 2000))
    reassembler = Reassembler(MESSAGE_BYTES_MAX)
    assert reassembler.receive(*first, ME, ONE, 0.0) is None
    whole = reassembler.receive(*second, ME, ONE, 0.0)
    assert whole is not None
    assert whole == split(join(header(is_last=True), PAYLOAD))
    assert reassembler.bytes_held == 0


def test_out_of_order_and_twice() -> None:
    """The last may come first."""
    there = Receiving()
    assert [there.piece(*span) for span in ((2000, 3000), (2000, 3000), (0, 1000), (0, 1000))] == [None] * 4
    assert there.piece(1000, 2000) == PAYLOAD


def test_overlaps_are_taken_once() -> None:
    """A retransmission may be cut elsewhere on another way."""
    there = Receiving()
    for span in ((0, 1000), (500, 700), (900, 1700), (2500, 3000), (2300, 2600)):
        assert there.piece(*span) is None
    assert there.piece(1500, 2400) == PAYLOAD


def test_one_that_covers_others_fills_the_gaps_between_them() -> None:
    """In one go."""
    there = Receiving()
    for span in ((0, 10), (20, 30), (40, 50), (2990, 3000)):
        assert there.piece(*span) is None
    assert there.piece(5, 2995) == PAYLOAD


def test_messages_of_several_transactions_do_not_mix() -> None:
    """ "Transaction IDs are also used for fragment reassembly." (6.3.2)"""
    there = Receiving()
    assert there.piece(0, 1500, transaction=1) is None
    assert there.piece(1500, 3000, transaction=2) is None
    assert there.piece(1500, 3000, transaction=1) == PAYLOAD


def test_an_empty_last_fragment_says_where_the_end_is() -> None:
    """It is of no use to anybody, but it is a fragment."""
    there = Receiving()
    reassembler = there.reassembler
    assert reassembler.receive(header(offset=0), PAYLOAD, ME, ONE, 0.0) is None
    whole = reassembler.receive(header(offset=3000, is_last=True), b"", ME, ONE, 0.0)
    assert whole is not None
    assert whole[1] == PAYLOAD


def test_an_empty_fragment_in_the_middle_is_none() -> None:
    """It says nothing."""
    with pytest.raises(CannotReassemble, match="empty"):
        Reassembler(MESSAGE_BYTES_MAX).receive(header(offset=7), b"", ME, ONE, 0.0)


def test_later_words_win() -> None:
    """A forged piece does not spoil the retransmission: what contradicts it is forgotten."""
    there = Receiving()
    forged = bytes(3000)
    assert there.piece(1000, 2500, data=forged) is None
    assert there.piece(0, 1000) is None
    assert there.piece(1000, 2000) is None
    assert there.piece(2000, 3000) == PAYLOAD


def test_a_forged_end_does_not_stay() -> None:
    """Neither one that is too early, nor one that is too late."""
    there = Receiving()
    assert there.piece(1000, 1500, data=PAYLOAD[:1500]) is None
    assert there.piece(1000, 3000) is None
    assert there.piece(0, 1000) == PAYLOAD
    assert there.piece(3000, 3500, data=PAYLOAD + bytes(500)) is None
    assert there.piece(2000, 3000) is None
    assert there.piece(0, 2000) == PAYLOAD


def test_incomplete_messages_are_forgotten_after_fifteen_seconds() -> None:
    """ "receivers SHOULD time out incomplete fragments after the maximum request lifetime (15 seconds)"."""
    there = Receiving()
    there.piece(0, 1000, at=100.0)
    deadline = there.reassembler.next_deadline()
    assert deadline is not None
    assert deadline.at == 100.0 + HELD_S
    there.reassembler.handle_timeout(deadline.at - 0.001)
    assert there.reassembler.bytes_held > 0
    there.reassembler.handle_timeout(deadline.at)
    assert (there.reassembler.bytes_held, there.reassembler.next_deadline()) == (0, None)
    assert there.piece(1000, 3000, at=115.0) is None


def test_retransmissions_fill_in_what_was_lost() -> None:
    """ "saving fragments long enough for the full end-to-end retransmissions to take place"."""
    there = Receiving()
    assert there.piece(0, 1000, at=0.0) is None
    assert there.piece(2000, 3000, at=12.0) is None
    assert there.piece(1000, 2000, at=14.9) == PAYLOAD


def test_a_message_that_exceeds_max_message_size_is_refused_once() -> None:
    """With what is known of its beginning, so that a request can be answered; the rest of it is dropped."""
    there = Receiving()
    long = bytes(2) + PAYLOAD * 2
    assert there.piece(0, 1000, data=long) is None
    with pytest.raises(FragmentedTooLarge, match="where max-message-size is 5000") as raised:
        there.piece(4500, 5500, data=long)
    assert raised.value.beginning == long[:1000]
    assert there.reassembler.bytes_held == SEGMENT_COST
    with pytest.raises(CannotReassemble, match="was refused"):
        there.piece(1000, 2000, data=long)
    there.reassembler.handle_timeout(HELD_S)
    assert there.reassembler.bytes_held == 0


@pytest.mark.must("6.7/4")
def test_who_holds_the_most_loses_its_oldest_first() -> None:
    """ "if the receiver runs out of buffer space to reassemble a message, it MUST drop the message"; a flood over one
    link leaves the messages over others alone."""
    there = Receiving(bytes_held_max=20_000)
    assert there.piece(0, 1500, transaction=1, source=OTHER) is None
    for transaction in range(2, 100):
        there.piece(0, 1500, transaction=transaction, source=ONE)
        assert there.reassembler.bytes_held <= 20_000
    assert there.piece(1500, 3000, transaction=1, source=OTHER) == PAYLOAD
    assert there.piece(1500, 3000, transaction=2, source=ONE) is None
    assert there.piece(1500, 3000, transaction=99, source=ONE) == PAYLOAD


@pytest.mark.must("6.7/4")
def test_a_message_that_alone_is_too_much_is_dropped() -> None:
    """Many tiny pieces cost more than they hold."""
    there = Receiving(bytes_held_max=0)
    for start in range(0, 4 * 18, 4):
        assert there.piece(start, start + 2) is None
    with pytest.raises(CannotReassemble, match="no room"):
        there.piece(2000, 2002)
    assert there.reassembler.bytes_held == 0


@pytest.mark.long
@given(st.data())
def test_any_order_any_duplicates_any_cuts(data: st.DataObject) -> None:
    """Property: pieces that cover the message make it complete, however they come, and never before."""
    spans = [
        (start, min(len(PAYLOAD), start + size))
        for start, size in data.draw(st.lists(st.tuples(st.integers(0, 2999), st.integers(1, 1500)), max_size=12))
    ]
    cuts = sorted({0, 1700, 3000, *data.draw(st.lists(st.integers(1, 2999), max_size=6))})
    spans += pairwise(cuts)
    there, seen, was_complete = Receiving(), set[int](), False
    for start, end in data.draw(st.permutations(spans)):
        result = there.piece(start, end)
        seen |= set(range(start, end))
        assert (result is not None) == (len(seen) == len(PAYLOAD))
        if result is not None:
            assert result == PAYLOAD
            was_complete = True
            seen.clear()
    assert was_complete


HOSTILE = st.tuples(
    st.integers(0, 3),
    st.sampled_from([ONE, OTHER]),
    st.integers(0, 6000),
    st.booleans(),
    st.binary(max_size=40) | st.sampled_from([bytes(4000), PAYLOAD]),
    st.floats(0, 6),
)


@given(st.lists(HOSTILE, max_size=60))
def test_hostile_fragments_are_bounded(fragments: list[tuple[int, NodeId, int, bool, bytes, float]]) -> None:
    """Property: whatever comes, memory stays bounded, what comes out is no larger than a message, and it all ends."""
    reassembler, now = Reassembler(MESSAGE_BYTES_MAX, bytes_held_max=15_000), 0.0
    for transaction, source, offset, is_last, data, later in fragments:
        now += later
        if is_last and offset == 0:
            continue
        head, payload = split(join(header(transaction, offset, is_last=is_last), data))
        try:
            whole = reassembler.receive(head, payload, ME, source, now)
        except CannotReassemble:
            whole = None
        if whole is not None:
            assert len(join(*whole)) <= MESSAGE_BYTES_MAX
        assert reassembler.bytes_held <= 15_000
    reassembler.handle_timeout(now + HELD_S)
    assert (reassembler.bytes_held, reassembler.next_deadline()) == (0, None)
