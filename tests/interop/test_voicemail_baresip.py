"""One phone leaves a message, another hears it, with two of the three peers dead that kept it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import Baresip, hears, needs_baresip
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually, phone_password

from p2psip.reload.topology.chord.ring import hash_name

pytestmark = [pytest.mark.slow, needs_baresip]

SPOKEN_S = 5.0


def keepers_of(overlay: LiveOverlay, user: str) -> list[LivePeer]:
    """The three that keep the mailbox of a user: the first that follow its place on the ring (RFC 6940 10.4)."""
    place = hash_name(f"{user}@{OVERLAY}".encode()).hex()
    return sorted(overlay.peers, key=lambda peer: (peer.node_id < place, peer.node_id))[:3]


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """Five peers: three keep bob's mailbox, at the other two are alice and bob."""
    users = ("alice", "bob")
    with LiveOverlay(tmp_path_factory.mktemp("mail"), peers=5, users=users) as overlay:
        keepers = keepers_of(overlay, "bob")
        others = [peer for peer in overlay.peers if peer not in keepers]
        overlay.add_lines(zip(others, users, strict=True))
        overlay.wait_whole()
        yield overlay


def phone(directory: Path, peer: LivePeer, user: str, **options: object) -> Baresip:
    return Baresip(directory, user, server=peer.server, password=phone_password(user), **options)  # type: ignore[arg-type]


def mailbox(overlay: LiveOverlay, peer: LivePeer) -> list[dict[str, object]]:
    """What waits for bob, as he is told on the machine of his peer."""
    found = overlay.command_json("voicemail", "list", "bob", "--peer", peer.directory)
    return list(found["messages"])


def shown(one: Baresip) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", one.log)


def test_left_kept_by_one_of_three_lit_heard_downloaded_deleted(tmp_path: Path, overlay: LiveOverlay) -> None:
    keepers = keepers_of(overlay, "bob")
    at_alice, at_bob = (peer for peer in overlay.peers if peer not in keepers)
    with phone(tmp_path / "first", at_bob, "bob") as bob:
        bob.wait_registered()
        bob.dial(f"sip:*97@{at_bob.server}")
        bob.wait("CALL_ESTABLISHED")
        bob.hang_up()
    eventually("bob takes messages", lambda: "takes messages" in at_bob.line("bob")["calls"])
    eventually("he is away", lambda: not at_bob.line("bob")["phones"])
    with phone(tmp_path, at_alice, "alice", plays=700) as alice:
        alice.wait_registered()

        def speaks() -> bool:
            """True if a machine has answered; the overlay may not know yet that bob takes messages."""
            alice.dial(f"sip:bob@{at_alice.server}")
            return alice.wait_any("CALL_ESTABLISHED", "CALL_CLOSED", timeout_s=60.0)["type"] == "CALL_ESTABLISHED"

        eventually("there is a machine", speaks)
        alice.wait_heard(1.5 + SPOKEN_S)
        alice.hang_up()
    eventually("it waits", lambda: len(mailbox(overlay, at_bob)) == 1)
    (message,) = mailbox(overlay, at_bob)
    assert (message["from"], message["new"]) == ("alice", True)
    for keeper in keepers[:2]:
        keeper.kill()
    with phone(tmp_path, at_bob, "bob", modules=("mwi",)) as bob:
        bob.wait_registered()
        eventually("the lamp shines", lambda: "Messages-Waiting: yes" in shown(bob) or "new" in shown(bob))
        bob.dial(f"sip:*97@{at_bob.server}")
        bob.wait("CALL_ESTABLISHED")
        bob.wait_heard(4.0 + SPOKEN_S)
        bob.hang_up()
        assert hears(bob, 700)
    file = tmp_path / "message.wav"
    overlay.command("voicemail", "get", "bob", str(message["id"])[-8:], file, "--peer", at_bob.directory)
    assert file.stat().st_size > SPOKEN_S * 7500
    assert file.read_bytes()[20:22] == b"\x07\x00", "mu-law"
    overlay.command("voicemail", "delete", "bob", str(message["id"]), "--peer", at_bob.directory)
    assert mailbox(overlay, at_bob) == []
