"""The transport layer: Via, where responses go, connections and their bounds."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Effect, Note
from p2psip.sip.message.build import make_request
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Datagram, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp, ToAgent
from p2psip.sip.transports.flow_table import TransportLimits
from p2psip.sip.transports.hops import FlowHop, LocalHop, Source, StreamHop, UdpHop
from p2psip.sip.transports.layer import Listener, Malformed, MessageArrived, TransportLayer
from p2psip.sip.transports.own_addresses import OwnAddresses, as_host, as_numeric

UDP = Address("192.0.2.1", 5060)
UDP6 = Address("2001:db8::1", 5060)
TCP = Address("192.0.2.1", 5062)
REMOTE = Address("198.51.100.7", 40_000)
PEER = "ab" * 16


def make_layer(**limits: float) -> TransportLayer:
    listeners = (Listener("UDP", UDP), Listener("UDP", UDP6), Listener("TCP", TCP))
    return TransportLayer(listeners, "ab.invalid", TransportLimits(**limits))  # type: ignore[arg-type]


def request_with(via: str) -> Request:
    alice = NameAddr(SipUri("a", "alice")).with_tag("1")
    return make_request("OPTIONS", "sip:b", from_=alice, to=alice, call_id="c", cseq=1, extra=[("Via", via)])


def receive(via: str, remote: Address = REMOTE) -> tuple[Via, Source]:
    [event] = make_layer().handle(Datagram(UDP, remote, request_with(via).encode()), 0.0)
    assert isinstance(event, MessageArrived)
    return event.message.via, event.source


# Via of what comes in


@pytest.mark.must(
    "3261 18.2.1/2", "3261 18.2.1/3", "3261 18.2.1/4", "3581 4/1", "3581 4/2", "7118 5.3/1", "7118 5.3/2", "7118 5.3/3"
)
@pytest.mark.parametrize(
    ("via", "stamped"),
    [
        ("SIP/2.0/UDP 198.51.100.7:5060;branch=x", "SIP/2.0/UDP 198.51.100.7:5060;branch=x"),
        ("SIP/2.0/UDP host.example;branch=x", "SIP/2.0/UDP host.example;branch=x;received=198.51.100.7"),
        ("SIP/2.0/UDP 10.0.0.1;branch=x", "SIP/2.0/UDP 10.0.0.1;branch=x;received=198.51.100.7"),
        (
            "SIP/2.0/UDP 198.51.100.7;rport;branch=x",
            "SIP/2.0/UDP 198.51.100.7;rport=40000;branch=x;received=198.51.100.7",
        ),
        # What the sender itself has filled in is not believed.
        (
            "SIP/2.0/UDP 10.0.0.1;rport=1;received=203.0.113.9;branch=x",
            "SIP/2.0/UDP 10.0.0.1;rport=40000;received=198.51.100.7;branch=x",
        ),
        (
            "SIP/2.0/UDP 198.51.100.7;received=203.0.113.9;branch=x",
            "SIP/2.0/UDP 198.51.100.7;received=198.51.100.7;branch=x",
        ),
    ],
)
def test_18_2_1_via_says_where_a_request_came_from(via: str, stamped: str) -> None:
    assert str(receive(via)[0]) == stamped


@pytest.mark.must("3261 18.2.2/1", "3261 18.2.2/3", "3261 18.2.2/4", "3261 18.2.2/5", "3581 4/3")
@pytest.mark.parametrize(
    ("via", "port"),
    [
        ("SIP/2.0/UDP 10.0.0.1:5070;branch=x", 5070),
        ("SIP/2.0/UDP 10.0.0.1;branch=x", 5060),
        ("SIP/2.0/UDP 10.0.0.1:5070;rport;branch=x", 40_000),
        ("SIP/2.0/UDP 10.0.0.1:5070;maddr=203.0.113.9;branch=x", 5070),
    ],
)
def test_18_2_2_and_3581_response_goes_to_the_source_host(via: str, port: int) -> None:
    top, source = receive(via)
    assert make_layer().response_hop(source, top) == UdpHop(Address(REMOTE.host, port), UDP)


@pytest.mark.must("3261 18.2.2/2")
def test_response_over_a_lost_connection_takes_a_new_one() -> None:
    """18.2.2: to the source address and the port in sent-by."""
    layer = make_layer()
    source = Source(FlowHop(7), "TCP", REMOTE)
    via = Via("TCP", "host", 5064)
    assert layer.response_hop(source, via) == StreamHop("TCP", Address(REMOTE.host, 5064))
    layer.handle(FlowUp(7, "TCP", TCP, REMOTE), 0.0)
    assert layer.response_hop(source, via) == FlowHop(7)


def test_response_to_a_peer_takes_the_newer_connection_with_it() -> None:
    layer = make_layer()
    layer.handle(FlowUp(9, "TLS", TCP, REMOTE, PEER), 0.0)
    assert layer.response_hop(Source(FlowHop(7), "TLS", REMOTE, PEER), Via("TLS", "x")) == FlowHop(9)
    assert layer.flow_of_peer(PEER) == 9
    assert layer.far_end(FlowHop(9)).peer == PEER
    assert layer.far_end(UdpHop(REMOTE, UDP)).peer is None


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0", b"\0" * 20, b"\x01\x01\0\0!\x12\xa4B"])
def test_keep_alives_are_no_messages(data: bytes) -> None:
    assert make_layer().handle(Datagram(UDP, REMOTE, data), 0.0) == []


def test_malformed_request_is_stamped_too() -> None:
    data = request_with("SIP/2.0/UDP 10.0.0.1;rport").encode().replace(b"1 OPTIONS", b"1 BYE")
    [event] = make_layer().handle(Datagram(UDP, REMOTE, data), 0.0)
    assert isinstance(event, Malformed)
    assert event.error.request is not None
    assert event.error.request.via.rport == 40_000


def test_driver_names_its_listener() -> None:
    with pytest.raises(AssertionError):
        make_layer().handle(Datagram(Address("0.0.0.0", 5060), REMOTE, b"x"), 0.0)


# Via of what goes out


@pytest.mark.must(
    "3261 18.1.1/5",
    "3261 18.1.1/7",
    "3261 18.1.1/8",
    "3261 18.1.1/9",
    "3261 18.1.1/10",
    "3581 3/1",
    "3581 3/2",
    "3581 3/3",
)
def test_18_1_1_sent_by_is_what_others_reach_us_at() -> None:
    layer = make_layer()
    flow = layer.bind(StreamHop("TCP", REMOTE), 0.0)
    assert flow is not None
    assert str(layer.via(flow, "x")) == "SIP/2.0/TCP 192.0.2.1:5062;branch=x;rport"
    assert str(layer.via(UdpHop(REMOTE, UDP6), "x")) == "SIP/2.0/UDP [2001:db8::1]:5060;branch=x;rport"
    layer.handle(FlowUp(9, "TLS", TCP, REMOTE, PEER), 0.0)
    assert str(layer.via(FlowHop(9), "x")) == "SIP/2.0/TLS ab.invalid;branch=x"
    for hop in (flow, UdpHop(REMOTE, UDP6), FlowHop(9)):
        assert layer.is_own_via(layer.via(hop, "x"))
    assert not layer.is_own_via(Via("UDP", "192.0.2.1", 5061))
    assert not layer.is_own_via(Via("UDP", "ab.invalid", 5060))


def test_listener_is_chosen_by_family() -> None:
    layer = make_layer()
    assert layer.bind(UdpHop(Address("2001:db8::2", 1)), 0.0) == UdpHop(Address("2001:db8::2", 1), UDP6)
    assert layer.bind(UdpHop(REMOTE), 0.0) == UdpHop(REMOTE, UDP)
    # A listener of an earlier run is none of ours.
    assert layer.bind(UdpHop(REMOTE, Address("192.0.2.9", 1)), 0.0) == UdpHop(REMOTE, UDP)
    assert TransportLayer(()).bind(UdpHop(REMOTE), 0.0) is None


def test_sending() -> None:
    layer = make_layer()
    assert layer.send(UdpHop(REMOTE, UDP), b"x", 0.0)
    assert layer.send(LocalHop("echo"), b"y", 0.0)
    assert not layer.send(UdpHop(REMOTE, UDP), b"x" * 65_508, 0.0)
    assert not layer.send(FlowHop(9), b"x", 0.0)
    assert layer.drain() == [SendUdp(UDP, REMOTE, b"x"), ToAgent("echo", b"y")]
    assert layer.bind(LocalHop("echo"), 0.0) == LocalHop("echo")


# Connections


def opened(
    layer: TransportLayer, flow: int = 1, now: float = 0.0, remote: Address = REMOTE, peer: str | None = None
) -> list[Effect]:
    layer.handle(FlowUp(flow, "TCP", TCP, remote, peer), now)
    return layer.drain()


def test_connection_is_opened_once_and_shared() -> None:
    layer = make_layer()
    hop = layer.bind(StreamHop("TCP", REMOTE), 0.0)
    assert hop == FlowHop(2)
    assert layer.send(hop, b"1", 0.0)
    assert layer.bind(StreamHop("TCP", REMOTE), 0.0) == hop
    assert layer.send(hop, b"2", 0.0)
    assert layer.drain() == [OpenFlow(2, "TCP", REMOTE)]
    assert opened(layer, 2, 0.1) == [SendFlow(2, b"1"), SendFlow(2, b"2")]
    assert layer.send(hop, b"3", 0.2)
    assert layer.drain() == [SendFlow(2, b"3")]
    assert layer.bind(StreamHop("TLS", REMOTE), 0.0) == FlowHop(4)


@pytest.mark.must("3261 18.1.1/6", "3261 18.2.2/2")
def test_accepted_connection_serves_requests_back() -> None:
    layer = make_layer()
    opened(layer)
    assert layer.bind(StreamHop("TCP", REMOTE), 0.0) == FlowHop(1)


def test_connection_that_does_not_come_about() -> None:
    layer = make_layer()
    layer.bind(StreamHop("TCP", REMOTE), 0.0)
    deadline = layer.next_deadline()
    assert deadline is not None
    assert (deadline.at, deadline.reason) == (8.0, "no connection in time")
    assert layer.handle_timeout(8.0) == [FlowDown(2, "no connection in time")]
    assert layer.drain()[-1] == CloseFlow(2)
    # It comes after all: we do not want it any more.
    assert opened(layer, 2, 9.0) == [CloseFlow(2)]
    assert layer.next_deadline() is None


def test_what_waits_for_a_connection_is_bounded() -> None:
    layer = make_layer(queued_bytes=10)
    hop = layer.bind(StreamHop("TCP", REMOTE), 0.0)
    assert hop is not None
    assert layer.send(hop, b"12345678", 0.0)
    assert not layer.send(hop, b"123", 0.0)


def test_connection_refused() -> None:
    layer = make_layer()
    layer.bind(StreamHop("TCP", REMOTE), 0.0)
    assert layer.handle(FlowDown(2, "refused"), 0.1) == [FlowDown(2, "refused")]
    assert layer.handle(FlowDown(2, "refused"), 0.1) == []
    assert layer.bind(StreamHop("TCP", REMOTE), 0.2) == FlowHop(4)


def test_slow_drip_is_cut_off() -> None:
    layer = make_layer()
    opened(layer)
    data = request_with("SIP/2.0/TCP a").encode()
    for second in range(30):
        layer.handle(FlowData(1, data[second : second + 1]), float(second))
    assert layer.handle_timeout(30.0) == [FlowDown(1, "no whole message in time")]
    assert layer.drain() == [CloseFlow(1)]
    assert layer.handle(FlowData(1, b"x"), 31.0) == []


def test_pings_alone_keep_no_connection() -> None:
    layer = make_layer()
    opened(layer)
    for second in range(1, 30):
        layer.handle(FlowData(1, b"\r\n\r\n"), float(second))
    assert layer.drain() == [SendFlow(1, b"\r\n")] * 29
    assert layer.handle_timeout(30.0) == [FlowDown(1, "no whole message in time")]


def test_connection_lives_while_it_is_used() -> None:
    layer = make_layer(idle_s=100.0)
    opened(layer)
    data = request_with("SIP/2.0/TCP a").encode()
    for at in (1.0, 90.0, 180.0):
        [event] = layer.handle(FlowData(1, data), at)
        assert isinstance(event, MessageArrived)
        assert layer.handle_timeout(at + 5.0) == []
    assert layer.handle_timeout(200.0) == []
    deadline = layer.next_deadline()
    assert deadline is not None
    assert (deadline.at, deadline.reason) == (280.0, "idle connection")
    assert layer.handle_timeout(280.0) == [FlowDown(1, "idle connection")]


def test_second_message_has_its_own_time() -> None:
    layer = make_layer()
    opened(layer)
    data = request_with("SIP/2.0/TCP a").encode()
    layer.handle(FlowData(1, data + data[:5]), 10.0)
    assert layer.handle_timeout(39.0) == []
    [event] = layer.handle(FlowData(1, data[5:]), 39.5)
    assert isinstance(event, MessageArrived)
    assert layer.handle_timeout(100.0) == []


def test_message_that_begins_later_has_its_own_time() -> None:
    layer = make_layer()
    opened(layer)
    data = request_with("SIP/2.0/TCP a").encode()
    layer.handle(FlowData(1, data), 10.0)
    layer.handle(FlowData(1, data[:5]), 100.0)
    layer.handle(FlowData(1, data[5:9]), 120.0)
    assert layer.handle_timeout(129.0) == []
    assert layer.handle_timeout(130.0) == [FlowDown(1, "no whole message in time")]


def test_of_two_connections_with_a_peer_the_older_one_is_there_when_the_newer_is_gone() -> None:
    layer = make_layer()
    for flow in (9, 11):
        layer.handle(FlowUp(flow, "TLS", TCP, REMOTE, PEER), 0.0)
    assert layer.flow_of_peer(PEER) == 11
    layer.handle(FlowDown(11, "nobody has used it"), 1.0)
    assert layer.flow_of_peer(PEER) == 9
    assert layer.response_hop(Source(FlowHop(7), "TLS", REMOTE, PEER), Via("TLS", "x")) == FlowHop(9)
    layer.handle(FlowDown(9, "gone"), 2.0)
    assert layer.flow_of_peer(PEER) is None


def test_connections_with_peers_are_not_ours_to_close() -> None:
    layer = make_layer()
    layer.handle(FlowUp(1, "TLS", TCP, REMOTE, PEER), 0.0)
    assert layer.next_deadline() is None
    layer.handle(FlowDown(1, "gone"), 1.0)
    assert layer.flow_of_peer(PEER) is None


def test_connection_opened_to_a_peer() -> None:
    layer = make_layer()
    layer.bind(StreamHop("TLS", REMOTE), 0.0)
    layer.handle(FlowUp(2, "TLS", TCP, REMOTE, PEER), 0.1)
    assert layer.flow_of_peer(PEER) == 2
    assert layer.next_deadline() is None


def test_garbage_closes_a_connection() -> None:
    layer = make_layer()
    opened(layer)
    [malformed] = layer.handle(FlowData(1, b"GET / HTTP/1.1\r\n\r\n"), 0.1)
    assert isinstance(malformed, Malformed)
    assert layer.drain() == [], "there may be an answer to send before"
    assert layer.handle(FlowData(1, request_with("SIP/2.0/TCP a").encode()), 0.2) == []
    assert layer.handle_timeout(0.2) == [FlowDown(1, "no Content-Length on a stream")]
    assert layer.drain() == [CloseFlow(1)]


def test_malformed_message_in_a_good_frame_does_not() -> None:
    layer = make_layer()
    opened(layer)
    good = request_with("SIP/2.0/TCP a").encode()
    bad = good.replace(b"1 OPTIONS", b"1 BYE")
    malformed, received = layer.handle(FlowData(1, bad + good), 0.1)
    assert isinstance(malformed, Malformed)
    assert isinstance(received, MessageArrived)


def crowded(remote: Address, outcome: str) -> Note:
    return Note("too many SIP connections", {"remote": str(remote), "outcome": outcome}, is_warning=True)


def ended(layer: TransportLayer, now: float) -> list[int]:
    """Whose turn it is to go."""
    return [event.flow for event in layer.handle_timeout(now) if isinstance(event, FlowDown)]


def test_connections_are_bounded_and_no_host_takes_them_all() -> None:
    """Of those over which somebody has proved himself none has to go."""
    layer = make_layer(flows=4, flows_per_host=2)
    for flow in (1, 3):
        assert opened(layer, flow) == []
        layer.prove(FlowHop(flow), "alice")
    assert opened(layer, 5) == [CloseFlow(5), crowded(REMOTE, "not accepted")]
    other = Address("198.51.100.8", 1)
    for flow in (7, 9):
        assert opened(layer, flow, remote=other) == []
        layer.prove(FlowHop(flow), "alice")
    assert layer.bind(StreamHop("TCP", Address("198.51.100.9", 1)), 0.0) is None
    layer.handle(FlowDown(1, ""), 1.0)
    assert opened(layer, 11) == []
    assert ended(layer, 1.0) == []


def test_of_a_host_with_too_many_connections_its_eldest_stranger_goes() -> None:
    layer = make_layer(flows=9, flows_per_host=3)
    assert [opened(layer, flow) for flow in (1, 3, 5)] == [[], [], []]
    layer.prove(FlowHop(1), "alice")
    assert opened(layer, 7) == [crowded(REMOTE, "ended")]
    assert opened(layer, 9) == [crowded(REMOTE, "ended")]
    assert ended(layer, 0.0) == [3, 5]
    assert layer.drain() == [CloseFlow(3), CloseFlow(5)]
    assert [layer.bind(FlowHop(flow), 0.0) is None for flow in (1, 3, 5, 7, 9)] == [False, True, True, False, False]
    # Whoever has gone counts once.
    assert opened(layer, 11) == [crowded(REMOTE, "ended")]
    assert ended(layer, 0.0) == [7]


@pytest.mark.parametrize("hosts", [["198.51.100.8"] * 3, ["2001:db8::8", "2001:db8::9", "2001:db8::a"]])
def test_who_comes_when_all_connections_are_strangers_gets_one_and_may_keep_it(hosts: list[str]) -> None:
    """What OpenSIPS was asked for in its issue 1524: "a new established connection should be authenticated"."""
    layer = make_layer(flows=4, flows_per_host=4)
    assert opened(layer, 1) == []
    for flow, host in zip((3, 5, 7), hosts, strict=True):
        assert opened(layer, flow, remote=Address(host, flow)) == []
    assert opened(layer, 9) == [crowded(Address(hosts[0], 3), "ended")]
    layer.prove(FlowHop(9), "alice")
    for flow in (11, 13, 15, 17, 19):
        opened(layer, flow, remote=Address(hosts[0], flow))
        ended(layer, 0.0)
    assert layer.bind(FlowHop(9), 0.0) == FlowHop(9)


def test_strangers_leave_room_for_other_peers_and_for_what_we_open() -> None:
    layer = make_layer(flows=2, flows_per_host=2)
    assert [opened(layer, flow) for flow in (1, 3)] == [[], []]
    peers = [f"{number:032x}" for number in range(3)]
    assert opened(layer, -1, peer=peers[0]) == []
    assert opened(layer, -3, peer=peers[1]) == []
    assert opened(layer, -5, peer=peers[2]) == [CloseFlow(-5), crowded(REMOTE, "not accepted")]
    phone = Address("198.51.100.9", 1)
    assert layer.bind(StreamHop("TCP", phone), 0.0) == FlowHop(2)
    assert layer.drain() == [crowded(REMOTE, "ended"), OpenFlow(2, "TCP", phone)]
    assert ended(layer, 0.0) == [1]


# Addresses


@pytest.mark.parametrize(
    ("host", "numeric"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("host.example", None),
        ("192.0.2.256", None),
        ("[x]", None),
        ("1.2.3", None),
    ],
)
def test_numeric_hosts(host: str, numeric: str | None) -> None:
    assert as_numeric(host) == numeric


def test_addresses_for_people_and_uris() -> None:
    assert (str(UDP), str(UDP6)) == ("192.0.2.1:5060", "[2001:db8::1]:5060")
    assert (as_host("::1"), as_host("1.2.3.4")) == ("[::1]", "1.2.3.4")
    assert [str(hop) for hop in (UdpHop(UDP), StreamHop("TLS", UDP), FlowHop(3), LocalHop("echo"))] == [
        "udp 192.0.2.1:5060",
        "tls 192.0.2.1:5060",
        "connection 3",
        "local echo",
    ]
    assert str(Source(FlowHop(1), "TLS", REMOTE, PEER)) == f"peer {PEER}"
    assert str(Source(FlowHop(1), "TCP", REMOTE)) == "tcp 198.51.100.7:40000"


# Own addresses


def everywhere(*present: str) -> tuple[TransportLayer, OwnAddresses]:
    own = OwnAddresses(present)
    hosts = ("0.0.0.0", "::")
    udp = (Listener("UDP", Address(host, 5060)) for host in hosts)
    return TransportLayer((*udp, *(Listener("TCP", Address(host, 5060)) for host in hosts)), own=own), own


@pytest.mark.parametrize("host", ["192.0.2.1", "192.0.2.2", "169.254.7.7", "2001:db8::1", "fe80::1%eth0"])
def test_a_phone_is_told_the_address_that_it_uses(host: str) -> None:
    """Whichever of ours is the best: the socket's word, on UDP and on a connection, and it is an own one at once."""
    layer, own = everywhere("192.0.2.1", "2001:db8::9")
    remote = Address("fe80::7%eth0" if ":" in host else "192.0.2.7", 40_000)
    [event] = layer.handle(
        Datagram(Address(host, 5060), remote, request_with("SIP/2.0/UDP p;branch=x;rport").encode()), 0.0
    )
    assert isinstance(event, MessageArrived)
    assert layer.advertised(event.source) == Address(host, 5060)
    assert host.partition("%")[0] in own
    layer.handle(FlowUp(1, "TCP", Address(host, 5060), remote), 0.0)
    assert str(layer.via(FlowHop(1), "x")).startswith(f"SIP/2.0/TCP {as_host(host)}:5060;")
    assert layer.is_own_via(layer.via(FlowHop(1), "x"))


@pytest.mark.must("3581 4/4")
def test_the_answer_leaves_from_where_the_phone_sent_to() -> None:
    layer, _ = everywhere("192.0.2.1", "192.0.2.2")
    [event] = layer.handle(
        Datagram(Address("192.0.2.2", 5060), REMOTE, request_with("SIP/2.0/UDP p;branch=x;rport").encode()), 0.0
    )
    assert isinstance(event, MessageArrived)
    hop = layer.bind(layer.response_hop(event.source, event.message.via), 0.0)
    assert hop == UdpHop(REMOTE, Address("192.0.2.2", 5060))


def test_an_address_that_is_gone_is_not_sent_from() -> None:
    layer, own = everywhere("192.0.2.1", "192.0.2.2")
    gone = UdpHop(REMOTE, Address("192.0.2.2", 5060))
    assert layer.bind(gone, 0.0) == gone
    own.use(["192.0.2.1"])
    assert layer.bind(gone, 0.0) == UdpHop(REMOTE, Address("0.0.0.0", 5060))
    assert str(layer.via(UdpHop(REMOTE, Address("0.0.0.0", 5060)), "x")).startswith("SIP/2.0/UDP 192.0.2.1:5060;")


def test_a_zone_is_not_on_the_wire() -> None:
    """RFC 3261 25.1: IPv6address has none; RFC 4007 11.2: it means something on this machine alone."""
    layer, _ = everywhere("fe80::1%eth0")
    remote = Address("fe80::7%eth0", 40_000)
    [event] = layer.handle(
        Datagram(
            Address("fe80::1%eth0", 5060), remote, request_with("SIP/2.0/UDP [fe80::7]:5060;branch=x;rport").encode()
        ),
        0.0,
    )
    assert isinstance(event, MessageArrived)
    assert str(event.message.via) == "SIP/2.0/UDP [fe80::7]:5060;branch=x;rport=40000;received=fe80::7"
    assert layer.response_hop(event.source, event.message.via) == UdpHop(remote, Address("fe80::1%eth0", 5060))


def test_what_is_heard_is_bounded() -> None:
    """All of 127.0.0.0/8 leads to this machine, for whoever is on it."""
    own = OwnAddresses(["192.0.2.1"])
    for number in range(1000):
        own.hear(f"127.0.{number // 256}.{number % 256}")
    assert "192.0.2.1" in own
    assert "127.0.3.231" in own
    assert "127.0.0.1" not in own
