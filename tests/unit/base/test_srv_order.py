"""Servers in the order of SRV records; that the weights are kept to, tests/rfc/test_3263_4_servers.py holds."""

from __future__ import annotations

import random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.srv_order import in_order


class Record(NamedTuple):
    priority: int
    weight: int


@given(st.lists(st.builds(Record, st.integers(0, 3), st.integers(0, 65535)), max_size=12), st.integers())
def test_each_once_and_by_priority(records: list[Record], seed: int) -> None:
    ordered = in_order(records, random.Random(seed))
    assert sorted(ordered) == sorted(records)
    assert [one.priority for one in ordered] == sorted(one.priority for one in records)
