"""Machines that slept: every core of a peer with everything pending, an hour late.

Which cores there are, the source says: one that has a `handle_timeout` and is not woken late here is a failure.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import pkgutil
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from accounts import CHEAP
from calls_by_ways import cast
from effort import times
from gateway_peers import Provider, overlay
from ice_internet import ice_internet
from mailbox_calls import FillingDisk, Voice, club, open_mailbox
from naps_of_calls import (
    HERE,
    nap_of_a_media_engine,
    nap_of_a_media_relay,
    nap_of_a_question_to_a_trunk,
    nap_of_a_search_in_dns,
    nap_of_a_server,
    nap_of_a_switchboard,
    nap_of_a_trunk,
    nap_of_a_verification,
    nap_of_media,
    nap_of_neighbours,
    nap_of_texts,
    nap_of_two_calls_that_hear_each_other,
    nap_of_two_overlays,
    nap_of_what_a_server_does_itself,
)
from naps_of_records import nap_of_a_removal, nap_of_lent_storage
from rooms_world import enter, mixers, phones, rooms_overlay
from sleeping import HOUR_S, jump
from turn_bench import PEER, SERVER, Bench

import p2psip
from p2psip.base.address import Address
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import is_due
from p2psip.base.wallclock import WallClock
from p2psip.coupling.numbers.gateways import GatewaysKnown
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.server import EnrollmentPolicy, EnrollmentServer, Post
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import (
    CERTIFICATE_KINDS,
    DIRECTORY_KINDS,
    SIP_REGISTRATION_KIND,
)
from p2psip.reload.forwarding.fragmentation import fragment
from p2psip.reload.node.application import ApplicationNode
from p2psip.reload.node.connecting.response_routes import ResponseLink
from p2psip.reload.node.data.moving import TransferContext
from p2psip.reload.node.node import Node
from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.reload.node.tunnelling.tunnel_commands import OpenTunnel
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.relays.relay_pings import RelayPings
from p2psip.reload.paths.simultaneous import open_candidates
from p2psip.reload.paths.values import Purpose, Session
from p2psip.reload.security.roles import Signer
from p2psip.reload.topology.one_hop.copies import Copies
from p2psip.reload.topology.one_hop.enquiries import Enquiries, Whether
from p2psip.reload.topology.one_hop.members import Members
from p2psip.reload.topology.one_hop.messages import OneHopRouteQueryAns, Standing
from p2psip.reload.transport.outcome import Answer, Unanswered
from p2psip.reload.wire.extensions.routing_mode import RouteMode
from p2psip.reload.wire.header import FRAGMENT_ALWAYS_SET, Destination, ForwardingHeader
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.reload.wire.message import join, split
from p2psip.sim.certified import CertifiedOverlay
from p2psip.sim.discovery_runs import SETTINGS
from p2psip.sim.ip.boxes import SYMMETRIC
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.membership import DATE, Club, key
from p2psip.sim.membership import OVERLAY as CLUB
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sim.topologies import CASES, Case
from p2psip.sim.world import Host
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.paging.page_terms import Page
from p2psip.sip.transports.sip_records import Reassembly, records_of
from p2psip.turn.client import TurnClient
from p2psip.turn.values import Flow, Transmit

DRIVERS = ("p2psip.net", "p2psip.sim", "p2psip.daemon", "p2psip.cli", "p2psip.api")
SLEEPS_S = (20.0, 640.0, HOUR_S)
LATE_S = 600.0
CALLS_MAX = 4


def cores() -> list[type]:
    """All classes of cores that have timers."""
    found: dict[type, None] = {}
    for module in pkgutil.walk_packages(p2psip.__path__, "p2psip."):
        if not module.name.startswith(DRIVERS) and not module.ispkg:
            for each in vars(importlib.import_module(module.name)).values():
                is_core = (
                    isinstance(each, type) and "handle_timeout" in vars(each) and not hasattr(each, "_is_protocol")
                )
                if is_core and each.__module__ == module.name and _has_timers(each):
                    found[each] = None
    return list(found)


def _has_timers(core: type) -> bool:
    """Not so where nothing is ever due: such a one looks at nothing to say when it wants to be woken."""
    said = getattr(core, "next_deadline", None)
    return said is None or bool(said.__code__.co_names)


@contextmanager
def watched(late_s: dict[type, float]) -> Iterator[None]:
    """While this lasts, `late_s` says of each core how late it was woken at most."""
    with pytest.MonkeyPatch.context() as patch:
        for core in cores():
            patch.setattr(core, "handle_timeout", _watched(core, vars(core)["handle_timeout"], late_s))
        yield


def _watched(core: type, real: Callable[..., Any], late_s: dict[type, float]) -> Callable[..., Any]:
    @functools.wraps(real)
    def handle_timeout(self: Any, *arguments: Any) -> Any:
        # A part may leave it to the whole to say when it is due.
        deadline = (self if hasattr(self, "next_deadline") else self.timers).next_deadline()
        if deadline is not None:
            late_s[core] = max(late_s.get(core, 0.0), arguments[-1] - deadline.at)
        return real(self, *arguments)

    return handle_timeout


def fall_asleep(world: SimulatedPeers, seconds: float, rng: random.Random) -> None:
    """All machines sleep; some look at their timers before anything else."""
    jump(world.world.clock, seconds, rng)
    for site in rng.sample(list(world.sites.values()), len(world.sites)):
        if rng.random() < 0.7:
            site.call(site.handle_timeout)
        for phone in site.phones.values():
            if rng.random() < 0.7:
                phone.run(phone.agent.handle_timeout)


def busy(world: SimulatedPeers, phones: list[SitePhone], rng: random.Random) -> None:
    """Something that a peer may be in the middle of."""
    site, phone, other = rng.choice(list(world.sites.values())), *rng.sample(phones, 2)
    match rng.choice(
        ("call", "call", "echo", "nobody", "look up", "trace", "announce", "find", "hang up", "line", "cut")
    ):
        case "call" if len(phone.agent.calls) < CALLS_MAX:
            phone.dial(other.user)
        case "echo" if len(phone.agent.calls) < CALLS_MAX:
            phone.dial("*43")
        case "nobody" if len(phone.agent.calls) < CALLS_MAX:
            phone.dial("nobody")
        case "look up":
            site.call(lambda now: site.peer.look_up(f"{other.user}@{OVERLAY}", None, now))
        case "trace":
            site.call(lambda now: site.peer.trace(other.site.peer.node.node_id, None, now))
        case "announce":
            site.call(lambda now: site.peer.announce("relay", 1, "", now))
        case "find":
            site.call(lambda now: site.peer.find_services("relay", site.peer.node.node_id, 3, None, now))
        case "hang up":
            for call in list(phone.agent.calls):
                phone.hang_up(call)
        case "line":
            world.line(rng.randrange(len(world.sites)), f"user{rng.randrange(9)}")
        case "cut":
            _cut(site, rng)


def _cut(site: Site, rng: random.Random) -> None:
    """One of its connections goes down, if there is one of which the other end has not gone."""
    ends = [end for end in site.host.links.values() if end.number in end.host.links]
    if ends:
        end = rng.choice(ends)
        site.world._down(end.host.links[end.number], "cut")


def nap(seed: int, topology: Case) -> None:
    """Four peers with lines and phones; they do what chance says, sleep, and find their way back."""
    rng = random.Random(f"late/{seed}")
    world = SimulatedPeers(f"late/{seed}", 4, **SETTINGS, **topology.settings)
    for number, user in enumerate(("alice", "bob", "carol", "dora")):
        world.line(number, user)
    world.settle_records(range(4))
    phones = [
        world.phone(number, user, answer_s=rng.choice((None, 0.5, 20.0)))
        for number, user in enumerate(("alice", "bob", "carol", "dora"))
    ]
    for _ in range(3):
        for _ in range(rng.randrange(1, 10)):
            busy(world, phones, rng)
            world.run(rng.choice((0.0, 0.003, 0.03, 0.3, 3.0)))
        fall_asleep(world, rng.choice(SLEEPS_S), rng)
        world.run(rng.choice((1.0, 60.0)))


def nap_of_a_home() -> None:
    """A line that has a home peer says where it is much too late, and calls go by its home again."""
    each = cast(CallsBy.HOME)
    jump(each.world.world.clock, HOUR_S, random.Random(1))
    each.callee.call(each.callee.handle_timeout)
    each.world.run(60.0)
    assert each.call()[0] == "talks"
    assert each.home.carried()


def nap_of_a_directory() -> None:
    """Peers have something to say and to ask; after an hour the other one has it all the same."""
    world = SimulatedPeers("late directory", 2, required_kinds=(SIP_REGISTRATION_KIND, *DIRECTORY_KINDS))
    world.line(0, "alice")
    world.settle_records((0,))
    jump(world.world.clock, HOUR_S, random.Random(1))
    for site in world.sites.values():
        site.call(site.handle_timeout)
    assert world.run(600.0, stop=lambda: bool(world[1].peer.directory.entries(world.world.now)))


def nap_of_a_mailbox() -> None:
    """A caller speaks, and what another has said waits to be stored: no disk takes it."""
    world = club("late mailbox", 0)
    for number in range(2):
        world.add(number, FillingDisk())
        world.run(3.0)
    alice, carol, bob = world.with_phones((0, "alice"), (0, "carol"), (1, "bob"))
    open_mailbox(world, bob)
    bob.unplug()
    calls = [phone.dial("bob") for phone in (alice, carol)]
    assert world.run(60.0, stop=lambda: alice.talks and carol.talks)
    world.run(2.0)
    Voice(alice).speak(2.0)
    for site in world.sites.values():
        site.host.store.is_full = True  # type: ignore[attr-defined]
    alice.hang_up(calls[0])
    mailboxes = world[0].peer.mailboxes
    for part in (mailboxes._errands, mailboxes._deposits):
        if part is mailboxes._deposits:
            alice.dial("bob")
        assert world.run(120.0, stop=lambda part=part: part.next_deadline() is not None)  # type: ignore[misc]
        jump(world.world.clock, HOUR_S, random.Random(1))
        for site in world.sites.values():
            site.call(site.handle_timeout)
        world.run(60.0)
    assert carol.ended(calls[1]) is not None


def nap_of_gateways() -> None:
    """How far away the gateways are is not known yet: whoever waits is told what is known now."""
    world, _ = overlay((Provider(), {}), (Provider(), {}))
    site = world[0]
    site.call(lambda now: site.peer.look_for_gateways("0049123", None, now, is_emergency=False))
    assert world.run(5.0, stop=lambda: site.peer.chooser.next_deadline() is not None)
    jump(world.world.clock, HOUR_S, random.Random(1))
    site.call(site.handle_timeout)
    (known,) = [each for each in site.host.events if isinstance(each, GatewaysKnown)]
    assert [gateway.rtt_s for gateway in known.gateways] == [None, None]


def nap_of_a_room() -> None:
    """Two phones are in a room; after an hour they are again, and in the same."""
    world = rooms_overlay("late room", False, True, True)
    made = phones(world, (0, "alice"), (1, "bob"))
    for phone in made:
        enter(world, phone)
    world.run(2.0)
    jump(world.world.clock, HOUR_S, random.Random(1))
    for site in world.sites.values():
        site.call(site.handle_timeout)
    assert world.run(120.0, stop=lambda: list(mixers(world).values()) == [["alice", "bob"]])


def nap_of_a_page() -> None:
    """bob's phone rings where it should answer by itself; an hour later it rings no more."""
    page = Page("all", "700", ("bob",))
    world = SimulatedPeers("late page", numbering=Numbering(pages=(page,)))
    site = world.add(0)
    assert world.run(30.0, stop=lambda: site.peer.node.is_serving)
    alice, bob = world.with_phones((0, "alice"), (0, "bob"), answer_s=None)
    site.call(lambda now: site.peer.handle_calls("bob", CallHandling(intercom=("*",)), now))
    alice.dial("700")
    assert world.run(5.0, stop=lambda: bool(alice.talks and bob.rang))
    world.run(1.0)
    jump(world.world.clock, HOUR_S, random.Random(1))
    site.call(site.handle_timeout)
    world.run(5.0)
    assert not bob.agent.calls


def nap_of_clients(seed: int) -> None:
    """Programs that use an overlay, in the middle of a service's announcement."""
    rng = random.Random(f"clients/{seed}")
    overlay = SimulatedOverlay(f"clients/{seed}", **SETTINGS)
    for number in range(3):
        overlay.add_peer(number)
        overlay.world.run_for(2.0)
    host = overlay.add_client(0)
    overlay.world.run_for(rng.choice((0.0, 0.1, 3.0)))
    application = ApplicationNode(overlay.clients["c0"])
    host.core = application
    overlay.world.call(host, lambda now: application.services.register("relay", now))
    overlay.world.run_for(rng.choice((0.0, 0.05, 3.0)))
    jump(overlay.world.clock, HOUR_S, rng)
    overlay.world.call(host, application.handle_timeout)


def nap_of_certified_peers() -> None:
    """X.509 certificates that run out, that are stored in the overlay, and a message of which a piece is missing."""
    overlay = CertifiedOverlay(Club.of(), required_kinds=(SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS))
    overlay.grow(3)
    overlay.world.run_for(10.0)
    host = overlay.alive()[0]
    node = overlay.node(host)
    _lack_a_piece(node, overlay.world.now)
    node._paths.large_vanish("192.0.2.99", OverlayLinkType.TLS_TCP_FH_NO_ICE, overlay.world.now)
    _be_awaiting(overlay, host, node, next(iter(node._connections)))
    # A value that it has handed over, to whoever is responsible, and that nobody has answered for.
    refused = TransferContext(ResourceId(bytes(16)), None, 0, (), None)
    overlay.world.call(host, lambda now: node._moving.handle_outcome(refused, Unanswered(()), now))
    _be_answering(node, overlay.world.now)
    jump(overlay.world.clock, 400 * 24 * HOUR_S, random.Random(1))
    for each in overlay.alive():
        overlay.world.call(each, overlay.node(each).handle_timeout)


def _be_awaiting(overlay: SimulatedOverlay, host: Host, node: Node, other: NodeId) -> None:
    """It has asked for a connection, was answered, and waits for it; nobody can dial where it says that it is."""
    overlay.world.call(host, lambda now: node.use_addresses({Purpose.SIP: (Address("192.0.2.99", 5062),)}, now))
    overlay.world.call(host, lambda now: node.app_attach([Destination.node(other)], other, now))
    assert overlay.world.run_for(5.0, stop=lambda: node._paths.offers.next_deadline() is not None)


def _be_answering(node: Node, now: float) -> None:
    """It has dialled another for a response, which works on while everything else sleeps."""
    connection = next(filter(None, map(node._connections.get, node._connections)))
    routes = node._links._routes
    routes.linked(ResponseLink(connection.node), connection.node, connection.number, now)
    assert routes.handle_timeout(now + HOUR_S)


def _lack_a_piece(node: Node, now: float) -> None:
    header = ForwardingHeader(
        overlay=1,
        configuration_sequence=1,
        transaction_id=7,
        fragment=FRAGMENT_ALWAYS_SET,
        length=100,
        destination_list=(Destination.node(node.node_id),),
    )
    whole = join(header, bytes(3000))
    first, *_ = fragment(whole, 1000, node_id_length=len(node.node_id))
    head, cut = split(first)
    node._messages.reassembler.receive(head, cut, node.node_id, NodeId(b"\x02" * 16), now)


def nap_of_an_internet(seed: int) -> None:
    """Two public peers that relay, two behind NATs that need them; a call, a lost NAT, a relay that dies, and sleep."""
    rng = random.Random(f"internet/{seed}")
    world = ice_internet(f"late/{seed}", sip_tunnel=True, route_mode=RouteMode.DRR)
    for number in range(4):
        if number < 2:
            world.add_public(number, relay=RelayWish.YES)
        else:
            world.add_behind_nat(number, SYMMETRIC, forwards=False)
        world.run(2.0)
    for number in (2, 3):
        world.line(world.sites[number], f"user{number}")
    world.settle()
    world.run(30.0)
    phones = [world.phone(world.sites[number], f"user{number}") for number in (2, 3)]
    for _ in range(3):
        phones[0].dial("user3")
        world.run(rng.choice((0.05, 0.3, 1.0, 3.0)))
        nat = world.sites[rng.choice((2, 3))].nat
        assert nat is not None
        nat.reboot(off_s=0.0)
        world.run(rng.choice((0.3, 1.2, 1.7)))
        jump(world.internet.clock, rng.choice(SLEEPS_S), rng)
        world.run(rng.choice((1.0, 20.0)))


def nap_of_a_mapped_port() -> None:
    """A peer whose router maps its ports for an hour at most."""
    world = InternetSites("late ports", no_ice=False, overlay_link_protocols=("DTLS",))
    world.add_public(0)
    world.add_behind_nat(1, SYMMETRIC, forwards=False, maps_by=("PCP",))
    world.run(10.0)
    jump(world.internet.clock, HOUR_S, random.Random(1))
    world.run(10.0)


def nap_of_a_site_without_udp() -> None:
    """A peer that looks whether UDP passes again, and has a tunnel."""
    world = InternetSites("late udp", no_ice=False, overlay_link_protocols=("DTLS", "TLS"), sip_tunnel=True)
    other = world.add_public(0).peer.node.node_id
    world.add_public(1)
    site = world.add_behind_nat(2, SYMMETRIC, forwards=False, blocks=frozenset([Protocol.UDP]))
    assert world.run(60.0, stop=lambda: site.peer.node.reach.is_udp_blocked)
    opened = OpenTunnel([Destination.node(other)], other)
    site.driver.call(lambda now: site.peer.node.tunnel(opened, now))
    world.run(5.0)
    jump(world.internet.clock, HOUR_S, random.Random(1))
    world.run(10.0)


def nap_of_a_path_for_calls() -> None:
    """A SIP message of which a fragment is missing, and a relay that is asked whether it is there."""
    fragments = Reassembly()
    fragments.feed(records_of(bytes(3000), 1000, takes_fragments=True)[0], 0.0)
    pings = RelayPings(random.Random(1))
    pings.ping(Address("192.0.2.99", 6084), 0.0)
    for core in (fragments, pings):
        core.handle_timeout(HOUR_S)


def nap_of_a_turn_server_and_its_client() -> None:
    """An allocation with a permission and a channel; neither end has refreshed or forgotten anything meanwhile."""
    bench = Bench()
    flow = Flow(SERVER, Address(HERE, 6084))
    client = TurnClient(flow, bench.members.issue("alice", 100_000, 0.0), random.Random(1))
    client.allocate(0.0)
    speak(client, bench, flow)
    client.bind(PEER, 0.0)
    speak(client, bench, flow)
    assert len(bench.server) == 1
    assert client.send(PEER, b"data", 0.0)
    bench.now = HOUR_S
    client.handle_timeout(HOUR_S)
    bench.server.handle_timeout(HOUR_S)
    speak(client, bench, flow)
    assert not len(bench.server)


def speak(client: TurnClient, bench: Bench, flow: Flow) -> None:
    """Until neither end has anything to say to the other."""
    while effects := client.drain():
        for sent in effects:
            for answer in bench.hand(flow, sent.data) if isinstance(sent, Transmit) else ():
                if isinstance(answer, Transmit):
                    client.handle_data(answer.data, bench.now)


def nap_of_a_puncher() -> None:
    """A session that looks for a path, and in which both ends are to open a stream; a server that was asked for our
    address, a relay that is to be asked for that of another port, and a member where no relay is.
    """
    here, there = (Address(f"192.0.2.{number}", 6084) for number in (1, 2))
    punching, other = Punching(random.Random(1)), Punching(random.Random(2))
    ours, theirs = (
        replace(said, candidates=(*said.candidates, *open_candidates.encoded([Mapped(place, place, there)])))
        for said, place in ((punching.describe([here], b"passive"), here), (other.describe([there], b"active"), there))
    )
    punching.outside.relay_lends(here.host, there, 0.0)
    punching.outside.use_members((there.host,), (here,), 0.0)
    punching.begin(Session(Purpose.RELOAD, (), ours, theirs), None, 0.0)
    punching.ask(there, 0.0)
    punching.claim(2, here, there, 0.0, is_dialled=True)
    punching.handle_timeout(HOUR_S)


def nap_of_a_mourner() -> None:
    """A peer that knows all others, of which it has lost one: a neighbour of that one says that it still sees it."""
    own, lost, *others = (NodeId(bytes([number] * 16)) for number in range(1, 7))
    members = Members(own, (lost, *others))
    copies, enquiries = Copies(members), Enquiries(members)
    copies.went(lost, 0.0)
    enquiries.gone(lost, own, 0.0)
    for ask in enquiries.take_asks(others):
        body = OneHopRouteQueryAns(ask.node, Standing.MEMBER)
        said = Answer(Signer(ask.node, "x@sim.example"), body, (), 0.1, 1)
        assert isinstance(ask.context, Whether)
        enquiries.answered(ask.context, Unanswered(()) if ask.node == lost else said, 0.0)
    copies.handle_timeout(HOUR_S)
    enquiries.handle_timeout(HOUR_S)


def nap_of_an_enrollment_server() -> None:
    """In the middle of a question."""
    policy = EnrollmentPolicy(CLUB, Club.of().configuration.signature_algorithms)
    server = EnrollmentServer(policy, random.Random(7), WallClock(DATE), CHEAP)
    files = {"csr": ("request.p10", make_request(key(), f"alice@{CLUB}"), "application/pkcs10")}
    form = {"username": "alice", "password": "secret"}
    request = httpx2.Request("POST", "https://x/", data=form, files=files)
    post = Post(request.headers["content-type"], request.read(), "application/pkix-cert", "192.0.2.1")
    server.handle_request(1, post, 0.0)
    server.handle_timeout(HOUR_S)


def test_a_node_asks_only_those_of_its_parts_that_are_due() -> None:
    """Three peers join, and are there for some minutes."""
    asked: Counter[tuple[str, bool]] = Counter()
    overlay = SimulatedOverlay("asked", required_kinds=(SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS))
    with pytest.MonkeyPatch.context() as patch:
        for number in range(3):
            node = overlay.node(overlay.add_peer(number))
            for part in (node._paths, node._connections, *node._parts):
                patch.setattr(part, "handle_timeout", _counted(part, asked))
            overlay.world.run_for(2.0)
        overlay.world.run_for(180.0)
    assert {name for name, was_due in asked if was_due} >= {"ConnectionTable", "Transport", "ChordTopology"}
    assert {name for name, was_due in asked if not was_due} == set()


def _counted(part: Any, asked: Counter[tuple[str, bool]]) -> Callable[[float], Any]:
    real = part.handle_timeout

    def handle_timeout(now: float) -> Any:
        asked[type(part).__name__, is_due(part, now)] += 1
        return real(now)

    return handle_timeout


def test_every_core_is_woken_an_hour_late_with_everything_pending() -> None:
    late_s: dict[type, float] = {}
    with watched(late_s):
        for seed, topology in zip(range(times(12)), itertools.cycle(CASES.values()), strict=False):
            nap(seed, topology)
        for seed in range(times(4)):
            nap_of_clients(seed)
        for seed in range(times(3)):
            nap_of_an_internet(seed)
        nap_of_certified_peers()
        nap_of_a_mapped_port()
        nap_of_a_site_without_udp()
        nap_of_a_path_for_calls()
        nap_of_a_server()
        nap_of_what_a_server_does_itself()
        nap_of_media()
        nap_of_a_media_relay()
        nap_of_a_media_engine()
        nap_of_two_calls_that_hear_each_other()
        nap_of_a_switchboard()
        nap_of_texts()
        nap_of_a_trunk()
        nap_of_a_question_to_a_trunk()
        nap_of_a_search_in_dns()
        nap_of_a_verification()
        nap_of_neighbours()
        nap_of_two_overlays()
        nap_of_lent_storage()
        nap_of_a_removal()
        nap_of_a_home()
        nap_of_a_directory()
        nap_of_a_mailbox()
        nap_of_gateways()
        nap_of_a_room()
        nap_of_a_page()
        nap_of_a_turn_server_and_its_client()
        nap_of_a_puncher()
        nap_of_a_mourner()
        nap_of_an_enrollment_server()
    assert {core.__qualname__: late_s.get(core) for core in cores() if late_s.get(core, 0.0) < LATE_S} == {}
