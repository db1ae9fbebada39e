"""Real peers behind real symmetric NATs, whose routers map ports for those that may ask: miniupnpd in a laboratory."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from live_overlay import LiveOverlay, LivePeer, eventually
from mapping_router import mapping, needs_mapping_router
from netlab import Lab, Plan
from netlab.plan import IPV4

from p2psip.sim.ip.boxes import SYMMETRIC

pytestmark = [pytest.mark.slow, needs_mapping_router]

PUBLIC, OUTSIDE = "198.20.0.1", ("198.20.1.1", "198.20.2.1")


def addresses(peer: LivePeer, other: LivePeer) -> list[str]:
    """Where a peer has the other, if they are linked."""
    links = [link for link in peer.status()["links"] if link["node_id"] == other.node_id]
    return [link["address"] for link in links if link["state"] == "up"]


def is_dialable(overlay: LiveOverlay, peer: LivePeer) -> bool:
    """True if other members have seen so, and that its NAT is a symmetric one."""
    found = overlay.command_json("nat", "--peer", peer.directory)
    return bool(found["dialable"] and found["mapping"] == "address-and-port-dependent")


def rules(lab: Lab, router: str) -> str:
    """What a router maps now."""
    command = (*lab.host(router).within, "nft", "list", "table", "inet", "mapped")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_two_behind_symmetric_nats_are_linked_by_what_their_routers_map(tmp_path: Path) -> None:
    """There is no relay. A router is asked only where the operator allows it, and tells what it gave; when the peer
    stops nothing is left of it.
    """
    plan = Plan()
    routers = [plan.router(f"box{number}", SYMMETRIC, addresses=(host,)) for number, host in enumerate(OUTSIDE)]
    hosts = [plan.host("public", versions=IPV4, addresses=(PUBLIC,))]
    hosts += [plan.host(f"home{number}", router, IPV4) for number, router in enumerate(routers)]
    with LiveOverlay(tmp_path, peers=0, hosts=[str(plan.nodes[host].address(4)) for host in hosts]) as overlay:
        overlay.command("overlay", "set", tmp_path / "overlay", "no-ice=false", "--sign")
        overlay.add_peers(len(hosts))
        public, first, second = overlay.peers
        with Lab(plan) as lab, contextlib.ExitStack() as mapped:
            for router, host in zip(routers, hosts[1:], strict=True):
                mapped.enter_context(mapping(lab, router, host, tmp_path))
            public.run("--first", "--relay", "no", namespace=lab.netns("public"))
            for peer, host in zip((first, second), hosts[1:], strict=True):
                peer.run("--port-mapping", namespace=lab.netns(host))
            for peer in overlay.peers:
                peer.wait_joined()
            eventually("they are linked", lambda: addresses(first, second) and addresses(second, first))
            seen = (*addresses(first, second), *addresses(second, first))
            assert {address.partition(":")[0] for address in seen} <= set(OUTSIDE)
            told = first.status()["port_mapping"]
            assert told["given"][f"UDP {first.overlay_port}"] == f"{OUTSIDE[0]}:{first.overlay_port}"
            assert told["language"] == "PCP"
            assert told["what"] in overlay.command("status", "--peer", first.directory)
            # A survey that is under way may have begun before both others were there, or the port was mapped.
            eventually("both others get in at a port that neither of them sees", lambda: is_dialable(overlay, first))
            first.stop()
            assert "dnat" not in rules(lab, routers[0])
            assert "dnat" in rules(lab, routers[1])
