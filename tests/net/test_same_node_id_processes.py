"""A state directory is copied, and both run, as processes: named at both, and whole again when the copy is stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from free_ports import free_port
from live_overlay import HOST, OVERLAY, LiveOverlay, LivePeer, eventually

from p2psip.daemon.control_client import ask_peer

pytestmark = pytest.mark.slow

WHOLE_MAX_S = 5 * 10.0
"""Ten seconds, on a machine that is busy with something else."""


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """Three peers; bob has a line at the second."""
    with LiveOverlay(tmp_path_factory.mktemp("copied"), peers=3, users=("bob",)) as live:
        live.add_lines([(live.peers[1], "bob")])
        yield live


def copy_of(overlay: LiveOverlay, peer: LivePeer) -> LivePeer:
    """A peer with everything of the other's; it is to run at ports of its own."""
    copy = LivePeer(overlay, "copy", free_port(), peer.host)
    shutil.copytree(peer.directory, copy.directory, ignore=shutil.ignore_patterns("*.sock"))
    copy.node_id = peer.node_id
    return copy


def entries(peer: LivePeer) -> list[str]:
    found: Any = ask_peer(peer.directory, "lookup", uri=f"sip:bob@{OVERLAY}")
    return [entry["peer"] for entry in found["entries"]]


def test_both_say_so_and_the_true_peer_is_whole_when_the_copy_is_gone(overlay: LiveOverlay) -> None:
    first, true, third = overlay.peers
    copy = copy_of(overlay, true)
    ports = {"--overlay-port": copy.overlay_port, "--sip-port": copy.sip_port, "--phone-port": copy.phone_port}
    copy.run(*(str(each) for pair in ports.items() for each in pair))
    for peer in (true, copy):
        named = peer.daemon.wait_log("another machine has our Node-ID")
        assert HOST in named["remote"]
        eventually(f"{peer.name} says so", lambda peer=peer: HOST in peer.status()["same_node_id_at"])  # type: ignore[misc]
    said = overlay.command("status", "--peer", true.directory)
    assert "runs with a copy of this state directory: stop one of the two" in said
    copy.stop()
    for peer in (first, third):
        eventually(
            f"{peer.name} has the true peer beside it",
            lambda peer=peer: true.node_id in peer.status()["successors"],  # type: ignore[misc]
            WHOLE_MAX_S,
        )
        eventually("bob's record is there", lambda peer=peer: entries(peer) == [true.node_id], WHOLE_MAX_S)  # type: ignore[misc]
    overlay.wait_whole()
