"""Real peers between which packets over 1000 bytes vanish and nobody says so, from their start on."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_overlay import LiveOverlay, phone_password
from networks import Host, needs_networks, two_hosts
from our_phone import OurPhone

pytestmark = [
    pytest.mark.slow,
    needs_networks,
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs `nft` (Debian: nftables)"),
]

HOLE_BYTES = 1000
RECOGNISED_S = 50.0
"""Five times what it takes in virtual time (test_sim_black_holes.py)."""


@contextmanager
def hole(phone_ports: list[int]) -> Iterator[Host]:
    """A host on which only the phones' large packets arrive. Each packet is looked at alone, as on a wire."""
    with two_hosts() as (host, _):
        host.ip("link", "set", "lo", "gso_max_segs", "1")
        ports = ", ".join(map(str, phone_ports))
        rules = f"""
            table inet hole {{
                chain arriving {{
                    type filter hook input priority 0;
                    udp dport {{ {ports} }} accept
                    udp sport {{ {ports} }} accept
                    meta l4proto {{ tcp, udp }} meta length > {HOLE_BYTES} counter drop
                }}
            }}"""
        subprocess.run([*host.within, "nft", "-f", "-"], input=rules, text=True, check=True)
        yield host


def dropped(host: Host) -> int:
    """How many packets vanished."""
    rules = subprocess.run(
        [*host.within, "nft", "list", "table", "inet", "hole"], capture_output=True, text=True, check=True
    )
    return int(rules.stdout.split("counter packets ")[1].split()[0])


def test_peers_join_store_and_carry_calls_over_dtls(tmp_path: Path) -> None:
    """With `path_mtu` as it is by default. (A TLS handshake through the hole does not come to its end.)"""
    options = {f"peer{number}": ("--links", "DTLS") for number in range(2)}
    with LiveOverlay(tmp_path, peers=2, users=("alice", "bob"), peer_options=options) as overlay:
        first, second = overlay.peers
        overlay.add_lines([(first, "alice"), (second, "bob")])
        for peer in overlay.peers:
            peer.stop()
        with hole([peer.phone_port for peer in overlay.peers]) as host:
            began = time.monotonic()
            first.run("--first", within=host.within)
            second.run(within=host.within)
            try:
                first.wait_joined()
                second.wait_joined()
                second.wait_placed("bob")
                assert time.monotonic() - began < RECOGNISED_S
                phones = [
                    OurPhone(
                        user,
                        server=f"127.0.0.1:{peer.phone_port}",
                        password=phone_password(user),
                        within=host.within,
                        answer_ms=0,
                    )
                    for user, peer in (("alice", first), ("bob", second))
                ]
                with phones[0] as alice, phones[1] as bob:
                    alice.wait("registered")
                    bob.wait("registered")
                    alice.command("call bob")
                    alice.wait("answered", RECOGNISED_S)
                    time.sleep(1.0)
                    alice.command("hangup")
                    assert alice.wait("heard")["received"] > 20
                assert dropped(host) > 0
            finally:
                for peer in (second, first):
                    peer.stop()
