"""RFC 7118, The WebSocket Protocol as a Transport for SIP: a browser's phone at a peer, in virtual time."""

from __future__ import annotations

import pytest
from sip_world import Server, World
from web_client import INVALID, PageAgent, WebClient
from world_phone import Phone
from wsproto.events import CloseConnection

from p2psip.base.address import Address
from p2psip.base.effects import Note
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import AcceptedTransport
from p2psip.sip.transports.layer import Listener

HOST = "10.1.0.1"
INSTANCE = '"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"'


def server_of(world: World) -> Server:
    """A peer with all that phones connect by."""
    address = Address(HOST, 5060)
    listeners = (
        Listener("UDP", address),
        Listener("TCP", address),
        Listener("TLS", Address(HOST, 5061)),
        Listener("WS", Address(HOST, 5066)),
        Listener("WSS", Address(HOST, 5067)),
    )
    return world.server("one", HOST, listeners=listeners, web_origins=frozenset({"https://www.example.com"}))


class Page(PageAgent):
    """Alice at a peer, over a connection of her own."""

    def __init__(self, world: World, server: Server, transport: AcceptedTransport = "WS", user: str = "alice") -> None:
        password = world.passwords.setdefault(user, f"secret of {user}")
        super().__init__(user, HOST, password, transport)
        homes = world.homes.setdefault(user, [])
        if server.name not in homes:
            homes.append(server.name)
        self.client = WebClient(world, server, transport=transport, origin="https://www.example.com")

    def ask(self, request: Request) -> Response:
        """Send a request, with credentials if they are asked for: the last answer."""
        response = self._send(request)
        return response if response.status not in (401, 407) else self._send(self.answered(request, response))

    def say(self, request: Request) -> None:
        """Send a request."""
        self.client.say(self.text(request))

    def register(self, **contact: str) -> Response:
        """Her Contact, with these parameters."""
        return self.ask(self.registration(**contact))

    def requests(self, method: str) -> list[Request]:
        """What she has been asked."""
        return [one for one in self.client.received if isinstance(one, Request) and one.method == method]

    def _send(self, request: Request) -> Response:
        self.say(request)
        last = self.client.received[-1]
        assert isinstance(last, Response)
        return last


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def one(world: World) -> Server:
    return server_of(world)


@pytest.fixture
def bob(world: World, one: Server) -> Phone:
    """RFC 7118's Bob, on UDP at another peer."""
    other = world.server("two", "10.2.0.1")
    world.link(one, other)
    phone = world.phone("bob", other, Address("10.2.0.12", 5070))
    assert phone.register().status == 200
    return phone


def flow_targets(one: Server, world: World, user: str = "alice") -> list[str]:
    return [str(hop) for binding in one.core.bindings(user, world.now) for hop in binding.hops]


@pytest.mark.parametrize("transport", ["WS", "WSS"])
def test_8_1_registration(world: World, one: Server, transport: AcceptedTransport) -> None:
    """The connection is the only way to such a phone: neither its Contact nor where it comes from leads there."""
    page = Page(world, one, transport)
    ok = page.register(**{"reg-id": "1", "+sip.instance": INSTANCE})
    assert ok.status == 200
    assert ok.via.transport == transport
    assert ok.fields.tokens("require") == ["outbound"]
    assert flow_targets(one, world) == [f"connection {page.client.flow}"]


def test_5_3_a_client_at_its_own_address_cannot_be_connected_to_either(world: World, one: Server) -> None:
    """A program that is no browser knows its address; nobody listens there."""
    page = Page(world, one)
    page.contact = NameAddr(SipUri("10.1.0.50", "alice", 40_001, (("transport", "ws"),)))
    page.register()
    assert flow_targets(one, world) == [f"connection {page.client.flow}"]


@pytest.mark.must("7118 1/1", "7118 5.3/2", "7118 5.3/3")
def test_5_3_via_stays_as_it_is(world: World, one: Server) -> None:
    """5.3: "it MAY decide not to add a "received" parameter to the top Via header"; RFC 3581 adds it for who asks."""
    page = Page(world, one)
    assert page.register().via == Via("WS", INVALID, None, page.client.received[-1].via.params)
    assert [name for name, _ in page.client.received[-1].via.params] == ["branch"]
    asks = page.request("OPTIONS", SipUri(HOST), ("Via", f"SIP/2.0/WS {INVALID};branch=z9hG4bKr;rport"))
    page.client.say(asks.encode().decode())
    assert (page.client.received[-1].via.rport, page.client.received[-1].via.received) == (40_001, "10.1.0.50")


def test_8_2_a_call_by_a_page_and_the_end_by_the_other(world: World, one: Server, bob: Phone) -> None:
    """5.1: Via has WS or WSS; 5.2: our Record-Route has "transport=ws"; both ends reach each other in the dialog."""
    page = Page(world, one, "WSS")
    page.register()
    invite = page.request(
        "INVITE", SipUri(HOST, "bob"), ("Contact", page.contact), ("Content-Type", "application/sdp"), body=b"v=0\r\n"
    )
    page.ask(invite)
    world.run(2.0)
    ok = page.client.received[-1]
    assert isinstance(ok, Response)
    assert ok.status == 200
    ours = ok.record_routes[-1].sip_uri
    assert (ours.host, ours.port, ours.transport, ours.scheme) == (HOST, 5067, "WS", "sip")
    ack = make_request(
        "ACK",
        ok.contacts[0].sip_uri,
        from_=ok.from_,
        to=ok.to,
        call_id=ok.call_id,
        cseq=ok.cseq.number,
        routes=tuple(reversed(ok.record_routes)),
    )
    page.say(ack)
    assert bob.acks == 1
    bob.hang_up(bob.calls[0])
    world.run(1.0)
    (bye,) = page.requests("BYE")
    assert (bye.via.transport, bye.via.host, bye.via.port) == ("WSS", HOST, 5067)
    assert str(bye.uri) == str(page.contact.uri)
    page.client.say(make_response(bye, 200, to_tag="t").encode().decode())
    assert bob.finals[-1].status == 200


def test_a_page_is_called_over_its_connection(world: World, one: Server, bob: Phone) -> None:
    """5.2, 5.3: nothing is sent to "df7jal23ls0d.invalid", and nobody is connected to."""
    page = Page(world, one)
    page.register()
    call = bob.invite("alice")
    world.run(1.0)
    (invite,) = page.requests("INVITE")
    assert invite.via.transport == "WS"
    assert invite.uri_text == str(page.contact.uri)
    answer = make_response(invite, 200, to_tag="t", extra=[("Contact", page.contact)])
    page.client.say(answer.encode().decode())
    assert call.is_up
    assert len(page.requests("ACK")) == 1
    assert one.opened == []


def test_who_has_gone_is_away_at_once(world: World, one: Server, bob: Phone) -> None:
    page = Page(world, one)
    page.register()
    page.client.write(page.client.end.close())
    world.run(0.1)
    assert page.client.down == "closed by the other side"
    assert flow_targets(one, world) == []
    call = bob.invite("alice")
    world.run(1.0)
    assert call.statuses[-1] == 480


def test_a_page_that_is_loaded_again_rings_once(world: World, one: Server, bob: Phone) -> None:
    """Its network changed, and nobody has told the server that the connection of before is no more."""
    contact = {"reg-id": "1", "+sip.instance": INSTANCE}
    before = Page(world, one)
    assert before.register(**contact).status == 200
    again = Page(world, one)
    again.loaded = "later"
    again.contact = NameAddr(SipUri("another.invalid", "xyz", None, (("transport", "ws"),)))
    assert again.register(**contact).status == 200
    assert flow_targets(one, world) == [f"connection {again.client.flow}"]
    bob.invite("alice")
    world.run(1.0)
    assert (len(before.requests("INVITE")), len(again.requests("INVITE"))) == (0, 1)


def test_who_goes_in_the_middle_of_a_message_is_gone_as_well(world: World, one: Server) -> None:
    page = Page(world, one)
    page.register()
    page.client.write(page.client.end.say("OPTIONS", is_last=False))
    page.client.write(page.client.end.close())
    world.run(0.1)
    assert page.client.down
    assert flow_targets(one, world) == []


def test_a_response_has_no_other_way(world: World, one: Server, bob: Phone) -> None:
    """5.3: "SIP responses can only be sent over the existing WebSocket connection": no new one is opened for them."""
    page = Page(world, one)
    page.register()
    bob.answers_after_s = 3.0
    page.ask(page.request("INVITE", SipUri(HOST, "bob"), ("Contact", page.contact)))
    page.client.write(page.client.end.close())
    world.run(10.0)
    assert one.opened == []


def test_a_contact_of_a_page_that_nobody_knows_leads_nowhere(world: World, one: Server, bob: Phone) -> None:
    """Also where its host is a phone's: a WebSocket client cannot be connected to (5.3)."""
    phone = world.phone("carol", one, Address("10.1.0.13", 5060))
    assert phone.register().status == 200
    asked = phone.invite("sip:x@10.1.0.13:5060;transport=ws")
    world.run(2.0)
    assert asked.statuses[-1] >= 400
    assert not [
        data
        for _, remote, data in world.datagrams
        if b"sip:x@10.1.0.13" in data.split(b"\r\n")[0] and remote == phone.address
    ]
    assert one.opened == []


@pytest.mark.must("7118 9.2/1")
@pytest.mark.parametrize(("transport", "goes"), [("WSS", True), ("WS", False)])
def test_9_2_sips_takes_secure_websocket(world: World, one: Server, transport: AcceptedTransport, goes: bool) -> None:
    """9.2: "If such a path includes a WebSocket connection, it MUST be a secure WebSocket connection"."""
    page = Page(world, one, transport)
    page.aor = page.aor.replace(scheme="sips")
    page.contact = NameAddr(page.contact.sip_uri.replace(scheme="sips"))
    assert page.register().is_success == goes
    carol = world.phone("carol", one, Address("10.1.0.13", 5060), "TLS")
    assert carol.register().status == 200
    call = carol.invite(f"sips:alice@{HOST}")
    world.run(1.0)
    assert [invite.sip_uri.scheme for invite in page.requests("INVITE")] == (["sips"] if goes else [])
    if goes:
        ours = page.requests("INVITE")[0].record_routes[0].sip_uri
        assert (ours.scheme, ours.transport) == ("sips", "WS")
    else:
        assert call.statuses[-1] >= 400


@pytest.mark.must("7118 5/2")
def test_5_one_message_in_each(world: World, one: Server) -> None:
    """Section 5: "a WebSocket message MUST NOT contain more than one SIP message": what follows the first is none."""
    page = Page(world, one)
    first = page.request("OPTIONS", SipUri(HOST), ("Via", f"SIP/2.0/WS {INVALID};branch=z9hG4bK1"))
    second = page.request("OPTIONS", SipUri(HOST), ("Via", f"SIP/2.0/WS {INVALID};branch=z9hG4bK2"))
    page.client.say((first.encode() + second.encode()).decode())
    assert [one.via.branch for one in page.client.received] == ["z9hG4bK1"]


def test_a_bad_message_is_answered_and_the_next_is_served(world: World, one: Server) -> None:
    page = Page(world, one)
    good = page.request("OPTIONS", SipUri(HOST), ("Via", f"SIP/2.0/WS {INVALID};branch=z9hG4bK1")).encode().decode()
    page.client.say(good.replace("1 OPTIONS", "1 BYE"))
    page.client.say("garbage")
    page.client.say(good)
    assert [answer.status for answer in page.client.received if isinstance(answer, Response)] == [400, 200]


def test_6_a_silent_page_is_pinged_and_one_that_is_gone_is_noticed(world: World, one: Server) -> None:
    """No Flow-Timer is asked of a page, which knows nothing of CRLF: "by sending periodic WebSocket "Ping" frames"."""
    page = Page(world, one)
    ok = page.register(**{"reg-id": "1", "+sip.instance": INSTANCE})
    assert "flow-timer" not in ok.fields
    world.run(1800.0)
    assert page.client.down == ""
    assert 55 <= page.client.pings <= 60
    page.client.answers_pings = False
    world.run(61.0)
    assert page.client.down
    assert flow_targets(one, world) == []
    close = page.client.end.events[-1]
    assert isinstance(close, CloseConnection)
    assert (close.code, close.reason) == (1001, "no answer to a ping")


def test_who_connects_and_says_nothing_goes(world: World, one: Server) -> None:
    """With a handshake or without: what is half open costs nobody anything for longer than that."""
    page = Page(world, one)
    world.run(31.0)
    assert page.client.down
    close = page.client.end.events[-1]
    assert isinstance(close, CloseConnection)
    assert close.reason == "no whole message in time"


def test_who_is_refused_is_told_why_and_so_is_the_operator(world: World, one: Server) -> None:
    client = WebClient(world, one, origin="https://evil.example")
    assert client.raw.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"pages from https://evil.example may not connect" in client.raw
    assert client.down == "closed by the other side"
    note = Note(
        "no WebSocket with a phone",
        {"phone": "10.1.0.50:40001", "reason": "pages from https://evil.example may not connect"},
        is_warning=True,
    )
    assert note in one.notes


def test_a_page_that_was_refused_does_not_count(world: World, one: Server) -> None:
    for _ in range(3):
        WebClient(world, one, subprotocols=("chat",))
    page = Page(world, one)
    assert page.register().status == 200


@pytest.mark.must("7118 4.1/3", "7118 5/2")
def test_5_what_we_send_is_sip_one_message_in_each(world: World, one: Server, bob: Phone) -> None:
    """4.1: "Messages other than SIP requests and responses MUST NOT be transmitted over this connection"; 5: "Each SIP
    message MUST be carried within a single WebSocket message": also two that leave at once, the first with a body.
    """
    page = Page(world, one)
    page.register()
    two, three = (page.request("OPTIONS", SipUri(HOST), ("Call-ID", each)) for each in "23")
    bob.invite("alice")
    world.run(1.0)
    page.client.write(page.client.end.say(page.text(two)) + page.client.end.say(page.text(three)))
    world.run(1.0)
    said = [parse(text) for text in page.client.texts]
    assert [text for text, one in zip(page.client.texts, said, strict=True) if text != one.encode()] == []
    assert [one.body for one in page.requests("INVITE")] == [b"offer"]
    assert [one.cseq.method for one in said[-2:]] == ["OPTIONS", "OPTIONS"]


@pytest.mark.must("7118 5/1")
def test_5_nothing_is_sent_twice(world: World, one: Server, bob: Phone) -> None:
    """ "client and server transactions using WebSocket for transport MUST follow the procedures and timer values for
    reliable transports": a request that nobody answers, an INVITE, and a refusal that nobody acknowledges.
    """
    page = Page(world, one)
    page.register()
    sent = bob.message("alice")
    bob.send(sent)
    bob.invite("alice")
    world.run(40.0)
    assert (len(page.requests("MESSAGE")), len(page.requests("INVITE"))) == (1, 1)
    page.ask(page.request("INVITE", SipUri(HOST, "nobody"), ("Contact", page.contact)))
    world.run(40.0)
    refused = [one for one in page.client.received if isinstance(one, Response) and one.status == 404]
    assert len(refused) == 1


@pytest.mark.must("7118 7/3")
@pytest.mark.parametrize(
    ("cookie", "origin", "goes"),
    [
        ("sid=1234; other=5", "https://www.example.com", True),
        ("", "https://www.example.com", True),
        ("sid=1234; other=5", "https://evil.example", False),
    ],
)
def test_7_whose_page_it_is_says_origin_and_no_cookie(
    world: World, one: Server, cookie: str, origin: str, goes: bool
) -> None:
    client = WebClient(world, one, origin=origin, cookie=cookie)
    assert client.raw.startswith(b"HTTP/1.1 101 " if goes else b"HTTP/1.1 403 ")
