"""An overlay of two domains as an operator sets it up: by the command line, with phones at peers that run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone

pytestmark = [pytest.mark.slow(40), needs_baresip]

FURTHER = "club-b.example"
NAMESAKE = f"alice@{FURTHER}"


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LivePeer]]:
    """alice and her namesake live at the first, bob at the second."""
    with LiveOverlay(tmp_path_factory.mktemp("domains"), peers=2, users=("alice", "bob")) as overlay:
        club = overlay.directory / "overlay"
        patterns = f"domain-restriction={OVERLAY},{FURTHER}".replace(".", r"\.")
        overlay.command("overlay", "set", club, patterns, "--sign")
        overlay.command("overlay", "push", club, "--peer", overlay.peers[0].directory)
        eventually("both know of it", lambda: len({peer.status()["configuration"] for peer in overlay.peers}) == 1)
        for peer in overlay.peers:
            peer.stop()
            peer.run()
        overlay.wait_whole()
        overlay.add_user(NAMESAKE)
        hill, valley = overlay.peers
        hill.add_line(NAMESAKE)
        overlay.add_lines([(hill, "alice"), (valley, "bob")])
        yield overlay.peers


def namesake_at(directory: Path, peer: LivePeer) -> Baresip:
    """Set to its domain, with the peer as outbound proxy."""
    account = f';outbound="sip:{peer.server};transport=udp"'
    return Baresip(directory, "alice", server=FURTHER, password=phone_password(NAMESAKE), account=account)


def test_baresip_of_a_further_domain_is_called_by_its_aor_and_calls_back(tmp_path: Path, peers: list[LivePeer]) -> None:
    hill, valley = peers
    with (
        OurPhone("alice", server=hill.server, password=phone_password("alice"), answer_ms=100) as alice,
        OurPhone("bob", server=valley.server, password=phone_password("bob"), answer_ms=100) as bob,
        namesake_at(tmp_path, hill) as namesake,
    ):
        alice.wait("registered"), bob.wait("registered"), namesake.wait_registered()
        bob.command(f"call sip:{NAMESAKE}")
        namesake.wait("CALL_ESTABLISHED")
        bob.command("hangup")
        bob.wait("ended"), namesake.wait("CALL_CLOSED")
        bob.command("call alice")
        alice.wait("answered")
        bob.command("hangup")
        alice.wait("ended"), bob.wait("ended")
        namesake.dial(f"sip:bob@{OVERLAY}")
        shown = str(bob.wait("incoming"))
        assert f"alice%40{FURTHER}@{valley.host}" in shown, shown
        namesake.wait("CALL_ESTABLISHED")
        namesake.hang_up()
        bob.wait("ended")


def test_each_line_is_listed_by_its_aor_and_looked_up_by_it(peers: list[LivePeer]) -> None:
    hill, valley = peers
    overlay = hill._overlay
    listed = overlay.command_json("line", "list", "--peer", hill.directory)
    assert [line["user"] for line in listed] == [f"alice@{OVERLAY}", NAMESAKE]
    found = overlay.command_json("lookup", f"sip:{NAMESAKE}", "--peer", valley.directory)
    assert hill.node_id in str(found)
    explained = overlay.command_json("dial", "--explain", f"sip:{NAMESAKE}", "--as", "bob", "--peer", valley.directory)
    assert not explained["refused"], explained
    overlay.command("line", "forward", "alice", "busy", NAMESAKE, "--peer", hill.directory)
    assert NAMESAKE in str(overlay.command_json("line", "calls", "alice", "--peer", hill.directory))
    refused = overlay.run("user", "add", "42@club-b.example", "--overlay", overlay.directory / "overlay")
    assert refused[0] == 2 or "not digits alone" in refused[2], refused
