"""One process in two overlays, on loopback sockets: phones that register once reach the users of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone

pytestmark = pytest.mark.slow(40)

MESH = "mesh.example"


class TwoOverlays(NamedTuple):
    """The peers of the site, which are one process, and one of each overlay elsewhere."""

    ours: LiveOverlay
    mesh: LiveOverlay
    hill: LivePeer
    beside: LivePeer
    valley: LivePeer
    far: LivePeer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoOverlays]:
    directory = tmp_path_factory.mktemp("site")
    with (
        LiveOverlay(directory / "ours", peers=2, users=("alice", "bob")) as ours,
        LiveOverlay(directory / "mesh", peers=2, users=("alice", "carol", "bob"), name=MESH) as mesh,
    ):
        (valley, hill), (far, beside) = ours.peers, mesh.peers
        made = TwoOverlays(ours, mesh, hill, beside, valley, far)
        beside.stop(), hill.stop()
        text = f'[overlays]\n"{MESH}" = "{beside.directory}"\n\n[[ask]]\npattern = "bo."\noverlays = ["{MESH}"]\n'
        (hill.directory / "overlays.toml").write_text(text)
        hill.run()
        ours.wait_whole()
        eventually("the site is in both", lambda: hill.status()["overlays"][0]["neighbors"] == 1)
        ours.add_lines([(hill, "alice"), (valley, "bob")])
        mesh.add_lines([(beside, "alice"), (far, "carol"), (far, "bob")])
        yield made


def phone(peer: LivePeer, user: str, tone: float = 440) -> OurPhone:
    return OurPhone(user, server=peer.server, password=phone_password(user), plays=tone, answer_ms=100)


def call(caller: OurPhone, dialled: str, callee: OurPhone) -> str:
    """A call that is answered, and hung up by who was called; what the phone said of who called."""
    caller.command(f"call {dialled}")
    incoming = callee.wait("incoming")
    caller.wait("answered"), callee.wait("answered")
    callee.command("hangup")
    caller.wait("ended"), callee.wait("ended")
    return str(incoming)


def test_a_phone_calls_by_domain_by_rule_and_by_default_and_is_called_back(site: TwoOverlays) -> None:
    with (
        phone(site.hill, "alice") as alice,
        phone(site.far, "carol", 550) as carol,
        phone(site.far, "bob", 660) as bob,
    ):
        for each in (alice, carol, bob):
            each.wait("registered")
        for dialled, callee in ((f"sip:carol@{MESH}", carol), ("carol", carol), ("bob", bob)):
            # Her line there has signed for her.
            incoming = call(alice, dialled, callee)
            assert "alice@" in incoming
            assert "Not verified" not in incoming
        assert f"carol@{MESH}" in call(carol, "alice", alice)


def test_status_and_explain_tell_of_both(site: TwoOverlays) -> None:
    (told,) = site.hill.status()["overlays"]
    assert (told["overlay"], told["member"], told["lines"]) == (MESH, True, [f"alice@{MESH}"])
    assert told["directory"] == str(site.beside.directory)
    # Each has its own directory, by which the commands reach it.
    assert site.beside.status()["overlays"][0]["overlay"] == OVERLAY
    words = site.ours.command("status", "--peer", site.hill.directory)
    assert f"also in {MESH}: 1 neighbour; lines alice@{MESH}" in words
    explained = site.ours.command("dial", "--explain", "bob", "--as", "alice", "--peer", site.hill.directory)
    assert f"goes to overlay {MESH}" in explained


def test_the_other_overlay_dies_and_ours_goes_on(site: TwoOverlays) -> None:
    with phone(site.hill, "alice") as alice, phone(site.valley, "bob", 660) as bob:
        alice.wait("registered"), bob.wait("registered")
        site.far.kill()
        alice.command(f"call sip:carol@{MESH}")
        assert alice.wait("ended")["status"] in (404, 480)
        # The rule for such names leads to the other one, but for who says which he means.
        call(alice, f"sip:bob@{OVERLAY}", bob)
        call(bob, "alice", alice)
