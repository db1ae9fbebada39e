"""docs/ways-of-calls.md: its table has each way, and says what is measured."""

from __future__ import annotations

import re

import pytest
from ways_page import BEGIN, END, HEAD, PAGE, measured

from p2psip.reload.config.calls_by import CallsBy

READERS = -1

ROUND_TRIP_MS = 40


def rows() -> dict[str, list[str]]:
    """The cells of each row, by the way."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert table.strip().startswith(HEAD.strip())
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_table_has_each_way_and_figures() -> None:
    assert list(rows()) == [way.value for way in CallsBy]
    for row in rows().values():
        assert len(row) == 7
        assert all(re.fullmatch(r"\d+(\.\d)?", cell) for cell in row[:6])
        assert row[READERS].startswith("caller's")


@pytest.mark.slow
@pytest.mark.parametrize("way", CallsBy, ids=lambda way: way.value)
def test_the_table_says_what_is_measured(way: CallsBy) -> None:
    """In one of the worlds of which it has the medians: who has read, and how long it took, to a round trip."""
    row, costs = rows()[way.value], measured(way, [0])
    assert row[READERS] == ", ".join(costs[0].readers), "make ways-of-calls"
    for cost, packets, ms in zip(costs, (row[0], row[3]), (row[2], row[5]), strict=True):
        assert abs(cost.ringing_ms - float(ms)) <= ROUND_TRIP_MS, "make ways-of-calls"
        assert 0.6 < cost.packets / float(packets) < 1.5, "make ways-of-calls"
