"""What peers behind NATs that have nothing to say cost, and how soon they notice that one of them is gone."""

from __future__ import annotations

import statistics
from collections import Counter

import pytest
from ice_internet import ice_internet

from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.reload.topology.one_hop import links
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.sim.ip.boxes import PORT_RESTRICTED
from p2psip.sim.ip.machine import Interface
from p2psip.sim.ip.network import Internet, Way
from p2psip.sim.ip.packet import Packet, Protocol
from p2psip.sim.sites.internet import InternetSites

LINKS = 16
IDLE_S = 400.0
"""As long as until the next Updates of CHORD-RELOAD (chord-update-interval)."""


def grow(seed: str, count: int, *, blocks: frozenset[Protocol] = frozenset(), **settings: object) -> InternetSites:
    """Two public peers that relay, and others behind NATs that may block UDP; each has a line, and nobody calls."""
    world = ice_internet(seed, protocols=("DTLS", "TLS") if blocks else ("DTLS",), is_full_size=True, **settings)
    world.internet.default_way = Way(delay_s=0.05)
    for number in range(count):
        if number < 2:
            world.add_public(number, relay=RelayWish.YES)
        else:
            world.add_behind_nat(number, PORT_RESTRICTED, forwards=False, blocks=blocks)
        world.run(2.0)
        world.line(world.sites[number], f"user{number}")
    world.settle(120.0)
    world.run(240.0)
    return world


class Meter:
    """How many bytes each public address sends from now on, with the headers of IP, UDP and TCP."""

    def __init__(self, internet: Internet) -> None:
        self.sent: Counter[str] = Counter()
        self._carry = internet.carry
        internet.carry = self._watch  # type: ignore[method-assign]

    def _watch(self, sender: Interface, packet: Packet, next_hop: str) -> None:
        if sender.network.is_public:
            self.sent[packet.source.host] += packet.size_bytes
        self._carry(sender, packet, next_hop)


@pytest.mark.parametrize(
    ("topology", "blocks"),
    [
        ("CHORD-RELOAD", frozenset()),
        pytest.param("one-hop", frozenset(), marks=pytest.mark.slow),
        pytest.param("CHORD-RELOAD", frozenset([Protocol.UDP]), marks=pytest.mark.slow),
    ],
    ids=["CHORD-RELOAD", "one-hop", "UDP blocked"],
)
def test_sixteen_links_cost_less_than_500_bytes_a_second(
    topology: str, blocks: frozenset[Protocol], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keep-alives, consent, maintenance, records and relays together, as they leave the NAT; certificates and
    signatures are as long as real ones. All seventeen are linked with all.
    """
    monkeypatch.setattr(links, "MESH_MAX", LINKS)
    world = grow("sixteen", LINKS + 1, blocks=blocks, topology_plugin=topology, successors=LINKS // 2)
    meter = Meter(world.internet)
    world.run(IDLE_S)
    behind = world.sites[2:]
    assert all(len(set(site.peer.node.linked)) == LINKS for site in behind)
    costs = [meter.sent[world.public_host(site.number)] / IDLE_S for site in behind]
    with capsys.disabled():
        print(
            f"\n{topology}, idle with {LINKS} links: {min(costs):.0f} to {max(costs):.0f} bytes a second,"
            f" median {statistics.median(costs):.0f}"
        )
    assert max(costs) < 500


def test_who_has_nothing_to_say_notices_as_well_that_another_has_no_power() -> None:
    """By the next question for consent, which comes after 24 s at most, and a Ping: then the link is not used."""
    world = grow("power", 5)
    gone = world.sites[3]
    node = gone.peer.node.node_id
    linked = [site for site in world.sites if site is not gone and node in site.peer.node.topology.routes]
    assert len(linked) == 4
    world.cut_power(gone)
    assert world.run(30.0, stop=lambda: not any(node in site.peer.node.topology.routes for site in linked))


def test_what_ice_measures_is_known_to_links_that_are_silent() -> None:
    """What was lost before the silence has them wait no longer: the other end was asked, and has answered."""
    world = grow("measured", 3)
    here, there = world.sites[2].peer.node, world.sites[1].peer.node
    connection = here._connections.get(there.node_id)
    assert connection is not None
    assert here._paths.is_checked(connection.number)
    for _ in range(6):
        connection.link.round_trip.back_off()
    machine = world.sites[2].machine
    assert world.run(60.0, stop=lambda: connection.link.is_silent(machine.now))
    asked = OverlayRequest([Destination.node(there.node_id)], MessageCode.PING_REQ, PingReq())
    world.sites[2].driver.call(lambda now: here.request(asked, 1, now))
    assert connection.link.round_trip.rto_s < 0.5
