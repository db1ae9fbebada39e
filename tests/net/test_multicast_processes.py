"""Peers on one cable that find each other with no address configured, and strangers beside them: real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from live_overlay import LiveOverlay, LivePeer
from networks import Host, needs_networks, two_hosts

pytestmark = [pytest.mark.slow(45), needs_networks]

EVERYWHERE = ("--listen", "0.0.0.0", "--listen", "::", "--phone-listen", "0.0.0.0", "--phone-listen", "::")
FOUND_S = 30.0
"""Two seconds; and what a busy machine takes to start programs."""

CABLES = {
    "IPv4": ("192.0.2.1/24", "192.0.2.2/24"),
    "link-local IPv4": ("169.254.7.1/16", "169.254.7.2/16"),
    "link-local IPv6": ("fe80::7:1/64", "fe80::7:2/64"),
}


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LivePeer]]:
    """Two peers of one overlay, whose configured address is one that neither has on the cable; they remember nobody."""
    with LiveOverlay(tmp_path_factory.mktemp("members"), peers=2) as live:
        for peer in live.peers:
            peer.stop()
        yield live.peers


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePeer]:
    """A peer of an overlay of the same name, which another has founded."""
    with LiveOverlay(tmp_path_factory.mktemp("strangers"), peers=1) as live:
        (peer,) = live.peers
        peer.stop()
        yield peer


def run(peer: LivePeer, host: Host, *flags: str) -> None:
    """Without what it remembers."""
    (peer.directory / "contacts.json").unlink(missing_ok=True)
    peer.run(*EVERYWHERE, *flags, namespace=host.name)


BY_MDNS = ("--no-multicast", "--mdns")


@pytest.mark.parametrize(
    ("cable", "way", "flags"),
    [
        *((cable, "multicast", ()) for cable in CABLES),
        ("IPv4", "mDNS", BY_MDNS),
        ("link-local IPv6", "mDNS", BY_MDNS),
    ],
)
def test_two_peers_on_a_cable_find_each_other_and_no_stranger(
    members: list[LivePeer], stranger: LivePeer, cable: str, way: str, flags: tuple[str, ...]
) -> None:
    """Each is told apart by its certificate: the overlays have one name, so one hash."""
    first, second = members
    with two_hosts() as hosts:
        for host, address in zip(hosts, CABLES[cable], strict=True):
            host.add(address)
        try:
            run(first, hosts[0], "--first", *flags)
            run(stranger, hosts[1], "--first", *flags)
            first.wait_joined()
            stranger.wait_joined()
            run(second, hosts[1], *flags)
            second.wait_joined()
            deadline = time.monotonic() + FOUND_S
            while not any(way["winner"] for way in second.status()["ways_in"]):
                assert time.monotonic() < deadline, second.status()["ways_in"]
                time.sleep(0.2)
            (won,) = [way for way in second.status()["ways_in"] if way["winner"]]
            assert won["way"] == way
            assert won["address"].startswith(f"{CABLES[cable][0].partition('/')[0]}:") or "fe80" in won["address"]
            assert {link["node_id"] for link in second.status()["links"]} == {first.node_id}
            time.sleep(2.0)
            assert stranger.status()["links"] == []
        finally:
            for peer in (second, stranger, first):
                if peer.is_running:
                    peer.stop()
