"""Node 100 in a ring with 50 and 150, which attaches and is attached to."""

from __future__ import annotations

from candidates import Dial
from node_bench import ME, NodeBench, offer

from p2psip.reload.wire.contents import MessageCode

SMALLER, LARGER = 95, 105


def start() -> NodeBench:
    """Node 100 in a ring with 50 and 150."""
    bench = NodeBench()
    bench.become_ring(150, 50)
    return bench


def attach(bench: NodeBench, place: int) -> None:
    """Its Chord wants a link with `place`, of which 150 told it."""
    bench.update(150, predecessors=(ME,), successors=(place,))
    assert bench.hear_one(150, MessageCode.UPDATE_ANS)


def answering(bench: NodeBench, place: int) -> Dial:
    """`place` attaches; the dialling that follows."""
    bench.send(150, MessageCode.ATTACH_REQ, offer(place), signer=place)
    (dial,) = bench.dials()
    return dial


# How attempts end


def answered(bench: NodeBench, place: int) -> None:
    """`place` answers our Attach to it."""
    attach(bench, place)
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.answer(150, request, MessageCode.ATTACH_ANS, offer(place, b"active"), signer=place)
