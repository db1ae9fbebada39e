"""A link within a process (p2psip.reload.link.direct), in virtual time."""

from __future__ import annotations

from p2psip.base.timers import Deadline
from p2psip.reload.link.direct import DirectLink
from p2psip.reload.link.link import IDLE_S, RETAINED_S, LinkState, Unacknowledged
from p2psip.reload.link.stream import KEPT_BYTES_MAX


def start() -> DirectLink:
    """A fresh link."""
    return DirectLink(5000, 0.0)


def test_messages_go_over_it_as_they_are_and_are_not_acknowledged() -> None:
    """The very same objects, one by one."""
    here, there = start(), start()
    messages = [b"first", b"second"]
    for message in messages:
        here.send(message, 0.0)
    output = here.drain()
    assert [id(each) for each in output] == [id(each) for each in messages]
    assert here.drain() == []
    assert [received for each in output for received in there.receive(each, 0.1)] == messages
    assert there.drain() == []
    assert here.next_deadline() == there.next_deadline() == Deadline(IDLE_S, "link idle")


def test_what_comes_back_makes_it_failed_and_then_dead() -> None:
    """Three seconds after the first, as on a stream; later ones move nothing."""
    link = start()
    link.send(b"hello?", 1.0)
    link.handle_returned(b"hello?", 1.05)
    link.handle_returned(b"hello??", 2.0)
    assert link.next_deadline() == Deadline(4.05, "acknowledgement overdue")
    link.drain()
    link.handle_timeout(4.04)
    assert link.state is LinkState.UP
    link.handle_timeout(4.05)
    assert link.state is LinkState.FAILED
    assert link.drain() == [Unacknowledged(b"hello?", 1.05), Unacknowledged(b"hello??", 2.0)], "no Ping is due"
    link.handle_timeout(4.05 + RETAINED_S)
    assert link.state is LinkState.DEAD


def test_what_came_back_is_told_once_and_bounded() -> None:
    """For another way."""
    link = start()
    whole = bytes(KEPT_BYTES_MAX - 1)
    for message in (whole, b"too much", b"x"):
        link.handle_returned(message, 1.0)
    link.end()
    assert link.drain() == [Unacknowledged(whole, 1.0), Unacknowledged(b"x", 1.0)]
    link.end()
    assert link.drain() == []
    link.handle_returned(whole, 2.0)
    link.end()
    assert link.drain() == [Unacknowledged(whole, 2.0)]
