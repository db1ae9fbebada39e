"""A node asks its parts whether they are due only if its queue is: no part may have a timer that the queue has not."""

from __future__ import annotations

import pytest

from p2psip.base.timers import Deadline
from p2psip.reload.node.node import Node
from p2psip.sim.simulated_overlay import SimulatedOverlay


def test_no_part_is_due_before_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through joins, idle minutes, and a death that is noticed."""
    asked: list[str] = []
    of_queue = Node.next_deadline

    def next_deadline(node: Node) -> Deadline | None:
        first, links = of_queue(node), node._links
        of_links = (links._made, links._connections, links._admission, links._doubted_links, links._datagrams)
        for part in (*node._parts, *of_links, links._routes, node._reconfiguring._timers):
            if (deadline := part.next_deadline()) is not None:
                asked.append(type(part).__name__)
                assert first is not None
                assert first.at <= deadline.at, f"{type(part).__name__}: {deadline.reason}"
        return first

    monkeypatch.setattr(Node, "next_deadline", next_deadline)
    overlay = SimulatedOverlay("timers", is_direct=True)
    hosts = [overlay.add_peer(number) for number in range(4)]
    overlay.world.run_for(40.0)
    overlay.world.crash(hosts[3], is_silent=True)
    overlay.world.run_for(40.0)
    assert overlay.is_ring()
    assert {"ConnectionTable", "Transport", "ChordTopology", "Bootstrap"} <= set(asked)
