"""Links and calls that are over leave nothing to the collector, which runs seldom in a peer (cli/run_peer.py)."""

from __future__ import annotations

import gc

from p2psip.sim.sites.internet import InternetSites

OF_A_PEER = ("p2psip.base.timers", "p2psip.reload.", "p2psip.coupling.", "p2psip.sip.", "p2psip.media.")
OF_THE_WORLD = "Pair"
"""Whom the simulator's associations are between, which have their timers, and lead to themselves."""


def test_links_that_break_and_come_back() -> None:
    """Two islands, three times, and calls between them when they are one again."""
    world = InternetSites(seed=7)
    sites = [world.add_public(number) for number in range(4)]
    users = ("alice", "bob", "carol", "dave")
    for site, user in zip(sites, users, strict=True):
        world.line(site, user)
    world.settle()
    alice, _, _ = (world.phone(sites[number], users[number]) for number in (0, 1, 3))
    world.run(5.0)
    gc.collect()
    gc.disable()
    try:
        for callee in ("bob", "dave", "dave"):
            world.internet.part([sites[3].isp], [site.isp for site in sites[:3]])
            world.run(60.0)
            world.internet.heal()
            world.run(60.0)
            call = alice.dial(callee)
            world.run(4.0)
            assert alice.talks
            alice.hang_up(call)
            world.run(2.0)
        world.run(60.0)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = {f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert {each for each in left if each.startswith(OF_A_PEER) and not each.endswith(OF_THE_WORLD)} == set()
