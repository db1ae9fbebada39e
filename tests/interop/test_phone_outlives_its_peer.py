"""A phone that nobody here wrote, at two real peers at once: it rings once, and goes on being called when one dies."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from linphone import Linphone, needs_linphone
from live_overlay import OVERLAY, LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone

pytestmark = [pytest.mark.slow(70), needs_baresip, needs_linphone]

USERS = ("bob", "carol")
"""Each has another phone."""

PATIENCE_S = 40.0
QUIET_S = 5.0
"""Longer than the other way to a phone would wait."""


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LivePeer]]:
    """Alice is at the first; bob and carol have lines at the next two."""
    with LiveOverlay(tmp_path_factory.mktemp("outlives"), peers=4, users=("alice", *USERS)) as overlay:
        alices, *both, _ = overlay.peers
        overlay.add_lines([(alices, "alice"), *((peer, user) for peer in both for user in USERS)])
        yield overlay.peers


def baresip_at(directory: Path, one: LivePeer, other: LivePeer) -> Baresip:
    """Registered at both, as an outbound phone with two proxies is (RFC 5626)."""
    account = f';sipnat=outbound;outbound="sip:{one.server};transport=udp";outbound2="sip:{other.server};transport=udp"'
    return Baresip(directory, "bob", server=OVERLAY, password=phone_password("bob"), account=account, answers=False)


def linphone_at(directory: Path, one: LivePeer, other: LivePeer) -> Linphone:
    """With two accounts, one at each."""
    return Linphone(directory, "carol", server=one.server, also=other.server, password=phone_password("carol"))


class Ringing:
    """What is the same of both."""

    def __init__(self, phone: Baresip | Linphone) -> None:
        self._phone = phone

    def wait(self) -> None:
        """Until it rings."""
        if isinstance(self._phone, Baresip):
            self._phone.wait("CALL_INCOMING", PATIENCE_S)
        else:
            self._phone.wait_incoming()

    def more(self) -> int:
        """How often it has rung since."""
        if isinstance(self._phone, Baresip):
            return sum(event.get("type") == "CALL_INCOMING" for event in self._phone.events)
        return len(re.findall("Receiving new incoming call", self._phone.unread))


def rings(callee: Baresip | Linphone, alice: OurPhone) -> int:
    """How often a phone rings for one call, which it then refuses."""
    alice.command(f"call {callee.user}")
    ringing = Ringing(callee)
    ringing.wait()
    time.sleep(QUIET_S)
    more = ringing.more()
    callee.hang_up()
    alice.wait("ended")
    return 1 + more


@pytest.mark.parametrize(
    ("make", "dies"),
    [(baresip_at, 0), (baresip_at, 1), (linphone_at, 0)],
    ids=["baresip, its first peer", "baresip, its second peer", "linphone, its first peer"],
)
def test_a_phone_at_two_peers(
    tmp_path: Path,
    peers: list[LivePeer],
    dies: int,
    make: Callable[[Path, LivePeer, LivePeer], Baresip | Linphone],
    record_property: Callable[[str, object], None],
) -> None:
    alices, *both, _ = peers
    with (
        OurPhone("alice", server=alices.server, password=phone_password("alice")) as alice,
        make(tmp_path, both[0], both[1]) as callee,
    ):
        alice.wait("registered")
        for peer in both:
            peer.wait_phones(callee.user, 1)
            peer.wait_placed(callee.user)
        assert rings(callee, alice) == 1
        both[dies].kill()
        died_at = time.monotonic()
        alice.command(f"call {callee.user}")
        Ringing(callee).wait()
        record_property("gap_s", round(time.monotonic() - died_at, 1))
        callee.hang_up()
        alice.wait("ended")
        both[dies].run()
        both[dies].wait_joined()
        both[dies].wait_phones(callee.user, 1)
        assert rings(callee, alice) == 1, "back again"
