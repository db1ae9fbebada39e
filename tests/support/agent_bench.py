"""User agents and places played by a test, on one small network in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallEnded,
    EndedBy,
    MediaWanted,
)
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.message.build import make_response
from p2psip.sip.message.digest import Authenticator, Worth, ha1_by_algorithm
from p2psip.sip.message.headers import AuthParams
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener

ALICE, BOB, SERVER = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060), Address("192.0.2.9", 5060)

DELAY_S = 0.01


def config(name: str, at: Address, server_at: Address, **changes: object) -> AgentConfig:
    base = AgentConfig(
        address_of_record=SipUri("example.org", name),
        contact=SipUri(at.host, name, at.port),
        server=UdpHop(server_at),
        listeners=(Listener("UDP", at),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Seen:
    """A message on the wire."""

    at: float
    sender: Address
    message: Message

    @property
    def line(self) -> str:
        m = self.message
        return f"{m.status} {m.cseq.method}" if isinstance(m, Response) else m.start_line().split()[0]


class Wire:
    """Agents, and places played by the test, on one network; `lose` says what does not arrive."""

    def __init__(self, agents: dict[Address, UserAgent]) -> None:
        self.agents = agents
        self.now = 0.0
        self.seen: list[Seen] = []
        self.events: dict[Address, list[tuple[float, Effect]]] = {at: [] for at in agents}
        self.lose: Callable[[Seen], bool] = lambda _: False
        self.places: dict[Address, Callable[[Request], Response | None]] = {}
        self._flying: list[tuple[float, int, Address, Address, bytes]] = []
        self._has_media = True

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._collect()
            times = [d.at for agent in self.agents.values() if (d := agent.next_deadline())]
            times += [self._flying[0][0]] if self._flying else []
            if min(times, default=end) >= end:
                self.now = end
                return
            self.now = max(self.now, min(times))
            self._deliver()
            for agent in self.agents.values():
                agent.handle_timeout(self.now)

    def send(self, sender: Address, to: Address, message: Message | bytes) -> None:
        """A message made by hand."""
        data = message if isinstance(message, bytes) else message.encode()
        self._flying.append((self.now + DELAY_S, len(self.seen), sender, to, data))
        self._flying.sort()

    def lines(self, sender: Address | None = None) -> list[str]:
        return [seen.line for seen in self.seen if sender in (None, seen.sender)]

    def last(self, line: str) -> Message:
        return [seen.message for seen in self.seen if seen.line == line][-1]

    def told(self, at: Address, kind: type[Effect] = Effect) -> list[Effect]:
        return [effect for _, effect in self.events[at] if isinstance(effect, kind)]

    def endings(self, at: Address) -> list[tuple[EndedBy, str]]:
        return [(e.reason.by, str(e.reason)) for e in self.told(at, CallEnded) if isinstance(e, CallEnded)]

    def _collect(self) -> None:
        while effects := [(at, effect) for at, agent in self.agents.items() for effect in agent.drain()]:
            for at, effect in effects:
                self._take(at, effect)

    def _take(self, at: Address, effect: Effect) -> None:
        if isinstance(effect, SendUdp):
            self._fly(effect)
        elif isinstance(effect, Ask):
            assert isinstance(effect.question, MediaWanted)
            address = (at.host, 4000 + 2 * effect.question.call) if self._has_media else None
            self.agents[at].handle_answer(effect.token, address, self.now)
        else:
            self.events[at].append((self.now, effect))

    def no_media(self) -> None:
        self._has_media = False

    def _fly(self, send: SendUdp) -> None:
        seen = Seen(self.now, send.local, parse(send.data))
        self.seen.append(seen)
        if not self.lose(seen):
            self._flying.append((self.now + DELAY_S, len(self.seen), send.local, send.remote, send.data))
            self._flying.sort()

    def _deliver(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            _, _, sender, to, data = self._flying.pop(0)
            if to in self.agents:
                self.agents[to].handle(Datagram(to, sender, data), self.now)
            elif to in self.places:
                request = parse(data)
                answer = self.places[to](request) if isinstance(request, Request) else None
                if answer is not None:
                    self.seen.append(Seen(self.now, to, answer))
                    self.send(to, sender, answer)


def pair(*, auto_answer_s: float | None = 0.1, **changes: object) -> tuple[Wire, UserAgent, UserAgent]:
    """Alice's server is Bob's phone and the other way round: a call without anything between."""
    alice = UserAgent(config("alice", ALICE, BOB, **changes), random.Random(1))
    bob = UserAgent(config("bob", BOB, ALICE, auto_answer_s=auto_answer_s, **changes), random.Random(2))
    return Wire({ALICE: alice, BOB: bob}), alice, bob


def call_bob(alice: UserAgent, now: float = 0.0) -> int:
    return alice.call(parse_sip_uri("sip:bob@example.org"), now)


def talking() -> tuple[Wire, UserAgent, UserAgent, int]:
    wire, alice, bob = pair()
    number = call_bob(alice)
    wire.run(1.0)
    wire.seen.clear()
    return wire, alice, bob, number


# Registration


class Registrar:
    """A registrar that wants a password, by hand."""

    def __init__(self, password: str = "secret", expires: str = "60") -> None:
        self.authenticator = Authenticator("example.org", random.Random(4), ("SHA-256", "MD5"))
        self.ha1s = ha1_by_algorithm("alice", "example.org", password)
        self.expires = expires
        self.contacts: list[str] = []
        self.statuses: list[int] = []
        self.now = 0.0

    def __call__(self, request: Request) -> Response:
        assert request.method == "REGISTER"
        credentials = self.authenticator.find(request.fields.lines("authorization"))
        verdict = credentials and self.authenticator.check(request.method, credentials, (self.ha1s,), "", self.now)
        if verdict is not Worth.VALID:
            challenges = self.authenticator.challenges("", self.now, stale=verdict is Worth.STALE)
            return self._answer(request, 401, [("WWW-Authenticate", challenge) for challenge in challenges])
        self.contacts.append(request.fields.first("contact") or "")
        contact = request.contacts[0].with_param("expires", self.expires)
        return self._answer(request, 200, [("Contact", "<sip:other@192.0.2.77>;expires=5"), ("Contact", contact)])

    def _answer(self, request: Request, status: int, extra: list[tuple[str, object]]) -> Response:
        self.statuses.append(status)
        return make_response(request, status, to_tag="r", extra=extra)


def registering(place: Callable[[Request], Response | None], **changes: object) -> tuple[Wire, UserAgent]:
    alice = UserAgent(config("alice", ALICE, SERVER, **{"password": "secret", **changes}), random.Random(1))
    wire = Wire({ALICE: alice})
    wire.places[SERVER] = place
    return wire, alice


# Requests by hand


INVITE = """INVITE sip:bob@192.0.2.2 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{branch}
Max-Forwards: 70
From: <sip:carol@example.org>;tag=c
To: <sip:bob@example.org>
Call-ID: x{branch}
CSeq: 1 INVITE
Contact: <sip:carol@192.0.2.9>
Content-Type: application/sdp

v=0
o=- 1 1 IN IP4 192.0.2.9
c=IN IP4 192.0.2.9
m=audio 7000 RTP/AVP 0
"""


def invite(*changes: tuple[str, str], branch: str = "1") -> bytes:
    text = INVITE.format(branch=branch)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    head, _, body = text.partition("\n\n")
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()


def bob_alone(**changes: object) -> tuple[Wire, UserAgent]:
    bob = UserAgent(config("bob", BOB, SERVER, **{"auto_answer_s": 0.0, **changes}), random.Random(2))
    return Wire({BOB: bob}), bob


class Proxy:
    """A proxy that wants a password for everything but ACK and CANCEL, and then plays Bob."""

    def __init__(self) -> None:
        self.authenticator = Authenticator("example.org", random.Random(4))
        self.ha1s = ha1_by_algorithm("alice", "example.org", "secret")
        self.served: list[str] = []
        self.body = b"v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=audio 7000 RTP/AVP 8\n"

    def __call__(self, request: Request) -> Response | None:
        if request.method in ("ACK", "CANCEL"):
            self.served += [request.method] if request.to.tag == "b" else []
            return None
        credentials = self.authenticator.find(request.fields.lines("proxy-authorization"))
        if credentials is None or self._verdict(request, credentials) is not Worth.VALID:
            challenge = self.authenticator.challenges("", 0.0)[0]
            return make_response(request, 407, to_tag="p", extra=[("Proxy-Authenticate", challenge)])
        self.served.append(request.method)
        extra = [("Contact", "<sip:bob@192.0.2.9>"), ("Content-Type", "application/sdp")]
        return make_response(request, 200, to_tag="b", extra=extra, body=self.body)

    def _verdict(self, request: Request, credentials: AuthParams) -> Worth:
        return self.authenticator.check(request.method, credentials, (self.ha1s,), "", 0.0)
