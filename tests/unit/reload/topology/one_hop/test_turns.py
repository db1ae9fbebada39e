"""All who want something take turns (p2psip.reload.topology.one_hop.turns)."""

from __future__ import annotations

from p2psip.base.ids import NodeId
from p2psip.reload.topology.one_hop.turns import Turns

MANY, FEW, OTHER = (NodeId(bytes([255, value]) + bytes(14)) for value in range(3))


def nid(value: int) -> NodeId:
    return NodeId(value.to_bytes(16, "big"))


def began(turns: Turns[str]) -> list[str]:
    return [thing for _, thing in turns.begin()]


def wait(turns: Turns[str], by: NodeId, *values: int) -> None:
    for value in values:
        turns.wait(nid(value), by, f"{value}")


def test_who_wants_little_is_not_kept_waiting_by_who_wants_much() -> None:
    turns: Turns[str] = Turns(4, 100)
    wait(turns, MANY, 1, 2, 3, 4, 5)
    assert began(turns) == ["1", "2"], "half of what may be under way"
    wait(turns, FEW, 11, 12, 13)
    assert began(turns) == ["11", "12"]
    wait(turns, OTHER, 21)
    assert began(turns) == []
    turns.end(nid(1))
    assert began(turns) == ["21"]
    turns.end(nid(11))
    assert began(turns) == ["3"]
    assert len(turns) == 4 + 3


def test_who_waits_with_the_most_waits_with_the_least_where_there_is_no_room() -> None:
    turns: Turns[str] = Turns(10, 4)
    wait(turns, MANY, 1, 2, 3, 4)
    assert not turns.wait(nid(5), MANY, "5")
    assert turns.wait(nid(11), FEW, "11")
    assert turns.wait(nid(12), FEW, "12")
    assert not turns.wait(nid(21), MANY, "21")
    assert turns.wait(nid(22), OTHER, "22"), "two and two"
    assert len(turns) == 4
    assert "22" in began(turns)


def test_of_two_who_want_the_same_one_gets_it() -> None:
    turns: Turns[str] = Turns(3, 100)
    turns.wait(nid(1), MANY, "many's")
    turns.wait(nid(1), FEW, "few's")
    assert began(turns) == ["many's"]
    assert len(turns) == 1
    assert turns.under_way(nid(1)) == "many's"


def test_what_is_over_waits_no_more_either() -> None:
    turns: Turns[str] = Turns(2, 100)
    wait(turns, MANY, 1, 2, 3)
    wait(turns, FEW, 3, 1)
    assert began(turns) == ["1", "3"]
    for value in (3, 1, 7):
        turns.end(nid(value))
    assert turns.under_way(nid(1)) is None
    assert began(turns) == ["2"]
    assert len(turns) == 1
    turns.clear()
    assert not len(turns)
    wait(turns, MANY, 4)
    assert began(turns) == ["4"]
