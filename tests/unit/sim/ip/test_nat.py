"""p2psip.sim.ip.boxes: each behaviour of a NAT that RFC 4787 speaks of, by the number of its requirement."""

from __future__ import annotations

from dataclasses import replace

import pytest
from virtual_nat import OUTSIDE, Bench, server

from p2psip.base.address import Address
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, Dependence, Hairpin, Nat, NatBehaviour, Unasked
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.network import Way
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.ip.virtual_streams import VirtualStream

NONE, ADDRESS, BOTH = Dependence.NONE, Dependence.ADDRESS, Dependence.ADDRESS_AND_PORT


@pytest.mark.parametrize(
    ("mapping", "other_port_is_same", "other_address_is_same"),
    [(NONE, True, True), (ADDRESS, True, False), (BOTH, False, False)],
    ids=lambda value: value.value if isinstance(value, Dependence) else "",
)
def test_req_1_mapping(mapping: Dependence, other_port_is_same: bool, other_address_is_same: bool) -> None:
    """REQ-1: with Endpoint-Independent Mapping all remotes see one outside address and port; else they do not."""
    bench = Bench(NatBehaviour(mapping))
    socket = bench.socket()
    first = bench.seen(socket, server(0, 0))
    assert first.host == OUTSIDE
    assert (bench.seen(socket, server(0, 1)) == first) is other_port_is_same
    assert (bench.seen(socket, server(1, 0)) == first) is other_address_is_same
    assert bench.seen(socket, server(0, 0)) == first


@pytest.mark.parametrize("is_paired", [True, False], ids=["paired", "arbitrary"])
def test_req_2_address_pooling(is_paired: bool) -> None:
    """REQ-2: with several outside addresses, "Paired" gives one host always the same."""
    outside = tuple(f"203.0.113.{number}" for number in range(1, 9))
    bench = Bench(NatBehaviour(is_paired=is_paired), outside=outside)
    seen = {bench.seen(bench.socket(port=5000 + number), server(0, 0)).host for number in range(16)}
    assert seen <= set(outside)
    assert (len(seen) == 1) is is_paired


def test_req_3_no_port_is_overloaded() -> None:
    """REQ-3: two hosts that use one port toward one remote have different ports outside, and each its answers."""
    bench = Bench(FULL_CONE)
    sockets = [bench.socket(0), bench.socket(1)]
    outside = [bench.seen(socket, server(0, 0)) for socket in sockets]
    assert outside[0].port == 5000 != outside[1].port
    for socket, seen in zip(sockets, outside, strict=True):
        assert bench.passes(server(0, 0), seen)
        assert bench.received[-1][0] == socket.local


def test_req_3_a_nat_that_overloads_ports_takes_the_answers_from_the_first_host() -> None:
    """What REQ-3 forbids can be had as well."""
    bench = Bench(NatBehaviour(overloads_ports=True))
    sockets = [bench.socket(0), bench.socket(1)]
    outside = [bench.seen(socket, server(0, 0)) for socket in sockets]
    assert outside[0] == outside[1]
    assert bench.passes(server(0, 0), outside[0])
    assert bench.received[-1][0] == sockets[1].local


@pytest.mark.parametrize("port", [1023, 7, 1024, 40000])
def test_req_3a_port_range(port: int) -> None:
    """REQ-3a: ports under 1024 stay under 1024, others at or over it; also when the port itself is taken."""
    bench = Bench(NatBehaviour(preserves_port=False))
    for host in (0, 1):
        assert (bench.seen(bench.socket(host, port), server(0, 0)).port < 1024) is (port < 1024)


@pytest.mark.parametrize("preserves_parity", [True, False])
def test_req_4_port_parity(preserves_parity: bool) -> None:
    """REQ-4: an even port stays even, an odd one odd."""
    bench = Bench(NatBehaviour(preserves_port=False, preserves_parity=preserves_parity))
    seen = [(port, bench.seen(bench.socket(port=port), server(0, 0)).port) for port in range(5000, 5016)]
    assert all(inside % 2 == outside % 2 for inside, outside in seen) is preserves_parity


def test_req_5_a_mapping_lives_as_long_as_it_says_and_no_longer() -> None:
    """REQ-5: not less than two minutes; the default is the five minutes of REQ-5c."""
    bench = Bench(FULL_CONE)
    seen = bench.seen(bench.socket(), server(0, 0))
    bench.wait(290.0)
    assert bench.passes(server(0, 0), seen)
    bench.wait(20.0)
    assert not bench.passes(server(0, 0), seen)


def test_req_6_what_goes_out_keeps_a_mapping() -> None:
    """REQ-6: "NAT Outbound refresh behavior" is True."""
    bench = Bench(FULL_CONE)
    socket = bench.socket()
    seen = bench.seen(socket, server(0, 0))
    for _ in range(3):
        bench.wait(200.0)
        assert bench.seen(socket, server(0, 0)) == seen
    bench.wait(200.0)
    assert bench.passes(server(0, 0), seen)


@pytest.mark.parametrize("inbound_refresh", [True, False])
def test_req_6a_what_comes_in_keeps_a_mapping_if_so_set(inbound_refresh: bool) -> None:
    """REQ-6a: "NAT Inbound refresh behavior" MAY be True."""
    bench = Bench(NatBehaviour(inbound_refresh=inbound_refresh))
    seen = bench.seen(bench.socket(), server(0, 0))
    bench.wait(200.0)
    assert bench.passes(server(0, 0), seen)
    bench.wait(200.0)
    assert bench.passes(server(0, 0), seen) is inbound_refresh


@pytest.mark.parametrize(
    ("filtering", "from_other_port", "from_other_address"),
    [(NONE, True, True), (ADDRESS, True, False), (BOTH, False, False)],
    ids=lambda value: value.value if isinstance(value, Dependence) else "",
)
def test_req_8_filtering(filtering: Dependence, from_other_port: bool, from_other_address: bool) -> None:
    """REQ-8: who may send in by a mapping."""
    bench = Bench(NatBehaviour(filtering=filtering))
    socket = bench.socket()
    seen = bench.seen(socket, server(0, 0))
    assert bench.passes(server(0, 0), seen)
    assert bench.passes(server(0, 1), seen) is from_other_port
    assert bench.passes(server(1, 0), seen) is from_other_address
    bench.seen(socket, server(1, 0))
    assert bench.passes(server(1, 0), seen)


@pytest.mark.parametrize("hairpin", list(Hairpin), ids=lambda hairpin: hairpin.value)
def test_req_9_hairpinning(hairpin: Hairpin) -> None:
    """REQ-9: hosts reach each other by their outside addresses; 9a: the source that is seen is the outside one."""
    bench = Bench(NatBehaviour(filtering=NONE, hairpin=hairpin))
    here, there = bench.socket(0), bench.socket(1, 6000)
    outside_here, outside_there = bench.seen(here, server(0, 0)), bench.seen(there, server(0, 0))
    count = len(bench.received)
    here.send(outside_there, b"to my neighbour")
    bench.wait(1.0)
    expected = {Hairpin.NO: [], Hairpin.EXTERNAL: [outside_here], Hairpin.INTERNAL: [here.local]}[hairpin]
    assert [remote for _, remote, _ in bench.received[count:]] == expected


def test_req_9_hairpinned_packets_are_filtered_as_those_from_outside() -> None:
    """Nothing in section 6 makes an exception: the neighbour must have been asked first."""
    bench = Bench(PORT_RESTRICTED)
    here, there = bench.socket(0), bench.socket(1, 6000)
    outside_here, outside_there = bench.seen(here, server(0, 0)), bench.seen(there, server(0, 0))
    count = len(bench.received)
    here.send(outside_there, b"1")
    bench.wait(1.0)
    assert len(bench.received) == count
    there.send(outside_here, b"2")
    bench.wait(1.0)
    assert bench.received[-1] == (here.local, outside_there, b"2")


@pytest.mark.parametrize(
    "behaviour", [NatBehaviour(), PORT_RESTRICTED, SYMMETRIC], ids=["default", "port", "symmetric"]
)
def test_req_11_behaviour_is_deterministic(behaviour: NatBehaviour) -> None:
    """REQ-11: neither time nor conflicts change the kind of translation, and the same world does the same again."""

    def run() -> list[Address]:
        bench = Bench(behaviour, hosts=4)
        sockets = [bench.socket(number) for number in range(4)]
        return [bench.seen(socket, server(a, p)) for socket in sockets for a in (0, 1) for p in (0, 1)]

    seen = run()
    assert seen == run()
    for number in range(4):
        of_one = seen[4 * number : 4 * number + 4]
        assert len(set(of_one)) == (1 if behaviour.mapping is NONE else 4)


def test_req_12_icmp_ends_no_mapping_and_is_passed_on() -> None:
    """REQ-12: ICMP MUST NOT terminate a mapping; 12b: Destination Unreachable reaches the host inside."""
    bench = Bench(FULL_CONE)
    socket = bench.socket()
    seen = bench.seen(socket, server(0, 0))
    refused: list[tuple[Address, str]] = []
    socket.refused = lambda remote, reason: refused.append((remote, reason))
    nobody = Address(server(0, 0).host, 9)
    socket.send(nobody, b"anybody there?")
    bench.wait(1.0)
    assert refused == [(nobody, "connection refused")]
    assert bench.passes(server(0, 0), seen)


def test_req_12b_a_host_inside_that_refuses_is_heard_outside() -> None:
    """The other direction."""
    bench = Bench(FULL_CONE)
    socket = bench.socket()
    seen = bench.seen(socket, server(0, 0))
    socket.close()
    refused: list[tuple[Address, str]] = []
    bench.at_server[server(0, 0)].refused = lambda remote, reason: refused.append((remote, reason))
    bench.at_server[server(0, 0)].send(seen, b"still there?")
    bench.wait(1.0)
    assert refused == [(seen, "connection refused")]


def test_req_13_too_long_packets_are_answered_by_icmp_and_then_come_in_pieces() -> None:
    """REQ-13: "Fragmentation needed and DF set" reaches the host inside, which sends pieces from then on (13a)."""
    bench = Bench()
    bench.internet.default_way = Way(mtu_bytes=1000)
    socket = bench.socket()
    before = len(bench.received)
    for _ in range(2):
        socket.send(server(0, 0), bytes(1200))
        bench.wait(1.0)
    assert len(bench.received) == before + 1
    assert bench.internet.counts["too big"] == 1


@pytest.mark.parametrize("passes", [True, False])
def test_req_14_fragments(passes: bool) -> None:
    """REQ-14: fragments pass, in whatever order; some NATs let none through."""
    bench = Bench(NatBehaviour(passes_fragments=passes))
    bench.lan.way = Way(delay_s=0.001, jitter_s=0.01, mtu_bytes=1000)
    socket = bench.socket()
    for _ in range(2):
        socket.send(server(0, 0), bytes(1200))
        bench.wait(1.0)
    assert (len(bench.received) == 1) is passes


def test_a_reboot_forgets_all_mappings_and_may_bring_another_address() -> None:
    """What the outside knew leads nowhere; what goes out comes from the new address."""
    bench = Bench(FULL_CONE)
    socket = bench.socket()
    seen = bench.seen(socket, server(0, 0))
    bench.nat.reboot("203.0.113.77", off_s=30.0)
    socket.send(server(0, 0), b"while it is off")
    bench.wait(31.0)
    assert not bench.passes(server(0, 0), seen)
    assert bench.seen(socket, server(0, 0)).host == "203.0.113.77"


def test_a_box_that_blocks_udp_blocks_nothing_else() -> None:
    """As in some offices."""
    bench = Bench()
    bench.nat.blocks = frozenset({Protocol.UDP})
    bench.socket().send(server(0, 0), b"?")
    bench.wait(1.0)
    assert not bench.received
    accepted: list[object] = []
    bench.server.listen(Address("0.0.0.0", 443), accepted.append)
    bench.hosts[0].connect(Address(server(0, 0).host, 443))
    bench.wait(1.0)
    assert len(accepted) == 1


@pytest.mark.parametrize("inner_lan", ["10.0.0", "192.168.1"], ids=["another LAN", "REQ-7: the same addresses"])
def test_nat_behind_nat(inner_lan: str) -> None:
    """The outside of a home's NAT may be the LAN of its provider's, with whatever addresses: the world is reached."""
    bench = Bench(FULL_CONE)
    inner = bench.internet.lan("inner", f"{inner_lan}.0/24")
    nat = Nat(bench.internet, "inner nat", SYMMETRIC)
    nat.plug(bench.lan, "192.168.1.99", gateways=("192.168.1.1",))
    nat.plug(inner, f"{inner_lan}.1", is_inside=True)
    host = Machine(bench.internet, "inner host")
    host.plug(inner, f"{inner_lan}.2", gateways=(f"{inner_lan}.1",))
    socket = bench._socket(host, Address(f"{inner_lan}.2", 5000))
    first, second = bench.seen(socket, server(0, 0)), bench.seen(socket, server(1, 0))
    assert first.host == second.host == OUTSIDE
    assert first != second
    assert bench.passes(server(0, 0), first)


class Opener:
    """Who opens a stream, from inside or from outside, and hears what becomes of it."""

    def __init__(self, machine: Machine, local: Address, remote: Address) -> None:
        self.events: list[str] = []
        self.machine = machine
        self.stream = machine.connect(remote, local=local)
        self.stream.user = self

    def stream_connected(self, stream: VirtualStream) -> None:
        self.events.append("connected")

    def stream_data(self, stream: VirtualStream, data: bytes) -> None: ...

    def stream_ended(self, stream: VirtualStream) -> None: ...

    def stream_lost(self, stream: VirtualStream, reason: str) -> None:
        self.events.append(reason)


THERE = server(0, 0)._replace(port=50002)
INSIDE, MAPPED = Address("192.168.1.11", 50001), Address(OUTSIDE, 50001)


def opened(behaviour: NatBehaviour, inside_s: float | None, outside_s: float = 0.0) -> tuple[Bench, list[Opener]]:
    """A stream is opened from outside, and from inside, to each other: who opens it when."""
    bench = Bench(behaviour)
    found: list[Opener] = []
    for at, machine, local, remote in (
        (outside_s, bench.server, THERE, MAPPED),
        (inside_s, bench.hosts[0], INSIDE, THERE),
    ):
        if at is not None:
            bench.internet.clock.at(
                at, lambda machine=machine, local=local, remote=remote: found.append(Opener(machine, local, remote))
            )
    bench.wait(3.0)
    return bench, found


def test_5382_req_2_both_may_open_a_stream_at_once() -> None:
    """RFC 5382 REQ-2: "a NAT MUST handle the TCP simultaneous-open mode of connection initiation"."""
    assert [each.events for each in opened(PORT_RESTRICTED, 0.0)[1]] == 2 * [["connected"]]
    assert [each.events for each in opened(PORT_RESTRICTED, 0.5)[1]] == 2 * [["connected"]], "the first SYN was dropped"
    refusing = replace(PORT_RESTRICTED, lets_syn_in=False)
    # The SYN from inside comes to who has sent one, whose answer is none that is bare.
    assert [each.events for each in opened(refusing, 0.0)[1]] == 2 * [["connected"]]


def test_5382_req_4_of_a_syn_that_nobody_asked_for_is_told_after_6_s_or_never() -> None:
    """REQ-4: "MUST NOT respond to an unsolicited inbound SYN packet for at least 6 seconds"."""
    bench, (outside,) = opened(replace(PORT_RESTRICTED, unasked=Unasked.TOLD), None)
    assert outside.events == []
    bench.wait(2.9)
    assert outside.events == []
    bench.wait(0.3)
    assert outside.events == ["connection refused"]
    bench, (outside,) = opened(PORT_RESTRICTED, None)
    bench.wait(60.0)
    assert outside.events == []


def test_5382_req_4_what_was_asked_for_meanwhile_is_not_told() -> None:
    bench, both = opened(replace(PORT_RESTRICTED, unasked=Unasked.TOLD), 0.5)
    bench.wait(10.0)
    assert [each.events for each in both] == 2 * [["connected"]]


@pytest.mark.parametrize("unasked", [Unasked.RESET, Unasked.RESET_AND_KEPT])
def test_what_req_4_forbids_can_be_had_as_well(unasked: Unasked) -> None:
    """A reset at once. A box that keeps the port then lets nothing out there for 10 s, even from inside."""
    bench, (outside, inside) = opened(replace(PORT_RESTRICTED, unasked=unasked), 0.5)
    assert outside.events == ["connection refused"]
    again = Opener(bench.server, THERE, MAPPED)
    bench.wait(3.0)
    if unasked is Unasked.RESET:
        # It comes to who has no such stream any more, and says so; who opens again is let in by that.
        assert inside.events == ["connection refused"]
        return
    assert (inside.events, again.events) == ([], ["connection refused"])


def test_who_is_refused_is_out_again() -> None:
    """A reset ends what the SYN from inside had opened."""
    bench = Bench(PORT_RESTRICTED)
    inside = Opener(bench.hosts[0], INSIDE, THERE)
    bench.wait(1.0)
    assert inside.events == ["connection refused"]
    outside = Opener(bench.server, THERE, MAPPED)
    bench.wait(1.0)
    assert outside.events == []
