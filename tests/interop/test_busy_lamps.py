"""Lamps, presence and waiting messages on phones that were not written here, through two peers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone
from sipp import Account, needs_sipp, watching

pytestmark = pytest.mark.slow

RING_MS = 3000
"""Longer than a second, within which what changes twice is told once."""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LivePeer, LivePeer]]:
    """Alice and carol live at the first peer, bob at the second."""
    hosts = ["127.0.1.1", "127.0.2.1"]
    users = ("alice", "bob", "carol")
    with LiveOverlay(tmp_path_factory.mktemp("lamps"), peers=2, users=users, hosts=hosts) as overlay:
        here, there = overlay.peers
        overlay.add_lines([(here, "alice"), (there, "bob"), (here, "carol")])
        yield here, there


def our_phone(peer: LivePeer, user: str, **options: object) -> OurPhone:
    return OurPhone(user, server=peer.server, password=phone_password(user), **options)  # type: ignore[arg-type]


def baresip(directory: Path, peer: LivePeer, user: str, **options: object) -> Baresip:
    return Baresip(directory, user, server=peer.server, password=phone_password(user), **options)  # type: ignore[arg-type]


def shown(phone: Baresip) -> str:
    """What it prints, without its colours; of a contact, from the second state on."""
    return re.sub(r"\x1b\[[0-9;]*m", "", phone.log)


@needs_sipp
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_lamp_for_somebody_at_another_peer(tmp_path: Path, sites: tuple[LivePeer, LivePeer], transport: str) -> None:
    here, there = sites
    account = Account(here.server, "alice", phone_password("alice"))
    with (
        our_phone(there, "bob", answer_ms=RING_MS) as bob,
        our_phone(here, "carol") as carol,
        watching(tmp_path, account, "bob", transport=transport) as lamp,
    ):
        bob.wait("registered"), carol.wait("registered")
        eventually("the lamp is known to bob's peer", lambda: there.status()["sip"]["subscriptions"] == 1)
        carol.command("call bob")
        carol.wait("answered")
        eventually("it has been lit", lambda: "confirmed<" in lamp.messages)
        carol.command("hangup")
        lamp.wait(120)
    assert there.status()["sip"]["subscriptions"] == 0


@needs_baresip
def test_baresip_shows_who_is_there(tmp_path: Path, sites: tuple[LivePeer, LivePeer]) -> None:
    here, there = sites
    book = f'"Bob" <sip:bob@{here.server}>;presence=p2p\n'
    with baresip(tmp_path, here, "alice", modules=("presence",), contacts=book) as alice:
        alice.wait_registered()
        with our_phone(there, "bob") as bob:
            bob.wait("registered")
            eventually("alice is told that bob is there", lambda: "<basic>open<" in alice.log)
            bob.command("unregister")
            bob.wait("unregistered")
            eventually("alice sees that bob is away", lambda: "from Online to Offline" in shown(alice))
            bob.command("register")
            bob.wait("registered")
            eventually("alice sees that bob is there", lambda: "from Offline to Online" in shown(alice))


@needs_baresip
def test_baresip_says_that_it_is_away_and_others_see_it(tmp_path: Path, sites: tuple[LivePeer, LivePeer]) -> None:
    """PUBLISH, as its account says."""
    here, there = sites
    book = f'"Bob" <sip:bob@{here.server}>;presence=p2p\n'
    with (
        baresip(tmp_path, there, "bob", modules=("presence",), account=";pubint=60") as bob,
        baresip(tmp_path, here, "alice", modules=("presence",), contacts=book) as alice,
    ):
        alice.wait_registered(), bob.wait_registered()
        eventually("alice is told that bob is there", lambda: "<basic>open<" in alice.log)
        eventually("bob has published", lambda: there.status()["sip"]["publications"] >= 1)
        bob.command("presence_offline")
        eventually("alice sees that bob is away", lambda: "from Online to Offline" in shown(alice))
