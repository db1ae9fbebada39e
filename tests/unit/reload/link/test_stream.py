"""One TLS link's health (p2psip.reload.link.stream, .link), in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.timers import Deadline
from p2psip.reload.link.framing import FramingError, frame_ack, frame_data
from p2psip.reload.link.link import (
    IDLE_S,
    KEEP_ALIVE_S,
    RETAINED_S,
    Idle,
    Late,
    Link,
    LinkState,
    Unacknowledged,
)
from p2psip.reload.link.stream import IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, KEPT_BYTES_MAX, LATE_RTOS, StreamLink


def start(now: float = 0.0) -> StreamLink:
    """A fresh link."""
    return StreamLink(5000, now)


def acknowledge(link: Link, sequence: int, now: float) -> None:
    """The other end acknowledges."""
    assert link.receive(frame_ack(sequence, 0), now) == []


def test_messages_are_numbered_from_zero_and_acknowledged_at_once() -> None:
    """6.6.2: "Initially, the value is zero, and it increments by exactly one for each message sent"."""
    here, there = start(), start()
    here.send(b"first", 0.0)
    here.send(b"second", 0.0)
    (wire,) = here.drain()
    assert wire == frame_data(0, b"first") + frame_data(1, b"second")
    assert here.drain() == []
    assert there.receive(wire, 0.1) == [b"first", b"second"]
    assert there.drain() == [frame_ack(0, 0) + frame_ack(1, 0b10)]


def test_no_acknowledgement_for_three_timeouts_makes_it_failed() -> None:
    """Three times the RTO after the first message that nobody acknowledged; later messages move nothing."""
    link = start()
    link.send(b"hello?", 1.0)
    link.handle_timeout(3.0)
    assert link.next_deadline() == Deadline(4.0, "acknowledgement overdue")
    link.send(b"hello??", 2.0)
    link.handle_timeout(3.999)
    assert link.state is LinkState.UP
    link.handle_timeout(4.0)
    assert link.state is LinkState.FAILED


def test_what_waits_for_two_timeouts_may_go_another_way_and_the_link_goes_on_with_it() -> None:
    """All of it at once, however new; and once each time that nothing is acknowledged."""
    link = start()
    link.send(b"first", 1.0)
    link.send(b"second", 2.5)
    link.drain()
    assert link.next_deadline() == Deadline(3.0, "acknowledgement overdue")
    link.handle_timeout(3.0)
    assert link.drain() == [Late(b"first", 1.0), Late(b"second", 2.5)]
    assert link.next_deadline() == Deadline(4.0, "acknowledgement overdue")
    acknowledge(link, 0, 3.5)
    late_at = 2.5 + 2 * link.round_trip.rto_s
    assert link.next_deadline() == Deadline(late_at, "acknowledgement overdue")
    link.handle_timeout(late_at)
    assert link.drain() == [Late(b"second", 2.5)]
    link.handle_timeout(late_at + link.round_trip.rto_s)
    assert link.state is LinkState.FAILED
    assert link.drain() == [Unacknowledged(b"second", 2.5)]


def test_an_acknowledgement_brings_a_failed_link_back() -> None:
    """The failure was transient: the deadline is again that of the next silence."""
    link = start()
    link.send(b"hello?", 0.0)
    link.handle_timeout(3.0)
    acknowledge(link, 0, 20.0)
    assert link.state is LinkState.UP
    assert link.next_deadline() == Deadline(20.0 + IDLE_S, "link idle")


def test_a_link_that_stays_failed_is_dead_after_thirty_seconds() -> None:
    """6.6.5: "retained for 30 seconds to determine if the failure was transient"."""
    link = start()
    link.send(b"hello?", 0.0)
    link.handle_timeout(3.0)
    assert link.next_deadline() == Deadline(3.0 + RETAINED_S, "failed link given up")
    link.handle_timeout(32.9)
    assert link.state is LinkState.FAILED
    link.handle_timeout(33.0)
    assert link.state is LinkState.DEAD


def test_data_that_comes_in_does_not_prove_that_ours_goes_out() -> None:
    """Only acknowledgements do: a link that works one way is no link."""
    link = start()
    link.send(b"hello?", 0.0)
    assert link.receive(frame_data(0, b"hello!"), 1.0) == [b"hello!"]
    link.handle_timeout(3.0)
    assert link.state is LinkState.FAILED


def test_an_acknowledgement_covers_what_was_sent_before() -> None:
    """On a stream nothing overtakes."""
    link = start()
    for at in (0.0, 0.1, 1.0):
        link.send(b"x", at)
    acknowledge(link, 1, 0.2)
    assert link.round_trip.srtt_s == pytest.approx(0.1)
    assert link.next_deadline() == Deadline(1.0 + LATE_RTOS, "acknowledgement overdue")
    acknowledge(link, 2, 1.1)
    assert link.next_deadline() == Deadline(1.1 + IDLE_S, "link idle")


def test_acknowledgements_of_nothing_are_ignored() -> None:
    """Twice the same, or of what was never sent."""
    link = start()
    link.send(b"x", 0.0)
    acknowledge(link, 7, 0.1)
    assert link.round_trip.srtt_s is None
    acknowledge(link, 0, 0.2)
    acknowledge(link, 0, 5.0)
    assert link.round_trip.srtt_s == pytest.approx(0.2)


@pytest.mark.must("6.6.5/1")
def test_the_timeout_follows_the_round_trips() -> None:
    """6.6.5: "MUST use the framing header to measure the RTT of the connection and calculate an RTO"."""
    link = start()
    link.send(b"x", 0.0)
    acknowledge(link, 0, 2.0)
    link.send(b"x", 10.0)
    assert link.next_deadline() == Deadline(10.0 + LATE_RTOS * 6.0, "acknowledgement overdue")


def test_a_link_on_which_nothing_is_heard_is_idle_once_each_time() -> None:
    """The node sends a Ping over it, which bounds how late a power cut at the other end is seen."""
    link = start(100.0)
    assert link.next_deadline() == Deadline(100.0 + IDLE_S, "link idle")
    link.handle_timeout(114.9)
    assert link.drain() == []
    link.handle_timeout(115.0)
    link.handle_timeout(115.0)
    assert link.drain() == [Idle()]
    assert link.next_deadline() == Deadline(115.0 + IDLE_S, "link idle")


def test_two_ends_with_nothing_to_say_keep_each_other_content_with_acknowledgements() -> None:
    """A minute with nine bytes every twelve seconds each way, and no Ping; who hears no more of them is idle."""
    here, there = start(), start()
    here.keeps_alive = there.keeps_alive = True
    here.send(b"question", 0.0)
    there.receive(here.drain()[0], 0.0)
    there.send(b"answer", 0.0)
    here.receive(there.drain()[0], 0.0)
    there.receive(here.drain()[0], 0.0)
    for at in (KEEP_ALIVE_S, 2 * KEEP_ALIVE_S, 3 * KEEP_ALIVE_S, 4 * KEEP_ALIVE_S):
        assert here.next_deadline() == there.next_deadline() == Deadline(at, "keep-alive")
        for one, other in ((here, there), (there, here)):
            one.handle_timeout(at)
            one.handle_timeout(at)
            assert (said := one.drain()) == [frame_ack(0, 0)]
            assert other.receive(said[0], at) == []
    last = 4 * KEEP_ALIVE_S
    here.handle_timeout(last + KEEP_ALIVE_S)
    assert here.drain() == [frame_ack(0, 0)]
    assert here.next_deadline() == Deadline(last + IDLE_S, "link idle")
    here.handle_timeout(last + IDLE_S)
    assert here.drain() == [Idle()]


def test_who_says_something_needs_no_other_sign_of_life() -> None:
    """A message of ours is one, and so is an acknowledgement; where messages wait for theirs, those are repeated."""
    link = start()
    link.keeps_alive = True
    link.receive(frame_data(0, b"x"), 1.0)
    assert link.next_deadline() == Deadline(1.0 + KEEP_ALIVE_S, "keep-alive")
    link.receive(frame_data(1, b"x"), 4.0)
    assert link.next_deadline() == Deadline(4.0 + KEEP_ALIVE_S, "keep-alive")
    link.send(b"y", 9.0)
    link.drain()
    assert link.next_deadline() == Deadline(9.0 + LATE_RTOS, "acknowledgement overdue")
    acknowledge(link, 0, 9.5)
    assert link.next_deadline() == Deadline(9.0 + KEEP_ALIVE_S, "keep-alive")


def test_who_is_not_known_to_hear_it_is_told_nothing_twice() -> None:
    """To another implementation an acknowledgement of what is acknowledged may be a mistake: it has Pings."""
    link = start()
    link.receive(frame_data(0, b"x"), 1.0)
    link.drain()
    assert link.next_deadline() == Deadline(1.0 + IDLE_S, "link idle")


def test_a_machine_that_has_slept_asks_and_does_not_only_say() -> None:
    """Both are due; a Ping is a sign of life as well."""
    link = start()
    link.keeps_alive = True
    link.receive(frame_data(0, b"x"), 0.0)
    link.drain()
    link.handle_timeout(3600.0)
    assert link.drain() == [Idle()]


def test_a_link_that_waits_for_an_acknowledgement_is_not_idle() -> None:
    """Its silence is being measured already."""
    link = start()
    link.send(b"x", 0.0)
    link.drain()
    link.handle_timeout(100.0)
    assert link.drain() == [Unacknowledged(b"x", 0.0)], "it has failed, and that is all"


@pytest.mark.parametrize(("size", "most"), [(0, IN_FLIGHT_MAX), (5000, IN_FLIGHT_BYTES_MAX // 5000)])
def test_who_is_slow_loses_messages_and_not_the_link(size: int, most: int) -> None:
    """So many messages, or bytes, wait for it and no more; what it sends is acknowledged all the same."""
    link = start()
    for _ in range(most + 10):
        link.send(bytes(size), 0.0)
    assert link.drain() == [b"".join(frame_data(number, bytes(size)) for number in range(most))]
    link.receive(frame_data(0, b"I am here"), 0.1)
    assert link.drain() == [frame_ack(0, 0)]
    acknowledge(link, 0, 0.5)
    link.send(bytes(size), 0.5)
    link.send(bytes(size), 0.5)
    assert link.drain() == [frame_data(most, bytes(size))], "what it has taken makes room"
    acknowledge(link, most, 0.6)
    assert link.next_deadline() == Deadline(0.6 + IDLE_S, "link idle")


def test_a_message_of_any_size_goes_alone() -> None:
    """max-message-size may be more than what is in flight at most."""
    link = start()
    link.send(bytes(IN_FLIGHT_BYTES_MAX + 1), 0.0)
    link.send(b"x", 0.0)
    assert link.drain() == [frame_data(0, bytes(IN_FLIGHT_BYTES_MAX + 1))]
    acknowledge(link, 0, 0.1)
    link.send(b"x", 0.2)
    assert link.drain() == [frame_data(1, b"x")]


def test_sequence_numbers_wrap() -> None:
    """After 2^32 messages it starts over."""
    link = start()
    link._next_sequence = 0xFFFFFFFF
    link.send(b"last", 0.0)
    link.send(b"first", 0.0)
    assert link.drain() == [frame_data(0xFFFFFFFF, b"last") + frame_data(0, b"first")]
    acknowledge(link, 0, 0.1)
    assert link.next_deadline() == Deadline(0.1 + IDLE_S, "link idle")


def test_what_was_not_acknowledged_is_told_once() -> None:
    """The oldest first; an acknowledgement of a later one is one of those before it. The link's health is as before."""
    link = start()
    for number in range(4):
        link.send(b"%d" % number, float(number))
    acknowledge(link, 1, 3.0)
    link.drain()
    link.end()
    assert link.drain() == [Unacknowledged(b"2", 2.0), Unacknowledged(b"3", 3.0)]
    link.end()
    assert link.drain() == []
    assert link.next_deadline() == Deadline(2.0 + LATE_RTOS * link.round_trip.rto_s, "acknowledgement overdue")
    acknowledge(link, 3, 3.5)
    assert link.next_deadline() == Deadline(3.5 + IDLE_S, "link idle")


def test_no_more_is_kept_than_is_good_for_us() -> None:
    """A link with so much in flight does not read what we send; what was acknowledged makes room."""
    link = start()
    message = bytes(KEPT_BYTES_MAX // 2)
    for _ in range(3):
        link.send(message, 0.0)
    acknowledge(link, 0, 0.1)
    link.send(b"room again", 0.2)
    link.drain()
    link.end()
    assert [sent.message for sent in link.drain()] == [message, b"room again"]


def test_garbage_closes_the_link() -> None:
    """A stream cannot be resynchronised."""
    with pytest.raises(FramingError):
        start().receive(b"SIP/2.0 200 OK", 0.0)


@given(st.lists(st.tuples(st.sampled_from(["send", "deliver", "lose", "look"]), st.floats(0.0, 2.0)), max_size=50))
def test_never_failed_while_all_is_acknowledged_in_time(steps: list[tuple[str, float]]) -> None:
    """Property: FAILED if and only if, at some look, the oldest message was unacknowledged for three RTOs."""
    here, now, in_flight, model = start(), 0.0, [], LinkState.UP
    sequence, oldest_failed_at = 0, 0.0
    for what, pause in steps:
        now += pause
        if what == "send":
            here.send(b"x", now)
            in_flight.append((sequence, now))
            sequence += 1
        elif what == "deliver" and in_flight:
            number, _ = in_flight.pop(0)
            acknowledge(here, number, now)
            model = LinkState.UP if model is LinkState.FAILED else model
        elif what == "look":
            if model is LinkState.UP and in_flight and now >= in_flight[0][1] + 3 * here.round_trip.rto_s:
                model, oldest_failed_at = LinkState.FAILED, now
            if model is LinkState.FAILED and now >= oldest_failed_at + RETAINED_S:
                model = LinkState.DEAD
            here.handle_timeout(now)
        assert here.state is model
