"""The relay: who gets an allocation, to whom it relays, what it never does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_bench import HOST, HOST6, PEER, SERVER, Bench, Speaker, code_of, read

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    CHANNEL_NUMBER,
    DATA,
    DONT_FRAGMENT,
    EVEN_PORT,
    ICMP,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    Family,
    Icmp,
)
from p2psip.stun.framing import ChannelData
from p2psip.stun.integrity import signed
from p2psip.stun.message import BINDING, MessageClass, StunMessage
from p2psip.turn.limits import CLIENT_SILENT_S, TurnLimits
from p2psip.turn.methods import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA_METHOD, REFRESH, SEND
from p2psip.turn.values import CloseStream, Flow, Transmit, TurnRelay

CLIENT, OTHER = Address("192.0.2.7", 4000), Address("192.0.2.8", 4001)


def sends(client: Speaker, peer: Address, data: bytes) -> list[Effect]:
    """A Send indication."""
    transaction = client.transaction()
    attributes = XOR_PEER_ADDRESS.of(peer, transaction), DATA.of(data)
    return client.bench.hand(client.flow, StunMessage(MessageClass.INDICATION, SEND, transaction, attributes).encode())


def binds(client: Speaker, number: int, peer: Address) -> int:
    """A ChannelBind request."""
    transaction = client.transaction()
    attributes = CHANNEL_NUMBER.of(number), XOR_PEER_ADDRESS.of(peer, transaction)
    return code_of(client.try_once(CHANNEL_BIND, *attributes, transaction=transaction))


def comes(client: Speaker, relayed: Address, peer: Address, data: bytes) -> list[Effect]:
    """A datagram of a peer."""
    client.bench.server.handle_relayed(relayed, peer, data, client.bench.now)
    return client.bench.settle()


def test_an_allocation_and_both_ways() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    answer = client.allocate()
    relayed = XOR_RELAYED_ADDRESS.first(answer)
    assert relayed is not None
    assert relayed in bench.open
    assert relayed.host == HOST
    assert 49152 <= relayed.port <= 65535
    assert (LIFETIME.first(answer), XOR_MAPPED_ADDRESS.first(answer)) == (600, CLIENT)
    assert code_of(client.permit(PEER)) == 0
    assert sends(client, PEER, b"there") == [TurnRelay(relayed, PEER, b"there")]
    [effect] = comes(client, relayed, PEER, b"back")
    assert isinstance(effect, Transmit)
    message = read(effect.data)
    assert (effect.flow, message.message_class, message.method) == (client.flow, MessageClass.INDICATION, DATA_METHOD)
    assert (XOR_PEER_ADDRESS.first(message), DATA.first(message)) == (PEER, b"back")


def test_channels_both_ways_and_on_a_stream_they_are_padded() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT, is_stream=True)
    relayed = client.relayed()
    assert binds(client, 0x4001, PEER) == 0
    framed = ChannelData.encode(0x4001, b"there", is_stream=True)
    assert bench.hand(client.flow, framed[:3]) == []
    assert bench.hand(client.flow, framed[3:]) == [TurnRelay(relayed, PEER, b"there")]
    assert comes(client, relayed, PEER, b"back!") == [
        Transmit(client.flow, ChannelData.encode(0x4001, b"back!", is_stream=True))
    ]


def test_a_stream_that_ends_takes_its_allocation_with_it() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT, is_stream=True)
    client.relayed()
    bench.server.handle_flow_down(client.flow)
    bench.settle()
    assert (len(bench.server), bench.open) == (0, set())


def test_garbage_on_a_stream_closes_it() -> None:
    bench = Bench()
    flow = Flow(SERVER, CLIENT, is_stream=True)
    [effect] = bench.hand(flow, b"POST / HTTP/1.1\r\n")
    assert isinstance(effect, CloseStream)


@pytest.mark.must("8489 6.3.1/1")
def test_7_2_a_repeated_request_makes_no_second_allocation() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    first = client.ask(ALLOCATE, REQUESTED_TRANSPORT.of(17), transaction=b"twelve bytes")
    again = client.ask(ALLOCATE, REQUESTED_TRANSPORT.of(17), transaction=b"twelve bytes")
    assert XOR_RELAYED_ADDRESS.first(first) == XOR_RELAYED_ADDRESS.first(again)
    assert code_of(client.allocate()) == 437
    assert len(bench.open) == 1


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([], 400),
        ([REQUESTED_TRANSPORT.of(6)], 442),
        ([(REQUESTED_TRANSPORT.kind, b"")], 400),
        ([REQUESTED_TRANSPORT.of(17), DONT_FRAGMENT.of(True)], 420),
        ([REQUESTED_TRANSPORT.of(17), (0x7FFF, b"")], 420),
        ([REQUESTED_TRANSPORT.of(17), RESERVATION_TOKEN.of(bytes(8))], 508),
        ([REQUESTED_TRANSPORT.of(17), RESERVATION_TOKEN.of(bytes(8)), EVEN_PORT.of(False)], 400),
        ([REQUESTED_TRANSPORT.of(17), EVEN_PORT.of(True)], 508),
        ([REQUESTED_TRANSPORT.of(17), EVEN_PORT.of(True), ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6)], 400),
        ([REQUESTED_TRANSPORT.of(17), ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV4)], 400),
        (
            [
                REQUESTED_TRANSPORT.of(17),
                REQUESTED_ADDRESS_FAMILY.of(Family.IPV6),
                ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6),
            ],
            400,
        ),
    ],
)
def test_7_2_what_is_refused(attributes: list[tuple[int, bytes]], code: int) -> None:
    answer = Speaker(Bench(), CLIENT).ask(ALLOCATE, *attributes)
    assert code_of(answer) == code
    assert (UNKNOWN_ATTRIBUTES.first(answer) is not None) is (code == 420)


def test_7_2_families() -> None:
    bench = Bench()
    assert Speaker(bench, CLIENT).relayed(REQUESTED_ADDRESS_FAMILY.of(Family.IPV6)).host == HOST6
    both = Speaker(bench, OTHER).allocate(ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6))
    assert [each.host for each in XOR_RELAYED_ADDRESS.every(both)] == [HOST, HOST6]
    only4 = Bench(relays=(HOST,))
    assert code_of(Speaker(only4, CLIENT).allocate(REQUESTED_ADDRESS_FAMILY.of(Family.IPV6))) == 440
    partly = Speaker(only4, OTHER).allocate(ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6))
    error = ADDRESS_ERROR_CODE.first(partly)
    assert error is not None
    assert (error.family, error.code) == (Family.IPV6, 440)
    assert len(XOR_RELAYED_ADDRESS.every(partly)) == 1


def test_even_ports() -> None:
    bench = Bench()
    for number in range(8):
        assert Speaker(bench, Address("192.0.2.7", number), str(number)).relayed(EVEN_PORT.of(False)).port % 2 == 0


def test_a_machine_with_no_free_port() -> None:
    bench = Bench(can_open=False)
    client = Speaker(bench, CLIENT)
    assert code_of(client.allocate()) == 508
    bench.can_open = True
    assert code_of(client.allocate()) == 0


def test_486_and_508_what_one_user_and_all_may_have() -> None:
    bench = Bench(TurnLimits(allocations=3, allocations_per_user=2))
    clients = [Speaker(bench, Address("192.0.2.7", port), "alice") for port in range(3)]
    assert [code_of(client.allocate()) for client in clients] == [0, 0, 486]
    others = [Speaker(bench, Address("192.0.2.8", port), f"bob{port}") for port in range(2)]
    assert [code_of(client.allocate()) for client in others] == [0, 508]


def test_what_a_user_has_left_behind_gives_way_where_one_may_have_no_more() -> None:
    """Its address has changed, again and again; what it uses stays."""
    bench = Bench(TurnLimits(allocations_per_user=2))
    left, used = (Speaker(bench, Address("192.0.2.7", port)) for port in (1, 2))
    first = left.relayed()
    used.relayed()
    bench.now = CLIENT_SILENT_S / 2
    assert code_of(used.refresh(600)) == 0
    third = Speaker(bench, Address("192.0.2.8", 3))
    assert code_of(third.allocate()) == 486, "neither has been silent for long"
    bench.now = CLIENT_SILENT_S
    assert code_of(third.allocate()) == 0
    assert first not in bench.open
    assert (code_of(used.refresh(600)), code_of(left.refresh(600))) == (0, 437)
    assert code_of(Speaker(bench, Address("192.0.2.8", 4)).allocate()) == 486


def test_what_was_silent_longest_gives_way_first() -> None:
    bench = Bench(TurnLimits(allocations_per_user=2))
    later, first = (Speaker(bench, Address("192.0.2.7", port)) for port in (1, 2))
    later.relayed()
    first.relayed()
    bench.now = 1.0
    assert code_of(later.refresh(600)) == 0
    bench.now = 1.0 + CLIENT_SILENT_S
    assert code_of(Speaker(bench, Address("192.0.2.8", 3)).allocate()) == 0
    assert (code_of(later.refresh(600)), code_of(first.refresh(600))) == (0, 437)


def test_what_a_user_has_left_behind_gives_way_also_while_ports_are_being_opened() -> None:
    bench = Bench(TurnLimits(allocations_per_user=2))
    left, *new = (Speaker(bench, Address("192.0.2.7", port)) for port in (1, 2, 3))
    left.relayed()
    bench.now = CLIENT_SILENT_S
    wish = REQUESTED_TRANSPORT.of(17)
    proofs = [client.credential.proof(client.try_once(ALLOCATE, wish)) for client in new]
    for client, proof in zip(new, proofs, strict=True):
        asked = StunMessage(MessageClass.REQUEST, ALLOCATE, client.transaction(), (wish, *proof.attributes))
        data = signed(asked, proof.key, proof.integrity).encode()
        bench.server.handle_data(client.flow, data, bench.now)
    answers = [read(effect.data) for effect in bench.settle() if isinstance(effect, Transmit)]
    assert [code_of(answer) for answer in answers] == [0, 0]
    assert code_of(left.refresh(600)) == 437


def test_a_client_that_does_nothing_but_send_is_not_silent() -> None:
    bench = Bench(TurnLimits(allocations_per_user=1))
    sender = Speaker(bench, CLIENT)
    sender.relayed()
    assert code_of(sender.permit(PEER)) == 0
    bench.now = CLIENT_SILENT_S - 1
    sends(sender, PEER, b"voice")
    bench.now = CLIENT_SILENT_S
    assert code_of(Speaker(bench, OTHER).allocate()) == 486


def test_a_member_with_many_user_names_is_one_user() -> None:
    bench = Bench(TurnLimits(allocations_per_user=1))
    first = Speaker(bench, CLIENT)
    bench.now = 5.0
    second = Speaker(bench, OTHER)
    assert first.credential.username != second.credential.username
    assert (code_of(first.allocate()), code_of(second.allocate())) == (0, 486)


def test_8_2_refreshed_ended_and_over() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    client.relayed()
    assert LIFETIME.first(client.refresh(9999)) == 3600
    assert LIFETIME.first(client.refresh(1)) == 600
    bench.pass_time(599.0)
    assert len(bench.server) == 1
    bench.pass_time(600.0)
    assert (len(bench.server), bench.open) == (0, set())
    assert code_of(client.refresh(600)) == 437
    client.relayed()
    assert LIFETIME.first(client.refresh(0)) == 0
    assert bench.open == set()


def test_8_1_one_family_of_two_is_ended() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    client.allocate(ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6))
    peer6 = Address("2001:db8:9::9", 5000)
    client.permit(PEER, peer6)
    client.ask(REFRESH, LIFETIME.of(0), REQUESTED_ADDRESS_FAMILY.of(Family.IPV6))
    assert [each.host for each in bench.open] == [HOST]
    assert (len(sends(client, PEER, b"x")), sends(client, peer6, b"x")) == (1, [])
    assert code_of(client.permit(peer6)) == 443
    assert code_of(client.ask(REFRESH, REQUESTED_ADDRESS_FAMILY.of(Family.IPV6))) == 443


@pytest.mark.must("8656 5/3")
def test_441_another_members_allocation() -> None:
    """Whoever sends from my address, but is not me, has nothing of mine."""
    bench = Bench()
    Speaker(bench, CLIENT, "alice").relayed()
    thief = Speaker(bench, CLIENT, "mallory")
    assert code_of(thief.refresh(0)) == 441
    assert code_of(thief.permit(PEER)) == 441
    assert binds(thief, 0x4000, PEER) == 441
    assert len(bench.open) == 1


def test_a_credential_that_has_ended_or_was_made_up() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    client.credential = bench.members.issue("alice", 10, 0.0)
    client.relayed()
    bench.now = 10.0
    assert code_of(client.refresh(600)) == 401
    forger = Speaker(bench, OTHER)
    forger.credential = type(forger.credential)("99999:alice", "guessed")
    assert code_of(forger.allocate()) == 401


def test_9_permissions_are_of_hosts_and_end() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    relayed = client.relayed()
    assert comes(client, relayed, PEER, b"x") == []
    assert sends(client, PEER, b"x") == []
    client.permit(PEER)
    assert len(comes(client, relayed, PEER._replace(port=9), b"x")) == 1
    assert comes(client, relayed, Address("198.51.100.10", 5000), b"x") == []
    bench.now = 300.0
    assert comes(client, relayed, PEER, b"x") == []
    assert sends(client, PEER, b"x") == []


def test_10_2_what_is_refused() -> None:
    bench = Bench(TurnLimits(permissions=2))
    client = Speaker(bench, CLIENT)
    assert code_of(client.ask(CREATE_PERMISSION)) == 437
    client.relayed()
    assert code_of(client.ask(CREATE_PERMISSION)) == 400
    assert code_of(client.permit(Address("2001:db8:9::9", 1))) == 443
    assert code_of(client.permit(*(Address(f"198.51.100.{last}", 1) for last in (1, 2, 3)))) == 508
    assert code_of(client.permit(*(Address(f"198.51.100.{last}", 1) for last in (1, 2)))) == 0
    assert code_of(client.permit(PEER)) == 508
    bench.now = 300.0
    assert code_of(client.permit(PEER)) == 0


def test_12_2_no_channel_is_taken_over() -> None:
    bench = Bench(TurnLimits(channels=2))
    client = Speaker(bench, CLIENT)
    relayed = client.relayed()
    second = PEER._replace(port=5001)
    assert binds(client, 0x3FFF, PEER) == 400
    assert binds(client, 0x5000, PEER) == 400
    assert binds(client, 0x4000, PEER) == 0
    assert binds(client, 0x4000, second) == 400
    assert binds(client, 0x4001, PEER) == 400
    assert binds(client, 0x4000, PEER) == 0
    assert binds(client, 0x4001, second) == 0
    assert binds(client, 0x4002, PEER._replace(port=5002)) == 508
    bench.now = 599.0
    client.refresh(600)
    assert binds(client, 0x4001, second) == 0
    bench.now = 600.0
    assert binds(client, 0x4001, PEER) == 400
    assert binds(client, 0x4000, PEER._replace(port=5002)) == 0
    [effect] = bench.hand(client.flow, ChannelData.encode(0x4000, b"x", is_stream=False))
    assert effect == TurnRelay(relayed, PEER._replace(port=5002), b"x")


def test_channel_data_of_nobody_is_dropped() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    client.relayed()
    assert bench.hand(client.flow, ChannelData.encode(0x4000, b"x", is_stream=False)) == []
    assert bench.hand(Flow(SERVER, OTHER), ChannelData.encode(0x4000, b"x", is_stream=False)) == []


def test_11_5_what_did_not_arrive_is_told() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    relayed = client.relayed()
    bench.server.handle_icmp(relayed, PEER, Icmp(3, 3), bench.now)
    assert bench.settle() == []
    client.permit(PEER)
    bench.server.handle_icmp(relayed, PEER, Icmp(8, 0), bench.now)
    assert bench.settle() == []
    bench.server.handle_icmp(relayed, PEER, Icmp(3, 4, 1280), bench.now)
    [effect] = bench.settle()
    assert isinstance(effect, Transmit)
    assert ICMP.first(read(effect.data)) == Icmp(3, 4, 1280)


FORBIDDEN = (
    "0.0.0.0 127.0.0.1 127.9.9.9 10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254 224.0.0.1 239.255.255.250 "
    "255.255.255.255 240.0.0.1 "
    ":: ::1 fe80::1 fc00::1 fd12::1 ff02::1 fec0::1 ::7f00:1 2002:7f00:1:: 2002:c000:201:: 2001::1 64:ff9b::7f00:1 "
    "64:ff9b::a00:1 64:ff9b:1::1 ::ffff:0:7f00:1"
)


@pytest.mark.parametrize("host", FORBIDDEN.split())
def test_403_nobody_gets_behind_the_relay(host: str) -> None:
    """The list of CVE-2020-26262 and its kin: the machine itself and its neighbours, in whatever guise."""
    client = Speaker(Bench(), CLIENT)
    client.allocate(ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6))
    peer = Address(host, 80)
    assert code_of(client.permit(peer)) == 403
    assert binds(client, 0x4000, peer) == 403
    assert sends(client, peer, b"x") == []


def test_an_ipv4_address_in_the_guise_of_ipv6_is_looked_at_as_what_it_is() -> None:
    client = Speaker(Bench(), CLIENT)
    client.allocate(ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6))
    transaction = client.transaction()
    mask = bytes.fromhex("2112a442") + transaction
    disguised = bytes(a ^ b for a, b in zip(bytes.fromhex("00" * 10 + "ffff7f000001"), mask, strict=True))
    attribute = XOR_PEER_ADDRESS.kind, bytes.fromhex("00022112") + disguised
    assert code_of(client.try_once(CREATE_PERMISSION, attribute, transaction=transaction)) == 403


def test_private_peers_only_where_both_have_asked_from_there() -> None:
    bench = Bench()
    inside, outside = Speaker(bench, Address("10.0.0.7", 4000)), Speaker(bench, CLIENT, "bob")
    inside.relayed()
    outside.relayed()
    neighbour = Address("10.0.0.8", 4000)
    assert code_of(inside.permit(neighbour)) == 403
    Speaker(bench, neighbour, "carol").relayed()
    assert code_of(inside.permit(neighbour)) == 0
    assert len(sends(inside, neighbour, b"x")) == 1
    assert code_of(outside.permit(neighbour)) == 403


def test_on_its_own_machine_it_reaches_other_clients_of_the_relay_only() -> None:
    bench = Bench()
    one, two = Speaker(bench, CLIENT), Speaker(bench, OTHER, "bob")
    mine, theirs = one.relayed(), two.relayed()
    assert code_of(one.permit(theirs)) == 0
    assert sends(one, theirs, b"x") == [TurnRelay(mine, theirs, b"x")]
    for port in (22, 3478, 5060, theirs.port ^ 1):
        assert sends(one, Address(HOST, port), b"x") == []
        assert binds(one, 0x4000, Address(HOST, port)) == 403
    assert binds(one, 0x4000, theirs) == 0


@pytest.mark.must("8656 21.4/1")
def test_21_4_nobody_asks_out_of_a_tunnel() -> None:
    assert code_of(Speaker(Bench(), Address("2002:c000:201::1", 4000)).allocate()) == 403


def test_bandwidth_of_one_user_and_of_all() -> None:
    bench = Bench(TurnLimits(bytes_per_s=1500, bytes_per_s_per_user=1000))
    one, two = Speaker(bench, CLIENT), Speaker(bench, OTHER, "bob")
    for client in (one, two):
        client.relayed()
        client.permit(PEER)
    assert [len(sends(one, PEER, bytes(500))) for _ in range(3)] == [1, 1, 0]
    assert [len(sends(two, PEER, bytes(400))) for _ in range(2)] == [1, 0]
    bench.now = 0.5
    assert [len(sends(one, PEER, bytes(500))) for _ in range(2)] == [1, 0]


@pytest.mark.long
@pytest.mark.parametrize("method", [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND, BINDING])
def test_strangers_gain_nothing_by_asking_in_anothers_name(method: int) -> None:
    """However many ask: beyond what they sent, at most so many bytes a second come out, of all together."""
    bench = Bench(TurnLimits(surplus_bytes_per_s=500))
    asked = answered = 0
    for number in range(10_000):
        data = StunMessage(MessageClass.REQUEST, method, number.to_bytes(12, "big"), ((0x8022, b"x" * 8),)).encode()
        asked += len(data)
        victim = Flow(SERVER, Address(f"192.0.2.{number % 200}", number))
        answered += sum(len(e.data) for e in bench.hand(victim, data) if isinstance(e, Transmit))
    assert answered <= asked + 500


def test_a_long_question_is_always_answered() -> None:
    bench = Bench(TurnLimits(surplus_bytes_per_s=0))
    padding = (0x8022, b" " * 80)
    assert code_of(Speaker(bench, CLIENT).allocate(padding)) == 0


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=8))
def test_garbage_ends_in_a_drop(parts: list[tuple[bool, bytes]]) -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    client.relayed()
    head = StunMessage(MessageClass.REQUEST, ALLOCATE, b"twelve bytes").encode()
    for is_like_stun, data in parts:
        whole = head[:2] + len(data).to_bytes(2, "big") + head[4:] + data if is_like_stun else data
        for flow in (client.flow, Flow(SERVER, OTHER, is_stream=True)):
            assert not any(isinstance(effect, TurnRelay) for effect in bench.hand(flow, whole))
    assert len(bench.open) == 1
