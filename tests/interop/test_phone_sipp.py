"""Our phone and SIPp, nothing between."""

import time
from pathlib import Path

import pytest
from our_phone import OurPhone
from sipp import Account, answering, calling, needs_sipp

ANSWER_MS = 50

pytestmark = [pytest.mark.slow, needs_sipp]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_it_calls_us(tmp_path: Path, transport: str) -> None:
    with OurPhone("bob", registers=False, answer_ms=ANSWER_MS, transport=transport) as bob:
        account = Account(f"127.0.0.1:{bob.sip_port}", "sipp")
        caller = calling(tmp_path, account, bob.uri, calls=10, rate=5, transport=transport, at_once=3).run()
        assert len(caller.setup_ms()) == 10
        assert all(bob.wait("ended")["by"] == "them" for _ in range(10))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_we_call_it_and_hear_its_echo(tmp_path: Path, transport: str) -> None:
    with (
        answering(tmp_path, "bob", calls=1, transport=transport) as bob,
        OurPhone("alice", server=bob.address, registers=False, plays=440, transport=transport) as alice,
    ):
        alice.command("call bob")
        alice.wait("answered")
        time.sleep(1.0)
        alice.command("hangup")
        heard = alice.wait("heard")
        assert heard["frequency_hz"] == pytest.approx(440, abs=5)
        assert heard["duration_ms"] > 500
        bob.wait()
