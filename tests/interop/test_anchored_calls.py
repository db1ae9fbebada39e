"""Two phones in networks that do not reach each other, and a peer in both: with `media = "anchor"` they are heard."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import Baresip, hears, needs_baresip, talk
from live_overlay import LiveOverlay, LivePeer, phone_password
from networks import Host, needs_networks, star

pytestmark = [pytest.mark.slow, needs_networks, needs_baresip]

OFFICE, GUESTS = ("192.0.2.1/24", "192.0.2.20/24"), ("198.51.100.1/24", "198.51.100.20/24")
GUESTS_V6 = ("2001:db8:7::1/64", "2001:db8:7::20/64")
GUESTS_ULA = ("fd12:3456:7::1/64", "fd12:3456:7::20/64")
"""Unique local addresses (RFC 4193), as a home has them beside those of its provider."""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePeer]:
    """A peer with two lines, made on loopback and stopped."""
    with LiveOverlay(tmp_path_factory.mktemp("live"), peers=1, users=("alice", "bob")) as live:
        (peer,) = live.peers
        live.add_lines([(peer, "alice"), (peer, "bob")])
        peer.stop()
        yield peer


def baresip(directory: Path, peer: LivePeer, user: str, at: Host, network: tuple[str, str], plays: int) -> Baresip:
    near, own = (address.partition("/")[0] for address in network)
    server = f"[{near}]:{peer.phone_port}" if ":" in near else f"{near}:{peer.phone_port}"
    return Baresip(
        directory, user, server=server, password=phone_password(user), plays=plays, host=own, namespace=at.name
    )


def has_way(one: Host, address: str) -> bool:
    found = subprocess.run(
        [*one.within, "ip", "route", "get", address.partition("/")[0]], capture_output=True, check=False
    )
    return found.returncode == 0


@pytest.mark.parametrize(
    "guests", [GUESTS, GUESTS_V6, GUESTS_ULA], ids=["IPv4 and IPv4", "IPv4 and IPv6", "IPv4 and a ULA"]
)
def test_both_hear_each_other_through_the_peer(tmp_path: Path, peer: LivePeer, guests: tuple[str, str]) -> None:
    with star(OFFICE, guests) as (pbx, (office, lobby)):
        assert has_way(office, OFFICE[0])
        assert not has_way(office, guests[1])
        assert not has_way(lobby, OFFICE[1])
        everywhere = ("--listen", "0.0.0.0", "--listen", "::", "--phone-listen", "0.0.0.0", "--phone-listen", "::")
        peer.run("--first", "--media", "anchor", *everywhere, namespace=pbx.name)
        try:
            peer.wait_joined()
            with (
                baresip(tmp_path, peer, "bob", lobby, guests, 700) as bob,
                baresip(tmp_path, peer, "alice", office, OFFICE, 500) as alice,
            ):
                bob.wait_registered(), alice.wait_registered()
                talk(alice, bob, f"{OFFICE[0].partition('/')[0]}:{peer.phone_port}")
                assert hears(alice, 700)
                assert hears(bob, 500)
            told = peer.daemon.wait_log("media carried")
            assert told["until"] == "hung up"
            assert "audio of alice (192.0.2.20): " in told["media"]
        finally:
            peer.stop()
