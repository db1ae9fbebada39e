"""A simple phone in the small virtual world of the SIP servers (sip_world.py)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2psip.base.address import Address
from p2psip.sip.message import digest
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transactions.events import (
    AckArrived,
    RequestArrived,
    ResponseArrived,
    TransactionFailed,
)
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.arrivals import Arrival
from p2psip.sip.transports.hops import Hop, StreamHop, UdpHop
from p2psip.sip.transports.layer import Listener, TransportLayer
from p2psip.sip.transports.own_addresses import as_host

if TYPE_CHECKING:
    from sip_world import Server, World

OVERLAY = "overlay.example"


@dataclass
class Flow:
    """One end of a connection in the world."""

    owner: Server | Phone
    number: int
    other: Flow | None = None


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
        answers_with: bytes = b"",
    ) -> None:
        self.world, self.user, self.server, self.address, self.transport = world, user, server, address, transport
        self.answers_after_s, self.refuses_with = answers_after_s, refuses_with
        self.answers_with = answers_with
        """The description in its 200."""
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
        self.answers: dict[str, int] = {}
        """What it says to requests that are no INVITE, by method, if not 200."""
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
        self.layer.respond(
            event.transaction, make_response(event.request, self.answers.get(method, 200), to_tag="t"), self.world.now
        )
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
        extra: list[tuple[str, object]] = [("Contact", self.contact)] if status < 400 else []
        if self.answers_with and status == 200:
            extra.append(("Content-Type", "application/sdp"))
        body = self.answers_with if status == 200 else b""
        response = make_response(call.request, status, to_tag=self._tag(), extra=extra, body=body)
        self.layer.respond(call.transaction, response, self.world.now)

    def _tag(self) -> str:
        return f"tag-{self.user}-{self.address.port}"
