"""A peer is woken for whichever of its parts wants to be."""

from __future__ import annotations

from collections.abc import Iterator

from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.coupling.peer import Peer
from p2psip.sim.sites.site_peers import SimulatedPeers

OWN_CORES = ("node", "server", "dundi")


def timers_of(part: object, seen: set[int]) -> Iterator[Timers[str]]:
    """All that a part holds, also by what it is made of; not those of the cores that a peer asks one by one."""
    if id(part) in seen or not type(part).__module__.startswith(("p2psip.coupling.", "p2psip.reload.node.")):
        return
    seen.add(id(part))
    names = [*getattr(part, "__dict__", ()), *getattr(type(part), "__slots__", ())]
    for value in (getattr(part, name, None) for name in names):
        if isinstance(value, Timers):
            yield value
        else:
            yield from timers_of(value, seen)


def test_whichever_part_sets_a_timer_the_peer_is_woken_for_it() -> None:
    world = SimulatedPeers("timers of a peer")
    world.add(0)
    peer: Peer = world[0].peer
    seen = {id(peer), *(id(getattr(peer, name)) for name in OWN_CORES)}
    parts = [value for name, value in vars(peer).items() if name not in OWN_CORES and not isinstance(value, TimerQueue)]
    found = [timers for part in parts for timers in timers_of(part, seen)]
    assert len(found) > 12
    for number, timers in enumerate(found):
        timers.set("soon", -1.0 - number, "a part wants it")
        assert peer.next_deadline() == Deadline(-1.0 - number, "a part wants it")
