"""SIPp with its own scenarios, `uac` and `uas`, against a peer: as who tries one out for the first time runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from free_ports import free_port, is_bound
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone
from sipp import Account, needs_sipp, registering

pytestmark = [pytest.mark.slow, needs_sipp]

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePeer]:
    with LiveOverlay(tmp_path_factory.mktemp("sipp"), peers=1, users=("alice", "bob")) as live:
        (peer,) = live.peers
        live.add_lines([(peer, "alice"), (peer, "bob")])
        yield peer


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_its_uas_is_called(tmp_path: Path, peer: LivePeer, transport: str) -> None:
    """Its 200 has no Record-Route, against 12.1.1: what belongs to the dialog finds it by the Contact that we have made
    of its own.
    """
    port = free_port()
    mode = "u1" if transport == "udp" else "t1"
    command = ["sipp", "-sn", "uas", "-i", HERE, "-p", str(port), "-m", "1", "-t", mode, "-nostdin", "-timeout", "100s"]
    with (tmp_path / "screen").open("wb") as screen:
        uas = subprocess.Popen(command, cwd=tmp_path, stdout=screen, stderr=screen)
    try:
        eventually("SIPp listens", lambda: is_bound(port))
        account = Account(peer.server, "bob", phone_password("bob"))
        registering(tmp_path, account, f"{HERE}:{port}", transport=transport).run()
        peer.wait_phones("bob", 1)
        with OurPhone("alice", server=peer.server, password=phone_password("alice")) as alice:
            alice.wait("registered")
            alice.command("call bob")
            alice.wait("answered")
            alice.command("hangup")
            alice.wait("ended")
        assert uas.wait(100) == 0, (tmp_path / "screen").read_text(errors="replace")[-2000:]
    finally:
        if uas.poll() is None:
            uas.kill()
            uas.wait()
        registering(tmp_path, account, f"{HERE}:{port}", transport=transport, expires_s=0).run()


def test_its_uac_has_no_password_and_makes_nobody_ring(tmp_path: Path, peer: LivePeer) -> None:
    with OurPhone("bob", server=peer.server, password=phone_password("bob"), answer_ms=0) as bob:
        bob.wait("registered")
        command = ["sipp", "-sn", "uac", "-s", "bob", "-i", HERE, "-p", str(free_port()), "-m", "1", "-nostdin"]
        done = subprocess.run(
            [*command, "-trace_err", "-timeout", "60s", peer.server],
            cwd=tmp_path,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode != 0
        (errors,) = tmp_path.glob("uac_*_errors.log")
        assert "SIP/2.0 407 Proxy Authentication Required" in errors.read_text(errors="replace")
        bob.command("call *43")
        bob.wait("answered")
        assert [told for told in bob.told if told["event"] == "incoming"] == []
        bob.command("hangup")
        bob.wait("ended")
