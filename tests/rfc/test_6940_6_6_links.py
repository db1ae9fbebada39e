"""RFC 6940 section 6.6: overlay links, TLS with the framing header and DTLS with Simple Reliability."""

from __future__ import annotations

import random

import pytest
from link_pair import DATAGRAM_BYTES, LinkPair
from node_bench import ME, NodeBench, address, identity, nid, offer

from p2psip.reload.link.datagram import DatagramLink
from p2psip.reload.link.framing import ReceivedWindow, frame_ack, frame_data
from p2psip.reload.link.link import Link, LinkLost, LinkState
from p2psip.reload.link.stream import StreamLink
from p2psip.reload.node.connecting.connection_table import ConnectionTable, NotTakenYet
from p2psip.reload.node.effects import LinkUp
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import Purpose
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.link_messages import NO_ICE, CandType
from p2psip.sim.path import Path

EACH_KIND = pytest.mark.parametrize("kind", ["TLS", "DTLS"])


def link_of(kind: str) -> Link:
    """A fresh link."""
    return StreamLink(5000, 0.0) if kind == "TLS" else DatagramLink(5000, DATAGRAM_BYTES, 3.0, 0.0)


def times_of_transmission(link: DatagramLink, until_s: float) -> list[tuple[float, bytes]]:
    """When it sends what, if nobody acknowledges."""
    sent = [(0.0, datagram) for datagram in link.drain()]
    while (deadline := link.next_deadline()) is not None and deadline.at <= until_s:
        link.handle_timeout(deadline.at)
        sent += [(deadline.at, output) for output in link.drain() if isinstance(output, bytes)]
    return sent


# 6.6


@pytest.mark.must("6.6/1")
@EACH_KIND
def test_6_6_a_likely_failure_is_signalled_and_the_link_taken_out(kind: str) -> None:
    """ "Overlay Link protocols MUST be designed with a mechanism that quickly signals a likely failure"."""
    here = ConnectionTable(nid(ME), 5000, Paths(random.Random(1)))
    here.add(1, nid(200), address(200), 0.0, datagram_bytes=None if kind == "TLS" else DATAGRAM_BYTES)
    here.send(nid(200), b"hello?" * 50, 0.0)
    events = []
    while (deadline := here.next_deadline()) is not None and deadline.at <= 8.0:
        events += here.handle_timeout(deadline.at)
    # What waited for it went another way before.
    assert [type(event) for event in events][:2] == [NotTakenYet, LinkLost]
    assert nid(200) not in here


# 6.6.2


@pytest.mark.must("6.6.2/1")
@EACH_KIND
def test_6_6_2_the_last_32_sequence_numbers_are_in_the_acknowledgement(kind: str) -> None:
    """ "The receiver MUST keep track of the 32 most recent sequence numbers received on this association"."""
    link = link_of(kind)
    for sequence in range(40):
        link.receive(frame_data(sequence, b"%d" % sequence), 0.0)
        link.drain()
    link.receive(frame_data(45, b"45"), 0.0)
    # By the letter: bit N-M for each M of those "less than N but greater than N-32".
    expected = sum(1 << 45 - earlier for earlier in range(40) if 45 - earlier < 32)
    assert b"".join(link.drain()) == frame_ack(45, expected)


def test_6_6_2_numbers_begin_with_zero_and_increase_by_one() -> None:
    """ "Initially, the value is zero, and it increments by exactly one for each message sent over that connection."."""
    link = link_of("DTLS")
    for number in range(3):
        link.send(b"%d" % number, 0.0)
    assert link.drain() == [frame_data(number, b"%d" % number) for number in range(3)]


def test_6_6_2_of_more_than_32_the_oldest_is_forgotten() -> None:
    """Whatever the order in which they came."""
    window = ReceivedWindow()
    for sequence in (7, *range(100, 132)):
        window.acknowledge(sequence)
    assert window.acknowledge(8) == frame_ack(8, 0), "7 is no longer among the 32"


# 6.6.3


@pytest.mark.must("6.6.3/1")
def test_6_6_3_the_sender_gives_way_where_there_is_no_room() -> None:
    """RFC 5405 section 3.1: two links share a narrow network with each other, and little is sent in vain."""
    busy_until = [0.0]

    def bottleneck(pair: LinkPair) -> list[float]:
        begins = max(busy_until[0], pair.clock.now)
        if begins - pair.clock.now > 0.2:
            return []
        busy_until[0] = begins + 0.01
        return [0.02 + busy_until[0] - pair.clock.now]

    pairs = [LinkPair(list, lambda: [0.02]) for _ in range(2)]
    pairs[1].clock = pairs[0].clock
    for pair in pairs:
        pair.here.fate = lambda pair=pair: bottleneck(pair)  # type: ignore[misc]
        for number in range(3000):
            pair.send(b"%d" % number)
    pairs[0].clock.run_until(20.0)
    arrived = [len(pair.there.heard) for pair in pairs]
    assert sum(arrived) > 1600, "the network is used"
    assert min(arrived) > 500, arrived
    assert sum(pair.here.sent_datagrams for pair in pairs) < 1.15 * 2000, "what it cannot bear is not sent"


@pytest.mark.must("6.6.3.1/2")
def test_6_6_3_1_the_timeout_is_that_of_rfc_6298_to_the_millisecond() -> None:
    """ "MUST use the algorithm described in RFC 6298 [...], but instead rounded up to the nearest millisecond"."""
    link = link_of("DTLS")
    assert link.round_trip.rto_s == 0.5, "the default value for RTO is 500 ms"
    for number, rtt_s in enumerate((0.3, 0.2001)):
        link.send(b"%d" % number, number * 1.0)
        link.receive(frame_ack(number, 0), number + rtt_s)
    # SRTT 0.2875125, RTTVAR 0.137475: 0.8374125 s.
    assert link.round_trip.rto_s == 0.838


@pytest.mark.must("6.6.3.1/3", "6.6.3.1/4")
def test_6_6_3_1_the_wait_doubles_and_each_transmission_has_a_new_number() -> None:
    """ "requests would be sent at times 0 ms, 500 ms, 1500 ms, 3500 ms, and 7500 ms"."""
    link = link_of("DTLS")
    assert isinstance(link, DatagramLink)
    link.send(b"hello?", 0.0)
    sent = times_of_transmission(link, 8.0)
    assert list(dict.fromkeys(at for at, _ in sent)) == [0.0, 0.5, 1.5, 3.5, 7.5]
    assert [datagram for _, datagram in sent] == [frame_data(number, b"hello?") for number in range(len(sent))]


def test_6_6_3_1_every_acknowledgement_is_a_measurement() -> None:
    """ "because retransmissions receive new sequence numbers, all received ACKs are used"."""
    link = link_of("DTLS")
    link.send(b"hello?", 0.0)
    link.handle_timeout(0.5)
    link.receive(frame_ack(1, 0), 0.7)
    assert link.round_trip.srtt_s == pytest.approx(0.2), "that of the second transmission, not of the message"


def test_6_6_3_1_a_link_fails_with_the_third_retransmission_after_the_first_timeout() -> None:
    """ "it is RECOMMENDED that the link be removed"; "MAY be restored to the Routing Table if ACKs resume"."""
    link = link_of("DTLS")
    link.send(b"hello?", 0.0)
    for at in (0.5, 1.5, 3.5):
        link.handle_timeout(at)
    assert link.state is LinkState.UP
    link.handle_timeout(7.5)
    assert link.state is LinkState.FAILED
    link.receive(frame_ack(2, 0), 9.0)
    assert link.state is LinkState.UP


# 6.6.1: what holds of the links that there are. Replay, secrecy and integrity: tests/unit/net/sockets/test_dtls.py


@pytest.mark.must("6.6.1/2")
@EACH_KIND
def test_6_6_1_who_is_at_the_other_end_is_known(kind: str) -> None:
    """ "it MUST be possible to cryptographically verify that the endpoint has a given Node-ID."."""
    bench = NodeBench(link_types=NO_ICE)
    bench.become_ring(150, 50)
    bench.send(150, MessageCode.ATTACH_REQ, offer(105), signer=105)
    (dial,) = bench.dials()
    datagram_bytes = None if kind == "TLS" else DATAGRAM_BYTES
    chain = (identity(106).certificate,)
    bench.node.handle_link_up(LinkUp(dial.link, chain, address(105), address(ME), datagram_bytes), bench.now)
    bench.settle()
    assert bench.hung_up() == [dial.link]
    assert not bench.node.is_linked(nid(105))
    assert not bench.node.is_linked(nid(106))


# 6.6.5, 6.6.6


@pytest.mark.must("6.6.5/2")
def test_6_6_5_there_is_a_passive_candidate_of_each_kind() -> None:
    """ "When sending candidates for TLS/TCP with FH, No-ICE, a passive candidate MUST be provided."

    Host candidates are addresses that we listen on: who has them can connect.
    """
    bench = NodeBench(link_types=NO_ICE)
    bench.become_ring(150, 50)
    offered = bench.node._paths.whereabouts.offering(Purpose.RELOAD)
    assert [(each.overlay_link, each.type) for each in offered.candidates] == [
        (link_type, CandType.HOST) for link_type in NO_ICE
    ]
    assert offered.role == b"passive"
    assert {each.addr_port.host_port for each in offered.candidates} == {tuple(address(ME))}
    priorities = [each.priority for each in offered.candidates]
    assert priorities == sorted(priorities, reverse=True), "TLS first, unless the overlay says otherwise"


def test_6_6_6_messages_arrive_over_a_network_that_loses_one_in_ten() -> None:
    """Loss and reordering cost time, and no message."""
    pair = LinkPair.over(Path(delay_s=0.02, jitter_s=0.01, loss=0.1, duplication=0.02), repeat_s=1000.0)
    wanted = [b"%d" % number for number in range(500)]
    pair.deliver(iter(wanted), len(wanted), waiting=100, limit_s=120.0)
    assert sorted(pair.there.heard) == sorted(wanted)
