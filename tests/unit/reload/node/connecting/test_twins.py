"""When a node looks for another machine with its own Node-ID, and how often."""

from __future__ import annotations

from node_bench import ME, NodeBench, nid

from p2psip.reload.node.connecting.twins import LOOK_AFTER_S, WAYS
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination


def ring(*places: int) -> NodeBench:
    """A member of a ring with these."""
    bench = NodeBench()
    bench.become_ring(*places)
    return bench


def looks(bench: NodeBench) -> list[tuple[object, ...]]:
    """The Attaches to our own Node-ID since the last look, by their destinations."""
    heard = [message for place in bench.remotes for message in bench.heard(place, MessageCode.ATTACH_REQ)]
    found = [tuple(message.header.destination_list) for message in heard]
    return [route for route in found if route[-1] == Destination.node(nid(ME))]


def test_who_has_closed_a_link_is_asked_for_whom_it_takes_us() -> None:
    """Its newest link may be with another machine."""
    bench = ring(150, 50)
    bench.drop(150)
    assert looks(bench) == [(Destination.node(nid(150)), Destination.node(nid(ME)))]


def test_where_many_close_a_link_at_once_a_few_are_asked() -> None:
    """As when the ring changes, and all have others to be linked with; a moment later the next occasion counts anew."""
    bench = ring(*range(20, 50, 2), 150)
    for place in range(20, 40, 2):
        bench.drop(place)
    assert len(looks(bench)) == WAYS
    bench.run_for(1.1 * LOOK_AFTER_S)
    looks(bench)
    bench.drop(150)
    assert looks(bench) == [(Destination.node(nid(150)), Destination.node(nid(ME)))]


def test_a_link_whose_place_was_taken_by_one_of_ours_is_no_reason_to_look() -> None:
    """We are at the other end of the newest ourselves."""
    bench = ring(150, 50)
    older = bench.remotes[150].number
    bench.node._intents.ask_whereabouts(nid(150), bench.now)
    bench.link(150)
    bench.node.handle_link_down(older, "superseded by a newer link", bench.now)
    bench.settle()
    assert looks(bench) == []
    bench.drop(150)
    assert len(looks(bench)) == 1
