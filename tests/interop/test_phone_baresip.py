"""Our phone and baresip call each other, nothing between: two SIP stacks that do not know each other."""

from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from our_phone import OurPhone

pytestmark = [pytest.mark.slow, needs_baresip]

TALK_S = 1.2


def is_tone(frequency_hz: float, told: dict[str, object]) -> bool:
    return told["frequency_hz"] == pytest.approx(frequency_hz, abs=5)


def our_alice(bob: Baresip, plays: float = 440, transport: str = "udp") -> OurPhone:
    """Our phone, that takes baresip for its server."""
    return OurPhone("alice", server=bob.address, registers=False, plays=plays, transport=transport)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_we_call_and_hang_up(tmp_path: Path, transport: str) -> None:
    with Baresip(tmp_path, "bob", plays=700, transport=transport) as bob:
        with our_alice(bob, plays=440, transport=transport) as alice:
            alice.command(f"call {bob.uri};transport={transport}")
            alice.wait("answered")
            bob.wait_heard(TALK_S)
            alice.command("hangup")
            heard = alice.wait("heard")
            assert alice.wait("ended")["by"] == "us"
        assert bob.wait("CALL_CLOSED")
        assert is_tone(700, heard)
        assert heard["duration_ms"] > TALK_S * 1000 / 2
        assert (tone := bob.heard())
        assert tone.frequency_hz == pytest.approx(440, abs=5)
        assert tone.duration_ms > TALK_S * 1000 / 2


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_it_calls_and_hangs_up(tmp_path: Path, transport: str) -> None:
    with (
        OurPhone("alice", registers=False, plays=440, answer_ms=200, transport=transport) as alice,
        Baresip(tmp_path, "bob", plays=700, transport=transport) as bob,
    ):
        bob.dial(f"{alice.uri};transport={transport}")
        bob.wait("CALL_RINGING")
        bob.wait("CALL_ESTABLISHED")
        bob.wait_heard(TALK_S)
        bob.hang_up()
        assert is_tone(700, alice.wait("heard"))
        assert alice.wait("ended")["by"] == "them"
        assert (tone := bob.heard())
        assert tone.frequency_hz == pytest.approx(440, abs=5)


def test_its_echo_brings_our_tone_back(tmp_path: Path) -> None:
    with Baresip(tmp_path, "bob", plays=None) as bob, our_alice(bob, plays=440) as alice:
        alice.command(f"call {bob.uri}")
        alice.wait("answered")
        bob.wait_heard(TALK_S)
        alice.command("hangup")
        assert is_tone(440, alice.wait("heard"))


def test_it_knows_only_a_law(tmp_path: Path) -> None:
    with Baresip(tmp_path, "bob", plays=700, codecs="PCMA/8000/1") as bob, our_alice(bob) as alice:
        alice.command(f"call {bob.uri}")
        assert alice.wait("answered")["codec"] == "PCMA"
        bob.wait_heard(TALK_S)
        alice.command("hangup")
        assert is_tone(700, alice.wait("heard"))


def test_we_hold_and_resume(tmp_path: Path) -> None:
    with Baresip(tmp_path, "bob", plays=700) as bob, our_alice(bob) as alice:
        alice.command(f"call {bob.uri}")
        alice.wait("answered")
        alice.command("hold 1")
        assert alice.wait("media_changed")["direction"] in ("sendonly", "inactive")
        alice.command("resume 1")
        assert alice.wait("media_changed")["direction"] == "sendrecv"
        alice.command("hangup")
        alice.wait("ended")


def test_it_holds_and_resumes(tmp_path: Path) -> None:
    with Baresip(tmp_path, "bob", plays=700) as bob, our_alice(bob) as alice:
        alice.command(f"call {bob.uri}")
        alice.wait("answered")
        bob.wait("CALL_ESTABLISHED")
        bob.command("hold")
        assert alice.wait("media_changed")["direction"] in ("recvonly", "inactive")
        bob.command("resume")
        assert alice.wait("media_changed")["direction"] == "sendrecv"
        alice.command("hangup")
        alice.wait("ended")


def test_we_cancel(tmp_path: Path) -> None:
    with Baresip(tmp_path, "bob", answers=False) as bob, our_alice(bob) as alice:
        alice.command(f"call {bob.uri}")
        alice.wait("ringing")
        alice.command("hangup")
        alice.wait("ended")
        assert bob.wait("CALL_CLOSED")


def test_it_cancels(tmp_path: Path) -> None:
    with OurPhone("alice", registers=False) as alice, Baresip(tmp_path, "bob") as bob:
        bob.dial(alice.uri)
        alice.wait("incoming")
        bob.hang_up()
        assert alice.wait("ended")["reason"].startswith("cancelled")


def test_each_refuses(tmp_path: Path) -> None:
    with Baresip(tmp_path, "bob", answers=False) as bob, our_alice(bob) as alice:
        alice.command(f"call {bob.uri}")
        alice.wait("ringing")
        bob.hang_up()
        assert alice.wait("ended")["status"] in (486, 603, 480)
        bob.wait("CALL_CLOSED")
        bob.dial(alice.uri)
        alice.command(f"reject {alice.wait('incoming')['call']} 486")
        assert "486" in bob.wait("CALL_CLOSED")["param"]
