"""Real peers behind real NATs where UDP does not pass: both open a TCP connection, and no relay is between them."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_nat import needs_nft
from live_overlay import LiveOverlay, LivePeer, eventually
from nat_sites import PORT_RESTRICTED, PUBLIC, SYMMETRIC, inside, nat_sites
from networks import needs_networks

pytestmark = [pytest.mark.slow, needs_networks, needs_nft]


def link_with(peer: LivePeer, other: LivePeer) -> tuple[str, str]:
    """Where a peer has another, and over what it is linked with it; nothing, if it is not."""
    links = [link for link in peer.status()["links"] if link["node_id"] == other.node_id and link["state"] == "up"]
    return (links[-1]["address"].rpartition(":")[0], links[-1]["over"]) if links else ("", "")


@pytest.mark.parametrize(
    ("kinds", "without_udp", "is_direct"),
    [
        ((PORT_RESTRICTED, PORT_RESTRICTED), (0, 1), True),
        ((PORT_RESTRICTED, PORT_RESTRICTED), (1,), True),
        ((PORT_RESTRICTED, SYMMETRIC), (0, 1), False),
    ],
    ids=["UDP blocked at both", "at one", "one symmetric"],
)
def test_two_without_udp_are_linked_directly_where_their_nats_permit_it(
    tmp_path: Path, kinds: tuple[str, str], without_udp: tuple[int, ...], is_direct: bool
) -> None:
    """The third peer has relayed for them, and said as whom it sees their ports; then it is in no path between them."""
    hosts = (PUBLIC, inside(0), inside(1))
    with LiveOverlay(tmp_path, peers=0, hosts=hosts) as overlay:
        overlay.command("overlay", "set", tmp_path / "overlay", "no-ice=false", "--sign")
        relay, first, second = peers = [overlay.add_peer() for _ in hosts]
        with nat_sites(*kinds, without_udp=without_udp) as world:
            try:
                for peer, host in zip(peers, (world.public, *world.sites), strict=True):
                    peer.run(*(("--first", "--relay", "yes") if peer is relay else ()), namespace=host.name)
                for peer in peers:
                    peer.wait_joined()
                if is_direct:
                    eventually("linked", lambda: link_with(first, second) == ("198.51.100.11", "TLS"))
                    eventually("both ways", lambda: link_with(second, first) == ("198.51.100.10", "TLS"))
                else:
                    eventually("linked", lambda: link_with(first, second)[1] == "DTLS")
                    assert PUBLIC in (link_with(first, second)[0], link_with(second, first)[0])
            finally:
                for peer in reversed(peers):
                    if peer.is_running:
                        peer.stop()
