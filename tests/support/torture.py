"""The messages of RFC 4475, and the three elements that it speaks of: a proxy, a registrar, an endpoint.

The proxy is between an agent and another peer at which every user is; the registrar knows everybody's password; the
endpoint is our user agent.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from agent_bench import BOB, bob_alone
from agent_bench import SERVER as CALLER
from sip_world import Recorder

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.questions import (
    Credential,
    FindCredential,
    Hops,
    Located,
    LocateUser,
    ResolveUri,
    Target,
)
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message import digest
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowData, FlowUp, FromAgent
from p2psip.sip.transports.effects import SendFlow, SendUdp
from p2psip.sip.transports.hops import FlowHop
from p2psip.sip.transports.layer import Listener

LOCAL = Address("192.0.2.200", 5060)
REMOTE = Address("192.0.2.5", 5060)


def read_messages() -> dict[str, bytes]:
    text = (Path(__file__).parents[1] / "rfc/rfc4475_messages.txt").read_text("utf-8")
    _, *parts = re.split(r"(?m)^== (\w+)\n", text)
    return {name: expand(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def expand(text: str) -> bytes:
    """The notation of RFC 4475 section 2 and appendix A."""
    text = re.sub(r"<allOneLine>\n(.*?)\n</allOneLine>", lambda m: m[1].replace("\n", ""), text, flags=re.DOTALL)
    text = re.sub(r"<repeat count=(\d+)>(.*?)</repeat>", lambda m: m[2] * int(m[1]), text)
    data = text.replace("\n", "\r\n").encode()
    if b"\r\n\r\n" not in data:
        data += b"\r\n"
    return re.sub(
        rb"<hex>(.*?)</hex>", lambda m: bytes.fromhex(re.sub(rb"\s", b"", m[1]).decode()), data, flags=re.DOTALL
    )


MESSAGES = read_messages()


def request_of(name: str) -> Request:
    message = parse(MESSAGES[name])
    assert isinstance(message, Request)
    return message


def response_of(name: str) -> Response:
    message = parse(MESSAGES[name])
    assert isinstance(message, Response)
    return message


def read_everything(message: Message) -> None:
    """Parse every field that this stack knows."""
    _ = message.vias, message.contacts, message.routes, message.record_routes, message.max_forwards, message.expires
    _ = message.reasons, message.content_type, message.from_, message.to


class Element:
    """A server of example.com and other domains in the messages; who is asked for is at another peer."""

    def __init__(self) -> None:
        domains = frozenset({"example.com", "example.org", "company.com", "example.net", "chair-dnrc.example.com"})
        config = ServerConfig("example.com", domains, (Listener("UDP", LOCAL),), SipUri("peers.invalid", "ours"))
        self.agent = Recorder("agent", "*99")
        self.server = SipServer(config, random.Random(0), (self.agent,))
        self.server.handle(FlowUp(1, "TLS", LOCAL, Address("192.0.2.201", 5062), "ab" * 16), 0.0)
        self.asked: list[object] = []
        self.answered: list[bytes] = []
        """To the phone; what is to the agent, it has."""
        self.forwarded: list[bytes] = []

    def receive(self, arrival: Arrival) -> None:
        self.server.handle(arrival, 0.0)
        while effects := self.server.drain():
            for effect in effects:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Ask(token, question):
                self.asked.append(question)
                self.server.handle_answer(token, self._answer(question), 0.0)
            case SendFlow(1, data):
                self.forwarded.append(data)
            case SendUdp(_, _, data):
                self.answered.append(data)

    def _answer(self, question: object) -> object:
        match question:
            case LocateUser(uri):
                return Located((Target(uri, (FlowHop(1),), "elsewhere"),))
            case FindCredential(user, realm):
                return Credential(user.lower(), (digest.ha1_by_algorithm(user, realm, "secret"),))
        assert isinstance(question, ResolveUri)
        return Hops((FlowHop(1),))


def answers(name: str) -> list[bytes]:
    """What a phone is answered that sends this."""
    element = Element()
    element.receive(Datagram(LOCAL, REMOTE, MESSAGES[name]))
    return element.answered


def statuses(name: str) -> list[int]:
    """The status codes alone: an answer to a malformed request copies what is malformed."""
    return [int(data.split(b" ")[1]) for data in answers(name)]


def answer(name: str) -> Response:
    [data] = answers(name)
    message = parse(data)
    assert isinstance(message, Response)
    return message


CHANGED = {"via", "max-forwards", "max-breadth", "record-route", "session-expires", "content-length"}
"""What a proxy changes in a request (RFC 3261 section 16.6, RFC 4028 section 8.1)."""


def forwarded(name: str, data: bytes = b"") -> tuple[Request, Element]:
    """What a proxy makes of it; it is the same but for what it has to change."""
    element = Element()
    element.receive(FromAgent("agent", data or MESSAGES[name]))
    [sent] = element.forwarded
    copy, original = parse(sent), parse(data or MESSAGES[name])
    assert isinstance(copy, Request)
    assert isinstance(original, Request)
    assert copy.start_line() == original.start_line()
    assert copy.body == original.body
    for key in {key for key, _, _ in (*original.fields, *copy.fields)} - CHANGED:
        assert copy.fields.lines(key) == original.fields.lines(key), key
    assert [via.branch for via in copy.vias[1:]] == [via.branch for via in original.vias]
    assert copy.fields.values("via")[2:] == original.fields.values("via")[1:]
    assert copy.max_forwards == (70 if original.max_forwards is None else original.max_forwards - 1)
    before, after = (message.fields.values("record-route") for message in (original, copy))
    assert after[len(after) - len(before) :] == before
    asked = original.fields.lines("session-expires")
    assert copy.fields.lines("session-expires") == (asked or ["1800"] if copy.method == "INVITE" else asked)
    return copy, element


def registered(name: str, data: bytes = b"") -> Response:
    """What a registrar answers to who knows the password."""
    element, sent = Element(), data or MESSAGES[name]
    element.receive(Datagram(LOCAL, REMOTE, sent))
    challenged, request = parse(element.answered.pop()), parse(sent)
    assert isinstance(challenged, Response)
    assert isinstance(request, Request)
    assert challenged.status == 401
    [challenge] = digest.read_all(challenged.fields.lines("www-authenticate"))
    uri = request.to.uri
    user = uri.user_name if isinstance(uri, SipUri) else "somebody"
    a1_hash = digest.ha1(user, "example.com", "secret")
    credentials = digest.answer_challenge(
        challenge, user=user, a1_hash=a1_hash, method="REGISTER", uri=request.uri_text, cnonce="c"
    )
    line, _, rest = sent.replace(b"branch=z9hG4bK", b"branch=z9hG4bKagain", 1).partition(b"\r\n")
    element.receive(Datagram(LOCAL, REMOTE, b"%s\r\nAuthorization: %s\r\n%s" % (line, str(credentials).encode(), rest)))
    [answer] = [parse(data) for data in element.answered]
    assert isinstance(answer, Response)
    assert element.forwarded == []
    return answer


def endpoint(name: str) -> list[Response]:
    """What our user agent answers."""
    wire, _ = bob_alone()
    wire.send(CALLER, BOB, MESSAGES[name])
    wire.run(0.2)
    assert all(isinstance(seen.message, Response) for seen in wire.seen)
    return [seen.message for seen in wire.seen if isinstance(seen.message, Response)]


def passed_back(name: str) -> tuple[list[bytes], Element]:
    """What becomes of the status line of a response, where the rest of it answers a request that was forwarded."""
    _, element = forwarded("lwsdisp")
    [sent] = element.forwarded
    request = parse(sent)
    assert isinstance(request, Request)
    line, rest = MESSAGES[name].partition(b"\r\n")[0], make_response(request, 200, to_tag="t").encode()
    element.receive(FlowData(1, line + rest[rest.index(b"\r\n") :]))
    return element.agent.delivered, element
