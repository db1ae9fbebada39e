"""p2psip.reload.paths.relays over streams: the cores of both ends wired to each other, and what strangers may hold."""

from __future__ import annotations

import random

import pytest
from relay_wire import BASE, OURS, PEER, RELAY, SETTINGS, THEIRS, Pipe

from p2psip.base.address import Address
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.relays.own_relay import PLAIN_STREAMS_MAX, STREAM_LOOK_S, STREAM_S, OwnRelay
from p2psip.reload.paths.relays.relay_values import (
    DropRelayed,
    RelayGone,
    RelayStreamCame,
    RelayStreamUp,
    RelayTaken,
    UseRelayed,
    WriteStream,
)
from p2psip.reload.paths.relays.relayed_addresses import RelayedAddresses
from p2psip.reload.paths.values import HangUp, Open, Opened, Secure, SendStun, StunArrived
from p2psip.stun.attributes import XOR_MAPPED_ADDRESS
from p2psip.stun.credentials import StunCredential
from p2psip.stun.message import BINDING, MessageClass, StunMessage, decode
from p2psip.turn.client_values import Loss
from p2psip.turn.limits import TurnLimits
from p2psip.turn.methods import ALLOCATE
from p2psip.turn.values import STUN_TURN, CloseRelay, TurnRelay


def test_an_address_that_is_lent_over_a_stream_is_as_any_other() -> None:
    pipe = Pipe()
    relayed = pipe.take()
    assert pipe.done() == [UseRelayed(relayed, BASE), RelayTaken(BASE, RELAY, (relayed,), over_stream=True)]
    pipe.lent.permit([PEER.host], 0.0)
    pipe.carry()
    pipe.lent.send(relayed, PEER, b"\x16data", 0.0)
    pipe.carry()
    assert pipe.done() == [TurnRelay(relayed, PEER, b"\x16data")]


def test_a_stream_that_ends_takes_what_was_lent_with_it() -> None:
    """At both ends, and at once."""
    pipe = Pipe()
    relayed = pipe.take()
    pipe.done()
    pipe.lent.stream_down(OURS, "reset", 1.0)
    pipe.relay.stream_down(THEIRS)
    pipe.carry()
    dropped, gone, closed = pipe.done()
    assert (dropped, closed) == (DropRelayed(relayed), CloseRelay(relayed))
    assert isinstance(gone, RelayGone)
    assert (gone.loss, gone.reason, gone.over_stream) == (Loss.UNREACHABLE, "reset", True)
    assert len(pipe.relay) == len(pipe.relay.streams) == 0


def test_what_is_given_back_ends_its_stream() -> None:
    pipe = Pipe()
    relayed = pipe.take()
    pipe.done()
    pipe.lent.release(BASE, RELAY, 1.0)
    pipe.carry()
    assert pipe.done() == [], "over datagrams it has nothing"
    assert [each.address for each in pipe.lent.mapped([BASE])] == [relayed]
    pipe.lent.release(BASE, RELAY, 1.0, over_stream=True)
    assert pipe.lent.mapped([BASE]) == [], "nobody is told of it any more, though the relay has not heard"
    pipe.carry()
    assert HangUp(OURS, Loss.ENDED.value) in pipe.done()
    assert len(pipe.relay) == 0


def test_a_relay_that_is_not_reached_is_gone() -> None:
    """By the core that dials: with the protocol that says what the stream is for, and the reason why there is none."""
    paths = Paths(random.Random(1))
    paths.punching.allocate(BASE, RELAY, StunCredential("alice", "secret"), 0.0, over_stream=True)
    paths.news(0.0)
    [opened] = paths.drain()
    assert isinstance(opened, Open)
    assert (opened.candidate.address, opened.candidate.is_stream, opened.protocol) == (RELAY, True, STUN_TURN)
    assert paths.down(opened.path, "Connection refused", 0.1) is None
    [gone] = paths.punching.relay_news()
    assert isinstance(gone, RelayGone)
    assert gone.loss is Loss.UNREACHABLE
    assert "Connection refused" in gone.reason


def test_a_stream_that_comes_after_its_relay_was_given_back_is_closed() -> None:
    paths = Paths(random.Random(1))
    paths.punching.allocate(BASE, RELAY, StunCredential("alice", "secret"), 0.0, over_stream=True)
    paths.news(0.0)
    [opened] = paths.drain()
    assert isinstance(opened, Open)
    paths.handle(Opened(opened.path, BASE), 0.1)
    assert paths.drain() == [Secure(opened.path)]
    paths.punching.relayed.hosts_gone({BASE.host}, 0.1)
    paths.handle(RelayStreamUp(opened.path, BASE, RELAY), 0.2)
    assert [effect.link for effect in paths.drain() if isinstance(effect, HangUp)] == [opened.path]


def streams(relay: OwnRelay, numbers: range, host: str, now: float) -> None:
    """So many connect."""
    for number in numbers:
        relay.stream_up(RelayStreamUp(number, RELAY, Address(host, 1000 + number)), now)


def hung_up(relay: OwnRelay) -> list[int]:
    """Which were closed since the last call."""
    return [effect.link for effect in relay.drain() if isinstance(effect, HangUp)]


def test_a_stream_on_which_nothing_is_lent_has_little_time() -> None:
    pipe = Pipe()
    pipe.take()
    streams(pipe.relay, range(5, 8, 2), "198.51.100.8", 0.0)
    pipe.relay.handle_timeout(STREAM_S)
    assert hung_up(pipe.relay) == [5, 7]
    pipe.relay.handle_timeout(STREAM_S + STREAM_LOOK_S)
    assert hung_up(pipe.relay) == []
    assert list(pipe.relay.streams) == [THEIRS]


def test_for_one_more_stream_the_oldest_goes_of_where_most_come_from() -> None:
    """And none on which something is lent; where all are such, the newcomer has to go."""
    limits = TurnLimits(streams=4)
    relay = OwnRelay(random.Random(1))
    relay.offer(SETTINGS, limits, 0.0)
    streams(relay, range(1, 2), "198.51.100.1", 0.0)
    streams(relay, range(3, 8, 2), "198.51.100.2", 0.0)
    streams(relay, range(9, 10), "198.51.100.3", 0.0)
    assert hung_up(relay) == [3]
    assert list(relay.streams) == [1, 5, 7, 9]


def test_who_says_what_is_no_message_is_cut_off() -> None:
    pipe = Pipe()
    streams(pipe.relay, range(5, 6), "198.51.100.8", 0.0)
    pipe.relay.handle_stream(RelayStreamCame(5, b"\xff" * 20), 0.0)
    assert hung_up(pipe.relay) == [5]
    pipe.relay.handle_stream(RelayStreamCame(5, b"\x00" * 20), 0.0)
    assert pipe.relay.drain() == []


def test_a_relay_that_is_withdrawn_closes_its_streams() -> None:
    pipe = Pipe()
    pipe.take()
    pipe.done()
    pipe.relay.withdraw(1.0)
    assert hung_up(pipe.relay) == [THEIRS]
    assert not pipe.relay.streams
    assert (len(pipe.relay), pipe.relay.next_deadline()) == (0, None)


def test_a_client_of_the_relay_reaches_its_node_and_no_relay_through_the_relay() -> None:
    """Who has no other way to the peer that relays gets there through it; an allocation within one there is not."""
    pipe = Pipe()
    relayed = pipe.take()
    pipe.done()
    pipe.lent.send(relayed, RELAY, b"\x16data", 0.0)
    pipe.carry()
    assert pipe.done() == [TurnRelay(relayed, RELAY, b"\x16data")]
    inner = RelayedAddresses(random.Random(3))
    inner.allocate(relayed, RELAY, pipe.credential(), 0.0)
    [asked] = inner.drain()
    assert isinstance(asked, SendStun)
    assert pipe.relay.handle(StunArrived(RELAY, relayed, asked.data), 0.0)
    assert pipe.relay.drain() == []


def test_a_stream_on_which_something_comes_now_and_then_stays() -> None:
    """A member asks as whom it is seen over TCP: nothing is lent for that. When it asks no more its stream goes."""
    relay = OwnRelay(random.Random(1))
    relay.offer(SETTINGS, TurnLimits(), 0.0)
    streams(relay, range(5, 6), "198.51.100.8", 0.0)
    question = StunMessage(MessageClass.REQUEST, BINDING, bytes(12), has_fingerprint=True).encode()
    for now in (1.0, STREAM_LOOK_S, 2 * STREAM_LOOK_S):
        relay.handle_stream(RelayStreamCame(5, question), now)
        (answer,) = relay.drain()
        assert isinstance(answer, WriteStream)
        mapped = XOR_MAPPED_ADDRESS.first(decode(answer.data))
        assert mapped is not None
        assert mapped.host == "198.51.100.8"
        relay.handle_timeout(now + STREAM_S)
        assert hung_up(relay) == []
    relay.handle_timeout(4 * STREAM_LOOK_S)
    assert hung_up(relay) == [5]


@pytest.mark.parametrize("relays", [True, False], ids=["a relay", "none"])
def test_every_node_says_over_a_stream_as_whom_it_sees_who_asks(relays: bool) -> None:
    """RFC 6940 6.5.1.4 has each peer act as a STUN server; the question comes in pieces."""
    relay = OwnRelay(random.Random(1))
    if relays:
        relay.offer(SETTINGS, TurnLimits(), 0.0)
    streams(relay, range(5, 6), "198.51.100.8", 0.0)
    question = StunMessage(MessageClass.REQUEST, BINDING, bytes(12), has_fingerprint=True).encode()
    relay.pass_on(RelayStreamCame(5, question[:9]), 0.0)
    assert relay.drain() == []
    relay.pass_on(RelayStreamCame(5, question[9:]), 0.0)
    (answer,) = relay.drain()
    assert isinstance(answer, WriteStream)
    assert XOR_MAPPED_ADDRESS.first(decode(answer.data)) == Address("198.51.100.8", 1005)
    relay.stream_down(5)
    assert (relay.streams, relay._framings, relay.next_deadline()) == ({}, {}, None)


def test_where_no_relay_runs_nothing_else_is_had_over_a_stream() -> None:
    """Nothing is lent, garbage ends it, nor does it stay when nobody asks; and there are so many and no more."""
    relay = OwnRelay(random.Random(1))
    streams(relay, range(5, 10, 2), "198.51.100.8", 0.0)
    relay.handle_stream(RelayStreamCame(5, StunMessage(MessageClass.REQUEST, ALLOCATE, bytes(12)).encode()), 0.0)
    assert hung_up(relay) == [5]
    relay.handle_stream(RelayStreamCame(7, b"\xff" * 20), 0.0)
    assert hung_up(relay) == [7]
    relay.handle_stream(RelayStreamCame(7, b"\x00" * 20), 0.0)
    relay.handle_timeout(STREAM_S)
    assert hung_up(relay) == [9]
    streams(relay, range(11, 13 + 2 * PLAIN_STREAMS_MAX, 2), "198.51.100.9", 100.0)
    assert hung_up(relay) == [11]
    assert len(relay.streams) == PLAIN_STREAMS_MAX


def test_what_is_given_back_soon_is_told_nobody_and_serves_the_paths_that_there_are() -> None:
    """Datagrams pass again: a path that is looked for now is not to end with the stream. Asked for anew it is told."""
    pipe = Pipe()
    relayed = pipe.take()
    pipe.done()
    pipe.lent.tell_nobody(BASE, RELAY, over_stream=True)
    pipe.lent.tell_nobody(BASE, RELAY)
    assert pipe.lent.mapped([BASE]) == []
    assert pipe.lent.of(BASE, RELAY) == (relayed,)
    pipe.lent.permit([PEER.host], 0.0)
    pipe.carry()
    pipe.lent.send(relayed, PEER, b"\x16data", 0.0)
    pipe.carry()
    assert pipe.done() == [TurnRelay(relayed, PEER, b"\x16data")]
    pipe.lent.allocate(BASE, RELAY, pipe.credential(), 1.0, over_stream=True)
    assert [each.address for each in pipe.lent.mapped([BASE])] == [relayed]
