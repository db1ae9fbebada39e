"""The other end of SIP over WebSocket, as a browser speaks it (wsproto), and in the world of the SIP servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from world_phone import Flow
from wsproto import ConnectionType, WSConnection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.events import Request as Handshake

from p2psip.base.address import Address
from p2psip.sip.message import digest
from p2psip.sip.message.build import make_request
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import FlowArrival, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.hops import AcceptedTransport

if TYPE_CHECKING:
    from sip_world import Server, World


INVALID = "df7jal23ls0d.invalid"


class WebEnd:
    """Bytes to send, and what became of bytes that came."""

    def __init__(self) -> None:
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.events: list[Event] = []
        self._parts: list[str | bytes] = []

    def handshake(
        self, host: str, *, origin: str | None = None, subprotocols: Sequence[str] = ("sip",), cookie: str = ""
    ) -> bytes:
        """The request that opens a connection."""
        headers = [] if origin is None else [(b"Origin", origin.encode())]
        headers += [(b"Cookie", cookie.encode())] if cookie else []
        return self.connection.send(Handshake(host, "/", extra_headers=headers, subprotocols=list(subprotocols)))

    def say(self, message: str | bytes, *, is_last: bool = True) -> bytes:
        """A message, or some of it, as text or binary."""
        kind = TextMessage if isinstance(message, str) else BytesMessage
        return self.connection.send(kind(message, message_finished=is_last))

    def hear(self, data: bytes) -> list[bytes]:
        """The messages in what has come; all else is in `events`."""
        self.connection.receive_data(data)
        heard: list[bytes] = []
        for event in self.connection.events():
            self.events.append(event)
            if isinstance(event, TextMessage | BytesMessage):
                self._parts.append(event.data)
                if event.message_finished:
                    heard.append(b"".join(part.encode() if isinstance(part, str) else part for part in self._parts))
                    self._parts.clear()
        return heard

    def pong(self) -> bytes:
        """As every browser answers by itself."""
        return self.connection.send(Pong())

    def close(self, code: int = 1000) -> bytes:
        """As a page does that ends."""
        return self.connection.send(CloseConnection(code))


class PageAgent:
    """RFC 7118's Alice: a Contact and a sent-by that nobody can resolve (appendix B.1), and her password."""

    def __init__(self, user: str, host: str, password: str, transport: AcceptedTransport = "WS") -> None:
        self.user, self.transport = user, transport
        self.contact = NameAddr(SipUri(INVALID, user, None, (("transport", "ws"),)))
        self.aor = SipUri(host, user)
        self.loaded = "aiuy7k9njasd"
        """What its Call-IDs begin with: a page that is loaded again has others."""
        self._password = password
        self._sent = 0

    def request(self, method: str, uri: SipUri, *extra: tuple[str, object], body: bytes = b"") -> Request:
        """Of hers, all but Via and CSeq."""
        to = self.aor if method == "REGISTER" else uri
        return make_request(
            method,
            uri,
            from_=NameAddr(self.aor).with_tag("65bnmj"),
            to=NameAddr(to),
            call_id=f"{self.loaded}{method}",
            cseq=1,
            extra=extra,
            body=body,
        )

    def registration(self, **contact: str) -> Request:
        """A REGISTER for her Contact, with these parameters."""
        known = NameAddr(self.contact.uri, "", tuple(contact.items()))
        registrar = self.aor.replace(user=None)
        return self.request("REGISTER", registrar, ("Contact", known), ("Supported", "path, outbound"))

    def text(self, request: Request) -> str:
        """As it goes out: with a Via, the next CSeq, and no Content-Length (section 5: it "is not necessary")."""
        self._sent += 1
        number = request.cseq.number if request.method == "ACK" else self._sent
        via = Via(self.transport, INVALID, None, (("branch", f"z9hG4bKasudf{self._sent}"),))
        fields = request.fields.with_only("CSeq", f"{number} {request.method}")
        lines = request.replace(fields=fields).with_new_via(via).encode().decode().split("\r\n")
        return "\r\n".join(line for line in lines if not line.startswith("Content-Length"))

    def answered(self, request: Request, challenge: Response) -> Request:
        """The same with credentials."""
        is_own = challenge.status == 401
        name, key = ("Authorization", "www-authenticate") if is_own else ("Proxy-Authorization", "proxy-authenticate")
        chosen = digest.choose_challenge(digest.read_all(challenge.fields.lines(key)))
        assert chosen is not None
        credentials = digest.answer_challenge(
            chosen,
            user=self.user,
            a1_hash=digest.ha1(self.user, chosen.get("realm"), self._password, "MD5"),
            method=request.method,
            uri=request.uri_text,
            cnonce="1",
        )
        return request.replace(fields=request.fields.with_last(name, credentials))


class WebClient:
    """A page in the world of the servers: what it says is written by the test."""

    def __init__(
        self,
        world: World,
        server: Server,
        *,
        host: str = "10.1.0.50",
        transport: AcceptedTransport = "WS",
        answers_pings: bool = True,
        **handshake: object,
    ) -> None:
        self.world, self.server = world, server
        self.core = self
        self.end = WebEnd()
        self.raw = b""
        self.received: list[Message] = []
        self.texts: list[bytes] = []
        self.pings = 0
        self.down = ""
        self.answers_pings = answers_pings
        self.flow = server.next_flow()
        here = Flow(server, self.flow)
        self.flows = {self.flow: Flow(self, self.flow, here)}  # type: ignore[arg-type]
        here.other = self.flows[self.flow]
        server.flows[self.flow] = here
        local = Address(server.address.host, 5066 if transport == "WS" else 5067)
        server.core.handle(FlowUp(self.flow, transport, local, Address(host, 40_001)), world.now)
        self.write(self.end.handshake(f"{local.host}:{local.port}", **handshake))  # type: ignore[arg-type]
        world.run(0.1)

    def write(self, data: bytes) -> None:
        """Bytes, as they are."""
        self.server.core.handle(FlowData(self.flow, data), self.world.now)

    def say(self, message: str | bytes, for_s: float = 1.0) -> None:
        """One message of WebSocket, and time for what comes of it."""
        self.write(self.end.say(message))
        self.world.run(for_s)

    def handle(self, arrival: FlowArrival, now: float) -> None:
        """What comes."""
        if isinstance(arrival, FlowDown):
            self.down = arrival.reason
            return
        assert isinstance(arrival, FlowData)
        self.raw += arrival.data
        before = len(self.end.events)
        for message in self.end.hear(arrival.data):
            self.texts.append(message)
            if message.strip():
                self.received.append(parse(message))
        for event in self.end.events[before:]:
            if isinstance(event, Ping):
                self.pings += 1
                if self.answers_pings:
                    self.write(self.end.pong())
