"""SIP messages in records (p2psip.sip.transports.sip_records)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.sip.transports.sip_records import (
    FRAGMENTS_MAX,
    GREETING,
    FragmentLimits,
    MalformedRecord,
    Reassembly,
    is_of_short_records,
    records_of,
)

LONG = bytes(random.Random(7).choices(range(33, 127), k=5000))


def test_a_message_that_fits_is_a_record_as_it_is() -> None:
    assert records_of(b"INVITE ...", 10, takes_fragments=True) == [b"INVITE ..."]


def test_who_takes_no_fragments_has_it_in_one_record() -> None:
    assert records_of(LONG, 1200, takes_fragments=False) == [LONG]


def test_a_fragment_says_how_long_records_are_at_most() -> None:
    """Unless it is the last, which may be short anyway."""
    for size in (500, 501):
        records = records_of(LONG, size, takes_fragments=True)
        is_short = [is_of_short_records(record, 500) for record in records]
        assert is_short == [*[size == 500] * (len(records) - 1), False]
    assert not is_of_short_records(GREETING, 500)
    assert not is_of_short_records(b"", 500)


@given(st.binary(min_size=1, max_size=4000), st.integers(min_value=40, max_value=1500), st.randoms())
def test_a_message_comes_out_as_it_was_in_whatever_order_its_fragments_come(
    message: bytes, size: int, rng: random.Random
) -> None:
    records = records_of(message, size, takes_fragments=True)
    assert all(len(record) <= size for record in records)
    if records == [message]:
        return
    rng.shuffle(records)
    reassembly = Reassembly()
    came = [reassembly.feed(record, 0.0) for record in records]
    assert came == [*[None] * (len(records) - 1), message]
    assert reassembly.held_bytes == 0
    assert reassembly.next_deadline() is None


def test_what_was_lost_of_one_copy_is_taken_from_the_next() -> None:
    """SIP sends the same message again, and it has the same number."""
    records = records_of(LONG, 1200, takes_fragments=True)
    assert len(records) == 5
    reassembly = Reassembly()
    assert all(reassembly.feed(record, 0.0) is None for record in records[1:])
    assert reassembly.feed(records_of(LONG, 1200, takes_fragments=True)[0], 0.5) == LONG


def test_what_does_not_become_complete_is_forgotten() -> None:
    reassembly = Reassembly()
    reassembly.feed(records_of(LONG, 1200, takes_fragments=True)[0], 1.0)
    deadline = reassembly.next_deadline()
    assert deadline is not None
    assert deadline.at == 1.0 + FragmentLimits().held_s
    reassembly.handle_timeout(deadline.at)
    assert reassembly.held_bytes == 0


def test_no_other_peer_has_us_hold_more_than_the_limits_say() -> None:
    limits = FragmentLimits(messages=3, held_bytes=2500)
    reassembly = Reassembly(limits)
    rng = random.Random(1)
    for each in range(50):
        message = rng.randbytes(3000)
        reassembly.feed(records_of(message, 1000, takes_fragments=True)[each % 3], float(each) / 100)
        assert reassembly.held_bytes <= limits.held_bytes
    assert len(reassembly._partials) <= limits.messages


def test_a_message_that_is_too_long_is_given_up() -> None:
    reassembly = Reassembly(FragmentLimits(message_bytes=3000))
    first, second, third, *_ = records_of(LONG, 1200, takes_fragments=True)
    reassembly.feed(first, 0.0)
    reassembly.feed(second, 0.0)
    with pytest.raises(MalformedRecord):
        reassembly.feed(third, 0.0)
    assert reassembly.held_bytes == 0


def test_fragments_of_several_messages_make_none() -> None:
    first, second = records_of(LONG[:2000], 1200, takes_fragments=True)
    forged = second[:-1] + b"\0"
    reassembly = Reassembly()
    reassembly.feed(first, 0.0)
    with pytest.raises(MalformedRecord):
        reassembly.feed(forged, 0.0)


@pytest.mark.parametrize("record", [b"\x03", GREETING, GREETING[:-2] + b"\x05\x05x", GREETING[:-2] + b"\x00\x00x"])
def test_what_is_no_fragment_is_refused(record: bytes) -> None:
    with pytest.raises(MalformedRecord):
        Reassembly().feed(record, 0.0)


def test_there_are_no_more_fragments_than_a_byte_counts() -> None:
    assert records_of(LONG, 26, takes_fragments=True) == [LONG], "a path so narrow carries it as well as it can"
    assert len(records_of(LONG, 27, takes_fragments=True)) == 250 <= FRAGMENTS_MAX


@given(st.binary(max_size=60))
def test_whatever_comes_is_a_message_or_refused(record: bytes) -> None:
    reassembly = Reassembly()
    try:
        reassembly.feed(record, 0.0)
    except MalformedRecord:
        assert reassembly.held_bytes == 0
