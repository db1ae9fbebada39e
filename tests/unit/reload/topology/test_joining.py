"""How long each step of a join may take (p2psip.reload.topology.joining)."""

from __future__ import annotations

import random

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline
from p2psip.reload.topology.joining import HURRIED_STEP_S, RETRY_MAX_S, Joining, JoinState


def test_an_attempt_begins_at_once() -> None:
    """And once only."""
    joining = Joining(random.Random(1))
    assert joining.next_deadline() is None
    joining.retry_now(5.0)
    assert joining.next_deadline() == Deadline(5.0, "join: begin")
    assert not joining.take_due(4.9)
    assert joining.take_due(5.0)
    assert not joining.take_due(5.0)


def test_pauses_grow_and_differ() -> None:
    """So that a hundred peers that lost their bootstrap node do not all ask at once."""
    joining, pauses = Joining(random.Random(1)), []
    for _ in range(12):
        joining.retry_later(0.0)
        deadline = joining.next_deadline()
        assert deadline is not None
        pauses.append(deadline.at)
    assert 0.2 <= pauses[0] <= 0.6
    assert all(RETRY_MAX_S / 2 <= pause <= RETRY_MAX_S * 1.5 for pause in pauses[-4:])
    assert len(set(pauses)) == len(pauses)
    joining.enter(JoinState.MEMBER, 0.0)
    joining.retry_later(0.0)
    deadline = joining.next_deadline()
    assert deadline is not None
    assert deadline.at <= 0.6


def test_where_there_is_a_ring_pauses_are_short() -> None:
    """Somebody came between us and the peer that we asked: its neighbour is found in a moment."""
    joining = Joining(random.Random(1))
    for _ in range(12):
        joining.retry_later(0.0)
    joining.admitting_peer = NodeId(b"a" * 16)
    joining.retry_later(10.0)
    deadline = joining.next_deadline()
    assert deadline is not None
    assert deadline.at <= 10.6
    assert joining.admitting_peer is None


def test_each_step_has_its_time() -> None:
    """A member has none: it stays."""
    joining = Joining(random.Random(1))
    for state, limit_s in [("SEEKING", 12.0), ("MEETING", 20.0), ("ASKING", 16.0), ("RECEIVING", 60.0)]:
        joining.enter(JoinState[state], 100.0)
        assert joining.next_deadline() == Deadline(100.0 + limit_s, f"join: {state.lower()}")
    joining.enter(JoinState.MEMBER, 100.0)
    assert joining.next_deadline() is None
    assert joining.is_member


def test_in_a_hurry_a_pause_ends_and_a_step_soon() -> None:
    """But not what the Admitting Peer takes its time for."""
    joining = Joining(random.Random(1))
    joining.retry_later(10.0)
    joining.hurry(10.0)
    assert joining.take_due(10.0)
    for state, at in [("SEEKING", HURRIED_STEP_S), ("ASKING", HURRIED_STEP_S), ("RECEIVING", 60.0)]:
        joining.enter(JoinState[state], 10.0)
        joining.hurry(10.0)
        deadline = joining.next_deadline()
        assert deadline is not None
        assert deadline.at == 10.0 + at
