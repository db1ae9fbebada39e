"""Every pair of kinds of NAT on real kernels: agents of ICE in network namespaces, and what can be punched on paper."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nat_pairs import PAGE, all_outcomes
from netlab import needs_lab

pytestmark = [pytest.mark.slow, needs_lab]


def test_every_pair_connects_and_directly_where_it_can(record_property: Callable[[str, object], None]) -> None:
    """Each by the path that RFC 4787's rules allow, as docs/nat-pairs.md has it too; data passes both ways."""
    outcomes = all_outcomes()
    record_property("table", "\n".join(outcome.row() for outcome in outcomes))
    wrong = [f"{each.pair.name}: {each.path}, not {each.pair.path}" for each in outcomes if each.path != each.pair.path]
    assert not wrong
    shown = [line.rpartition("|")[0].rpartition("|")[0] + "|" for line in PAGE.read_text().splitlines() if "|" in line]
    assert shown[2:] == [outcome.row(with_ms=False) for outcome in outcomes], "make nat-pairs"
