"""A small virtual world: SIP servers, their overlay in one dictionary, and simple phones, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect, Note
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.relay import RelayEnded
from p2psip.sip.entities.agents.agent_table import AgentCore
from p2psip.sip.entities.agents.types import MediaWanted
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.proxy.resolvers import Resolver
from p2psip.sip.entities.questions import (
    Credential,
    FindCredential,
    Hops,
    Located,
    LocateUser,
    NoCredential,
    NotLocated,
    ResolveUri,
    Target,
)
from p2psip.sip.entities.registrar.bindings import BindingsChanged
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message import digest
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transactions.events import (
    AckArrived,
    RequestArrived,
    ResponseArrived,
    TransactionFailed,
)
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.framing import StreamFraming
from p2psip.sip.transports.hops import FlowHop, Hop, StreamHop, UdpHop
from p2psip.sip.transports.layer import Listener, TransportLayer
from p2psip.sip.transports.own_addresses import as_host

OVERLAY = "overlay.example"
DELAY_S = 0.01


@dataclass
class Flow:
    """One end of a connection in the world."""

    owner: Server | Phone
    number: int
    other: Flow | None = None


class World:
    """Time, packets and the overlay's knowledge."""

    def __init__(self) -> None:
        self.now = 0.0
        self.servers: dict[str, Server] = {}
        self.phones: list[Phone] = []
        self.lose: Callable[[bytes], bool] = lambda data: False
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
        """True if all servers have forgotten all requests, a while after timer C."""
        self.run(250.0)
        counts = [server.core.counts for server in self.servers.values()]
        return all(count["transactions"] == count["requests under way"] == 0 for count in counts)

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
        if far is None:
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
    ) -> None:
        super().__init__(config, rng, agents, resolvers)
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
        self.core = NotedServer(self.config, random.Random(name), agents, resolvers)
        self.flows: dict[int, Flow] = {}
        self.links: dict[str, int] = {}
        self.asked: list[object] = []
        self.reports: list[RequestCarried] = []
        self.changes: list[BindingsChanged] = []
        self.notes: list[Note] = []
        self.relayed: list[RelayEnded] = []
        """Calls whose media went through it, and how they ended."""
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
                case _:
                    self.world.perform(self, effect)

    def _answer(self, question: object) -> object:
        world = self.world
        match question:
            case FindCredential(user_name, realm):
                user = user_name.partition("@")[0].lower()
                if self.name not in world.homes.get(user, []):
                    return NoCredential(f"{user_name} has no line on this peer")
                return Credential(user, (digest.ha1_by_algorithm(user_name, realm, world.passwords[user]),))
            case ResolveUri(uri):
                for name, flow in self.links.items():
                    if uri.param("gr") == world.servers[name].node_id:
                        return Hops((FlowHop(flow),))
                return NotLocated(403, "Forbidden", f"{uri.host} is no phone of this peer")
            case MediaWanted():
                return Address(self.address.host, 20_000)
            case LocateUser():
                return self.locate(question) if self.locate else self._located(question)
        raise AssertionError(question)

    def _located(self, question: LocateUser) -> Located | NotLocated:
        homes = self.world.homes.get(question.user)
        if not homes:
            return NotLocated(404, "Not Found", f"nobody is called {question.user}")
        targets: list[Target] = []
        for name in homes:
            if name == self.name:
                targets += self.core.targets(question.user, self.world.now)
            elif question.from_peer is None and name in self.links:
                targets.append(Target(SipUri(OVERLAY, question.user), (FlowHop(self.links[name]),), f"peer {name}"))
        return Located(tuple(targets)) if targets else NotLocated(480, "Temporarily Unavailable", "phone is away")


@dataclass
class Call:
    """A dialog at a phone."""

    request: Request
    """The INVITE as sent or received."""
    transaction: int
    statuses: list[int] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    failures: list[TransactionFailed] = field(default_factory=list)
    local: NameAddr | None = None
    remote: NameAddr | None = None
    target: SipUri | None = None
    routes: tuple[NameAddr, ...] = ()
    is_up: bool = False
    is_over: bool = False


class Phone:
    """Enough of a user agent to call, answer, cancel and hang up."""

    def __init__(
        self,
        world: World,
        user: str,
        server: Server,
        address: Address,
        transport: str = "UDP",
        *,
        answers_after_s: float | None = 1.0,
        refuses_with: int | None = None,
        contact_host: str | None = None,
        password: str | None = None,
    ) -> None:
        self.world, self.user, self.server, self.address, self.transport = world, user, server, address, transport
        self.answers_after_s, self.refuses_with = answers_after_s, refuses_with
        self.password = password or world.passwords[user]
        self.auth_user = user
        self.rng = random.Random(f"{user}{address}")
        self.secure = Address(address.host, address.port + 1)
        listeners = (Listener("UDP", address), Listener("TCP", address), Listener("TLS", self.secure))
        self.layer = TransactionLayer(TransportLayer(listeners), self.rng)
        self.core = self
        self.is_alive = True
        self.flows: dict[int, Flow] = {}
        suffix = () if transport == "UDP" else (("transport", transport.lower()),)
        port = self.secure.port if transport == "TLS" else address.port
        self.contact = NameAddr(SipUri(contact_host or as_host(address.host), user, port, suffix))
        self.calls: list[Call] = []
        self.pending: dict[int, tuple[Request, Call | None]] = {}
        self.finals: list[Response] = []
        self.received: list[Request] = []
        self.acks = 0
        self.digest_uri = ""
        """What stands in credentials as uri, if not the Request-URI."""
        self.cseq = itertools.count(1)
        hops: dict[str, Hop] = {"TCP": StreamHop("TCP", server.address), "TLS": StreamHop("TLS", server.secure)}
        self.hop = hops.get(transport, UdpHop(server.address))
        self.aor = SipUri(server.address.host, user)
        self._flow_numbers = itertools.count(1, 2)
        self._timers: list[tuple[float, Callable[[], None]]] = []

    # The driver's side: a phone is its own core

    def next_flow(self) -> int:
        return next(self._flow_numbers)

    def next_deadline(self) -> object:
        return self.layer.next_deadline()

    def handle_timeout(self, now: float) -> None:
        self.layer.handle_timeout(now)

    def handle(self, arrival: Arrival, now: float) -> None:
        self.layer.handle(arrival, now)

    def step(self) -> None:
        while events := self.layer.events():
            for event in events:
                self._on_event(event)
        for effect in self.layer.drain():
            if self.is_alive:
                self.world.perform(self, effect)

    # What a person does

    def register(self, expires_s: int = 3600, **fields: object) -> Response:
        extra = [("Contact", self.contact), ("Expires", expires_s), *fields.items()]
        request = self._new("REGISTER", SipUri(self.server.address.host), NameAddr(self.aor), extra)
        return self.ask(request)

    def ask(self, request: Request, for_s: float = 1.0) -> Response:
        """Send a request and wait for its final answer."""
        before = len(self.finals)
        self.send(request)
        self.world.run(for_s)
        assert len(self.finals) > before, f"no answer to {request}"
        return self.finals[-1]

    def invite(self, to: str, extra: Sequence[tuple[str, object]] = (), body: bytes = b"offer") -> Call:
        uri = parse_sip_uri(to if to.startswith(("sip:", "sips:")) else f"sip:{to}@{self.server.address.host}")
        request = self._new("INVITE", uri, NameAddr(uri), [("Contact", self.contact), *extra], body)
        call = Call(request, 0)
        self.calls.append(call)
        self.send(request, call)
        self.step()
        return call

    def message(self, to: str) -> Request:
        uri = parse_sip_uri(f"sip:{to}@{self.server.address.host}")
        return self._new("MESSAGE", uri, NameAddr(uri), [], b"hello")

    def cancel(self, call: Call) -> None:
        self.layer.cancel(call.transaction, self.world.now)
        self.step()

    def hang_up(self, call: Call) -> None:
        bye = self.in_dialog(call, "BYE")
        self.send(bye)
        self.step()

    def in_dialog(self, call: Call, method: str, cseq: int | None = None) -> Request:
        assert call.target is not None
        assert call.local is not None
        assert call.remote is not None
        return make_request(
            method,
            call.target,
            from_=call.local,
            to=call.remote,
            call_id=call.request.call_id,
            cseq=cseq or next(self.cseq),
            routes=call.routes,
        )

    def send(self, request: Request, call: Call | None = None) -> None:
        hop = self.hop
        if call is None and request.to.tag and request.routes:
            hop = self.hop
        number = self.layer.request(request, hop, None, self.world.now)
        self.pending[number] = (request, call)
        if call is not None:
            call.transaction = number

    # What the phone does by itself

    def _new(
        self, method: str, uri: SipUri, to: NameAddr, extra: list[tuple[str, object]], body: bytes = b""
    ) -> Request:
        call_id = f"{self.rng.getrandbits(48):x}"
        from_ = NameAddr(self.aor, self.user.title()).with_tag(f"{self.rng.getrandbits(32):x}")
        return make_request(
            method, uri, from_=from_, to=to, call_id=call_id, cseq=next(self.cseq), extra=extra, body=body
        )

    def _on_event(self, event: object) -> None:
        match event:
            case RequestArrived():
                self._on_request(event)
            case ResponseArrived(transaction, response):
                self._on_response(transaction, response)
            case TransactionFailed(transaction):
                _, call = self.pending.get(transaction, (None, None))
                if call is not None:
                    call.failures.append(event)
            case AckArrived():
                self.acks += 1

    def _on_response(self, transaction: int, response: Response) -> None:
        request, call = self.pending[transaction]
        if (
            response.status in (401, 407)
            and "authorization" not in request.fields
            and ("proxy-authorization" not in request.fields)
        ):
            self._authenticate(request, response, call)
            return
        if call is not None:
            call.statuses.append(response.status)
            call.responses.append(response)
            if response.is_success:
                self._acknowledge(call, response)
            elif response.status >= 300:
                call.is_over = True
        elif not response.is_provisional:
            self.finals.append(response)

    def _authenticate(self, request: Request, response: Response, call: Call | None) -> None:
        key = "www-authenticate" if response.status == 401 else "proxy-authenticate"
        challenge = digest.choose_challenge(digest.read_all(response.fields.lines(key)))
        assert challenge is not None
        algorithm = digest.algorithm_of(challenge)
        credentials = digest.answer_challenge(
            challenge,
            user=self.auth_user,
            a1_hash=digest.ha1(self.auth_user, challenge.get("realm"), self.password, algorithm),
            method=request.method,
            uri=self.digest_uri or request.uri_text,
            cnonce=f"{self.rng.getrandbits(32):x}",
        )
        name = "Authorization" if response.status == 401 else "Proxy-Authorization"
        fields = request.fields.with_last(name, credentials)
        fields = fields.with_only("CSeq", f"{next(self.cseq)} {request.method}")
        again = request.replace(fields=fields)
        if call is not None:
            call.request = again
        self.send(again, call)

    def _acknowledge(self, call: Call, response: Response) -> None:
        call.is_up = True
        call.local, call.remote = response.from_, response.to
        call.target = response.contacts[0].sip_uri
        call.routes = tuple(reversed(response.record_routes))
        ack = self.in_dialog(call, "ACK", call.request.cseq.number)
        self.layer.send(ack, self.hop, self.world.now)

    def _on_request(self, event: RequestArrived) -> None:
        self.received.append(event.request)
        method = event.request.method
        if method == "INVITE" and not event.request.to.tag:
            self._ring(event)
            return
        self.layer.respond(event.transaction, make_response(event.request, 200, to_tag="t"), self.world.now)
        for call in self.calls:
            if call.request.call_id == event.request.call_id:
                if method == "BYE":
                    call.is_over = True
                elif method == "CANCEL" and not call.is_up and not call.is_over:
                    call.is_over = True
                    self._reply(call, 487)

    def _ring(self, event: RequestArrived) -> None:
        call = Call(event.request, event.transaction)
        self.calls.append(call)
        if self.refuses_with is not None:
            call.is_over = True
            self._reply(call, self.refuses_with)
            return
        self._reply(call, 180)
        if self.answers_after_s is not None:
            self.world.at(self.answers_after_s, lambda: self._pick_up(call))

    def _pick_up(self, call: Call) -> None:
        if call.is_over:
            return
        request = call.request
        call.is_up = True
        call.local = request.to.with_tag(self._tag())
        call.remote = request.from_
        call.target = request.contacts[0].sip_uri
        call.routes = request.record_routes
        self._reply(call, 200)
        acks = self.acks

        def repeat(wait_s: float, left: int) -> None:
            if self.acks == acks and left:
                self._reply(call, 200)
                self.world.at(min(4.0, 2 * wait_s), lambda: repeat(min(4.0, 2 * wait_s), left - 1))

        self.world.at(0.5, lambda: repeat(0.5, 10))

    def _reply(self, call: Call, status: int) -> None:
        extra = [("Contact", self.contact)] if status < 400 else []
        response = make_response(call.request, status, to_tag=self._tag(), extra=extra)
        self.layer.respond(call.transaction, response, self.world.now)

    def _tag(self) -> str:
        return f"tag-{self.user}-{self.address.port}"


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def one(world: World) -> Server:
    return world.server("one", "10.1.0.1")


@pytest.fixture
def other(world: World, one: Server) -> Server:
    server = world.server("two", "10.2.0.1")
    world.link(one, server)
    return server


@pytest.fixture
def alice(world: World, one: Server) -> Phone:
    """Registered at one."""
    phone = world.phone("alice", one, Address("10.1.0.11", 5060))
    assert phone.register().status == 200
    return phone


@pytest.fixture
def bob(world: World, other: Server) -> Phone:
    """Registered at the other."""
    phone = world.phone("bob", other, Address("10.2.0.12", 5070))
    assert phone.register().status == 200
    return phone


@pytest.fixture
def bob3(world: World, one: Server, bob: Phone) -> Phone:
    """A second phone of bob's, at a third server, where he moved last."""
    third = world.server("tri", "10.3.0.1")
    world.link(one, third)
    phone = world.phone("bob", third, Address("10.3.0.12", 5060))
    world.homes["bob"] = ["tri", "two"]
    assert phone.register().status == 200
    return phone
