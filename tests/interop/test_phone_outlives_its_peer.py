"""A phone that nobody here wrote, at two real peers at once: it rings once, and goes on being called when one dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from live_overlay import OVERLAY, LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone

pytestmark = [pytest.mark.slow(40), needs_baresip]

PATIENCE_S = 40.0
QUIET_S = 5.0
"""Longer than the other way to a phone would wait."""


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LivePeer]]:
    """Alice is at the first; bob has lines at the other two."""
    with LiveOverlay(tmp_path_factory.mktemp("outlives"), peers=4, users=("alice", "bob")) as overlay:
        alices, *bobs, _ = overlay.peers
        overlay.add_lines([(alices, "alice"), *((peer, "bob") for peer in bobs)])
        yield overlay.peers


def bob_at(directory: Path, one: LivePeer, other: LivePeer) -> Baresip:
    """Registered at both, as an outbound phone with two proxies is (RFC 5626)."""
    account = f';sipnat=outbound;outbound="sip:{one.server};transport=udp";outbound2="sip:{other.server};transport=udp"'
    return Baresip(directory, "bob", server=OVERLAY, password=phone_password("bob"), account=account, answers=False)


def rings(bob: Baresip, alice: OurPhone) -> int:
    """How often bob's phone rings for one call, which he then refuses."""
    alice.command("call bob")
    bob.wait("CALL_INCOMING")
    time.sleep(QUIET_S)
    more = sum(event.get("type") == "CALL_INCOMING" for event in bob.events)
    bob.hang_up()
    alice.wait("ended")
    return 1 + more


@pytest.mark.parametrize("dies", [0, 1], ids=["its first peer", "its second peer"])
def test_baresip_at_two_peers(
    tmp_path: Path, peers: list[LivePeer], dies: int, record_property: Callable[[str, object], None]
) -> None:
    alices, *bobs, _ = peers
    with (
        OurPhone("alice", server=alices.server, password=phone_password("alice")) as alice,
        bob_at(tmp_path, bobs[0], bobs[1]) as bob,
    ):
        alice.wait("registered")
        for peer in bobs:
            peer.wait_phones("bob", 1)
            peer.wait_placed("bob")
        assert rings(bob, alice) == 1
        bobs[dies].kill()
        died_at = time.monotonic()
        alice.command("call bob")
        bob.wait("CALL_INCOMING", PATIENCE_S)
        record_property("gap_s", round(time.monotonic() - died_at, 1))
        bob.hang_up()
        alice.wait("ended")
        bobs[dies].run()
        bobs[dies].wait_joined()
        bobs[dies].wait_phones("bob", 1)
        assert rings(bob, alice) == 1, "back again"
