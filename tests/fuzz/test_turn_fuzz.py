"""Damaged TURN, of clients and of relays: both ends outlive it in little memory, and nothing goes where it must not."""

from __future__ import annotations

import itertools
import random

import pytest
from effort import times
from mutations import mutant
from turn_bench import PEER, SERVER, Bench, Speaker

from p2psip.base.address import Address
from p2psip.reload.paths.relays.own_relay import STREAM_LOOK_S, OwnRelay
from p2psip.reload.paths.relays.relay_values import (
    OpenRelayPort,
    RelayPortOpened,
    RelayStreamCame,
    RelayStreamUp,
    WriteStream,
)
from p2psip.reload.paths.values import HangUp
from p2psip.stun.attributes import (
    CHANNEL_NUMBER,
    DATA,
    LIFETIME,
    REQUESTED_TRANSPORT,
    SOFTWARE,
    XOR_PEER_ADDRESS,
)
from p2psip.stun.credentials import Proof
from p2psip.stun.framing import ChannelData
from p2psip.stun.integrity import signed
from p2psip.stun.message import MessageClass, StunMessage
from p2psip.turn.client import TurnClient
from p2psip.turn.client_values import RelayLost
from p2psip.turn.limits import TurnLimits
from p2psip.turn.methods import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND
from p2psip.turn.peers import Scope, scope_of
from p2psip.turn.values import Flow, RelaySettings, Transmit, TurnRelay

CLIENT = Address("192.0.2.7", 4000)


def _messages(client: Speaker) -> list[bytes]:
    """One of each kind, as the client would say it."""
    transaction = client.transaction()
    peer = XOR_PEER_ADDRESS.of(PEER, transaction)
    bodies = {
        ALLOCATE: (REQUESTED_TRANSPORT.of(17), LIFETIME.of(600), SOFTWARE.of("a client")),
        REFRESH: (LIFETIME.of(600),),
        CREATE_PERMISSION: (peer,),
        CHANNEL_BIND: (peer, CHANNEL_NUMBER.of(0x4000)),
    }
    requests = [
        StunMessage(MessageClass.REQUEST, method, transaction, body, has_fingerprint)
        for method, body in bodies.items()
        for has_fingerprint in (False, True)
    ]
    send = StunMessage(MessageClass.INDICATION, SEND, transaction, (peer, DATA.of(b"data")))
    return [*(each.encode() for each in [*requests, send]), ChannelData.encode(0x4000, b"data", is_stream=True)]


def _damaged(rng: random.Random, data: bytes, proof: Proof | None) -> bytes:
    """Damaged before a member signs it, or after."""
    if proof is None or rng.random() < 0.5:
        return mutant([data], rng)
    attributes = [
        (kind, mutant([value], rng)) if rng.random() < 0.4 else (kind, value) for kind, value in proof.attributes
    ]
    kind = rng.choice([XOR_PEER_ADDRESS.kind, LIFETIME.kind, CHANNEL_NUMBER.kind, 0x7FFF, 0x17, 0x18, 0x22])
    attributes.insert(0, (kind, rng.randbytes(rng.choice([0, 1, 4, 8, 20]))))
    method = rng.choice([ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND])
    request = StunMessage(MessageClass.REQUEST, method, rng.randbytes(12), tuple(attributes))
    return signed(request, proof.key, proof.integrity).encode()


@pytest.mark.parametrize("seed", range(times(20)))
def test_a_relay_outlives_its_clients(seed: int) -> None:
    rng = random.Random(f"turn server {seed}")
    bench = Bench(TurnLimits(allocations=4, streams=4))
    client = Speaker(bench, CLIENT)
    client.relayed()
    flows = [client.flow, *(Flow(SERVER, Address("192.0.2.8", port), port % 2 == 0) for port in range(8))]
    for _ in range(150):
        data = _damaged(rng, rng.choice(_messages(client)), client.proof)
        for effect in bench.hand(rng.choice(flows), data):
            assert not isinstance(effect, TurnRelay) or scope_of(effect.peer.host) is Scope.GLOBAL
        bench.now += rng.random()
        assert len(bench.open) <= 4
    bench.pass_time(bench.now + 4000)
    assert (len(bench.server), bench.open) == (0, set())


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(20)))
def test_a_client_outlives_its_relay(seed: int) -> None:
    """Whatever comes back, there is something to wait for, or the allocation is lost, and then nothing is sent."""
    rng = random.Random(f"turn client {seed}")
    bench = Bench()
    client = TurnClient(Flow(CLIENT, SERVER), bench.members.issue("alice", 100_000, 0.0), random.Random(seed))
    client.allocate(0.0)
    now, is_lost = 0.0, False
    for _ in range(300):
        for effect in client.drain():
            is_lost = is_lost or isinstance(effect, RelayLost)
            if not isinstance(effect, Transmit):
                continue
            for answer in bench.hand(Flow(SERVER, CLIENT), effect.data):
                if isinstance(answer, Transmit):
                    client.handle_data(mutant([answer.data], rng), now)
                    client.handle_data(answer.data if rng.random() < 0.8 else rng.randbytes(30), now)
        deadline = client.next_deadline()
        if deadline is None:
            break
        now = bench.now = max(now, deadline.at)
        client.handle_timeout(now)
        client.permit([PEER.host], now)
        client.send(PEER, b"x", now)
    is_lost = is_lost or any(isinstance(effect, RelayLost) for effect in client.drain())
    assert is_lost is (client.next_deadline() is None)
    assert not (is_lost and client.send(PEER, b"x", now))


def test_the_undamaged_ones_are_served() -> None:
    """So the others were damaged, and not all wrong from the start."""
    bench = Bench()
    client = Speaker(bench, CLIENT)
    relayed = client.relayed()
    client.permit(PEER)
    [*_, send, _] = _messages(client)
    assert bench.hand(client.flow, send) == [TurnRelay(relayed, PEER, b"data")]


@pytest.mark.parametrize("seed", range(times(10)))
def test_a_relay_outlives_streams_of_strangers_and_of_members(seed: int) -> None:
    """They come, say anything in pieces of any size, and go, or stay: so many there are at the most, what is written
    goes to one that is there, and when time has passed those are left on which something is lent.
    """
    rng = random.Random(f"turn streams {seed}")
    relay, limits = OwnRelay(rng), TurnLimits(allocations=4, streams=6)
    relay.offer(RelaySettings("club", (SERVER.host,), frozenset((SERVER.host,)), frozenset((SERVER,))), limits, 0.0)
    credential = relay.issue("alice", 3600, 0.0)
    assert credential is not None
    client = TurnClient(Flow(CLIENT, SERVER, True), credential, rng)
    alive: set[int] = set()
    now, numbers, mine = 0.0, itertools.count(3, 2), 1

    def settle() -> None:
        while effects := relay.drain():
            for effect in effects:
                match effect:
                    case HangUp(number):
                        alive.discard(number)
                    case WriteStream(number, data):
                        assert number in alive
                        if number == mine:
                            client.handle_data(data, now)
                    case OpenRelayPort(token):
                        relay.handle_port(RelayPortOpened(token, rng.random() < 0.7), now)

    def come(number: int, remote: Address) -> None:
        alive.add(number)
        relay.stream_up(RelayStreamUp(number, SERVER, remote), now)
        settle()

    come(mine, CLIENT)
    client.allocate(now)
    for _ in range(200):
        said = b"".join(effect.data for effect in client.drain() if isinstance(effect, Transmit))
        if said and mine in alive:
            relay.handle_stream(RelayStreamCame(mine, said), now)
            settle()
        what = rng.random()
        if what < 0.3:
            come(next(numbers), Address(f"198.51.100.{rng.randrange(4)}", rng.randrange(1024, 1040)))
        elif what < 0.4 and alive:
            gone = rng.choice(sorted(alive))
            alive.discard(gone)
            relay.stream_down(gone)
            settle()
        elif alive:
            data = mutant([said or bytes(20), ChannelData.encode(0x4000, b"data", is_stream=True)], rng)
            relay.handle_stream(RelayStreamCame(rng.choice(sorted(alive)), data[: rng.randrange(1, 40)]), now)
            settle()
        assert set(relay.streams) == alive
        assert len(alive) <= limits.streams
        now += rng.random()
        relay.handle_timeout(now)
        client.handle_timeout(now)
        settle()
    for _ in range(2):
        now += STREAM_LOOK_S
        relay.handle_timeout(now)
        settle()
    assert len(alive) == len(relay) <= 1
