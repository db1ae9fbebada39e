"""Overlays on all terms that RFC 6940 knows (section 6.3.4, 11.3.1, 13.4), as processes on real sockets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually

from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.reload.security.certificates import chain_from_pem, read_leaf
from p2psip.reload.wire.common import SignatureAlgorithm

pytestmark = pytest.mark.slow(40)


def stores_and_finds(overlay: LiveOverlay) -> None:
    """A line at one peer, found from the others."""
    overlay.add_lines([(overlay.peers[0], "alice")])
    for peer in overlay.peers[1:]:
        (entry,) = peer.lookup("alice")["entries"]
        assert entry["line"] == overlay.peers[0].line("alice")["node_id"]


@pytest.mark.must("6.3.4/4")
@pytest.mark.parametrize("keys", [("rsa",), ("ecdsa", "rsa")], ids=["RSA", "mixed"])
def test_three_peers_with_rsa_keys(tmp_path: Path, keys: tuple[str, ...]) -> None:
    """They join, store and find; in the mixed overlay two have the one kind of key, and one the other."""
    terms = [word for key in keys for word in ("--key", key)]
    options = {f"peer{number}": ("--key", key) for number, key in enumerate((*keys, keys[0], keys[0])[:3])}
    with LiveOverlay(tmp_path, peers=3, users=("alice",), terms=terms, peer_options=options) as overlay:
        leaves = [read_leaf(chain_from_pem((p.directory / "peer.crt").read_bytes())[0], 16) for p in overlay.peers]
        assert {leaf.algorithm for leaf in leaves} == {SignatureAlgorithm[key.upper()] for key in keys}
        stores_and_finds(overlay)


@pytest.mark.must("11.3.1/1", "11.3.1/2")
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_three_peers_that_make_their_own_certificates(tmp_path: Path, digest: str) -> None:
    """No enrollment server runs, nor is there one."""
    with LiveOverlay(tmp_path, peers=3, terms=("--self-signed", digest)) as overlay:
        stores_and_finds(overlay)


@pytest.mark.must("13.4/1")
def test_three_peers_with_a_secret_and_a_stranger_with_another(tmp_path: Path) -> None:
    """The stranger has all but the secret: it speaks, and nobody lets it in."""
    with LiveOverlay(tmp_path, peers=3, terms=("--shared-secret",)) as overlay:
        stores_and_finds(overlay)
        club = OverlayDirectory(tmp_path / "overlay")
        club.revise(replace(club.document().configuration, shared_secret="guessed"))
        stranger = overlay.add_peer()
        stranger.run()
        said = stranger.daemon.wait_log("no way into the overlay yet")
        assert "TLS: " in said["reason"]
        assert all(stranger.node_id not in peer.status()["successors"] for peer in overlay.peers[:3])
        stranger.kill()


@pytest.mark.must("11.3.1/4")
def test_a_peer_whose_name_is_taken_comes_again_with_another(tmp_path: Path) -> None:
    """Two machines were given the same name: the second says so, starts anew, and is who it was but for the name."""
    options = {"peer1": ("--name", "peer0")}
    with LiveOverlay(tmp_path, peers=1, terms=("--self-signed", "sha256"), peer_options=options) as overlay:
        second = overlay.add_peer()
        second.run()
        said = second.daemon.wait_log("the user name of this peer is taken")
        assert said["means"] == f"it starts anew as peer-peer0-2@{OVERLAY}"
        eventually("it is back", lambda: _user(overlay, second) == f"peer-peer0-2@{OVERLAY}")
        overlay.wait_whole()
        assert second.status()["node_id"] == second.node_id


def _user(overlay: LiveOverlay, peer: LivePeer) -> str:
    """As which user a running peer acts; empty while it does not run."""
    status, output, _ = overlay.run("status", "--peer", peer.directory, "--json")
    return str(json.loads(output)["user"]) if status == 0 else ""
