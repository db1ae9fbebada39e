"""Two peers whose cable is out for a while, as real processes: the one that lost everybody is back soon."""

from __future__ import annotations

import time

import pytest
from live_overlay import LiveOverlay, eventually
from networks import CABLE, needs_networks, two_hosts

pytestmark = [pytest.mark.slow(75), needs_networks]

BACK_S = 5 * 10.0
"""Five times what it is in virtual time (test_sim_back_again.py): a busy machine is slow."""

OUT_S = 45.0
"""Until both have given their links up."""


def test_a_peer_that_lost_everybody_takes_part_again_soon_after_its_cable_is_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """By whatever way; the status of both says that they are one ring, and by which way the second came in."""
    with LiveOverlay(tmp_path_factory.mktemp("live"), peers=2) as live, two_hosts() as hosts:
        first, second = live.peers
        for host, peer, address in zip(hosts, live.peers, ("192.0.2.1/24", "192.0.2.2/24"), strict=True):
            peer.stop()
            host.add(address)
            flags = ("--first",) if peer is first else ()
            peer.run("--listen", "0.0.0.0", "--phone-listen", "0.0.0.0", *flags, namespace=host.name)
        eventually("they are one ring", lambda: second.status()["neighbors"] == [first.node_id])
        hosts[0].ip("link", "set", CABLE, "down")
        time.sleep(OUT_S)
        assert [peer.status()["neighbors"] for peer in live.peers] == [[], []]
        hosts[0].ip("link", "set", CABLE, "up")

        def is_back() -> bool:
            neighbors = [peer.status()["neighbors"] for peer in live.peers]
            return neighbors == [[second.node_id], [first.node_id]]

        eventually("both have each other again", is_back, limit_s=BACK_S)
        assert any(way["winner"] for peer in live.peers for way in peer.status()["ways_in"])
        for peer in live.peers:
            peer.stop()
