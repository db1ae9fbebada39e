"""The cores of SIP and of media that are woken an hour late, each with something pending (test_sim_late_timers.py)."""

from __future__ import annotations

import random

from dundi_bench import TERMS as NEIGHBOURS
from dundi_bench import DundiBench
from fake_rtpengine import AT, FakeRtpengine
from sip_world import World
from sleeping import HOUR_S, jump
from switchboard_bench import REALM, SwitchboardBench
from trunk_bench import TrunkBench
from watching import PRESENCE

from p2psip.base.address import Address
from p2psip.base.effects import Ask, AskAnswered
from p2psip.media.engine import MediaEngine, Performance
from p2psip.media.g711 import PCMU
from p2psip.media.negotiation import Agreement, Direction
from p2psip.media.relay.description import read
from p2psip.media.relay.ports import OpenPorts
from p2psip.media.relay.relay import CALLEE, CALLER, Relay
from p2psip.media.relay.rtpengine.engine_calls import EngineCall, PrepareCall, RtpEngine
from p2psip.media.relay.rtpengine.engine_control import EngineState
from p2psip.media.relay.sides import Phone
from p2psip.media.rtp import RtpPacket
from p2psip.media.sounds import waiting
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import AgentConfig, ToServer
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.location import Permits
from p2psip.sip.entities.domains.locations import Locations, ServersFound
from p2psip.sip.entities.gateway.health import KeepAlive
from p2psip.sip.entities.mailbox.mailbox_questions import TextDelivered, TextWaiting
from p2psip.sip.entities.mailbox.text_agent import TextAgent
from p2psip.sip.entities.overlays.other_overlays import OtherOverlays
from p2psip.sip.entities.questions import VerifySignature
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram, FlowData, FlowUp
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener

HERE = "192.0.2.1"


def _agent(server: Address, phone: Address) -> UserAgent:
    return UserAgent(
        AgentConfig(
            address_of_record=SipUri(server.host, "alice"),
            contact=SipUri(phone.host, "alice", phone.port),
            server=UdpHop(server),
            listeners=(Listener("UDP", phone),),
            password="secret",
        ),
        random.Random(1),
    )


def nap_of_a_server() -> None:
    """A SIP server: half a message over TCP, a password asked for."""
    here, phone = Address("10.1.0.1", 5060), Address("10.1.0.11", 5060)
    config = ServerConfig(
        OVERLAY, frozenset({here.host}), (Listener("TCP", here), Listener("UDP", here)), SipUri(OVERLAY, "p")
    )
    server = SipServer(config, random.Random(1))
    server.handle(FlowUp(1, "TCP", here, phone), 0.0)
    server.handle(FlowData(1, b"INVITE sip:"), 0.0)
    agent = _agent(here, phone)
    agent.register(0.0)
    for _ in range(2):
        for effect in agent.drain():
            if isinstance(effect, SendUdp):
                server.handle(Datagram(here, phone, effect.data), 0.0)
        for effect in server.drain():
            if isinstance(effect, SendUdp):
                agent.handle(Datagram(phone, here, effect.data), 0.0)
    server.handle_timeout(HOUR_S)
    agent.handle_timeout(HOUR_S)


def nap_of_what_a_server_does_itself() -> None:
    """A lamp that somebody watches, what he has published, and a star code whose answer is on the display."""
    world = World()
    server = world.server("one", "10.1.0.1", has_own_agents=True)
    phone = world.phone("alice", server, Address("10.1.0.11", 5060))
    assert phone.register().status == 200
    uri = SipUri(server.address.host, "alice")
    for method, event, body in (("SUBSCRIBE", "dialog", b""), ("PUBLISH", "presence", PRESENCE)):
        extra = [
            ("Contact", phone.contact),
            ("Event", event),
            ("Expires", 60),
            ("Content-Type", "application/pidf+xml"),
        ]
        assert phone.ask(phone._new(method, uri, NameAddr(uri), extra, body)).status == 200
    phone.invite("*78")
    world.run(0.5)
    server.core.handle_timeout(world.now + HOUR_S)


def nap_of_media() -> None:
    """A call with a tone, and one with an echo, of which a packet is missing."""
    ends = (Address("10.1.0.11", 4000), Address("10.1.0.12", 4000))
    engines = [
        MediaEngine(Performance(tone_hz=440.0), random.Random(1)),
        MediaEngine(Performance(echo=True), random.Random(2)),
    ]
    for engine, local, remote in zip(engines, ends, reversed(ends), strict=True):
        engine.start("call", local, Agreement(remote, PCMU, 0, Direction.SENDRECV, 101), 0.0)
    packets = []
    for number in range(12):
        engines[0].handle_timeout(0.02 * number)
        packets += engines[0].drain()
    for sent in (*packets[:3], *packets[4:]):
        engines[1].handle_datagram(ends[1], ends[0], sent.data, 0.3)
    for sent in engines[1].drain():
        engines[0].handle_datagram(ends[0], ends[1], sent.data, 0.3)
    for engine in engines:
        engine.handle_timeout(HOUR_S)


def nap_of_a_media_relay() -> None:
    """A relayed call of which one side has been heard."""
    relay, phones = Relay(random.Random(1)), [Phone(name, HERE, HERE) for name in ("alice", "bob")]
    relay.start()
    for effect in relay.drain():
        if isinstance(effect, OpenPorts):
            relay.handle_ports(effect.port, True, 0.0)
    call = relay.begin("call", *phones)
    for which in (CALLER, CALLEE):
        lines = ("v=0", f"o=- 1 1 IN IP4 {HERE}", "s=-", f"c=IN IP4 {HERE}", "t=0 0", "m=audio 4000 RTP/AVP 0", "")
        relay.describe(call, which, "\r\n".join(lines).encode(), 0.0)
    relay.answered(call, 0.0)
    relay.handle_timeout(HOUR_S)
    assert call not in relay


def nap_of_a_media_engine() -> None:
    """A call that goes through it, one that nobody has begun, and one of which it has not been told yet."""
    engine, theirs = RtpEngine(AT, random.Random(1)), FakeRtpengine()
    (line,) = read(f"v=0\r\no=- 1 1 IN IP4 {HERE}\r\nc=IN IP4 {HERE}\r\nm=audio 4000 RTP/AVP 0\r\n".encode())
    engine.handle_timeout(0.0)
    prepared = []
    for token in (1, 2, 3):
        while effects := engine.drain():
            prepared += [effect.answer for effect in effects if isinstance(effect, AskAnswered)]
            for answer in theirs.answers(effects):
                engine.handle_datagram(answer, 0.0)
        engine.prepare(token, PrepareCall("call", (HERE, HERE), (line,), (0,)), 0.0)
    begun, _ = prepared
    assert isinstance(begun, EngineCall)
    engine.claim(begun)
    engine.watch(begun, 0.0)
    for later_s in range(4):
        engine.handle_timeout(HOUR_S + later_s)
    # Nobody has answered since.
    assert (len(engine), engine.state, begun.is_lost) == (1, EngineState.SILENT, True)


def nap_of_texts() -> None:
    """One is being delivered, and nobody answers; another waits to be kept."""
    agent = TextAgent(ServerConfig(OVERLAY, frozenset(), (), SipUri(OVERLAY, "peer")), random.Random(1))
    agent.handle_order(TextWaiting("bob", b"key", "alice", "", 0, "text/plain", b"hello"), 0.0)
    (said,) = agent.drain()
    assert isinstance(said, ToServer)
    agent.handle_timeout(HOUR_S)
    (told,) = [effect for effect in agent.drain() if isinstance(effect, Ask)]
    assert told.question == TextDelivered("bob", b"key", False)


def nap_of_a_switchboard() -> None:
    """Somebody is parked, and somebody else is to be picked up."""
    bench, place = SwitchboardBench(), f"park@{REALM};slot=1;by=bob"
    bench.invite(place, "alice")
    bench.within("alice", "ACK", 1, "")
    bench.invite(f"pick-up@{REALM};call=5", "carol")
    bench.pass_time(HOUR_S)
    assert (bench.called, bench.status("alice"), bench.status("carol")) == (["bob"], 200, 480)


def nap_of_two_calls_that_hear_each_other() -> None:
    """A packet is missing of what one says; somebody else is alone, and hears what there is to wait with."""
    here = [Address(HERE, 4000 + 2 * number) for number in range(3)]
    there = [Address(f"198.51.100.{number}", 5000) for number in range(3)]
    engine = MediaEngine(Performance(bridges=True), random.Random(1))
    for name, local, remote in zip(("one", "two", "alone"), here, there, strict=True):
        agreed = Agreement(remote, PCMU, PCMU.payload_type, Direction.SENDRECV, 101)
        engine.start(name, local, agreed, 0.0, waiting())
    engine.join("one", "two")
    for number in (1, 3):
        packet = RtpPacket(PCMU.payload_type, number, 160 * number, 9, bytes(160), marker=False)
        engine.handle_datagram(here[0], there[0], packet.encode(), 0.02 * number)
    assert [sent.remote for sent in engine.drain()] == [there[1]]
    engine.handle_timeout(HOUR_S)
    # What is missing is given up, and the hour of the other sound is not made good for.
    assert [sent.remote for sent in engine.drain()] == [there[1], there[2], there[2]]


def nap_of_a_trunk() -> None:
    """It asks whether its server is there, which has gone; one call is up, another rings nowhere."""
    bench = TrunkBench().up()
    bench.talking()
    bench.registrar.is_there = False
    bench.run(bench.terms.keep_alive_s)
    bench.dial("+4900000")
    bench.now += HOUR_S
    bench.run(0.0)
    assert not bench.trunk.health.is_up
    assert bench.lines("overlay")[-1] == "504 INVITE"


def nap_of_a_question_to_a_trunk() -> None:
    """In a trunk the transaction of OPTIONS ends before: this asks for itself."""
    trunk = TrunkBench().up().trunk
    keep_alive = KeepAlive(trunk)
    assert trunk._trunk is not None
    keep_alive.ask(trunk._trunk, 1.0)
    keep_alive.handle_timeout(HOUR_S)
    assert not trunk.health.is_up


def nap_of_a_search_in_dns() -> None:
    """Nothing has been answered."""
    locations = Locations(Permits(lambda address: ""), random.Random(1))
    locations.begin(parse_sip_uri("sip:bob@example.org"), "context", 0.0)
    locations.handle_timeout(HOUR_S)
    while (deadline := locations.next_deadline()) is not None:
        locations.handle_timeout(deadline.at)
    (end,) = [effect for effect in locations.drain() if isinstance(effect, ServersFound)]
    assert end.found.status == 480


def nap_of_neighbours() -> None:
    """One has asked for a number, and another does not say whether it has one; the overlay says nothing either."""
    bench = DundiBench().up()
    bench.is_overlay_mute = True
    bench.asterisk.discover("42", "home")
    bench.loses = lambda _: True
    bench.entity.find("+4930999", "context", bench.now)
    bench._settle()
    bench.entity.handle_timeout(HOUR_S)
    bench._settle()
    assert [found.context for found in bench.found] == ["context"]
    world = SimulatedPeers("late neighbours", 0)
    site = world.add(0, dundi=NEIGHBOURS)
    world.run(5.0)
    jump(world.world.clock, HOUR_S, random.Random(1))
    site.call(site.handle_timeout)


def nap_of_a_verification() -> None:
    """Whose certificate a caller from another peer has signed with is not known yet."""
    world = World()
    one, two = world.server("one", "10.1.0.1"), world.server("two", "10.2.0.1", callers="required")
    world.link(one, two)
    alice = world.phone("alice", one, Address("10.1.0.11", 5060))
    bob = world.phone("bob", two, Address("10.2.0.12", 5070))
    for phone in (alice, bob):
        assert phone.register().status == 200
    two.unanswered = (VerifySignature,)
    call = alice.invite("bob")
    world.run(0.5)
    world.now += HOUR_S
    two.core.handle_timeout(world.now)
    world.run(1.0)
    assert (call.statuses[-1], bob.calls) == (436, [])


def nap_of_two_overlays() -> None:
    """Of a site that is in both: somebody of the one rings for somebody of the other, and an hour later no more."""
    club = SimulatedPeers("late club", 0)
    mesh = SimulatedPeers("late mesh", 0, world=club.world, first=1, instance_name="mesh.example")
    here = club.add(0, overlays=OtherOverlays(club.overlay, {mesh.overlay: mesh.overlay}))
    beside = mesh.add(1, overlays=OtherOverlays(mesh.overlay, {club.overlay: club.overlay}, phones_at=club.overlay))
    here.beside[mesh.overlay], beside.beside[club.overlay] = beside, here
    sites = (here, beside)
    assert club.run(60.0, stop=lambda: all(site.peer.node.is_serving for site in sites))
    (alice,), (carol,) = club.with_phones((0, "alice")), mesh.with_phones((1, "carol"), answer_s=None)
    alice.dial(f"sip:carol@{mesh.overlay}")
    assert club.run(5.0, stop=lambda: carol.rang == 1)
    jump(club.world.clock, HOUR_S, random.Random(1))
    for site in sites:
        site.call(site.handle_timeout)
    club.run(60.0)
    assert not carol.agent.calls
    alice.dial(f"sip:carol@{mesh.overlay}")
    assert club.run(5.0, stop=lambda: carol.rang == 2)
