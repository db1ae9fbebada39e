"""Debian's rtpengine in the relay's place: what two phones of one peer say goes through it, as long as it is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import Baresip, hears, needs_baresip, talk
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from rtpengine import RtpengineProcess, needs_rtpengine

pytestmark = [pytest.mark.slow, needs_rtpengine, needs_baresip]

ANSWERS, SILENT = "media engine answers", "media engine does not answer"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePeer]:
    """A peer with two lines, made on loopback and stopped."""
    with LiveOverlay(tmp_path_factory.mktemp("live"), peers=1, users=("alice", "bob")) as live:
        (peer,) = live.peers
        live.add_lines([(peer, "alice"), (peer, "bob")])
        peer.stop()
        yield peer


def baresip(directory: Path, peer: LivePeer, user: str, plays: int) -> Baresip:
    return Baresip(directory, user, server=peer.server, password=phone_password(user), plays=plays)


def test_both_hear_each_other_through_the_engine_and_without_it_when_it_has_died(
    tmp_path: Path, peer: LivePeer
) -> None:
    with RtpengineProcess(tmp_path) as engine:
        peer.run("--first", "--media", "anchor", "--media-engine", str(engine.address))
        try:
            peer.wait_joined()
            peer.daemon.wait_log(ANSWERS)
            label = f"rtpengine at {engine.address}"
            assert peer.status()["media_engine"] == {"engine": label, "state": "answers", "calls": 0}
            with baresip(tmp_path, peer, "bob", 700) as bob, baresip(tmp_path, peer, "alice", 500) as alice:
                bob.wait_registered(), alice.wait_registered()
                talk(alice, bob, peer.server)
                assert hears(alice, 700)
                assert hears(bob, 500)
                told = peer.daemon.wait_log("media carried", by=label)
                assert told["until"] == "hung up"
                for side in ("alice (127.0.0.1): ", "bob (127.0.0.1): "):
                    (figures,) = [each for each in told["media"].split("; ") if each.startswith(f"audio of {side}")]
                    assert int(figures.removeprefix(f"audio of {side}").split()[0]) > 50
                    assert figures.endswith("packets, 0 dropped")
                eventually("the engine has forgotten the call", lambda: not engine.calls())

                alice.dial(f"sip:bob@{peer.server}")
                alice.wait("CALL_ESTABLISHED")
                eventually("the call is in the engine", engine.calls)
                engine.kill()
                peer.daemon.wait_log(SILENT)
                alice.hang_up()
                bob.wait("CALL_CLOSED")
                assert peer.status()["media_engine"] == {"engine": label, "state": "does not answer", "calls": 0}

                talk(alice, bob, peer.server)
                assert hears(alice, 700)
                assert hears(bob, 500)

                engine.start()
                eventually("the engine is asked again", lambda: peer.status()["media_engine"]["state"] == "answers")
                talk(alice, bob, peer.server)
                assert hears(alice, 700)
                assert hears(bob, 500)
        finally:
            peer.stop()
