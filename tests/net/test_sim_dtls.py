"""Overlays in virtual time whose links are DTLS over a network that loses, doubles and reorders."""

from __future__ import annotations

import pytest

from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType, PingReq
from p2psip.sim.path import Path
from p2psip.sim.registrations import fill, grow, missing, wait_until
from p2psip.sim.simulated_overlay import SimulatedOverlay

LOSSY = Path(delay_s=0.01, jitter_s=0.03, loss=0.1, duplication=0.02)
TLS, DTLS = NO_ICE


def lossy(seed: str, peers: int) -> SimulatedOverlay:
    """An overlay that permits DTLS only, over a network that loses one datagram in ten."""
    overlay = SimulatedOverlay(seed, overlay_link_protocols=("DTLS",))
    overlay.world.path = LOSSY
    for number in range(peers):
        overlay.add_peer(number)
        overlay.world.run_for(1.0)
    wait_until(overlay, 120.0, overlay.is_ring)
    return overlay


def links(overlay: SimulatedOverlay) -> set[OverlayLinkType]:
    """What kinds there are."""
    return {each.kind for node in overlay.nodes.values() for each in node.links()}


def test_peers_join_and_records_are_found_where_one_datagram_in_ten_is_lost() -> None:
    """The ring is whole, nothing that was acknowledged is missing, and no link was given up."""
    overlay = lossy("lossy", 10)
    assert links(overlay) == {DTLS}
    records = fill(overlay, 30)
    assert missing(overlay, records) == []
    overlay.world.run_for(120.0)
    assert overlay.is_ring()
    assert overlay.violations() == []
    assert missing(overlay, records, seed=2) == []


def test_a_peer_that_dies_is_noticed_by_its_silence() -> None:
    """No reset tells: its neighbours' messages are not acknowledged."""
    overlay = lossy("deaf", 7)
    records = fill(overlay, 10)
    overlay.world.crash(overlay.world.hosts["p3"])
    took_s = wait_until(overlay, 60.0, overlay.is_ring)
    assert took_s < 45.0
    assert missing(overlay, [record for record in records if record.host.name != "p3"]) == []


def test_a_mixed_overlay() -> None:
    """One peer makes links over DTLS only, the rest both: each pair uses what both make."""
    overlay = grow("mixed", 4)
    overlay.add_peer(4, (DTLS,))
    overlay.add_peer(5)
    wait_until(overlay, 60.0, lambda: all(overlay.node(host).is_serving for host in overlay.alive()))
    assert links(overlay) == {DTLS, TLS}
    kinds = {name: {each.kind for each in overlay.nodes[name].links()} for name in ("p0", "p4", "p5")}
    assert kinds == {"p0": {TLS, DTLS}, "p4": {DTLS}, "p5": {TLS, DTLS}}
    records = fill(overlay, 10)
    assert missing(overlay, records) == []


@pytest.mark.parametrize("size", [1500, 5000, 20000])
def test_messages_longer_than_a_datagram_arrive(size: int) -> None:
    """6.7: they are fragmented, each fragment is repeated until it is acknowledged, and the other end has it whole."""
    overlay = lossy(f"long {size}", 5)
    asker, asked = (overlay.world.hosts[name] for name in ("p1", "p3"))
    transport = overlay.node(asker)._exchange
    outcomes: list[object] = []
    node = overlay.node(asker)
    finished = node._outcomes.handle
    node._outcomes.handle = lambda done, now: (
        outcomes.append(done.outcome) if done.context == "x" else finished(done, now)
    )  # type: ignore[method-assign]

    def ask(now: float) -> None:
        destination = Destination.node(overlay.node(asked).node_id)
        transport.request(OverlayRequest([destination], MessageCode.PING_REQ, PingReq(bytes(size))), "x", now)
        node._settle(now)

    overlay.world.call(asker, ask)
    wait_until(overlay, 15.0, lambda: bool(outcomes))
    assert isinstance(outcomes[0], Answer)
