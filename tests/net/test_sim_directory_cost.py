"""What the directory costs: readings of docs/decisions/directory.md; certificates and signatures have real length."""

from __future__ import annotations

import pytest
from spreading_peers import DATE_MS, SpreadingPeers, entry, line

ALL = 10_000


def hour(pair: SpreadingPeers) -> float:
    """How many bytes a second each of two peers sends, in an hour in which nothing happens."""
    before = pair.sent()
    pair.run(3600.0)
    return (pair.sent() - before) / 3600 / 2


@pytest.mark.long
def test_what_ten_thousand_entries_cost() -> None:
    without = hour(SpreadingPeers("none", is_on=False))
    pair = SpreadingPeers("many")
    for number in range(ALL):
        pair.plant(pair.copy(line(number + 1), entry(f"Some Body {number}"), DATE_MS + number))
    before, at = pair.sent(), pair.overlay.world.now
    pair.overlay.world.run_for(1200.0, stop=lambda: len(pair.spreading(1).copies) == ALL)
    print(f"copy of all: {(pair.sent() - before) / 1e6:.2f} MB in {pair.overlay.world.now - at:.0f} s")
    assert len(pair.spreading(1).copies) == ALL
    assert pair.sent() - before < 12e6
    pair.run(300.0)
    idle_bytes_s = hour(pair) - without
    print(f"nothing new: {idle_bytes_s:.0f} bytes a second and peer, beside {without:.0f} of the overlay itself")
    assert idle_bytes_s < 60.0
    before = pair.sent()
    for number in range(100):
        pair.put(0, line(number + 1), entry(f"Some Body {number}"))
        pair.run(36.0)
    changing = (pair.sent() - before) / 3600 / 2 - without
    print(f"one signed anew each 36 s: {changing:.0f} bytes a second and peer")
    assert changing < 400.0
