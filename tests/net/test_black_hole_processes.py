"""Two sites between which IP packets over 1000 bytes vanish and nobody says so, from the start of their peers on."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_overlay import LiveOverlay, LivePeer, phone_password
from networks import CABLE, Host, needs_networks, two_hosts
from our_phone import OurPhone

pytestmark = [
    pytest.mark.slow(40),
    needs_networks,
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs `nft` (Debian: nftables)"),
]

HOLE_BYTES = 1000
RECOGNISED_S = 50.0
"""Five times what it takes in virtual time (test_sim_black_holes.py)."""

HOSTS = ("192.0.2.1", "192.0.2.2")
USERS = ("alice", "bob")


@contextmanager
def two_sites() -> Iterator[tuple[Host, Host]]:
    """Two hosts; on the cable between them only packets of at most HOLE_BYTES arrive."""
    with two_hosts() as hosts:
        for host, address in zip(hosts, HOSTS, strict=True):
            host.add(f"{address}/24")
            # Each packet for itself, as on a wire.
            host.ip("link", "set", CABLE, "gso_max_segs", "1")
            rules = f"""
                table netdev hole {{
                    chain arriving {{
                        type filter hook ingress device {CABLE} priority 0;
                        meta length > {HOLE_BYTES} counter drop
                    }}
                }}"""
            subprocess.run([*host.within, "nft", "-f", "-"], input=rules, text=True, check=True)
        yield hosts


def dropped(host: Host) -> int:
    """How many packets for this host vanished."""
    rules = subprocess.run(
        [*host.within, "nft", "list", "table", "netdev", "hole"], capture_output=True, text=True, check=True
    )
    return int(rules.stdout.split("counter packets ")[1].split()[0])


@contextmanager
def running(peers: Sequence[LivePeer], hosts: Sequence[Host]) -> Iterator[None]:
    """The peers on these hosts; they end cleanly and by nothing else."""
    try:
        for number, (peer, host) in enumerate(zip(peers, hosts, strict=True)):
            peer.run(*(() if number else ("--first",)), namespace=host.name)
        yield
    finally:
        for peer in reversed(peers):
            if peer.is_running:
                peer.stop()


@pytest.mark.parametrize("links", [("DTLS",), ("TLS",), ()], ids=["DTLS only", "TLS only", "both"])
def test_peers_join_store_and_carry_a_call(tmp_path: Path, links: tuple[str, ...]) -> None:
    """With `path_mtu` as it is by default."""
    options = {f"peer{number}": tuple(f"--links={link}" for link in links) for number in range(2)}
    with LiveOverlay(tmp_path, peers=0, users=USERS, peer_options=options, hosts=HOSTS) as overlay:
        peers = (overlay.add_peer(), overlay.add_peer())
        for peer, user in zip(peers, USERS, strict=True):
            peer.add_line(user)
        with two_sites() as hosts, running(peers, hosts):
            began = time.monotonic()
            first, second = peers
            first.wait_joined()
            second.wait_joined()
            joined_s = time.monotonic() - began
            assert joined_s < RECOGNISED_S
            second.wait_placed("bob")
            overlay.wait_whole()
            phones = [
                OurPhone(user, server=peer.server, password=phone_password(user), namespace=host.name, answer_ms=0)
                for user, peer, host in zip(USERS, peers, hosts, strict=True)
            ]
            with phones[0] as alice, phones[1] as bob:
                alice.wait("registered")
                bob.wait("registered")
                called_at = time.monotonic()
                alice.command("call bob")
                alice.wait("answered", RECOGNISED_S)
                answered_s = time.monotonic() - called_at
                time.sleep(1.0)
                alice.command("hangup")
                assert alice.wait("heard")["received"] > 20
            print(f"joined after {joined_s:.1f} s, answered after {answered_s:.1f} s")
            assert sum(map(dropped, hosts)) > 0
