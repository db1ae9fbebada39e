"""A phone that nobody here wrote forwards its calls by dialling, across real peers, and its peer is switched off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password

pytestmark = [pytest.mark.slow, needs_baresip]


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """Four peers; alice, bob and carol each at one of her own. 42 is carol on bob's phones."""
    users = ("alice", "bob", "carol")
    with LiveOverlay(tmp_path_factory.mktemp("codes"), peers=4, users=users) as overlay:
        _, at_bob, *_ = overlay.peers
        (at_bob.directory / "dialplan.toml").write_text('[extensions]\n42 = "carol"\n')
        overlay.add_lines(zip(overlay.peers, users, strict=False))
        at_bob.stop()
        at_bob.run()
        overlay.wait_whole()
        yield overlay


def dials(phone: Baresip, target: str, peer: LivePeer) -> None:
    """Dial a code, and wait until the peer has answered and hung up."""
    phone.dial(f"sip:{target}@{peer.server}")
    phone.wait("CALL_ESTABLISHED")
    phone.wait("CALL_CLOSED")


def reaches(caller: Baresip, server: str, callee: Baresip) -> None:
    """A call for bob is answered by this phone."""
    caller.dial(f"sip:bob@{server}")
    callee.wait("CALL_ESTABLISHED")
    caller.wait("CALL_ESTABLISHED")
    caller.hang_up()
    callee.wait("CALL_CLOSED")
    caller.wait("CALL_CLOSED")


def test_forwarding_by_star_code(tmp_path: Path, overlay: LiveOverlay) -> None:
    at_alice, at_bob, at_carol, _ = overlay.peers
    with ExitStack() as stack:

        def phone(peer: LivePeer, user: str) -> Baresip:
            one = stack.enter_context(Baresip(tmp_path, user, server=peer.server, password=phone_password(user)))
            one.wait_registered()
            return one

        alice, bob, carol = phone(at_alice, "alice"), phone(at_bob, "bob"), phone(at_carol, "carol")
        reaches(alice, at_alice.server, bob)
        dials(bob, "*7242", at_bob)
        assert at_bob.line("bob")["calls"] == ["always: forwarded to carol"]
        eventually("the record leads to carol", lambda: "aor" in at_alice.lookup("bob")["entries"][0])
        reaches(alice, at_alice.server, carol)
        # With its peer off nobody has to be asked.
        at_bob.stop()
        reaches(alice, at_alice.server, carol)
        at_bob.run()
        at_bob.wait_joined()
        assert at_bob.line("bob")["calls"] == ["always: forwarded to carol"]
        eventually("bob is registered again", lambda: at_bob.line("bob")["phones"])
        reaches(alice, at_alice.server, carol)
        dials(bob, "*73", at_bob)
        eventually("the record leads to bob's peer", lambda: "peer" in at_alice.lookup("bob")["entries"][0])
        reaches(alice, at_alice.server, bob)


def test_who_does_not_want_to_be_disturbed_is_busy(tmp_path: Path, overlay: LiveOverlay) -> None:
    at_alice, at_bob, *_ = overlay.peers
    with (
        Baresip(tmp_path, "alice", server=at_alice.server, password=phone_password("alice")) as alice,
        Baresip(tmp_path, "bob", server=at_bob.server, password=phone_password("bob")) as bob,
    ):
        alice.wait_registered(), bob.wait_registered()
        dials(bob, "*78", at_bob)
        alice.dial(f"sip:bob@{at_alice.server}")
        assert alice.wait("CALL_CLOSED")["param"].startswith("486")
        dials(bob, "*79", at_bob)
        reaches(alice, at_alice.server, bob)


def test_what_would_happen_is_what_the_running_peer_says(overlay: LiveOverlay) -> None:
    _, at_bob, at_carol, _ = overlay.peers
    found = overlay.command_json("dial", "--explain", "42", "--as", "bob", "--peer", at_bob.directory)
    assert (found["line"], found["user"]) == ("bob", "carol")
    (place,) = found["places"]
    assert at_carol.name in place
