"""Calls by way of other peers, as processes with real sockets, TLS and certificates: the commands of the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_overlay import OVERLAY, LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def phone(peer: LivePeer, user: str, **options: int) -> OurPhone:
    return OurPhone(user, server=peer.server, password=phone_password(user), **options)  # type: ignore[arg-type]


def talk(alice: OurPhone) -> None:
    """A call that is answered, and ended."""
    alice.command(f"call sip:bob@{OVERLAY}")
    alice.wait("answered")
    alice.command("hangup")
    alice.wait("ended")


def test_a_home_peer_is_chosen_and_calls_go_by_it(tmp_path: Path) -> None:
    with LiveOverlay(tmp_path, peers=3, users=["alice", "bob"], terms=["--calls-by", "home"]) as overlay:
        caller, callee, home = overlay.peers
        overlay.add_lines([(caller, "alice"), (callee, "bob")])
        said = overlay.command("line", "calls", "bob", "--home", home.node_id, "--peer", callee.directory)
        assert said == f"bob: home: {home.node_id}\n"
        with phone(caller, "alice") as alice, phone(callee, "bob", answer_ms=100) as bob:
            alice.wait("registered")
            bob.wait("registered")
            callee.wait_phones("bob", 1)
            for _ in range(20):
                # Until the record that leads by it is in the overlay.
                talk(alice)
                if home_carried(home):
                    break
            assert home_carried(home), "no call has come by it"
            overlay.command("overlay", "set", tmp_path / "overlay", "--sign", "calls-by=caller")
            overlay.command("overlay", "push", tmp_path / "overlay", "--peer", caller.directory)
            for peer in overlay.peers:
                peer.daemon.wait_log("configuration changed", sequence=2)
            before = home_carried(home)
            talk(alice)
            assert home_carried(home) == before


def home_carried(home: LivePeer) -> int:
    """How many calls a peer has carried."""
    return sum(line["event"] == "request carried" for line in home.daemon.log)
