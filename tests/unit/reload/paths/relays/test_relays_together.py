"""p2psip.reload.paths.relays: what a relay lends, and the relay itself, wired to each other without a network."""

from __future__ import annotations

import random

import pytest
from relay_wire import BASE, PEER, RELAY, SEEN, SETTINGS, Wire

from p2psip.base.address import Address
from p2psip.reload.paths.limits import RELAYED_HELD_MAX
from p2psip.reload.paths.relays.own_relay import OwnRelay
from p2psip.reload.paths.relays.relay_pings import RelayPinged, RelayPings
from p2psip.reload.paths.relays.relay_values import (
    AtRelayPort,
    DropRelayed,
    RelayedCame,
    RelayGone,
    RelayTaken,
    UseRelayed,
)
from p2psip.reload.paths.relays.relayed_addresses import DOUBT_APART_S, RelayedAddresses
from p2psip.reload.paths.values import SendStun, StunArrived
from p2psip.stun.binding import answer_binding
from p2psip.stun.message import BINDING, MessageClass, StunMessage
from p2psip.turn.client_values import Loss
from p2psip.turn.limits import TurnLimits
from p2psip.turn.values import CloseRelay, TurnRelay

INSIDE = Address("192.168.1.2", 5000)
DTLS = b"\x16data"


def test_an_address_that_is_lent_is_a_candidate_of_its_port_alone() -> None:
    wire = Wire()
    relayed = wire.take()
    assert wire.done() == [UseRelayed(relayed, BASE), RelayTaken(BASE, RELAY, (relayed,))]
    assert relayed in wire.lent
    assert [mapped.address for mapped in wire.lent.mapped([BASE])] == [relayed]
    assert wire.lent.mapped([Address(BASE.host, 5061)]) == []
    assert (wire.lent.base_of(relayed), wire.lent.base_of(PEER)) == (BASE, PEER)
    assert len(wire.relay) == 1


def test_what_waits_for_a_permission_goes_out_when_it_is_there() -> None:
    """Of each remote the newest."""
    wire = Wire()
    relayed = wire.take()
    wire.done()
    wire.lent.send(relayed, PEER, b"first", 0.0)
    wire.lent.send(relayed, PEER, b"second", 0.0)
    wire.carry()
    assert wire.done() == [TurnRelay(relayed, PEER, b"second")]


@pytest.mark.parametrize("is_bound", [False, True], ids=["Send and Data", "a channel"])
def test_both_ways(is_bound: bool) -> None:
    """DTLS is the driver's, STUN the agents'; what is neither is dropped, and so is TURN inside TURN."""
    wire = Wire()
    relayed = wire.take()
    wire.lent.permit([PEER.host], 0.0)
    if is_bound:
        wire.lent.use_path(relayed, PEER, 0.0)
    wire.carry()
    wire.done()
    wire.lent.send(relayed, PEER, DTLS, 0.0)
    wire.carry()
    question = StunMessage(MessageClass.REQUEST, BINDING, bytes(12)).encode()
    for data in (DTLS, question, b"\x80rtp", question[:1] + b"\x03" + question[2:], b"\x40\x00\x00\x01x"):
        wire.relay.handle_port(AtRelayPort(relayed, PEER, data), 0.0)
    wire.carry()
    assert wire.done() == [TurnRelay(relayed, PEER, DTLS), RelayedCame(relayed, PEER, DTLS)]
    assert wire.lent.take() == [StunArrived(relayed, PEER, question)]


def test_networks_inside_are_not_asked_for_and_take_nobody_with_them() -> None:
    """A relay refuses a request as a whole."""
    wire = Wire()
    relayed = wire.take()
    wire.done()
    wire.lent.permit([INSIDE.host, PEER.host, "127.0.0.1", "fe80::1%eth0"], 0.0)
    wire.lent.send(relayed, INSIDE, DTLS, 0.0)
    wire.lent.send(relayed, PEER, DTLS, 0.0)
    wire.carry()
    assert wire.done() == [TurnRelay(relayed, PEER, DTLS)]


def test_what_waits_is_bounded() -> None:
    wire = Wire()
    relayed = wire.take()
    wire.is_dead = True
    for port in range(1, 3 * RELAYED_HELD_MAX):
        wire.lent.send(relayed, PEER._replace(port=port), DTLS, 0.0)
    wire.is_dead = False
    wire.done()
    wire.pass_time(5.0)
    assert len(wire.done()) == RELAYED_HELD_MAX


def test_a_relay_that_has_begun_anew_is_noticed_by_who_sends() -> None:
    wire = Wire()
    relayed = wire.take()
    wire.lent.permit([PEER.host], 0.0)
    wire.carry()
    wire.relay.withdraw(0.0)
    wire.carry()
    assert wire.done()[-1] == CloseRelay(relayed)
    wire.relay.offer(SETTINGS, wire.limits, 0.0)
    wire.lent.send(relayed, PEER, DTLS, 0.0)
    wire.carry()
    wire.pass_time(3.0)
    drop, gone = wire.done()
    assert drop == DropRelayed(relayed)
    assert isinstance(gone, RelayGone)
    assert (gone.base, gone.relay, gone.relayed) == (BASE, RELAY, (relayed,))
    assert gone.loss in (Loss.RESTARTED, Loss.CREDENTIAL)
    assert relayed not in wire.lent


def test_where_paths_do_not_answer_relays_are_asked_at_once_and_not_too_often() -> None:
    """Whether they know us still: they may have begun anew, or our address is another."""
    wire = Wire()
    wire.take()
    wire.pass_time(10.0)
    wire.done()
    wire.lent.doubt(wire.now)
    asked = wire.lent.drain()
    assert [effect.remote for effect in asked if isinstance(effect, SendStun)] == [RELAY]
    wire.lent.doubt(wire.now + DOUBT_APART_S / 2)
    assert wire.lent.drain() == []
    wire.relay.withdraw(wire.now)
    wire.relay.offer(SETTINGS, wire.limits, wire.now)
    wire.carry()
    wire.done()
    wire.lent.doubt(wire.now + DOUBT_APART_S)
    wire.carry()
    [gone] = [effect for effect in wire.done() if isinstance(effect, RelayGone)]
    assert gone.loss in (Loss.RESTARTED, Loss.CREDENTIAL)


def test_a_relay_that_is_dead_is_noticed_by_who_sends_within_seconds() -> None:
    wire = Wire()
    relayed = wire.take()
    wire.lent.permit([PEER.host], 0.0)
    wire.carry()
    wire.done()
    wire.is_dead = True
    wire.lent.send(relayed, PEER, DTLS, 0.0)
    wire.carry()
    wire.pass_time(6.0)
    assert [effect.loss for effect in wire.done() if isinstance(effect, RelayGone)] == [Loss.SILENT]


def test_a_relay_that_relays_is_there_though_its_answers_are_lost() -> None:
    """One question in thirty comes to nothing where each way loses one packet in ten, and more."""
    wire = Wire()
    relayed = wire.take()
    wire.lent.permit([PEER.host], 0.0)
    wire.carry()
    wire.is_dead = True
    wire.lent.send(relayed, PEER, DTLS, 0.0)
    wire.carry()
    wire.pass_time(1.1)
    wire.done()
    wire.relay.handle_port(AtRelayPort(relayed, PEER, DTLS), wire.now)
    wire.carry()
    wire.pass_time(12.0)
    assert wire.done() == [RelayedCame(relayed, PEER, DTLS)]


def test_with_a_new_credential_an_allocation_outlives_the_one_before() -> None:
    """A relay's user names end; the member stays."""
    wire = Wire()
    wire.take()
    wire.done()
    wire.pass_time(1800.0)
    wire.lent.allocate(BASE, RELAY, wire.credential(), wire.now)
    wire.pass_time(5000.0)
    assert wire.done() == []
    assert len(wire.relay) == 1


def test_without_one_it_ends_with_its_credential() -> None:
    wire = Wire()
    wire.take()
    wire.done()
    wire.pass_time(5000.0)
    assert [effect.loss for effect in wire.done() if isinstance(effect, RelayGone)] == [Loss.CREDENTIAL]


def test_what_is_given_back_is_free_at_once() -> None:
    wire = Wire(TurnLimits(allocations=1))
    relayed = wire.take()
    wire.done()
    wire.lent.release(BASE, RELAY, 0.0)
    wire.carry()
    assert [type(effect) for effect in wire.done()] == [CloseRelay, DropRelayed, RelayGone]
    assert len(wire.relay) == 0
    assert relayed not in wire.lent


def test_what_is_lent_to_an_address_that_is_gone_is_gone() -> None:
    wire = Wire()
    relayed = wire.take()
    wire.done()
    wire.lent.hosts_gone({"10.9.9.9"}, 0.0)
    assert relayed in wire.lent
    wire.lent.hosts_gone({BASE.host}, 0.0)
    wire.carry()
    assert [effect.loss for effect in wire.done() if isinstance(effect, RelayGone)] == [Loss.UNREACHABLE]


def test_a_relay_that_is_full_says_so() -> None:
    wire = Wire(TurnLimits(allocations=1))
    wire.take()
    wire.done()
    other = RelayedAddresses(random.Random(3))
    other.allocate(BASE, RELAY, wire.credential("bob"), 0.0)
    gone = _talk(wire, other)
    assert [(each.loss, each.retry_after_s) for each in gone] == [(Loss.FULL, 60.0)]


def _talk(wire: Wire, other: RelayedAddresses) -> list[RelayGone]:
    """Let another one, behind another NAT, speak with the relay: what it has lost."""
    seen, gone = Address("198.51.100.8", 42000), []
    while effects := other.drain():
        for effect in effects:
            if isinstance(effect, SendStun):
                wire.relay.handle(StunArrived(RELAY, seen, effect.data), 0.0)
            elif isinstance(effect, RelayGone):
                gone.append(effect)
        for effect in wire.relay.drain():
            assert isinstance(effect, SendStun)
            other.handle(StunArrived(BASE, RELAY, effect.data), 0.0)
    return gone


def test_binding_is_not_the_relays_to_answer_nor_is_anything_where_there_is_none() -> None:
    relay = OwnRelay(random.Random(1))
    question = StunMessage(MessageClass.REQUEST, BINDING, bytes(12)).encode()
    allocate = StunMessage(MessageClass.REQUEST, 3, bytes(12)).encode()
    assert relay.issue("alice", 60, 0.0) is None
    assert not relay.handle(StunArrived(RELAY, SEEN, allocate), 0.0)
    relay.offer(SETTINGS, TurnLimits(), 0.0)
    assert not relay.handle(StunArrived(RELAY, SEEN, question), 0.0)
    assert relay.handle(StunArrived(RELAY, SEEN, allocate), 0.0)


def test_a_ping_measures_a_round_trip_and_gives_up_after_four_questions() -> None:
    pings = RelayPings(random.Random(1))
    pings.ping(RELAY, 10.0)
    pings.ping(RELAY, 10.0)
    [asked] = pings.drain()
    assert isinstance(asked, SendStun)
    answer = answer_binding(asked.data, SEEN)
    assert answer is not None
    assert answer in pings
    pings.handle_answer(PEER, answer, 10.01)
    assert pings.results() == [], "from elsewhere nobody is believed"
    pings.handle_answer(RELAY, answer, 10.02)
    assert pings.results() == [RelayPinged(RELAY, pytest.approx(0.02))]
    pings.ping(RELAY, 20.0)
    asked_at = [20.0]
    while (deadline := pings.next_deadline()) is not None:
        pings.drain()
        asked_at.append(deadline.at)
        pings.handle_timeout(deadline.at)
    assert asked_at == [20.0, 20.5, 21.5, 23.5, 27.5]
    assert pings.results() == [RelayPinged(RELAY, None)]
