"""A site whose peer stores nothing for others for a while (docs/decisions/shedding.md), in virtual time: its phones
call and are called all the while, and no record is lost, also on a disk that still has what was there before.
"""

from __future__ import annotations

import random

import pytest

from p2psip.daemon.roles import shedding
from p2psip.daemon.roles.shedding import STRAINED_S, TURN_MAX_S, KeptShedding, Shedding, SheddingTerms, Strain
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone

SHEDS, DIES = 3, 4
USERS = {1: "anna", SHEDS: "carol"}
LOOK_S = 10.0
AWAY_S = 60.0
"""How long it stays away and has to be at ease here: half an hour of an overlay's life tells nothing more."""


class Operated:
    """What the daemon of a site does: it looks at the disk, and starts its peer anew."""

    def __init__(self, world: InternetSites, site: InternetSite) -> None:
        self.world, self.site, self.kept = world, site, KeptShedding()
        self.turns: list[bool] = []
        self._begin()

    def look(self, free_percent: float, seconds: float) -> None:
        """So much is free for so long."""
        ends_at = self.world.internet.now + seconds
        while self.world.internet.now < ends_at:
            self.world.run(LOOK_S)
            peer, now = self.site.peer, self.site.machine.now
            self._shedding.look(Strain(free_percent), now)
            is_busy, neighbors = peer.server.counts["calls"] > 0, len(peer.node.neighbors)
            if (other := self._shedding.due(now, is_busy=is_busy, has_room=True, neighbors=neighbors)) is not None:
                self.kept, self.site.is_client = other, other.is_shed
                self.turns.append(other.is_shed)
                self.world.start_anew(self.site)
                self.world.settle()
                self._begin()

    def _begin(self) -> None:
        self._shedding = Shedding(SheddingTerms(5, 0), self.kept, random.Random(1), self.site.machine.now)


def talk(world: InternetSites, caller: MachinePhone, called: MachinePhone) -> int:
    """Call, and speak."""
    number = caller.dial(called.user)
    assert world.run(10.0, stop=lambda: caller.talks and called.talks), f"{caller.user} calls {called.user}"
    return number


def both_talk(world: InternetSites, one: MachinePhone, other: MachinePhone) -> None:
    """Each calls the other."""
    for caller, called in ((one, other), (other, one)):
        caller.hang_up(talk(world, caller, called))
        world.run(2.0)


@pytest.mark.long
def test_phones_of_a_peer_that_sheds_and_comes_back_call_and_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shedding, "STAY_MIN_S", AWAY_S)
    monkeypatch.setattr(shedding, "AT_EASE_S", AWAY_S)
    world = InternetSites("sheds")
    for number in range(5):
        world.add_public(number)
        world.run(2.0)
    for number, user in USERS.items():
        world.line(world.sites[number], user)
    world.settle()
    there, here = [world.phone(world.sites[number], user) for number, user in USERS.items()]
    operated = Operated(world, world.sites[SHEDS])
    # Nobody is cut off.
    call = talk(world, here, there)
    operated.look(3.0, STRAINED_S + TURN_MAX_S + LOOK_S)
    assert operated.turns == []
    assert here.talks
    here.hang_up(call)
    operated.look(3.0, 2 * LOOK_S)
    assert operated.turns == [True]
    assert not operated.site.peer.node.is_serving
    assert operated.site.peer.node.records_held.count > 0, "what it handed over is on its disk as well"
    both_talk(world, here, there)
    # Another one dies meanwhile.
    world.cut_power(world.sites[DIES])
    operated.look(8.0, 40.0)
    both_talk(world, here, there)
    operated.look(20.0, 2 * AWAY_S)
    assert operated.turns == [True, False]
    assert operated.site.peer.node.is_serving
    both_talk(world, here, there)
    operated.look(8.0, 2 * AWAY_S)
    assert operated.turns == [True, False]
