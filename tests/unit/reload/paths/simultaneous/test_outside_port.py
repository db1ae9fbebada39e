"""As whom relays see the port from which streams are opened."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.relays.relay_values import WriteStream
from p2psip.reload.paths.simultaneous.outside_port import (
    AGAIN_S,
    APART_S,
    ASK_S,
    MEMBERS_AFTER_S,
    MEMBERS_SOON_S,
    AskOutside,
    OutsidePorts,
    OutsideUse,
)
from p2psip.reload.paths.values import Candidate, HangUp, Purpose, Session
from p2psip.stun.binding import answer_binding
from p2psip.stun.message import BINDING, MessageClass, StunMessage

HOST = "192.168.7.2"
RELAY, OTHER = Address("198.51.100.4", 6084), Address("198.51.100.5", 6084)
SEEN = Address("203.0.113.9", 61001)
STREAM = 6


class Bench:
    """The ports of one node, and a relay that answers."""

    def __init__(self, *relays: Address) -> None:
        self.ports = OutsidePorts(random.Random(1))
        self.now = 0.0
        for relay in relays:
            self.ports.relay_lends(HOST, relay, self.now)

    def dialled(self) -> AskOutside:
        """Let time go on until a relay is to be dialled."""
        while not (wanted := self.ports.take()):
            self.wait()
        (asked,) = wanted
        return asked

    def wait(self) -> list[Effect]:
        """Let time go on to the next deadline."""
        deadline = self.ports.next_deadline()
        assert deadline is not None
        self.now = max(self.now, deadline.at)
        self.ports.handle_timeout(self.now)
        return self.ports.drain()

    def answer(self, seen: Address = SEEN, stream: int = STREAM) -> None:
        """The relay answers what was asked over the stream."""
        self.reply(self.ports.drain(), seen, stream)

    def reply(self, effects: list[Effect], seen: Address = SEEN, stream: int = STREAM) -> None:
        """The same, of these effects; the answer comes in pieces."""
        (question,) = (each for each in effects if isinstance(each, WriteStream))
        assert question.path == stream
        answer = answer_binding(question.data, seen)
        assert answer is not None
        self.ports.stream_came(stream, answer[:7], self.now)
        self.ports.stream_came(stream, answer[7:], self.now)

    def known(self, relay: Address = RELAY) -> AskOutside:
        """Ask, and have the answer."""
        asked = self.dialled()
        assert asked.server == relay
        self.ports.stream_up(asked, STREAM, self.now)
        self.answer()
        return asked


def test_the_port_is_known_when_the_relay_has_answered() -> None:
    bench = Bench(RELAY)
    asked = bench.dialled()
    assert (asked.server, asked.local.host) == (RELAY, HOST)
    assert asked.local.port >= 49152
    bench.ports.stream_up(asked, STREAM, bench.now)
    assert bench.ports.mapped() == []
    bench.answer()
    assert bench.ports.mapped() == [Mapped(SEEN, asked.local, RELAY)]


def test_it_is_asked_again_and_again() -> None:
    """And what it says last is so."""
    bench = Bench(RELAY)
    bench.known()
    began_at = bench.now
    moved = SEEN._replace(port=7)
    bench.reply(bench.wait(), moved)
    assert 0.8 * ASK_S <= bench.now - began_at <= 1.2 * ASK_S
    assert [each.address for each in bench.ports.mapped()] == [moved]


def test_a_relay_that_answers_no_more_is_left_for_another_from_another_port() -> None:
    bench = Bench(RELAY, OTHER)
    before = bench.known()
    bench.wait()
    assert HangUp(STREAM, "another port takes its place") in bench.wait()
    assert bench.ports.mapped() == []
    after = bench.known(OTHER)
    assert after.local.port != before.local.port


def test_a_stream_that_cannot_be_had_is_not_tried_at_once() -> None:
    bench = Bench(RELAY, OTHER)
    asked = bench.dialled()
    bench.ports.not_dialled(asked, bench.now)
    began_at = bench.now
    assert bench.dialled().server == OTHER
    assert bench.now == began_at + AGAIN_S


def test_nor_is_one_that_has_ended() -> None:
    bench = Bench(RELAY)
    bench.known()
    began_at = bench.now
    bench.ports.stream_down(99, bench.now)
    assert bench.ports.mapped()
    bench.ports.stream_down(STREAM, bench.now)
    assert (bench.ports.mapped(), bench.ports.drain()) == ([], [])
    bench.dialled()
    assert bench.now == began_at + AGAIN_S


@pytest.mark.parametrize("said", [b"\x80 is no STUN", b"\0\1\xff\xfc" + bytes(16)], ids=["garbage", "too long"])
def test_who_says_no_stun_is_no_good(said: bytes) -> None:
    bench = Bench(RELAY)
    bench.known()
    bench.ports.stream_came(STREAM, said, bench.now)
    assert bench.ports.mapped() == []
    assert [type(each) for each in bench.ports.drain()] == [HangUp]


def test_an_answer_to_nothing_says_nothing() -> None:
    bench = Bench(RELAY)
    asked = bench.dialled()
    bench.ports.stream_up(asked, STREAM, bench.now)
    (question,) = (each for each in bench.ports.drain() if isinstance(each, WriteStream))
    other = StunMessage(MessageClass.REQUEST, BINDING, bytes(12), has_fingerprint=True).encode()
    assert other != question.data
    answer = answer_binding(other, SEEN)
    assert answer is not None
    bench.ports.stream_came(STREAM, answer, bench.now)
    assert bench.ports.mapped() == []


def test_a_relay_that_lends_no_more_is_not_asked() -> None:
    bench = Bench(RELAY)
    bench.known()
    bench.ports.relay_gone(HOST, RELAY, bench.now)
    assert [type(each) for each in bench.ports.drain()] == [HangUp]
    assert (bench.ports.mapped(), bench.ports.next_deadline()) == ([], None)


def test_one_that_is_not_wanted_any_more_is_hung_up() -> None:
    bench = Bench(RELAY)
    asked = bench.dialled()
    bench.ports.relay_gone(HOST, RELAY, bench.now)
    bench.ports.stream_up(asked, STREAM, bench.now)
    assert bench.ports.drain() == [HangUp(STREAM, "it is not wanted any more")]


def test_a_link_that_was_opened_from_the_port_takes_it_along() -> None:
    bench = Bench(RELAY)
    before = bench.known()
    session = Session(Purpose.RELOAD, (Candidate(OTHER, local=before.local),))
    for link in (8, 10):
        bench.ports.linked(link, session)
    assert (bench.ports.session_of(8), bench.ports.session_of(12)) == (session, None)
    bench.ports.link_over(12)
    assert bench.ports.mapped()
    bench.ports.link_over(8)
    assert bench.ports.mapped() == []
    after = bench.known()
    assert after.local != before.local
    bench.ports.link_over(10)
    assert bench.ports.mapped(), "that was of the port before"


@pytest.mark.parametrize(
    "seen", [Address("224.0.0.1", 9), Address("0.0.0.0", 5), SEEN._replace(port=0), Address("2001:db8::1", 7)]
)
def test_what_cannot_be_is_not_said(seen: Address) -> None:
    """A relay may say anything; another is asked."""
    bench = Bench(RELAY, OTHER)
    asked = bench.dialled()
    bench.ports.stream_up(asked, STREAM, bench.now)
    bench.answer(seen)
    assert bench.ports.mapped() == []
    assert bench.dialled().server != asked.server


def test_whoever_ends_links_has_no_relay_dialled_at_once() -> None:
    bench = Bench(RELAY)
    asked = bench.known()
    bench.ports.linked(8, Session(Purpose.RELOAD, (Candidate(OTHER, local=asked.local),)))
    began = bench.now
    bench.ports.link_over(8)
    bench.dialled()
    assert bench.now >= began + APART_S


def with_members(*members: Address) -> Bench:
    """One for which no relay lends anything, and that has dialled these members."""
    bench = Bench()
    bench.ports.use_members((HOST,), members, bench.now)
    return bench


def both_dialled(bench: Bench) -> list[AskOutside]:
    """Let time go on until a port for links and one for calls are asked for."""
    found: list[AskOutside] = []
    while len(found) < 2:
        bench.wait()
        found += bench.ports.take()
    return found


def test_where_no_relay_lends_members_are_asked_for_links_and_for_calls() -> None:
    """After a while, in which relays may come; each use has a port of its own."""
    bench = with_members(RELAY)
    links, calls = both_dialled(bench)
    assert bench.now == MEMBERS_AFTER_S
    assert [each.use for each in (links, calls)] == [
        OutsideUse(HOST, Purpose.RELOAD),
        OutsideUse(HOST, Purpose.CALLS),
    ]
    assert {each.server for each in (links, calls)} == {RELAY}
    assert links.local != calls.local
    other = SEEN._replace(port=62002)
    for asked, stream, seen in ((links, 6, SEEN), (calls, 8, other)):
        bench.ports.stream_up(asked, stream, bench.now)
        bench.answer(seen, stream)
    assert bench.ports.mapped() == [Mapped(SEEN, links.local, RELAY)]
    assert bench.ports.mapped(Purpose.CALLS) == [Mapped(other, calls.local, RELAY)]


def test_members_are_asked_sooner_where_nothing_else_leads_anywhere() -> None:
    bench = Bench()
    bench.ports.use_members((HOST,), (RELAY,), bench.now, MEMBERS_SOON_S)
    assert len(both_dialled(bench)) == 2
    assert bench.now == MEMBERS_SOON_S


def test_members_take_turns() -> None:
    bench = with_members(RELAY, OTHER)
    assert {each.server for each in both_dialled(bench)} == {RELAY, OTHER}


def test_a_relay_that_lends_in_time_is_asked_for_links_alone() -> None:
    """What calls need goes over the relay then."""
    bench = with_members(OTHER)
    bench.ports.relay_lends(HOST, RELAY, 1.0)
    assert bench.known(RELAY).use == OutsideUse(HOST, Purpose.RELOAD)
    bench.now = 10 * MEMBERS_AFTER_S
    bench.ports.handle_timeout(bench.now)
    assert bench.ports.take() == []


def test_a_relay_that_lends_later_ends_the_port_for_calls() -> None:
    bench = with_members(OTHER)
    links, calls = both_dialled(bench)
    bench.ports.stream_up(links, 6, bench.now)
    bench.answer(SEEN, 6)
    bench.ports.stream_up(calls, 8, bench.now)
    bench.ports.drain()
    bench.ports.relay_lends(HOST, RELAY, bench.now)
    assert bench.ports.drain() == [HangUp(8, "another port takes its place")]
    assert bench.ports.mapped() == [Mapped(SEEN, links.local, OTHER)], "that of links is as good as any"
    bench.ports.relay_gone(HOST, RELAY, bench.now)
    began = bench.now
    (again,) = bench.ports.take() or [bench.dialled()]
    assert (again.use.purpose, bench.now) == (Purpose.CALLS, began + MEMBERS_AFTER_S)


def test_who_needs_nobody_any_more_asks_nobody() -> None:
    """Others reach it, or it has lost all members that it had dialled."""
    for hosts, members in (((), (RELAY,)), ((HOST,), ())):
        bench = with_members(RELAY)
        for number, asked in enumerate(both_dialled(bench)):
            bench.ports.stream_up(asked, 6 + 2 * number, bench.now)
        bench.ports.drain()
        bench.ports.use_members(hosts, members, bench.now)
        assert [type(each) for each in bench.ports.drain()] == [HangUp, HangUp]
        assert (bench.ports.mapped(), bench.ports.next_deadline()) == ([], None)
