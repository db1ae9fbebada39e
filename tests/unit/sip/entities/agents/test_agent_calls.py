"""The user agent: two of them back to back, in virtual time."""

from __future__ import annotations

import itertools
import random

import pytest
from agent_bench import ALICE, BOB, SERVER, call_bob, config, pair, talking

from p2psip.base.effects import Ask
from p2psip.base.errors import LocalMisuse
from p2psip.media.negotiation import Direction
from p2psip.sip.entities.agents.types import (
    CallEnded,
    CallEstablished,
    EndedBy,
    IncomingCall,
    MediaChanged,
    Ringing,
)
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.message.uri import SipUri

# Calls


@pytest.mark.must("3261 8.2/1", "3261 12.1.1/5", "3261 12.1.2/3", "3261 18/1", "3261 20.15/1")
def test_a_call_from_ringing_to_bye() -> None:
    wire, alice, _ = pair()
    number = call_bob(alice)
    wire.run(2.0)
    alice.hang_up(number, wire.now)
    wire.run(0.1)
    assert wire.lines() == ["INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"]
    ringing, established, ended = wire.events[ALICE]
    assert ringing == (pytest.approx(0.02), Ringing(number, 180, "Ringing"))
    assert established[0] == pytest.approx(0.12)
    assert isinstance(established[1], CallEstablished)
    assert established[1].local == ("192.0.2.1", 4002)
    assert established[1].agreement.remote == ("192.0.2.2", 4002)
    assert isinstance(ended[1], CallEnded)
    assert wire.endings(ALICE) == [(EndedBy.US, "hung up")]
    incoming, picked_up, _ = wire.told(BOB)
    assert isinstance(incoming, IncomingCall)
    assert incoming.caller.uri == SipUri("example.org", "alice")
    assert isinstance(picked_up, CallEstablished)
    assert wire.endings(BOB) == [(EndedBy.THEM, "hung up")]


def test_when_all_is_over_nothing_is_left() -> None:
    wire, alice, bob = pair()
    number = call_bob(alice)
    wire.run(2.0)
    alice.hang_up(number, wire.now)
    wire.run(70.0)
    assert (alice.next_deadline(), bob.next_deadline()) == (None, None)
    assert (alice._calls, bob._calls, alice._wiring._pending, bob._wiring._pending) == ({}, {}, {}, {})


def test_either_side_may_hang_up() -> None:
    wire, _, bob, number = talking()
    bob.hang_up(bob.calls[0], wire.now)
    wire.run(0.1)
    assert wire.lines() == ["BYE", "200 BYE"]
    assert wire.endings(ALICE) == [(EndedBy.THEM, "hung up")]
    assert number == 1


def test_answered_by_hand() -> None:
    wire, alice, bob = pair(auto_answer_s=None)
    call_bob(alice)
    wire.run(30.0)
    assert wire.lines() == ["INVITE", "180 INVITE"]
    bob.answer(bob.calls[0], wire.now)
    wire.run(1.0)
    assert len(wire.told(ALICE, CallEstablished)) == 1


@pytest.mark.parametrize(("status", "phrase"), [(486, "Busy Here"), (603, "Decline")])
def test_refused(status: int, phrase: str) -> None:
    wire, alice, bob = pair(auto_answer_s=None)
    call_bob(alice)
    wire.run(1.0)
    bob.reject(bob.calls[0], status, wire.now)
    wire.run(1.0)
    assert wire.endings(ALICE) == [(EndedBy.THEM, f"{status} {phrase}")]
    assert wire.endings(BOB) == [(EndedBy.US, f"{status} {phrase}")]
    assert wire.lines()[-2:] == [f"{status} INVITE", "ACK"]


def test_13_3_1_1_a_phone_that_rings_says_so_every_minute_and_not_for_ever() -> None:
    wire, alice, _ = pair(auto_answer_s=None)
    call_bob(alice)
    wire.lose = lambda seen: seen.sender == ALICE and seen.line == "CANCEL"
    wire.run(200.0)
    assert [seen.at for seen in wire.seen if seen.line == "180 INVITE"] == pytest.approx([0.01, 60.01, 120.01])
    assert wire.endings(BOB) == [(EndedBy.NOBODY, "nobody answered in 180 s")]
    assert wire.endings(ALICE) == [(EndedBy.NOBODY, "nobody answered in 180 s")]
    assert "480 INVITE" in wire.lines()


def test_15_cancelled_while_ringing() -> None:
    wire, alice, bob = pair(auto_answer_s=None)
    number = call_bob(alice)
    wire.run(1.0)
    alice.hang_up(number, wire.now)
    wire.run(1.0)
    assert wire.lines() == ["INVITE", "180 INVITE", "CANCEL", "200 CANCEL", "487 INVITE", "ACK"]
    assert wire.endings(ALICE) == [(EndedBy.US, "hung up")]
    assert wire.endings(BOB) == [(EndedBy.THEM, "cancelled")]
    assert bob.calls == []


def test_15_a_cancel_that_meets_the_answer_becomes_a_bye() -> None:
    wire, alice, _ = pair(auto_answer_s=0.0)
    number = call_bob(alice)
    wire.run(0.0105)
    alice.hang_up(number, wire.now)
    wire.run(2.0)
    assert wire.lines(ALICE) == ["INVITE", "CANCEL", "ACK", "BYE"]
    assert wire.endings(BOB) == [(EndedBy.THEM, "hung up")]
    assert wire.told(ALICE, CallEstablished) == []


def test_a_call_that_is_hung_up_before_its_media_address_came_was_never_placed() -> None:
    alice = UserAgent(config("alice", ALICE, BOB), random.Random(1))
    number = call_bob(alice)
    ask = alice.drain()[0]
    assert isinstance(ask, Ask)
    alice.hang_up(number, 0.1)
    alice.handle_answer(ask.token, ("192.0.2.1", 4000), 0.2)
    assert [type(effect) for effect in alice.drain()] == [CallEnded]


def test_no_media_address() -> None:
    wire, alice, _ = pair()
    wire.no_media()
    call_bob(alice)
    wire.run(1.0)
    assert wire.endings(ALICE) == [(EndedBy.NOBODY, "no address for media")]


def test_a_question_that_nobody_answers_ends_the_call() -> None:
    alice = UserAgent(config("alice", ALICE, BOB), random.Random(1))
    call_bob(alice)
    alice.drain()
    deadline = alice.next_deadline()
    assert deadline
    alice.handle_timeout(deadline.at)
    assert [type(effect) for effect in alice.drain()] == [CallEnded]


@pytest.mark.must("3261 8.1.3.1/1")
def test_nobody_there() -> None:
    wire, alice, _ = pair()
    wire.lose = lambda _: True
    call_bob(alice)
    wire.run(40.0)
    assert wire.lines() == ["INVITE"] * 7
    (by, what), *_ = wire.endings(ALICE)
    assert (by, "no answer to INVITE" in what) == (EndedBy.NOBODY, True)


def test_calls_are_limited() -> None:
    wire, alice, bob = pair(auto_answer_s=None, calls_max=2)
    carol = UserAgent(config("carol", SERVER, BOB), random.Random(3))
    wire.agents[SERVER], wire.events[SERVER] = carol, []
    call_bob(alice), call_bob(alice)
    with pytest.raises(LocalMisuse, match="2 calls already"):
        call_bob(alice)
    wire.run(1.0)
    call_bob(carol, wire.now)
    wire.run(1.0)
    assert len(bob.calls) == 2
    assert wire.endings(SERVER) == [(EndedBy.THEM, "486 Busy Here")]


def test_no_call_lasts_for_ever() -> None:
    wire, alice, bob = pair(call_s_max=60.0)
    call_bob(alice)
    wire.run(70.0)
    assert "no call lasts longer than 60 s" in str(wire.endings(BOB))
    assert (alice.calls, bob.calls) == ([], [])


# Loss


@pytest.mark.parametrize("lost", ["INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"])
def test_any_one_message_may_be_lost(lost: str) -> None:
    wire, alice, _ = pair()
    wire.lose = lambda seen: seen.line == lost and wire.lines().count(lost) == 1
    number = call_bob(alice)
    wire.run(5.0)
    assert len(wire.told(ALICE, CallEstablished)) == len(wire.told(BOB, CallEstablished)) == 1
    alice.hang_up(number, wire.now)
    wire.run(5.0)
    assert wire.endings(BOB) == [(EndedBy.THEM, "hung up")]
    assert lost == "180 INVITE" or wire.lines().count(lost) == 2


@pytest.mark.parametrize("seed", range(8))
def test_a_third_of_all_messages_may_be_lost(seed: int) -> None:
    wire, alice, bob = pair()
    rng = random.Random(seed)
    wire.lose = lambda _: rng.random() < 0.33
    number = call_bob(alice)
    wire.run(30.0)
    assert len(wire.told(ALICE, CallEstablished)) == len(wire.told(BOB, CallEstablished)) == 1
    alice.hang_up(number, wire.now)
    wire.run(40.0)
    assert (alice.calls, bob.calls) == ([], [])


def test_13_3_1_4_a_2xx_is_repeated_until_it_is_given_up_with_a_bye() -> None:
    wire, alice, _ = pair(auto_answer_s=0.0)
    wire.lose = lambda seen: seen.line == "ACK"
    call_bob(alice)
    wire.run(40.0)
    at = [seen.at for seen in wire.seen if seen.line == "200 INVITE"]
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert gaps == pytest.approx([0.5, 1, 2, 4, 4, 4, 4, 4, 4, 4])
    assert wire.lines().count("ACK") == len(at)
    assert "never acknowledged" in str(wire.endings(BOB))
    assert wire.endings(ALICE) == [(EndedBy.THEM, "hung up")]


def test_15_a_callee_that_hangs_up_early_waits_for_the_ack() -> None:
    wire, alice, bob = pair(auto_answer_s=0.0)
    wire.lose = lambda seen: seen.line == "ACK" and wire.lines().count("ACK") < 3
    call_bob(alice)
    wire.run(0.1)
    bob.hang_up(bob.calls[0], wire.now)
    wire.run(5.0)
    lines = wire.lines()
    assert lines.index("BYE") > max(n for n, line in enumerate(lines) if line == "ACK")
    assert wire.endings(ALICE) == [(EndedBy.THEM, "hung up")]


# Hold


def test_hold_and_resume() -> None:
    wire, alice, _, number = talking()
    alice.hold(number, True, wire.now)
    wire.run(1.0)
    alice.hold(number, False, wire.now)
    wire.run(1.0)
    assert wire.lines() == ["INVITE", "200 INVITE", "ACK"] * 2
    changes = [e.agreement.direction for e in wire.told(ALICE, MediaChanged) if isinstance(e, MediaChanged)]
    assert changes == [Direction.SENDONLY, Direction.SENDRECV]
    changes = [e.agreement.direction for e in wire.told(BOB, MediaChanged) if isinstance(e, MediaChanged)]
    assert changes == [Direction.RECVONLY, Direction.SENDRECV]


def test_14_1_two_that_hold_at_once_try_again() -> None:
    wire, alice, bob, number = talking()
    alice.hold(number, True, wire.now)
    bob.hold(bob.calls[0], True, wire.now)
    wire.run(0.1)
    assert wire.lines().count("491 INVITE") == 2
    wire.run(10.0)
    last = [wire.told(at, MediaChanged)[-1] for at in (ALICE, BOB)]
    assert [e.agreement.direction for e in last if isinstance(e, MediaChanged)] == [Direction.INACTIVE] * 2
    assert wire.told(ALICE, CallEnded) == []


def test_14_1_a_refused_hold_changes_nothing() -> None:
    wire, alice, bob, number = talking()
    bob._calls[1]._negotiation.answer = lambda _: None  # type: ignore[union-attr, method-assign]
    alice.hold(number, True, wire.now)
    wire.run(1.0)
    assert wire.lines() == ["INVITE", "488 INVITE", "ACK"]
    assert (wire.told(ALICE, MediaChanged), wire.told(ALICE, CallEnded)) == ([], [])
    assert alice._calls[number]._negotiation.direction is Direction.SENDRECV  # type: ignore[union-attr]


def test_a_dead_partner_is_noticed_by_a_hold() -> None:
    wire, alice, bob, number = talking()
    wire.lose = lambda seen: seen.sender == BOB
    alice.hold(number, True, wire.now)
    wire.run(70.0)
    assert "no answer to INVITE" in str(wire.endings(ALICE))
    assert alice._calls == {}
    assert bob.calls == []
