"""Links by ICE over which large packets vanish: checks of their paths are small, and are answered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ice_internet import ice_internet

from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.coupling.peer import Peer
from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.sim.ip.boxes import PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.ip.network import WAN
from p2psip.sim.sites.internet import InternetSite, InternetSites

HOLE = replace(WAN, mtu_bytes=1000, fragments=False, tells_too_big=False)
LARGE_BYTES, MEDIUM_BYTES = 900, 650
"""Of a request that does not fit through the hole, and of one that does, although it is longer than must be."""

RECOGNISED_S = 10.0
AT_ONCE = 4
"""More than a link may send before anything is acknowledged."""


class Pings:
    """Requests of any size, from site to site."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[object] = []
        self.answered: list[object] = []
        done = Peer._done

        def handle_done(peer: Peer, context: object, result: Answer | RequestFailed, now: float) -> None:
            if context not in self.sent:
                done(peer, context, result, now)
            elif isinstance(result, Answer):
                self.answered.append(context)

        monkeypatch.setattr(Peer, "_done", handle_done)

    def send(self, here: InternetSite, there: InternetSite, size: int) -> None:
        """One from here to there."""
        number = len(self.sent)
        self.sent.append(number)
        route = [Destination.node(there.peer.node.node_id)]
        asked = OverlayRequest(route, MessageCode.PING_REQ, PingReq(bytes(size)))
        here.driver.call(lambda now: here.peer.node.request(asked, number, now))

    def are_answered(self) -> bool:
        """True if all are."""
        return len(self.answered) == len(self.sent)


@pytest.fixture
def pings(monkeypatch: pytest.MonkeyPatch) -> Pings:
    return Pings(monkeypatch)


def grow(seed: object, behaviour: NatBehaviour) -> InternetSites:
    """A public site, which relays, and two behind NATs; all are linked."""
    world = ice_internet(f"narrow/{seed}")
    world.add_public(0, relay=RelayWish.YES)
    for number in (1, 2):
        world.run(2.0)
        world.add_behind_nat(number, behaviour, forwards=False)
    world.settle(20.0)
    assert world.run(60.0, stop=lambda: all(len(numbers) == 2 for numbers in links(world)))
    world.run(10.0)
    return world


def links(world: InternetSites) -> list[dict[NodeId, int]]:
    """With whom each site is linked, by which link."""
    return [{link.node: link.number for link in site.peer.node.links()} for site in world.sites]


@pytest.mark.parametrize("talks", [False, True], ids=["nothing else", "what fits goes meanwhile"])
@pytest.mark.parametrize(
    ("behaviour", "here", "there"),
    [(PORT_RESTRICTED, 0, 1), (PORT_RESTRICTED, 1, 0), (PORT_RESTRICTED, 1, 2), (SYMMETRIC, 1, 2)],
    ids=["to who dialled", "to who was dialled", "between two NATs", "over a relay"],
)
def test_it_goes_on_in_pieces(behaviour: NatBehaviour, here: int, there: int, talks: bool, pings: Pings) -> None:
    """On the same link, and from then on at once: the path answers, so it is not in doubt, nor is the link lost."""
    world = grow(f"{here}{there}", behaviour)
    before = links(world)
    world.internet.default_way = HOLE
    for within_s in (RECOGNISED_S, 1.0):
        ends = world.internet.now + within_s
        # Nothing shorter arrives but checks: what is signed by X.509 certificates is as long.
        for size in (*[MEDIUM_BYTES] * AT_ONCE, *[LARGE_BYTES] * AT_ONCE):
            pings.send(world.sites[here], world.sites[there], size)
        while not world.run(0.25, stop=pings.are_answered):
            assert world.internet.now < ends, f"{len(pings.answered)} of {len(pings.sent)}"
            if talks and world.internet.now < ends - 1.0:
                pings.send(world.sites[here], world.sites[there], MEDIUM_BYTES)
    assert world.internet.counts["too big"] > 0
    assert links(world) == before
