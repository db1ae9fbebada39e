"""RFC 8656 (TURN): allocations, permissions, channels, from both ends."""

from __future__ import annotations

import random

import pytest
from turn_bench import HOST, HOST6, PEER, SERVER, Bench, Speaker, code_of

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    CHANNEL_NUMBER,
    DATA,
    ERROR_CODE,
    ICMP,
    LIFETIME,
    PASSWORD_ALGORITHM,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AddressError,
    Algorithm,
    Family,
    Icmp,
    StunErrorCode,
)
from p2psip.stun.framing import ChannelData, is_channel_data
from p2psip.stun.integrity import signed
from p2psip.stun.message import MessageClass, StunMessage, decode
from p2psip.turn.client import TurnClient
from p2psip.turn.client_values import Allocated, Loss, NotArrived, NotPermitted, Permitted, RelayLost
from p2psip.turn.limits import TurnLimits
from p2psip.turn.methods import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA_METHOD, REFRESH, SEND
from p2psip.turn.values import Flow, Transmit, TurnRelay

CLIENT = Address("192.0.2.7", 4000)
PEER6 = Address("2001:db8:9::9", 5000)
FORBIDDEN_TO_CLIENTS = {0x0018, 0x0022, 0x001A}
"""EVEN-PORT, RESERVATION-TOKEN, DONT-FRAGMENT."""


class _Client:
    """Our client at our server, and all that it has said."""

    def __init__(self, families: tuple[Family, ...] = (Family.IPV4,), bench: Bench | None = None) -> None:
        self.bench = bench or Bench()
        credential = self.bench.members.issue("alice", 100_000, 0.0)
        self.core = TurnClient(Flow(CLIENT, SERVER), credential, random.Random(1), families)
        self.said: list[StunMessage | bytes] = []
        self.relayed: list[TurnRelay] = []

    def run(self) -> list[Effect]:
        """What it tells."""
        told: list[Effect] = []
        while effects := self.core.drain():
            for effect in effects:
                if not isinstance(effect, Transmit):
                    told.append(effect)
                    continue
                self.said.append(effect.data if is_channel_data(effect.data) else decode(effect.data))
                for answer in self.bench.hand(Flow(SERVER, CLIENT), effect.data):
                    if isinstance(answer, Transmit):
                        self.core.handle_data(answer.data, self.bench.now)
                    elif isinstance(answer, TurnRelay):
                        self.relayed.append(answer)
        return told

    def allocated(self) -> Allocated:
        self.core.allocate(self.bench.now)
        [effect] = self.run()
        assert isinstance(effect, Allocated)
        return effect

    def requests(self, method: int) -> list[StunMessage]:
        return [each for each in self.said if isinstance(each, StunMessage) and each.method == method]

    def answered(self, attributes: tuple[tuple[int, bytes], ...], message_class: MessageClass) -> list[Effect]:
        """Have the request that is under way answered, with the right integrity, by these attributes."""
        [effect] = self.core.drain()
        assert isinstance(effect, Transmit)
        request = decode(effect.data)
        answer = StunMessage(message_class, request.method, request.transaction, attributes)
        proof = self.core._proof
        assert proof is not None
        self.core.handle_data(signed(answer, proof.key, proof.integrity).encode(), self.bench.now)
        return self.core.drain()


def challenged(families: tuple[Family, ...]) -> tuple[_Client, bytes]:
    """A client that has answered the challenge and waits for its allocation; its transaction."""
    client = _Client(families)
    client.core.allocate(0.0)
    [first] = client.core.drain()
    assert isinstance(first, Transmit)
    [challenge] = client.bench.hand(Flow(SERVER, CLIENT), first.data)
    assert isinstance(challenge, Transmit)
    client.core.handle_data(challenge.data, 0.0)
    [request] = client.core._transactions.drain() or client.core._effects
    assert isinstance(request, Transmit)
    return client, decode(request.data).transaction


# 5, 6: what a server and its allocations are


@pytest.mark.must("8656 5/1", "8656 7.2/1", "8656 7.2/2", "8656 5/6")
def test_5_every_request_has_to_be_proven_by_long_term_credentials() -> None:
    for method in (ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND):
        assert code_of(Speaker(Bench(), CLIENT).try_once(method, REQUESTED_TRANSPORT.of(17))) == 401
    assert Speaker(Bench(), CLIENT).relayed().host == HOST, "over UDP"
    assert Speaker(Bench(), CLIENT, is_stream=True).relayed().host == HOST, "and TCP"


@pytest.mark.must("8656 5/4")
def test_5_without_an_allocation_requests_hear_437_and_all_else_nothing() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    transaction = client.transaction()
    peer = XOR_PEER_ADDRESS.of(PEER, transaction)
    client.credential = bench.members.issue("alice", 1000, 0.0)
    for method, attributes in ((REFRESH, ()), (CREATE_PERMISSION, (peer,)), (CHANNEL_BIND, (peer,))):
        assert code_of(client.ask(method, *attributes)) == 437
    send = StunMessage(MessageClass.INDICATION, SEND, transaction, (peer, DATA.of(b"x")))
    assert bench.hand(client.flow, send.encode()) == []
    assert bench.hand(client.flow, ChannelData.encode(0x4000, b"x", is_stream=False)) == []


@pytest.mark.must("8656 5/5")
def test_5_after_437_there_is_no_allocation() -> None:
    client = _Client()
    client.allocated()
    client.bench.__post_init__()
    client.core.doubt(0.0)
    [effect] = client.run()
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.RESTARTED
    assert client.core.next_deadline() is None


@pytest.mark.must("8656 6/1")
def test_6_relayed_addresses_are_different_also_where_chance_says_the_same() -> None:
    bench = Bench(TurnLimits(allocations=300, allocations_per_user=300), relays=(HOST,))

    class Narrow(random.Random):
        def choice(self, seq):  # type: ignore[no-untyped-def]
            return seq[self.randrange(400)]

    bench.server._rng = Narrow(1)
    relayed = set()
    for number in range(1, 301):
        bench.now = float(number)
        relayed.add(Speaker(bench, CLIENT._replace(port=number)).relayed())
    assert len(relayed) == 300


@pytest.mark.must("8656 6/2")
def test_6_no_password_is_stored() -> None:
    """That of a member is made anew each time that it asks, of its user name and a secret."""
    bench = Bench()
    client = Speaker(bench, CLIENT)
    client.relayed()
    password = bench.members.issue("alice", 100_000, 0.0).password
    assert client.credential.password == password
    assert password not in repr(vars(bench.members)) + repr(vars(bench.server))


@pytest.mark.must("8656 6/3")
def test_6_of_md5_and_sha_256_the_latter() -> None:
    client = _Client()
    client.allocated()
    assert PASSWORD_ALGORITHM.first(client.requests(ALLOCATE)[-1]) == (Algorithm.SHA256,)


# 7, 8: allocating, refreshing


@pytest.mark.must(
    "8656 7.1/1", "8656 7.1/2", "8656 7.1/3", "8656 7.1/4", "8656 7.1/5", "8656 7.1/6", "8656 7.1/7", "8656 7.1/8",
)  # fmt: skip
@pytest.mark.parametrize("families", [(Family.IPV4,), (Family.IPV6,), (Family.IPV4, Family.IPV6)])
def test_7_1_what_a_client_asks_for(families: tuple[Family, ...]) -> None:
    client = _Client(families)
    client.allocated()
    for request in client.requests(ALLOCATE):
        kinds = [kind for kind, _ in request.attributes]
        assert REQUESTED_TRANSPORT.first(request) == 17
        assert not set(kinds) & FORBIDDEN_TO_CLIENTS
        assert kinds.count(REQUESTED_ADDRESS_FAMILY.kind) + kinds.count(ADDITIONAL_ADDRESS_FAMILY.kind) <= 1
        assert ADDITIONAL_ADDRESS_FAMILY.first(request) == (Family.IPV6 if len(families) == 2 else None)


@pytest.mark.must("8656 7.2/3", "8656 7.2/4", "8656 7.2/5")
def test_7_2_a_family_that_the_server_does_not_have() -> None:
    only4, only6 = Bench(relays=(HOST,)), Bench(relays=(HOST6,))
    assert code_of(Speaker(only4, CLIENT).allocate(REQUESTED_ADDRESS_FAMILY.of(Family.IPV6))) == 440
    assert code_of(Speaker(only6, CLIENT).allocate()) == 440
    assert Speaker(Bench(), CLIENT).relayed().host == HOST


@pytest.mark.must("8656 7.3/1", "8656 7.3/2")
def test_7_3_an_address_of_a_family_that_was_not_asked_for_is_given_back() -> None:
    client, transaction = challenged((Family.IPV4,))
    granted = (
        XOR_RELAYED_ADDRESS.of(Address(HOST6, 50_000), transaction),
        XOR_MAPPED_ADDRESS.of(CLIENT, transaction),
        LIFETIME.of(600),
    )
    effects = client.answered(granted, MessageClass.SUCCESS)
    [given_back] = [decode(each.data) for each in effects if isinstance(each, Transmit)]
    assert (given_back.method, LIFETIME.first(given_back)) == (REFRESH, 0)
    [lost] = [each for each in effects if isinstance(each, RelayLost)]
    assert lost.loss is Loss.REFUSED
    assert client.core.next_deadline() is None


@pytest.mark.must("8656 7.3/3")
def test_7_3_one_family_of_two_is_not_asked_for_again() -> None:
    client = _Client((Family.IPV4, Family.IPV6), Bench(relays=(HOST,)))
    assert [each.host for each in client.allocated().relayed] == [HOST]
    before = len(client.requests(ALLOCATE))
    while (deadline := client.core.next_deadline()) is not None and deadline.at < 2000.0:
        client.bench.pass_time(deadline.at)
        client.core.handle_timeout(deadline.at)
        client.run()
    assert len(client.requests(ALLOCATE)) == before


@pytest.mark.must("8656 7.4/1", "8656 7.4/2")
@pytest.mark.parametrize("code", [440, 699])
def test_7_4_after_440_or_an_error_that_nobody_knows_nothing_is_asked_again(code: int) -> None:
    client, _ = challenged((Family.IPV6,))
    effects = client.answered((ERROR_CODE.of(StunErrorCode(code)),), MessageClass.ERROR)
    [effect] = effects
    assert isinstance(effect, RelayLost)
    assert client.core.next_deadline() is None


@pytest.mark.must("8656 8/1", "8656 8.1/1")
def test_8_it_is_refreshed_before_it_ends_and_whole() -> None:
    client = _Client()
    client.allocated()
    assert not [each for each in client.requests(REFRESH) if REQUESTED_ADDRESS_FAMILY.within(each)]
    times = []
    while (deadline := client.core.next_deadline()) is not None and deadline.at < 4000.0:
        client.bench.pass_time(deadline.at)
        client.core.handle_timeout(deadline.at)
        client.run()
        times.append(deadline.at)
        assert len(client.bench.server) == 1
    assert not [each for each in client.requests(REFRESH) if REQUESTED_ADDRESS_FAMILY.within(each)]


@pytest.mark.must("8656 8.2/1", "8656 8.1/2")
def test_8_2_a_family_that_the_allocation_does_not_have_and_one_of_two() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    client.relayed()
    assert code_of(client.ask(REFRESH, REQUESTED_ADDRESS_FAMILY.of(Family.IPV6))) == 443
    both = Speaker(bench, CLIENT._replace(port=4001))
    relayed = {Family.of(each.host): each for each in XOR_RELAYED_ADDRESS.every(
        both.allocate(ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6))
    )}  # fmt: skip
    both.permit(PEER)
    both.permit(PEER6)
    both.ask(REFRESH, REQUESTED_ADDRESS_FAMILY.of(Family.IPV6), LIFETIME.of(0))
    bench.server.handle_relayed(relayed[Family.IPV6], PEER6, b"x", 0.0)
    assert bench.settle() == []
    bench.server.handle_relayed(relayed[Family.IPV4], PEER, b"x", 0.0)
    assert len(bench.settle()) == 1


# 9 to 11: permissions, Send and Data


@pytest.mark.must("8656 9/1")
def test_9_a_permission_is_there_for_300_seconds() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    relayed = client.relayed()
    client.permit(PEER)
    for at, expected in ((299.9, 1), (300.0, 0)):
        bench.now = at
        bench.server.handle_relayed(relayed, PEER, b"x", at)
        assert len(bench.settle()) == expected


@pytest.mark.must("8445 7.2.1/1", "8445 7.2.1/2")
@pytest.mark.must("8656 10.1/1", "8656 10.1/2", "8656 12.1/1", "8656 11.1/1")
def test_10_1_a_client_asks_only_for_peers_of_a_family_that_it_has() -> None:
    client = _Client()
    client.allocated()
    client.core.permit([PEER.host, PEER6.host], 0.0)
    client.core.bind(PEER6, 0.0)
    told = client.run()
    assert Permitted(PEER.host) in told
    refused = [each for each in told if isinstance(each, NotPermitted)]
    assert [(each.host, each.code) for each in refused] == [(PEER6.host, 443)] * 2
    [request] = client.requests(CREATE_PERMISSION)
    assert [each.host for each in XOR_PEER_ADDRESS.every(request)] == [PEER.host]
    assert client.requests(CHANNEL_BIND) == []
    assert not client.core.send(PEER6, b"x", 0.0)
    assert client.core.send(PEER, b"x", 0.0)


@pytest.mark.must("8656 10.2/1", "8656 10.2/2", "8656 12.2/1")
def test_10_2_at_least_one_peer_and_of_the_family_of_the_allocation() -> None:
    client = Speaker(Bench(), CLIENT)
    client.relayed()
    assert code_of(client.permit()) == 400
    assert code_of(client.permit(PEER, PEER6)) == 443
    transaction = client.transaction()
    bind = CHANNEL_NUMBER.of(0x4000), XOR_PEER_ADDRESS.of(PEER6, transaction)
    assert code_of(client.try_once(CHANNEL_BIND, *bind, transaction=transaction)) == 443


@pytest.mark.must("8656 11.1/2", "8656 11.2/1", "8656 11.3/1")
def test_11_send_and_data_indications_have_a_peer_and_data() -> None:
    client = _Client()
    relayed = client.allocated().relayed[0]
    client.core.permit([PEER.host], 0.0)
    client.run()
    client.core.send(PEER, b"data", 0.0)
    client.run()
    [send] = client.requests(SEND)
    assert (XOR_PEER_ADDRESS.first(send), DATA.first(send)) == (PEER, b"data")
    assert client.relayed == [TurnRelay(relayed, PEER, b"data")]
    for without in (0, 1):
        attributes = tuple(each for place, each in enumerate(send.attributes) if place != without)
        data = StunMessage(MessageClass.INDICATION, SEND, send.transaction, attributes).encode()
        assert client.bench.hand(Flow(SERVER, CLIENT), data) == []
    client.bench.server.handle_relayed(relayed, PEER, b"back", 0.0)
    [came] = client.bench.settle()
    assert isinstance(came, Transmit)
    indication = decode(came.data)
    assert (indication.message_class, indication.method) == (MessageClass.INDICATION, DATA_METHOD)
    assert (XOR_PEER_ADDRESS.first(indication), DATA.first(indication)) == (PEER, b"back")


@pytest.mark.must("8656 11.5/1", "8656 11.5/2", "8656 18.13/1", "8656 18.13/2")
def test_11_5_icmp_from_any_router_is_told_if_it_is_of_a_peer_that_is_permitted() -> None:
    """It is the destination of the datagram that counts: from where the ICMP came nobody asks."""
    client = _Client()
    relayed = client.allocated().relayed[0]
    client.core.permit([PEER.host], 0.0)
    client.run()
    client.bench.server.handle_icmp(relayed, PEER, Icmp(3, 4, 1000), 0.0)
    client.bench.server.handle_icmp(relayed, PEER._replace(host="198.51.100.77"), Icmp(3, 3), 0.0)
    [came] = client.bench.settle()
    assert isinstance(came, Transmit)
    indication = decode(came.data)
    assert XOR_PEER_ADDRESS.first(indication) == PEER
    assert ICMP.first(indication) == Icmp(3, 4, 1000)
    value = dict(indication.attributes)[ICMP.kind]
    assert value[:2] == bytes(2)
    assert ICMP.form.read(b"\xff\xff" + value[2:], b"") == Icmp(3, 4, 1000)
    assert ICMP.of(Icmp(3, 3))[1][4:] == bytes(4)
    client.core.handle_data(came.data, 0.0)
    assert client.core.drain() == [NotArrived(PEER, Icmp(3, 4, 1000))]


# 12: channels


@pytest.mark.must("8656 12/2", "8656 12/3", "8656 12.5/1", "8656 12.5/2")
def test_12_channels_of_a_client_are_in_their_range_and_always_of_the_same_peer() -> None:
    """So it has nothing to wait for: no number and no peer is ever bound otherwise."""
    client = _Client()
    relayed = client.allocated().relayed[0]
    peers = [PEER._replace(port=5000 + number) for number in range(20)]
    for peer in (*peers, *peers):
        client.core.bind(peer, 0.0)
    client.run()
    bound = {(CHANNEL_NUMBER.first(each), XOR_PEER_ADDRESS.first(each)) for each in client.requests(CHANNEL_BIND)}
    assert len(bound) == len(peers) == len({number for number, _ in bound})
    assert all(number is not None and 0x4000 <= number <= 0x4FFF for number, _ in bound)
    client.bench.server.handle_relayed(relayed, peers[0], b"odd", 0.0)
    [came] = client.bench.settle()
    assert isinstance(came, Transmit)
    assert is_channel_data(came.data)
    assert len(ChannelData.encode(0x4000, b"odd", is_stream=True)) % 4 == 0


@pytest.mark.must("8656 12.6/1")
def test_12_6_channel_data_keeps_neither_the_channel_nor_the_permission() -> None:
    bench = Bench()
    client = Speaker(bench, CLIENT)
    relayed = client.relayed(LIFETIME.of(3600))
    transaction = client.transaction()
    bind = CHANNEL_NUMBER.of(0x4000), XOR_PEER_ADDRESS.of(PEER, transaction)
    assert code_of(client.try_once(CHANNEL_BIND, *bind, transaction=transaction)) == 0
    passes = []
    for at in range(0, 700, 50):
        bench.now = float(at)
        passes.append(bool(bench.hand(client.flow, ChannelData.encode(0x4000, b"x", is_stream=False))))
    assert passes == [at < 300 for at in range(0, 700, 50)], "the permission ends after 300 s"
    client.permit(PEER)
    assert bench.hand(client.flow, ChannelData.encode(0x4000, b"x", is_stream=False)) == [], "and the channel after 600"
    bench.server.handle_relayed(relayed, PEER, b"x", bench.now)
    assert len(bench.settle()) == 1


# 18: attributes


@pytest.mark.must("8656 18.1/1", "8656 18.6/1", "8656 18.8/1", "8656 18.12/1", "8656 18.12/2")
def test_18_what_is_reserved_is_zero_and_nobody_reads_it() -> None:
    assert CHANNEL_NUMBER.of(0x4000)[1] == bytes.fromhex("40000000")
    assert REQUESTED_TRANSPORT.of(17)[1] == bytes.fromhex("11000000")
    assert REQUESTED_ADDRESS_FAMILY.of(Family.IPV6)[1] == bytes.fromhex("02000000")
    error = ADDRESS_ERROR_CODE.of(AddressError(Family.IPV6, 440, "Address Family not Supported"))[1]
    assert error[:4] == bytes.fromhex("02000428")
    assert len(error[4:].decode()) < 128
    for attribute, data, expected in (
        (CHANNEL_NUMBER, "4000ffff", 0x4000),
        (REQUESTED_TRANSPORT, "11ffffff", 17),
        (REQUESTED_ADDRESS_FAMILY, "02ffffff", Family.IPV6),
        (ADDRESS_ERROR_CODE, "02fffc28", AddressError(Family.IPV6, 440)),
    ):
        assert attribute.form.read(bytes.fromhex(data), b"") == expected
