"""The tunnels of a node (p2psip.reload.node.tunnelling.tunnels), between whole nodes of a virtual overlay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from node_bench import NodeBench, nid

from p2psip.base.effects import Effect
from p2psip.reload.node import limits
from p2psip.reload.node.effects import AppLinkDown, AppLinkUp
from p2psip.reload.node.tunnelling.tunnel_commands import (
    CloseTunnel,
    OpenTunnel,
    TunnelCommand,
    TunnelFailed,
    TunnelledRecord,
    WriteTunnel,
    is_tunnel,
)
from p2psip.reload.node.tunnelling.tunnels import identifier_address
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.extensions.tunnel_messages import TUNNEL, TunnelMessage, TunnelOpening, TunnelRecord, TunnelStep
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.private_messages import PrivateAns, PrivateReq
from p2psip.sim.simulated_overlay import SimulatedOverlay

SHARE = bytes(31) + b"\x09"


class Tunnelled:
    """An overlay of some peers that permits tunnels."""

    def __init__(self, seed: str, peers: int = 6, *, sip_tunnel: bool = True) -> None:
        self.overlay = SimulatedOverlay(seed, is_direct=True, sip_tunnel=sip_tunnel)
        self.hosts = [self.overlay.add_peer(0)]
        for number in range(1, peers):
            self.overlay.world.run_for(3.0)
            self.hosts.append(self.overlay.add_peer(number))
        nodes = self.overlay.nodes.values()
        assert self.overlay.world.run_for(60.0, stop=lambda: all(node.is_serving for node in nodes))

    def tell(self, number: int, command: TunnelCommand) -> None:
        """A command for a node's tunnels."""
        node = self.overlay.nodes[f"p{number}"]
        self.overlay.world.call(self.hosts[number], lambda now: node.tunnel(command, now))

    def open(self, here: int, there: int) -> None:
        """Open a tunnel, and let it come up."""
        node = self.overlay.nodes[f"p{there}"].node_id
        self.tell(here, OpenTunnel([Destination.node(node)], node))
        self.overlay.world.run_for(2.0)

    def up(self, number: int) -> AppLinkUp:
        """The tunnel that came up there."""
        (found,) = self.seen(number, AppLinkUp)
        return found

    def seen(self, number: int, kind: type[Effect]) -> list[Effect]:  # type: ignore[misc]
        """What a node said of this kind."""
        return [effect for effect in self.hosts[number].events if isinstance(effect, kind)]

    def heard(self, number: int) -> list[bytes]:
        """All that came through tunnels."""
        return [effect.record for effect in self.hosts[number].events if isinstance(effect, TunnelledRecord)]


def test_records_go_both_ways_through_peers_between() -> None:
    world = Tunnelled("both ways")
    world.open(1, 4)
    here, there = world.up(1), world.up(4)
    assert (here.application, is_tunnel(here.link)) == (5060, True)
    assert (here.node, there.node) == (world.overlay.nodes["p4"].node_id, world.overlay.nodes["p1"].node_id)
    assert (here.local, here.remote) == (there.remote, there.local)
    assert here.datagram_bytes == limits.TUNNEL_RECORD_BYTES
    longest = bytes(here.datagram_bytes)
    world.tell(1, WriteTunnel(here.link, longest))
    world.tell(1, WriteTunnel(here.link, longest + b"!"))
    world.tell(4, WriteTunnel(there.link, b"200 OK"))
    world.overlay.world.run_for(5.0)
    assert world.heard(4) == [longest], "what is longer is lost"
    assert world.heard(1) == [b"200 OK"]


def test_nobody_on_the_way_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What any link carries does not have the words in it, on no hop."""
    world = Tunnelled("unreadable")
    carried: list[bytes] = []
    write = world.overlay.world._write
    monkeypatch.setattr(
        world.overlay.world,
        "_write",
        lambda host, number, data: (carried.append(bytes(data)), write(host, number, data)),
    )
    world.open(1, 4)
    world.tell(1, WriteTunnel(world.up(1).link, b"INVITE sip:bob@sim.example SIP/2.0"))
    world.overlay.world.run_for(2.0)
    assert world.heard(4) == [b"INVITE sip:bob@sim.example SIP/2.0"]
    assert len(carried) > 10
    assert not any(b"INVITE" in data for data in carried)


def test_a_tunnel_that_is_closed_is_closed_at_both_ends() -> None:
    world = Tunnelled("closed")
    world.open(1, 4)
    world.tell(1, CloseTunnel(world.up(1).link, "done"))
    world.overlay.world.run_for(1.0)
    assert world.seen(1, AppLinkDown) == [], "who closes knows"
    (down,) = world.seen(4, AppLinkDown)
    assert down == AppLinkDown(world.up(4).link, "closed by the other end: done")


def test_where_the_other_end_is_gone_the_tunnel_ends_when_nothing_is_answered() -> None:
    world = Tunnelled("gone")
    world.open(1, 4)
    world.overlay.world.crash(world.hosts[4], is_silent=True)
    world.tell(1, WriteTunnel(world.up(1).link, b"BYE"))
    world.overlay.world.run_for(7.0)
    (down,) = world.seen(1, AppLinkDown)
    assert isinstance(down, AppLinkDown)
    assert down.reason.startswith("nobody answered")


def test_one_that_began_anew_knows_no_tunnel_of_before() -> None:
    world = Tunnelled("anew")
    world.open(1, 4)
    world.overlay.world.crash(world.hosts[4])
    world.overlay.world.run_for(1.0)
    world.hosts[4] = world.overlay.add_peer(4)
    node = world.overlay.nodes["p4"]
    assert world.overlay.world.run_for(60.0, stop=lambda: node.is_serving)
    world.tell(1, WriteTunnel(world.up(1).link, b"BYE"))
    world.overlay.world.run_for(2.0)
    (down,) = world.seen(1, AppLinkDown)
    assert "there is no such tunnel here" in str(down)
    assert world.heard(4) == []


def test_an_idle_tunnel_is_forgotten() -> None:
    world = Tunnelled("idle", 2)
    world.open(0, 1)
    world.overlay.world.run_for(limits.TUNNEL_IDLE_S + 1)
    assert len(world.seen(0, AppLinkDown)) == len(world.seen(1, AppLinkDown)) == 1
    assert len(world.overlay.nodes["p0"]._tunnels) == len(world.overlay.nodes["p1"]._tunnels) == 0


def test_what_the_configuration_does_not_permit_is_not_even_asked() -> None:
    world = Tunnelled("not permitted", 2, sip_tunnel=False)
    world.open(0, 1)
    (failed,) = world.seen(0, TunnelFailed)
    assert "the configuration of this overlay permits none" in str(failed.error)
    assert world.seen(1, AppLinkUp) == []


def test_a_place_that_stands_for_a_node_is_no_address_that_is_routed() -> None:
    """RFC 7343: 2001:20::/28."""
    assert identifier_address(nid(255)).host == "2001:2f:f000::"
    assert identifier_address(nid(1)).host == "2001:20:1000::"


# What others send, by hand


@pytest.fixture
def bench() -> Iterator[NodeBench]:
    bench = NodeBench(sip_tunnel=True)
    bench.become_ring(200, 230)
    yield bench
    assert bench.notes("message dropped") == []


def send(bench: NodeBench, message: TunnelMessage | bytes, place: int = 200) -> None:
    """A private message of `place` with this in it."""
    body = message if isinstance(message, bytes) else message.encode()
    bench.send(place, MessageCode.PRIVATE_REQ, PrivateReq(TUNNEL, body))


def opening(number: int, *, application: int = 5060, responder: int = 100, share: bytes = SHARE) -> TunnelMessage:
    return TunnelMessage(TunnelStep.OPEN, number, TunnelOpening(application, nid(responder), share))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (opening(1, application=7), ErrorCode.NOT_FOUND),
        (opening(1, responder=230), ErrorCode.INVALID_MESSAGE),
        (opening(1, share=bytes(32)), ErrorCode.INVALID_MESSAGE),
        (TunnelMessage(TunnelStep.RECORD, 1, TunnelRecord(0, bytes(16))), ErrorCode.NOT_FOUND),
        (TunnelMessage(TunnelStep(9), 1, b"?"), ErrorCode.INVALID_MESSAGE),
        (b"\x01", ErrorCode.INVALID_MESSAGE),
    ],
)
def test_what_does_not_fit_is_refused(bench: NodeBench, message: TunnelMessage | bytes, code: ErrorCode) -> None:
    send(bench, message)
    assert bench.hear_one(200, MessageCode.ERROR).error.error_code is code
    assert len(bench.node._tunnels) == 0


def test_a_tunnel_is_for_sip_and_for_no_other_application_that_runs_here(bench: NodeBench) -> None:
    bench.node.offer_application(7)
    send(bench, opening(1, application=7))
    assert bench.hear_one(200, MessageCode.ERROR).error.text == "application 7 does not run here"


def test_an_opening_is_good_for_nothing_without_the_keys(bench: NodeBench) -> None:
    """Who repeats what another has sent, or guesses: the application never hears of it, and it is forgotten."""
    send(bench, opening(1))
    assert bench.hear_one(200).code is MessageCode.PRIVATE_ANS
    send(bench, TunnelMessage(TunnelStep.RECORD, 1, TunnelRecord(0, bytes(16))))
    assert bench.hear_one(200, MessageCode.ERROR).error.text == "record 0 is not what the other end has sealed"
    assert bench.take(AppLinkUp) == []
    assert len(bench.node._tunnels) == 0
    send(bench, opening(2))
    bench.run_for(limits.TUNNEL_UNCONFIRMED_S)
    assert len(bench.node._tunnels) == 0
    assert bench.take(AppLinkDown) == []


def test_a_tunnel_is_used_by_its_own_two_nodes_alone(bench: NodeBench) -> None:
    send(bench, opening(1))
    bench.hear_one(200)
    send(bench, TunnelMessage(TunnelStep.RECORD, 1, TunnelRecord(0, bytes(16))), 230)
    assert bench.hear_one(230, MessageCode.ERROR).error.text == "there is no such tunnel here"
    assert len(bench.node._tunnels) == 1


def test_one_node_has_a_few_tunnels_and_all_others_together_half(bench: NodeBench) -> None:
    for number in range(limits.TUNNELS_PER_NODE_MAX + 1):
        send(bench, opening(number))
    assert bench.heard(200)[-1].error.error_code is ErrorCode.REQUEST_TIMEOUT
    assert len(bench.node._tunnels) == limits.TUNNELS_PER_NODE_MAX


def open_by_hand(bench: NodeBench) -> None:
    """The node asks 200 for a tunnel."""
    bench.node.tunnel(OpenTunnel([Destination.node(nid(200))], nid(200)), bench.now)
    bench.settle()


def test_whom_it_is_refused_by_says_why(bench: NodeBench) -> None:
    """A peer that knows nothing of tunnels, or of private messages, answers with an error: that is what is told."""
    open_by_hand(bench)
    refusal = ErrorResponse.of(ErrorCode.INVALID_MESSAGE, "what is that?")
    bench.answer(200, bench.hear_one(200, MessageCode.PRIVATE_REQ), MessageCode.ERROR, refusal)
    (failed,) = bench.take(TunnelFailed)
    assert isinstance(failed, TunnelFailed)
    assert str(failed.error).endswith("Error_Invalid_Message: what is that?")
    assert len(bench.node._tunnels) == 0


@pytest.mark.parametrize("body", [b"", b"?", bytes([0]) + bytes([0]), bytes([32]) + SHARE + bytes([32]) + bytes(32)])
def test_an_answer_that_makes_no_keys_is_no_tunnel(bench: NodeBench, body: bytes) -> None:
    """Nothing, nonsense, no share, a hash over something else."""
    open_by_hand(bench)
    bench.answer(200, bench.hear_one(200, MessageCode.PRIVATE_REQ), MessageCode.PRIVATE_ANS, PrivateAns(body))
    (failed,) = bench.take(TunnelFailed)
    assert isinstance(failed, TunnelFailed)
    assert len(bench.node._tunnels) == 0
