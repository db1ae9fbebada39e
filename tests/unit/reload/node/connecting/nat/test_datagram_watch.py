"""p2psip.reload.node.connecting.nat.datagram_watch: when UDP is taken for blocked, and when no more."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.node.connecting.nat.datagram_watch import AGAIN_S, DIALLED_MAX, KNOCK_S, QUIET_S, DatagramWatch
from p2psip.reload.paths.values import SendStun, StunArrived
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.stun.binding import answer_binding

TLS, DTLS = OverlayLinkType.TLS_TCP_FH_NO_ICE, OverlayLinkType.DTLS_UDP_SR_NO_ICE
Kinds = tuple[OverlayLinkType, ...]
HERE = Address("10.0.0.2", 6084)
NEIGHBOUR = Address("10.0.0.3", 6084)


def nid(number: int) -> NodeId:
    """A node."""
    return NodeId(number.to_bytes(16, "big"))


def at(number: int) -> Address:
    """Where it can be dialled."""
    return Address(f"203.0.113.{number}", 6084)


class Bench:
    """The watch of a node that is linked with some members outside."""

    def __init__(
        self, *, members: int = 2, has_ice: bool = True, kinds: tuple[OverlayLinkType, ...] = (DTLS, TLS)
    ) -> None:
        self.now = 100.0
        self.dialled: list[tuple[NodeId, Kinds]] = []
        self.said: list[str] = []
        self.effects: list[Effect] = []
        self.asked: set[bytes] = set()
        self.queue = TimerQueue()
        self.surveying = SimpleNamespace(
            reach=SimpleNamespace(is_udp_blocked=False),
            datagrams_cease=self._cease,
            datagrams_pass=self._pass,
            open_ports=lambda: [(nid(number), at(number)) for number in range(1, members + 1)],
        )
        exchange = SimpleNamespace(
            queue=self.queue,
            emit=self.effects.append,
            note=lambda event, **_: self.said.append(event),
            warn=lambda event, **_: self.said.append(event),
        )
        paths = SimpleNamespace(
            whereabouts=SimpleNamespace(has_ice=has_ice, dialled_types=lambda purpose: kinds),
            punching=SimpleNamespace(
                has_asked=lambda data: data in self.asked, forget_seen=lambda: self.said.append("forgotten")
            ),
        )
        intents = SimpleNamespace(dial_over=lambda node, at, over, now: self.dialled.append((node, over)))
        made: Any = DatagramWatch
        self.watch: DatagramWatch = made(
            exchange,
            paths,
            intents,
            self.surveying,
            random.Random(1),
        )

    def _cease(self, asked: int, now: float) -> None:
        self.surveying.reach.is_udp_blocked = True

    def _pass(self, now: float) -> None:
        self.surveying.reach.is_udp_blocked = False

    def ceased(self) -> Bench:
        """UDP is taken for blocked."""
        self.watch.doubted(self.now)
        self.watch.stream_up(self.now)
        assert self.surveying.reach.is_udp_blocked
        self.dialled.clear()
        self.said.clear()
        return self

    def hear(self, remote: Address, data: bytes = b"\x01\x01" + bytes(18)) -> None:
        """A STUN message comes."""
        self.watch.handle_stun(StunArrived(HERE, remote, data), self.now)

    def knocks(self) -> list[SendStun]:
        """Those that are due in the next minute."""
        end = self.now + 60.0
        while (deadline := self.watch.next_deadline()) is not None and deadline.at <= end:
            self.now = deadline.at
            self.watch.handle_timeout(self.now)
        knocks, self.effects[:] = [each for each in self.effects if isinstance(each, SendStun)], []
        return knocks


def test_a_stream_where_no_datagram_comes_says_it() -> None:
    """Members outside are dialled over TLS, and one of them takes the stream: what others saw of us holds no more."""
    bench = Bench()
    bench.watch.doubted(bench.now)
    assert sorted(bench.dialled) == [(nid(1), (TLS,)), (nid(2), (TLS,))]
    assert not bench.surveying.reach.is_udp_blocked, "the uplink may be away"
    bench.watch.stream_up(bench.now)
    assert bench.surveying.reach.is_udp_blocked
    assert bench.said == ["datagrams do not pass any more", "forgotten"]


def test_a_word_over_datagrams_clears_it() -> None:
    """From outside, that is, and an answer."""
    bench = Bench()
    bench.watch.doubted(bench.now)
    bench.hear(NEIGHBOUR)
    bench.hear(at(1), b"\0\x01" + bytes(18))
    bench.watch.stream_up(bench.now)
    assert bench.surveying.reach.is_udp_blocked
    bench = Bench()
    bench.watch.doubted(bench.now)
    bench.hear(at(2))
    bench.watch.stream_up(bench.now)
    assert not bench.surveying.reach.is_udp_blocked


def test_where_nobody_can_be_asked_a_stream_says_nothing() -> None:
    """In an overlay on private addresses, say: whoever is dialled later is not dialled for that."""
    bench = Bench(members=0)
    bench.watch.doubted(bench.now)
    bench.watch.stream_up(bench.now)
    assert not bench.surveying.reach.is_udp_blocked


def test_nor_does_one_that_comes_long_after() -> None:
    bench = Bench()
    bench.watch.doubted(bench.now)
    bench.now += AGAIN_S
    bench.watch.stream_up(bench.now)
    assert not bench.surveying.reach.is_udp_blocked


def test_where_others_have_answered_lately_nobody_is_dialled_nor_again_and_again() -> None:
    bench = Bench(members=DIALLED_MAX + 2)
    bench.hear(at(1))
    bench.now += QUIET_S / 2
    bench.watch.doubted(bench.now)
    assert bench.dialled == []
    bench.now += QUIET_S
    for _ in range(3):
        bench.watch.doubted(bench.now)
    assert len(bench.dialled) == DIALLED_MAX
    bench.now += AGAIN_S
    bench.watch.doubted(bench.now)
    assert len(bench.dialled) == 2 * DIALLED_MAX


@pytest.mark.parametrize("bench", [Bench(has_ice=False), Bench(kinds=(DTLS,))], ids=["no ICE", "no streams"])
def test_where_nothing_could_be_done_nothing_is_looked_at(bench: Bench) -> None:
    bench.watch.doubted(bench.now)
    bench.watch.stream_up(bench.now)
    assert (bench.dialled, bench.said) == ([], [])


def test_a_stream_that_nobody_waits_for_says_nothing() -> None:
    bench = Bench()
    bench.watch.stream_up(bench.now)
    assert not bench.surveying.reach.is_udp_blocked


def test_it_knocks_until_a_member_answers_and_believes_nobody_else() -> None:
    """Then members are dialled over DTLS."""
    bench = Bench().ceased()
    knocks = bench.knocks()
    assert 60 / (1.5 * KNOCK_S) <= len(knocks) <= 60 / (0.5 * KNOCK_S)
    assert {knock.remote for knock in knocks} == {at(1), at(2)}
    last = knocks[-1]
    answer = answer_binding(last.data, HERE)
    assert answer is not None
    bench.hear(Address("203.0.113.66", 6084), answer)
    bench.hear(last.remote)
    assert bench.surveying.reach.is_udp_blocked
    bench.hear(last.remote, answer)
    assert not bench.surveying.reach.is_udp_blocked
    assert sorted(bench.dialled) == [(nid(1), (DTLS,)), (nid(2), (DTLS,))]
    assert bench.said == ["datagrams pass again"]
    bench.watch.reach_changed(bench.now)
    assert bench.knocks() == []


def test_an_answer_to_another_question_of_ours_will_do() -> None:
    bench = Bench().ceased()
    answer = b"\x01\x01" + bytes(18)
    bench.asked.add(answer)
    bench.hear(at(1), answer)
    assert not bench.surveying.reach.is_udp_blocked


def test_what_a_survey_has_found_is_watched_as_well() -> None:
    """One at the start, say; and one that finds that datagrams pass ends it."""
    bench = Bench()
    bench.surveying.reach.is_udp_blocked = True
    bench.watch.reach_changed(bench.now)
    assert bench.knocks()
    bench.surveying.reach.is_udp_blocked = False
    bench.watch.reach_changed(bench.now)
    assert bench.knocks() == []
