"""A disk that is full while a peer runs: telephony goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from live_overlay import LiveOverlay, phone_password
from our_phone import OurPhone


def _can_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not _can_mount(), reason="a small disk needs root, `unshare` and `nsenter` (Debian: util-linux)"
    ),
]

SMALL = """
    set -e
    cp -a "$0" "$0.saved"
    mount -t tmpfs -o size=2m tmpfs "$0"
    cp -a "$0.saved/." "$0"
    exec "$@"
"""
"""In a mount namespace of its own: the directory $0 on a small disk of its own, and then a command."""


def test_a_peer_whose_disk_is_full_carries_calls_and_ends_cleanly(tmp_path: Path) -> None:
    """What cannot be written down is not, and that is said."""
    with LiveOverlay(tmp_path, peers=1, users=("alice",)) as overlay:
        (peer,) = overlay.peers
        overlay.add_lines([(peer, "alice")])
        peer.stop()
        peer.run("--first", within=("unshare", "--mount", "sh", "-c", SMALL, str(peer.directory)))
        peer.wait_joined()
        fill = ("dd", "if=/dev/zero", f"of={peer.directory}/filler", "bs=4k")
        within = ("nsenter", "--mount", "--target", str(peer.daemon.process.pid))
        filled = subprocess.run([*within, *fill], capture_output=True, text=True, check=False)
        assert "No space left on device" in filled.stderr
        with OurPhone("alice", server=peer.server, password=phone_password("alice")) as alice:
            alice.wait("registered")
            alice.command("call *43")
            alice.wait("answered")
            alice.command("hangup")
            alice.wait("ended")
        told = peer.daemon.wait_log("commit failed")
        assert told["reason"] == "the records could not be written: database or disk is full"
        peer.stop()
