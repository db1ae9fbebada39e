"""Which URIs are ours, and what a request says about its way."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.own import ServerName, is_own_domain, is_own_route, is_peer_itself
from p2psip.sip.entities.proxy import routing
from p2psip.sip.entities.proxy.context import Branch, BranchEnding, Context
from p2psip.sip.entities.questions import Target
from p2psip.sip.entities.registrar.tokens import TokenPlace, Tokens
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.hops import FlowHop, Source, UdpHop
from p2psip.sip.transports.layer import Listener, TransportLayer
from p2psip.sip.transports.own_addresses import OwnAddresses

LOCAL, LOCAL6 = Address("10.0.0.1", 5070), Address("2001:db8::1", 5070)
CONFIG = ServerConfig(
    "overlay",
    frozenset({"overlay", "pi.local", "10.0.0.1", "2001:db8::1"}),
    (Listener("UDP", LOCAL), Listener("UDP", LOCAL6), Listener("TCP", LOCAL)),
    parse_sip_uri("sip:peer-a@overlay;gr=AAAA"),
)
TOKENS = Tokens(random.Random(1))
PHONE = Source(UdpHop(Address("10.0.0.9", 5060), LOCAL), "UDP", Address("10.0.0.9", 5060))


def place_of(side: Source) -> TokenPlace:
    return TokenPlace(side.hop, side.remote.host, "alice", ServerName("pi.local", 5070))


@pytest.mark.must("3261 16.5/3")
@pytest.mark.parametrize(
    ("uri", "is_own"),
    [
        ("sip:bob@overlay", True),
        ("sip:bob@OVERLAY:5060", True),
        ("sip:bob@pi.local:5070", True),
        ("sip:bob@overlay:9999", False),
        ("sip:bob@10.0.0.1", True),
        ("sip:bob@10.0.0.1:5070", True),
        # A phone on the same machine.
        ("sip:bob@10.0.0.1:5082", False),
        ("sip:bob@10.0.0.1:5060", False),
        ("sip:bob@[2001:DB8::1]:5070", True),
        ("sip:bob@10.0.0.2", False),
        ("sip:bob@elsewhere", False),
    ],
)
def test_own_domains(uri: str, is_own: bool) -> None:
    assert is_own_domain(parse_sip_uri(uri), CONFIG) is is_own


@pytest.mark.parametrize(
    ("uri", "is_own"),
    [
        ("sip:peer-a@overlay;gr=AAAA;lr", True),
        ("sip:peer-a@overlay;gr=BBBB;lr", False),
        ("sip:peer-b@overlay;gr=AAAA;lr", False),
        ("sip:overlay;lr", True),
        ("sip:10.0.0.1:5070;lr", True),
        ("sip:anything@10.0.0.1:5070;lr", True),
        ("sip:10.0.0.1;lr", False),
        ("sip:10.0.0.1:5082;lr", False),
        ("sip:[2001:db8::1]:5070;lr", True),
        ("sip:elsewhere;lr", False),
    ],
)
def test_own_routes(uri: str, is_own: bool) -> None:
    assert is_own_route(parse_sip_uri(uri), CONFIG) is is_own


def test_listener_on_all_addresses_is_known_by_any_of_them() -> None:
    listeners = (Listener("UDP", Address("0.0.0.0", 5060)),)
    addresses = OwnAddresses(["10.0.0.1", "10.7.0.1"])
    config = ServerConfig("overlay", frozenset(), listeners, SipUri("overlay", "me"), addresses)
    hosts = ("10.0.0.1", "10.7.0.1", "10.8.0.1")

    def own() -> list[bool]:
        return [is_own_route(parse_sip_uri(f"sip:{host};lr"), config) for host in hosts]

    assert own() == [True, True, False]
    assert [is_own_domain(parse_sip_uri(f"sip:bob@{host}"), config) for host in hosts] == own()
    # The machine has another address now.
    addresses.use(["10.8.0.1"])
    assert own() == [False, False, True]


def test_the_peer_itself() -> None:
    assert is_peer_itself(parse_sip_uri("sip:overlay"), CONFIG)
    assert is_peer_itself(parse_sip_uri("sip:peer-a@overlay;gr=AAAA"), CONFIG)
    assert not is_peer_itself(parse_sip_uri("sip:bob@overlay"), CONFIG)
    # A phone, whose user is called like the peer.
    assert not is_peer_itself(parse_sip_uri("sip:peer-a@overlay;gr=AAAA;at=x"), CONFIG)
    assert not is_peer_itself(parse_sip_uri("sip:elsewhere"), CONFIG)


def test_sent_by_towards_peers_is_a_host_of_its_own() -> None:
    other = ServerConfig("overlay", frozenset(), (), parse_sip_uri("sip:peer-a@overlay;gr=BBBB"))
    odd = ServerConfig("overlay", frozenset(), (), parse_sip_uri("sip:J%C3%B6rg@overlay"))
    assert CONFIG.peer_sent_by.startswith("peer-a-")
    assert CONFIG.peer_sent_by != other.peer_sent_by
    assert odd.peer_sent_by.startswith("j-rg-")
    assert str(CONFIG.peer_route) == "sip:peer-a@overlay;gr=AAAA;lr"


# Routes


def request_of(
    *routes: str, uri: str = "sip:bob@10.0.0.12", method: str = "INVITE", extra: tuple[tuple[str, object], ...] = ()
) -> Request:
    alice = NameAddr(SipUri("overlay", "alice")).with_tag("1")
    return make_request(
        method,
        uri,
        from_=alice,
        to=NameAddr(SipUri("overlay", "bob")),
        call_id="c",
        cseq=1,
        extra=[*(("Route", route) for route in routes), *extra],
    )


@pytest.mark.must("3261 16.4/6")
def test_16_4_own_routes_are_taken_off() -> None:
    token = TOKENS.make(place_of(PHONE))
    ours, far = f"<sip:{token}@10.0.0.1:5070;lr>", "<sip:peer-b@overlay;gr=BBBB;lr>"
    peer = "<sip:peer-a@overlay;gr=AAAA;lr>"
    routed = routing.preprocess(request_of(ours, f"{peer},{far}"), CONFIG, TOKENS)
    assert routed.place is None, "the last of ours was the peers' side"
    assert str(routed.next_route) == "sip:peer-b@overlay;gr=BBBB;lr"
    assert routed.request.fields.lines("route") == [far]
    routed = routing.preprocess(request_of(peer, ours), CONFIG, TOKENS)
    assert (routed.place, routed.next_route) == (place_of(PHONE), None)
    assert "route" not in routed.request.fields
    plain = request_of()
    assert routing.preprocess(plain, CONFIG, TOKENS).request is plain


@pytest.mark.must("3261 16.4/1", "3261 16.4/2", "3261 16.4/3")
def test_16_4_a_strict_router_before_us() -> None:
    """It put our Record-Route into the Request-URI and the target into the last Route."""
    request = request_of("<sip:far;lr>", "<sip:bob@10.0.0.12>", uri="sip:peer-a@overlay;gr=AAAA;lr")
    routed = routing.preprocess(request, CONFIG, TOKENS)
    assert routed.request.uri_text == "sip:bob@10.0.0.12"
    assert str(routed.next_route) == "sip:far;lr"


@pytest.mark.must("3261 16.6/23", "3261 16.6/24", "3261 16.6/25", "3261 16.6/26", "3261 16.6/28")
def test_16_6_6_a_strict_router_after_us() -> None:
    request = request_of("<sip:old.example>", "<sip:far;lr>")
    copy = routing.forwarded(request, request.sip_uri, (), [], 60)
    assert copy.uri_text == "sip:old.example"
    assert copy.fields.lines("route") == ["<sip:far;lr>", "<sip:bob@10.0.0.12>"]


@pytest.mark.must("3261 16.6/7", "3261 16.6/8", "3261 16.6/9", "3261 16.6/19")
def test_16_6_copy() -> None:
    request = request_of(uri="sip:b%6Fb@10.0.0.12")
    copy = routing.forwarded(
        request, request.sip_uri, (), [parse_sip_uri("sip:in;lr"), parse_sip_uri("sip:out;lr")], 60
    )
    assert copy.uri_text == "sip:b%6Fb@10.0.0.12", "as it came"
    assert copy.max_forwards == 69
    assert copy.fields.lines("record-route") == ["<sip:out;lr>", "<sip:in;lr>"]
    bare = request.replace(fields=request.fields.without("max-forwards"))
    assert routing.forwarded(bare, bare.sip_uri, (), [], 60).max_forwards == 70
    path = [NameAddr(parse_sip_uri(text)) for text in ("sip:near;lr", "sip:token@far;lr;ob")]
    pushed = routing.forwarded(request, request.sip_uri, path, [], 60)
    assert pushed.fields.lines("route") == ["<sip:near;lr>", "<sip:token@far;lr;ob>"]
    further = routing.forwarded(request_of("<sip:beyond;lr>"), request.sip_uri, path, [], 60)
    assert further.fields.lines("route") == [*pushed.fields.lines("route"), "<sip:beyond;lr>"]


@pytest.mark.must("3261 16.6/9", "3261 16.6/10", "3261 16.6/11", "5658 3.2/1")
def test_record_route_names_each_side() -> None:
    layer = TransportLayer(CONFIG.listeners)
    peer = Source(FlowHop(1), "TLS", Address("10.0.0.2", 1), "ab")
    tcp = Source(FlowHop(3), "TCP", Address("10.0.0.9", 1))
    sides = [(peer, None), (tcp, place_of(tcp)), (PHONE, place_of(PHONE))]
    uris = [str(routing.side_uri(side, place, CONFIG, layer, TOKENS)) for side, place in sides]
    assert uris[0] == "sip:peer-a@overlay;gr=AAAA;lr"
    assert uris[1].endswith("@10.0.0.1:5070;transport=tcp;lr")
    assert uris[2].endswith("@10.0.0.1:5070;lr")


@pytest.mark.must("3261 16.6/36", "5393 4.2.1/3", "5393 4.2.1/4")
def test_5393_hash_says_whether_a_request_would_go_the_same_way() -> None:
    request = request_of()
    same = routing.loop_hash(request, PHONE)
    assert routing.loop_hash(request_of(), PHONE) == same
    peer = Source(FlowHop(1), "TLS", PHONE.remote, "ab")
    others = [
        routing.loop_hash(request_of(uri="sip:bob@10.0.0.13"), PHONE),
        routing.loop_hash(request_of("<sip:x;lr>"), PHONE),
        routing.loop_hash(request, peer),
        routing.loop_hash(request.replace(fields=request.fields.with_only("CSeq", "2 INVITE")), PHONE),
    ]
    assert same not in others


@pytest.mark.must("3261 16.6/37", "5393 4.2.1/5")
def test_5393_the_method_does_not_count() -> None:
    """ "This second part MUST NOT vary with the request method": a CANCEL has the branch of its INVITE."""
    invite = routing.loop_hash(request_of(), PHONE)
    assert {routing.loop_hash(request_of(method=method), PHONE) for method in ("ACK", "CANCEL", "ODD")} == {invite}


# The response context


def context_with(*statuses: int) -> Context:
    request = request_of(extra=(("Via", "SIP/2.0/UDP a;branch=z9hG4bK1"),))
    context = Context(1, request, PHONE, "alice", 0.0, ".x", 60, request, None)
    for index, status in enumerate(statuses):
        branch = Branch(Target(SipUri("overlay", str(index))), None)
        branch.ending = BranchEnding(status, make_response(request, status, to_tag="t"))
        context.branches.append(branch)
    return context


@pytest.mark.must("3261 16.7/15", "3261 16.7/18")
@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ((404, 486), 486),
        ((486, 480), 486),
        ((404, 480), 404),
        ((480, 408), 480),
        ((500, 404), 404),
        ((302, 404), 302),
        ((404, 603, 486), 603),
        ((488, 486, 420), 420),
        ((488, 484), 484),
        ((503, 500), 500),
        ((487, 408), 408),
    ],
)
def test_16_7_6_best_response(statuses: tuple[int, ...], best: int) -> None:
    result = context_with(*statuses).best()
    assert result is not None
    assert result.ending.status == best


def test_no_branch_no_best() -> None:
    assert context_with().best() is None
