"""Overlays of real peer processes whose links are DTLS over UDP, all of them or some."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from live_overlay import LiveOverlay, phone_password
from our_phone import OurPhone

pytestmark = pytest.mark.slow


def kinds_of_links(overlay: LiveOverlay) -> dict[str, set[str]]:
    """Of each running peer, what its links run over."""
    return {peer.name: {link["over"] for link in peer.status()["links"]} for peer in overlay.running()}


def call(overlay: LiveOverlay) -> None:
    """Alice, at one peer, calls bob, at another, and hears him."""
    (hill, valley) = overlay.peers[1:3]
    overlay.add_lines([(hill, "alice"), (valley, "bob")])
    with (
        OurPhone("alice", server=hill.server, password=phone_password("alice")) as alice,
        OurPhone("bob", server=valley.server, password=phone_password("bob"), answer_ms=100),
    ):
        hill.wait_phones("alice", 1)
        valley.wait_phones("bob", 1)
        alice.command("call bob")
        alice.wait("answered")
        time.sleep(1.0)
        alice.command("hangup")
        assert alice.wait("heard")["received"] > 20


def test_an_overlay_on_dtls_alone(tmp_path: Path) -> None:
    """Five peers join, place records, look up and carry a call without one TLS link; one is killed and comes back."""
    options = {f"peer{number}": ("--links", "DTLS") for number in range(5)}
    with LiveOverlay(tmp_path, peers=5, users=("alice", "bob"), peer_options=options) as overlay:
        assert set().union(*kinds_of_links(overlay).values()) == {"DTLS"}
        call(overlay)
        last = overlay.peers[4]
        last.kill()
        last.run()
        last.wait_joined()
        assert last.lookup("alice")["entries"]


def test_an_overlay_of_both_kinds(tmp_path: Path) -> None:
    """One peer makes links over DTLS only, the others, the bootstrap node among them, both."""
    options = {"peer2": ("--links", "DTLS")}
    with LiveOverlay(tmp_path, peers=4, users=("alice",), peer_options=options) as overlay:
        kinds = kinds_of_links(overlay)
        assert kinds["peer2"] == {"DTLS"}
        assert kinds["peer0"] == {"TLS", "DTLS"}
        overlay.add_lines([(overlay.peers[2], "alice")])
        assert overlay.peers[3].lookup("alice")["entries"]
