"""A small virtual world: SIP servers, their overlay in one dictionary, and simple phones, in virtual time."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from fake_rtpengine import FakeRtpengine
from world_phone import OVERLAY, Flow, Phone

from p2psip.base.address import Address
from p2psip.base.effects import Ask, AskAnswered, CancelAsk, Effect, Note
from p2psip.base.wallclock import WallClock
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.relay import RelayEnded
from p2psip.media.relay.rtpengine.engine_control import SendToEngine
from p2psip.media.session import SendRtp
from p2psip.sip.entities.agents.agent_table import AgentCore
from p2psip.sip.entities.agents.own_agents import agents_of
from p2psip.sip.entities.agents.types import MediaReleased, MediaWanted
from p2psip.sip.entities.call_guard import CallsToKeep
from p2psip.sip.entities.callers import passport
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.handling.handlings import HandlingChanged, Handlings
from p2psip.sip.entities.proxy.resolvers import Resolver
from p2psip.sip.entities.questions import (
    Authentic,
    Credential,
    FindCredential,
    FindGateway,
    Hops,
    Located,
    LocateUser,
    NoCredential,
    NotAuthentic,
    NotLocated,
    ResolveUri,
    SignClaims,
    Signed,
    Target,
    VerifySignature,
)
from p2psip.sip.entities.registrar.bindings import BindingsChanged
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message import digest
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, escape_user
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.framing import StreamFraming
from p2psip.sip.transports.hops import FlowHop
from p2psip.sip.transports.layer import Listener

DELAY_S = 0.01

THE_DATE = 1_790_000_000.0
"""What all their clocks say when the world begins."""


def fake_signature(user: str, data: bytes) -> bytes:
    """Of the size of one by ECDSA; whoever wants to can make that of anybody."""
    return hashlib.blake2b(user.encode() + data, digest_size=64).digest()


def fake_signed(asked: SignClaims, user: str) -> Signed:
    info = f"reload://{user.encode().hex()}@{OVERLAY}/00"
    data = passport.signing_input(passport.header("ES256", info, asked.ppt), asked.claims.encode())
    return Signed(asked, "ES256", info, data, fake_signature(user, data))


def fake_verdict(asked: VerifySignature) -> Authentic | NotAuthentic:
    user = bytes.fromhex(asked.info.removeprefix("reload://").partition("@")[0]).decode()
    if asked.signature != fake_signature(user, asked.signing_input):
        return NotAuthentic(438, f"not signed by {user}")
    return Authentic(user)


class World:
    """Time, packets and the overlay's knowledge."""

    def __init__(self) -> None:
        self.now = 0.0
        self.servers: dict[str, Server] = {}
        self.phones: list[Phone] = []
        self.lose: Callable[[bytes], bool] = lambda data: False
        self.closed: set[Address] = set()
        """Where connections are refused."""
        self.dropped: set[Address] = set()
        """Where nobody answers who wants to connect."""
        self.dns: dict[tuple[str, str], Records] = {}
        """What DNS says of (name, type of record); of all else that there is none."""
        self.passwords: dict[str, str] = {}
        self.homes: dict[str, list[str]] = {}
        """Where a user has lines: names of servers, newest first."""
        self.datagrams: list[tuple[Address, Address, bytes]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._serial), action))

    def server(self, name: str, host: str, **changes: object) -> Server:
        return Server(self, name, host, **changes)  # type: ignore[arg-type]

    def phone(self, user: str, server: Server, address: Address, transport: str = "UDP", **options: object) -> Phone:
        self.passwords.setdefault(user, f"secret of {user}")
        if server.name not in self.homes.setdefault(user, []):
            self.homes[user].append(server.name)
        if server.handlings.of(user) is None:
            server.handlings.set(user, CallHandling())
        phone = Phone(self, user, server, address, transport, **options)
        self.phones.append(phone)
        return phone

    def parties(self) -> list[Server | Phone]:
        return [*self.servers.values(), *self.phones]

    def link(self, one: Server, two: Server) -> tuple[Flow, Flow]:
        """The pooled, authenticated connection of two peers."""
        here, there = Flow(one, one.next_flow()), Flow(two, two.next_flow())
        here.other, there.other = there, here
        for end, far in ((here, two), (there, one)):
            server = end.owner
            assert isinstance(server, Server)
            server.flows[end.number] = end
            server.links[far.name] = end.number
            server.core.handle(FlowUp(end.number, "TLS", server.address, far.address, far.node_id), self.now)
        return here, there

    def cut(self, flow: Flow, reason: str = "link lost") -> None:
        for end in (flow, flow.other):
            assert end is not None
            if end.owner.flows.pop(end.number, None) is not None:
                end.owner.core.handle(FlowDown(end.number, reason), self.now)
        self.settle()

    def run(self, for_s: float) -> None:
        """Let time pass."""
        end = self.now + for_s
        self.settle()
        while True:
            deadlines = [d.at for party in self.parties() if (d := party.core.next_deadline()) is not None]
            times = [*deadlines, *(entry[0] for entry in self._events[:1])]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            for party in self.parties():
                deadline = party.core.next_deadline()
                if deadline is not None and deadline.at <= self.now:
                    party.core.handle_timeout(self.now)
            self.settle()
        self.now = end

    def forgets_all(self) -> bool:
        """True if all servers have forgotten all requests, a while after timer C.

        About calls that are up the other end is asked now and then: so there is such a moment, between two questions.
        """
        self.run(250.0)
        for _ in range(12):
            counts = [server.core.counts for server in self.servers.values()]
            if all(count["transactions"] == count["requests under way"] == 0 for count in counts):
                return True
            self.run(13.0)
        return False

    def settle(self) -> None:
        """Take up what the parties have to say."""
        for party in self.parties():
            party.step()

    def perform(self, party: Server | Phone, effect: Effect) -> None:
        match effect:
            case SendUdp(local, remote, data):
                self.datagrams.append((local, remote, data))
                if not self.lose(data):
                    self.at(DELAY_S, lambda: self._datagram(local, remote, data))
            case OpenFlow(flow, transport, remote):
                self._open(party, flow, transport, remote)
            case SendFlow(flow, data):
                end = party.flows.get(flow)
                if end is not None and end.other is not None:
                    self.at(DELAY_S, lambda: self._flow_data(end.other, data))
            case CloseFlow(flow):
                end = party.flows.pop(flow, None)
                if end is not None and end.other is not None:
                    self.at(DELAY_S, lambda: self._flow_closed(end.other))
            case _:
                raise AssertionError(f"unexpected {effect}")

    def _datagram(self, local: Address, remote: Address, data: bytes) -> None:
        for party in self.parties():
            if party.address == remote and party.is_alive:
                party.core.handle(Datagram(remote, local, data), self.now)
                return

    def _open(self, party: Server | Phone, flow: int, transport: str, remote: Address) -> None:
        wanted = [one.secure if transport == "TLS" else one.address for one in self.parties()]
        far = next((one for one, at in zip(self.parties(), wanted, strict=True) if at == remote and one.is_alive), None)
        if remote in self.dropped:
            return
        if far is None or remote in self.closed:
            self.at(DELAY_S, lambda: party.core.handle(FlowDown(flow, "connection refused"), self.now))
            return
        here, there = Flow(party, flow), Flow(far, far.next_flow())
        here.other, there.other = there, here
        party.flows[flow], far.flows[there.number] = here, there
        ephemeral = Address(party.address.host, 40_000 + flow)

        def connected() -> None:
            far.core.handle(FlowUp(there.number, transport, remote, ephemeral), self.now)
            party.core.handle(FlowUp(flow, transport, ephemeral, remote), self.now)

        self.at(DELAY_S, connected)

    def _flow_data(self, end: Flow | None, data: bytes) -> None:
        if end is not None and end.number in end.owner.flows:
            end.owner.core.handle(FlowData(end.number, data), self.now)

    def _flow_closed(self, end: Flow | None) -> None:
        if end is not None and end.owner.flows.pop(end.number, None):
            end.owner.core.handle(FlowDown(end.number, "closed by the other side"), self.now)


class NotedServer(SipServer):
    """A SipServer whose requests are remembered, to compare its responses with."""

    def __init__(
        self,
        config: ServerConfig,
        rng: random.Random,
        agents: Sequence[AgentCore] = (),
        resolvers: Sequence[Resolver] = (),
        handlings: Handlings | None = None,
    ) -> None:
        super().__init__(config, rng, agents, resolvers, handlings)
        self.requests: dict[tuple[str | None, ...], Request] = {}
        self._framings: dict[int, StreamFraming] = {}

    def handle(self, arrival: Arrival, now: float) -> None:
        if isinstance(arrival, Datagram):
            self._note(arrival.data)
        elif isinstance(arrival, FlowData):
            for message in self._framings.setdefault(arrival.flow, StreamFraming()).feed(arrival.data):
                self._note(message)
        super().handle(arrival, now)

    def _note(self, data: bytes) -> None:
        try:
            message = parse(data)
        except BadMessage as error:
            message = error.request
        if isinstance(message, Request):
            self.requests[_identity(message)] = message


def _identity(message: Request | Response) -> tuple[str | None, ...]:
    return (message.via.branch, *(message.fields.first(key) for key in ("call-id", "cseq")))


def read_leniently(data: bytes) -> Response:
    """A response that may have a copy of what was malformed in the request."""
    first, *lines = data.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    return Response(int(first.split()[1]), first.split(" ", 2)[2], Fields.of(*((name, value) for name, value in pairs)))


class Recorder:
    """An agent that says what a test has it say; `delivered` is what it was told."""

    def __init__(self, name: str, number: str) -> None:
        self.name, self._number = name, number
        self.delivered: list[bytes] = []
        self.says: list[Effect] = []
        self.answers: list[tuple[int, object]] = []
        self.media: list[tuple[Address, Address, bytes]] = []

    def is_meant(self, user: str) -> bool:
        return user == self._number

    def handle_message(self, data: bytes, now: float) -> None:
        self.delivered.append(data)

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        self.media.append((local, remote, data))

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        self.answers.append((token, answer))

    def handle_timeout(self, now: float) -> None:
        pass

    def next_deadline(self) -> None:
        return None

    def drain(self) -> list[Effect]:
        says, self.says = self.says, []
        return says


class Server:
    """A SipServer with what its coupling would answer."""

    def __init__(
        self,
        world: World,
        name: str,
        host: str,
        *,
        agents: Sequence[AgentCore] = (),
        resolvers: Sequence[Resolver] = (),
        has_own_agents: bool = False,
        **changes: object,
    ) -> None:
        self.world, self.name = world, name
        self.address, self.secure = Address(host, 5060), Address(host, 5061)
        self.node_id = (name.encode().hex() * 16)[:32]
        self.is_alive = True
        config = ServerConfig(
            OVERLAY,
            frozenset({OVERLAY, host}),
            (Listener("UDP", self.address), Listener("TCP", self.address), Listener("TLS", self.secure)),
            SipUri(OVERLAY, f"peer-{name}", None, (("gr", self.node_id),)),
        )
        self.config = replace(config, **changes)  # type: ignore[arg-type]
        self.handlings = Handlings()
        """What its lines want of their calls."""
        if has_own_agents:
            agents = agents_of(self.config, self.handlings, random.Random(f"agents of {name}"))
        self.core = NotedServer(self.config, random.Random(name), agents, resolvers, self.handlings)
        self.core.set_wall_clock(WallClock(THE_DATE - world.now))
        self.handled: list[HandlingChanged] = []
        self.flows: dict[int, Flow] = {}
        self.links: dict[str, int] = {}
        self.asked: list[object] = []
        self.reports: list[RequestCarried] = []
        self.changes: list[BindingsChanged] = []
        self.notes: list[Note] = []
        self.kept: list[bytes] = []
        """What it has had written down of its calls, each time."""
        self.relayed: list[RelayEnded] = []
        """Calls whose media went through it, and how they ended."""
        self.engine = FakeRtpengine()
        """For one whose settings name it."""
        self.opened: list[OpenFlow] = []
        self.answered: list[Response] = []
        self.locate: Callable[[LocateUser], object] | None = None
        self.unanswered: tuple[type, ...] = ()
        """Kinds of questions that it gets no answer to."""
        self._flow_numbers = itertools.count(1, 2)
        world.servers[name] = self

    def next_flow(self) -> int:
        return next(self._flow_numbers)

    def reports_of(self, method: str) -> list[RequestCarried]:
        return [report for report in self.reports if report.method == method]

    def check_response(self, data: bytes) -> None:
        """8.2.6.2, for everything that a server ever sends, whoever made it."""
        if not data.startswith(b"SIP/2.0 "):
            return
        response = read_leniently(data)
        request = self.core.requests[_identity(response)]
        for key in ("from", "call-id", "cseq"):
            assert response.fields.lines(key) == request.fields.lines(key)[:1], f"{key} is copied into {response}"
        assert [(via.branch, via.sent_by) for via in response.vias] == [
            (via.branch, via.sent_by) for via in request.vias
        ], "Via is copied"
        assert (response.fields.first("to") or "").startswith(request.fields.first("to") or ""), "To is copied"
        assert response.status == 100 or response.fields.first("to").count(";tag=") == 1, f"{response} has a tag in To"
        self.answered.append(response)

    def step(self) -> None:
        for effect in self.core.drain():
            if isinstance(effect, SendUdp | SendFlow):
                self.check_response(effect.data)
            match effect:
                case Ask(token, question, _):
                    self.asked.append(question)
                    if not isinstance(question, self.unanswered):
                        answer = self._answer(question)
                        self.world.at(DELAY_S, lambda t=token, a=answer: self.core.handle_answer(t, a, self.world.now))
                case RequestCarried():
                    self.reports.append(effect)
                case BindingsChanged():
                    self.changes.append(effect)
                case HandlingChanged():
                    self.handled.append(effect)
                case CallsToKeep():
                    self.kept.append(self.core.snapshot(self.world.now))
                case SendRtp() | MediaReleased():
                    pass
                case OpenFlow():
                    self.opened.append(effect)
                    self.world.perform(self, effect)
                case CancelAsk():
                    self.asked.append(effect)
                case Note():
                    self.notes.append(effect)
                case RelayEnded():
                    self.relayed.append(effect)
                case OpenPorts(_, port):
                    self.core.relay.handle_ports(port, True, self.world.now)
                case ClosePorts():
                    pass
                case AskAnswered(token, answer):
                    self.world.at(0.0, lambda t=token, a=answer: self.core.handle_answer(t, a, self.world.now))
                case SendToEngine(_, data):
                    self.world.at(DELAY_S, lambda d=data: self._to_engine(d))
                case _:
                    self.world.perform(self, effect)

    def _to_engine(self, data: bytes) -> None:
        if (answer := self.engine.answer(data)) is not None:
            self.core.relay.handle_engine(answer, self.world.now)

    def _answer(self, question: object) -> object:
        world = self.world
        match question:
            case FindCredential(user_name, realm, domain):
                user = user_name.partition("@")[0].lower() + (f"@{domain}" if domain else "")
                if self.name not in world.homes.get(user, []):
                    return NoCredential(f"{user_name} has no line on this peer")
                return Credential(user, (digest.ha1_by_algorithm(user_name, realm, world.passwords[user]),))
            case ResolveUri(uri):
                for name, flow in self.links.items():
                    if uri.param("gr") == world.servers[name].node_id:
                        return Hops((FlowHop(flow),))
                if any(uri.param("gr") == server.node_id for server in world.servers.values()):
                    return NotLocated(480, "Temporarily Unavailable", "that peer is not in the overlay")
                return NotLocated(403, "Forbidden", f"{uri.host} is no phone of this peer")
            case FindRecords(name, record_type):
                return world.dns.get((name, record_type), Records())
            case MediaWanted():
                return Address(self.address.host, 20_000)
            case SignClaims():
                each = [
                    fake_signed(one, one.user.lower())
                    for one in (question, *question.forwards)
                    if self.name in world.homes.get(one.user.lower(), [])
                ]
                return replace(each[0], forwards=tuple(each[1:])) if each else None
            case VerifySignature():
                return fake_verdict(question)
            case FindGateway(otherwise=otherwise):
                return otherwise
            case LocateUser():
                return self.locate(question) if self.locate else self._located(question)
        raise AssertionError(question)

    def _located(self, question: LocateUser) -> Located | NotLocated:
        homes = self.world.homes.get(question.user)
        if not homes:
            return NotLocated(404, "Not Found", f"nobody is called {question.user}")
        targets: list[Target] = []
        for name in homes:
            if name == self.name and question.is_about_state:
                targets += self.core.state_targets(question.user)
            elif name == self.name:
                targets += self.core.targets(question.user, self.world.now)
            elif question.from_peer is None and name in self.links:
                targets.append(
                    Target(SipUri(OVERLAY, escape_user(question.user)), (FlowHop(self.links[name]),), f"peer {name}")
                )
        return Located(tuple(targets)) if targets else NotLocated(480, "Temporarily Unavailable", "phone is away")
