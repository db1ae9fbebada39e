"""Who holds copies (p2psip.reload.topology.chord.replicas)."""

from __future__ import annotations

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline
from p2psip.reload.topology.actions import Replicate
from p2psip.reload.topology.chord.replicas import HOLD_DOWN_S, ReplicaSet
from p2psip.reload.topology.chord.routing_table import RoutingTable


def nid(number: int) -> NodeId:
    """A small Node-ID."""
    return NodeId(number.to_bytes(16, "big"))


def start(*others: int) -> tuple[RoutingTable, ReplicaSet]:
    """Node 100 and its peers, the copies made."""
    table = RoutingTable(nid(100), 5)
    for other in others:
        table.add(nid(other))
    replicas = ReplicaSet(table)
    replicas.peer_came(0.0)
    replicas.handle_timeout(0.0)
    return table, replicas


def test_10_4_the_replicas_are_the_successor_and_its_successor() -> None:
    """And nobody else, however many are known."""
    _, replicas = start(110, 120, 130, 90)
    assert replicas.nodes == (nid(110), nid(120))


def test_a_new_replica_gets_a_copy_at_once() -> None:
    """10.7.3: "it MUST send a Store for any data associated with R to any new node in the replica set"."""
    table, replicas = start(110, 120, 90)
    table.add(nid(105))
    replicas.peer_came(7.0)
    assert replicas.next_deadline() == Deadline(7.0, "replicas held down")
    assert replicas.handle_timeout(7.0) == [Replicate(nid(105), 1, nid(90), nid(100))]
    assert replicas.next_deadline() is None
    assert replicas.handle_timeout(8.0) == []


def test_after_a_failure_copying_is_held_down() -> None:
    """10.7.1: "SHOULD delay the creation of new replicas for the successor replacement hold-down time (30 seconds)"."""
    table, replicas = start(110, 120, 130, 90)
    table.remove(nid(110))
    replicas.peer_went(nid(110), 5.0)
    assert replicas.next_deadline() == Deadline(5.0 + HOLD_DOWN_S, "replicas held down")
    assert replicas.handle_timeout(34.9) == []
    assert replicas.handle_timeout(35.0) == [Replicate(nid(130), 2, nid(90), nid(100))]


def test_a_peer_that_comes_ends_the_hold_down() -> None:
    """There is a better match now."""
    table, replicas = start(110, 120, 130, 90)
    table.remove(nid(110))
    replicas.peer_went(nid(110), 5.0)
    table.add(nid(115))
    replicas.peer_came(6.0)
    assert replicas.handle_timeout(6.0) == [Replicate(nid(115), 1, nid(90), nid(100))]


def test_a_second_failure_does_not_prolong_the_first_hold_down() -> None:
    """Under churn something must be copied some time."""
    _, replicas = start(110, 120, 130, 90)
    replicas.peer_went(nid(110), 5.0)
    replicas.peer_went(nid(120), 20.0)
    assert replicas.next_deadline() == Deadline(35.0, "replicas held down")


def test_when_our_range_grows_replicas_get_what_they_lack() -> None:
    """Only that: of the rest they have copies."""
    table, replicas = start(110, 120, 90, 80)
    table.remove(nid(90))
    replicas.peer_went(nid(90), 0.0)
    assert replicas.handle_timeout(30.0) == [
        Replicate(nid(110), 1, nid(80), nid(90)),
        Replicate(nid(120), 2, nid(80), nid(90)),
    ]


def test_when_our_range_shrinks_nothing_is_copied() -> None:
    """And when it grows again, what was given away in between is."""
    table, replicas = start(110, 120, 90)
    table.add(nid(95))
    replicas.peer_came(1.0)
    assert replicas.handle_timeout(1.0) == []
    table.remove(nid(95))
    replicas.peer_went(nid(95), 2.0)
    assert replicas.handle_timeout(32.0) == [
        Replicate(nid(110), 1, nid(90), nid(95)),
        Replicate(nid(120), 2, nid(90), nid(95)),
    ]


def test_who_was_responsible_until_now_needs_no_copy() -> None:
    """The Admitting Peer, for its new predecessor."""
    table = RoutingTable(nid(100), 5)
    for other in (110, 120, 90):
        table.add(nid(other))
    replicas = ReplicaSet(table)
    replicas.holds_already(nid(110))
    replicas.peer_came(0.0)
    assert replicas.handle_timeout(0.0) == [Replicate(nid(120), 2, nid(90), nid(100))]


def test_a_replica_that_missed_something_gets_all_again() -> None:
    """After the hold-down, so that one that is slow is not given more still."""
    _, replicas = start(110, 120, 90)
    replicas.lacks(nid(120), 3.0)
    assert replicas.handle_timeout(33.0) == [Replicate(nid(120), 2, nid(90), nid(100))]
    replicas.lacks(nid(90), 40.0)
    assert replicas.next_deadline() is None


def test_a_peer_that_left_the_replica_set_is_copied_to_when_it_returns() -> None:
    """It may have deleted what it had."""
    table, replicas = start(110, 120, 90)
    table.add(nid(105))
    replicas.peer_came(1.0)
    replicas.handle_timeout(1.0)
    table.remove(nid(105))
    replicas.peer_went(nid(105), 2.0)
    assert replicas.handle_timeout(32.0) == [Replicate(nid(120), 2, nid(90), nid(100))]
