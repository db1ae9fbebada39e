"""RFC 7890 (draft-ietf-p2psip-concepts) section 3: the elements of its figure, each in one overlay with others.

The gateway, peer G, has tests of its own.
"""

from __future__ import annotations

import random

import pytest
from calls_by_ways import cast

from p2psip import plugins
from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.coupling.gruu import make_gruu
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.node.node import Node
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.paths.values import Purpose
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.usages.rules import rules_of
from p2psip.reload.wire.header import Destination
from p2psip.sim.ip.boxes import PORT_RESTRICTED
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import PORT, SimulatedOverlay
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse

pytestmark = pytest.mark.long


def talks(world: SimulatedPeers, caller: SitePhone, target: str) -> bool:
    """A call is set up, and ended."""
    call = caller.dial(target)
    world.run(10.0, stop=lambda: caller.talks or caller.ended(call) is not None)
    is_up = caller.talks
    caller.hang_up(call)
    world.run(3.0)
    return is_up


def ordinary_peer(world: SimulatedPeers, number: int, name: str) -> Node:
    """A node of the ring with nothing above it, whose place is that of a user's record."""
    plugin = plugins.topology(world.configuration.topology_plugin)
    at = plugin.hash_name(f"{name}@{OVERLAY}".encode())
    identity, address = SimulatedIdentity(f"peer-q@{OVERLAY}", NodeId(bytes(at))), SimulatedOverlay.address_of(number)
    store = MemoryStore()
    rules = rules_of(world.configuration, world.verifier, plugin.hash_name)
    settings = NodeSettings(applications=frozenset(), addresses={Purpose.RELOAD: (Address(address.host, PORT),)})
    storage, now = Storage(store, rules, world.wall, world.world.now), world.world.now
    node = Node(
        identity, world.verifier, world.configuration, plugin, storage, world.wall, settings, random.Random("q"), now
    )
    host = world.world.add(f"q{number}", address, (identity.certificate,), node, store)
    world.world.call(host, node.start)
    assert world.run(60.0, stop=lambda: node.is_serving)
    return node


def test_q_an_ordinary_peer_with_no_sip_capabilities() -> None:
    """ "an ordinary Peer "Q" with no SIP capabilities": it stores and routes as every other."""
    world = SimulatedPeers("ordinary", 3)
    node = ordinary_peer(world, 9, "bob")
    alice, bob = world.with_phones((1, "alice"), (2, "bob"))
    placed = world[2].peer.publisher.placed("bob")
    assert placed is not None
    assert placed.responsible == node.node_id, "it keeps the record"
    assert talks(world, alice, "bob")
    assert bob.rang == 1
    call = alice.dial(str(make_gruu("q", OVERLAY, (Destination.node(node.node_id),))))
    world.run(10.0, stop=lambda: alice.ended(call) is not None)
    assert (alice.ended(call) or "").startswith("480 "), "it takes no connections for SIP"


def test_d_and_e_peers_coupled_with_a_user_agent_behind_nats() -> None:
    """ "Two of the Peers ("D" and "E") are behind network address translators"; the agent of each is the peer's own."""
    world = InternetSites("agents", no_ice=False, overlay_link_protocols=("DTLS",))
    world.add_public(0)
    sites = [world.add_behind_nat(number, PORT_RESTRICTED, forwards=False) for number in (1, 2)]
    for site, user in zip(sites, ("dora", "emil"), strict=True):
        world.line(site, user)
    world.settle(120.0)
    world.run(20.0)
    dora, emil = (world.phone(site, user) for site, user in zip(sites, ("dora", "emil"), strict=True))
    for caller, target in ((dora, "emil"), (emil, "*43")):
        call = caller.dial(target)
        assert world.run(15.0, stop=lambda caller=caller: caller.talks), caller.ended(call)  # type: ignore[misc]
        caller.hang_up(call)
        world.run(3.0)
    assert emil.rang == 1


def test_p_a_peer_coupled_with_a_registrar_and_proxy() -> None:
    """ "proxy operation is bidirectional": from an ordinary device to the overlay, and from there to a device."""
    world = SimulatedPeers("proxy", 3)
    alice, first, second = world.with_phones((0, "alice"), (1, "bob"), (1, "bob"))
    assert talks(world, alice, "bob")
    assert (first.rang, second.rang) == (1, 1), "all that have registered there"
    assert talks(world, first, "alice")
    assert alice.rang == 1
    assert [len(world[number].carried()) for number in (0, 1, 2)] == [2, 2, 0]


def test_r_a_peer_coupled_with_a_redirector() -> None:
    """It "resolves the next hop", and answers with that: to other peers, as phones cannot dial a GRUU."""
    each = cast(CallsBy.REDIRECT)
    assert each.call()[0] == "talks"
    assert [report.status for report in each.responsible.carried()] == [302]
    assert [report.status for report in each.callee.carried()] == [200]


def test_a_peer_coupled_with_several_of_these_at_once() -> None:
    """ "a Peer or Client might be coupled with two or more SIP entities"."""
    each = cast(CallsBy.REDIRECT)
    number = each.number(each.responsible)
    each.world.line(number, "carol")
    each.world.settle_records([number])
    carol = each.phone(each.responsible, "carol", answer_s=0.5)
    assert talks(each.world, each.alice, "carol"), "a proxy and registrar"
    assert talks(each.world, carol, "*43"), "a user agent"
    assert talks(each.world, each.alice, "bob"), "a redirector"
    assert [report.status for report in each.responsible.carried()] == [200, 200, 302]


def test_c_a_client() -> None:
    """ "has not inserted itself into the Overlay, and therefore does not participate in routing [...] or storing"."""
    world = SimulatedPeers("client", 3)
    client = world.add(3, is_client=True)
    assert world.run(60.0, stop=lambda: len(client.peer.node.neighbors) >= 3)
    alice, carol = world.with_phones((1, "alice"), (3, "carol"))
    assert talks(world, alice, "carol")
    assert talks(world, carol, "alice")
    assert not client.peer.node.is_serving
    assert client.peer.node.records_held.count == 0


def test_a_an_ordinary_sip_ua_outside() -> None:
    """ "It does not speak the RELOAD P2PSIP protocol [...]. Instead, it uses SIP to interact with the Overlay"."""
    world = SimulatedPeers("outside", 3)
    alice, bob = world.with_phones((1, "alice"), (2, "bob"))
    sent: list[bytes] = []
    transmit, alice.send = alice.send, lambda data: (sent.append(data), transmit(data))  # type: ignore[method-assign, assignment, func-returns-value]
    assert talks(world, alice, "bob")
    assert talks(world, bob, "alice")
    messages = [parse(data) for data in (*sent, *alice.received)]
    assert {message.method for message in messages if isinstance(message, Request)} >= {"INVITE", "ACK", "BYE"}
    contacts = [str(contact.uri.host) for data in sent for contact in parse(data).contacts]  # type: ignore[union-attr]
    assert set(contacts) == {alice.address.host}, "it names nobody but itself"
