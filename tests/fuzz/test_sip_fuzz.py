"""SIP from strangers: any bytes end in a value or in BadMessage, and a server outlives all of them in little memory."""

from __future__ import annotations

import contextlib
import random

import pytest
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st
from web_client import WebEnd

from p2psip.base.address import Address
from p2psip.base.effects import Ask
from p2psip.sip.entities.agents.state_agent import state_target
from p2psip.sip.entities.config import ServerConfig, ServerLimits
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
from p2psip.sip.entities.server import SipServer
from p2psip.sip.events.limits import EventLimits
from p2psip.sip.message import digest
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.grammar import split_list
from p2psip.sip.message.headers import AuthParams, Event, NameAddr, Reason, Via
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_uri
from p2psip.sip.transports.arrivals import Datagram, FlowData, FlowDown, FlowUp, FromAgent
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp, ToAgent
from p2psip.sip.transports.flow_table import TransportLimits
from p2psip.sip.transports.framing import StreamFraming
from p2psip.sip.transports.hops import FlowHop, LocalHop, StreamHop, UdpHop
from p2psip.sip.transports.layer import Listener

LOCAL = Address("10.0.0.1", 5060)
HOSTS = [Address("10.0.0.2", 5060), Address("10.0.0.3", 40_000)]
PEER = "ab" * 16

REQUEST = """{method} {uri} SIP/2.0
Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK{branch};rport
Via: SIP/2.0/TLS peer.invalid;branch=z9hG4bKpeer.00000000
Max-Forwards: 70
From: "Alice" <sip:alice@overlay>;tag=a
To: <sip:bob@overlay>{tag}
Call-ID: call{branch}
CSeq: 7 {method}
Contact: <sip:alice@10.0.0.2:5060>;q=0.5;expires=600
Route: <sip:10.0.0.1;lr>{route}
Expires: 600
Max-Breadth: 20
Proxy-Authorization: Digest username="alice", realm="overlay", nonce="1.1.ff", uri="sip:bob@overlay", response="00"
Reason: SIP;cause=200;text="x"
Event: {event};id=1
P-Asserted-Identity: <sip:{asserted}@overlay>
Content-Length: 4

body"""
RESPONSE = """SIP/2.0 {status} Phrase
Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK{branch}
Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKx
From: <sip:alice@overlay>;tag=a
To: <sip:bob@overlay>;tag=b
Call-ID: c
CSeq: 7 INVITE
Record-Route: <sip:10.0.0.1;lr>
WWW-Authenticate: Digest realm="overlay", nonce="n", qop="auth"
Contact: <sip:bob@10.0.0.3>
Content-Length: 0

"""
WORDS = [
    *(bytes([byte]) for byte in b' \t\r\n,;="<>\\\0\xff:@?*'),
    *[b"\r\n", b"%00", b"sip:", b"tel:", b"z9hG4bK", b"99999999999", b"-1", b"[::1]", b";lr", b"Route: <sip:x;lr>\r\n"],
]

methods = st.sampled_from(
    ["INVITE", "ACK", "CANCEL", "BYE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "PUBLISH", "FOO"]
)
uris = st.sampled_from(
    [
        "sip:bob@overlay",
        "sip:bob@10.0.0.1",
        "sip:10.0.0.1",
        "sip:b@10.0.0.3:5060",
        "sip:x@203.0.113.1",
        "sip:a@n",
        "tel:1",
    ]
)
requests = st.builds(
    REQUEST.format,
    method=methods,
    uri=uris,
    branch=st.integers(0, 3),
    tag=st.sampled_from(["", ";tag=b"]),
    route=st.sampled_from(["", ", <sip:abababababababababababababababab@overlay;lr>"]),
    event=st.sampled_from(["dialog", "presence", "message-summary", "conference"]),
    asserted=st.sampled_from(["alice", "bob"]),
)
responses = st.builds(
    lambda status, branch: RESPONSE.format(status=status, branch=branch),
    st.sampled_from([100, 180, 200, 302, 401, 404, 487, 503, 603]),
    st.integers(0, 3),
)
sound = st.one_of(requests, responses).map(lambda text: text.replace("\n", "\r\n").encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound message with up to three pieces replaced, each by something that means something to a parser."""
    data = draw(sound)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 20)))
        data = data[:start] + draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=6))) + data[end:]
    return data


anything = st.one_of(damaged(), st.binary(max_size=200))


def read_everything(message: Message) -> None:
    """Each lazily read field ends in a value or in BadMessage."""
    names = "vias via from_ to call_id cseq contacts has_star_contact routes record_routes max_forwards expires reasons"
    for name in [*names.split(), "event", "uri", "sip_uri", "content_type"]:
        with contextlib.suppress(BadMessage, AttributeError):
            getattr(message, name)
    for key in ("proxy-authorization", "www-authenticate"):
        with contextlib.suppress(BadMessage):
            digest.read_all(message.fields.lines(key))


@given(anything)
@settings(max_examples=times(100))
def test_parse_gives_a_message_or_bad_message(data: bytes) -> None:
    """And what is read, written and read again stays the same."""
    try:
        message = parse(data)
    except BadMessage:
        return
    read_everything(message)
    written = message.encode()
    again = parse(written)
    assert type(again) is type(message)
    assert again.encode() == written
    try:
        vias = message.fields.values("via")
    except BadMessage:
        # One below the topmost, which is for whom it is.
        return
    assert again.fields.values("via") == vias


@pytest.mark.long
@given(st.text(max_size=60))
@settings(max_examples=times(100))
def test_values_are_read_or_refused(text: str) -> None:
    for read in (parse_uri, NameAddr.parse, Via.parse, AuthParams.parse, Reason.parse, Event.parse, split_list):
        with contextlib.suppress(BadMessage):
            value = read(text)
            if not isinstance(value, list | AuthParams):
                assert (
                    type(value).parse(str(value)) == value
                    if hasattr(value, "parse")
                    else parse_uri(str(value)) == value
                )


@given(st.lists(anything, max_size=4), st.integers(1, 30))
@settings(max_examples=times(100))
def test_any_stream_is_cut_or_refused(pieces: list[bytes], size: int) -> None:
    framer = StreamFraming()
    stream = b"".join(pieces)
    with contextlib.suppress(BadMessage):
        for at in range(0, len(stream), size):
            for message in framer.feed(stream[at : at + size]):
                with contextlib.suppress(BadMessage):
                    parse(message)


PAGE = 5
HANDSHAKE = WebEnd().handshake("10.0.0.1")


def frame(payload: bytes) -> bytes:
    """A binary message of WebSocket in one frame, masked with nothing."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x82" + length + bytes(4) + payload


def make_server() -> SipServer:
    config = ServerConfig(
        "overlay",
        frozenset({"overlay", "10.0.0.1"}),
        (Listener("UDP", LOCAL), Listener("TCP", LOCAL), Listener("WS", LOCAL)),
        SipUri("overlay", "cd" * 16),
        limits=ServerLimits(transactions=20, questions=10, phones=4),
        events=EventLimits(subscriptions=5, per_watcher=3, publications=4, publications_per_line=2, calls_per_line=3),
        transport_limits=TransportLimits(flows=4),
    )
    return SipServer(config, random.Random(5))


def answer_for(question: object, choice: int) -> object:
    hops = [(UdpHop(HOSTS[1]),), (FlowHop(1), StreamHop("TCP", HOSTS[1])), (LocalHop("echo"),), ()][choice]
    match question:
        case FindCredential():
            ha1s = digest.ha1_by_algorithm("alice", "overlay", "x")
            return Credential("alice", (ha1s,)) if choice else NoCredential("no line")
        case ResolveUri():
            return Hops(hops) if choice else NotLocated(403, "Forbidden")
        case LocateUser(is_about_state=True) if choice:
            return Located((state_target("bob", "overlay"),))
        case LocateUser():
            targets = (Target(SipUri("overlay", "bob"), hops), Target(SipUri("10.0.0.3", "bob"), None, "numeric"))
            return Located(targets[: choice + 1]) if choice < 3 else NotLocated(404, "Not Found", "nobody\r\nhere")
    raise AssertionError(question)


steps = st.one_of(
    st.tuples(st.just("datagram"), anything),
    st.tuples(st.just("datagram"), sound),
    st.tuples(st.just("local"), sound),
    st.tuples(st.just("peer"), sound),
    st.tuples(st.just("phone"), anything),
    st.tuples(st.just("page"), st.one_of(anything, sound)),
    st.tuples(st.just("frames"), st.binary(max_size=64)),
    st.tuples(st.just("echo back"), st.sampled_from([100, 180, 200, 404, 503, 603])),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 5.0, 40.0])),
    st.tuples(st.just("close"), st.sampled_from([1, 2, 3, PAGE])),
    st.tuples(st.just("answer"), st.integers(0, 3)),
    st.tuples(st.just("call"), st.sampled_from([100, 180, 200, 404, 503, 603])),
    st.tuples(
        st.just("watch"), st.sampled_from([("dialog", "SUBSCRIBE"), ("presence", "SUBSCRIBE"), ("presence", "PUBLISH")])
    ),
)


class Driver:
    """Feeds a server what the steps say, and watches what comes out."""

    def __init__(self) -> None:
        self.server = make_server()
        self.now = 0.0
        self.asked: list[Ask] = []
        self.sent: list[Request] = []
        self.server.handle(FlowUp(1, "TLS", LOCAL, HOSTS[0], PEER), 0.0)

    def step(self, kind: str, what: object) -> None:
        server, now = self.server, self.now
        if kind == "datagram":
            server.handle(Datagram(LOCAL, HOSTS[0], what), now)
        elif kind == "local":
            server.handle(FromAgent("echo", what), now)
        elif kind == "peer":
            server.handle(FlowData(1, what), now)
        elif kind == "phone":
            server.handle(FlowUp(3, "TCP", LOCAL, HOSTS[1]), now)
            server.handle(FlowData(3, what), now)
        elif kind == "page":
            server.handle(FlowUp(PAGE, "WS", LOCAL, HOSTS[1]), now)
            server.handle(FlowData(PAGE, HANDSHAKE), now)
            server.handle(FlowData(PAGE, frame(what)), now)
        elif kind == "frames":
            server.handle(FlowData(PAGE, what), now)
        elif kind == "close":
            server.handle(FlowDown(what, "closed"), now)
        elif kind == "answer" and self.asked:
            ask = self.asked.pop(0)
            server.handle_answer(ask.token, answer_for(ask.question, what), now)
        elif kind == "echo back" and self.sent:
            answer = Response(what, "Phrase", self.sent[-1].fields)
            server.handle(Datagram(LOCAL, HOSTS[1], answer.encode()), now)
        elif kind == "call":
            # A peer's INVITE for whom the overlay has found: the branches come into being, and one answers.
            invite = {"method": "INVITE", "uri": "sip:bob@overlay", "branch": what, "tag": "", "route": ""}
            text = REQUEST.format(**invite, event="dialog", asserted="alice")
            server.handle(FlowData(1, text.replace("\n", "\r\n").encode()), now)
            self.take()
            self.step("answer", what % 3)
            self.step("echo back", what)
        elif kind == "watch":
            event, method = what
            asked = {"method": method, "uri": "sip:bob@overlay", "branch": f"{self.now}", "tag": "", "route": ""}
            text = REQUEST.format(**asked, event=event, asserted="bob")
            server.handle(FlowData(1, text.replace("\n", "\r\n").encode()), now)
            self.take()
            self.step("answer", 1)
        elif kind == "wait":
            self.wait(what)
        self.take()

    def wait(self, for_s: float) -> None:
        end = self.now + for_s
        for _ in range(10_000):
            deadline = self.server.next_deadline()
            if deadline is None or deadline.at > end:
                self.now = end
                return
            self.now = max(self.now, deadline.at)
            self.server.handle_timeout(self.now)
            self.take()
        raise AssertionError("time does not pass")

    def take(self) -> None:
        for effect in self.server.drain():
            match effect:
                case Ask():
                    self.asked.append(effect)
                case SendUdp(_, remote, data):
                    # No packet goes to a host that nobody vouches for.
                    assert remote.host in ("10.0.0.2", "10.0.0.3"), remote
                    self.note(data)
                case SendFlow(flow) if flow == PAGE:
                    pass
                case ToAgent(_, data) | SendFlow(_, data) if data.strip():
                    self.note(data)
                case OpenFlow(flow, _, remote):
                    assert remote.host in ("10.0.0.2", "10.0.0.3"), remote
                    assert flow % 2 == 0
                case CloseFlow(1):
                    self.server.handle(FlowUp(1, "TLS", LOCAL, HOSTS[0], PEER), self.now)
        counts = self.server.counts
        assert counts["transactions"] <= 20
        assert counts["requests under way"] <= 20
        assert counts["subscriptions"] <= 5
        assert counts["publications"] <= 4

    def note(self, data: bytes) -> None:
        """What the server sends can be read, unless it answers what cannot."""
        try:
            message = parse(data)
        except BadMessage:
            assert data.startswith((b"SIP/2.0 4", b"SIP/2.0 5"))
            return
        if isinstance(message, Request) and message.method != "ACK":
            self.sent.append(message)


@pytest.mark.long
@given(st.lists(steps, max_size=30))
@settings(max_examples=times(100))
def test_server_outlives_anything(script: list[tuple[str, object]]) -> None:
    driver = Driver()
    for kind, what in script:
        driver.step(kind, what)
    # Whatever was under way has ended after timer C and what follows it.
    driver.wait(400.0)
    driver.wait(8000.0)
    counts = driver.server.counts
    left = [counts[name] for name in ("transactions", "requests under way", "users", "subscriptions", "publications")]
    assert left == [0, 0, 0, 0, 0]
