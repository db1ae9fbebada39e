"""Phones that nobody here wrote have their calls picked up and parked, across two real peers, and hear each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import TALK_S, Baresip, hears, needs_baresip
from live_overlay import LiveOverlay, LivePeer, phone_password

pytestmark = [pytest.mark.slow, needs_baresip]

TONES = {"alice": 500, "bob": 700, "carol": 900}


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """Two peers; alice at one, bob and carol at the other."""
    with LiveOverlay(tmp_path_factory.mktemp("switched"), peers=2, users=tuple(TONES)) as overlay:
        here, there = overlay.peers
        overlay.add_lines([(here, "alice"), (there, "bob"), (there, "carol")])
        yield overlay


def phone(directory: Path, user: str, peer: LivePeer, *, answers: bool = True) -> Baresip:
    return Baresip(
        directory, user, server=peer.server, password=phone_password(user), plays=TONES[user], answers=answers
    )


def test_a_call_is_picked_up_at_another_phone(tmp_path: Path, overlay: LiveOverlay) -> None:
    here, there = overlay.peers
    with (
        phone(tmp_path, "alice", here) as alice,
        phone(tmp_path, "bob", there, answers=False) as bob,
        phone(tmp_path, "carol", there) as carol,
    ):
        alice.wait_registered(), bob.wait_registered(), carol.wait_registered()
        alice.dial(f"sip:bob@{here.server}")
        bob.wait("CALL_INCOMING")
        carol.dial(f"sip:**bob@{there.server}")
        carol.wait("CALL_ESTABLISHED")
        alice.wait("CALL_ESTABLISHED")
        bob.wait("CALL_CLOSED")
        alice.wait_heard(TALK_S), carol.wait_heard(TALK_S)
        alice.hang_up()
        carol.wait("CALL_CLOSED"), alice.wait("CALL_CLOSED")
        assert hears(alice, TONES["carol"])
        assert hears(carol, TONES["alice"])


def test_a_call_is_parked_and_taken_up_again(tmp_path: Path, overlay: LiveOverlay) -> None:
    here, there = overlay.peers
    with (
        phone(tmp_path, "alice", here) as alice,
        phone(tmp_path, "bob", there) as bob,
        phone(tmp_path, "carol", there) as carol,
    ):
        alice.wait_registered(), bob.wait_registered(), carol.wait_registered()
        alice.dial(f"sip:bob@{here.server}")
        alice.wait("CALL_ESTABLISHED"), bob.wait("CALL_ESTABLISHED")
        assert bob.command("transfer", f"sip:*851@{there.server}")["ok"]
        bob.wait("CALL_CLOSED")
        # The second one, with whoever has parked her.
        alice.wait("CALL_ESTABLISHED")
        carol.dial(f"sip:*851@{there.server}")
        carol.wait("CALL_ESTABLISHED")
        carol.wait_heard(TALK_S)
        carol.hang_up()
        carol.wait("CALL_CLOSED")
        alice.wait("CALL_CLOSED"), alice.wait("CALL_CLOSED")
        assert hears(carol, TONES["alice"])
        assert hears(alice, TONES["carol"]), "longer than the beep"
