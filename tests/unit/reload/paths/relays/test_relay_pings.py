"""p2psip.reload.paths.relays.relay_pings over streams; over datagrams: test_relays_together.py."""

from __future__ import annotations

import random

import pytest
from relay_wire import BASE, OURS, RELAY, SEEN

from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.relays.relay_pings import STREAM_ANSWER_S, RelayPinged, RelayPings
from p2psip.reload.paths.relays.relay_values import DialRelay, RelayStreamCame, RelayStreamUp, WriteStream
from p2psip.reload.paths.values import HangUp, Open, Opened
from p2psip.stun.binding import answer_binding

OVER: HangUp = HangUp(OURS, "it has said how far away it is")


def asked() -> tuple[RelayPings, bytes]:
    """The stream is up after a second; what was asked on it."""
    pings = RelayPings(random.Random(1))
    pings.ping(RELAY, 0.0, BASE)
    assert pings.drain() == []
    assert pings.dials() == [DialRelay(BASE, RELAY, is_ping=True)]
    pings.stream_up(RELAY, OURS, 1.0)
    [effect] = pings.drain()
    assert isinstance(effect, WriteStream)
    assert effect.path == OURS
    return pings, effect.data


def test_the_answer_counts_and_not_the_handshakes() -> None:
    pings, question = asked()
    answer = answer_binding(question, SEEN)
    assert answer is not None
    assert pings.stream_came(OURS, answer[:10], 1.02)
    assert pings.results() == []
    assert pings.stream_came(OURS, answer[10:], 1.05)
    [pinged] = pings.results()
    assert pinged.rtt_s == pytest.approx(0.05)
    assert pinged == RelayPinged(RELAY, pinged.rtt_s, over_stream=True)
    assert pings.drain() == [OVER]
    assert not pings.stream_came(OURS, answer, 1.06), "it is over"
    pings.stream_down(OURS)
    assert pings.results() == []


def test_one_that_says_nothing_or_something_else_is_not_there() -> None:
    nothing = RelayPinged(RELAY, None, over_stream=True)
    pings, question = asked()
    assert pings.stream_came(OURS, question, 1.1), "a question is no answer"
    assert pings.results() == []
    pings.handle_timeout(1.0 + STREAM_ANSWER_S)
    assert (pings.results(), pings.drain()) == ([nothing], [OVER])
    pings, _ = asked()
    assert pings.stream_came(OURS, b"\xff" * 20, 1.1)
    assert (pings.results(), pings.drain()) == ([nothing], [OVER])
    pings, _ = asked()
    pings.stream_down(OURS)
    assert (pings.results(), pings.drain()) == ([nothing], [])
    pings = RelayPings(random.Random(1))
    pings.ping(RELAY, 0.0, BASE)
    pings.not_dialled(RELAY)
    assert pings.results() == [nothing]
    assert pings.next_deadline() is None


def test_an_answer_by_a_datagram_is_none() -> None:
    """Whoever can forge one has not seen the question, which went over TLS."""
    pings, question = asked()
    answer = answer_binding(question, SEEN)
    assert answer is not None
    pings.handle_answer(RELAY, answer, 1.1)
    assert pings.results() == []


def test_one_at_a_time_to_each() -> None:
    pings, _ = asked()
    pings.ping(RELAY, 1.0, BASE)
    pings.ping(RELAY, 1.0)
    assert (pings.dials(), pings.drain()) == ([], [])


def test_the_core_that_dials_passes_it_all_on() -> None:
    paths = Paths(random.Random(1))
    paths.punching.relay_pings.ping(RELAY, 0.0, BASE)
    paths.news(0.0)
    [opened] = paths.drain()
    assert isinstance(opened, Open)
    paths.handle(Opened(opened.path, BASE), 0.1)
    paths.drain()
    paths.handle(RelayStreamUp(opened.path, BASE, RELAY), 0.2)
    [written] = paths.drain()
    assert isinstance(written, WriteStream)
    answer = answer_binding(written.data, SEEN)
    assert answer is not None
    paths.handle(RelayStreamCame(opened.path, answer), 0.3)
    assert [each.link for each in paths.drain() if isinstance(each, HangUp)] == [opened.path]
    [pinged] = paths.punching.relay_pings.results()
    assert pinged.rtt_s == pytest.approx(0.1)
    # And where nobody takes it.
    paths.punching.relay_pings.ping(RELAY, 1.0, BASE)
    paths.news(1.0)
    [opened] = paths.drain()
    assert isinstance(opened, Open)
    assert paths.down(opened.path, "Connection refused", 1.1) is None
    assert paths.punching.relay_pings.results() == [RelayPinged(RELAY, None, over_stream=True)]
