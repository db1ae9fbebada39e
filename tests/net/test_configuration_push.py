"""A new configuration among running peers, as processes: pushed through one of them, followed by all, kept on disk."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually

from p2psip.daemon.control_client import ask_peer
from p2psip.reload.config.document import parse

pytestmark = pytest.mark.slow


def known(peer: LivePeer) -> dict[str, object]:
    """What a running peer says of its configuration."""
    answer = ask_peer(peer.directory, "configuration")
    assert isinstance(answer, dict)
    return answer


@pytest.mark.must("11.1/27", "6.3.2.1/1")
def test_a_push_reaches_three_peers_and_one_that_was_off(tmp_path: Path) -> None:
    with LiveOverlay(tmp_path, peers=4, users=("bob",)) as overlay:
        club, first, *_, last = (tmp_path / "overlay", *overlay.peers)
        last.stop()
        stale = shutil.copytree(club, tmp_path / "stale")
        overlay.command("overlay", "set", club, "--sign", "initial-ttl=50", "chord-ping-interval=60")
        said = overlay.command_json("overlay", "push", club, "--peer", first.directory)
        assert said["sequence"] == 2
        assert "copy " in _in_vain(overlay, "overlay", "push", stale, "--peer", first.directory)
        assert set(said["neighbors"].values()) == {2}
        assert len(said["neighbors"]) == 2
        for peer in overlay.running():
            assert known(peer)["sequence"] == 2
            assert parse((peer.directory / "config.xml").read_bytes()).configuration.initial_ttl == 50
        last.run()
        last.wait_joined()
        eventually("who was off has it too", lambda: known(last)["sequence"] == 2)
        overlay.wait_whole()
        # A Kind of its own goes round without a new configuration, and outlives a restart.
        kind = "0xF0000010:DICTIONARY:USER-NODE-MATCH:100:1000"
        overlay.command("overlay", "push", club, "--peer", first.directory, "--kind", kind)
        for peer in overlay.running():
            eventually("everybody knows the Kind", lambda peer=peer: "0xf0000010" in known(peer)["kinds"])  # type: ignore[misc]
        last.stop()
        last.run()
        last.wait_joined()
        status = last.status()
        assert status["configuration"] == 2
        assert "0xf0000010" in status["kinds"]
        # What another has signed is refused in one line.
        forged = tmp_path / "forged"
        overlay.command("overlay", "create", OVERLAY, forged, "--password-file", overlay.password_file("admin"))
        overlay.command("overlay", "set", forged, "--sign", "initial-ttl=9", "turn-density=9")
        overlay.command("overlay", "set", forged, "--sign", "initial-ttl=8")
        assert "not duly signed" in _in_vain(overlay, "overlay", "push", forged, "--peer", first.directory)
        assert known(first)["sequence"] == 2


def test_a_peer_that_cannot_follow_leaves_and_says_why(tmp_path: Path) -> None:
    with LiveOverlay(tmp_path, peers=2, users=("bob",)) as overlay:
        club, first = tmp_path / "overlay", overlay.peers[0]
        overlay.command("overlay", "set", club, "--sign", "mandatory-extension+=urn:example:unknown")
        said = _in_vain(overlay, "overlay", "push", club, "--peer", first.directory)
        assert "not capable of it: mandatory extension urn:example:unknown" in said
        for peer in overlay.peers:
            process = peer.daemon.process
            eventually("it has ended", lambda process=process: process.poll() is not None)  # type: ignore[misc]
            assert peer.daemon.end(signal.SIGTERM) == 1
            refusal = _in_vain(overlay, "peer", "run", peer.directory)
            assert "mandatory extension urn:example:unknown" in refusal
        overlay.peers.clear()


def _in_vain(overlay: LiveOverlay, *arguments: object) -> str:
    """A command that fails: the one line that it says."""
    status, _, errors = overlay.run(*arguments)
    assert status in (1, 2), errors
    return errors
