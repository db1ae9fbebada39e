"""Who is near to whom (p2psip.reload.topology.one_hop.circle)."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from p2psip.reload.topology.one_hop.circle import clockwise, distance, hash_name, is_between, middle, place

LENGTH = 16
IDENTIFIERS = st.binary(min_size=LENGTH, max_size=LENGTH)


def at(value: int) -> bytes:
    return (value % (1 << 8 * LENGTH)).to_bytes(LENGTH, "big")


def test_a_name_is_where_its_sha_256_says() -> None:
    assert hash_name(b"bob@club.example") == hashlib.sha256(b"bob@club.example").digest()[:LENGTH]


def test_a_long_node_id_lies_where_its_beginning_does() -> None:
    assert distance(at(10), at(12) + b"long") == distance(at(10), at(12))
    assert middle(at(10) + b"abcd", at(20) + b"efgh") == at(15)
    assert is_between(at(12) + b"abcd", at(11), at(12))
    assert place(b"\x80") == 1 << 127, "a short identifier lies where it begins"


def test_the_nearer_counts_on_whichever_side_it_is() -> None:
    assert distance(at(10), at(12)) < distance(at(10), at(7))
    assert distance(at(10), at(7)) < distance(at(10), at(14))
    assert distance(at(1), at(-1)) < distance(at(1), at(4)), "beyond the last identifier again from the first"


def test_exactly_between_two_the_first_in_ascending_order_is_nearer() -> None:
    assert distance(at(10), at(8)) < distance(at(10), at(12))
    half = 1 << 8 * LENGTH - 1
    assert middle(at(0), at(2 * 7)) == at(7)
    assert middle(at(-4), at(4)) == at(0)
    assert middle(at(0), at(half)) == at(half // 2)


@given(IDENTIFIERS, IDENTIFIERS, IDENTIFIERS)
def test_no_two_nodes_are_equally_far(target: bytes, one: bytes, other: bytes) -> None:
    assert (distance(target, one) == distance(target, other)) == (one == other)


@given(IDENTIFIERS, IDENTIFIERS, IDENTIFIERS)
def test_going_up_the_middle_is_the_last_that_is_nearer_to_the_first(target: bytes, one: bytes, other: bytes) -> None:
    """Of what lies between two nodes, going up from one to the other."""
    if one == other or clockwise(one, other) > 1 << 8 * LENGTH - 1:
        return
    for spot in (target, middle(one, other), at(int.from_bytes(middle(one, other), "big") + 1)):
        if is_between(spot, one, other):
            is_nearer_to_one = distance(spot, one) < distance(spot, other)
            assert is_nearer_to_one == is_between(spot, one, middle(one, other))


def test_an_interval_from_itself_to_itself_is_everything() -> None:
    assert is_between(at(5), at(9), at(9))
    assert is_between(at(9), at(9), at(9))
    assert is_between(at(1), at(-1), at(1))
    assert not is_between(at(-1), at(-1), at(1))
    assert not is_between(at(2), at(-1), at(1))
