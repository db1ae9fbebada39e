"""The table of members (p2psip.reload.topology.one_hop.members)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.ids import NodeId
from p2psip.reload.topology.one_hop.circle import distance, is_between
from p2psip.reload.topology.one_hop.members import MEMBERS_MAX, Members

NODES = st.lists(
    st.binary(min_size=20, max_size=20).map(NodeId), min_size=1, max_size=30, unique_by=lambda node: node[:16]
)


def nid(value: int) -> NodeId:
    return NodeId(value.to_bytes(16, "big"))


def of(own: int, *others: int) -> Members:
    return Members(nid(own), map(nid, others))


@given(NODES, st.binary(min_size=20, max_size=20), st.integers(1, 5))
def test_the_closest_are_those_of_all_that_are_nearest(nodes: list[NodeId], target: bytes, count: int) -> None:
    expected = sorted(nodes, key=lambda node: (distance(target, node), node))[:count]
    assert Members(nodes[0], nodes).closest(target, count) == expected


@given(NODES, st.binary(min_size=20, max_size=20))
def test_each_identifier_is_in_the_region_of_whom_it_is_closest_to(nodes: list[NodeId], target: bytes) -> None:
    responsible = [node for node in nodes if is_between(target, *Members(node, nodes).region)]
    assert responsible == Members(nodes[0], nodes).closest(target, 1)


def test_the_region_is_another_as_soon_as_the_neighbours_are() -> None:
    members = of(50, 10)
    before = members.region
    assert members.add(nid(60))
    assert members.region == of(50, 10, 60).region != before
    assert members.remove(nid(60))
    assert members.region == before
    members.clear()
    assert members.region == (nid(50), nid(50))


def test_the_neighbours_are_on_both_sides_the_next_first_and_each_once() -> None:
    assert of(50, 10, 20, 60, 70, 80).beside(2) == (nid(60), nid(20), nid(70), nid(10))
    assert of(50, 10, 60).beside(3) == (nid(60), nid(10))
    assert of(50, 60).beside(3) == (nid(60),)
    assert of(50).beside(3) == ()
    assert of(50, 10, 20, 60, 70, 80).beside(1, nid(20)) == (nid(50), nid(10))


def test_the_digest_is_the_same_for_the_same_members_whoever_has_them() -> None:
    one, other = of(1, 2, 3), of(3, 1, 2)
    assert one.digest == other.digest
    assert one.add(nid(4))
    assert one.digest != other.digest
    assert one.remove(nid(4))
    assert one.digest == other.digest
    assert not one.add(nid(2))
    assert not one.remove(nid(9))


def test_there_are_no_more_than_so_many() -> None:
    members = of(0, *range(1, MEMBERS_MAX))
    assert members.is_full
    assert not members.add(nid(MEMBERS_MAX + 1))
    assert len(members) == MEMBERS_MAX


def test_nobody_strikes_out_himself() -> None:
    with pytest.raises(AssertionError):
        of(1, 2).remove(nid(1))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_pages_name_everybody_once_and_leave_out_nobody(size: int) -> None:
    rng = random.Random(1)
    members = Members(nid(7), [NodeId(rng.randbytes(16)) for _ in range(20)])
    first = members.at(5)
    pages = list(members.pages(size, first))
    assert first in pages[0][0][: size // 2 + 1]
    assert sorted(node for page, _ in pages for node in page) == list(members)
    for page, following in pages:
        assert members.within(page[0], following) == sorted(page)
        assert len(page) <= size


def test_after_a_page_there_is_nobody_until_the_next() -> None:
    members = of(10, 20, 30, 40)
    assert members.within(nid(20), nid(40)) == [nid(20), nid(30)]
    assert members.within(nid(40), nid(20)) == [nid(10), nid(40)]
    assert members.within(nid(20), nid(20)) == list(members)
