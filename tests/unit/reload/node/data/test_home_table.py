"""Who has registered with a home peer: the last word counts, for a while, and there is no room for ever more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.node.data.home_table import HomeTable
from p2psip.reload.node.limits import HOME_LIFETIME_MAX_S, HOME_LINES_MAX, HOME_LINES_PER_USER_MAX
from p2psip.reload.wire.private_messages import PrivateAns
from p2psip.reload.wire.rejections import DataTooLarge, DataTooOld, Forbidden, InvalidMessage
from p2psip.reload.wire.usages.home_registration import HomeAns, HomeReq

HERE = NodeId(bytes(15) + b"\x01")
BOB = "bob@sim.example"


def nid(number: int) -> NodeId:
    return NodeId((1000 + number).to_bytes(16, "big"))


@dataclass
class Of:
    """Whatever has these attributes."""

    node_id: NodeId
    user: str = ""
    calls_by: CallsBy = CallsBy.HOME


@dataclass
class Bench:
    """A table, and what it has answered."""

    configuration: Of = field(default_factory=lambda: Of(HERE))
    identity: Of = field(default_factory=lambda: Of(HERE))
    answers: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = HomeTable(self)  # type: ignore[arg-type]

    def answer(self, request: Any, body: PrivateAns) -> None:
        self.answers.append(HomeAns.decode(body.body).lifetime)

    def say(
        self, line: int, at_ms: int, peer: int, lifetime_s: int = 300, *, user: str = BOB, now: float = 0.0
    ) -> None:
        request = Of(nid(line), user)
        request.signer = request  # type: ignore[attr-defined]
        self.table.handle(request, HomeReq(at_ms, lifetime_s, nid(peer)).encode(), now)  # type: ignore[arg-type]


def test_a_line_is_where_it_has_said_last_until_that_runs_out() -> None:
    bench = Bench()
    bench.say(1, 10, peer=7)
    bench.say(2, 20, peer=8)
    assert bench.table.of(BOB, 1.0) == (nid(8), nid(7)), "the latest word first"
    bench.say(1, 30, peer=9, now=100.0)
    assert bench.table.of(BOB, 300.5) == (nid(9),)
    assert bench.table.of(BOB, 400.0) == ()
    assert bench.table.of("alice@sim.example", 1.0) == ()
    assert bench.answers == [300, 300, 300]


def test_two_lines_at_one_peer_are_one_place() -> None:
    bench = Bench()
    bench.say(1, 10, peer=7)
    bench.say(2, 20, peer=7)
    assert bench.table.of(BOB, 1.0) == (nid(7),)


def test_a_line_takes_it_back_and_what_is_repeated_counts_for_nothing() -> None:
    bench = Bench()
    bench.say(1, 10, peer=7)
    bench.say(1, 11, peer=7, lifetime_s=0)
    assert bench.table.of(BOB, 1.0) == ()
    for again_ms in (10, 11):
        with pytest.raises(DataTooOld):
            bench.say(1, again_ms, peer=7)
    assert bench.table.of(BOB, 1.0) == ()


def test_no_lifetime_is_longer_than_the_limit() -> None:
    bench = Bench()
    bench.say(1, 10, peer=7, lifetime_s=1 << 31)
    assert bench.answers == [HOME_LIFETIME_MAX_S]
    assert bench.table.of(BOB, HOME_LIFETIME_MAX_S + 1.0) == ()


@pytest.mark.parametrize("way", [CallsBy.CALLER, CallsBy.RESPONSIBLE, CallsBy.REDIRECT])
def test_without_the_configuration_there_are_no_homes(way: CallsBy) -> None:
    bench = Bench()
    bench.configuration.calls_by = way
    with pytest.raises(Forbidden):
        bench.say(1, 10, peer=7)


def test_what_cannot_be_read_is_refused() -> None:
    bench = Bench()
    request: Any = Of(nid(1), BOB)
    request.signer = request
    for body in (b"", HomeReq(1, 1, nid(2)).encode()[:-1], HomeReq(1, 1, NodeId(bytes(16))).encode()):
        with pytest.raises(InvalidMessage):
            bench.table.handle(request, body, 0.0)


def test_there_is_room_for_so_many_lines_of_a_user_and_of_all() -> None:
    bench = Bench()
    for line in range(HOME_LINES_PER_USER_MAX):
        bench.say(line, 10, peer=7)
    with pytest.raises(DataTooLarge):
        bench.say(99, 10, peer=7)
    bench.say(0, 11, peer=8)
    bench.say(99, 10, peer=7, now=HOME_LIFETIME_MAX_S + 1.0)
    assert bench.table.of(BOB, HOME_LIFETIME_MAX_S + 1.0) == (nid(7),), "what has run out makes room"
    for line in range(HOME_LINES_MAX - 1):
        bench.say(line, 10, peer=7, user=f"user{line}@sim.example", now=HOME_LIFETIME_MAX_S + 1.0)
    with pytest.raises(DataTooLarge):
        bench.say(5000, 10, peer=7, user="one more@sim.example", now=HOME_LIFETIME_MAX_S + 1.0)
    assert len(bench.table) == HOME_LINES_MAX
