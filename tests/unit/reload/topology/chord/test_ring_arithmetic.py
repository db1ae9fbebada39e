"""Arithmetic on the ring (p2psip.reload.topology.chord.ring)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.reload.topology.chord.ring import RING_SIZE, advance, distance, hash_name, is_between

places = st.one_of(st.integers(0, 9), st.integers(RING_SIZE - 9, RING_SIZE - 1), st.integers(0, RING_SIZE - 1))


def at(number: int) -> bytes:
    """An identifier."""
    return number.to_bytes(16, "big")


@pytest.mark.must("10.2/1")
def test_10_2_a_resource_id_is_the_first_half_of_a_sha_1() -> None:
    """ "the SHA-1 result MUST be truncated to the most significant 128 bits"."""
    name = b"sip:alice@example.com"
    assert hash_name(name) == hashlib.sha1(name).digest()[:16]
    assert len(hash_name(b"")) == 16


def test_intervals_have_their_high_end_and_not_their_low_one() -> None:
    """10.1: "if k is less than or equal to x and k is greater than p"."""
    assert [number for number in range(10) if is_between(at(number), at(3), at(6))] == [4, 5, 6]
    assert [number for number in range(10) if is_between(at(number), at(8), at(1))] == [0, 1, 9]


def test_an_interval_from_a_place_to_itself_is_all() -> None:
    """A peer that knows no other is responsible for everything, its own Node-ID included."""
    assert all(is_between(at(number), at(3), at(3)) for number in range(10))


@given(places, places, places)
def test_like_walking_around_the_ring(value: int, low: int, high: int) -> None:
    """Property: clockwise from `low`, `value` comes no later than `high`."""
    if low == high:
        assert is_between(at(value), at(low), at(high))
    elif value == low:
        assert not is_between(at(value), at(low), at(high))
    else:
        rotated = [(number - low) % RING_SIZE for number in (value, high)]
        assert is_between(at(value), at(low), at(high)) == (rotated[0] <= rotated[1])


@given(places, places)
def test_distance_and_advance_are_inverse(start: int, end: int) -> None:
    """Property: walking the distance brings one there."""
    assert advance(at(start), distance(at(start), at(end))) == at(end)
    assert 0 <= distance(at(start), at(end)) < RING_SIZE
