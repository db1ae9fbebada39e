"""What a dead peer costs a caller, on real sockets: the bounds of tests/unit/coupling/test_dead_peers.py, five times.

A process that is stopped is a machine without power: its kernel still takes bytes, and nobody says a word.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone

pytestmark = [pytest.mark.slow(40), pytest.mark.timeout(600)]

NOTICED_S = 5 * 3.0
NOT_NOTICED_S = 5 * 8.0


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[LiveOverlay]:
    with LiveOverlay(tmp_path, peers=4, users=["alice", "bob"]) as live:
        live.add_lines([(live.peers[0], "alice"), (live.peers[1], "bob")])
        yield live


def phone(peer: LivePeer, user: str, **options: int) -> OurPhone:
    return OurPhone(user, server=peer.server, password=phone_password(user), **options)  # type: ignore[arg-type]


def call_in_vain(alice: OurPhone) -> tuple[str, float]:
    """What alice is told, and after how long."""
    began = time.monotonic()
    alice.command(f"call sip:bob@{OVERLAY}")
    ended = alice.wait("ended")
    return str(ended["reason"]), time.monotonic() - began


def has_noticed(overlay: LiveOverlay, dead: LivePeer) -> None:
    others = [peer for peer in overlay.running() if peer is not dead]

    def neighbours(peer: LivePeer) -> list[str]:
        status = peer.status()
        return [*status["successors"], *status["predecessors"]]

    eventually("the ring has closed over the dead peer", lambda: all(dead.node_id not in neighbours(p) for p in others))


@pytest.mark.parametrize("is_connected", [False, True])
def test_a_peer_without_power(overlay: LiveOverlay, is_connected: bool, record_property: pytest.RecordProperty) -> None:
    """Before it is noticed, and after; with and without a SIP connection that does not know."""
    bobs = overlay.peers[1]
    with phone(overlay.peers[0], "alice") as alice, phone(bobs, "bob", answer_ms=100) as bob:
        alice.wait("registered")
        bob.wait("registered")
        bobs.wait_phones("bob", 1)
        if is_connected:
            alice.command(f"call sip:bob@{OVERLAY}")
            alice.wait("answered")
            alice.command("hangup")
            alice.wait("ended")
        bobs.daemon.process.send_signal(signal.SIGSTOP)
        try:
            figures = [call_in_vain(alice)]
            has_noticed(overlay, bobs)
            figures += [call_in_vain(alice) for _ in range(2)]
        finally:
            bobs.daemon.process.send_signal(signal.SIGCONT)
        record_property("seconds", [round(after_s, 2) for _, after_s in figures])
        print(figures)
        # One reason, and that he has no mailbox where no peer was asked: the dead one may have bob's record as well.
        reasons = [reason.removesuffix("; bob takes no messages") for reason, _ in figures]
        assert all(reason.startswith("480 ") and reason.count(";") == 1 for reason in reasons), figures
        assert figures[0][1] < NOT_NOTICED_S
        assert all(after_s < NOTICED_S for _, after_s in figures[1:]), figures
        assert figures[-1][0].endswith("is not in the overlay")
