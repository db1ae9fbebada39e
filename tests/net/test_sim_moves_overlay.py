"""Overlays with ICE in which somebody is suddenly elsewhere: links move or are made anew, and no message is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2psip.base.address import Address
from p2psip.reload.paths.values import Purpose
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingReq
from p2psip.sim.ip.boxes import PORT_RESTRICTED, Dependence, NatBehaviour
from p2psip.sim.sites.internet import OVERLAY_PORT, PEER_SIP_PORT, InternetSite, InternetSites

BACK_S = 3.0
CLOSED = NatBehaviour(filtering=Dependence.ADDRESS_AND_PORT, preserves_port=False)
"""Lets in nobody unasked, and is elsewhere after a reboot."""
OPEN = NatBehaviour(filtering=Dependence.NONE, preserves_port=False)


def overlay(seed: str, *behaviours: NatBehaviour | None) -> InternetSites:
    """A public bootstrap node, and a site for each of these; all linked with each other."""
    world = InternetSites(seed, no_ice=False, overlay_link_protocols=("DTLS",))
    world.add_public(0)
    for number, behaviour in enumerate(behaviours, start=1):
        world.run(2.0)
        if behaviour is None:
            world.add_public(number)
        else:
            world.add_behind_nat(number, behaviour, forwards=False)
    world.settle(60.0)
    assert world.run(60.0, stop=lambda: all(len(each.peer.node.neighbors) == len(behaviours) for each in world.sites))
    world.run(10.0)
    return world


class Asking:
    """One site asks another all the time."""

    def __init__(self, world: InternetSites, asker: InternetSite, asked: InternetSite) -> None:
        self.asked, self.answers, self.failures = 0, 0, 0
        self.last_at = -1.0
        self.worst_s = 0.0
        self._world, self._asker = world, asker
        self._destination = Destination.node(asked.peer.node.node_id)
        node = asker.peer.node
        finished = node._outcomes.handle
        node._outcomes.handle = lambda done, now: (  # type: ignore[method-assign]
            self._answered(done.outcome, done.context) if isinstance(done.context, float) else finished(done, now)
        )
        self._ask()

    def _ask(self) -> None:
        node = self._asker.peer.node

        def ask(now: float) -> None:
            request = OverlayRequest([self._destination], MessageCode.PING_REQ, PingReq())
            node._exchange.request(request, self._world.internet.now, now)
            node._settle(now)

        self.asked += 1
        self._asker.driver.call(ask)
        self._asker.machine.at(self._asker.machine.now + 0.1, self._ask)

    def _answered(self, outcome: object, asked_at: float) -> None:
        self.last_at = self._world.internet.now
        self.worst_s = max(self.worst_s, self.last_at - asked_at)
        if isinstance(outcome, Answer):
            self.answers += 1
        else:
            self.failures += 1


def try_change(world: InternetSites, here: int, there: int, change: Callable[[], None]) -> tuple[Asking, Asking]:
    """Two sites ask each other, and go on doing so while something changes: all is answered."""
    sites = world.sites[here], world.sites[there]
    asking = Asking(world, *sites), Asking(world, *reversed(sites))
    world.run(5.0)
    ids = [site.peer.node.node_id for site in sites]
    change()
    lost: list[bool] = []
    world.run(20.0, stop=lambda: lost.append(not sites[0].peer.node.is_linked(ids[1])) or False)
    assert not any(lost)
    for each in asking:
        assert (each.failures, each.asked - each.answers <= 2, each.worst_s < BACK_S) == (0, True, True), vars(each)
    return asking


def numbers(world: InternetSites, here: int, there: int) -> set[int]:
    """The links of one site to another."""
    return {link.number for link in world.sites[here].peer.node.links(world.sites[there].peer.node.node_id)}


def elsewhere(world: InternetSites, number: int) -> str:
    """Another address in the network of a site's provider."""
    return world.public_host(number).rpartition(".")[0] + ".77"


def move(world: InternetSites, site: InternetSite, host: str) -> None:
    """A public site has another address in the same network."""
    interface = site.machine.interfaces[0]
    for old in list(interface.hosts):
        interface.remove(old)
    interface.add(host)
    site.driver.listen([Address(host, OVERLAY_PORT)])
    site.driver.listen_datagrams([Address(host, OVERLAY_PORT)])
    addresses = {Purpose.RELOAD: (Address(host, OVERLAY_PORT),), Purpose.SIP: (Address(host, PEER_SIP_PORT),)}
    site.driver.call(lambda now: site.peer.use_addresses(addresses, [host], now))


@pytest.mark.parametrize("is_renumbered", [False, True], ids=["another port", "another address"])
def test_a_link_moves_when_a_nat_reboots(is_renumbered: bool) -> None:
    """The other end's NAT lets checks from anywhere in: the same link goes on."""
    world = overlay("move", OPEN, OPEN)
    before = numbers(world, 1, 2)
    nat = world.sites[1].nat
    assert nat is not None
    hosts = (elsewhere(world, 1),) if is_renumbered else ()
    try_change(world, 1, 2, lambda: nat.reboot(*hosts, off_s=0.0))
    assert numbers(world, 1, 2) == before


def test_a_link_is_made_anew_where_no_check_comes_through() -> None:
    """By an Attach over the third, and the one in its place has what the old one had not brought over."""
    world = overlay("anew", CLOSED, PORT_RESTRICTED)
    before = numbers(world, 1, 2)
    nat = world.sites[1].nat
    assert nat is not None
    try_change(world, 1, 2, lambda: nat.reboot(elsewhere(world, 1), off_s=0.0))
    after = numbers(world, 1, 2)
    assert len(after) == 1
    assert after != before


def test_a_peer_has_another_address() -> None:
    """It knows that itself, and does not wait to find out."""
    world = overlay("address", None, CLOSED)
    asking = try_change(world, 1, 2, lambda: move(world, world.sites[1], elsewhere(world, 1)))
    assert max(each.worst_s for each in asking) < 2.0
    (link,) = world.sites[2].peer.node.links(world.sites[1].peer.node.node_id)
    assert link.remote.host == elsewhere(world, 1)


def test_the_bootstrap_node_has_another_address() -> None:
    """Its links were dialled without an Attach, or made by one: both go on."""
    world = overlay("bootstrap", CLOSED, OPEN)
    try_change(world, 0, 2, lambda: move(world, world.sites[0], elsewhere(world, 0)))


@pytest.mark.parametrize("behaviour", [OPEN, CLOSED], ids=["moves", "is made anew"])
def test_a_call_can_be_ended_after_a_nat_has_rebooted(behaviour: NatBehaviour) -> None:
    """What carries SIP between the two peers moves with its path, or a new AppAttach goes round what is dead."""
    world = overlay("call", behaviour, behaviour)
    sites = world.sites[1:]
    for site, user in zip(sites, ("alice", "bob"), strict=True):
        world.line(site, user)
    world.settle(60.0)
    alice, bob = (world.phone(site, user) for site, user in zip(sites, ("alice", "bob"), strict=True))
    call = alice.dial("bob")
    world.run(5.0)
    assert bob.talks
    nat = world.sites[1].nat
    assert nat is not None
    nat.reboot(elsewhere(world, 1), off_s=0.0)
    alice.hang_up(call)
    # A BYE goes out at 0, 0.5, 1.5 and 3.5 s (RFC 3261, timer E).
    assert world.run(4.0, stop=lambda: not bob.talks)
