"""Simple Reliability on one DTLS link (p2psip.reload.link.datagram), in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st
from link_pair import DATAGRAM_BYTES, Fate, LinkPair, StopAndWait

from p2psip.base.timers import Deadline
from p2psip.reload.link.congestion import WINDOW_INITIAL, WINDOW_MAX
from p2psip.reload.link.datagram import (
    ARRIVALS_MAX,
    DOUBTFUL_MAX,
    NARROW_BYTES,
    WAITING_BYTES_MAX,
    Arrivals,
    DatagramLink,
)
from p2psip.reload.link.framing import FramingError, MessageTooLarge, frame_ack, frame_data
from p2psip.reload.link.link import IDLE_S, KEEP_ALIVE_S, Idle, Late, LinkState, Unacknowledged, Vanished
from p2psip.sim.path import Path

RTO_S = 0.5
REPEAT_S = 3.0
KEEP_S = 0.8 * REPEAT_S


def start(now: float = 0.0) -> DatagramLink:
    """A fresh link."""
    return DatagramLink(5000, DATAGRAM_BYTES, REPEAT_S, now)


def numbered() -> Iterator[bytes]:
    """Messages, each another."""
    return (b"message %d" % number for number in itertools.count())


def sequences(datagrams: list[bytes]) -> list[int]:
    """The numbers of data frames."""
    return [int.from_bytes(datagram[1:5], "big") for datagram in datagrams if datagram[0] == 128]


def told(link: DatagramLink) -> list[bytes]:
    """The messages of which it says, when it has failed or ended, that nobody knows whether they have arrived."""
    return [output.message for output in link.drain() if isinstance(output, Unacknowledged)]


def test_each_frame_is_a_datagram_and_each_message_is_acknowledged_at_once() -> None:
    """6.6.2; the payload is what a datagram holds beside the framing header."""
    here, there = start(), start()
    here.send(b"first", 0.0)
    here.send(b"second", 0.0)
    datagrams = here.drain()
    assert datagrams == [frame_data(0, b"first"), frame_data(1, b"second")]
    assert [there.receive(datagram, 0.1) for datagram in datagrams] == [[b"first"], [b"second"]]
    assert there.drain() == [frame_ack(0, 0), frame_ack(1, 0b10)]
    assert here.payload_bytes == DATAGRAM_BYTES - 8


def test_a_message_waits_until_the_window_has_room() -> None:
    """Three at first; each acknowledgement lets two more go."""
    link = start()
    for number in range(10):
        link.send(b"%d" % number, 0.0)
    assert sequences(link.drain()) == list(range(int(WINDOW_INITIAL)))
    link.receive(frame_ack(0, 0), 0.1)
    assert sequences(link.drain()) == [3, 4]


def test_what_has_not_arrived_is_told_once() -> None:
    """Sent or waiting, the oldest first; the link goes on trying."""
    link = start()
    for number in range(6):
        link.send(b"%d" % number, float(number) / 100)
    link.receive(frame_ack(1, 0), 0.1)
    link.drain()
    link.end()
    assert told(link) == [b"0", b"2", b"3", b"4", b"5"]
    link.end()
    assert told(link) == []
    link.handle_timeout(0.1 + link.round_trip.rto_s)
    assert len(link.drain()) > 0


def test_without_acknowledgement_it_is_sent_again_after_one_timeout() -> None:
    """With a new number; the acknowledgement of either is that of the message."""
    link = start()
    link.send(b"hello?", 0.0)
    assert link.next_deadline() == Deadline(RTO_S, "acknowledgement overdue")
    link.handle_timeout(RTO_S)
    assert link.drain() == [frame_data(0, b"hello?"), frame_data(1, b"hello?")]
    link.receive(frame_ack(0, 0), 0.6)
    link.handle_timeout(RTO_S + 2 * RTO_S)
    assert link.drain() == []


def test_one_that_three_later_ones_overtook_is_sent_again_at_once() -> None:
    """No timeout is waited for; the window is halved, once for all that were lost in that round trip."""
    link = start()
    link._window.size = 8.0
    for number in range(8):
        link.send(b"%d" % number, 0.0)
    link.drain()
    link.receive(frame_ack(2, 0), 0.1)
    assert link.drain() == []
    link.receive(frame_ack(3, 0), 0.1)
    assert link.drain() == [frame_data(8, b"0")]
    assert link._window.size == 4.5
    link.receive(frame_ack(4, 0), 0.1)
    assert link.drain() == []
    link.receive(frame_ack(5, 0), 0.1)
    assert link.drain() == [frame_data(9, b"1")]
    assert link._window.size == pytest.approx(4.5, abs=0.5)


@pytest.mark.parametrize(
    ("length", "arriving"),
    [
        (NARROW_BYTES + 1, 5),
        (NARROW_BYTES + 1, NARROW_BYTES + 1),
        (NARROW_BYTES, 5),
        (NARROW_BYTES + 2, NARROW_BYTES + 1),
    ],
)
def test_a_long_one_that_alone_vanishes_is_given_back(length: int, arriving: int) -> None:
    """Within seconds, once; not if another as long arrives, nor if it is a short one that vanishes."""
    link = start()
    vanishing, other = b"v" * length, b"o" * arriving
    link.send(vanishing, 0.0)
    now, given_back = 0.0, list[bytes]()
    while now < 10.0 and not given_back:
        now += 0.2
        link.send(other, now)
        for output in link.drain():
            if isinstance(output, Vanished):
                given_back.append(output.message)
            elif output[8:] != vanishing:
                link.receive(frame_ack(int.from_bytes(output[1:5], "big"), 0), now + 0.1)
        link.handle_timeout(now + 0.1)
    is_hole = length > NARROW_BYTES and arriving < length
    assert given_back == ([vanishing] if is_hole else [])
    assert link.payload_bytes == (NARROW_BYTES if is_hole else DATAGRAM_BYTES - 8)
    assert not any(isinstance(output, Vanished) for output in link.drain())
    link.end()
    assert (vanishing in told(link)) is not is_hole
    assert link.state is LinkState.UP


def pass_time(link: DatagramLink, from_s: int, until_s: int) -> list[bytes]:
    """Nothing that is sent arrives, but each second a check of the path is answered; what is given back."""
    given_back: list[bytes] = []
    for tenth in range(10 * from_s, 10 * until_s):
        now = tenth / 10
        link.handle_timeout(now)
        if tenth % 10 == 0:
            link.path_answers(now)
        given_back += [output.message for output in link.drain() if isinstance(output, Vanished)]
    return given_back


def test_what_vanishes_on_a_path_that_answers_is_given_back() -> None:
    """Although nothing else arrives: three long ones fill the window. The link does not fail meanwhile.

    What then still is longer than may be could not be cut. It is lost, and holds up nothing.
    """
    link, long = start(), [b"%d" % number * (NARROW_BYTES + 1) for number in range(5)]
    for number, message in enumerate(long):
        link.send(message, number / 100)
    assert pass_time(link, 1, 5) == long
    assert (link.state, link.payload_bytes) == (LinkState.UP, NARROW_BYTES)
    link.send(long[0], 5.0)
    link.send(b"short", 5.0)
    assert pass_time(link, 6, 10) == []
    link.path_answers(10.0)
    assert [datagram[8:] for datagram in link.drain() if isinstance(datagram, bytes)] == [b"short"]


def test_what_vanishes_is_given_back_though_the_other_end_falls_silent() -> None:
    """Nothing comes that would have us look: our own timeouts do, before they take the link for failed."""
    link, long = start(), [b"%d" % number * (NARROW_BYTES + 1) for number in range(4)]
    for number in range(3):
        link.send(b"short", number / 10)
        (datagram,) = link.drain()
        assert isinstance(datagram, bytes)
        link.receive(frame_ack(sequences([datagram])[0], 0), number / 10 + 0.05)
    link.drain()
    for number, message in enumerate(long):
        link.send(message, 0.3 + number / 100)
    given_back: list[bytes] = []
    for tenth in range(4, 100):
        link.handle_timeout(tenth / 10)
        if tenth in (10, 20):
            link.path_answers(tenth / 10)
        given_back += [output.message for output in link.drain() if isinstance(output, Vanished)]
    assert given_back == long
    assert (link.state, link.payload_bytes) == (LinkState.UP, NARROW_BYTES)


def test_a_link_whose_other_end_is_gone_is_not_taken_for_narrow() -> None:
    """The path has answered before, and never since."""
    link = start()
    for number in range(3):
        link.send(b"short", number / 10)
        (datagram,) = link.drain()
        assert isinstance(datagram, bytes)
        link.receive(frame_ack(sequences([datagram])[0], 0), number / 10 + 0.05)
    link.path_answers(0.3)
    link.send(b"v" * (NARROW_BYTES + 1), 0.4)
    for tenth in range(5, 100):
        link.handle_timeout(tenth / 10)
        assert not any(isinstance(output, Vanished) for output in link.drain())
    assert (link.state, link.payload_bytes) == (LinkState.FAILED, DATAGRAM_BYTES - 8)


def test_a_path_that_was_away_and_answers_makes_nothing_narrow() -> None:
    """However often, as long as what was sent again arrives."""
    link, long = start(), b"v" * (NARROW_BYTES + 1)
    for start_s in range(0, 50, 5):
        link.send(long, float(start_s))
        for number in range(5):
            link.handle_timeout(start_s + 0.5 * number)
        link.drain()
        link.path_answers(start_s + 3.0)
        (datagram,) = link.drain()
        assert isinstance(datagram, bytes)
        link.receive(frame_ack(sequences([datagram])[0], 0), start_s + 3.1)
        assert link.drain() == []
    assert link.payload_bytes == DATAGRAM_BYTES - 8
    assert link.state is LinkState.UP


def test_what_was_learnt_of_another_path_is_not_held_against_this_one() -> None:
    """The other has answered three times, this one once."""
    link = start()
    pass_time(link, 1, 4)
    link.try_again(4.0)
    link.send(b"v" * (NARROW_BYTES + 1), 4.0)
    for now in (4.5, 5.5, 7.5):
        link.handle_timeout(now)
    assert pass_time(link, 8, 9) == []
    assert len(pass_time(link, 9, 11)) == 1


def test_a_link_that_carries_nothing_fails_although_its_path_answers() -> None:
    """What is short does not vanish for its length: the other end is there, and its end of the link is not."""
    link = start()
    link.send(b"short", 0.0)
    assert pass_time(link, 1, 6) == []
    assert link.state is LinkState.FAILED


def test_a_late_one_teaches_how_far_this_network_reorders() -> None:
    """What came after all was not lost; next time more patience is due."""
    link = start()
    link._window.size = 16.0
    for number in range(16):
        link.send(b"%d" % number, 0.0)
    for acknowledged in (1, 2, 3, 4, 5, 6, 0):
        link.receive(frame_ack(acknowledged, 0), 0.1)
    assert link._reordering == 7
    link.drain()
    for acknowledged in (8, 9, 10, 11, 12):
        link.receive(frame_ack(acknowledged, 0), 0.1)
    assert 7 in link._flight


def test_the_mask_is_believed_where_both_readings_of_it_agree() -> None:
    """Bit k is for N-k by the letter, for N-k-1 elsewhere: two bits side by side say N-k by both."""
    link = start()
    link._window.size, link._reordering = 8.0, 8
    for number in range(5):
        link.send(b"%d" % number, 0.0)
    # By the letter 1 and 3 have arrived, by the other reading 0 and 2.
    link.receive(frame_ack(4, 0b01010), 0.1)
    assert set(link._flight) == {0, 1, 2, 3}
    # 2 and 3 by the letter, 1 and 2 by the other.
    link.receive(frame_ack(4, 0b00110), 0.1)
    assert set(link._flight) == {0, 1, 3}


def test_without_any_acknowledgement_it_fails_and_then_is_dead() -> None:
    """Sent at 0, 500, 1500, 3500, 7500 ms, in ever more copies; failed at the third retransmission after the first."""
    link = start()
    link.send(b"hello?", 0.0)
    sent = [(0.0, len(link.drain()), link.state)]
    while link.state is not LinkState.DEAD and (deadline := link.next_deadline()) is not None:
        link.handle_timeout(deadline.at)
        datagrams = [output for output in link.drain() if isinstance(output, bytes)]
        sent.append((deadline.at, len(datagrams), link.state))
    up, failed = LinkState.UP, LinkState.FAILED
    assert sent == [
        (0.0, 1, up),
        (0.5, 1, up),
        (1.5, 2, up),
        (3.5, 3, up),
        (7.5, 3, failed),
        (15.5, 3, failed),
        (31.5, 3, failed),
        (37.5, 0, LinkState.DEAD),
    ]


def test_what_waits_for_two_timeouts_may_go_another_way_and_the_link_goes_on_with_it() -> None:
    """Sent or waiting, the oldest first; one timeout may be one datagram that was lost."""
    link = start()
    for number in range(5):
        link.send(b"%d" % number, number / 100)
    late: dict[float, list[Late]] = {}
    while link.state is LinkState.UP and (deadline := link.next_deadline()) is not None:
        link.handle_timeout(deadline.at)
        late[deadline.at] = [output for output in link.drain() if isinstance(output, Late)]
    assert late == {0.5: [], 1.5: [Late(b"%d" % number, number / 100) for number in range(5)], 3.5: [], 7.5: []}


def test_an_acknowledgement_brings_a_failed_link_back() -> None:
    """6.6.3.1: "The link MAY be restored to the Routing Table if ACKs resume before the connection is closed"."""
    link = start()
    link.send(b"hello?", 0.0)
    for at in (0.5, 1.5, 3.5, 7.5):
        link.handle_timeout(at)
    assert link.state is LinkState.FAILED
    link.receive(frame_ack(0, 0), 8.0)
    assert link.state is LinkState.UP
    # That acknowledgement took 8 s: the timeout follows, and all that is under way again is the copies.
    assert link.round_trip.srtt_s == 8.0


def test_the_timeout_is_the_round_trip_and_what_a_busy_machine_takes() -> None:
    """RFC 6298 without the floor of a second."""
    link = start()
    for number in range(20):
        link.send(b"x%d" % number, number * 1.0)
        link.receive(frame_ack(number, 0), number * 1.0 + 0.0101)
    assert link.round_trip.rto_s == pytest.approx(0.111)


def test_a_link_that_piles_up_is_given_up() -> None:
    """What waits is bounded, as it is on a TLS link whose other end does not read."""
    link = start()
    for _ in range(WAITING_BYTES_MAX // 1000 + 4):
        link.send(bytes(1000), 5.0)
    assert link.state is LinkState.DEAD
    assert link.next_deadline() == Deadline(5.0, "dead link")


def test_what_is_under_way_and_what_is_in_doubt_are_bounded() -> None:
    """A remote that acknowledges cleverly makes neither grow."""
    link = start()
    acknowledged = 0
    for number in range(5000):
        link.send(b"%d" % number, number / 1000)
        acknowledged += 4
        link.receive(frame_ack(acknowledged, 0), number / 1000)
        link.drain()
    assert len(link._flight) <= WINDOW_MAX
    assert len(link._doubtful) <= DOUBTFUL_MAX


def test_a_silent_link_is_idle() -> None:
    """As any other."""
    link = start()
    link.handle_timeout(IDLE_S - 0.1)
    assert link.drain() == []
    link.handle_timeout(IDLE_S)
    assert link.drain() == [Idle()]


def test_the_last_acknowledgement_is_repeated_and_acknowledges_nothing_anew() -> None:
    """Nine bytes in place of a Ping; to who gets them they are a datagram that came twice."""
    here, there = start(), start()
    here.send(b"question", 0.0)
    assert there.receive(here.drain()[0], 0.1) == [b"question"]
    assert here.receive(there.drain()[0], 0.2) == []
    there.keeps_alive = True
    there.handle_timeout(0.1 + KEEP_ALIVE_S)
    assert there.drain() == [frame_ack(0, 0)]
    before = here.round_trip.srtt_s, here._window.size
    assert here.receive(frame_ack(0, 0), 12.2) == []
    assert here.drain() == []
    assert (here.round_trip.srtt_s, here._window.size) == before
    assert here.next_deadline() == Deadline(12.2 + IDLE_S, "link idle")


@pytest.mark.parametrize("datagram", [b"\x00", b"GET / HTTP/1.1", frame_data(0, b"x")[:-1], frame_ack(1, 1)[:5]])
def test_garbage_closes_the_link(datagram: bytes) -> None:
    """It came over an authenticated association: the other end does not speak the protocol."""
    with pytest.raises(FramingError):
        start().receive(datagram, 0.0)


def test_a_message_of_more_than_max_message_size_closes_the_link() -> None:
    """6.6, as on a stream."""
    with pytest.raises(MessageTooLarge):
        start().receive(frame_data(0, bytes(5001)), 0.0)


def test_what_comes_twice_is_passed_on_once_for_as_long_as_it_cannot_be_meant() -> None:
    """After that it is the originator that repeats it, and it goes on."""
    arrivals = Arrivals(KEEP_S)
    assert arrivals.is_new(b"a", 0.0)
    assert not arrivals.is_new(b"a", KEEP_S - 0.01)
    assert arrivals.is_new(b"a", KEEP_S)
    for number in range(2 * ARRIVALS_MAX):
        assert arrivals.is_new(b"%d" % number, KEEP_S)
    assert len(arrivals._first_at) == ARRIVALS_MAX


def test_what_a_link_has_not_brought_over_goes_on_its_successor() -> None:
    """Under way, lost or waiting, in order and once; the older one says no more of it, and may end."""
    older, newer = start(), start()
    messages = list(itertools.islice(numbered(), 8))
    for message in messages:
        older.send(message, 0.0)
    first, *_ = older.drain()
    assert isinstance(first, bytes)
    other = start()
    assert other.receive(first, 0.1) == messages[:1]
    (acknowledgement,) = other.drain()
    assert isinstance(acknowledgement, bytes)
    older.receive(acknowledgement, 0.2)
    assert newer.take_over(older) == messages[1:]
    older.end()
    assert told(older) == []
    assert newer.take_over(older) == []


def test_what_was_brought_over_and_comes_on_the_successor_again_is_passed_on_once() -> None:
    """The other end could not know that it had."""
    here, there = (start(), start()), (start(), start())
    here[0].send(b"arrived", 0.0)
    (datagram,) = here[0].drain()
    assert isinstance(datagram, bytes)
    assert there[0].receive(datagram, 0.1) == [b"arrived"]
    there[1].take_over(there[0])
    for message in here[1].take_over(here[0]):
        here[1].send(message, 0.2)
    (again,) = here[1].drain()
    assert isinstance(again, bytes)
    assert there[1].receive(again, 0.3) == []


def test_on_another_path_all_is_sent_again_at_once() -> None:
    """And the wait is what it was at the beginning, not what it had grown to."""
    link = start()
    link.send(b"message", 0.0)
    for now in (0.5, 1.5):
        link.handle_timeout(now)
    link.drain()
    link.try_again(2.0)
    sent = [each for each in link.drain() if isinstance(each, bytes)]
    assert len(sent) == 1
    assert sent[0].endswith(b"message")
    assert link.round_trip.rto_s == RTO_S
    assert link.next_deadline() == Deadline(2.0 + RTO_S, "acknowledgement overdue")


def test_sequence_numbers_wrap() -> None:
    """After 2^32 transmissions it starts over, losses and all."""
    pair = LinkPair.over(Path(delay_s=0.01, jitter_s=0.005, loss=0.1), "wrap")
    pair.here.link._next_sequence = 0xFFFFFFC0
    pair.here.link._latest_acknowledged = 0xFFFFFFBF  # type: ignore[attr-defined]
    pair.here.link._recovered_from = 0xFFFFFFC0  # type: ignore[attr-defined]
    pair.deliver(numbered(), 300, waiting=50, limit_s=60)
    assert sorted(pair.there.heard) == sorted(itertools.islice(numbered(), 300))


delays = st.integers(1, 60).map(lambda hundredths: hundredths / 100)
fates = st.lists(st.lists(delays, max_size=3), max_size=80)


def fate_of(pattern: list[list[float]], losses_max: int) -> Fate:
    """The pattern, in which no more than so many are lost in a row: nothing can be done on a network that is down."""
    left, lost = iter(pattern), 0

    def fate() -> list[float]:
        nonlocal lost
        arrivals = next(left, [0.05])
        lost = 0 if arrivals else lost + 1
        return arrivals if lost <= losses_max else [0.05]

    return fate


@settings(max_examples=times(60))
@given(fates, fates, st.integers(1, 40))
def test_whatever_the_network_does_every_message_arrives_once(
    there: list[list[float]], back: list[list[float]], count: int
) -> None:
    """Any pattern of loss, delay, order and copies: each message is passed up exactly once."""
    pair = LinkPair(fate_of(there, 2), fate_of(back, 1), repeat_s=1000.0)
    pair.deliver(numbered(), count, waiting=count, limit_s=600.0)
    pair.clock.run_until(pair.clock.now + 60.0)
    assert sorted(pair.there.heard) == sorted(itertools.islice(numbered(), count))
    assert pair.here.link.state is LinkState.UP


@pytest.mark.parametrize("seed", range(times(3)))
def test_loss_of_a_tenth_and_reordering_cost_no_message(seed: int) -> None:
    """Two thousand messages, one in ten datagrams lost each way, some doubled, all out of order."""
    path = Path(delay_s=0.02, jitter_s=0.01, loss=0.1, duplication=0.05)
    pair = LinkPair.over(path, seed, repeat_s=1000.0)
    pair.deliver(numbered(), 1000, waiting=100, limit_s=300.0)
    assert sorted(pair.there.heard) == sorted(itertools.islice(numbered(), 1000))
    assert pair.here.link.state is LinkState.UP


@pytest.mark.parametrize(
    ("rtt_s", "loss", "gain"),
    [(0.02, 0.0, 50), (0.02, 0.01, 10), (0.02, 0.1, 4), (0.2, 0.0, 50), (0.2, 0.01, 10), (0.2, 0.1, 3)],
)
def test_a_window_is_worth_its_keep(rtt_s: float, loss: float, gain: float) -> None:
    """Messages a second, against 6.6.3.1's stop-and-wait (without its 10 ms pauses)."""
    rates = []
    for is_stop_and_wait, count in ((False, 600), (True, 100)):
        pair = LinkPair.over(Path(delay_s=rtt_s / 2, loss=loss), "rates")
        if is_stop_and_wait:
            pair.here.link._window = StopAndWait()  # type: ignore[attr-defined]
        rates.append(count / pair.deliver(numbered(), count, waiting=count, limit_s=600.0))
    assert rates[0] > gain * rates[1], rates
