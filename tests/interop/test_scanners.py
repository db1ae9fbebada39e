"""sipvicious against a peer: it finds that there is a SIP server, and neither lines nor passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_overlay import LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone
from sipvicious import needs_sipvicious, scan

pytestmark = [pytest.mark.slow(60), needs_sipvicious]


@pytest.fixture(scope="module")
def hill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePeer]:
    """A peer where alice, bob and 101 have lines."""
    with LiveOverlay(tmp_path_factory.mktemp("scanned"), peers=1, users=("alice", "bob", "101")) as overlay:
        (peer,) = overlay.peers
        overlay.add_lines([(peer, user) for user in ("alice", "bob", "101")])
        yield peer


def refusals(peer: LivePeer) -> int:
    """How many lines of the log say that somebody was refused."""
    return sum(1 for entry in peer.daemon.log if entry["event"] == "phone refused")


def test_svmap_sees_a_sip_server(hill: LivePeer) -> None:
    found, said = scan("svmap", hill.server)
    assert hill.server in found, said


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_svwar_finds_no_lines(hill: LivePeer, tmp_path: Path, method: str) -> None:
    """By numbers and by names: whoever is there is answered like those who are not, and no phone rings."""
    names = tmp_path / "names"
    names.write_text("".join(f"{name}\n" for name in ("alice", "bob", "carol", "dave", "admin", "test")))
    phone = OurPhone("alice", server=hill.server, password=phone_password("alice"))
    with phone as alice:
        alice.wait("registered")
        hill.daemon.wait_log("phone registered", contact=f"sip:alice@127.0.0.1:{alice.sip_port}")
        lines = len(hill.daemon.log)
        for which in (("-e", "90-190"), ("-d", str(names))):
            found, said = scan("svwar", hill.server, "--force", "-m", method, *which)
            assert found == {}, said
            assert "found nothing" in said
        assert len(hill.daemon.log) == lines, "and the log has not grown by it"
        alice.command("call *43")
        alice.wait("answered")
        assert [told for told in alice.told if told["event"] == "incoming"] == []
        alice.command("hangup")


def test_svcrack_guesses_no_password(hill: LivePeer, tmp_path: Path) -> None:
    """The right one is the fortieth: after twenty each waits for its turn, and it loses patience. The phone stays."""
    words = tmp_path / "words"
    words.write_text("".join(f"guess{number}\n" for number in range(39)) + f"{phone_password('bob')}\n")
    with OurPhone("bob", server=hill.server, password=phone_password("bob")) as bob:
        bob.wait("registered")
        before = refusals(hill)
        found, said = scan("svcrack", hill.server, "-u", "bob", "-d", str(words))
        assert "bob" not in found, said
        assert 0 < refusals(hill) - before < 39
        bob.command("call *43")
        bob.wait("answered")
        bob.command("hangup")
