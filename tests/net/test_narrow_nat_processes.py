"""Real peers behind NATs on whose way large packets vanish without a word: links by ICE all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_overlay import LiveOverlay, LivePeer, eventually
from nat_pairs import IPV4, NARROW_BYTES, PORT
from netlab import Lab, Plan, needs_lab

pytestmark = [pytest.mark.slow, needs_lab]


def is_linked(peer: LivePeer, other: LivePeer, host: str) -> bool:
    """True if a peer has a link with another, there."""
    links = [link for link in peer.status()["links"] if link["node_id"] == other.node_id]
    return any(link["address"].startswith(f"{host}:") for link in links)


def test_a_path_mtu_of_1000_between_two_nats(tmp_path: Path) -> None:
    """Nobody says that a packet was too big, and the certificates of a handshake are; the links come up, and stay."""
    plan = Plan()
    routers = [plan.router(f"nat{side}", PORT, mtu=NARROW_BYTES, hides_mtu=True) for side in "ab"]
    hosts = [plan.host("public", versions=IPV4), *(plan.host(f"host-{each}", each, IPV4) for each in routers)]
    seen = [str(plan.nodes[each].address(4)) for each in routers]
    with LiveOverlay(tmp_path, peers=0, hosts=[str(plan.nodes[host].address(4)) for host in hosts]) as overlay:
        overlay.command("overlay", "set", tmp_path / "overlay", "no-ice=false", "--sign")
        overlay.add_peers(len(hosts))
        with Lab(plan) as lab:
            for peer, host in zip(overlay.peers, hosts, strict=True):
                peer.run(*(() if host != "public" else ("--first",)), namespace=lab.netns(host))
            for peer in overlay.peers:
                peer.wait_joined()
            _, first, second = overlay.peers
            eventually(
                "they are linked", lambda: is_linked(first, second, seen[1]) and is_linked(second, first, seen[0])
            )
