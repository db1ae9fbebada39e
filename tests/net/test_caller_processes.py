"""Who calls, between two peers that run, with real keys of either kind: signed by the one, verified by the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_overlay import LiveOverlay, phone_password
from our_phone import OurPhone

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("keys", ["ecdsa", "rsa"])
def test_a_call_is_proved_by_the_lines_certificate(tmp_path: Path, keys: str) -> None:
    """Bob's peer asks for a proof, and finds alice's certificate in the overlay."""
    terms = ("--key", keys)
    options = {f"peer{number}": terms for number in range(2)}
    with LiveOverlay(tmp_path, peers=2, users=("alice", "bob"), terms=terms, peer_options=options) as overlay:
        here, there = overlay.peers
        there.stop()
        there.run("--callers", "required")
        for peer, user in ((here, "alice"), (there, "bob")):
            peer.add_line(user)
            peer.wait_placed(user)
        asks = ("check", "--peer", here.directory, "--user", "alice", "--call", "bob")
        with OurPhone("bob", server=there.server, password=phone_password("bob"), plays=440, answer_ms=0):
            there.wait_phones("bob", 1)
            overlay.run(*asks, "--password-file", overlay.phone_password_file("alice"))
            said = there.daemon.wait_log("request carried", method="INVITE")
            assert (said["status"], said["caller"]) == (200, "alice, proved by certificate")
