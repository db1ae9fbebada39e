"""A trunk between an overlay and a provider, both played by the test, in virtual time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect, Note
from p2psip.sip.entities.agents.types import ToServer
from p2psip.sip.entities.gateway.terms import FindTrunk, ForTrunk, TrunkFound, TrunkTerms
from p2psip.sip.entities.gateway.trunk import Trunk
from p2psip.sip.message.build import make_response
from p2psip.sip.message.digest import Authenticator, Worth, ha1_by_algorithm
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp

REALM = "club.example"
PEER_SIDE = SipUri(REALM, "peer-hill", None, (("gr", "x"),))
HERE, PROVIDER, STRANGER = Address("192.0.2.1", 40000), Address("198.51.100.7", 5060), Address("203.0.113.66", 5060)
SECOND, THIRD = Address("198.51.100.17", 5062), Address("198.51.100.27", 5060)
"""Other servers of the provider."""

TERMS = TrunkTerms(
    "main",
    "sip.tel.example",
    "4930555",
    password="secret",
    prefixes=("+49", "00"),
    emergency=("112",),
    lines=frozenset({"alice", "bob"}),
    numbers={"+4930555": "alice"},
    incoming="",
)

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 7000 RTP/AVP 8 101\r\n"
ANSWER = SDP.replace(b"192.0.2.9", b"198.51.100.8")


@dataclass(frozen=True)
class Heard:
    """What one side was sent, and where."""

    at: float
    message: Message
    remote: Address | None = None

    @property
    def line(self) -> str:
        m = self.message
        return f"{m.status} {m.cseq.method}" if isinstance(m, Response) else m.method


class TrunkBench:
    """The trunk, and what both sides of it hear. `answers` is how the provider answers requests at once."""

    def __init__(self, terms: TrunkTerms = TERMS, **changes: object) -> None:
        self.terms = replace(terms, **changes)  # type: ignore[arg-type]
        self.now = 0.0
        self.trunk = Trunk(self.terms, PEER_SIDE, random.Random(1))
        self.overlay: list[Heard] = []
        self.provider: list[Heard] = []
        self.notes: list[Note] = []
        self.effects: list[Effect] = []
        self.registrar = Registrar(self)
        self.answers: Callable[[Request], Response | None] = self.registrar
        self.is_found = True
        self.servers = [PROVIDER]
        self.dead: set[Address] = set()
        """Of the servers those that say nothing."""
        self.branches = itertools.count(1)

    def up(self) -> TrunkBench:
        """Registered, and answering."""
        self.trunk.start(self.now)
        self.run(1.0)
        assert self.trunk.health.is_up, self.trunk.health.failure
        self.provider.clear()
        return self

    # Time

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._collect()
            due = self.trunk.next_deadline()
            if due is None or due.at > end:
                self.now = end
                return
            self.now = max(self.now, due.at)
            self.trunk.handle_timeout(self.now)

    def _collect(self) -> None:
        while effects := self.trunk.drain():
            for effect in effects:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case ToServer(data):
                if (said := _read(data)) is not None:
                    self.overlay.append(Heard(self.now, said))
            case ForTrunk(_, SendUdp(_, remote, data)):
                assert remote.host in {each.host for each in (PROVIDER, SECOND, THIRD, STRANGER)}
                if (message := _read(data)) is None:
                    return
                self.provider.append(Heard(self.now, message, remote))
                if remote in self.dead or not isinstance(message, Request):
                    return
                if (answer := self.answers(message)) is not None:
                    self.from_provider(answer, remote)
            case Ask(token, FindTrunk()):
                if self.is_found:
                    self.trunk.handle_answer(token, TrunkFound(tuple(self.servers), HERE), self.now)
            case Note():
                self.notes.append(effect)
            case _:
                self.effects.append(effect)

    # What both sides say

    def from_provider(self, message: Message | bytes, remote: Address = PROVIDER) -> None:
        data = message if isinstance(message, bytes) else message.encode()
        self.trunk.handle_wire(Datagram(HERE, remote, data), self.now)
        self._collect()

    def from_overlay(self, message: Message | bytes) -> None:
        self.trunk.handle_message(message if isinstance(message, bytes) else message.encode(), self.now)
        self._collect()

    def dial(self, number: str = "+4912345", *, asserted: str = "alice", extra: str = "", body: bytes = SDP) -> Request:
        """An INVITE as the server delivers it."""
        n = next(self.branches)
        identity = f"P-Asserted-Identity: <sip:{asserted}@{REALM}>\r\n" if asserted else ""
        kind = "Content-Type: application/sdp\r\n" if body else ""
        invite = parse(
            f"INVITE sip:{number}@{REALM};gr=x;gateway SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKo{n}\r\n"
            f"Max-Forwards: 70\r\nFrom: Alice <sip:alice@{REALM}>;tag=a{n}\r\nTo: <sip:{number}@{REALM}>\r\n"
            f"Call-ID: o{n}\r\nCSeq: 7 INVITE\r\nContact: <sip:alice@{REALM};gr=y>\r\n"
            f"Record-Route: <sip:peer@{REALM};lr>\r\n{identity}{extra}{kind}\r\n".encode()
            + body
        )
        assert isinstance(invite, Request)
        self.from_overlay(invite)
        return invite

    def ring(
        self,
        *,
        uri: str = "sip:4930555@192.0.2.1:40000",
        to: str = "sip:+4930555@tel",
        from_: str = "sip:+49777@tel",
        contact: str = "sip:gw@198.51.100.7",
        extra: str = "",
        remote: Address = PROVIDER,
    ) -> Request:
        """The provider calls."""
        n = next(self.branches)
        invite = parse(
            f"INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {remote};branch=z9hG4bKi{n}\r\nMax-Forwards: 70\r\n"
            f'From: "Mum" <{from_}>;tag=i{n}\r\nTo: <{to}>\r\nCall-ID: i{n}\r\nCSeq: 1 INVITE\r\n'
            f"Contact: <{contact}>\r\n{extra}Content-Type: application/sdp\r\n\r\n".encode()
            + SDP
        )
        assert isinstance(invite, Request)
        self.from_provider(invite, remote)
        return invite

    def within(
        self,
        method: str,
        last: Message,
        cseq: int,
        *,
        extra: str = "",
        body: bytes = b"",
        by: str = "overlay",
        remote: Address = PROVIDER,
    ) -> Request:
        """A request in the dialog of `last`: a response that this side has got, or a request that it was sent."""
        n = next(self.branches)
        own, other = (last.from_, last.to) if isinstance(last, Response) else (last.to, last.from_)
        host, uri = ("127.0.0.1:5060", last.contacts[0].uri) if last.contacts else ("127.0.0.1:5060", f"sip:x@{REALM}")
        request = parse(
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bKw{n}\r\nMax-Forwards: 70\r\n"
            f"From: {own}\r\nTo: {other}\r\nCall-ID: {last.call_id}\r\nCSeq: {cseq} {method}\r\n{extra}\r\n".encode()
            + body
        )
        assert isinstance(request, Request)
        if by == "overlay":
            self.from_overlay(request)
        else:
            self.from_provider(request, remote)
        return request

    def cancel(self, invite: Request, *, extra: str = "", by: str = "overlay") -> None:
        """The side that has sent an INVITE cancels it."""
        head = invite.replace(fields=invite.fields.without("content-type"), body=b"").encode()
        head = head.replace(b"INVITE ", b"CANCEL ", 1).replace(b" INVITE\r\n", b" CANCEL\r\n")
        (self.from_overlay if by == "overlay" else self.from_provider)(head[:-2] + extra.encode() + b"\r\n")

    def answer(
        self,
        request: Request,
        status: int,
        *extra: tuple[str, object],
        body: bytes = b"",
        tag: str = "p",
        contact: str = "sip:gw@198.51.100.7",
        remote: Address = PROVIDER,
    ) -> Response:
        """The provider answers, by one of its servers."""
        fields = [("Contact", f"<{contact}>"), *extra]
        fields += [("Content-Type", "application/sdp")] if body else []
        response = make_response(request, status, to_tag=tag, extra=fields, body=body)
        self.from_provider(response, remote)
        return response

    def reply(self, request: Request, status: int, *extra: tuple[str, object], body: bytes = b"") -> Response:
        """The overlay answers."""
        fields = [("Contact", f"<sip:alice@{REALM};gr=z>"), *extra]
        fields += [("Content-Type", "application/sdp")] if body else []
        response = make_response(request, status, to_tag="ov", extra=fields, body=body)
        self.from_overlay(response)
        return response

    # What both have heard

    def lines(self, side: str) -> list[str]:
        return [heard.line for heard in (self.overlay if side == "overlay" else self.provider)]

    def last(self, side: str, line: str) -> Message:
        heard = self.overlay if side == "overlay" else self.provider
        found = [each.message for each in heard if each.line == line]
        assert found, f"no {line} among {self.lines(side)}"
        return found[-1]

    def sent_to(self, remote: Address) -> list[str]:
        """What one of the provider's servers was sent."""
        return [heard.line for heard in self.provider if heard.remote == remote]

    def request(self, side: str, method: str) -> Request:
        found = self.last(side, method)
        assert isinstance(found, Request)
        return found

    def response(self, side: str, line: str) -> Response:
        found = self.last(side, line)
        assert isinstance(found, Response)
        return found

    def talking(self) -> tuple[Request, Request]:
        """A call that goes out and is answered: the INVITEs of both sides."""
        invite = self.dial()
        sent = self.request("provider", "INVITE")
        self.answer(sent, 200, body=ANSWER)
        self.within("ACK", self.response("overlay", "200 INVITE"), 7)
        return invite, sent


def _read(data: bytes) -> Message | None:
    """What the trunk says; None for an answer that has the fields of what was asked, damaged as they may be."""
    try:
        return parse(data)
    except BadMessage:
        assert data.startswith((b"SIP/2.0 4", b"SIP/2.0 505"))
        return None


class Registrar:
    """A provider that wants a password for all but ACK and CANCEL, and answers REGISTER and OPTIONS."""

    def __init__(self, bench: TrunkBench, lifetime_s: float = 300.0) -> None:
        self.bench = bench
        self.authenticator = Authenticator("tel", random.Random(4), ("MD5",), lifetime_s)
        self.ha1s = ha1_by_algorithm("4930555", "tel", "secret")
        self.challenged = 0
        self.is_there = True
        self.asks_for_invites = True
        self.refuses = 0
        self.says_stale = True
        self._seen: set[str] = set()

    def __call__(self, request: Request) -> Response | None:
        is_repeated = request.via.branch in self._seen
        self._seen.add(request.via.branch)
        if not self.is_there or is_repeated or request.method in ("ACK", "CANCEL"):
            return None
        if request.method == "OPTIONS":
            return make_response(request, 200, to_tag="o")
        if self.refuses:
            return make_response(request, self.refuses, to_tag="r")
        if request.method in ("REGISTER", "INVITE") and (asked := self._challenge(request)) is not None:
            return asked
        if request.method != "REGISTER":
            return None
        return make_response(
            request, 200, to_tag="r", extra=[("Contact", request.contacts[0].with_param("expires", "60"))]
        )

    def _challenge(self, request: Request) -> Response | None:
        if request.method == "INVITE" and not self.asks_for_invites:
            return None
        is_register = request.method == "REGISTER"
        credentials = self.authenticator.find(
            request.fields.lines("authorization" if is_register else "proxy-authorization")
        )
        verdict = None
        if credentials is not None:
            verdict = self.authenticator.check(request.method, credentials, (self.ha1s,), "", self.bench.now)
        if verdict is Worth.VALID:
            return None
        self.challenged += 1
        challenge = self.authenticator.challenges("", self.bench.now, stale=self.says_stale and verdict is Worth.STALE)[
            0
        ]
        name = "WWW-Authenticate" if is_register else "Proxy-Authenticate"
        return make_response(request, 401 if is_register else 407, to_tag="c", extra=[(name, challenge)])
