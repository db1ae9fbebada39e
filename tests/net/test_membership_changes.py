"""What becomes of live links and stored records when a certificate is renewed, and when one is revoked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from live_overlay import LiveOverlay, LivePeer, eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """Three peers; alice has a line at the first, bob at the last."""
    with LiveOverlay(tmp_path_factory.mktemp("members"), peers=3, users=("alice", "bob")) as live:
        live.add_lines([(live.peers[0], "alice"), (live.peers[2], "bob")])
        yield live


def links(peer: LivePeer) -> dict[str, Any]:
    """The links of a peer: address and age, by Node-ID."""
    return {link["node_id"]: link for link in peer.status()["links"]}


def test_a_renewal_does_not_disturb_the_overlay(overlay: LiveOverlay) -> None:
    """The peer and its line have new certificates for the same Node-IDs; no link was closed, the record is there."""
    peer, *others = overlay.peers
    before = {other.name: links(other)[peer.node_id] for other in others}
    old = (peer.directory / "peer.crt").read_bytes()
    renewed = overlay.command_json("peer", "renew", peer.directory)
    assert renewed["node_id"] == peer.node_id
    assert (peer.directory / "peer.crt").read_bytes() != old
    line = overlay.command_json("line", "renew", "alice", "--peer", peer.directory)
    assert line["node_id"] == peer.line("alice")["node_id"]
    peer.wait_placed("alice")
    overlay.wait_whole()
    for other in others:
        after = links(other)[peer.node_id]
        assert after["address"] == before[other.name]["address"]
        assert after["up_s"] >= before[other.name]["up_s"]
        (entry,) = other.lookup("alice")["entries"]
        assert entry["line"] == line["node_id"]
    # Who comes anew meets the new certificate.
    newcomer = overlay.add_peer()
    newcomer.run()
    overlay.wait_whole()
    newcomer.stop()
    overlay.peers.remove(newcomer)


def test_a_revoked_peer_is_cut_off_by_a_configuration_that_goes_round(overlay: LiveOverlay) -> None:
    """`overlay set bad-node+=`, `overlay push`: the others close their links, nobody restarts; its line goes too."""
    first, second, bad = overlay.peers
    club = overlay.directory / "overlay"
    line = bad.line("bob")["node_id"]
    overlay.command("overlay", "set", club, f"bad-node+={bad.node_id}", f"bad-node+={line}", "--sign")
    # Whether the one that is cut off has it as well, as one of the neighbours, is no matter.
    _said(overlay, "overlay", "push", club, "--peer", first.directory, "--wait", 0)
    for peer in (first, second):
        peer.daemon.wait_log("configuration changed")
        eventually("the link is closed", lambda peer=peer: bad.node_id not in links(peer))
        assert bad.node_id not in peer.status()["successors"]
        assert second.node_id in links(first)
    eventually("bob is nowhere", lambda: not _entries(overlay, first))
    # 5 s, at five times their value.
    eventually("who is shut out says so", lambda: "does not admit this peer" in bad.status()["trouble"], limit_s=25.0)
    assert "does not admit this peer" in _said(overlay, "status", "--peer", bad.directory)
    # Before it learns from the enrollment server that it is revoked, and ends.
    bad.stop()
    (entry,) = second.lookup("alice")["entries"]
    assert entry["peer"]


def _entries(overlay: LiveOverlay, peer: LivePeer) -> list[Any]:
    """Where calls to bob lead; none is no failure."""
    found: list[Any] = json.loads(_said(overlay, "lookup", "bob", "--peer", peer.directory, "--json"))["entries"]
    return found


def _said(overlay: LiveOverlay, *arguments: object) -> str:
    """What a command prints, whatever its exit status."""
    return overlay.run(*arguments)[1]
