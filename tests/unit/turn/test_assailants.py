"""Who floods a relay, steals a credential, or wants somebody else's channel."""

from __future__ import annotations

from turn_bench import HOST, PEER, SERVER, Bench, Speaker, code_of

from p2psip.base.address import Address
from p2psip.stun.attributes import CHANNEL_NUMBER, REQUESTED_TRANSPORT, XOR_PEER_ADDRESS
from p2psip.stun.credentials import Proof
from p2psip.stun.framing import ChannelData
from p2psip.stun.integrity import signed
from p2psip.stun.message import BINDING, MessageClass, StunMessage
from p2psip.turn.limits import TurnLimits
from p2psip.turn.methods import ALLOCATE, CHANNEL_BIND
from p2psip.turn.values import Flow, Transmit, TurnRelay

CLIENT, THIEF = Address("192.0.2.7", 4000), Address("192.0.2.8", 4000)
CHANNEL = 0x4000


def bind(client: Speaker) -> bytes:
    """A proven request for a channel to the peer, as it goes over the wire."""
    transaction = client.transaction()
    assert client.proof is not None
    attributes = (CHANNEL_NUMBER.of(CHANNEL), XOR_PEER_ADDRESS.of(PEER, transaction), *client.proof.attributes)
    request = StunMessage(MessageClass.REQUEST, CHANNEL_BIND, transaction, attributes)
    return signed(request, client.proof.key, client.proof.integrity).encode()


def bound(bench: Bench) -> tuple[Speaker, Address]:
    """A client with a channel to the peer, and its relayed address."""
    client = Speaker(bench, CLIENT)
    relayed = client.relayed()
    bench.hand(client.flow, bind(client))
    on_channel = ChannelData.encode(CHANNEL, b"x", is_stream=False)
    assert bench.hand(client.flow, on_channel) == [TurnRelay(relayed, PEER, b"x")]
    return client, relayed


def test_a_flood_of_strangers_holds_nothing_gains_little_and_keeps_no_member_out() -> None:
    """Binding and Allocate requests in the names of thousands, in one second: no more surplus than is granted, no port,
    no table; and a member is served all the time, whose question is as long as its answer.
    """
    bench = Bench(TurnLimits(surplus_bytes_per_s=1000))
    asked = answered = 0
    for number in range(4000):
        bench.now = number / 4000
        flow = Flow(SERVER, Address(f"203.0.{number % 200}.{1 + number % 250}", 1 + number))
        method, attributes = ((BINDING, ()), (ALLOCATE, (REQUESTED_TRANSPORT.of(17),)))[number % 2]
        data = StunMessage(MessageClass.REQUEST, method, number.to_bytes(12, "big"), attributes).encode()
        for effect in bench.hand(flow, data):
            assert isinstance(effect, Transmit)
            asked, answered = asked + len(data), answered + len(effect.data)
    assert 0 < answered - asked <= 2 * 1000
    assert (len(bench.server), bench.open) == (0, set())
    assert bench.server.next_deadline() is None
    assert Speaker(bench, CLIENT, is_stream=True).relayed().host == HOST


def test_a_stolen_credential_is_good_for_what_its_member_may_have_and_until_it_ends() -> None:
    """All who show it are one member: one quota of allocations, none of another's, and no longer than it lasts."""
    bench = Bench(TurnLimits(allocations_per_user=2))
    owner = Speaker(bench, CLIENT)
    owner.credential = bench.members.issue("alice", 100, 0.0)
    owner.relayed()
    thieves = [Speaker(bench, THIEF._replace(port=4000 + number)) for number in range(5)]
    for thief in thieves:
        thief.credential = owner.credential
    assert [code_of(thief.allocate()) for thief in thieves] == [0, 486, 486, 486, 486]
    assert code_of(Speaker(bench, THIEF, "bob").allocate()) == 437, "where the thief is, bob is not"
    bench.now = 100.0
    assert {code_of(thief.allocate()) for thief in thieves[1:]} == {401}
    assert code_of(thieves[0].refresh(600)) == 401
    bench.pass_time(700.0)
    assert len(bench.server) == 0


def test_a_credential_of_one_relay_is_none_at_another() -> None:
    """Each has a secret of its own."""
    here, there = Bench(), Bench()
    there.members._secret = b"another sixteen bytes"
    thief = Speaker(there, THIEF)
    thief.credential = here.members.issue("alice", 1000, 0.0)
    assert code_of(thief.allocate()) == 401


def test_a_channel_is_its_client_s_alone() -> None:
    """Its number means nothing on another flow, also of another allocation of the same member; the request that bound
    it, heard on the way and sent again, binds nothing from elsewhere, and nothing else from here.
    """
    bench = Bench()
    client, relayed = bound(bench)
    thief = Speaker(bench, THIEF)
    on_channel = ChannelData.encode(CHANNEL, b"stolen", is_stream=False)
    assert bench.hand(thief.flow, on_channel) == []
    theirs = thief.relayed()
    assert bench.hand(thief.flow, on_channel) == []
    assert all(isinstance(each, Transmit) for each in bench.hand(thief.flow, bind(client))), "its nonce is of elsewhere"
    assert bench.hand(thief.flow, on_channel) == []
    [came] = bench.hand(client.flow, on_channel)
    assert came == TurnRelay(relayed, PEER, b"stolen")
    bench.server.handle_relayed(theirs, PEER, b"back", bench.now)
    assert bench.settle() == [], "what the peer sends to another's relayed address is nobody's"
    assert [type(each) for each in bench.hand(client.flow, bind(client))] == [Transmit]
    assert bench.hand(client.flow, on_channel) == [TurnRelay(relayed, PEER, b"stolen")]


def test_a_channel_is_not_turned_to_another_peer_by_who_has_no_proof() -> None:
    """Not without integrity, not with a made-up one, and the bytes of a true request are not those of another peer."""
    bench = Bench()
    client, relayed = bound(bench)
    victim = Address("198.51.100.66", 1)
    proof, transaction = client.proof, client.transaction()
    assert proof is not None
    attributes = (CHANNEL_NUMBER.of(CHANNEL + 1), XOR_PEER_ADDRESS.of(victim, transaction))
    forged = Proof(proof.attributes, b"guessed", proof.integrity)
    plain = StunMessage(MessageClass.REQUEST, CHANNEL_BIND, transaction, attributes)
    proven = StunMessage(MessageClass.REQUEST, CHANNEL_BIND, transaction, (*attributes, *forged.attributes))
    changed = bytearray(bind(client))
    changed[27] ^= 1  # The last bit of the channel's number: the integrity is that of the first request.
    for data in (plain.encode(), signed(proven, forged.key, forged.integrity).encode(), bytes(changed)):
        bench.hand(client.flow, data)
        assert bench.hand(client.flow, ChannelData.encode(CHANNEL + 1, b"x", is_stream=False)) == []
    assert bench.hand(client.flow, ChannelData.encode(CHANNEL, b"x", is_stream=False)) == [
        TurnRelay(relayed, PEER, b"x")
    ]
