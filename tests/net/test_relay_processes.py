"""Real peers behind real NATs that no punch gets through: the relay that the third peer is."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_nat import needs_nft
from live_overlay import LiveOverlay, LivePeer, eventually
from nat_sites import PUBLIC, SYMMETRIC, inside, nat_sites
from networks import needs_networks

pytestmark = [pytest.mark.slow, needs_networks, needs_nft]


def relayed_links(peer: LivePeer, other: LivePeer) -> list[str]:
    """Where a peer has the other, if they are linked."""
    links = [link for link in peer.status()["links"] if link["node_id"] == other.node_id]
    return [link["address"] for link in links if link["state"] == "up"]


def test_two_behind_symmetric_nats_are_linked_over_the_relay_of_the_third(tmp_path: Path) -> None:
    """No server but the three peers. The relay dies without a word and comes again: so does the link."""
    hosts = (PUBLIC, inside(0), inside(1))
    with LiveOverlay(tmp_path, peers=0, hosts=hosts) as overlay:
        overlay.command("overlay", "set", tmp_path / "overlay", "no-ice=false", "--sign")
        relay, first, second = peers = [overlay.add_peer() for _ in hosts]
        with nat_sites(SYMMETRIC, SYMMETRIC) as world:
            try:
                for peer, host in zip(peers, (world.public, *world.sites), strict=True):
                    peer.run(*(("--first", "--relay", "yes") if peer is relay else ()), namespace=host.name)
                for peer in peers:
                    peer.wait_joined()
                eventually("they are linked", lambda: relayed_links(first, second) and relayed_links(second, first))
                seen = (*relayed_links(first, second), *relayed_links(second, first))
                assert any(address.startswith(f"{PUBLIC}:") for address in seen), seen
                assert relay.status()["relays"]["lent_to_others"] >= 2
                relay.kill()
                eventually("the link is gone", lambda: not relayed_links(first, second))
                relay.run("--first", "--relay", "yes", namespace=world.public.name)
                eventually("they are linked again", lambda: relayed_links(first, second))
            finally:
                for peer in reversed(peers):
                    if peer.is_running:
                        peer.stop()
