"""One end of a tunnel (p2psip.reload.node.tunnelling.tunnel): what comes once, how much, how fast."""

from __future__ import annotations

import random

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.node.limits import TUNNEL_BURST_BYTES, TUNNEL_BYTES_PER_S, TUNNEL_OPEN_RECORDS_MAX
from p2psip.reload.node.tunnelling.tunnel import RECORD_COST, REPLAY_WINDOW, Tunnel, TunnelName
from p2psip.reload.security.key_agreement import SEQUENCE_MAX, BadRecord, KeyExchange, KeyShare
from p2psip.reload.wire.extensions.tunnel_messages import TunnelRecord

HERE, THERE = NodeId(bytes([1] * 16)), NodeId(bytes([2] * 16))


def pair() -> tuple[Tunnel, Tunnel]:
    """Both ends of one tunnel."""
    rng = random.Random("pair")
    ours, theirs = KeyShare(rng), KeyShare(rng)
    agreement = KeyExchange(b"test", 7, 8, HERE, THERE, ours.public, theirs.public)
    name = TunnelName(8, HERE)
    return (
        Tunnel(2, name, THERE, 5060, ours.agree(agreement, is_initiator=True), 0.0),
        Tunnel(4, name, HERE, 5060, theirs.agree(agreement, is_initiator=False), 0.0),
    )


def seal(tunnel: Tunnel, data: bytes, now: float = 0.0) -> TunnelRecord:
    """A record that is sent, and acknowledged."""
    record = tunnel.seal(data, now)
    assert record is not None
    tunnel.acknowledged()
    return record


def test_each_record_comes_once_in_whatever_order() -> None:
    rng = random.Random(3)
    sender, receiver = pair()
    sent = [b"%d" % number for number in range(50)]
    records = [seal(sender, data) for data in sent] * 3
    rng.shuffle(records)
    come = [data for record in records if (data := receiver.receive(record, 0.0)) is not None]
    assert sorted(come) == sorted(sent)


def test_a_record_that_is_older_than_the_window_comes_never() -> None:
    sender, receiver = pair()
    records = [seal(sender, b"x") for _ in range(REPLAY_WINDOW + 1)]
    assert receiver.receive(records[-1], 0.0) == b"x"
    assert receiver.receive(records[0], 0.0) is None
    assert receiver.receive(records[1], 0.0) == b"x"
    assert receiver.receive(records[1], 0.0) is None


def test_what_was_not_sealed_by_the_other_end_is_an_offence_and_moves_no_window() -> None:
    sender, receiver = pair()
    genuine = seal(sender, b"x")
    with pytest.raises(BadRecord):
        receiver.receive(TunnelRecord(1 << 30, genuine.sealed), 0.0)
    assert not receiver.is_confirmed
    assert receiver.receive(genuine, 0.0) == b"x"
    assert receiver.is_confirmed


def test_so_many_are_on_their_way_and_one_more_is_lost() -> None:
    sender, _ = pair()
    assert all(sender.seal(b"x", 0.0) is not None for _ in range(TUNNEL_OPEN_RECORDS_MAX))
    assert sender.seal(b"x", 0.0) is None
    sender.acknowledged()
    assert sender.seal(b"x", 0.0) is not None


def test_what_is_sent_is_held_to_a_rate_that_the_other_end_takes() -> None:
    """Ten seconds as fast as may be: a burst, then the rate; and the other end has nothing to say about it."""
    sender, receiver = pair()
    carried = 0
    for tick in range(1000):
        while (record := sender.seal(bytes(500), tick / 100)) is not None:
            sender.acknowledged()
            assert receiver.receive(record, tick / 100) is not None
            carried += 500 + RECORD_COST
    assert 0.95 < carried / (TUNNEL_BURST_BYTES + 10 * TUNNEL_BYTES_PER_S) <= 1.0


def test_who_sends_faster_than_that_is_stopped() -> None:
    """What may pass is twice what an honest end sends."""
    sender, receiver = pair()
    sender._sending._left = sender._sending._burst = 1 << 30
    passed = 0
    with pytest.raises(BadRecord, match="more comes than one tunnel may carry"):  # noqa: PT012
        while True:
            receiver.receive(seal(sender, bytes(500)), 0.0)
            passed += 500 + RECORD_COST
    assert passed <= 2 * TUNNEL_BURST_BYTES


def test_no_number_is_used_twice() -> None:
    sender, _ = pair()
    sender._next_sent = SEQUENCE_MAX
    assert seal(sender, b"the last").sequence == SEQUENCE_MAX
    assert sender.seal(b"one more", 0.0) is None
