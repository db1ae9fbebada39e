"""The Connection Table (p2psip.reload.node.connecting.connection_table), in virtual time."""

from __future__ import annotations

import random

import pytest
from candidates import dtls, tls

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.link.datagram import NARROW_DATAGRAM_BYTES
from p2psip.reload.link.framing import Deframer, FramingError, frame_ack, frame_data
from p2psip.reload.link.link import ANSWER_S, IDLE_S, RETAINED_S, Late, LinkLost, Unacknowledged
from p2psip.reload.node.connecting.connection_table import (
    REPLACED_CLOSE_S,
    SILENT,
    SUPERSEDED_CLOSE_S,
    ConnectionTable,
    LinkBack,
    LinkEvent,
    LinkGone,
    LinkIdle,
    LinkSilent,
    NotTaken,
    NotTakenYet,
)
from p2psip.reload.node.effects import Write
from p2psip.reload.node.limits import LINKS_MAX, LINKS_PER_NODE_MAX, WAITING_BYTES_MAX
from p2psip.reload.paths.limits import DIALS_MAX
from p2psip.reload.paths.narrow import NARROW_S
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import AcceptNarrow, HangUp, Open, Purpose, Session
from p2psip.reload.wire.header import Destination, ForwardingHeader
from p2psip.reload.wire.message import Assembled, join

REMOTE = Address("192.0.2.1", 6084)


def nid(number: int) -> NodeId:
    """A small Node-ID."""
    return NodeId(number.to_bytes(16, "big"))


ME, SMALLER, LARGER = nid(100), nid(50), nid(200)


def start() -> ConnectionTable:
    """Those of node 100."""
    return ConnectionTable(ME, 5000, Paths(random.Random(1)))


def written(here: ConnectionTable) -> list[tuple[int, bytes]]:
    """What went out over which link, as messages."""
    found: list[tuple[int, bytes]] = []
    for effect in here.drain():
        if isinstance(effect, Write):
            frames = Deframer(5000).feed(effect.data)
            found += [(effect.link, content) for _, content in frames if isinstance(content, bytes)]
    return found


def test_a_newer_link_brings_over_what_an_older_one_has_not() -> None:
    """At once: nobody waits until the older one is closed, and then nothing is said to be not taken."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0, datagram_bytes=1200)
    here.send(LARGER, b"under way", 0.0)
    assert written(here) == [(1, b"under way")]
    here.add(3, LARGER, REMOTE, 5.0, datagram_bytes=1200)
    assert written(here) == [(3, b"under way")]
    assert here.close(1, "replaced") == []


def test_a_link_that_has_moved_sends_again_at_once() -> None:
    """And is where its path is now."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0, datagram_bytes=1200)
    here.send(LARGER, b"under way", 0.0)
    here.drain()
    elsewhere = Address("192.0.2.77", 6084)
    here.moved(1, elsewhere, 0.1)
    here.moved(5, elsewhere, 0.1)
    assert written(here) == [(1, b"under way")]
    assert [link.remote for link in here.to(LARGER)] == [elsewhere]


def large_message() -> bytes:
    """One that may be cut."""
    destinations = (Destination.node(LARGER),)
    header = ForwardingHeader(overlay=0, configuration_sequence=1, transaction_id=1, destination_list=destinations)
    return join(header, bytes(1000))


def pass_time(here: ConnectionTable, from_s: int, until_s: int) -> None:
    """Nothing is acknowledged on link 1, but each second its path answers."""
    for second in range(from_s, until_s):
        here.handle_timeout(second - 0.5)
        here.handle_timeout(float(second))
        here.holds(1, float(second))
        here.holds(5, float(second))


def test_what_vanishes_on_a_path_that_answers_goes_in_pieces() -> None:
    """And who dials that host from now on is careful."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0, datagram_bytes=1200)
    here.send(LARGER, large_message(), 0.0)
    assert [len(message) > NARROW_DATAGRAM_BYTES for _, message in written(here)] == [True]
    pass_time(here, 1, 5)
    assert [len(message) > NARROW_DATAGRAM_BYTES for _, message in written(here)][-3:] == [False, False, False]
    assert dialled(here) == [True]


def test_a_link_that_answers_in_pieces_says_nothing_of_large_packets() -> None:
    """It had failed before its path answered, and was not only slow."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0, datagram_bytes=1200)
    here.send(LARGER, large_message(), 0.0)
    assert LinkLost(LARGER, SILENT) in [event for _, event in run_for(here, 10.0)]
    pass_time(here, 11, 14)
    here.send(LARGER, b"short", 14.0)
    *_, last = (effect for effect in here.drain() if isinstance(effect, Write))
    assert acknowledge(here, 1, int.from_bytes(last.data[1:5], "big"), 14.1) == [LinkBack(LARGER)]
    assert dialled(here) == [True]


def test_what_goes_round_a_link_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over whoever else answers."""
    here = start()
    for number, node in ((1, SMALLER), (3, LARGER), (5, nid(7))):
        here.add(number, node, REMOTE, 0.0, datagram_bytes=1200)
    monkeypatch.setattr(here._paths, "is_doubted", lambda link: link in (1, 3))
    assert here.is_doubted(SMALLER)
    assert not here.is_doubted(nid(7))
    assert not here.is_doubted(nid(8))
    assert here.ways_round(SMALLER) == [nid(7)]


def run_for(here: ConnectionTable, seconds: float, now: float = 0.0) -> list[tuple[float, LinkEvent]]:
    """Let time go on; what happens to links, and when."""
    return [(at, event) for at, event in all_of(here, seconds, now) if not isinstance(event, NotTaken | NotTakenYet)]


def all_of(here: ConnectionTable, seconds: float, now: float = 0.0) -> list[tuple[float, LinkEvent]]:
    """What was not taken by them as well."""
    events = []
    while (deadline := here.next_deadline()) is not None and deadline.at <= now + seconds:
        events += [(deadline.at, event) for event in here.handle_timeout(deadline.at)]
    return events


def hung_up(here: ConnectionTable) -> list[int]:
    """Which links are to be closed."""
    return [effect.link for effect in here.drain() if isinstance(effect, HangUp)]


def acknowledge(here: ConnectionTable, number: int, sequence: int, now: float) -> list[LinkEvent]:
    """The other end acknowledges."""
    received = here.receive(number, frame_ack(sequence, 0), now)
    assert received is not None
    return received[2]


SESSION = Session(Purpose.RELOAD, tls(REMOTE))


def test_dialling_is_bounded() -> None:
    """And nobody is dialled who has no address."""
    here = start()
    assert here.dial(Session(Purpose.RELOAD, ()), "nowhere", 0.0) is None
    for _ in range(DIALS_MAX):
        assert here.dial(SESSION, "x", 0.0) is not None
    assert not here.can_dial(SESSION)
    assert here.dial(SESSION, "x", 0.0) is None
    assert here.dialled_for() == ("x",) * DIALS_MAX


def test_links_are_bounded_altogether_and_for_each_node() -> None:
    """One member cannot take all the room."""
    here = start()
    for number in range(LINKS_PER_NODE_MAX):
        assert here.has_room_for(LARGER)
        here.add(2 * number + 1, LARGER, REMOTE, 0.0)
    assert not here.has_room_for(LARGER)
    for number in range(LINKS_PER_NODE_MAX, LINKS_MAX):
        here.add(2 * number + 1, nid(1000 + number), REMOTE, 0.0)
    assert not here.has_room_for(SMALLER)
    assert not here.can_dial(SESSION)


def test_messages_are_framed_and_cut_out_again() -> None:
    """One link, both ends."""
    here, there = start(), ConnectionTable(LARGER, 5000, Paths(random.Random(1)))
    assert here.add(1, LARGER, REMOTE, 0.0)
    assert there.add(2, ME, REMOTE, 0.0)
    here.send(LARGER, b"message", 0.0)
    (write,) = here.drain()
    assert write == Write(1, frame_data(0, b"message"))
    received = there.receive(2, write.data, 0.1)
    assert received is not None
    assert (received[0].node, received[1], received[2]) == (ME, [b"message"], [])
    assert there.drain() == [Write(2, frame_ack(0, 0))]
    assert there.receive(7, b"?", 0.1) is None


def test_garbage_is_the_caller_s_to_close() -> None:
    """FramingError says why."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    with pytest.raises(FramingError):
        here.receive(1, b"GET / HTTP/1.1", 0.0)
    assert here.close(1, "garbage") == [LinkLost(LARGER, "garbage")]
    assert here.drain() == [HangUp(1, "garbage"), LinkGone(1)]


def test_a_link_that_goes_down_is_lost_once() -> None:
    """Whoever closes it; what is unknown is nothing."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    assert list(here) == [LARGER]
    assert here.remove(1, "reset") == [LinkLost(LARGER, "reset")]
    assert here.remove(1, "reset") == []
    assert LARGER not in here
    assert here.next_deadline() is None or run_for(here, 100.0) == []


def test_a_silent_node_is_not_linked_until_it_answers_again() -> None:
    """6.6: "quickly act to remove a failed link from the Routing Table"; "restored if it proves to resume"."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"hello?", 0.0)
    assert run_for(here, 4.0) == [(3.0, LinkLost(LARGER, SILENT)), (3.0, LinkSilent(LARGER, None))]
    assert LARGER not in here
    assert list(here) == []
    assert acknowledge(here, 1, 0, 10.0) == [LinkBack(LARGER)]
    assert LARGER in here


def test_where_a_silent_link_was_dialled_is_said_and_the_next_dial_is_careful() -> None:
    """Perhaps large packets vanish on the way there; one that answers again had only been slow."""
    here = start()
    here.add(2, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"hello?", 0.0)
    assert (3.0, LinkSilent(LARGER, REMOTE)) in run_for(here, 4.0)
    assert dialled(here) == [True]
    acknowledge(here, 2, 0, 10.0)
    assert dialled(here) == [False]


def test_narrow_links_are_accepted_as_long_as_a_way_is_narrow() -> None:
    """Until the link answers again, until small packets do not arrive either, or for ten minutes."""
    for is_over in (answered, unreachable, waited_for):
        here = start()
        here.add(2, LARGER, REMOTE, 0.0)
        here.send(LARGER, b"hello?", 0.0)
        run_for(here, 4.0)
        assert accepting(here) == [AcceptNarrow(True)]
        is_over(here)
        assert accepting(here) == [AcceptNarrow(False)]
        assert dialled(here) == [False]


def answered(here: ConnectionTable) -> None:
    """The link was slow, no more."""
    acknowledge(here, 2, 0, 10.0)


def unreachable(here: ConnectionTable) -> None:
    """A dial with small packets fails."""
    number = here.dial(SESSION, "again", 0.0)
    assert number is not None
    ended = here._paths.down(number, "no answer", 0.0)
    assert ended is not None
    assert ended.context == "again"


def waited_for(here: ConnectionTable) -> None:
    """Ten minutes."""
    deadline = here._paths.next_deadline()
    assert deadline is not None
    assert deadline.at == 3.0 + NARROW_S
    here._paths.handle_timeout(deadline.at)


def test_a_dial_with_large_packets_that_fails_says_nothing_of_their_size() -> None:
    """A way that was found narrow meanwhile stays so."""
    here = start()
    number = here.dial(SESSION, None, 0.0)
    assert number is not None
    here.add(4, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"hello?", 0.0)
    run_for(here, 4.0)
    here._paths.down(number, "no answer", 0.0)
    assert dialled(here) == [True]


def accepting(here: ConnectionTable) -> list[AcceptNarrow]:
    """What the driver is told."""
    return [effect for effect in here._paths.drain() if isinstance(effect, AcceptNarrow)]


def dialled(here: ConnectionTable) -> list[bool]:
    """Whether a dial to the remote is a careful one."""
    here._paths.drain()
    here.dial(SESSION, None, 0.0)
    return [effect.candidate.is_narrow for effect in here._paths.drain() if isinstance(effect, Open)]


def test_a_silent_node_is_given_up_after_half_a_minute() -> None:
    """Its link is closed; that it is lost was said before."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"hello?", 0.0)
    here.drain()
    assert run_for(here, 100.0) == [(3.0, LinkLost(LARGER, SILENT)), (3.0, LinkSilent(LARGER, None))]
    assert hung_up(here) == [1]
    assert len(here) == 0


def test_idle_links_want_a_ping() -> None:
    """So that a power cut at the other end is seen within 18 s."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    assert run_for(here, IDLE_S) == [(IDLE_S, LinkIdle(LARGER))]
    here.send(LARGER, b"ping", IDLE_S)
    lost_at = IDLE_S + 3.0
    assert run_for(here, 5.0, IDLE_S) == [(lost_at, LinkLost(LARGER, SILENT)), (lost_at, LinkSilent(LARGER, None))]


def test_who_dialled_waits_a_little_longer_and_has_nothing_to_ask() -> None:
    """The other end's Ping, and our answer to it, say all that a Ping of ours would: one of the two is enough."""
    here = start()
    here.add(2, LARGER, REMOTE, 0.0)
    assert run_for(here, IDLE_S + ANSWER_S) == [(IDLE_S + ANSWER_S, LinkIdle(LARGER))]
    here.send(LARGER, b"ping", 16.0)
    here.receive(2, frame_ack(0, 0), 16.1)
    here.send(LARGER, b"answer to a ping", 31.2)
    here.receive(2, frame_ack(1, 0), 31.3)
    assert run_for(here, 15.8, 31.3) == []


def test_of_a_message_that_was_put_together_here_a_link_keeps_its_bytes_and_nothing_else() -> None:
    """They are what is bounded."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.send(LARGER, Assembled(b"message"), 1.0)
    [not_taken] = [event for event in here.remove(1, "closed") if isinstance(event, NotTaken)]
    assert [type(each.message) for each in not_taken.messages] == [bytes]


def test_what_comes_back_over_a_direct_link_goes_another_way() -> None:
    """And the link is lost, as if nobody acknowledged."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0, is_direct=True)
    here.send(LARGER, b"message", 1.0)
    assert here.drain() == [Write(1, b"message")]
    here.handle_returned(1, b"message", 1.1)
    here.handle_returned(7, b"of nobody", 1.1)
    assert all_of(here, 5.0, 1.1) == [
        (4.1, LinkLost(LARGER, SILENT)),
        (4.1, NotTaken(LARGER, (Unacknowledged(b"message", 1.1),))),
        (4.1, LinkSilent(LARGER, None)),
    ]


def test_messages_leave_over_the_newest_link_that_works() -> None:
    """An older one helps out where it does not."""
    here = start()
    assert here.add(1, LARGER, REMOTE, 0.0)
    assert not here.add(3, LARGER, REMOTE, 1.0)
    here.send(LARGER, b"x", 1.0)
    assert [effect.link for effect in here.drain() if isinstance(effect, Write)] == [3]
    assert run_for(here, 4.0) == [(4.0, LinkSilent(LARGER, None)), (4.0, LinkIdle(LARGER))]
    here.send(LARGER, b"ping", 4.0)
    assert [effect.link for effect in here.drain() if isinstance(effect, Write)] == [1]
    assert run_for(here, 8.0) == [(7.0, LinkLost(LARGER, SILENT)), (7.0, LinkSilent(LARGER, None))]


def test_only_the_link_in_use_is_asked_whether_it_works() -> None:
    """The other one is closed soon anyway."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.add(3, LARGER, REMOTE, 1.0)
    assert run_for(here, IDLE_S) == []
    assert run_for(here, IDLE_S + 1.0) == [(IDLE_S + 1.0, LinkIdle(LARGER))]


@pytest.mark.parametrize(("node", "patience_s"), [(SMALLER, SUPERSEDED_CLOSE_S), (LARGER, 4 * SUPERSEDED_CLOSE_S)])
def test_of_two_links_the_older_is_closed(node: NodeId, patience_s: float) -> None:
    """Sooner by the node with the larger Node-ID, so that never both ends close another one."""
    here = start()
    here.add(1, node, REMOTE, 0.0)
    here.add(3, node, REMOTE, 0.0)
    here.drain()
    run_for(here, patience_s - 0.1)
    assert hung_up(here) == []
    run_for(here, patience_s)
    assert hung_up(here) == [1]
    assert node in here


@pytest.mark.parametrize("node", [SMALLER, LARGER])
def test_a_link_that_both_know_for_the_older_is_closed_soon(node: NodeId) -> None:
    """Whoever has it still and did not make the newer is another machine with that Node-ID: it is to learn of it."""
    here = start()
    here.add(1, node, REMOTE, 0.0)
    here.add(3, node, REMOTE, 10.0)
    here.drain()
    run_for(here, 10.0 + REPLACED_CLOSE_S - 0.1)
    assert hung_up(here) == []
    run_for(here, 10.0 + REPLACED_CLOSE_S)
    assert hung_up(here) == [1]


def test_of_many_links_all_but_the_newest_are_closed() -> None:
    """Not the first only."""
    here = start()
    for number in (1, 3, 5):
        here.add(number, SMALLER, REMOTE, 0.0)
    run_for(here, 30.0)
    assert sorted(hung_up(here)) == [1, 3]


def test_the_last_link_is_not_closed_as_superseded() -> None:
    """The other end saw the two links the other way round, and has closed the one that is newer here."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.add(3, LARGER, REMOTE, 0.1)
    assert here.remove(3, "closed by the other end") == []
    run_for(here, 5.0)
    here.drain()
    assert [event for _, event in run_for(here, 30.0)] == [LinkIdle(LARGER), LinkIdle(LARGER)]
    assert hung_up(here) == []
    assert LARGER in here


def test_an_older_link_is_kept_while_the_newer_does_not_work() -> None:
    """When it does again, the older one goes."""
    here = start()
    here.add(1, SMALLER, REMOTE, 0.0)
    here.add(3, SMALLER, REMOTE, 0.0)
    here.send(SMALLER, b"x", 0.0)
    run_for(here, 6.0)
    assert hung_up(here) == []
    acknowledge(here, 3, 0, 7.0)
    run_for(here, 12.0)
    assert hung_up(here) == [1]


def test_the_second_link_going_down_leaves_a_failed_first_one_lost() -> None:
    """A node whose only link does not answer is lost, whichever link was lost first."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"x", 0.0)
    here.add(3, LARGER, REMOTE, 1.0)
    assert (3.0, LinkIdle(LARGER)) in run_for(here, 3.5)
    assert here.remove(3, "reset") == [LinkLost(LARGER, "reset")]
    assert run_for(here, RETAINED_S + 10.0, 3.5) == []
    assert len(here) == 0


def test_a_new_link_to_a_silent_node_links_it_again() -> None:
    """It dialled us, or we it: the old connection died in between."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"x", 0.0)
    run_for(here, 5.0)
    assert here.add(3, LARGER, REMOTE, 5.0)
    assert LARGER in here
    run_for(here, 60.0)
    assert [connection.number for connection in here.to(LARGER)] == [3]


def test_what_is_written_is_framed_for_its_own_link() -> None:
    """Each connection has its own sequence number space (6.6.2)."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.add(3, SMALLER, REMOTE, 0.0)
    for node in (LARGER, LARGER, SMALLER):
        here.send(node, b"x", 0.0)
    numbers = [
        (effect.link, Deframer(9).feed(effect.data)[0][0]) for effect in here.drain() if isinstance(effect, Write)
    ]
    assert numbers == [(1, 0), (1, 1), (3, 0)]


def test_what_a_lost_link_did_not_take_is_told_after_the_loss() -> None:
    """So that what is routed again goes another way."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"message", 1.0)
    lost, not_taken = here.remove(1, "reset")
    assert lost == LinkLost(LARGER, "reset")
    assert not_taken == NotTaken(LARGER, (Unacknowledged(b"message", 1.0),))


def test_a_link_that_falls_silent_tells_what_it_did_not_take_and_tells_it_once() -> None:
    """Also where another link to the same node is left."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"message", 0.0)
    here.add(3, LARGER, REMOTE, 0.0)
    events = [event for _, event in all_of(here, 4.0)]
    assert NotTaken(LARGER, (Unacknowledged(b"message", 0.0),)) in events
    assert here.remove(1, "closed") == []


def test_what_waits_on_all_datagram_links_together_is_bounded() -> None:
    """The one on which most waits is closed; the others go on."""
    here = start()
    for number in range(20):
        here.add(2 * number + 1, nid(1000 + number), REMOTE, 0.0, datagram_bytes=1200)
    message = bytes(1000)
    hung = []
    for _ in range(3000):
        for number in range(20):
            if nid(1000 + number) in here:
                here.send(nid(1000 + number), message, 0.0)
                if number == 7:
                    here.send(nid(1000 + number), message, 0.0)
        here.handle_timeout(0.0)
        hung += hung_up(here)
        if hung:
            break
    assert hung == [2 * 7 + 1]
    assert sum(each.link.waiting_bytes for each in here.all()) <= WAITING_BYTES_MAX
    assert len(here) == 19


BOTH = (*tls(REMOTE), *dtls(REMOTE))


def test_a_datagram_link_that_came_up_with_small_datagrams_has_shown_its_way() -> None:
    here = start()
    here.add(1, LARGER, REMOTE, 0.0, datagram_bytes=1200)
    assert dialled(here) == [False]
    for number in (3, 5):
        here.add(number, LARGER, REMOTE, 0.0, datagram_bytes=500)
        assert here._paths._narrow.known(BOTH) == tuple(each._replace(is_narrow=True) for each in reversed(BOTH))


def test_what_waits_for_the_link_that_is_used_is_told_before_it_fails() -> None:
    """After two timeouts; nothing of a link that has been replaced, and over which nothing goes any more."""
    here = start()
    here.add(1, LARGER, REMOTE, 0.0)
    here.send(LARGER, b"first", 0.0)
    late = NotTakenYet(LARGER, (Late(b"first", 0.0),))
    assert all_of(here, 2.5) == [(2.0, late)]
    here.add(3, LARGER, REMOTE, 2.5)
    assert [event for _, event in all_of(here, 2.0, 2.5) if isinstance(event, NotTakenYet)] == []
    here.send(LARGER, b"second", 5.0)
    assert (7.0, NotTakenYet(LARGER, (Late(b"second", 5.0),))) in all_of(here, 2.5, 5.0)
